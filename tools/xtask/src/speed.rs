//! `cargo xtask bench`: every measurement of speed but Python's, and one table of what came of them.
//!
//! Each row stands for things that were measured in turns in one run: a floor (the least that any way of
//! doing it must pay, or a rate to be reached), hitlog, a peer, and how many times hitlog's cost the floor
//! is, or the peer's cost hitlog's.

use std::path::Path;
use std::process::Command;

use crate::combine::{self, Row};
use crate::growth;
use crate::shell::{Failure, Result, announce, cargo, say, watch};

/// Records of one measured batch of the bench `append`.
const BATCH: f64 = 16_384.0;

/// What the bench `append` measures per batch: ours, and its floor.
const APPENDS: [(&str, &str, &str); 2] = [
    ("append, hot", "append/line, into memory already touched", "append/checksum only"),
    (
        "append, growth included",
        "append/line, growth and page faults included",
        "append/write of the same bytes",
    ),
];

/// Rates that compaction is to reach on one core, in million records per second, by the column of its
/// table: scanning with checksums; scanning and merging, of lines and of arcs.
const SCAN_MIN: f64 = 120.0;
const MERGE_LINES_MIN: f64 = 40.0;
const MERGE_ARCS_MIN: f64 = 15.0;

/// One part of the measurements.
pub fn run_part(part: &str, is_short: bool) -> Result {
    match part {
        "append" => append(is_short).map(drop),
        "peers" => peers(is_short).map(drop),
        "compaction" => compaction(is_short).map(drop),
        "combine" => combine::run(is_short).map(drop),
        "growth" => growth::run(is_short),
        _ => Err(Failure(format!("`{part}` is nothing that is measured; see `cargo xtask --help`."))),
    }
}

/// All of them, and the table. Where everything is short, the figures mean nothing.
pub fn run_all(is_short: bool) -> Result {
    let (append, peers) = (append(is_short)?, peers(is_short)?);
    let (compaction, combine) = (compaction(is_short)?, combine::run(is_short)?);
    growth::run(is_short)?;
    announce("all in one table");
    say("| what | floor | hitlog | peer | ratio |");
    say("|---|---:|---:|---:|---:|");
    let mut rows = append_rows(&append);
    rows.extend(peer_rows(&peers));
    rows.extend(compaction_rows(&compaction));
    rows.extend(combine.iter().map(combine_row));
    rows.iter().for_each(say);
    if rows.is_empty() || (!is_short && rows.len() < APPENDS.len() + combine.len() + 2) {
        return Err(Failure("the benches printed less than expected.".into()));
    }
    Ok(())
}

fn seen(arguments: &[&str]) -> Result<String> {
    let seen = watch(cargo().args(arguments), |_| {})?;
    match seen.code {
        Some(0) => Ok(seen.stdout),
        _ => Err(Failure(format!("`cargo {}` failed (see above).", arguments.join(" ")))),
    }
}

/// How cargo is asked for the bench `append`: with no more of hitlog than lives in other processes.
const APPEND: [&str; 6] =
    ["bench", "--no-default-features", "--features", "recorder", "--bench", "append"];

fn append(is_short: bool) -> Result<String> {
    announce("what recording costs");
    let short = if is_short { "--test" } else { "--noplot" };
    let mut output = seen(&[&APPEND[..], &["--", short]].concat())?;
    announce("the same in instructions, through the public handle");
    if !has_valgrind() {
        say("not counted: valgrind is not installed.");
        return Ok(output);
    }
    let program = combine::built(&[&APPEND[..], &["--no-run"]].concat(), "append")?;
    for (what, case, max) in INSTRUCTIONS {
        let instructions = instructions_of_call(&program, case)?;
        let row = format!("| {what} | {max} | {instructions:.0} |");
        say(&row);
        output += &format!("{row}\n");
    }
    Ok(output)
}

/// What is counted: in words, as the bench calls it, and how many instructions it is to take, if that is said.
const INSTRUCTIONS: [(&str, &str, &str); 2] =
    [("append, hot, instructions", "new", "110"), ("line seen before, instructions", "seen", "")];

/// Calls of the two runs whose difference is taken, so that all that a process does once falls out.
const CALLS: [u32; 2] = [1_000, 51_000];

fn has_valgrind() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn instructions_of_call(program: &Path, case: &str) -> Result<f64> {
    let mut counts = [0.0; 2];
    for (count, calls) in counts.iter_mut().zip(CALLS) {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
        let output = valgrind.args(["instructions", case, &calls.to_string()]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        *count = collected(&said)
            .filter(|_| output.status.success())
            .ok_or_else(|| Failure(format!("valgrind did not count instructions:\n{said}")))?;
    }
    Ok((counts[1] - counts[0]) / f64::from(CALLS[1] - CALLS[0]))
}

/// The number of instructions in what callgrind says.
fn collected(said: &str) -> Option<f64> {
    let (_, after) = said.split_once("Collected :")?;
    after.split_whitespace().next()?.parse().ok()
}

fn peers(is_short: bool) -> Result<String> {
    announce("hitlog beside its peers");
    let run = ["run", "--release", "--manifest-path", "tools/peers/Cargo.toml"];
    let short: &[&str] = if is_short { &["--", "--short"] } else { &[] };
    seen(&[&run, short].concat())
}

fn compaction(is_short: bool) -> Result<String> {
    announce("what compaction and questions cost");
    let short = if is_short { "--test" } else { "--noplot" };
    seen(&["bench", "--bench", "compaction", "--", short])?;
    announce("large runs, in processor time");
    let short: &[&str] = if is_short { &["--short"] } else { &[] };
    seen(&[&["bench", "--bench", "scale", "--", "compaction"], short].concat())
}

/// The middle of criterion's three estimates of `name`, in nanoseconds.
fn estimate(output: &str, name: &str) -> Option<f64> {
    let (_, after) = output.split_once(name)?;
    let (_, times) = after.split_once("time:")?;
    let times: Vec<&str> =
        times.split(']').next()?.trim_matches([' ', '[']).split_whitespace().collect();
    let unit = match *times.get(3)? {
        "ps" => 1e-3,
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        _ => 1e9,
    };
    Some(times.get(2)?.parse::<f64>().ok()? * unit)
}

fn append_rows(output: &str) -> Vec<String> {
    let row = |(what, ours, floor): &(&str, &str, &str)| {
        let [ours, floor] = [ours, floor].map(|name| estimate(output, name).map(|ns| ns / BATCH));
        let (ours, floor) = (ours?, floor?);
        Some(format!("| {what} | {floor:.1} ns | {ours:.1} ns | | {:.1} x the floor |", ours / floor))
    };
    let counts = cells(output).filter_map(|cells| {
        let [what, max, instructions] = cells[..] else { return None };
        Some(format!("| {what} | {max} | {instructions} | | |"))
    });
    APPENDS.iter().filter_map(row).chain(counts).collect()
}

/// The cells of all rows of Markdown tables, their heads among them.
fn cells(output: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = output.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").map(str::trim).collect())
}

fn peer_rows(output: &str) -> Vec<String> {
    let rows =
        cells(output).filter_map(|cells| Some((cells[0].to_owned(), cells.get(1)?.parse().ok()?)));
    let rows: Vec<(String, f64)> = rows.collect();
    let Some(((_, ours), peers)) = rows.split_first() else { return Vec::new() };
    let row = |(name, peer): &(String, f64)| {
        format!(
            "| a record beside {name} | | {ours:.1} ns | {peer:.1} ns | {:.1} x less |",
            peer / ours
        )
    };
    peers.iter().map(row).collect()
}

fn compaction_rows(output: &str) -> Vec<String> {
    let rows = cells(output).flat_map(|cells| {
        let merge_min = if cells[0].contains("arcs") { MERGE_ARCS_MIN } else { MERGE_LINES_MIN };
        let rate = |what: &str, at: usize, min: f64| {
            let ours: f64 = cells.get(at)?.parse().ok()?;
            let what = format!("{what}, {}", cells[0]);
            Some(format!("| {what} | {min:.0} M/s | {ours:.1} M/s | | {:.1} x the floor |", ours / min))
        };
        [rate("scan", 2, SCAN_MIN), rate("scan and merge", 3, merge_min)]
    });
    rows.flatten().collect()
}

fn combine_row(Row { what, combine, compact, .. }: &Row) -> String {
    let ratio = combine / compact;
    format!(
        "| combine {what} | | {compact:.2} s | coverage combine {combine:.2} s | {ratio:.0} x less |"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_read_whatever_their_unit() {
        let output = "append/checksum only    time:   [50.1 µs 51.2 µs 53.0 µs]\n\
            append/line, into memory already touched\n    time:   [65.536 µs 131.072 µs 0.2 ms]\n";
        assert_eq!(estimate(output, "append/checksum only"), Some(51_200.0));
        let rows = append_rows(output);
        assert_eq!(rows, ["| append, hot | 3.1 ns | 8.0 ns | | 2.6 x the floor |"]);
    }

    #[test]
    fn instructions_are_read_and_become_rows() {
        let said = "==7== Events    : Ir\n==7== Collected : 5241003\n";
        assert_eq!((collected(said), collected("")), (Some(5_241_003.0), None));
        let rows = append_rows("| append, hot, instructions | 110 | 92 |\n");
        assert_eq!(rows, ["| append, hot, instructions | 110 | 92 | | |"]);
    }

    #[test]
    fn tables_become_rows() {
        let peers = "| peer | ns per record | to hitlog |\n|---|---:|---:|\n| hitlog | 15.0 | 1.0 |\n\
            | write(2) per record | 900.0 | 60.0 |\n";
        assert_eq!(
            peer_rows(peers),
            ["| a record beside write(2) per record | | 15.0 ns | 900.0 ns | 60.0 x less |"]
        );
        let compaction = "| workload | records | scan | merge |\n|---|---:|---:|---:|\n| of arcs | 7 | 60 | 30.0 |\n";
        let expected = [
            "| scan, of arcs | 120 M/s | 60.0 M/s | | 0.5 x the floor |",
            "| scan and merge, of arcs | 15 M/s | 30.0 M/s | | 2.0 x the floor |",
        ];
        assert_eq!(compaction_rows(compaction), expected);
    }
}
