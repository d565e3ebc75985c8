//! Compaction of large runs: `cargo bench --bench scale`, or by way of `cargo xtask bench`.
//!
//! ```text
//! scale compaction [--short]          what each workload costs, step by step
//! scale growth SERIES [--short]       how cost grows with processes, logs, records, contexts: tab-separated
//! scale generate DIR LOGS CONTEXTS FILES FILES_OF_CONTEXT HITS lines|arcs
//! scale compact OUTPUT THREADS MEMORY_BYTES plain|compact INPUT...     one compaction, measured
//! ```
//!
//! Each compaction runs in a process of its own, so that its processor time and its memory are its own.
//! Processor time is what counts: on a shared machine the clock also tells what others do.
#![allow(clippy::print_stdout, reason = "the tables are what it is for")]

#[path = "workloads/mod.rs"]
mod workloads;

use hitlog::compactor::{Options, Progress, compact};
use hitlog::format::{HitRun, Record, Slot};
use hitlog::reader::{LogReader, Visitor};
use rusqlite::Connection;
use std::error::Error;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;
use workloads::Workload;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Ticks of a second in /proc (USER_HZ, the same on all Linux systems).
const TICKS: f64 = 100.0;

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["compaction"] => compaction(1, 3),
        ["compaction", "--short"] | ["--test"] => compaction(50, 1),
        ["record", run] => record(run),
        ["growth", series] => growth(series, false),
        ["growth", series, "--short"] => growth(series, true),
        ["generate", run, logs, contexts, files, files_of_context, hits, kind] => {
            let workload = Workload {
                logs: logs.parse()?,
                contexts: contexts.parse()?,
                files: files.parse()?,
                files_of_context: files_of_context.parse()?,
                hits: hits.parse()?,
                arcs: kind == "arcs",
                ..workloads::LARGE
            };
            fs::create_dir_all(run)?;
            workload.write(Path::new(run))?;
            Ok(())
        }
        ["compact", output, threads, memory, form, ref inputs @ ..] => {
            let options = Options {
                threads: Some(threads.parse()?),
                memory_bytes: memory.parse()?,
                plain_tables: form == "plain",
                ..Options::new(output)
            };
            measured(&inputs.iter().map(PathBuf::from).collect::<Vec<_>>(), &options)
        }
        [] => Err("say what to measure: compaction, or growth with its series".into()),
        _ => Err(format!("{words:?}: not understood").into()),
    }
}

/// What one compaction took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Processor time until all hits were read and merged, and in all, in seconds.
    merged: f64,
    all: f64,
    /// By the clock.
    elapsed: f64,
    /// The most memory it held, in bytes.
    memory: u64,
    output_bytes: u64,
}

/// Processor time of this process so far, in seconds.
fn processor_time() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// The most memory that this process held, in bytes.
fn memory_max() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Notes when the writing began.
#[derive(Default)]
struct Stages(Mutex<f64>);

impl Progress for Stages {
    fn total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn stage(&self, name: &str) {
        if name == "writing" {
            *self.0.lock().expect("nobody panics") = processor_time();
        }
    }
}

/// Compacts, and prints what it cost.
fn measured(inputs: &[PathBuf], options: &Options) -> Result {
    let stages = Stages::default();
    let start = Instant::now();
    let report = compact(inputs, options, &stages)?;
    let elapsed = start.elapsed().as_secs_f64();
    let merged = *stages.0.lock().expect("nobody panics");
    println!("{merged} {} {elapsed} {} {}", processor_time(), memory_max(), report.output_bytes);
    Ok(())
}

/// What a compaction of `inputs` costs, in a process of its own; the cheapest of `rounds`.
fn cost_of(
    input: &Path,
    output: &Path,
    threads: usize,
    memory: u64,
    form: &str,
    rounds: u32,
) -> Result<Cost> {
    let mut best: Option<Cost> = None;
    for _ in 0..rounds {
        let mut child = Command::new(std::env::current_exe()?);
        child.arg("compact").arg(output).args([threads.to_string(), memory.to_string()]);
        let child = child.arg(form).arg(input).output()?;
        if !child.status.success() {
            return Err(String::from_utf8_lossy(&child.stderr).into_owned().into());
        }
        let text = String::from_utf8(child.stdout)?;
        let numbers = text
            .split_whitespace()
            .map(str::parse::<f64>)
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let [merged, all, elapsed, memory, output_bytes] = numbers[..] else { return Err(text.into()) };
        let cost =
            Cost { merged, all, elapsed, memory: memory as u64, output_bytes: output_bytes as u64 };
        best = Some(best.filter(|best| best.all <= cost.all).unwrap_or(cost));
    }
    best.ok_or_else(|| "no round".into())
}

/// Takes note of nothing.
struct Nothing;

impl Visitor for Nothing {
    fn hits(&mut self, _: u32, _: HitRun<'_>) {}
    fn slot(&mut self, _: u32, _: Slot) {}
}

/// Processor time of reading and checking every slot of `logs`, in seconds.
fn scan_time(logs: &[PathBuf]) -> Result<f64> {
    let start = processor_time();
    let mut valid = 0;
    for log in logs {
        let log = LogReader::open(log)?;
        valid += log.scan_with(0..log.slot_count(), &mut Nothing)?.valid;
    }
    assert!(valid > 0, "something was read");
    Ok(processor_time() - start)
}

/// Processor time of only reading all bytes of `logs`, in pieces as large as a scan's, in seconds.
fn read_time(logs: &[PathBuf]) -> Result<f64> {
    let start = processor_time();
    let mut piece = vec![0; 256 * 1024];
    let mut bytes = 0;
    for log in logs {
        let mut log = fs::File::open(log)?;
        loop {
            match log.read(&mut piece)? {
                0 => break,
                read => bytes += read,
            }
        }
    }
    assert!(bytes > 0, "something was read");
    Ok(processor_time() - start)
}

/// The table of all workloads, each reduced to one part in `parts`.
fn compaction(parts: u32, rounds: u32) -> Result {
    println!(
        "| workload | records | scan + CRC, M/s | scan + merge, M/s | all, M/s | output | memory | 2 threads | rows, M/s | read alone, M/s |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for workload in workloads::ALL {
        let workload = if parts > 1 { workload.reduced(parts) } else { workload };
        let folder = tempfile::tempdir()?;
        let (run, output) = (folder.path().join("run"), folder.path().join("out.db"));
        fs::create_dir(&run)?;
        let logs = workload.write(&run)?;
        let (mut scan, mut read) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..rounds {
            scan = scan.min(scan_time(&logs)?);
            read = read.min(read_time(&logs)?);
        }
        let one = cost_of(&run, &output, 1, 1 << 30, "compact", rounds)?;
        let two = cost_of(&run, &output, 2, 1 << 30, "compact", rounds)?;
        let rows = rows_of(&output, workload.arcs)?;
        let rate = |seconds: f64| workload.records() as f64 / 1e6 / seconds.max(1.0 / TICKS);
        println!(
            "| {} | {} | {:.0} | {:.1} | {:.1} | {:.1} MB | {:.0} MB | {:.2} x | {:.1} | {:.0} |",
            workload.name,
            workload.records(),
            rate(scan),
            rate(one.merged),
            rate(one.all),
            one.output_bytes as f64 / 1e6,
            one.memory as f64 / 1e6,
            one.elapsed / two.elapsed,
            rows as f64 / 1e6 / (one.all - one.merged).max(1.0 / TICKS),
            rate(read),
        );
    }
    Ok(())
}

/// How many rows there are that a file and a context have; each of them is in an index or two, as well.
fn rows_of(output: &Path, has_arcs: bool) -> Result<u64> {
    let table = if has_arcs { "hitlog_arc_bits" } else { "line_bits" };
    let sql = format!("select count(*) from {table}");
    let rows: i64 = Connection::open(output)?.query_row(&sql, [], |row| row.get(0))?;
    Ok(rows.unsigned_abs())
}

/// One step of a series: how large it is, and the run.
type Step = (u64, Workload);

/// The steps of `series`, each many times larger than the one before.
fn steps(series: &str) -> Result<Vec<Step>> {
    let few =
        Workload { contexts: 100, files: 100, files_of_context: 20, hits: 25, ..workloads::LARGE };
    let steps = |sizes: &[u32], step: fn(u32, Workload) -> Workload| {
        sizes.iter().map(|size| (u64::from(*size), step(*size, few))).collect()
    };
    Ok(match series {
        // 2,000 records each.
        "logs" => {
            steps(&[1, 10, 100, 1000, 10_000], |logs, run| Workload { logs, contexts: 4 * logs, ..run })
        }
        // In millions; 20,000 of each context.
        "records" => steps(&[1, 4, 16, 64, 200], |millions, _| Workload {
            contexts: 50 * millions,
            ..workloads::LARGE
        }),
        "contexts" => {
            steps(&[10, 100, 1000, 10_000, 50_000], |contexts, run| Workload { contexts, ..run })
        }
        _ => return Err(format!("{series}: no such series").into()),
    })
}

/// Prints `series`, size, processor seconds, memory and output in bytes of each step; the smallest steps
/// only if it is to be short.
fn growth(series: &str, is_short: bool) -> Result {
    if series == "processes" {
        return [1, 2, 4, 8, 16, 32, 64]
            .iter()
            .take(if is_short { 2 } else { 7 })
            .try_for_each(|processes| record_at_once(*processes));
    }
    let steps = steps(series)?;
    for (size, workload) in steps.into_iter().take(if is_short { 2 } else { usize::MAX }) {
        let folder = tempfile::tempdir()?;
        let run = folder.path().join("run");
        fs::create_dir(&run)?;
        workload.write(&run)?;
        let rounds = if size > 1000 || is_short { 1 } else { 3 };
        let cost = cost_of(&run, &folder.path().join("out.db"), 1, 1 << 30, "compact", rounds)?;
        println!("{series}\t{size}\t{}\t{}\t{}", cost.all, cost.memory, cost.output_bytes);
    }
    Ok(())
}

/// Records of each process that records beside others.
const RECORDS_AT_ONCE: u32 = 1_000_000;

/// `processes` record at the same time into one run; all their records must be read back.
fn record_at_once(processes: u32) -> Result {
    let folder = tempfile::tempdir()?;
    let run = folder.path().join("run");
    let child = || {
        Command::new(std::env::current_exe()?).arg("record").arg(&run).stdout(Stdio::piped()).spawn()
    };
    let children = (0..processes).map(|_| child()).collect::<std::io::Result<Vec<_>>>()?;
    let (mut seconds, mut records) = (0.0, 0);
    for child in children {
        let output = child.wait_with_output()?;
        seconds += String::from_utf8(output.stdout)?.trim().parse::<f64>()?;
    }
    for log in fs::read_dir(&run)? {
        let log = LogReader::open(log?.path())?;
        log.scan(0..log.slot_count(), |_, slot| {
            records += u64::from(matches!(slot, Slot::Valid(Record::Line { .. })));
        })?;
    }
    assert_eq!(records, u64::from(processes * RECORDS_AT_ONCE), "every record is read back");
    println!("processes\t{processes}\t{seconds}\t0\t{}", records * 32);
    Ok(())
}

/// Records, and prints the processor time that it took.
fn record(run: &str) -> Result {
    let start = processor_time();
    let recorder = hitlog::Recorder::open(run)?;
    let file = recorder.file("/src/module.py");
    (1..=RECORDS_AT_ONCE).for_each(|line| recorder.line(file, line));
    println!("{}", processor_time() - start);
    Ok(())
}
