//! Merged recordings: exactly what compacting all their logs together gives, whatever lies in between.

#[path = "common/process_log.rs"]
mod process_log;

use hitlog::compactor::{CombineOptions, Options, PathMap, Recording, combine, compact, update};
use hitlog::format::{EndReason, Record};
use hitlog::query::affected::Renewal;
use process_log::{MONOTONIC_START_NS, ProcessLog};
use proptest::prelude::*;
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Compacts `logs`, of which each lies in one place, whoever compacts it.
    fn compact(&self, name: &str, logs: &[ProcessLog], plain_tables: bool) -> PathBuf {
        fs::create_dir_all(self.at("run")).unwrap();
        let paths: Vec<_> = logs.iter().map(|log| log.write(&self.at("run"))).collect();
        compact(&paths, &Options { plain_tables, ..Options::new(self.at(name)) }, &()).unwrap();
        self.at(name)
    }

    fn combine(&self, recordings: &[Recording], maps: Vec<PathMap>, plain_tables: bool) -> PathBuf {
        let output = self.at("merged.db");
        combine(recordings, &CombineOptions { output: output.clone(), maps, plain_tables }).unwrap();
        output
    }
}

fn joined(path: &Path) -> Recording {
    Recording { path: path.to_owned(), label: None }
}

/// Every table and index of a database with every row, in the order of the file.
fn dump(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let check: String = connection.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let mut dump = Vec::new();
    let objects =
        "select type || ' ' || name || ' ' || coalesce(sql, '') from sqlite_master order by 1";
    let tables = "select name from sqlite_master where type = 'table' order by 1";
    let list = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    dump.extend(list(objects));
    for table in list(tables) {
        let mut statement = connection.prepare(&format!("select * from {table}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<_> =
                (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at).unwrap()).collect();
            dump.push(format!("{table} {values:?}"));
        }
    }
    dump
}

/// A log with some of everything that a log can hold.
fn log(number: u32, hits: &[(u32, u32, i32, i32)], has_arcs: bool) -> ProcessLog {
    let mut log = ProcessLog::new(number + 1);
    if number % 2 == 1 {
        log.inherit("t.py::test_1|run").inherit(&format!("t.py::test_{number}|run"));
    }
    let context_of = |context| match context {
        0 => String::new(),
        context => format!("t.py::test_{context}|run"),
    };
    for (context, file, from, to) in hits {
        let (context, path) = (context_of(*context), format!("/src/f{file}.py"));
        match has_arcs && from != to {
            true => log.arc(&context, &path, *from, *to),
            false => log.line(&context, &path, from.unsigned_abs() + 1),
        };
    }
    log.start("t.py::test_1|run", 5 + u64::from(number)).stop("t.py::test_1|run", 900);
    log.start(&format!("t.py::test_{number}|run"), 1000);
    let file = log.file("/src/f0.py");
    let mtime_ns = 1_000_000 + i64::from(number % 3);
    log.push(Record::FileFacts { file, size: 100 + u64::from(number % 2), mtime_ns });
    let name = log.name(hitlog::format::NameSpace::Sample, "rss");
    let name = u16::try_from(name).unwrap();
    log.push(Record::Sample { name, context: 0, time_ns: MONOTONIC_START_NS + 3, value: u64::MAX });
    if number.is_multiple_of(2) {
        log.end(EndReason::Closed, Some(3));
    }
    log
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn merging_is_compacting_everything_together(
        logs in prop::collection::vec(
            (prop::collection::vec((0..4u32, 0..4u32, -9..300i32, -9..300i32), 0..60), any::<bool>(), 0..7u8),
            1..5,
        ),
        plain_tables: bool,
        reversed: bool,
    ) {
        let folder = Folder::new();
        let all: Vec<(ProcessLog, u8)> = (0..)
            .zip(logs)
            .map(|(number, (hits, has_arcs, places))| (log(number, &hits, has_arcs), places + 1))
            .collect();
        // Each log is in one, two or all of three recordings.
        let mut recordings = Vec::new();
        for place in 0..3 {
            let here = all.iter().filter(|(_, places)| places >> place & 1 == 1);
            let here: Vec<ProcessLog> = here.map(|(log, _)| log.clone()).collect();
            if !here.is_empty() {
                recordings.push(joined(&folder.compact(&format!("{place}.db"), &here, place == 1)));
            }
        }
        if reversed {
            recordings.reverse();
        }
        let logs: Vec<ProcessLog> = all.into_iter().map(|(log, _)| log).collect();
        let together = folder.compact("together.db", &logs, plain_tables);
        let merged = folder.combine(&recordings, Vec::new(), plain_tables);
        prop_assert_eq!(dump(&merged), dump(&together));
        let again = folder.combine(&[joined(&merged), joined(&merged)], Vec::new(), plain_tables);
        prop_assert_eq!(dump(&again), dump(&together), "into itself, twice");
    }
}

fn rows(path: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

const LINES: &str = "select path || ':' || line || ' ' || context from hitlog_line order by 1";

#[test]
fn a_log_that_grew_counts_as_it_was_when_it_was_longest() {
    let folder = Folder::new();
    let mut log = ProcessLog::new(7);
    log.line("t", "/a.py", 1).start("t", 10);
    let young = folder.compact("young.db", std::slice::from_ref(&log), false);
    log.line("t", "/a.py", 2).stop("t", 30).end(EndReason::Closed, Some(0));
    let old = folder.compact("old.db", &[log], false);
    let expected = dump(&old);
    for order in [[&young, &old], [&old, &young]] {
        let merged = folder.combine(&order.map(|path| joined(path)), Vec::new(), false);
        assert_eq!(dump(&merged), expected);
    }
}

#[test]
fn contexts_are_joined_or_kept_apart() {
    let folder = Folder::new();
    let record = |name: &str, pid: u32, line: u32| {
        let mut log = ProcessLog::new(pid);
        log.line("t.py::a|run", "/a.py", line).line("", "/a.py", 9).start("t.py::a|run", 1);
        folder.compact(name, &[log], false)
    };
    let (first, second) = (record("1.db", 1, 1), record("2.db", 2, 2));
    let merged = folder.combine(&[joined(&first), joined(&second)], Vec::new(), false);
    assert_eq!(rows(&merged, LINES), ["/a.py:1 t.py::a|run", "/a.py:2 t.py::a|run", "/a.py:9 "]);
    let labelled = Recording { label: Some("py39".into()), ..joined(&second) };
    let merged = folder.combine(&[joined(&first), labelled], Vec::new(), false);
    let expected = ["/a.py:1 t.py::a|run", "/a.py:2 py39|t.py::a|run", "/a.py:9 ", "/a.py:9 py39"];
    assert_eq!(rows(&merged, LINES), expected);
    let last = rows(&merged, "select last_context from hitlog_log order by pid");
    assert_eq!(last, ["t.py::a|run", "py39|t.py::a|run"]);
}

#[test]
fn paths_of_other_machines_become_those_of_this_one() {
    let folder = Folder::new();
    let record = |name: &str, pid: u32, path: &str, line: u32| {
        let mut log = ProcessLog::new(pid);
        log.line("t", path, line);
        let file = log.file(path);
        log.push(Record::FileFacts { file, size: 5, mtime_ns: i64::from(pid) });
        joined(&folder.compact(name, &[log], false))
    };
    let recordings = [
        record("1.db", 1, "/app/src/a.py", 1),
        record("2.db", 2, "/ci/7/src/a.py", 2),
        record("3.db", 3, "/apple/a.py", 3),
    ];
    let maps = vec![PathMap::new("/app", "/here"), PathMap::new("/ci/7/", "/here")];
    let merged = folder.combine(&recordings, maps, false);
    let expected = ["/apple/a.py:3 t", "/here/src/a.py:1 t", "/here/src/a.py:2 t"];
    assert_eq!(rows(&merged, LINES), expected);
    let states =
        "select path || ' ' || mtime_ns from hitlog_file join file on file.id = file_id order by 1";
    assert_eq!(rows(&merged, states), ["/apple/a.py 3", "/here/src/a.py 2"], "of two states the later");
}

#[test]
fn what_cannot_be_merged_leaves_the_output_as_it_was() {
    let folder = Folder::new();
    let good = folder.compact("good.db", &[log(1, &[(1, 1, 1, 1)], false)], false);
    let before = fs::read(&good).unwrap();
    fs::write(folder.at("text.db"), "total = 1\n".repeat(20)).unwrap();
    for bad in ["none.db", "text.db"] {
        let options = CombineOptions { output: good.clone(), maps: Vec::new(), plain_tables: false };
        let error =
            combine(&[joined(&good), joined(&folder.at(bad))], &options).unwrap_err().to_string();
        assert!(error.starts_with(&folder.at(bad).display().to_string()), "{error}");
    }
    let options =
        CombineOptions { output: folder.at("text.db"), maps: Vec::new(), plain_tables: false };
    let error = combine(&[joined(&good)], &options).unwrap_err().to_string();
    assert!(error.contains("which is not replaced"), "{error}");
    assert!(fs::read(&good).unwrap() == before);
    let mut names: Vec<_> =
        fs::read_dir(folder.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["good.db", "run", "text.db"], "no temporary file is left");
}

/// Makes it what coverage.py itself writes: without any table of hitlog's.
fn without_own_tables(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let own = "select 'drop ' || type || ' ' || name from sqlite_master
                where name like 'hitlog\\_%' escape '\\' and type in ('table', 'view') order by type desc";
    for drop in rows(path, own) {
        connection.execute_batch(&drop).unwrap();
    }
}

#[test]
fn a_file_of_coverage_py_is_merged_as_well() {
    let folder = Folder::new();
    let record = |name: &str, pid: u32, line: u32| {
        let mut log = ProcessLog::new(pid);
        log.line("t", "/a.py", line);
        folder.compact(name, &[log], false)
    };
    let (ours, theirs) = (record("1.db", 1, 1), record("2.db", 2, 2));
    without_own_tables(&theirs);
    for order in [[&ours, &theirs], [&theirs, &ours]] {
        let merged = folder.combine(&order.map(|path| joined(path)), Vec::new(), false);
        assert_eq!(rows(&merged, LINES), ["/a.py:1 t", "/a.py:2 t"]);
        assert_eq!(rows(&merged, "select log_id from hitlog_log").len(), 1);
    }
}

#[test]
fn of_several_ends_of_a_test_the_worst_counts() {
    let folder = Folder::new();
    let record = |name: &str, pid: u32, ends: &str| {
        let path = folder.compact(name, &[ProcessLog::new(pid)], false);
        let sql = format!("insert into hitlog_test values {ends}");
        Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
        joined(&path)
    };
    let ends = [
        record("1.db", 1, "('a', 'passed'), ('b', 'failed'), ('c', 'skipped'), ('d', 'passed')"),
        record("2.db", 2, "('a', 'failed'), ('b', 'passed'), ('c', 'pending')"),
    ];
    let told = "select test || ' ' || outcome from hitlog_test order by 1";
    for order in [[0, 1], [1, 0]] {
        let merged = folder.combine(&order.map(|at| ends[at].clone()), Vec::new(), false);
        assert_eq!(rows(&merged, told), ["a failed", "b failed", "c pending", "d passed"]);
    }
}

#[test]
fn a_source_is_remembered_only_if_all_ran_it() {
    let folder = Folder::new();
    let path = folder.at("a.py");
    let seconds = |at: u64| std::time::UNIX_EPOCH + std::time::Duration::from_secs(at);
    let record = |name: &str, pid: u32, source: &str, at: u64| {
        fs::write(&path, source).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(seconds(at)).unwrap();
        let mut log = ProcessLog::new(pid);
        log.line("t", path.to_str().unwrap(), 1);
        let file = log.file(path.to_str().unwrap());
        let (size, mtime_ns) = (source.len() as u64, at as i64 * 1_000_000_000);
        log.push(Record::FileFacts { file, size, mtime_ns });
        joined(&folder.compact(name, &[log], false))
    };
    let recordings = [
        record("1.db", 1, "x = 1\n", 10),
        record("2.db", 2, "x = 1\n", 20),
        record("3.db", 3, "x = 2\n", 30),
        record("4.db", 4, "x = 3\n", 30),
    ];
    let state = |order: &[usize]| {
        let chosen: Vec<Recording> = order.iter().map(|at| recordings[*at].clone()).collect();
        let told = "select state || ' ' || (source is null) from hitlog_source";
        rows(&folder.combine(&chosen, Vec::new(), false), told)
    };
    assert_eq!(state(&[0, 1]), ["kept 0"], "the same text in another copy");
    for others in [[1, 2], [2, 1], [2, 3]] {
        assert_eq!(state(&others), ["changed 1"], "{others:?} ran different texts");
    }
}

#[test]
fn an_updated_recording_keeps_what_is_still_true() {
    for has_arcs in [false, true] {
        let (folder, path) = (Folder::new(), "/a.py");
        let (kept, replaced) = ("t.py::a|run", "t.py::b|run");
        let mut worker = ProcessLog::new(1);
        worker.start(kept, 1).stop(kept, 2).start(replaced, 3).stop(replaced, 4);
        worker.line(kept, path, 1).line(kept, path, 2).line(kept, path, 3).line(kept, "/gone.py", 1);
        worker.line(replaced, path, 5);
        let child = ProcessLog::new(2).inherit(kept).line(kept, path, 7).clone();
        let other = ProcessLog::new(3).start(replaced, 1).line(replaced, path, 6).clone();
        let again = ProcessLog::new(4).start(replaced, 9).line(replaced, path, 3).clone();
        if has_arcs {
            worker.arc(kept, path, 1, 2).arc(kept, path, 2, 3);
        }
        let base = folder.compact("base.db", &[worker, child, other], false);
        let recorded = folder.compact("recorded.db", &[again], false);
        let outcomes = [("t.py::a", "passed"), ("t.py::b", "failed")];
        let changes = Renewal {
            replaced: [replaced.to_owned()].into(),
            gone: ["/gone.py".to_owned()].into(),
            // Line 3 is another one, and what was below line 1 went down.
            moved: [(path.to_owned(), [(1, 1), (2, 3), (5, 6), (7, 9)].into())].into(),
            outcomes: outcomes.map(|(test, end)| (test.to_owned(), end.to_owned())).into(),
            surroundings: vec!["{}".to_owned()],
        };
        update(&base, &recorded, &changes, &base).unwrap();
        let expected = [
            "/a.py:1 t.py::a|run",
            "/a.py:3 t.py::a|run",
            "/a.py:3 t.py::b|run",
            "/a.py:9 t.py::a|run",
        ];
        assert_eq!(rows(&base, LINES), expected);
        let arcs = rows(&base, "select from_line || '>' || to_line from hitlog_arc");
        assert_eq!(arcs, if has_arcs { vec!["1>3"] } else { vec![] });
        let in_children = "select first_line || '-' || last_line from hitlog_child_lines";
        assert_eq!(rows(&base, in_children), ["9-9"]);
        let pids = rows(&base, "select cast(pid as text) from hitlog_log order by pid");
        assert_eq!(pids, ["1", "2", "4"], "nothing is left of log 3");
        let unknown = "select cast(count(*) as text) from hitlog_context where context_id is null";
        assert_eq!(rows(&base, unknown), ["1"], "what ran again is no longer told of log 1");
        let ends = rows(&base, "select test || ' ' || outcome from hitlog_test order by 1");
        assert_eq!(ends, ["t.py::a passed", "t.py::b failed"]);
        assert_eq!(rows(&base, "select value from hitlog_surroundings"), ["{}"]);
    }
}
