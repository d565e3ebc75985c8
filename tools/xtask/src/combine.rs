//! `cargo xtask bench combine`: hitlog beside `coverage combine` on the same data.
//!
//! Logs of a hundred and of a thousand processes, with contexts. For coverage.py each of them becomes a data
//! file of its own first, which is not counted. What both end up with is compared row by row.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pythons;
use crate::shell::{Failure, Result, announce, capture, cargo, say, script, work_folder};
use crate::venv::Venv;

/// Ticks of a second in /proc (USER_HZ, the same on all Linux systems).
const TICKS: f64 = 100.0;

/// What the processes recorded: how many they are, contexts, and lines or arcs of each file in a context.
struct Case {
    processes: u32,
    contexts: u32,
    hits: u32,
    kind: &'static str,
}

const FULL: [Case; 4] = [
    Case { processes: 100, contexts: 2000, hits: 50, kind: "lines" },
    Case { processes: 1000, contexts: 2000, hits: 50, kind: "lines" },
    Case { processes: 100, contexts: 2000, hits: 20, kind: "arcs" },
    Case { processes: 1000, contexts: 2000, hits: 20, kind: "arcs" },
];

const SHORT: [Case; 2] = [
    Case { processes: 4, contexts: 40, hits: 20, kind: "lines" },
    Case { processes: 4, contexts: 40, hits: 20, kind: "arcs" },
];

/// Files that there are, and that each context runs.
const FILES: [&str; 2] = ["200", "40"];

/// How much less processor time hitlog took.
pub struct Row {
    pub what: String,
    pub combine: f64,
    pub plain: f64,
    pub compact: f64,
}

/// Prints the table and returns it.
pub fn run(is_short: bool) -> Result<Vec<Row>> {
    let (cases, rounds) = if is_short { (&SHORT[..], 1) } else { (&FULL[..], 2) };
    let venv = Venv::with_coverage(&pythons::usual()?)?;
    let programs = Programs::build()?;
    announce("hitlog compact beside coverage combine: processor time, the least of alternating rounds");
    say("| data files | coverage combine | hitlog, plain tables | hitlog |");
    say("|---|---:|---:|---:|");
    let rows = cases.iter().map(|case| {
        let row = measure(case, rounds, &venv, &programs)?;
        let Row { what, combine, plain, compact } = &row;
        let ours = |time: &f64| format!("{time:.2} s, {:.1} x less", combine / time);
        say(format!("| {what} | {combine:.2} s | {} | {} |", ours(plain), ours(compact)));
        Ok(row)
    });
    rows.collect()
}

/// The programs that are measured, built for speed.
struct Programs {
    hitlog: PathBuf,
    scale: PathBuf,
}

impl Programs {
    fn build() -> Result<Programs> {
        Ok(Programs {
            hitlog: built(&["build", "--release", "--bin", "hitlog"], "hitlog")?,
            scale: built(&["bench", "--bench", "scale", "--no-run"], "scale")?,
        })
    }
}

/// Runs cargo with `arguments`. The path of the program `name`, which that built.
pub fn built(arguments: &[&str], name: &str) -> Result<PathBuf> {
    let messages = capture(cargo().args(arguments).arg("--message-format=json"))?;
    executable_in(&messages, name)
        .ok_or_else(|| Failure(format!("cargo does not say where {name} lies.")))
}

/// The path of the program `name` in cargo's messages, one JSON object to a line.
fn executable_in(messages: &str, name: &str) -> Option<PathBuf> {
    let of_target = |line: &&str| line.contains(&format!("\"name\":\"{name}\""));
    let path = |line: &str| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        Some(PathBuf::from(rest.split('"').next()?))
    };
    messages.lines().filter(of_target).filter_map(path).next_back()
}

fn measure(case: &Case, rounds: usize, venv: &Venv, programs: &Programs) -> Result<Row> {
    let folder = scratch();
    let _ = fs::remove_dir_all(&folder);
    let (run, data) = (folder.join("run"), folder.join("data"));
    fs::create_dir_all(&data)?;
    let mut generate = Command::new(&programs.scale);
    generate.arg("generate").arg(&run).args([case.processes, case.contexts].map(|n| n.to_string()));
    capture(generate.args(FILES).arg(case.hits.to_string()).arg(case.kind))?;
    let mut data_files = Vec::new();
    for (number, log) in (0..).zip(fs::read_dir(&run)?) {
        let file = data.join(format!("{number:04}.db"));
        capture(hitlog(programs, &log?.path(), &file).arg("--plain-tables"))?;
        data_files.push(file);
    }
    let (combined, ours) = (folder.join("combined.db"), folder.join("ours.db"));
    let mut times = [f64::INFINITY; 3];
    for _ in 0..rounds {
        let _ = fs::remove_file(&combined);
        let mut combine = venv.program("python");
        combine.args(["-m", "coverage", "combine", "-q", "--keep", "--data-file"]).arg(&combined);
        let time = processor_time_of(combine.args(&data_files).current_dir(&folder))?;
        times[0] = times[0].min(time);
        for (time, option) in times[1..].iter_mut().zip([Some("--plain-tables"), None]) {
            *time = processor_time_of(hitlog(programs, &run, &ours).args(option))?.min(*time);
            assert_same(venv, &ours, &combined)?;
        }
    }
    let _ = fs::remove_dir_all(&folder);
    let what = format!("{}, {} contexts, {}", case.processes, case.contexts, case.kind);
    Ok(Row { what, combine: times[0], plain: times[1], compact: times[2] })
}

/// In memory where that is possible: a thousand small files are not about the disk.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { work_folder() };
    parent.join(format!("hitlog-combine-{}", std::process::id()))
}

fn hitlog(programs: &Programs, input: &Path, output: &Path) -> Command {
    let mut compact = Command::new(&programs.hitlog);
    compact.arg("compact").arg(input).arg("-o").arg(output);
    compact
}

fn assert_same(venv: &Venv, ours: &Path, combined: &Path) -> Result {
    capture(venv.program("python").arg(script("same_rows.py")).arg(ours).arg(combined)).map(drop)
}

/// Processor time of `command`, to its end, in seconds.
fn processor_time_of(command: &mut Command) -> Result<f64> {
    let before = processor_time_of_children()?;
    capture(command)?;
    // The clock of /proc ticks a hundred times a second: less than a tick counts as one.
    Ok((processor_time_of_children()? - before).max(1.0 / TICKS))
}

/// Processor time of all processes that were waited for.
fn processor_time_of_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_whitespace().skip(13).take(2);
    Ok(fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_among_the_messages_of_cargo() {
        let messages = "{\"target\":{\"name\":\"hitlog\"},\"executable\":null}\n\
            {\"target\":{\"name\":\"hitlog\"},\"executable\":\"/t/release/hitlog\"}\n\
            {\"target\":{\"name\":\"other\"},\"executable\":\"/t/release/other\"}\n";
        assert_eq!(executable_in(messages, "hitlog"), Some("/t/release/hitlog".into()));
        assert_eq!(executable_in(messages, "scale"), None);
    }

    #[test]
    fn the_time_of_children_is_counted() {
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let time = processor_time_of(Command::new("sh").args(["-c", busy])).expect("sh runs");
        assert!(time > 1.0 / TICKS, "{time}");
    }
}
