//! `cargo xtask promises`: runs what the README's table of promises names, and nothing else; or single proofs,
//! written as there.
//!
//! The table is the list: a line whose test is not there, does not run or is skipped on this machine is not
//! shown, and the command fails.
//!
//! ```text
//! | when this happens | this holds | shown by |
//!                                    `tests/damage.rs`                 all tests of that file
//!                                    `tests/damage.rs::every_length`   one test
//!                                    `tools/python/tests/test_x.py`    pytest; `::` as pytest has it
//!                                    `cargo xtask demo`                a command of this program
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::pythons::{self, Python};
use crate::shell::{Failure, Result, announce, cargo, root, say, watch};
use crate::test::{Counts, count_pytest, count_rust};
use crate::venv::Venv;
use crate::{compare, demo};

/// How the table begins.
const TABLE: &str = "| when this happens | this holds | shown by |";

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Promise {
    failure: String,
    proofs: Vec<Proof>,
}

/// What shows a promise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    /// A file or folder in `tests/`, by name, and one test of it.
    Rust { target: String, test: Option<String> },
    /// A file, and perhaps one test of it, as pytest is told.
    Python(String),
    /// `demo` or `compare`.
    Command(String),
}

/// Which parts of the library are built for a test.
#[derive(Clone, Copy)]
enum Features {
    /// All, as for any other test.
    All,
    /// Only what it needs, which is built sooner.
    Required,
}

/// Runs the proofs that are named, as the table names them.
pub fn run_some(proofs: &[&str]) -> Result {
    let python = pythons::usual()?;
    for proof in proofs {
        Proof::parse(proof)?.run(&python, Features::Required)?;
    }
    Ok(())
}

/// Runs every proof once, on the usual Python, and says line by line what is shown.
pub fn run_all() -> Result {
    let promises = parse(&fs::read_to_string(root().join("README.md"))?)?;
    let python = pythons::usual()?;
    let mut ends: BTreeMap<&Proof, Result> = BTreeMap::new();
    for proof in promises.iter().flat_map(|promise| &promise.proofs) {
        if !ends.contains_key(proof) {
            announce(format!("{proof:?}"));
            ends.insert(proof, proof.run(&python, Features::All));
        }
    }
    announce("what is promised, and whether it is shown");
    let shown = promises.iter().filter(|promise| promise.report(&ends)).count();
    match promises.len() - shown {
        0 => Ok(()),
        rest => Err(Failure(format!("{rest} of {} promises are not shown.", promises.len()))),
    }
}

/// The promises in the README.
fn parse(readme: &str) -> Result<Vec<Promise>> {
    let table = readme.split_once(TABLE).map(|(_, rest)| rest.trim_start());
    let table =
        table.ok_or_else(|| Failure(format!("README.md has no table that begins with `{TABLE}`.")))?;
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.map(parse_row).collect()
}

/// What the README promises to hold and none of `tests`, which are named as there, shows.
#[cfg(test)]
pub fn not_shown_by(tests: &[String]) -> Result<Vec<String>> {
    let tests = tests.iter().map(|test| Proof::parse(test)).collect::<Result<Vec<_>>>()?;
    let mut promises = parse(&fs::read_to_string(root().join("README.md"))?)?;
    promises.retain(|promise| {
        !promise.proofs.iter().any(|proof| tests.iter().any(|test| proof.includes(test)))
    });
    Ok(promises.into_iter().map(|promise| promise.failure).collect())
}

fn parse_row(row: &str) -> Result<Promise> {
    let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
    let [failure, _, shown_by] = cells[..] else {
        return Err(Failure(format!("README.md: this line of the table has not three cells: {row}")));
    };
    // What stands in backquotes has the odd numbers.
    let spans = shown_by.split('`').skip(1).step_by(2);
    let proofs = spans.map(Proof::parse).collect::<Result<Vec<_>>>()?;
    if proofs.is_empty() {
        return Err(Failure(format!("README.md: nothing shows this promise: {row}")));
    }
    Ok(Promise { failure: failure.to_owned(), proofs })
}

impl Promise {
    /// Says whether it is shown, and returns it.
    fn report(&self, ends: &BTreeMap<&Proof, Result>) -> bool {
        let failures: Vec<&Failure> =
            self.proofs.iter().filter_map(|proof| ends.get(proof)?.as_ref().err()).collect();
        say(format!(
            "{} {}",
            if failures.is_empty() { "shown    " } else { "NOT SHOWN" },
            self.failure
        ));
        for Failure(sentence) in &failures {
            say(format!("          {sentence}"));
        }
        failures.is_empty()
    }
}

impl Proof {
    fn parse(span: &str) -> Result<Proof> {
        let proof = if let Some(command) = span.strip_prefix("cargo xtask ") {
            Some(Proof::Command(command.to_owned()))
        } else if let Some(rest) = span.strip_prefix("tests/") {
            let (file, test) = rest.split_once("::").map_or((rest, None), |(f, t)| (f, Some(t)));
            let target = file.trim_end_matches(".rs").trim_end_matches('/').to_owned();
            Some(Proof::Rust { target, test: test.map(str::to_owned) })
        } else {
            span.contains(".py").then(|| Proof::Python(span.to_owned()))
        };
        let file = span.split("::").next().unwrap_or(span);
        let is_there = span.starts_with("cargo xtask ") || root().join(file).exists();
        proof.filter(|_| is_there).ok_or_else(|| {
            Failure(format!("`{span}` is to show a promise, but there is no such file or command."))
        })
    }

    /// Whether `test` is this proof, or one test of its file.
    #[cfg(test)]
    fn includes(&self, test: &Proof) -> bool {
        let file = |proof: &Proof| match proof {
            Proof::Rust { target, test: Some(_) } => Proof::Rust { target: target.clone(), test: None },
            Proof::Python(tests) => Proof::Python(tests.split("::").next().unwrap_or(tests).to_owned()),
            whole => whole.clone(),
        };
        self == test || *self == file(test)
    }

    fn run(&self, python: &Python, features: Features) -> Result {
        match self {
            Proof::Command(name) if name == "demo" => demo::run_usual(),
            Proof::Command(name) if name == "compare" => {
                compare::lines_of_one_suite(&Venv::with_hitlog(python)?)
            }
            Proof::Command(name) => {
                Err(Failure(format!("`{name}` is not a command that shows a promise.")))
            }
            Proof::Python(tests) => {
                let mut pytest = Venv::with_hitlog(python)?.program("python");
                pytest.args(["-m", "pytest", "-q", "-rfEs", "-p", "no:cacheprovider", tests]);
                judge(self, &mut pytest, count_pytest)
            }
            Proof::Rust { target, test } => {
                let mut cargo = cargo_test(target, test.as_deref(), features)?;
                let is_at_hand = std::env::var_os("HITLOG_TEST_PYTHON").is_some();
                if !is_at_hand && source_of(target)?.contains("HITLOG_TEST_PYTHON") {
                    let venv = Venv::with_hitlog(python)?;
                    cargo.env("HITLOG_TEST_PYTHON", venv.path_of("python"));
                }
                judge(self, &mut cargo, count_rust)
            }
        }
    }
}

/// What tries interleavings, each by the name of the `cfg` under which its tests are compiled.
const CHECKERS: [&str; 2] = ["loom", "shuttle"];

/// Runs the tests in `tests/<target>`, or one of them. What is compiled for a checker alone is run with it.
fn cargo_test(target: &str, test: Option<&str>, features: Features) -> Result<Command> {
    let mut cargo = cargo();
    cargo.args(["test", "--test", target]);
    let source = source_of(target)?;
    let is_for = |checker: &&str| source.lines().any(|line| line == format!("#![cfg({checker})]"));
    if let Some(checker) = CHECKERS.into_iter().find(is_for) {
        cargo.env("RUSTFLAGS", format!("--cfg {checker}"));
        cargo.env("CARGO_TARGET_DIR", root().join("target").join(checker));
        cargo.args(["--release", "--no-default-features", "--features", "recorder"]);
    } else {
        match (features, required_features(target)?) {
            (Features::Required, Some(required)) => {
                cargo.args(["--no-default-features", "--features", &required])
            }
            _ => cargo.arg("--all-features"),
        };
    }
    cargo.args(["--", "--nocapture"]);
    cargo.args(test.iter().flat_map(|test| ["--exact", *test]));
    Ok(cargo)
}

/// The features without which the test target `target` is not compiled, separated by commas; `None` where
/// Cargo.toml says nothing of it.
fn required_features(target: &str) -> Result<Option<String>> {
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    let of_target = manifest.split_once(&format!("[[test]]\nname = \"{target}\"\n"));
    let line =
        of_target.and_then(|(_, rest)| rest.lines().next()?.strip_prefix("required-features = "));
    Ok(line.map(|list| list.replace(['[', ']', '"', ' '], "")))
}

/// The text of the test target `target`: a file, or else a folder of them. A folder beside a file is data.
fn source_of(target: &str) -> Result<String> {
    let path = root().join("tests").join(target);
    let file = path.with_extension("rs");
    if file.exists() {
        return Ok(fs::read_to_string(file)?);
    }
    let files = fs::read_dir(path)?.map(|entry| Ok(fs::read_to_string(entry?.path())?));
    files.collect()
}

/// Whether something ran, nothing failed, and no test said that it cannot run here.
fn judge(proof: &Proof, tests: &mut Command, count: fn(&str) -> Counts) -> Result {
    let seen = watch(tests, |_| {})?;
    let counts = count(&seen.stdout);
    // A test that cannot run here says so and returns: to the harness it has passed.
    let skipped = seen.stdout.lines().find(|line| line.contains("skipped: "));
    match (seen.code, skipped) {
        (Some(0), None) if counts.passed > 0 => Ok(()),
        (Some(0), None) => Err(Failure(format!("{proof:?}: no test ran."))),
        (Some(0), Some(line)) => Err(Failure(format!("{proof:?}: {}", line.trim()))),
        _ => Err(Failure(format!("{proof:?}: {} tests failed (see above).", counts.failed))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_of_the_readme_names_what_is_there() {
        let promises = parse(&fs::read_to_string(root().join("README.md")).unwrap()).unwrap();
        assert!(promises.len() > 8, "{promises:?}");
        for proof in promises.iter().flat_map(|promise| &promise.proofs) {
            let Proof::Rust { target, test: Some(test) } = proof else { continue };
            let text = fs::read_to_string(root().join(format!("tests/{target}.rs"))).unwrap();
            assert!(text.contains(&format!("#[test]\nfn {test}()")), "{proof:?}");
        }
    }

    #[test]
    fn a_table_is_read_row_by_row() {
        let readme = format!(
            "{TABLE}\n|---|---|---|\n| power | it holds | `tests/power_loss.rs`, `cargo xtask demo` |\n\nafter"
        );
        let proofs = vec![
            Proof::Rust { target: "power_loss".into(), test: None },
            Proof::Command("demo".into()),
        ];
        assert_eq!(parse(&readme).unwrap(), [Promise { failure: "power".into(), proofs }]);
    }

    #[test]
    fn features_of_a_test_are_those_that_it_requires() {
        assert_eq!(required_features("power_images").unwrap().as_deref(), Some("recorder,reader"));
        assert_eq!(required_features("damage").unwrap(), None);
        assert!(source_of("hostile").unwrap().contains("HITLOG_TEST_PYTHON"), "in one of its files");
        assert!(source_of("golden").unwrap().contains("#[test]"), "tests/golden/ holds logs");
    }

    #[test]
    fn a_promise_that_nothing_shows_is_an_error() {
        for shown_by in ["by luck", "`tests/no_such_file.rs`", "`tools/python/tests/no_such_file.py`"] {
            let readme = format!("{TABLE}\n|---|---|---|\n| power | it holds | {shown_by} |\n");
            assert!(parse(&readme).is_err(), "{shown_by}");
        }
        assert!(parse("no table").is_err());
    }

    #[test]
    fn what_was_left_out_or_did_not_run_is_not_shown() {
        let proof = Proof::Command("demo".into());
        let end = |output: &str| judge(&proof, Command::new("echo").arg(output), count_rust);
        let result = |passed, ignored| {
            format!("test result: ok. {passed} passed; 0 failed; {ignored} ignored; 0 measured")
        };
        assert!(end(&result(1, 0)).is_ok());
        assert!(end(&result(0, 1)).is_err(), "a test that is not there");
        assert!(end(&format!("skipped: needs root\n{}", result(1, 0))).is_err());
    }
}
