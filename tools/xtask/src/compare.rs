//! `cargo xtask compare`: hitlog and coverage.py's C tracer on the same suite.
//!
//! Each records jinja2's suite with a context per test, in a run of its own; then the two sets of
//! (context, file, line) are compared.

use std::path::Path;
use std::process::Command;

use crate::pythons::Python;
use crate::shell::{Result, announce, run, script};
use crate::suite;
use crate::venv::Venv;

/// Compares on each of `pythons`; stops at the first on which they differ too much.
pub fn run_all(pythons: &[Python]) -> Result {
    pythons.iter().try_for_each(|python| run_on(&Venv::with_hitlog(python)?))
}

/// Compares on the Python of `venv`.
pub fn run_on(venv: &Venv) -> Result {
    announce(format!("hitlog and coverage.py's C tracer on Python {}", venv.version));
    let suite = suite::unpack(venv, &format!("compare-{}", venv.version))?;
    record_with_hitlog(venv, &suite)?;
    record_with_coverage(venv, &suite)?;
    let mut compare = venv.program("python");
    run(compare.arg(script("compare.py")).args(["hitlog.db", "coverage.db"]).current_dir(&suite))
}

fn record_with_hitlog(venv: &Venv, suite: &Path) -> Result {
    let mut pytest = repeatable_pytest(venv, suite);
    run(pytest.args(["--hitlog", "--hitlog-output", "hitlog.db"]))
}

fn record_with_coverage(venv: &Venv, suite: &Path) -> Result {
    let mut pytest = repeatable_pytest(venv, suite);
    pytest.args(["--cov", "--cov-context=test", "--cov-report="]);
    run(pytest.env("COVERAGE_CORE", "ctrace").env("COVERAGE_FILE", suite.join("coverage.db")))
}

/// A pytest that runs the same lines every time.
fn repeatable_pytest(venv: &Venv, suite: &Path) -> Command {
    let mut pytest = suite::pytest(venv, suite);
    pytest.args(["-q", "--no-header", "-p", "repeatable"]).env("PYTHONHASHSEED", "0");
    pytest
}
