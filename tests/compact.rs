//! Compaction of logs in all states: nothing that was read is lost, nothing counts twice, and the same
//! logs always give the same bytes.
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

#[path = "common/process_log.rs"]
mod process_log;

use hitlog::compactor::{Error, Options, Report, compact};
use hitlog::format::{EndReason, HEADER_SIZE, NameSpace, Record};
use process_log::{MONOTONIC_START_NS, ProcessLog, flip};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// (path, line, context)
type Line = (String, u32, String);

struct Folder {
    folder: TempDir,
    run: PathBuf,
    output: PathBuf,
}

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let (run, output) = (folder.path().join("run"), folder.path().join("out.db"));
        fs::create_dir(&run).unwrap();
        Folder { folder, run, output }
    }

    fn compact(&self) -> Report {
        compact(std::slice::from_ref(&self.run), &Options::new(&self.output), &()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn open(&self) -> Connection {
        Connection::open(&self.output).unwrap()
    }

    fn lines(&self) -> BTreeSet<Line> {
        lines(&self.output)
    }

    fn text(&self, sql: &str) -> Option<String> {
        self.open().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

fn lines(output: &Path) -> BTreeSet<Line> {
    let connection = Connection::open(output).unwrap();
    let mut statement = connection.prepare("select path, line, context from hitlog_line").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let rows: Vec<Line> = rows.map(Result::unwrap).collect();
    let set: BTreeSet<Line> = rows.iter().cloned().collect();
    assert_eq!(set.len(), rows.len(), "the view gives each line once");
    set
}

fn line(path: &str, line: u32, context: &str) -> Line {
    (path.to_owned(), line, context.to_owned())
}

#[test]
fn what_several_processes_ran_becomes_one() {
    let folder = Folder::new();
    let mut first = ProcessLog::new(1);
    first
        .line("", "/a.py", 1)
        .line("t1", "/a.py", 2)
        .line("t1", "/b.py", 300)
        .end(EndReason::Closed, Some(3));
    first.write(&folder.run);
    let mut second = ProcessLog::new(2);
    second.header.parent_log_id = first.header.log_id;
    second
        .line("t1", "/b.py", 7)
        .line("t1", "/a.py", 2)
        .line("t2", "/a.py", 2)
        .start("t2", 5)
        .stop("t2", 25);
    second.line("t1", "/a.py", 5000).start("t1", 30);
    second.write(&folder.run);

    let report = folder.compact();
    let expected = [
        line("/a.py", 1, ""),
        line("/a.py", 2, "t1"),
        line("/a.py", 2, "t2"),
        line("/a.py", 5000, "t1"),
        line("/b.py", 7, "t1"),
        line("/b.py", 300, "t1"),
    ];
    assert_eq!(folder.lines(), expected.into_iter().collect());
    let processes = &report.processes;
    assert_eq!((processes.started, processes.clean, processes.cut, processes.running), (2, 1, 1, 0));
    assert_eq!(processes.not_ended[0].context.as_deref(), Some("t1"));
    assert_eq!((report.contexts, report.files, report.lines), (2, 2, 5));
    let trailers = 1;
    assert_eq!(report.records, (first.records.len() + second.records.len()) as u64 - trailers);
    assert!(report.is_whole());
    let text = report.to_string();
    assert!(text.starts_with("2 processes: 1 ended clean, 1 cut short (pid 2, in t1)\n"), "{text}");
    assert_eq!(folder.names(), ["out.db", "run"], "nothing else is left");
    assert_eq!(fs::read_dir(&folder.run).unwrap().count(), 2, "no log is deleted");
}

#[test]
fn each_log_has_a_row_and_each_context_its_time() {
    let folder = Folder::new();
    let mut parent = ProcessLog::new(1);
    parent
        .line("t", "/a.py", 1)
        .start("t", 1_500_000)
        .stop("t", 2_000_000)
        .end(EndReason::Closed, Some(3));
    parent.write(&folder.run);
    let mut child = ProcessLog::new(2);
    child.header.parent_log_id = parent.header.log_id;
    child.start("caf\u{e9}", 7).write(&folder.run);
    folder.compact();
    let row = "select parent.pid || ' ' || child.pid || ' ' || child.state || ' ' || child.last_context
        || ' ' || parent.state || ' ' || parent.exit_code || ' ' || parent.started_at || ' ' || parent.ended_at
        || ' ' || parent.argv || ' ' || parent.host || ' ' || parent.segment
        from hitlog_log as child join hitlog_log as parent on parent.log_id = child.parent_log_id";
    let expected = "1 2 cut caf\u{e9} clean 3 2026-11-20T10:15:02.000000Z 2026-11-20T10:15:03.000000Z \
        [\"python\",\"-m\",\"pytest\"] builder 0";
    assert_eq!(folder.text(row).as_deref(), Some(expected));
    let null = "select exit_code is null and signal is null and ended_at is null from hitlog_log where pid = 2";
    assert!(folder.open().query_row(null, [], |row| row.get::<_, bool>(0)).unwrap());
    let spans = "select group_concat(context || ' ' || hitlog_context.started_at || ' ' || ifnull(duration_ns, 'open'), ', ')
        from hitlog_context join context on id = context_id join hitlog_log using (log_id) order by pid";
    let expected = "t 2026-11-20T10:15:02.001500Z 500000, caf\u{e9} 2026-11-20T10:15:02.000000Z open";
    assert_eq!(folder.text(spans).as_deref(), Some(expected));
}

#[test]
fn the_command_tells_how_its_process_ended() {
    let folder = Folder::new();
    let mut before_exec = ProcessLog::new(9);
    before_exec.line("", "/a.py", 1).end(EndReason::Exec, None).write(&folder.run);
    let mut after_exec = ProcessLog::new(10);
    after_exec.header.pid = 9;
    after_exec.header.process_start_ticks = 90;
    after_exec.header.monotonic_start_ns = MONOTONIC_START_NS + 5;
    after_exec.start("t", 1).write(&folder.run);
    ProcessLog::new(11).line("", "/a.py", 2).write(&folder.run);
    let command = r#"{"pid": 9, "process_start_ticks": 90, "exit_code": null, "signal": 9}"#;
    fs::write(folder.run.join("command.json"), command).unwrap();
    let report = folder.compact();
    let signals: Vec<_> =
        report.logs.iter().map(|log| (log.first_log_id[..2].to_owned(), log.signal)).collect();
    assert_eq!(signals, [("09".into(), None), ("0a".into(), Some(9)), ("0b".into(), None)]);
    let text = report.to_string();
    assert!(
        text.starts_with("3 processes: 1 ended clean, 2 cut short (pid 9, SIGKILL, in t; pid 11)"),
        "{text}"
    );
}

#[test]
fn segments_are_one_process_that_ended_as_the_last_one_did() {
    let folder = Folder::new();
    let mut first = ProcessLog::new(1);
    first.line("", "/a.py", 1).end(EndReason::Continued, None).write(&folder.run);
    let mut second = ProcessLog::new(2);
    second.header.pid = 1;
    (second.header.first_log_id, second.header.segment) = (first.header.log_id, 1);
    let second_path = second.line("", "/a.py", 2).end(EndReason::Closed, Some(0)).write(&folder.run);
    let processes = folder.compact().processes;
    assert_eq!((processes.started, processes.clean), (1, 1));
    fs::remove_file(second_path).unwrap();
    let processes = folder.compact().processes;
    assert_eq!(
        (processes.started, processes.clean, processes.cut),
        (1, 0, 1),
        "it went on, but to where?"
    );
}

#[test]
fn damage_costs_its_own_record_and_is_counted() {
    let folder = Folder::new();
    let mut log = ProcessLog::new(1);
    (1..=100).for_each(|number| {
        log.line("t", "/a.py", number);
    });
    log.end(EndReason::Closed, Some(0));
    let (names, mut bytes) = (log.records.len() - 101, log.bytes());
    flip(&mut bytes, names + 41);
    bytes[HEADER_SIZE - 4096..HEADER_SIZE].fill(0x77);
    bytes.extend([1, 2, 3]);
    fs::write(folder.run.join(log.file_name()), bytes).unwrap();
    let report = folder.compact();
    let expected: BTreeSet<Line> =
        (1..=100).filter(|number| *number != 42).map(|number| line("/a.py", number, "t")).collect();
    assert_eq!(folder.lines(), expected);
    assert_eq!((report.damaged, report.missing, report.lines), (1, 1, 99));
    assert!(!report.is_whole());
    assert!(report.to_string().contains("  0 lost  1 damaged  1 missing\n"), "{report}");
    assert!(report.notes[0].contains("3 bytes behind the last whole slot"), "{:?}", report.notes);
    assert_eq!(
        folder.text("select records || ' ' || damaged || ' ' || lost from hitlog_log").unwrap(),
        "103 1 0"
    );
}

#[test]
fn hits_whose_name_is_lost_are_counted_and_left_out() {
    let folder = Folder::new();
    let mut log = ProcessLog::new(1);
    log.line("t", "/a.py", 1)
        .line("t", "/lost.py", 2)
        .line("lost", "/a.py", 3)
        .arc("lost", "/lost.py", 3, 4);
    let lost = [log.file("/lost.py"), log.context("lost")];
    log.records.retain(|record| match record {
        Record::Name { space: NameSpace::File, id, .. } => *id != lost[0],
        Record::Name { space: NameSpace::Context, id, .. } => *id != lost[1],
        _ => true,
    });
    log.write(&folder.run);
    let report = folder.compact();
    assert_eq!(report.unnamed, 3);
    assert!(!report.is_whole());
    assert!(report.to_string().contains("  3 unnamed\n"), "{report}");
    assert_eq!(folder.lines(), [line("/a.py", 1, "t")].into_iter().collect());
}

#[test]
fn a_copy_adds_its_hits_and_counts_once() {
    let folder = Folder::new();
    let mut log = ProcessLog::new(1);
    log.line("t", "/a.py", 1).line("t", "/a.py", 2).start("t", 3).end(EndReason::Closed, Some(0));
    log.write(&folder.run);
    let mut damaged = log.bytes();
    flip(&mut damaged, log.records.len() - 4);
    fs::write(folder.run.join("copy.hitlog"), damaged).unwrap();
    let report = folder.compact();
    assert_eq!((report.processes.started, report.logs.len()), (1, 1));
    assert_eq!(
        (report.records, report.damaged),
        (log.records.len() as u64 - 1, 0),
        "the better one counts"
    );
    assert_eq!(folder.lines().len(), 2);
    let spans = "select count(*) || '' from hitlog_context";
    assert_eq!(folder.text(spans).as_deref(), Some("1"));
    assert!(report.notes[0].contains("copy.hitlog: a copy of"), "{:?}", report.notes);
}

#[test]
fn names_that_are_no_text_are_escaped_and_stay_apart() {
    let folder = Folder::new();
    let mut log = ProcessLog::new(1);
    for (number, path) in
        (1..).zip([&b"/a\xff.py"[..], br"/a\xff.py", b"/b\0.py", "/s\u{fc}\u{df}.py".as_bytes()])
    {
        let file = log.file(path);
        log.push(Record::Line { context: 0, file, line: number });
    }
    log.write(&folder.run);
    let report = folder.compact();
    let expected = [
        line(r"/a\xff.py~2", 1, ""),
        line(r"/a\xff.py", 2, ""),
        line(r"/b\x00.py", 3, ""),
        line("/s\u{fc}\u{df}.py", 4, ""),
    ];
    assert_eq!(folder.lines(), expected.into_iter().collect());
    assert_eq!(report.notes.len(), 2, "{:?}", report.notes);
    assert!(report.notes[0].starts_with(r"/a\xff.py~2: this path has bytes that are not text"));
}

#[test]
fn a_log_that_cannot_be_read_is_named_and_the_rest_is_kept() {
    let folder = Folder::new();
    ProcessLog::new(1).line("", "/a.py", 1).write(&folder.run);
    let bad = folder.run.join("bad.hitlog");
    fs::write(&bad, [7; 9000]).unwrap();
    let report = folder.compact();
    assert_eq!((report.unreadable.len(), report.lines), (1, 1));
    assert!(!report.is_whole());
    assert!(report.to_string().contains("not read: "), "{report}");
    let alone = compact(&[bad], &Options::new(&folder.output), &()).unwrap_err();
    assert!(matches!(alone, Error::Log { .. }), "{alone}");
    assert_eq!(folder.lines().len(), 1, "the output of before is still there");
}

#[test]
fn measurements_and_facts_about_files_are_kept() {
    let folder = Folder::new();
    let mut log = ProcessLog::new(1);
    let (file, context) = (log.file("/a.py"), log.context("t"));
    let name = log.name(NameSpace::Sample, "rss_bytes") as u16;
    for value in [48_123_904, u64::MAX] {
        log.push(Record::Sample { name, context, time_ns: MONOTONIC_START_NS + 9, value });
    }
    log.push(Record::FileFacts { file, size: 3182, mtime_ns: 77 });
    log.push(Record::Sample { name, context: 0, time_ns: MONOTONIC_START_NS + 9, value: 1 });
    log.write(&folder.run);
    let mut other = ProcessLog::new(2);
    let file = other.file("/a.py");
    other.push(Record::FileFacts { file, size: 4000, mtime_ns: 99 }).write(&folder.run);
    let report = folder.compact();
    let samples = "select group_concat(name || ' ' || time_ns || ' ' || context || ' ' || value, ', ')
        from hitlog_sample join context on id = context_id";
    let expected = "rss_bytes 1795169702000000009 t 48123904, rss_bytes 1795169702000000009 t 1.8446744073709552e+19, \
        rss_bytes 1795169702000000009  1";
    assert_eq!(folder.text(samples).as_deref(), Some(expected));
    let facts =
        "select path || ' ' || size || ' ' || mtime_ns from hitlog_file join file on id = file_id";
    assert_eq!(folder.text(facts).as_deref(), Some("/a.py 4000 99"));
    assert!(report.notes[0].starts_with("/a.py: changed while it was recorded"), "{:?}", report.notes);
}

#[test]
fn only_whole_logs_of_the_dead_are_deleted_and_only_when_asked() {
    let folder = Folder::new();
    ProcessLog::new(1).line("", "/a.py", 1).write(&folder.run);
    let mut damaged = ProcessLog::new(2);
    let mut bytes = damaged.line("", "/a.py", 2).bytes();
    flip(&mut bytes, 0);
    let damaged = process_log::write(&folder.run.join(damaged.file_name()), &bytes);
    let mut living = ProcessLog::new(3);
    living.header.boot_id = [0; 16];
    let living = living.line("", "/a.py", 3).write(&folder.run);
    let lock = fs::File::open(&living).unwrap();
    lock.lock().unwrap();
    let options =
        Options { delete_logs: true, ..Options::new(folder.folder.path().join("none/out.db")) };
    compact(std::slice::from_ref(&folder.run), &options, &()).unwrap_err();
    assert_eq!(
        fs::read_dir(&folder.run).unwrap().count(),
        3,
        "nothing is deleted before it is published"
    );
    let options = Options { delete_logs: true, ..Options::new(&folder.output) };
    let report = compact(std::slice::from_ref(&folder.run), &options, &()).unwrap();
    let left: BTreeSet<_> =
        fs::read_dir(&folder.run).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [damaged, living].into_iter().collect());
    assert_eq!((report.processes.cut, report.processes.running), (2, 1));
    assert_eq!(folder.lines().len(), 3);
}

/// Compacted while a process records, and again after it ended: nothing is there once and gone later.
#[cfg(feature = "recorder")]
#[test]
fn a_living_process_is_read_as_far_as_it_is() {
    let folder = Folder::new();
    let recorder = hitlog::Recorder::open(&folder.run).unwrap();
    let file = recorder.file("/a.py");
    let done = std::sync::atomic::AtomicBool::new(false);
    let rounds: Vec<BTreeSet<Line>> = std::thread::scope(|scope| {
        for thread in 0..3 {
            let (recorder, done) = (&recorder, &done);
            scope.spawn(move || {
                for round in (0..).take_while(|_| !done.load(std::sync::atomic::Ordering::Relaxed)) {
                    let _context = recorder.context(format!("thread {thread}, round {}", round % 500));
                    (1..=20).for_each(|line| recorder.line(file, thread * 1000 + line));
                    std::thread::sleep(std::time::Duration::from_micros(50));
                }
            });
        }
        let rounds = (0..10).map(|_| {
            let report = folder.compact();
            assert_eq!((report.processes.running, report.damaged, report.unnamed), (1, 0, 0));
            folder.lines()
        });
        let rounds = rounds.collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        rounds
    });
    recorder.end(EndReason::Closed, Some(0));
    let report = folder.compact();
    assert_eq!((report.processes.clean, report.missing), (1, 0));
    assert!(report.is_whole());
    let last = [folder.lines()];
    assert!(rounds.iter().zip(rounds[1..].iter().chain(&last)).all(|(one, next)| one.is_subset(next)));
}

#[test]
fn without_a_log_the_output_stays_as_it_is() {
    let folder = Folder::new();
    ProcessLog::new(1).line("test", "/a.py", 7).write(&folder.run);
    folder.compact();
    let before = fs::read(&folder.output).unwrap();
    for log in fs::read_dir(&folder.run).unwrap() {
        fs::remove_file(log.unwrap().path()).unwrap();
    }
    fs::write(folder.run.join("run.json"), r#"{"version": 1, "branch": false}"#).unwrap();
    let error =
        compact(std::slice::from_ref(&folder.run), &Options::new(&folder.output), &()).unwrap_err();
    assert!(error.to_string().contains("no log to read"), "{error}");
    std::os::unix::fs::symlink("/dev/null", folder.run.join("1.hitlog")).unwrap();
    let error =
        compact(std::slice::from_ref(&folder.run), &Options::new(&folder.output), &()).unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
    assert_eq!(fs::read(&folder.output).unwrap(), before);
}

#[test]
fn a_log_whose_lock_is_held_is_not_deleted() {
    let folder = Folder::new();
    // Of another boot: on this system no process can say whether its writer lives.
    let path = ProcessLog::new(1).line("test", "/a.py", 7).write(&folder.run);
    let file = fs::File::open(&path).unwrap();
    fs2::FileExt::lock_exclusive(&file).unwrap();
    let options = Options { delete_logs: true, ..Options::new(&folder.output) };
    compact(std::slice::from_ref(&folder.run), &options, &()).unwrap();
    assert!(path.exists(), "somebody holds its lock");
    fs2::FileExt::unlock(&file).unwrap();
    compact(std::slice::from_ref(&folder.run), &options, &()).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_disk_that_is_full_leaves_the_previous_output_and_nothing_else() {
    let folder = Folder::new();
    let mount = folder.folder.path().join("small");
    fs::create_dir(&mount).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=600k", "tmpfs"])
        .arg(&mount)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: mounting a tmpfs needs root");
        return;
    }
    let _unmount = Unmount(mount.clone());
    let output = mount.join("out.db");
    let mut log = ProcessLog::new(1);
    log.line("", "/a.py", 1).write(&folder.run);
    let options = Options::new(&output);
    compact(std::slice::from_ref(&folder.run), &options, &()).unwrap();
    let before = fs::read(&output).unwrap();
    (0..20_000).for_each(|number| {
        log.line(&format!("context number {number}"), "/a.py", 1 + number % 4000);
    });
    log.write(&folder.run);
    let error = compact(std::slice::from_ref(&folder.run), &options, &()).unwrap_err().to_string();
    assert!(error.contains("Make room on this disk"), "{error}");
    assert_eq!(fs::read(&output).unwrap(), before);
    assert_eq!(fs::read_dir(&mount).unwrap().count(), 1);
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}
