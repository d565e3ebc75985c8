//! hitlog beside its peers: what one record costs, and how many records are there after SIGKILL.
//!
//! `cargo run --release --manifest-path tools/peers/Cargo.toml` prints one table; `-- --short` takes a
//! few seconds and only shows that everything still works. Each run is a process of its own. All peers
//! take turns in each round, and the best round counts, so that a noisy machine is unfair to nobody. A
//! peer that reaches the time limit is stopped there, and its cost is that of what it did until then.

mod databases;
mod files;
mod hits;
mod loggers;
mod lttng;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hits::{Hits, Page};

type Prepare = fn(&Path) -> Result<(), Box<dyn Error>>;
type Fill = fn(&Path, Hits) -> Result<(), Box<dyn Error>>;
type Count = fn(&Path) -> Result<u64, Box<dyn Error>>;

/// One way to keep records.
struct Peer {
    name: &'static str,
    /// What it promises for a record when the call returns.
    promise: &'static str,
    /// Why it cannot be measured here, if so.
    absent: fn() -> Option<String>,
    /// What is done before the process starts that records, and is not measured.
    prepare: Prepare,
    fill: Fill,
    /// How many records are there.
    count: Count,
}

const fn peer(name: &'static str, promise: &'static str, fill: Fill, count: Count) -> Peer {
    Peer { name, promise, absent: || None, prepare: |_| Ok(()), fill, count }
}

const PEERS: [Peer; 12] = [
    peer("hitlog", "survives the process", files::fill_hitlog, files::count_hitlog),
    peer("write(2) per record", "survives the process", files::fill_by_write, files::count_records),
    peer("BufWriter, 8 KiB", "none until flushed", files::fill_buffered, files::count_records),
    peer("measureme", "none until flushed", loggers::fill_measureme, loggers::count_measureme),
    peer("tracing-appender", "none until flushed", loggers::fill_tracing, loggers::count_lines),
    Peer {
        absent: lttng::absent,
        prepare: lttng::prepare,
        ..peer("LTTng-UST", "survives the process", lttng::fill, lttng::count)
    },
    peer(
        "LMDB, batches of 1000",
        "survives from the commit",
        databases::fill_lmdb_batches,
        databases::count_lmdb,
    ),
    peer(
        "LMDB, a transaction each",
        "survives the process",
        databases::fill_lmdb_each,
        databases::count_lmdb,
    ),
    peer(
        "SQLite WAL, batches of 1000",
        "survives from the commit",
        databases::fill_batches,
        databases::count_rows,
    ),
    peer("SQLite WAL, autocommit", "survives the process", databases::fill_wal, databases::count_rows),
    peer(
        "SQLite, autocommit",
        "survives a power loss",
        databases::fill_autocommit,
        databases::count_rows,
    ),
    peer("okaywal", "survives a power loss", loggers::fill_okaywal, loggers::count_okaywal),
];

/// How much is done.
struct Effort {
    records: u32,
    rounds: u32,
    limit: Duration,
}

const FULL: Effort = Effort { records: 1_000_000, rounds: 5, limit: Duration::from_secs(1) };
const SHORT: Effort = Effort { records: 20_000, rounds: 1, limit: Duration::from_millis(200) };

/// What came of one run.
struct Outcome {
    handed_over: u64,
    read_back: u64,
    elapsed_ns: u64,
}

impl Outcome {
    fn lost(&self) -> u64 {
        self.handed_over.saturating_sub(self.read_back)
    }

    fn ns_per_record(&self) -> f64 {
        self.elapsed_ns as f64 / self.handed_over.max(1) as f64
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => compare(&FULL),
        ["--short"] => compare(&SHORT),
        ["child", peer, directory, records, kill] => child(peer, directory, records, kill == "kill"),
        _ => Err("usage: peers [--short]".into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::from(2)
        }
    }
}

/// Prints the table; whether hitlog kept every record.
fn compare(effort: &Effort) -> Result<bool, Box<dyn Error>> {
    let absences: Vec<Option<String>> = PEERS.iter().map(|peer| (peer.absent)()).collect();
    let present: Vec<usize> = (0..PEERS.len()).filter(|peer| absences[*peer].is_none()).collect();
    let mut best = [f64::INFINITY; PEERS.len()];
    for _ in 0..effort.rounds {
        for peer in &present {
            best[*peer] = best[*peer].min(run(*peer, effort, false)?.ns_per_record());
        }
    }
    println!("| peer | ns per record | to hitlog | at SIGKILL | read back | lost | promise |");
    println!("|---|---:|---:|---:|---:|---:|---|");
    let mut hitlog_lost = 0;
    for peer in present {
        let Peer { name, promise, .. } = PEERS[peer];
        let worst = worst_kill(peer, effort)?;
        let Outcome { handed_over, read_back, .. } = worst;
        let lost = worst.lost();
        let ratio = best[peer] / best[0];
        println!(
            "| {name} | {:.1} | {ratio:.1} | {handed_over} | {read_back} | {lost} | {promise} |",
            best[peer]
        );
        hitlog_lost += if peer == 0 { lost } else { 0 };
    }
    println!(
        "\n{} records; cost: best of {1} rounds; loss: worst of {1}.",
        effort.records, effort.rounds
    );
    for (peer, absence) in PEERS.iter().zip(absences) {
        if let Some(reason) = absence {
            println!("{} is not measured: {reason}", peer.name);
        }
    }
    Ok(hitlog_lost == 0)
}

/// The kill that lost most: one that meets the child inside a write, after which nothing is buffered, is
/// luck.
fn worst_kill(peer: usize, effort: &Effort) -> Result<Outcome, Box<dyn Error>> {
    let mut worst = run(peer, effort, true)?;
    for _ in 1..effort.rounds {
        let outcome = run(peer, effort, true)?;
        if outcome.lost() > worst.lost() {
            worst = outcome;
        }
    }
    Ok(worst)
}

/// Lets a child record, to its end or until it is killed in the middle.
fn run(peer: usize, effort: &Effort, kill: bool) -> Result<Outcome, Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let page = Page::open(&scratch.path().join("page"))?;
    let data = scratch.path().join("data");
    std::fs::create_dir(&data)?;
    (PEERS[peer].prepare)(&data)?;
    let mut child = Command::new(std::env::current_exe()?)
        .env("LTTNG_UST_ALLOW_BLOCKING", "1")
        .args(["child", &peer.to_string()])
        .arg(scratch.path())
        .args([effort.records.to_string().as_str(), if kill { "kill" } else { "end" }])
        .spawn()?;
    let begin = Instant::now();
    let half = u64::from(effort.records / 2);
    while child.try_wait()?.is_none() {
        let late = begin.elapsed() > effort.limit;
        if kill && (late || page.handed_over().load(Ordering::Relaxed) >= half) {
            child.kill()?;
        } else if late {
            page.stop().store(1, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let status = child.wait()?;
    if !kill && !status.success() {
        return Err(format!("{} failed: {status}", PEERS[peer].name).into());
    }
    let handed_over = page.handed_over().load(Ordering::Relaxed);
    let read_back = (PEERS[peer].count)(&data)?;
    if !kill && read_back != handed_over {
        return Err(
            format!("{}: {read_back} of {handed_over} after a clean end", PEERS[peer].name).into()
        );
    }
    Ok(Outcome { handed_over, read_back, elapsed_ns: page.elapsed_ns().load(Ordering::Relaxed) })
}

/// What the child process does.
fn child(peer: &str, scratch: &str, records: &str, kill: bool) -> Result<bool, Box<dyn Error>> {
    let scratch = PathBuf::from(scratch);
    let page = Page::open(&scratch.join("page"))?;
    let hits = Hits { page: &page, next: 0, end: records.parse()?, to_be_killed: kill };
    let peer: usize = peer.parse()?;
    let begin = Instant::now();
    (PEERS[peer].fill)(&scratch.join("data"), hits)?;
    page.elapsed_ns().store(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
    Ok(true)
}
