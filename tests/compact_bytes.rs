//! The same logs give the same bytes: in any order, with any number of threads, however little memory.
//!
//! `HITLOG_PERMUTATIONS` sets how many orders are tried, a third of them for each kind of log.

#[path = "common/process_log.rs"]
mod process_log;
#[path = "common/random.rs"]
mod random;

use hitlog::compactor::{Options, compact};
use hitlog::format::{EndReason, NameSpace, Record};
use process_log::{MONOTONIC_START_NS, ProcessLog};
use random::{Random, figure};
use std::fs;
use std::path::{Path, PathBuf};

/// Logs with what makes order matter, if anything does: shared and own names, copies, other states,
/// children.
fn varied_logs(run: &Path, has_arcs: bool) -> Vec<PathBuf> {
    let log = |pid: u32| {
        let mut log = ProcessLog::new(pid);
        if pid.is_multiple_of(3) {
            (0..20).for_each(|number| _ = log.inherit(&format!("t{number}")));
        }
        for number in 0..400 {
            let mixed = (number * 7919 + pid * 104_729) % 1000;
            let (context, file) = (format!("t{}", mixed % 37), format!("/f{}.py", mixed % 11));
            log.line(&context, &file, 1 + mixed * 3);
            if has_arcs && number % 5 == 0 {
                log.arc(&context, &file, -(mixed as i32), mixed as i32);
            }
        }
        if pid.is_multiple_of(3) {
            // Lines that only children ran, more than fit a page.
            (0..600).for_each(|n| {
                _ = log.line(&format!("t{}", n % 20), &format!("/f{}.py", n % 11), 5001 + 2 * n)
            });
        }
        let (file, context) = (log.file("/f1.py"), log.context("t1"));
        let name = log.name(NameSpace::Sample, "rss") as u16;
        log.push(Record::FileFacts { file, size: u64::from(pid), mtime_ns: 5 });
        log.push(Record::Sample { name, context, time_ns: MONOTONIC_START_NS, value: u64::from(pid) });
        if pid.is_multiple_of(2) {
            log.end(EndReason::Closed, Some(0));
        }
        log
    };
    let mut paths: Vec<PathBuf> = (1..=7).map(|pid| log(pid).write(run)).collect();
    paths.push(process_log::write(&run.join("copy.hitlog"), &log(3).bytes()));
    paths
}

#[test]
fn the_same_logs_give_the_same_bytes() {
    let kinds = [(false, false), (true, false), (true, true)];
    let orders = figure("HITLOG_PERMUTATIONS", 200) as usize;
    for (has_arcs, plain_tables) in kinds {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let output = folder.path().join("out.db");
        fs::create_dir(&run).unwrap();
        let mut paths = varied_logs(&run, has_arcs);
        let bytes = |paths: &[PathBuf], threads, memory_bytes| {
            let threads = Some(threads);
            let options = Options { threads, memory_bytes, plain_tables, ..Options::new(&output) };
            let report = compact(paths, &options, &()).unwrap();
            (fs::read(&output).unwrap(), report.lines, report.arcs)
        };
        let expected = bytes(&paths, 1, 1 << 30);
        let of_children = rusqlite::Connection::open(&output).unwrap();
        let of_children: u32 = of_children
            .query_row("select count(*) from hitlog_child_lines", [], |row| row.get(0))
            .unwrap();
        assert!(of_children >= 600, "{of_children}");
        let mut random = Random(random::seed());
        for round in 0..orders.div_ceil(kinds.len()) {
            random.shuffle(&mut paths);
            assert!(bytes(&paths, 1 + round % 16, 1 << 30) == expected, "round {round}");
        }
        for memory_bytes in [1, 1000, 10_000, 30_000] {
            assert!(bytes(&paths, 3, memory_bytes) == expected, "in parts of {memory_bytes} bytes");
        }
    }
}

#[test]
fn a_log_of_several_chunks_is_read_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = folder.path().join("out.db");
    fs::create_dir(&run).unwrap();
    let mut log = ProcessLog::new(1);
    let file = log.file("/a.py");
    let slots = (1_u32 << 20) * 2 + 1000;
    for number in 0..slots {
        let (context, line) = (log.records.len() as u32 % 3, 1 + number % 5000);
        log.push(Record::Line { context: context.min(1), file, line });
    }
    let late = log.context("named at the end");
    assert_eq!(late, 1);
    log.end(EndReason::Closed, None).write(&run);
    let report = compact(std::slice::from_ref(&run), &Options::new(&output), &()).unwrap();
    let without_trailer = log.records.len() as u64 - 1;
    assert_eq!((report.lines, report.contexts, report.records), (5000, 1, without_trailer));
    let whole = fs::read(&output).unwrap();
    let options = Options { memory_bytes: 1000, threads: Some(2), ..Options::new(&output) };
    compact(std::slice::from_ref(&run), &options, &()).unwrap();
    assert!(fs::read(&output).unwrap() == whole, "in parts");
}

/// Arcs of one file and context that do not fit the memory: they are read in parts of that pair.
#[test]
fn a_pair_with_very_many_arcs_is_divided() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.db");
    let mut log = ProcessLog::new(1);
    let (file, context) = (log.file("/a.py"), log.context("t"));
    for number in 0..300_000 {
        let from = (number % 1000) * 79 % 1000 - 500;
        log.push(Record::Arc { context, file, from, to: number / 100 });
        log.push(Record::Line { context, file, line: 1 + (number * 31) as u32 % 5000 });
    }
    log.arc("u", "/a.py", 1, 2).line("", "/b.py", 3);
    let path = log.write(folder.path());
    for plain_tables in [false, true] {
        let bytes = |memory_bytes| {
            let options = Options { memory_bytes, plain_tables, ..Options::new(&output) };
            let report = compact(std::slice::from_ref(&path), &options, &()).unwrap();
            assert!(report.arcs > 250_000 && report.lines > 5000, "{report}");
            (fs::read(&output).unwrap(), report.arcs, report.lines)
        };
        assert!(bytes(1 << 30) == bytes(1000));
    }
}

/// More files and contexts than have their arcs numbered at once, in whole and in parts that begin within a file.
#[test]
fn arcs_are_numbered_in_parallel() {
    const FILES: usize = 9;
    const CONTEXTS: usize = 6000;
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.db");
    let mut log = ProcessLog::new(1);
    let files: Vec<u32> = (0..FILES).map(|number| log.file(format!("/{number}.py"))).collect();
    for number in 0..CONTEXTS {
        let context = log.context(format!("t{number}"));
        for (position, file) in files.iter().enumerate() {
            let line = 1 + (number * 31 + position) as i32 % 3000;
            log.push(Record::Arc { context, file: *file, from: line, to: line + 1 });
            log.push(Record::Line { context, file: *file, line: line as u32 });
        }
    }
    let path = log.write(folder.path());
    let bytes = |threads, memory_bytes| {
        let options = Options { threads: Some(threads), memory_bytes, ..Options::new(&output) };
        let report = compact(std::slice::from_ref(&path), &options, &()).unwrap();
        assert_eq!((report.arcs, report.lines), (3000 * FILES as u64, 3001 * FILES as u64));
        fs::read(&output).unwrap()
    };
    let expected = bytes(1, 1 << 30);
    let connection = rusqlite::Connection::open(&output).unwrap();
    let pairs = "select count(*) from (select distinct file_id, context_id from arc)";
    let pairs: u32 = connection.query_row(pairs, [], |row| row.get(0)).unwrap();
    assert_eq!(pairs as usize, FILES * CONTEXTS);
    drop(connection);
    assert!(bytes(2, 1 << 30) == expected);
    assert!(bytes(5, 1 << 30) == expected);
    assert!(bytes(3, 3 << 20) == expected, "in parts");
}
