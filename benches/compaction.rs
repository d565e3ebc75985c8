//! What compaction and questions cost: `cargo bench --bench compaction`. Compare rows of one run only.
//!
//! The runs are a fiftieth of those of `scale`, so that criterion can repeat them; all in one thread, so that
//! rates are those of a core.

#[path = "workloads/mod.rs"]
mod workloads;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hitlog::compactor::{Options, compact};
use hitlog::reader::LogReader;
use rusqlite::Connection;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use workloads::Workload;

/// A run on disk.
struct Run {
    folder: TempDir,
    logs: Vec<PathBuf>,
}

impl Run {
    fn new(workload: &Workload) -> Run {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let logs = workload.write(folder.path()).expect("room for the logs");
        Run { folder, logs }
    }

    fn options(&self, plain_tables: bool) -> Options {
        let output = self.folder.path().join("out.db");
        Options { threads: Some(1), plain_tables, ..Options::new(output) }
    }
}

fn compaction(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compaction");
    group.sample_size(10);
    for workload in workloads::ALL.map(|workload| workload.reduced(50)) {
        let run = Run::new(&workload);
        group.throughput(Throughput::Elements(workload.records()));
        group.bench_function(format!("scan of {}", workload.name), |bencher| {
            bencher.iter(|| run.logs.iter().map(|log| scan(log)).sum::<u64>());
        });
        let forms: &[(&str, bool)] =
            if workload.arcs { &[("", false), (", plain tables", true)] } else { &[("", false)] };
        for (form, plain_tables) in forms {
            let options = run.options(*plain_tables);
            group.bench_function(format!("{}{form}", workload.name), |bencher| {
                bencher.iter(|| compact(&run.logs, &options, &()).expect("compacted").records);
            });
        }
    }
    group.finish();
}

fn scan(log: &Path) -> u64 {
    let log = LogReader::open(log).expect("a log");
    log.scan(0..log.slot_count(), |_, slot| {
        black_box(slot);
    })
    .expect("read")
    .valid
}

/// Both questions, of lines and of arcs.
fn questions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("questions");
    for workload in [workloads::CONTEXTS, workloads::CONTEXTS_ARCS].map(|workload| workload.reduced(50))
    {
        let run = Run::new(&workload);
        let options = run.options(false);
        compact(&run.logs, &options, &()).expect("compacted");
        let connection = Connection::open(&options.output).expect("the output");
        let some = "select path, line, context from hitlog_line limit 1 offset 1000";
        let place = connection.query_row(some, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let (path, line, context): (String, u32, String) = place.expect("many lines");
        let kind = if workload.arcs { "arcs" } else { "lines" };
        let count = "select count(*) from hitlog_line where";
        group.bench_function(format!("tests of a line, {kind}"), |bencher| {
            let mut ask = connection.prepare(&format!("{count} path = ? and line = ?")).expect("SQL");
            bencher
                .iter(|| ask.query_row((&path, line), |row| row.get::<_, u32>(0)).expect("an answer"));
        });
        group.bench_function(format!("lines of a test, {kind}"), |bencher| {
            let mut ask = connection.prepare(&format!("{count} context = ?")).expect("SQL");
            bencher.iter(|| ask.query_row([&context], |row| row.get::<_, u32>(0)).expect("an answer"));
        });
    }
    group.finish();
}

criterion_group!(benches, compaction, questions);
criterion_main!(benches);
