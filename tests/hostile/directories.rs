//! Run directories in which lies what does not belong there, and files that are no logs.

use crate::process_log::{ProcessLog, log_id};
use crate::{Case, Ended, assert_coverage_py_reads};
use hitlog::format::{Record, log_file_name};
use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Compacts a run in which `prepare` put something at the path it gets; the report must hold `says`, and
/// the sane log must be read.
fn assert_told(says: &str, prepare: impl FnOnce(&Path)) -> (Case, Ended) {
    let case = Case::new();
    prepare(&case.run().join("2-hostile.hitlog"));
    let ended = case.compact(says);
    assert_eq!(ended.unless_it_says(says), None);
    assert_eq!(case.sane_lines(), 2, "{says}");
    (case, ended)
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

#[test]
fn what_is_no_file_is_named_and_not_opened() {
    assert_told("a symbolic link, passed over", |path| symlink("/etc/passwd", path).unwrap());
    assert_told("a symbolic link, passed over", |path| symlink("nowhere", path).unwrap());
    assert_told("a symbolic link, passed over", |path| symlink(path, path).unwrap());
    assert_told("a directory, passed over", |path| fs::create_dir(path).unwrap());
    assert_told("a socket, passed over", |path| {
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    });
    // Nobody writes to it: whoever opens it for reading waits for ever.
    assert_told("a FIFO, passed over", |path| {
        // SAFETY: a valid path.
        assert_eq!(unsafe { libc::mkfifo(c_path(path).as_ptr(), 0o600) }, 0);
    });
}

#[test]
fn a_device_is_named_and_not_opened() {
    let case = Case::new();
    let device = case.run().join("2-hostile.hitlog");
    // SAFETY: a valid path; the device is that of /dev/zero.
    let made =
        unsafe { libc::mknod(c_path(&device).as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(1, 5)) };
    if made != 0 {
        println!("skipped: making a device needs root");
        return;
    }
    assert_eq!(case.compact("a device").unless_it_says("a device, passed over"), None);
}

#[test]
fn a_file_that_is_no_log_is_named() {
    assert_told("2-hostile.hitlog", |path| fs::write(path, "total = 1\n").unwrap());
    let (_, ended) = assert_told("unreadable", |path| fs::write(path, [0x5A; 100_000]).unwrap());
    assert_eq!(ended.json()["unreadable"].as_array().unwrap().len(), 1);
    assert_eq!(ended.json()["damaged"], 0, "what is no log has no slots");
}

#[test]
fn a_sparse_file_of_a_tebibyte_is_read_as_what_it_holds() {
    let case = Case::new();
    let log = ProcessLog::new(2).line("sparse", "/sparse.py", 1).write(&case.run());
    let file = File::options().write(true).open(&log).unwrap();
    if file.set_len(1 << 40).is_err() {
        println!("skipped: this file system has no files of a tebibyte");
        return;
    }
    let ended = case.compact("a tebibyte");
    assert_eq!(ended.unless_it_says("bytes behind the last whole slot"), None);
    assert_eq!((ended.json()["damaged"].as_u64(), case.sane_lines()), (Some(0), 2));
    assert!(log.metadata().unwrap().blocks() < 100, "nothing was written into it");
}

#[test]
fn two_logs_with_one_identity_are_one_process() {
    let case = Case::new();
    let (mut first, mut second) = (ProcessLog::new(2), ProcessLog::new(2));
    first.line("first", "/first.py", 1).write(&case.run());
    second.line("second", "/second.py", 1);
    fs::write(case.run().join("copy.hitlog"), second.bytes()).unwrap();
    let ended = case.compact("one identity");
    assert_eq!(ended.unless_it_says("a copy of"), None);
    assert_eq!(
        (ended.json()["processes"]["started"].as_u64(), ended.json()["files"].as_u64()),
        (Some(2), Some(3))
    );
}

#[test]
fn a_log_that_grows_shrinks_and_changes_while_it_is_read_is_no_obstacle() {
    let case = Case::new();
    let mut log = ProcessLog::new(2);
    (1..20_000).for_each(|line| {
        log.line("restless", "/restless.py", line);
    });
    let bytes = log.bytes();
    let path = log.write(&case.run());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                let file = File::options().write(true).open(&path).unwrap();
                file.set_len([bytes.len() as u64, 9000, 0, 1 << 22][round % 4]).unwrap();
                fs::write(&path, &bytes[..bytes.len() / (1 + round % 3)]).unwrap();
            }
        });
        for round in 0..20 {
            let ended = case.compact("restless");
            assert!(ended.code == Some(0), "{round}: {ended:?}");
            assert_eq!(case.sane_lines(), 2, "{round}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn ten_thousand_logs_are_one_output() {
    let case = Case::new();
    for number in 0..10_000_u32 {
        let mut log = ProcessLog::new(2 + number);
        log.line("many", "/many.py", 1 + number);
        log.write(&case.run());
    }
    let ended = case.compact("10,000 logs");
    let report = ended.json();
    assert_eq!(
        (report["processes"]["started"].as_u64(), report["lines"].as_u64()),
        (Some(10_001), Some(10_002))
    );
    assert_eq!(report["damaged"], 0);
}

#[test]
fn logs_of_strange_names_and_equal_ids_are_read() {
    let case = Case::new();
    let names: [&[u8]; 6] = [
        b"two\nlines.hitlog",
        b"\xff\xfe.hitlog",
        b"\x1b[2J.hitlog",
        b"-o.hitlog",
        b" .hitlog",
        b"..hitlog",
    ];
    for (pid, name) in (2..).zip(names) {
        let mut log = ProcessLog::new(pid);
        log.line("strange", "/strange.py", pid);
        let name = std::ffi::OsString::from_vec(name.to_vec());
        fs::write(case.run().join(name), log.bytes()).unwrap();
    }
    // Two containers: one pid, one host name, one time.
    for id in [100, 101] {
        let mut log = ProcessLog::new(id);
        (log.header.pid, log.header.process_start_ticks) = (7, 70);
        log.line("twins", "/twins.py", id);
        fs::write(case.run().join(log_file_name(7, &log_id(id))), log.bytes()).unwrap();
    }
    let ended = case.compact("strange names");
    assert_eq!(ended.json()["processes"]["started"], 9);
    assert_eq!(ended.json()["lines"], 2 + 6 + 2);
    assert!(!ended.stderr.contains('\x1b'), "no terminal command comes through: {:?}", ended.stderr);
}

#[test]
fn descriptions_of_a_run_that_are_hostile_are_told() {
    let deep = [b"[".repeat(1 << 20), b"]".repeat(1 << 20)].concat();
    let texts: [&[u8]; 6] = [
        b"",
        b"null",
        &deep,
        b"\xff\xff",
        br#"{"branch": "yes"}"#,
        br#"{"pid": 99999999999999999999}"#,
    ];
    for name in ["run.json", "command.json"] {
        for text in texts {
            let case = Case::new();
            fs::write(case.run().join(name), text).unwrap();
            let ended = case.compact(name);
            assert_eq!(ended.code, Some(0), "{name} {:?}: {ended:?}", &text[..text.len().min(20)]);
            assert_eq!(case.sane_lines(), 2);
        }
        let says = format!("{name}: not understood");
        assert_told(&says, |path| symlink("/etc/passwd", path.with_file_name(name)).unwrap());
        assert_told(&says, |path| {
            // SAFETY: a valid path.
            assert_eq!(unsafe { libc::mkfifo(c_path(&path.with_file_name(name)).as_ptr(), 0o600) }, 0);
        });
        assert_told(&says, |path| {
            File::create(path.with_file_name(name)).unwrap().set_len(1 << 40).unwrap()
        });
    }
}

/// What root reads, nobody else may: then a log is named, and the rest is kept.
#[test]
fn a_log_of_somebody_else_is_named() {
    let case = Case::new();
    let log = ProcessLog::new(2).line("secret", "/secret.py", 1).write(&case.run());
    fs::set_permissions(&log, fs::Permissions::from_mode(0o000)).unwrap();
    let output = case.output();
    let id = 65_534;
    if std::os::unix::fs::chown(case.path(), Some(id), Some(id)).is_err() {
        println!("skipped: working as somebody else needs root");
        return;
    }
    for path in [case.run(), case.program()] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let of_all = fs::Permissions::from_mode(0o644);
    fs::set_permissions(case.run().join(ProcessLog::new(1).file_name()), of_all).unwrap();
    // Where nobody else can reach the program under test, it is copied to where they can. Not by us: a child
    // that another test forks meanwhile would hold it open for writing, and what is written cannot be run.
    let program = case.path().join("hitlog");
    let mut copy = std::process::Command::new("cp");
    assert!(copy.arg(env!("CARGO_BIN_EXE_hitlog")).arg(&program).status().unwrap().success());
    let mut command = std::process::Command::new(program);
    command.args(["compact", "--json"]).arg(case.run()).arg("-o").arg(&output);
    std::os::unix::process::CommandExt::uid(&mut command, id);
    std::os::unix::process::CommandExt::gid(&mut command, id);
    let ended = command.output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{said} {}", String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains("Permission denied"), "{said}");
    assert_eq!(case.sane_lines(), 2);
}

#[test]
fn coverage_py_reads_what_comes_of_a_hostile_run() {
    let case = Case::new();
    let mut log = ProcessLog::new(2);
    for name in [&b"../../etc/passwd"[..], b"/a\0b.py", b"/\xff.py", b"/two\nlines.py", b"'; --"] {
        let (file, context) = (log.file(name), log.context(name));
        log.push(Record::Line { context, file, line: 1 });
    }
    log.write(&case.run());
    symlink("/etc/passwd", case.run().join("3-x.hitlog")).unwrap();
    fs::write(case.run().join("4-x.hitlog"), [1; 9000]).unwrap();
    assert_eq!(case.compact("a hostile run").code, Some(0));
    let outputs: Vec<(String, PathBuf)> = vec![("a hostile run".into(), case.output())];
    assert_coverage_py_reads(&outputs);
}
