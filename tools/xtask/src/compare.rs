//! `cargo xtask compare`: hitlog and coverage.py's C tracer on the same suites.
//!
//! Each records a suite with a context per test, in a run of its own: first lines, then branches. Then
//! what the two say is compared: the sets of (context, file, line); the branches that coverage.py reports
//! as taken or missing from either file, and the sets of (context, file, branch).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pythons::Python;
use crate::shell::{Result, announce, run, script};
use crate::suite::{JINJA2, PACKAGING, Suite};
use crate::venv::Venv;

/// Compares on each of `pythons`; stops at the first on which they differ too much.
pub fn run_all(pythons: &[Python]) -> Result {
    for python in pythons {
        let venv = Venv::with_hitlog(python)?;
        for suite in [JINJA2, PACKAGING] {
            Comparison::of(&venv, suite)?.lines()?.branches()?;
        }
    }
    Ok(())
}

/// Compares the lines of one suite on the Python of `venv`.
pub fn lines_of_one_suite(venv: &Venv) -> Result {
    Comparison::of(venv, JINJA2)?.lines().map(drop)
}

/// Compares the branches of one suite on the Python of `venv`.
pub fn branches_of_one_suite(venv: &Venv) -> Result {
    Comparison::of(venv, PACKAGING)?.branches().map(drop)
}

struct Comparison<'a> {
    venv: &'a Venv,
    suite: Suite,
    folder: PathBuf,
}

impl<'a> Comparison<'a> {
    fn of(venv: &'a Venv, suite: Suite) -> Result<Comparison<'a>> {
        let version = venv.version;
        announce(format!("{}: hitlog and coverage.py's C tracer on Python {version}", suite.title));
        let folder = suite.unpack(venv, &format!("compare-{version}"))?;
        Ok(Comparison { venv, suite, folder })
    }

    fn lines(&self) -> Result<&Self> {
        self.record("hitlog.db", "coverage.db", false)?;
        self.compare("compare.py", &["hitlog.db", "coverage.db"])
    }

    fn branches(&self) -> Result<&Self> {
        self.record("hitlog-branch.db", "coverage-branch.db", true)?;
        for data in ["hitlog-branch", "coverage-branch"] {
            let mut coverage = self.venv.program("coverage");
            coverage.args(["json", "-q", "--ignore-errors", "-o", &format!("{data}.json")]);
            run(coverage.arg(format!("--data-file={data}.db")).current_dir(&self.folder))?;
        }
        self.compare("compare_branches.py", &["hitlog-branch", "coverage-branch"])
    }

    fn record(&self, ours: &str, theirs: &str, has_branches: bool) -> Result {
        let mut hitlog = self.repeatable_pytest();
        hitlog.args(["--hitlog", "--hitlog-output", ours]);
        run(hitlog.args(has_branches.then_some("--hitlog-branch")))?;
        let mut coverage = self.repeatable_pytest();
        coverage.args(["--cov", "--cov-context=test", "--cov-report="]);
        coverage.args(has_branches.then_some("--cov-branch"));
        let data_file: &Path = &self.folder.join(theirs);
        run(coverage.env("COVERAGE_CORE", "ctrace").env("COVERAGE_FILE", data_file))
    }

    /// A pytest that runs the same lines every time.
    fn repeatable_pytest(&self) -> Command {
        let mut pytest = self.suite.pytest(self.venv, &self.folder);
        pytest.args(["-q", "--no-header", "-p", "repeatable"]).env("PYTHONHASHSEED", "0");
        pytest
    }

    fn compare(&self, name: &str, files: &[&str]) -> Result<&Self> {
        let mut compare = self.venv.program("python");
        run(compare.arg(script(name)).args(files).current_dir(&self.folder))?;
        Ok(self)
    }
}
