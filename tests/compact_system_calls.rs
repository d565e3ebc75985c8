//! The compactor is killed at every system call, and every call on a file fails: the output is the old one
//! or the new one, whole, and what failed is told.
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
use process_log::ProcessLog;
use random::{Random, figure};
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tracer::{Call, Fate, is_on_files, trace};

/// A run, its output of before, and what the output is to become.
struct Bench {
    folder: tempfile::TempDir,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { folder: tempfile::tempdir().unwrap(), old: Vec::new(), new: Vec::new() };
        fs::create_dir_all(bench.run()).unwrap();
        fs::create_dir_all(bench.output().parent().unwrap()).unwrap();
        let mut log = ProcessLog::new(1);
        log.line("tests/t.py::a|run", "/shop/cart.py", 1).write(&bench.run());
        let old = bench.compact_untraced();
        (2..50).for_each(|line| {
            log.line("tests/t.py::b|run", "/shop/cart.py", line);
        });
        log.write(&bench.run());
        let new = bench.compact_untraced();
        assert!(old != new);
        Bench { old, new, ..bench }
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("out").join("hitlog.db")
    }

    fn command(&self, threads: u32) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hitlog"));
        command.args(["compact", "--strict", "--threads", &threads.to_string()]).arg(self.run());
        command.arg("-o").arg(self.output());
        command
    }

    fn compact_untraced(&self) -> Vec<u8> {
        assert!(self.command(1).output().unwrap().status.success());
        fs::read(self.output()).unwrap()
    }

    /// Puts the old output in its place, by renaming: who reads the one before keeps it.
    fn reset(&self) {
        let folder = self.output().with_file_name("");
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(self.output(), &self.old).unwrap();
    }

    /// Compacts over the old output; `decide` is told the number of each call from the first one on that
    /// names a file of this bench: what comes before is the dynamic linker's.
    fn compact(&self, decide: impl FnMut(usize, &Call) -> Fate) -> Option<Output> {
        self.compact_by(1, decide)
    }

    /// With several threads it differs from run to run which call has which number.
    fn compact_by(&self, threads: u32, mut decide: impl FnMut(usize, &Call) -> Fate) -> Option<Output> {
        self.reset();
        let is_ours =
            |call: &Call| call.file.as_ref().is_some_and(|file| file.starts_with(self.folder.path()));
        let mut number = 0;
        trace(&mut self.command(threads), |call| {
            number += usize::from(number > 0 || is_ours(call));
            if number == 0 { Fate::Made } else { decide(number, call) }
        })
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
    let ended = bench.compact(|_, call| {
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

fn is_sound(output: &Path) -> bool {
    let connection = Connection::open(output).unwrap();
    connection
        .query_row("pragma integrity_check", [], |row| row.get(0))
        .is_ok_and(|text: String| text == "ok")
}

#[test]
fn killed_at_any_system_call_the_output_is_the_old_one_or_the_new_one() {
    let bench = Bench::new();
    let Some(calls) = all_calls(&bench) else { return };
    let (mut old, mut new) = (0, 0);
    for nth in 1..=calls.len() {
        bench.reset();
        let reader = Connection::open(bench.output()).unwrap();
        reader.execute_batch("begin; select * from context").unwrap();
        let kill = |number, _: &Call| if number == nth { Fate::Killed } else { Fate::Made };
        bench.compact(kill).unwrap();
        let found = fs::read(bench.output()).unwrap();
        assert!(found == bench.old || found == bench.new, "killed at {nth}, {:?}", calls[nth - 1]);
        old += usize::from(found == bench.old);
        new += usize::from(found == bench.new);
        let temporary = |name: &String| name.starts_with(".hitlog-") && name.ends_with(".tmp");
        assert!(bench.leftovers().iter().all(temporary), "{nth}: {:?}", bench.leftovers());
        if nth % 10 == 0 {
            assert!(is_sound(&bench.output()), "{nth}");
            assert!(
                bench.compact_untraced() == bench.new,
                "{nth}: the second run gives the same bytes"
            );
        }
    }
    assert!(old > 20 && new > 0, "{old} times before the rename, {new} times after it");
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
    let Some(calls) = all_calls(&Bench::new()) else { return };
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
                    let bench = Bench::new();
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
    let bench = Bench::new();
    let is_write = |call: &Call| {
        let extension = call.file.as_ref().and_then(|file| file.extension());
        call.number == libc::SYS_pwrite64 && extension.is_some_and(|extension| extension == "tmp")
    };
    // Which is the last one is found out on the way.
    for nth in 1.. {
        for for_ever in [true, false] {
            let mut writes = 0;
            let ended = bench.compact_by(2, |_, call| {
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
    let output = bench.compact(|number, call| {
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
            assert!(found == bench.new, "done, but not whole: {what}");
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
        }
        _ => panic!("{what}"),
    }
    let cannot_remove = for_ever && failed.iter().any(|call| call.number == libc::SYS_unlink);
    assert!(cannot_remove || bench.leftovers().is_empty(), "{:?}: {what}", bench.leftovers());
    ended.status.code() == Some(2)
}
