//! `hitlog run` and `hitlog compact` on commands that record: this test program, started once more.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hitlog::Recorder;
use hitlog::format::EndReason;
use rusqlite::Connection;
use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::folder::{Ended, Folder};

/// The environment variable that tells the program below how to end.
const ENDING: &str = "HITLOG_TEST_ENDING";

/// What is recorded: not a test, but the command of the tests below.
#[test]
#[ignore = "the recorded command of other tests"]
fn recorded_program() {
    let Some(run) = std::env::var_os("HITLOG_RUN") else { return };
    let recorder = Recorder::open(run).expect("a log");
    let file = recorder.file("/src/shop/cart.py");
    let _context = recorder.context("tests/test_cart.py::test_total|run");
    (1..=3).for_each(|line| recorder.line(file, line));
    match std::env::var(ENDING).as_deref() {
        Ok("killed") => kill_process(getpid(), Signal::KILL).expect("a signal to ourselves"),
        Ok(code) => {
            let code: u16 = code.parse().expect("an exit code");
            drop(_context);
            recorder.end(EndReason::Closed, Some(code));
            std::process::exit(i32::from(code))
        }
        Err(_) => unreachable!("every test says how to end"),
    }
}

/// Records the program above, then runs `script`.
fn record(folder: &Folder, ending: &str, options: &[&str], script: &str) -> Ended {
    Ended::from(recording(folder, ending, options, script).output().expect("it starts"))
}

fn recording(folder: &Folder, ending: &str, options: &[&str], script: &str) -> Command {
    let program = std::env::current_exe().expect("this program");
    let script = format!(
        "\"$1\" --exact recorded::recorded_program --ignored -q >&2; code=$?; {script} exit $code"
    );
    let mut command = folder.command::<&OsStr>([]);
    command.arg("run").args(options).args(["--", "sh", "-c", &script, "sh"]).arg(program);
    command.env(ENDING, ending);
    command
}

/// The values of the first column of an answer.
fn ask(database: &Path, question: &str) -> Vec<String> {
    let database = Connection::open(database).expect("a database");
    let mut statement = database.prepare(question).expect("SQL");
    let rows = statement.query_map([], |row| row.get(0)).expect("an answer");
    rows.collect::<Result<_, _>>().expect("text")
}

fn the_only_log(folder: &Folder) -> PathBuf {
    let runs = folder.runs();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let entries = fs::read_dir(&runs[0]).expect("readable").flatten().map(|entry| entry.path());
    let mut logs = entries.filter(|path| path.extension().is_some_and(|end| end == "hitlog"));
    let log = logs.next().expect("a log");
    assert_eq!(logs.next(), None);
    log
}

#[test]
fn a_recorded_command_is_compacted_and_summed_up_on_stderr() {
    let folder = Folder::new();
    let ended = record(&folder, "0", &[], "");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stderr.contains("1 process: 1 ended clean"), "{ended:?}");
    assert!(ended.stderr.contains("hitlog.db"), "{ended:?}");
    let database = folder.path().join("hitlog.db");
    let lines =
        ask(&database, "SELECT path || ':' || line || ' ' || context FROM hitlog_line ORDER BY line");
    let line = |number| format!("/src/shop/cart.py:{number} tests/test_cart.py::test_total|run");
    assert_eq!(lines, [line(1), line(2), line(3)]);
    assert_eq!(ask(&database, "SELECT state FROM hitlog_log"), ["clean"]);
}

#[test]
fn a_killed_command_is_named_with_its_test_and_loses_nothing() {
    let folder = Folder::new();
    let ended = record(&folder, "killed", &["-o", "killed.db"], "");
    assert_eq!(ended.code, Some(128 + 9), "{ended:?}");
    assert!(ended.stderr.contains("1 cut short"), "{ended:?}");
    assert!(ended.stderr.contains("tests/test_cart.py::test_total"), "{ended:?}");
    let database = folder.path().join("killed.db");
    assert_eq!(ask(&database, "SELECT CAST(count(*) AS TEXT) FROM hitlog_line"), ["3"]);
    let facts = ask(&database, "SELECT state || ' ' || last_context FROM hitlog_log");
    assert_eq!(facts, ["cut tests/test_cart.py::test_total|run"]);
}

/// What came of the run is kept and can be compacted later, by the very words of the message.
#[test]
fn logs_are_kept_when_they_cannot_be_compacted() {
    for (ending, code) in [("0", 2), ("5", 5)] {
        let folder = Folder::new();
        fs::create_dir(folder.path().join("out")).expect("writable");
        let ended = record(&folder, ending, &["-o", "out/hitlog.db"], "rmdir out;");
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.contains("hitlog: out/hitlog.db: "), "{ended:?}");
        fs::create_dir(folder.path().join("out")).expect("writable");
        compact_as_told(&folder, &ended.stderr);
    }
}

/// Somebody else holds the lock under which the output is put in its place, so the compaction waits.
#[test]
fn a_signal_during_the_compaction_ends_it_and_the_logs_are_kept() {
    let folder = Folder::new();
    let out = folder.path().join("out");
    fs::create_dir(&out).expect("writable");
    let lock = fs::File::open(&out).expect("a folder");
    fs2::FileExt::lock_exclusive(&lock).expect("the lock is free");
    let mut command = recording(&folder, "0", &["-o", "out/hitlog.db"], "");
    let mut run = command.stderr(Stdio::piped()).spawn().expect("it starts");
    // The command's end is written down, and the unfinished output shows that the compaction has begun.
    let has_ended = || folder.runs().iter().any(|run| run.join("command.json").exists());
    while !has_ended() || fs::read_dir(&out).expect("readable").next().is_none() {
        assert_eq!(run.try_wait().expect("a child"), None, "it waits for the lock");
        std::thread::yield_now();
    }
    let pid = Pid::from_raw(run.id() as i32).expect("a pid");
    kill_process(pid, Signal::TERM).expect("it is still running");
    let output = run.wait_with_output().expect("it ends");
    drop(lock);
    assert_eq!(output.status.signal(), Some(15));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("hitlog: interrupted; the logs are kept."), "{stderr}");
    assert!(!out.join("hitlog.db").exists());
    compact_as_told(&folder, &stderr);
}

/// Runs the command that the message gives in backquotes.
fn compact_as_told(folder: &Folder, message: &str) {
    let (_, rest) = message.split_once('`').expect("a command in backquotes");
    let (later, _) = rest.split_once('`').expect("a command in backquotes");
    let compacted = folder.hitlog(later.split(' ').skip(1));
    assert_eq!(compacted.code, Some(0), "{later}: {compacted:?}");
    let states = ask(&folder.path().join("out/hitlog.db"), "SELECT state FROM hitlog_log");
    assert_eq!(states, ["clean"]);
}

#[test]
fn compact_takes_the_newest_run_and_gives_the_same_bytes_again() {
    let folder = Folder::new();
    record(&folder, "0", &[], "");
    let first = fs::read(folder.path().join("hitlog.db")).expect("an output");
    let ended = folder.hitlog(["compact", "-o", "again.db", "--threads", "3"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
    assert_eq!(fs::read(folder.path().join("again.db")).expect("an output"), first);
    assert!(!ended.stderr.contains('\r'), "no progress bar without a terminal: {ended:?}");
}

#[test]
fn the_report_is_json_on_stdout_for_machines() {
    let folder = Folder::new();
    record(&folder, "0", &[], "");
    let ended = folder.hitlog(["compact", "--json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(report["logs"].as_array().map(Vec::len), Some(1), "{report}");
    assert_eq!(report["damaged"], 0);
}

#[test]
fn damage_is_an_exit_code_only_where_it_was_asked_for() {
    let folder = Folder::new();
    record(&folder, "0", &[], "");
    let log = the_only_log(&folder);
    let mut bytes = fs::read(&log).expect("readable");
    let first_record = bytes[8192..].iter().position(|byte| *byte != 0).expect("a record") + 8192;
    bytes[first_record] ^= 1;
    fs::write(&log, bytes).expect("writable");

    assert_eq!(folder.hitlog(["compact"]).code, Some(0));
    let strict = folder.hitlog(["compact", "--strict"]);
    assert_eq!(strict.code, Some(1), "{strict:?}");
    assert!(strict.stderr.contains("1 damaged"), "{strict:?}");
    let check = folder.hitlog([OsStr::new("check"), log.as_os_str()]);
    assert_eq!(check.code, Some(1), "{check:?}");
    let states = ask(&folder.path().join("hitlog.db"), "SELECT CAST(damaged AS TEXT) FROM hitlog_log");
    assert_eq!(states, ["1"], "and all the rest is there");
}

#[test]
fn logs_are_deleted_only_when_asked_and_read_whole() {
    let folder = Folder::new();
    record(&folder, "0", &[], "");
    let log = the_only_log(&folder);
    folder.hitlog(["compact"]);
    assert!(log.exists());
    let ended = folder.hitlog(["compact", "--delete-logs"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!log.exists());
}

#[test]
fn a_folder_without_logs_is_not_done() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("empty")).expect("writable");
    let ended = folder.hitlog(["compact", "empty"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.starts_with("hitlog: empty: "), "{ended:?}");
    assert!(!folder.path().join("hitlog.db").exists());
}
