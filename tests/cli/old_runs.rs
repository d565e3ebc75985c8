//! `hitlog clean`: what goes, and above all what stays.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use hitlog::Recorder;

use crate::folder::{Ended, Folder, Running};
use crate::tracer::{self, trace};

/// Makes a run with a log, whose writer has ended.
fn run(folder: &Folder, id: &str) -> PathBuf {
    let run = folder.path().join(".hitlog").join(id);
    fs::create_dir_all(&run).expect("writable");
    let recorder = Recorder::open(&run).expect("a log");
    recorder.line(recorder.file("/a.py"), 1);
    fs::write(run.join("run.json"), "{}").expect("writable");
    fs::write(run.join("config.json.123"), "{}").expect("writable");
    run
}

fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.path().join(".hitlog")).expect("readable");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn clean(folder: &Folder, arguments: &[&str]) -> Ended {
    folder.hitlog(["clean"].iter().chain(arguments))
}

const IDS: [&str; 4] =
    ["20261120-101502-0001", "20261120-101502-0002", "20261121-101502-0000", "20261122-101502-0000"];

#[test]
fn old_runs_go_and_the_newest_stay() {
    let folder = Folder::new();
    IDS.iter().for_each(|id| drop(run(&folder, id)));
    let dry = clean(&folder, &["--keep", "2", "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert!(dry.stdout.contains(".hitlog/20261120-101502-0001: would remove ("), "{dry:?}");
    assert!(dry.stdout.contains("\n.hitlog: would remove 2 runs, "), "{dry:?}");
    assert_eq!(names(&folder), IDS);
    let ended = clean(&folder, &["--keep", "2"]);
    assert!(ended.stdout.contains("\n.hitlog: removed 2 runs, "), "{ended:?}");
    assert_eq!(names(&folder), IDS[2..]);
    let json = clean(&folder, &["--json"]);
    let entries: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!((&entries[0]["fate"], &entries[1]["fate"]), (&"removed".into(), &"kept".into()));
    assert_eq!(names(&folder), IDS[3..]);
    assert_eq!(clean(&folder, &["--keep", "0"]).code, Some(0));
    assert!(names(&folder).is_empty());
}

#[test]
fn the_newest_is_the_newest_with_logs() {
    let folder = Folder::new();
    run(&folder, IDS[0]);
    fs::create_dir(folder.path().join(".hitlog").join(IDS[3])).expect("writable");
    let ended = clean(&folder, &[]);
    assert!(
        ended.stdout.contains("20261122-101502-0000: stays: it may be just beginning"),
        "{ended:?}"
    );
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let empty = fs::File::open(folder.path().join(".hitlog").join(IDS[3])).expect("a folder");
    empty.set_modified(hour_ago).expect("its own");
    clean(&folder, &[]);
    assert_eq!(names(&folder), [IDS[0]]);
}

#[test]
fn a_living_writer_keeps_its_run() {
    let folder = Folder::new();
    let path = folder.path().join(".hitlog").join(IDS[0]);
    fs::create_dir_all(&path).expect("writable");
    let recorder = Recorder::open(&path).expect("a log");
    recorder.line(recorder.file("/a.py"), 1);
    let ended = clean(&folder, &["--keep", "0"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stdout.contains(" is still running\n.hitlog: removed 0 runs, 0 bytes\n"),
        "{ended:?}"
    );
    assert_eq!(names(&folder), [IDS[0]]);
    drop(recorder);
    clean(&folder, &["--keep", "0"]);
    assert!(names(&folder).is_empty());
}

#[test]
fn a_living_run_keeps_its_directory_before_anything_recorded() {
    let folder = Folder::new();
    let script = "echo ready; read x";
    let mut running = Running::start(&mut folder.command(["run", "--", "sh", "-c", script]));
    let run = &folder.runs()[0];
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::open(run).expect("a folder").set_modified(hour_ago).expect("its own");
    let ended = clean(&folder, &["--keep", "0"]);
    assert!(ended.stdout.contains("stays: the process that began it is still there"), "{ended:?}");
    assert!(run.exists());
    drop(running.child.stdin.take());
    running.end();
    clean(&folder, &["--keep", "0"]);
    assert!(!run.exists());
}

#[test]
fn a_run_is_whole_or_no_run_whenever_its_removal_is_killed() {
    for nth in 1.. {
        let folder = Folder::new();
        let files = fs::read_dir(run(&folder, IDS[0])).expect("readable").count();
        let mut removals = 0;
        let is_removal =
            |number| [libc::SYS_renameat, libc::SYS_unlinkat, libc::SYS_unlink].contains(&number);
        let ended = trace(&mut folder.command(["clean", "--keep", "0"]), |call| {
            removals += usize::from(is_removal(call.number));
            if removals == nth { tracer::Fate::Killed } else { tracer::Fate::Made }
        });
        let Some(ended) = ended else {
            println!("skipped: ptrace(2) is not allowed here");
            return;
        };
        let left = names(&folder);
        if ended.status.success() {
            assert!(left.is_empty(), "{left:?}");
            assert_eq!(nth, files + 3, "its new name, its files, and the directory");
            return;
        }
        match nth {
            1 => assert_eq!(left, [IDS[0]]),
            _ => assert_eq!(left, [format!("{}.removing", IDS[0])], "{nth}"),
        }
        let ended = clean(&folder, &["--keep", "9"]);
        assert_eq!(names(&folder).len(), usize::from(nth == 1), "{nth}: {ended:?}");
    }
}

#[test]
fn a_run_of_which_nothing_can_be_removed_stays_a_run() {
    let hidden = format!("{}.removing", IDS[0]);
    for (removed, name) in [(0, IDS[0]), (1, &*hidden)] {
        let folder = Folder::new();
        run(&folder, IDS[0]);
        let mut removals = 0;
        let ended = trace(&mut folder.command(["clean", "--keep", "0"]), |call| {
            let is_removal = call.number == libc::SYS_unlinkat;
            removals += usize::from(is_removal);
            match is_removal && removals > removed {
                true => tracer::Fate::Fails(libc::EACCES),
                false => tracer::Fate::Made,
            }
        });
        let Some(ended) = ended else {
            println!("skipped: ptrace(2) is not allowed here");
            return;
        };
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert_eq!(names(&folder), [name]);
    }
}

#[test]
fn what_is_no_run_is_never_touched() {
    let folder = Folder::new();
    let at = |name: &str| folder.path().join(".hitlog").join(name);
    let precious = folder.path().join("precious");
    fs::create_dir(&precious).expect("writable");
    fs::write(precious.join("1-a.hitlog"), "mine").expect("writable");
    let strange = run(&folder, IDS[0]);
    fs::write(strange.join("thesis.txt"), "mine").expect("writable");
    let linked = run(&folder, IDS[1]);
    symlink(precious.join("1-a.hitlog"), linked.join("2-b.hitlog")).expect("writable");
    symlink(&precious, at(IDS[2])).expect("writable");
    fs::create_dir(at("notes")).expect("writable");
    fs::write(at(IDS[3]), "a file").expect("writable");
    let before = names(&folder);
    let ended = clean(&folder, &["--keep", "0"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for words in [
        "0001: stays: thesis.txt in it is nothing that a run leaves",
        "0002: stays: 2-b.hitlog in it is nothing that a run leaves",
        "20261121-101502-0000: stays: not a run directory",
        "notes: stays: not a run directory",
        "20261122-101502-0000: stays: not a run directory",
        "removed 0 runs",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {ended:?}");
    }
    assert_eq!(names(&folder), before);
    assert_eq!(fs::read(precious.join("1-a.hitlog")).expect("kept"), b"mine");
}

#[test]
fn without_runs_there_is_a_sentence() {
    let folder = Folder::new();
    let ended = clean(&folder, &[]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.starts_with("hitlog: .hitlog: no run here."), "{ended:?}");
    let elsewhere = clean(&folder, &["--dir", "no/such"]);
    assert_eq!(elsewhere.code, Some(2));
    assert!(elsewhere.stderr.starts_with("hitlog: no/such/.hitlog: no run here."), "{elsewhere:?}");
    assert!(elsewhere.stderr.contains("--dir"), "{elsewhere:?}");
    fs::write(folder.path().join(".hitlog"), "a file").expect("writable");
    let ended = clean(&folder, &[]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.starts_with("hitlog: .hitlog: cannot be read"), "{ended:?}");
}
