//! The developer's commands: `cargo xtask demo`, `test`, `promises`, `soak`, `compare`, `mutate`, `bench`.
//!
//! They need Rust, a Python and, the first time, the network; everything else they set up for
//! themselves under `target/xtask`.

mod bench_python;
mod broken;
mod combine;
mod compare;
mod demo;
mod dependencies;
mod growth;
mod mutate;
mod promises;
mod pythons;
mod shell;
mod signals;
mod soak;
mod speed;
mod suite;
mod test;
mod venv;

use std::process::ExitCode;

use shell::{Failure, Result, say};

const HELP: &str = "\
The developer's commands of hitlog.

Usage: cargo xtask <COMMAND>

Commands:
  demo      Record jinja2's test suite under `pytest -n 4`, kill one worker in the middle, and show the
            summary, coverage.py's report and the tests of one line
  test      Run every check and test: Rust, Python, both together
  promises  Run what the README's table of promises names, and say line by line what is shown; or single
            tests, named as there. `promises --broken` takes out one protection after the other, in a
            copy of the project, and checks that the test which is to show it fails
  soak      Kills, power losses, forks, damaged logs and hostile ones at the figures of the failure model,
            again and again with other seeds
  compare   Compare the lines and branches that hitlog and coverage.py's C tracer see in two real suites
  bench     Measure speed: `bench append`, `peers`, `compaction`, `combine` (beside coverage combine) and
            `growth` (draws docs/growth.svg), or all of them, in one table; with --short only that they work
  bench python
            Measure what recording costs two real suites and some small loops, beside coverage.py and
            slipcover; `bench python --short` only shows that it works
  mutate    Change lines of jinja2 and click, and check that every test that then fails is called affected
  help      Print this

Options of test, compare and bench python:
  --all-pythons       every Python from 3.9 that is found [default: 3.11 to 3.14]
  --python X.Y        only this version; may be repeated

Options of mutate:
  --count N           changes of each project [default: 100]; with a run that was stopped, it goes on

Options of soak:
  --minutes N         begin no round after so long [default: 10]
  --seed N            the seed of the first round [default: the time]
  --once              a single round

Pythons are looked for in $HITLOG_PYTHONS (paths of interpreters, separated by colons), on PATH and
among pyenv's. All that is downloaded or built lies under target/ and is used again.

Examples:
  cargo xtask demo
  cargo xtask test
  cargo xtask mutate --count 10
  cargo xtask test --python 3.12
  cargo xtask promises
  cargo xtask promises tests/damage.rs
  cargo xtask promises --broken journals_stay
  cargo xtask soak --minutes 60
  cargo xtask soak --once --seed 7
  HITLOG_PYTHONS=/opt/python3.15/bin/python cargo xtask compare --all-pythons
";

fn main() -> ExitCode {
    signals::reset_ignored();
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(sentence)) => {
            say(format!("xtask: {sentence}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[&str]) -> Result {
    if args.is_empty() || args.iter().any(|arg| ["help", "--help", "-h"].contains(arg)) {
        say(HELP.trim_end());
        return Ok(());
    }
    match (args[0], &args[1..]) {
        ("mutate", options) => mutate::run_usual(options),
        ("demo", []) => demo::run_usual(),
        ("test", options) => test::run_all(&pythons::choose(options)?),
        ("promises", []) => promises::run_all(),
        ("promises", ["--broken", names @ ..]) => broken::run_all(names),
        ("promises", proofs) => promises::run_some(proofs),
        ("soak", options) => soak::run_all(options),
        ("bench", []) => speed::run_all(false),
        ("bench", ["--short"]) => speed::run_all(true),
        ("bench", ["python", "--short"]) => bench_python::run_all(&[pythons::usual()?], true),
        ("bench", ["python", options @ ..]) => bench_python::run_all(&pythons::choose(options)?, false),
        ("bench", [part]) => speed::run_part(part, false),
        ("bench", [part, "--short"]) => speed::run_part(part, true),
        ("compare", options) => compare::run_all(&pythons::choose(options)?),
        _ => Err(Failure(format!("`{}` is not a command; see `cargo xtask --help`.", args.join(" ")))),
    }
}
