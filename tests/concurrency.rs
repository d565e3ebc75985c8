//! Compactors and writers at work at once: whoever is first or last, each output is whole, no log of a living
//! writer goes, and what was once there stays.
//!
//! `HITLOG_ROUNDS` sets how many rounds of living writers there are, each with ten compactions beside them,
//! `HITLOG_STARTS` how many pairs of compactors, `HITLOG_CHANGES` how many logs are changed.
#![allow(clippy::print_stdout, reason = "the figures")]

#[path = "common/process_log.rs"]
mod process_log;
#[path = "common/random.rs"]
mod random;

use hitlog::Recorder;
use hitlog::compactor::{Options, compact};
use process_log::ProcessLog;
use random::figure;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a run is compacted while its writers live.
const COMPACTIONS: usize = 10;

/// (context, line)
type Hits = BTreeSet<(String, u32)>;

fn hits(output: &Path) -> Hits {
    let connection = Connection::open(output).unwrap();
    let check: String = connection.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let mut statement = connection.prepare("select context, line from hitlog_line").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// A process that records lines 1, 2, 3 ... in a context of its own until it is told to end.
struct Writer {
    child: Child,
    name: String,
}

/// Not a test: the writers of the tests below.
#[test]
#[ignore = "the writing process of other tests"]
fn writing_process() {
    let Some(run) = std::env::var_os("HITLOG_TEST_RUN") else { return };
    let name = std::env::var("HITLOG_TEST_WRITER").unwrap();
    let recorder = Recorder::open(run).unwrap();
    let file = recorder.file("/shop/cart.py");
    let _context = recorder.context(&name);
    recorder.line(file, 1);
    println!("ready");
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (recorder, stopped) = (&recorder, &stopped);
        let context = &name;
        scope.spawn(move || {
            let _context = recorder.context(context);
            for line in (2..60_000).take_while(|_| !stopped.load(Ordering::Relaxed)) {
                recorder.line(file, line);
                // Leaves the processor to the compactions that it is there for.
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut told = String::new();
        let _ = std::io::stdin().read_line(&mut told);
        stopped.store(true, Ordering::Relaxed);
    });
    recorder.line(file, 70_000);
}

impl Writer {
    fn start(run: &Path, name: String) -> Writer {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "writing_process", "--ignored", "--nocapture"]);
        command.env("HITLOG_TEST_RUN", run).env("HITLOG_TEST_WRITER", &name);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.ends_with("ready")));
        Writer { child, name }
    }

    /// Lets it end by itself, or kills it.
    fn end(mut self, is_killed: bool) -> String {
        if is_killed {
            self.child.kill().unwrap();
        } else {
            self.child.stdin.as_mut().unwrap().write_all(b"end\n").unwrap();
        }
        let status = self.child.wait().unwrap();
        assert_eq!(status.success(), !is_killed);
        self.name
    }
}

#[test]
fn what_living_writers_recorded_is_there_and_stays_there() {
    let rounds = figure("HITLOG_ROUNDS", 20);
    println!("HITLOG_ROUNDS={rounds}");
    for round in 0..rounds {
        let folder = tempfile::tempdir().unwrap();
        let (run, output) = (folder.path().join("run"), folder.path().join("hitlog.db"));
        let options = Options { delete_logs: true, ..Options::new(&output) };
        let writers: Vec<Writer> =
            (0..4 + round % 5).map(|number| Writer::start(&run, format!("writer {number}"))).collect();
        let logs = fs::read_dir(&run).unwrap().count();
        assert_eq!(logs, writers.len(), "round {round}");
        let mut early = Hits::new();
        for _ in 0..COMPACTIONS {
            let report = compact(std::slice::from_ref(&run), &options, &()).unwrap();
            assert_eq!(report.processes.running, writers.len() as u64, "round {round}");
            assert_eq!((report.damaged, report.foreign, report.unnamed), (0, 0, 0), "round {round}");
            let found = hits(&output);
            assert!(early.is_subset(&found), "round {round}: what was there is gone");
            early = found;
            assert_eq!(
                fs::read_dir(&run).unwrap().count(),
                logs,
                "no log of a living writer is deleted"
            );
        }
        let ends = writers.into_iter().enumerate().map(|(number, writer)| (number % 2 == 1, writer));
        let ended: Vec<(bool, String)> =
            ends.map(|(is_killed, writer)| (is_killed, writer.end(is_killed))).collect();
        let last = compact(std::slice::from_ref(&run), &options, &()).unwrap();
        assert!(last.is_whole(), "round {round}: {last}");
        let late = hits(&output);
        assert!(early.is_subset(&late), "round {round}: what was there is gone");
        for (is_killed, name) in ended {
            assert!(early.contains(&(name.clone(), 1)), "round {round}: {name} recorded it before");
            assert!(
                is_killed || late.contains(&(name.clone(), 70_000)),
                "round {round}: {name}'s last line"
            );
        }
        assert_eq!(
            fs::read_dir(&run).unwrap().count(),
            0,
            "all were read whole, and their writers are gone"
        );
    }
}

fn compactor(run: &Path, output: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hitlog"));
    command.arg("compact").arg(run).arg("-o").arg(output);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn two_compactors_at_once_leave_one_whole_output_each() {
    let starts = figure("HITLOG_STARTS", 500);
    println!("HITLOG_STARTS={starts}");
    let folder = tempfile::tempdir().unwrap();
    let runs: Vec<PathBuf> = (1..=2)
        .map(|number| {
            let run = folder.path().join(format!("run {number}"));
            fs::create_dir(&run).unwrap();
            let mut log = ProcessLog::new(number);
            (1..200).for_each(|line| {
                log.line(&format!("run {number}"), "/shop/cart.py", line);
            });
            log.write(&run);
            run
        })
        .collect();
    let alone: Vec<Vec<u8>> = runs
        .iter()
        .map(|run| {
            let output = folder.path().join("alone.db");
            assert!(compactor(run, &output).wait().unwrap().success());
            fs::read(output).unwrap()
        })
        .collect();
    for start in 0..starts {
        let same = start % 2 == 0;
        let outputs = folder.path().join(if same { "same" } else { "own" });
        fs::create_dir_all(&outputs).unwrap();
        let output =
            |number: usize| outputs.join(if same { "one.db".into() } else { format!("{number}.db") });
        let children = [0, 1].map(|number| compactor(&runs[number], &output(number)));
        for child in children {
            let ended = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success(), "start {start}: {said}");
            assert!(said.contains("compacted in"), "start {start}: {said}");
        }
        for number in [0, 1] {
            let found = fs::read(output(number)).unwrap();
            assert!(
                if same { alone.contains(&found) } else { alone[number] == found },
                "start {start}"
            );
        }
        let names = fs::read_dir(&outputs).unwrap().count();
        assert_eq!(names, if same { 1 } else { 2 }, "start {start}: nothing is left beside");
    }
}

/// A log that is cut, deleted or replaced while its process lives harms neither.
#[test]
fn a_log_that_changes_under_its_writer_harms_no_reader() {
    for round in 0..figure("HITLOG_CHANGES", 100) {
        let folder = tempfile::tempdir().unwrap();
        let (run, output) = (folder.path().join("run"), folder.path().join("hitlog.db"));
        let victim = Writer::start(&run, "victim".into());
        let log = fs::read_dir(&run).unwrap().next().unwrap().unwrap().path();
        let other = ProcessLog::new(1).line("other", "/shop/cart.py", 9).write(&run);
        match round % 3 {
            0 => fs::remove_file(&log).unwrap(),
            1 => fs::rename(&other, &log).unwrap(),
            _ => fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(20_000).unwrap(),
        }
        let report = compact(std::slice::from_ref(&run), &Options::new(&output), &()).unwrap();
        assert_eq!(report.damaged, 0, "round {round}: {report}");
        assert!(round % 3 == 2 || hits(&output) == [("other".to_owned(), 9)].into(), "round {round}");
        // A process whose log was truncated under it dies at its next store, like any that has a mapped file.
        if round % 3 == 2 {
            let mut child = victim.child;
            let _ = child.kill();
            child.wait().unwrap();
        } else {
            assert_eq!(victim.end(false), "victim", "round {round}: its process goes on to its end");
        }
    }
}
