//! What SQLite left beside a previous output - a journal, a write-ahead log, its index - never reaches the
//! next one, hot or cold: the rows are exactly those of the logs.

#[path = "common/process_log.rs"]
mod process_log;

use hitlog::compactor::{Options, compact};
use process_log::ProcessLog;
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

const CONTEXTS: u32 = 300;

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// A run, and an output of before with other contexts.
    fn new() -> Bench {
        let bench = Bench { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(bench.run()).unwrap();
        bench.record("before", 2 * CONTEXTS);
        bench.compact();
        bench.record("after", CONTEXTS);
        bench
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("hitlog.db")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("hitlog.db{suffix}"))
    }

    fn record(&self, name: &str, contexts: u32) {
        let mut log = ProcessLog::new(1);
        (0..contexts).for_each(|number| {
            log.line(&format!("{name} {number}"), "/shop/cart.py", 1 + number);
        });
        log.write(&self.run());
    }

    fn compact(&self) {
        compact(&[self.run()], &Options::new(self.output()), &()).unwrap();
    }

    /// Compacts, and fails unless the output holds the run's rows and nothing lies beside it.
    fn assert_exact(&self, case: &str) {
        self.compact();
        let connection = Connection::open(self.output()).unwrap();
        let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(one("select count(*) || '' from line_bits"), CONTEXTS.to_string(), "{case}");
        assert_eq!(
            one("select count(*) || '' from context where context like 'before%'"),
            "0",
            "{case}"
        );
        assert_eq!(one("pragma integrity_check"), "ok", "{case}");
        drop(connection);
        for suffix in ["-journal", "-wal", "-shm"] {
            assert!(!self.beside(suffix).exists(), "{case}: {suffix}");
        }
    }

    /// Leaves what a process leaves that dies in the middle of `sql`: the files as they are then.
    fn die_in(&self, sql: &str) {
        let connection = Connection::open(self.output()).unwrap();
        connection.execute_batch(sql).unwrap();
        let files = ["", "-journal", "-wal", "-shm"].map(|suffix| self.beside(suffix));
        let left: Vec<(PathBuf, Vec<u8>)> = files
            .into_iter()
            .filter_map(|path| fs::read(&path).ok().map(|bytes| (path, bytes)))
            .collect();
        drop(connection);
        for (path, bytes) in left {
            fs::write(path, bytes).unwrap();
        }
    }
}

/// Changes every page of the table, with a cache so small that pages reach the file before the end.
const CHANGE: &str = "update line_bits set numbits = zeroblob(3000)";

fn exists_and_is_filled(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() > 0)
}

#[test]
fn a_hot_journal_is_rolled_back_into_the_previous_output_alone() {
    let bench = Bench::new();
    bench.die_in(&format!("pragma cache_size = 1; begin; {CHANGE}"));
    assert!(exists_and_is_filled(&bench.beside("-journal")));
    bench.assert_exact("hot journal");
}

#[test]
fn a_cold_journal_is_removed() {
    let bench = Bench::new();
    bench.die_in(&format!("pragma journal_mode = persist; {CHANGE}"));
    assert!(exists_and_is_filled(&bench.beside("-journal")));
    bench.assert_exact("cold journal");
}

#[test]
fn a_journal_of_another_database_is_removed() {
    let bench = Bench::new();
    bench.die_in(&format!("pragma cache_size = 1; begin; {CHANGE}"));
    let hot = fs::read(bench.beside("-journal")).unwrap();
    fs::remove_file(bench.output()).unwrap();
    bench.assert_exact("none before");
    fs::write(bench.beside("-journal"), &hot).unwrap();
    bench.assert_exact("hot journal of the output before the last one");
}

#[test]
fn a_hot_write_ahead_log_does_not_outlive_its_output() {
    let bench = Bench::new();
    bench.die_in(&format!("pragma journal_mode = wal; pragma wal_autocheckpoint = 0; {CHANGE}"));
    assert!(exists_and_is_filled(&bench.beside("-wal")) && exists_and_is_filled(&bench.beside("-shm")));
    bench.assert_exact("hot write-ahead log with its index");
}

#[test]
fn a_write_ahead_log_without_its_index_does_not_outlive_its_output() {
    let bench = Bench::new();
    bench.die_in(&format!("pragma journal_mode = wal; pragma wal_autocheckpoint = 0; {CHANGE}"));
    fs::remove_file(bench.beside("-shm")).unwrap();
    bench.assert_exact("hot write-ahead log without its index");
}

#[test]
fn a_cold_write_ahead_log_and_its_index_are_removed() {
    let bench = Bench::new();
    bench.die_in(&format!("pragma journal_mode = wal; {CHANGE}; pragma wal_checkpoint(truncate)"));
    assert!(bench.beside("-wal").exists() && exists_and_is_filled(&bench.beside("-shm")));
    bench.assert_exact("cold write-ahead log");
    fs::write(bench.beside("-shm"), [0x5A; 32_768]).unwrap();
    bench.assert_exact("an index alone, of nonsense");
}
