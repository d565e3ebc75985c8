//! `cargo xtask bench python`: what recording costs, beside coverage.py and slipcover.
//!
//! Two real suites and some small loops run in each way in turn, round after round, so that a busy
//! machine hurts all alike; of each the minimum counts. What is compared is the CPU time of the test loop
//! (of pytest's `runtestloop`, or of the small loop), as the running process itself measures it: start-up,
//! saving and compaction are not in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pythons::Python;
use crate::shell::{Failure, Result, announce, capture, say, script};
use crate::suite::{JINJA2, PACKAGING, Suite};
use crate::venv::Venv;

const ROUNDS: usize = 3;
const SHORT_ROUNDS: usize = 1;

/// What records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    Nothing,
    Hitlog,
    /// coverage.py, with this core.
    Coverage(&'static str),
    Slipcover,
    /// Nothing, but the interpreter calls a C function that does nothing for each line.
    EmptyTrace,
}

/// A way to run a program: a column of the table.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    tool: Tool,
    has_branches: bool,
    has_contexts: bool,
}

const fn way(name: &'static str, tool: Tool, has_branches: bool, has_contexts: bool) -> Way {
    Way { name, tool, has_branches, has_contexts }
}

const WAYS: [Way; 12] = [
    way("nothing recorded", Tool::Nothing, false, false),
    way("an empty trace function", Tool::EmptyTrace, false, false),
    way("hitlog, lines", Tool::Hitlog, false, false),
    way("hitlog, lines, contexts", Tool::Hitlog, false, true),
    way("hitlog, branches, contexts", Tool::Hitlog, true, true),
    way("coverage.py ctrace, lines", Tool::Coverage("ctrace"), false, false),
    way("coverage.py ctrace, lines, contexts", Tool::Coverage("ctrace"), false, true),
    way("coverage.py ctrace, branches, contexts", Tool::Coverage("ctrace"), true, true),
    way("coverage.py sysmon, lines", Tool::Coverage("sysmon"), false, false),
    way("coverage.py sysmon, branches", Tool::Coverage("sysmon"), true, false),
    way("slipcover, lines", Tool::Slipcover, false, false),
    way("slipcover, branches", Tool::Slipcover, true, false),
];

/// Seconds of CPU time by row, and the peak of memory in KiB.
#[derive(Default)]
struct Measured {
    seconds: BTreeMap<String, f64>,
    peak_kib: u64,
}

impl Measured {
    fn keep_minimum(&mut self, other: Measured) {
        // The small loops tell of no memory.
        self.peak_kib = match (self.peak_kib, other.peak_kib) {
            (known, 0) => known,
            (0, found) => found,
            (known, found) => known.min(found),
        };
        for (row, seconds) in other.seconds {
            let known = self.seconds.entry(row).or_insert(seconds);
            *known = known.min(seconds);
        }
    }
}

/// Measures on each of `pythons`; `is_short`: only to show that it works.
pub fn run_all(pythons: &[Python], is_short: bool) -> Result {
    pythons.iter().try_for_each(|python| Bench::on(python, is_short)?.run())
}

struct Bench {
    venv: Venv,
    rounds: usize,
    suites: Vec<(Suite, PathBuf)>,
    /// Where small loops run, and where the results of all go.
    folder: PathBuf,
    /// Why a way is not measured.
    absent: BTreeMap<&'static str, String>,
}

impl Bench {
    fn on(python: &Python, is_short: bool) -> Result<Bench> {
        let venv = Venv::with_hitlog(python)?;
        let rounds = if is_short { SHORT_ROUNDS } else { ROUNDS };
        announce(format!("Python {}: CPU time over that without recording", venv.version));
        say(format!("the minimum of {rounds} rounds in turn"));
        let purpose = format!("bench-{}", venv.version);
        let mut suites = Vec::new();
        for suite in if is_short { vec![JINJA2] } else { vec![JINJA2, PACKAGING] } {
            let folder = suite.unpack(&venv, &purpose)?;
            suites.push((suite, folder));
        }
        let folder = crate::shell::work_folder().join(&purpose).join("loops");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(".coveragerc"), "[run]\nsource = .\n")?;
        fs::copy(script("bench_loops.py"), folder.join("bench_loops.py"))?;
        let absent = absent_ways(&venv)?;
        Ok(Bench { venv, rounds, suites, folder, absent })
    }

    fn run(&self) -> Result {
        let mut columns: Vec<(Way, Measured)> = Vec::new();
        for way in WAYS.into_iter().filter(|way| !self.absent.contains_key(way.name)) {
            columns.push((way, Measured::default()));
        }
        let mut failed = BTreeMap::new();
        for _ in 0..self.rounds {
            for (way, measured) in &mut columns {
                for (suite, folder) in &self.suites {
                    match self.measure_suite(suite, folder, way) {
                        Ok(seconds) => measured.keep_minimum(seconds),
                        // It changes the program's code, and a suite may notice.
                        Err(Failure(said)) if way.tool == Tool::Slipcover => {
                            let reason = said.lines().next().unwrap_or_default().to_owned();
                            failed.insert(format!("{} of {}", way.name, suite.title), reason);
                        }
                        Err(failure) => return Err(failure),
                    }
                }
                if way.tool != Tool::EmptyTrace {
                    measured.keep_minimum(self.measure_loops(way)?);
                }
            }
        }
        print_table(&columns);
        for (name, reason) in &self.absent {
            say(format!("not measured: {name}: {reason}"));
        }
        for (name, reason) in &failed {
            say(format!("not measured: {name}: {reason}"));
        }
        self.print_start()
    }

    /// The start of a command in which `way` records what follows, which begins with `-m` or a file.
    fn begin(&self, way: &Way) -> Command {
        let python = self.venv.path_of("python");
        match way.tool {
            Tool::Hitlog => {
                let mut hitlog = self.venv.program("hitlog");
                hitlog.args(["run", "-o", "hitlog.db"]);
                hitlog.args(way.has_branches.then_some("--branch")).arg("--").arg(python);
                hitlog
            }
            Tool::Slipcover => {
                let mut slipcover = self.venv.program("python");
                slipcover.args(["-m", "slipcover", "--out", "slipcover.out", "--source", "."]);
                slipcover.args(way.has_branches.then_some("--branch"));
                slipcover
            }
            Tool::Coverage(_) | Tool::EmptyTrace | Tool::Nothing => self.venv.program("python"),
        }
    }

    fn measure_suite(&self, suite: &Suite, folder: &Path, way: &Way) -> Result<Measured> {
        let mut pytest = suite.with_pytest(self.begin(way), folder);
        pytest.args(["-q", "-p", "bench_time"]).env("BENCH_ROW", suite.title);
        if way.tool == Tool::Slipcover {
            // pytest warns that it cannot rewrite it, and the suite takes warnings for errors.
            pytest.args(["-W", "ignore::pytest.PytestAssertRewriteWarning"]);
        }
        if way.tool == Tool::EmptyTrace {
            pytest.env("BENCH_EMPTY_TRACE", "1");
        }
        if !(way.tool == Tool::Hitlog && way.has_contexts) {
            pytest.args(["-p", "no:hitlog"]);
        }
        if let Tool::Coverage(core) = way.tool {
            pytest.args(["--cov", "--cov-report="]).env("COVERAGE_CORE", core);
            pytest.args(way.has_branches.then_some("--cov-branch"));
            pytest.args(way.has_contexts.then_some("--cov-context=test"));
        }
        self.measure(&mut pytest)
    }

    fn measure_loops(&self, way: &Way) -> Result<Measured> {
        let mut python = self.begin(way);
        if let Tool::Coverage(core) = way.tool {
            python.args(["-m", "coverage", "run"]).args(way.has_branches.then_some("--branch"));
            python.env("COVERAGE_CORE", core);
        }
        python.arg("bench_loops.py").args(way.has_contexts.then_some("contexts"));
        self.measure(python.current_dir(&self.folder))
    }

    fn measure(&self, command: &mut Command) -> Result<Measured> {
        let output = self.folder.join("times");
        let _ = fs::remove_file(&output);
        capture(command.env("BENCH_TIMES", &output).env("PYTHONHASHSEED", "0"))?;
        parse(&fs::read_to_string(&output)?)
    }

    /// What a process pays for being recorded, and for hitlog being installed.
    fn print_start(&self) -> Result {
        let mut start = self.venv.program("python");
        start.arg(script("bench_start.py")).current_dir(&self.folder);
        say(capture(start.arg(self.rounds.to_string()))?.trim_end());
        Ok(())
    }
}

/// Why which ways cannot be measured with this Python.
fn absent_ways(venv: &Venv) -> Result<BTreeMap<&'static str, String>> {
    let slipcover = venv.install_wheel("slipcover").err().map(|Failure(reason)| reason);
    let question = "import sys; print(hasattr(sys, 'monitoring'), sys.version_info >= (3, 14))";
    let answer = capture(venv.program("python").args(["-c", question]))?;
    let reason = |way: &Way| match way.tool {
        Tool::Slipcover => slipcover.clone(),
        Tool::EmptyTrace if !answer.starts_with("False") => {
            Some("from CPython 3.12 on nothing is traced".to_owned())
        }
        Tool::Coverage("sysmon") if answer.starts_with("False") => {
            Some("sys.monitoring came with CPython 3.12".to_owned())
        }
        Tool::Coverage("sysmon") if way.has_branches && answer.ends_with("False\n") => {
            Some("coverage.py records branches through sys.monitoring from CPython 3.14 on".to_owned())
        }
        _ => None,
    };
    Ok(WAYS.iter().filter_map(|way| Some((way.name, reason(way)?))).collect())
}

/// Reads lines of a name and a number; `peak_kib` is the memory.
fn parse(text: &str) -> Result<Measured> {
    let mut measured = Measured::default();
    for line in text.lines() {
        let (name, number) = line.split_once(' ').unwrap_or_default();
        let number: f64 =
            number.parse().map_err(|_| Failure(format!("`{line}` is no measurement.")))?;
        if name == "peak_kib" {
            measured.peak_kib = measured.peak_kib.max(number as u64);
        } else {
            measured.seconds.insert(name.to_owned(), number);
        }
    }
    if measured.seconds.is_empty() {
        return Err(Failure("nothing was measured.".into()));
    }
    Ok(measured)
}

/// A row for each way, which is easier to read than a column: the names are long.
fn print_table(columns: &[(Way, Measured)]) {
    let (_, base) = &columns[0];
    let rows: Vec<&String> = base.seconds.keys().collect();
    let head: Vec<String> = rows.iter().map(|row| format!("{row:>14}")).collect();
    say(format!("{:40}{}{:>14}", "", head.concat(), "memory, MiB"));
    for (way, measured) in columns {
        let cells = rows.iter().map(|row| match measured.seconds.get(*row) {
            Some(seconds) if way.tool == Tool::Nothing => format!("{seconds:>12.3} s"),
            Some(seconds) => format!("{:>14.2}", seconds / base.seconds[*row]),
            None => format!("{:>14}", "-"),
        });
        let memory = (measured.peak_kib as f64 - base.peak_kib as f64) / 1024.0;
        say(format!("{:40}{}{memory:>+14.1}", way.name, cells.collect::<String>()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_of_each_row_is_kept() {
        let mut measured = Measured::default();
        measured.keep_minimum(parse("a 2.0\nb 1.0\npeak_kib 70\n").unwrap());
        measured.keep_minimum(parse("a 1.5\nb 3.0\npeak_kib 60\n").unwrap());
        assert_eq!(measured.seconds["a"], 1.5);
        assert_eq!(measured.seconds["b"], 1.0);
        assert_eq!(measured.peak_kib, 60);
        assert!(parse("").is_err());
        assert!(parse("a b\n").is_err());
    }
}
