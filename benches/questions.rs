//! How long people wait for an answer: `cargo bench --bench questions [-- --short]`.
//!
//! Every verb that asks a compacted file runs as a process of its own, from its start to its last word, on 40
//! million different hits of 5,000 tests in 1,000 files. The second recording of `diff` is the first one, but
//! an eighth of its tests ran other lines. The quickest of three rounds counts, by the clock and (in ticks of
//! 10 ms) in processor time, which on a shared machine tells more.
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

#[path = "workloads/mod.rs"]
mod workloads;

use hitlog::compactor::{Options, compact};
use sha2::{Digest as _, Sha256};
use std::error::Error;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use workloads::Workload;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const QUESTIONS: [&[&str]; 9] = [
    &["who", "module_0500.py:40"],
    &["who", "module_0500.py"],
    &["who", "module_0500.py", "--json"],
    &["what", "test_case_00000"],
    &["what", "test_case_00000", "--only"],
    &["show"],
    &["diff", "hitlog.db", "hitlog.db"],
    &["diff", "hitlog.db", "later.db"],
    &["affected", "--db", "with_sources.db"],
];

fn main() -> Result {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let is_short = words.iter().any(|word| word == "--short" || word == "--test");
    let (parts, rounds) = if is_short { (50, 1) } else { (1, 3) };
    println!("| question | of lines | of branches |\n|---|---:|---:|");
    let folders = [workloads::CONTEXTS, workloads::CONTEXTS_ARCS]
        .map(|workload| record(&if parts > 1 { workload.reduced(parts) } else { workload }));
    for question in QUESTIONS {
        print!("| `hitlog {}` |", question.join(" "));
        for folder in &folders {
            let folder = folder.as_ref().map_err(|error| error.to_string())?.path();
            let times = (0..rounds).map(|_| time_of(question, folder));
            let times = times.collect::<Result<Vec<_>>>()?;
            let elapsed = times.iter().map(|time| time.0.as_millis()).min().unwrap_or_default();
            let processor = times.iter().map(|time| time.1).min().unwrap_or_default();
            print!(" {elapsed} ms ({processor} ms) |");
        }
        println!();
    }
    Ok(())
}

/// A folder with two recordings of `workload`.
fn record(workload: &Workload) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let (run, other_run) = (folder.path().join("run"), folder.path().join("other"));
    std::fs::create_dir(&run)?;
    std::fs::create_dir(&other_run)?;
    let mut logs = workload.write(&run)?;
    compact(&logs, &Options::new(folder.path().join("hitlog.db")), &())?;
    logs[0] = Workload { seed: workload.seed + 1, ..*workload }.write_log(0, &other_run)?;
    compact(&logs, &Options::new(folder.path().join("later.db")), &())?;
    std::fs::remove_dir_all(run)?;
    std::fs::remove_dir_all(other_run)?;
    add_sources(folder.path())?;
    Ok(folder)
}

/// The first recording once more, as if its files had been those of `folder`, all tests had passed, and one line of one
/// file had been changed since.
fn add_sources(folder: &Path) -> Result {
    let recording = folder.join("with_sources.db");
    std::fs::copy(folder.join("hitlog.db"), &recording)?;
    let mut connection = rusqlite::Connection::open(&recording)?;
    let transaction = connection.transaction()?;
    let functions = (0..21).map(|number| format!("def f{number}():\n") + &"    x = 1\n".repeat(9));
    let source = functions.collect::<String>();
    let mut compressed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    compressed.write_all(source.as_bytes())?;
    let compressed = compressed.finish()?;
    let hash: String = Sha256::digest(&source).iter().map(|byte| format!("{byte:02x}")).collect();
    let files: Vec<(i64, String)> = transaction
        .prepare("select id, path from file")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, path) in &files {
        let path = folder.join(Path::new(path).file_name().ok_or("a file has a name")?);
        std::fs::write(&path, &source)?;
        let (path, facts) = (path.to_str().ok_or("a path is text")?, path.metadata()?);
        let mtime_ns = facts.mtime() * 1_000_000_000 + facts.mtime_nsec();
        transaction.execute("update file set path = ? where id = ?", (path, id))?;
        transaction.execute(
            "insert or replace into hitlog_file values (?, ?, ?)",
            (id, source.len() as i64, mtime_ns),
        )?;
        let kept = "insert into hitlog_source values (?, 'kept', ?, ?)";
        transaction.execute(kept, (id, &hash, &compressed))?;
    }
    let passed = "insert into hitlog_test
                  select distinct replace(context, '|run', ''), 'passed' from context where context <> ''";
    transaction.execute(passed, [])?;
    transaction.commit()?;
    let (_, changed) = &files[files.len() / 2];
    let changed = folder.join(Path::new(changed).file_name().ok_or("a file has a name")?);
    Ok(std::fs::write(changed, source.replacen("x = 1", "x = 2", 1))?)
}

/// Processor time of all processes so far that were waited for, in milliseconds.
fn processor_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_whitespace().skip(13).take(2);
    fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

/// How long `question` takes: by the clock, and in milliseconds of processor time.
fn time_of(question: &[&str], folder: &Path) -> Result<(Duration, u64)> {
    let mut hitlog = Command::new(env!("CARGO_BIN_EXE_hitlog"));
    hitlog.args(question).current_dir(folder).stdout(Stdio::null());
    let (start, before) = (Instant::now(), processor_ms());
    let status = hitlog.status()?;
    let time = (start.elapsed(), processor_ms() - before);
    match status.code() {
        Some(0 | 1) => Ok(time),
        _ => Err(format!("hitlog {}: {status}", question.join(" ")).into()),
    }
}
