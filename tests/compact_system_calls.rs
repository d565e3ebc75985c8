//! The compactor is killed at every system call, and every call on a file fails: the output is the old one
//! or the new one, whole, and what failed is told. The same when a run of some tests is put into the recording
//! of all, as `pytest --hitlog-affected` does.
//!
//! The faults come from outside, by ptrace(2): what is tested is the program as it is released, and SQLite's
//! calls fail as ours do. Eight errors, once and for every later call of the kind. `HITLOG_FAULTS`
//! sets how many of these faults are tried; a number that is high enough tries all of them.
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

#[path = "common/errors.rs"]
mod errors;
#[path = "common/process_log.rs"]
mod process_log;
#[path = "common/random.rs"]
mod random;
#[path = "common/tracer.rs"]
mod tracer;

use errors::ERRORS;
use hitlog::compactor::renew;
use hitlog::format::Record;
use process_log::ProcessLog;
use random::{Random, figure};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};
use tracer::{Call, Fate, is_on_files, trace};

/// The context of a test that runs once, and of one that an update runs again.
const KEPT: &str = "tests/t.py::a|run";
const AGAIN: &str = "tests/t.py::b|run";
const TEST_FILE: &str = "tests/t.py";

/// The test whose body `context` is.
fn test_of(context: &str) -> &str {
    context.trim_end_matches("|run")
}

/// How a run gets into the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// It is all that the output holds.
    Compaction,
    /// The output holds a run of all tests, and one of them ran again.
    Update,
}

/// A run, its output of before, and what the output is to become.
struct Bench {
    work: Work,
    folder: tempfile::TempDir,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Bench {
    fn new(work: Work) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let mut bench = Bench { work, folder, old: Vec::new(), new: Vec::new() };
        for path in [bench.run(), bench.output(), bench.source(), bench.at(TEST_FILE)] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        fs::create_dir(bench.run()).unwrap();
        fs::write(bench.at(TEST_FILE), "").unwrap();
        let source = bench.source().to_str().unwrap().to_owned();
        let mut log = ProcessLog::new(1);
        log.line(KEPT, &source, 1);
        if work == Work::Update {
            bench.write_source("total = 0\n", &mut log);
            bench.write_tests(&[(KEPT, "passed"), (AGAIN, "failed")]);
        }
        log.write(&bench.run());
        let ended = bench.command(Work::Compaction, 1).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        bench.old = fs::read(bench.output()).unwrap();
        if work == Work::Update {
            fs::remove_dir_all(bench.run()).unwrap();
            fs::create_dir(bench.run()).unwrap();
            log = ProcessLog::new(2);
            // The line that the other test ran goes down.
            bench.write_source("# in cents\ntotal = 0\n", &mut log);
            bench.write_tests(&[(AGAIN, "passed")]);
        }
        (2..50).for_each(|line| {
            log.line(AGAIN, &source, line);
        });
        log.write(&bench.run());
        bench.new = bench.work_untraced();
        assert!(bench.old != bench.new);
        assert_sound(&bench);
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self) -> PathBuf {
        self.at("run")
    }

    fn output(&self) -> PathBuf {
        self.at("out/hitlog.db")
    }

    fn source(&self) -> PathBuf {
        self.at("shop/cart.py")
    }

    /// Writes the program that is tested, as the process of `log` loads it.
    fn write_source(&self, text: &str, log: &mut ProcessLog) {
        fs::write(self.source(), text).unwrap();
        let file = log.file(self.source().to_str().unwrap());
        let metadata = fs::metadata(self.source()).unwrap();
        let mtime_ns = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
        log.push(Record::FileFacts { file, size: metadata.len(), mtime_ns });
    }

    /// Writes what pytest says of the tests that ran: how each `context` ended.
    fn write_tests(&self, ends: &[(&str, &str)]) {
        let ends: BTreeMap<&str, &str> =
            ends.iter().map(|(context, end)| (test_of(context), *end)).collect();
        let surroundings = serde_json::json!({ "root": self.folder.path(), "interpreter": "/none" });
        let told = serde_json::json!({ "outcomes": ends, "surroundings": surroundings });
        fs::write(self.run().join("tests.json"), told.to_string()).unwrap();
    }

    fn command(&self, work: Work, threads: u32) -> Command {
        let mut command;
        match work {
            Work::Compaction => {
                command = Command::new(env!("CARGO_BIN_EXE_hitlog"));
                command
                    .args(["compact", "--strict", "--threads", &threads.to_string()])
                    .arg(self.run());
                command.arg("-o").arg(self.output());
            }
            Work::Update => {
                command = Command::new(std::env::current_exe().unwrap());
                command.args(["--exact", "updating_process", "--ignored", "--nocapture"]);
                command.env("HITLOG_TEST_RUN", self.run()).env("HITLOG_TEST_OUTPUT", self.output());
                command.env("RAYON_NUM_THREADS", threads.to_string());
            }
        }
        command
    }

    fn work_untraced(&self) -> Vec<u8> {
        let ended = self.command(self.work, 1).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        fs::read(self.output()).unwrap()
    }

    /// Puts the old output in its place, by renaming: who reads the one before keeps it.
    fn reset(&self) {
        let folder = self.output().with_file_name("");
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(self.output(), &self.old).unwrap();
    }

    /// Works on the old output; `decide` is told the number of each call from the first one on that
    /// names a file of this bench: what comes before is the dynamic linker's.
    fn work(&self, decide: impl FnMut(usize, &Call) -> Fate) -> Option<Output> {
        self.work_by(1, decide)
    }

    /// With several threads it differs from run to run which call has which number.
    fn work_by(&self, threads: u32, mut decide: impl FnMut(usize, &Call) -> Fate) -> Option<Output> {
        self.reset();
        let is_ours =
            |call: &Call| call.file.as_ref().is_some_and(|file| file.starts_with(self.folder.path()));
        let mut number = 0;
        trace(&mut self.command(self.work, threads), |call| {
            number += usize::from(number > 0 || is_ours(call));
            if number == 0 { Fate::Made } else { decide(number, call) }
        })
    }

    /// Makes what lies beside the output an hour old: what is young may be about to be used.
    fn age_leftovers(&self) {
        for name in self.leftovers() {
            let leftover =
                File::options().write(true).open(self.output().with_file_name(name)).unwrap();
            leftover.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        }
    }

    /// What lies beside the output.
    fn leftovers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.output().with_file_name("")).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name != "hitlog.db").collect()
    }
}

/// The calls of an undisturbed compaction; `None`, with a message, where nothing can be traced.
fn all_calls(bench: &Bench) -> Option<Vec<Call>> {
    let mut calls = Vec::new();
    let ended = bench.work(|_, call| {
        calls.push(call.clone());
        Fate::Made
    });
    if ended.is_none() {
        println!("skipped: ptrace(2) is not allowed here");
        return None;
    }
    assert!(fs::read(bench.output()).unwrap() == bench.new, "the tracer disturbs nothing");
    assert!(calls.len() > 50, "{calls:?}");
    Some(calls)
}

/// Fails unless SQLite finds nothing wrong with the output, and it knows of the test that did not run again.
fn assert_sound(bench: &Bench) {
    let connection = Connection::open(bench.output()).unwrap();
    let check: String = connection.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let mut who = Command::new(env!("CARGO_BIN_EXE_hitlog"));
    who.args(["who", "cart.py:1-2", "--format=names", "--db"]).arg(bench.output());
    let told = who.output().unwrap();
    let tests = String::from_utf8(told.stdout.clone()).unwrap();
    assert!(tests.lines().any(|test| test == test_of(KEPT)), "{told:?}");
}

/// Whether the call `number` may change what is in a file or folder, or who holds it.
fn may_change_files(number: i64) -> bool {
    let is_reading = [
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_access,
        libc::SYS_readlink,
        libc::SYS_statfs,
        libc::SYS_newfstatat,
        libc::SYS_readlinkat,
        libc::SYS_statx,
        libc::SYS_faccessat2,
        libc::SYS_read,
        libc::SYS_pread64,
        libc::SYS_fstat,
        libc::SYS_lseek,
        libc::SYS_getdents64,
        // Locks of SQLite's, which no process outlives.
        libc::SYS_fcntl,
    ];
    is_on_files(number) && !is_reading.contains(&number)
}

/// Kills a compaction at each of its calls. Of an update, which makes some 2,000, at each that may change a
/// file: between two of these, what is on the disk stays the same.
fn is_whole_whenever_killed(work: Work) {
    let bench = Bench::new(work);
    let Some(mut calls) = all_calls(&bench) else { return };
    let is_counted = |call: &Call| work == Work::Compaction || may_change_files(call.number);
    calls.retain(is_counted);
    let (mut old, mut new) = (0, 0);
    for nth in 1..=calls.len() {
        bench.reset();
        let reader = Connection::open(bench.output()).unwrap();
        reader.execute_batch("begin; select * from context").unwrap();
        let mut number = 0;
        let ended = bench.work(|_, call| {
            number += usize::from(is_counted(call));
            if number == nth { Fate::Killed } else { Fate::Made }
        });
        // Threads wait for each other more or less often, so that the last calls may not be reached.
        let is_killed = ended.unwrap().status.signal() == Some(libc::SIGKILL);
        assert_eq!(is_killed, number >= nth, "{number} calls, of which one was to kill it: {nth}");
        let found = fs::read(bench.output()).unwrap();
        assert!(found == bench.old || found == bench.new, "killed at {nth}, {:?}", calls[nth - 1]);
        old += usize::from(found == bench.old);
        new += usize::from(found == bench.new);
        let temporary = |name: &String| name.starts_with(".hitlog-") && name.ends_with(".tmp");
        assert!(bench.leftovers().iter().all(temporary), "{nth}: {:?}", bench.leftovers());
        if nth % 10 == 0 {
            assert_sound(&bench);
            bench.age_leftovers();
            assert!(bench.work_untraced() == bench.new, "{nth}: the second run gives the same bytes");
            assert!(bench.leftovers().is_empty(), "{nth}: {:?}", bench.leftovers());
        }
    }
    assert!(old > 20 && new > 0, "{old} times before the rename, {new} times after it");
}

#[test]
fn killed_at_any_system_call_the_output_is_the_old_one_or_the_new_one() {
    is_whole_whenever_killed(Work::Compaction);
}

#[test]
fn an_update_killed_at_any_system_call_leaves_the_old_recording_or_the_new_one() {
    is_whole_whenever_killed(Work::Update);
}

/// Not a test: what pytest does with the run of affected tests.
#[test]
#[ignore = "the updating process of other tests"]
fn updating_process() {
    let Some(run) = std::env::var_os("HITLOG_TEST_RUN") else { return };
    let output = std::env::var_os("HITLOG_TEST_OUTPUT").unwrap();
    let ended = renew(run.into(), Path::new(&output), &[test_of(AGAIN).to_owned()], &[]);
    let (status, said) = match ended {
        Ok(report) => (i32::from(!report.is_whole()), report.to_string()),
        Err(error) => (2, format!("hitlog: {error}\n")),
    };
    let _ = std::io::stderr().write_all(said.as_bytes());
    std::process::exit(status);
}

/// Which call fails, and how.
#[derive(Clone, Copy, Debug)]
struct Fault {
    nth: usize,
    errno: i32,
    for_ever: bool,
}

fn all_faults(calls: &[Call]) -> Vec<Fault> {
    let on_files = (1..=calls.len()).filter(|nth| is_on_files(calls[nth - 1].number));
    let of_call = |nth: usize| {
        let once = ERRORS.map(|errno| Fault { nth, errno, for_ever: false });
        // No system returns EINTR for ever, and everybody calls again.
        let lasting = ERRORS.into_iter().filter(|errno| *errno != libc::EINTR);
        once.into_iter().chain(lasting.map(move |errno| Fault { nth, errno, for_ever: true }))
    };
    on_files.flat_map(of_call).collect()
}

#[test]
fn whatever_call_fails_the_output_is_whole_and_the_failure_is_told() {
    is_whole_whatever_fails(Work::Compaction);
}

#[test]
fn whatever_call_of_an_update_fails_the_recording_is_whole_and_the_failure_is_told() {
    is_whole_whatever_fails(Work::Update);
}

fn is_whole_whatever_fails(work: Work) {
    let Some(calls) = all_calls(&Bench::new(work)) else { return };
    let mut faults = all_faults(&calls);
    assert!(faults.len() > 1000, "{}", faults.len());
    Random(random::seed()).shuffle(&mut faults);
    // One call among hundreds, and the one that a promise rests on.
    faults.sort_by_key(|fault| !is_sync(&calls[fault.nth - 1]));
    assert!(is_sync(&calls[faults[0].nth - 1]));
    // Each takes 18 ms of processor time, and there are more than a thousand.
    faults.truncate(figure("HITLOG_FAULTS", 150) as usize);
    let parts = faults.chunks(faults.len().div_ceil(2));
    let not_done: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = parts
            .map(|part| {
                let calls = &calls;
                scope.spawn(move || {
                    let bench = Bench::new(work);
                    part.iter().filter(|fault| fails(&bench, calls, **fault)).count()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert!(not_done > faults.len() / 20, "only {not_done} of {} faults stopped it", faults.len());
}

#[test]
fn whatever_cannot_be_written_is_told_by_the_thread_that_fills_pages_too() {
    let bench = Bench::new(Work::Compaction);
    let is_write = |call: &Call| {
        let extension = call.file.as_ref().and_then(|file| file.extension());
        call.number == libc::SYS_pwrite64 && extension.is_some_and(|extension| extension == "tmp")
    };
    // Which is the last one is found out on the way.
    for nth in 1.. {
        for for_ever in [true, false] {
            let mut writes = 0;
            let ended = bench.work_by(2, |_, call| {
                writes += usize::from(is_write(call));
                let is_it = is_write(call) && (writes == nth || for_ever && writes > nth);
                if is_it { Fate::Fails(libc::ENOSPC) } else { Fate::Made }
            });
            let Some(ended) = ended else {
                println!("skipped: ptrace(2) is not allowed here");
                return;
            };
            let found = fs::read(bench.output()).unwrap();
            if writes < nth {
                assert!(nth > 10, "only {writes} writes");
                assert!(ended.status.success() && found == bench.new);
                return;
            }
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(2), "{nth}: {said}");
            assert!(said.contains("full") || said.contains("No space left"), "{nth}: {said}");
            assert!(found == bench.old, "{nth}");
            assert!(bench.leftovers().is_empty(), "{nth}: {:?}", bench.leftovers());
        }
    }
}

#[test]
fn a_test_whose_file_cannot_be_looked_at_stays_in_the_recording() {
    let bench = Bench::new(Work::Update);
    let mut looks = 0;
    let ended = bench.work(|_, call| {
        let is_look = call.file.as_ref().is_some_and(|file| *file == bench.at(TEST_FILE));
        looks += usize::from(is_look);
        if is_look { Fate::Fails(libc::EIO) } else { Fate::Made }
    });
    let Some(ended) = ended else {
        println!("skipped: ptrace(2) is not allowed here");
        return;
    };
    assert!(ended.status.success() && looks > 0, "{looks}: {ended:?}");
    assert_sound(&bench);
}

#[test]
fn a_folder_that_cannot_be_synced_is_told() {
    for work in [Work::Compaction, Work::Update] {
        let bench = Bench::new(work);
        let ended = bench.work(|_, call| {
            let is_folder = call.file.as_deref() == bench.output().parent();
            let is_it = is_folder && call.number == libc::SYS_fsync;
            if is_it { Fate::Fails(libc::EIO) } else { Fate::Made }
        });
        let Some(ended) = ended else {
            println!("skipped: ptrace(2) is not allowed here");
            return;
        };
        assert_eq!(fs::read(bench.output()).unwrap(), bench.new, "{work:?}: {ended:?}");
        let said = format!("{ended:?}");
        let note = format!("{}: its folder cannot be brought to the medium", bench.output().display());
        assert!(ended.status.success() && said.contains(&note), "{work:?}: {said}");
    }
}

/// Whether `call` brings the file that becomes the output to the medium.
fn is_sync(call: &Call) -> bool {
    let is_temporary = call
        .file
        .as_ref()
        .and_then(|file| file.extension())
        .is_some_and(|extension| extension == "tmp");
    is_temporary && [libc::SYS_fsync, libc::SYS_fdatasync].contains(&call.number)
}

/// Makes a call fail; whether that stopped the compaction.
fn fails(bench: &Bench, calls: &[Call], Fault { nth, errno, for_ever }: Fault) -> bool {
    let mut failed: Vec<Call> = Vec::new();
    let output = bench.work(|number, call| {
        let again = for_ever && failed.first().is_some_and(|first| first.number == call.number);
        let is_it = number == nth && is_on_files(call.number);
        if is_it || again {
            failed.push(call.clone());
            Fate::Fails(errno)
        } else {
            Fate::Made
        }
    });
    let ended = output.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let what = format!(
        "call {nth} of {}, errno {errno}, for ever: {for_ever}, {:?}: {:?}, {said}",
        calls.len(),
        failed.first(),
        ended.status
    );
    let is_of = |part: &str| failed.iter().any(|call| format!("{call:?}").contains(part));
    let found = fs::read(bench.output()).unwrap_or_else(|error| panic!("{error}: {what}"));
    match ended.status.code() {
        Some(0) => {
            // An update takes a source that it cannot read for changed, and says what it does not know of tests.
            let is_about_sources = bench.work == Work::Update
                && (is_of("/shop") || said.contains("tests.json: not understood"));
            assert!(found == bench.new || is_about_sources, "done, but not whole: {what}");
            // Interrupted, it is called again.
            let is_synced = errno == libc::EINTR || !failed.iter().any(is_sync);
            assert!(is_synced, "done, but it was not synced: {what}");
        }
        // Damage in what was read is told and no reason to stop.
        Some(1) => assert!(is_of("/run"), "{what}"),
        Some(2) => {
            assert!(found == bench.old, "not done, but the output changed: {what}");
            let is_told = said.starts_with("hitlog: ")
                || failed.iter().any(|call| call.number == libc::SYS_write);
            assert!(is_told, "{what}");
            let file = said.split(": ").nth(1).unwrap_or_default();
            let is_scratch = file.contains("/.hitlog-") && said.contains("with -o");
            assert!(!is_scratch, "nobody chose this file: {what}");
        }
        _ => panic!("{what}"),
    }
    let cannot_remove = for_ever && failed.iter().any(|call| call.number == libc::SYS_unlink);
    assert!(cannot_remove || bench.leftovers().is_empty(), "{:?}: {what}", bench.leftovers());
    ended.status.code() == Some(2)
}
