//! `cargo xtask test`: every check and test there is. All of them run, whatever fails; the end says
//! what did.

use std::process::Command;

use crate::pythons::{self, Python};
use crate::shell::{Failure, Result, announce, cargo, root, run, say, script, timed, watch};
use crate::venv::Venv;
use crate::{compare, demo, dependencies};

/// The features under which the library must be clean beside all of them.
const FEATURE_SETS: [&str; 4] = ["recorder", "reader", "compactor", "query"];

/// Python code outside the package, which is checked by the package's rules.
const PYTHON_FILES: [&str; 3] = ["tools/xtask/python", "tools/spec_reader.py", "fuzz/make_corpus.py"];

/// How many of Python's tests run at once. Most of them wait for their processes most of the time.
const PYTEST_WORKERS: &str = "3";

/// Tests by their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ended well.
    pub passed: u64,
    /// Ended badly.
    pub failed: u64,
    /// Did not run.
    pub skipped: u64,
}

/// What was run, and how it ended.
#[derive(Default)]
struct Session {
    stages: Vec<(String, Result)>,
    counts: Counts,
}

/// Runs everything on `pythons`.
pub fn run_all(pythons: &[Python]) -> Result {
    let mut session = Session::default();
    let usual = pythons::usual()?;
    session.check_form(&usual);
    session.test_rust(&usual);
    for python in pythons {
        session.test_python(python);
    }
    session.stage("the branches that coverage.py sees", |_| {
        compare::branches_of_one_suite(&Venv::with_hitlog(&usual)?)
    });
    session.test_runs_at_once(&usual);
    session.stage("demo", |_| demo::run_usual());
    session.end()
}

impl Session {
    /// Runs one stage and remembers how it ended.
    fn stage(&mut self, name: &str, work: impl FnOnce(&mut Session) -> Result) {
        announce(name);
        let result = timed(name, || work(self));
        if let Err(Failure(sentence)) = &result {
            say(format!("FAILED: {name}: {sentence}"));
        }
        self.stages.push((name.to_owned(), result));
    }

    fn check_form(&mut self, python: &Python) {
        self.stage("rustfmt", |_| run(cargo().args(["fmt", "--all", "--check"])));
        self.stage("clippy, all features", |_| {
            let mut clippy = cargo();
            clippy.env("PYO3_PYTHON", &python.path);
            run(clippy.args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--all-features",
                "--",
                "-D",
                "warnings",
            ]))
        });
        for features in FEATURE_SETS {
            self.stage(&format!("clippy, feature {features} alone"), |_| {
                let mut clippy = cargo();
                clippy.args(["clippy", "--lib", "--no-default-features", "--features", features]);
                run(clippy.args(["--", "-D", "warnings"]))
            });
        }
        self.stage("documentation", |_| {
            let mut doc = cargo();
            run(doc.args(["doc", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
        });
        self.stage("dependencies", |_| dependencies::check());
        self.stage("ruff and mypy", |_| lint_python(python));
    }

    /// Rust's tests, among them those that run coverage.py on what was compacted.
    fn test_rust(&mut self, python: &Python) {
        self.stage("Rust tests", |session| {
            let venv = Venv::with_hitlog(python)?;
            let mut test = cargo();
            test.args(["test", "--workspace", "--all-features", "--no-fail-fast"]);
            test.env("HITLOG_TEST_PYTHON", venv.path_of("python")).env("PYO3_PYTHON", &python.path);
            session.count(&mut test, count_rust)
        });
    }

    /// What does not depend on the version of Python.
    fn test_runs_at_once(&mut self, python: &Python) {
        self.stage("three runs at once in one folder, 20 times", |session| {
            let mut pytest = Venv::with_hitlog(python)?.program("python");
            pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
            session.count(pytest.arg(script("test_runs_at_once.py")), count_pytest)
        });
    }

    fn test_python(&mut self, python: &Python) {
        let version = python.version;
        let mut venv = None;
        self.stage(&format!("Python {version}: build and install"), |_| {
            venv = Some(Venv::with_hitlog(python)?);
            Ok(())
        });
        let Some(venv) = venv else { return };
        self.stage(&format!("Python {version}: the package's tests"), |session| {
            let mut pytest = venv.program("python");
            pytest
                .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", PYTEST_WORKERS])
                .args(["--dist", "worksteal"])
                .current_dir(root().join("tools/python"));
            session.count(&mut pytest, count_pytest)
        });
        self.stage(&format!("Python {version}: the lines that coverage.py sees"), |_| {
            compare::lines_of_one_suite(&venv)
        });
    }

    /// Runs tests and adds what `count` finds in their output.
    fn count(&mut self, tests: &mut Command, count: fn(&str) -> Counts) -> Result {
        let seen = watch(tests, |_| {})?;
        let counts = count(&seen.stdout);
        self.counts.passed += counts.passed;
        self.counts.failed += counts.failed;
        self.counts.skipped += counts.skipped;
        match seen.code {
            Some(0) if counts.passed > 0 => Ok(()),
            Some(0) => Err(Failure("no test ran.".into())),
            _ => Err(Failure(format!("{} tests failed (see above).", counts.failed))),
        }
    }

    /// Says how everything ended.
    fn end(self) -> Result {
        announce("what ran");
        for (name, result) in &self.stages {
            say(format!("{} {name}", if result.is_ok() { "ok    " } else { "FAILED" }));
        }
        let Counts { passed, failed, skipped } = self.counts;
        let broken = self.stages.iter().filter(|(_, result)| result.is_err()).count();
        say(format!("{} stages ok, {broken} stages failed", self.stages.len() - broken));
        say(format!("{passed} passed, {failed} failed, {skipped} skipped"));
        match broken {
            0 => Ok(()),
            _ => Err(Failure(format!("{broken} of {} stages failed.", self.stages.len()))),
        }
    }
}

/// Checks the form and the types of all Python code.
fn lint_python(python: &Python) -> Result {
    let venv = Venv::with_linters(python)?;
    let package = root().join("tools/python");
    let files: Vec<_> = PYTHON_FILES.iter().map(|file| root().join(file)).collect();
    let configured = |name: &str, args: &[&str]| {
        let mut linter = venv.program(name);
        linter.current_dir(&package).args(args);
        run(&mut linter)
    };
    configured("ruff", &["check", "."])?;
    configured("ruff", &["format", "--check", "."])?;
    configured("mypy", &[])?;
    let others = |name: &str, args: &[&str]| {
        let mut linter = venv.program(name);
        run(linter.args(args).arg(package.join("pyproject.toml")).args(&files))
    };
    others("ruff", &["check", "--config"])?;
    others("ruff", &["format", "--check", "--config"])?;
    others("mypy", &["--strict", "--config-file"])
}

/// Adds up the `test result:` lines of cargo.
pub fn count_rust(output: &str) -> Counts {
    let results = output.lines().filter_map(|line| line.trim_start().strip_prefix("test result:"));
    results
        .map(|line| count_words(line, &["passed"], &["failed"], &["ignored"]))
        .fold(Counts::default(), add)
}

/// Reads the last line of pytest that says how many tests ended how.
pub fn count_pytest(output: &str) -> Counts {
    let is_result =
        |line: &&str| line.contains(" in ") && (line.contains(" passed") || line.contains(" failed"));
    let last = output.lines().rev().find(is_result).unwrap_or_default();
    count_words(last, &["passed"], &["failed", "error", "errors"], &["skipped", "xfailed"])
}

fn add(left: Counts, right: Counts) -> Counts {
    Counts {
        passed: left.passed + right.passed,
        failed: left.failed + right.failed,
        skipped: left.skipped + right.skipped,
    }
}

/// The numbers that stand before these words.
fn count_words(line: &str, passed: &[&str], failed: &[&str], skipped: &[&str]) -> Counts {
    let words: Vec<&str> =
        line.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let before = |wanted: &[&str]| {
        let pairs = words.windows(2).filter(|pair| wanted.contains(&pair[1]));
        pairs.filter_map(|pair| pair[0].parse::<u64>().ok()).sum()
    };
    Counts { passed: before(passed), failed: before(failed), skipped: before(skipped) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_cargo_add_up() {
        let output = "running 3 tests\ntest a ... ok\n\
             test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.1s\n\
             test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        assert_eq!(count_rust(output), Counts { passed: 7, failed: 2, skipped: 1 });
        assert_eq!(count_rust("error: could not compile"), Counts::default());
    }

    #[test]
    fn results_of_pytest_are_read_with_and_without_decoration() {
        let quiet = "....\n3 failed, 12 passed, 2 skipped, 1 error in 3.21s\n";
        assert_eq!(count_pytest(quiet), Counts { passed: 12, failed: 4, skipped: 2 });
        let loud = "==== 12 passed in 0.10s ====\nhitlog: 3 files in 2 folders\n";
        assert_eq!(count_pytest(loud), Counts { passed: 12, failed: 0, skipped: 0 });
        assert_eq!(count_pytest("no tests ran in 0.01s"), Counts::default());
    }
}
