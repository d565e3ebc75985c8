//! `cargo xtask promises --broken`: is a promise shown by a test that fails if the protection is taken out?
//!
//! Each file in `tests/broken/` takes one protection out of a copy of the project; then the test that it names
//! must fail, and say what it says there.
//!
//! Each line of the README's table has a test here that fails so.
//!
//! ```text
//! Broken: the lock of the previous output is not waited for     what is taken out
//! Test: tests/concurrency.rs::two_compactors_at_once            as in the README's table
//! Says: is not whole                                            a piece of the failure's message
//!
//! --- a/src/compactor/publish.rs                                the change, for `git apply`
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use crate::pythons;
use crate::shell::{Failure, Result, announce, capture, command, root, say, watch, work_folder};
use crate::venv::Venv;

/// What cargo is told in the copy: all of the library is built for each change, and its tests fail early. Without
/// any optimisation hostile logs would take more processor time than they may.
const BUILT_FAST: &str = "
[profile.dev.package.hitlog]
opt-level = 1
debug = false
[profile.release.package.hitlog]
opt-level = 0
debug = false
codegen-units = 16
";

/// A line around a change must be as it was, not three: what is near may change.
const APPLY: [&str; 2] = ["apply", "-C1"];

/// One protection taken out.
#[derive(Debug, PartialEq, Eq)]
struct Broken {
    name: String,
    what: String,
    test: String,
    says: String,
}

/// Breaks each protection, or those that are named, and fails unless each is missed by its test.
pub fn run_all(names: &[&str]) -> Result {
    let folder = root().join("tests/broken");
    let mut all = read_all(&folder)?;
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|broken| broken.name != **name)) {
        return Err(Failure(format!("tests/broken/{unknown}.patch: there is no such file.")));
    }
    all.retain(|broken| names.is_empty() || names.contains(&broken.name.as_str()));
    let tree = work_folder().join("broken");
    let mut ends = Vec::new();
    for broken in all {
        announce(format!("{}: {}", broken.name, broken.what));
        copy_project(&tree)?;
        let end = apply(&tree, &folder, &broken).and_then(|()| broken.is_missed_in(&tree));
        ends.push((broken, end));
    }
    copy_project(&tree)?;
    announce("what was taken out, and whether its test failed");
    for (broken, end) in &ends {
        let failed = if end.is_ok() { "failed    " } else { "NOT FAILED" };
        say(format!("{failed} {}: {}", broken.test, broken.what));
        if let Err(Failure(sentence)) = end {
            say(format!("           {sentence}"));
        }
    }
    match ends.iter().filter(|(_, end)| end.is_err()).count() {
        0 => Ok(()),
        rest => Err(Failure(format!("{rest} of {} protections are not missed.", ends.len()))),
    }
}

fn read_all(folder: &Path) -> Result<Vec<Broken>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    paths.iter().map(|path| parse(&stem(path), &fs::read_to_string(path)?)).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn parse(name: &str, patch: &str) -> Result<Broken> {
    let of = |key: &str| {
        let value = patch.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        value
            .map(str::to_owned)
            .ok_or_else(|| Failure(format!("tests/broken/{name}.patch: no line begins with `{key}`.")))
    };
    Ok(Broken { name: name.into(), what: of("Broken:")?, test: of("Test:")?, says: of("Says:")? })
}

/// Makes `tree` what the project is. What is the same already is not touched: cargo would build it again.
fn copy_project(tree: &Path) -> Result {
    let listed =
        capture(command("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    for name in listed.split_terminator('\0').filter(|name| root().join(name).is_file()) {
        let (from, to) = (root().join(name), tree.join(name));
        let mut bytes = fs::read(&from)?;
        if name == ".cargo/config.toml" {
            bytes.extend(BUILT_FAST.bytes());
        }
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        fs::create_dir_all(to.parent().unwrap_or(tree))?;
        fs::write(to, bytes)?;
    }
    Ok(())
}

fn apply(tree: &Path, folder: &Path, broken: &Broken) -> Result {
    let mut git = command("git");
    // The copy lies in the project's folder, and is no part of it.
    git.current_dir(tree).env("GIT_CEILING_DIRECTORIES", work_folder());
    git.args(APPLY).arg(folder.join(format!("{}.patch", broken.name)));
    capture(&mut git).map(drop)
}

impl Broken {
    /// Runs the test in `tree`, and fails unless it does and says why.
    fn is_missed_in(&self, tree: &Path) -> Result {
        let mut shell = command("sh");
        // Built there alone, where cargo cannot take one project for the other, and once for each change.
        shell.current_dir(tree).env_remove("CARGO_TARGET_DIR");
        shell.env("CARGO_INCREMENTAL", "0");
        // In a thread of loom's, whose stack is small, one would never end.
        shell.env("RUST_BACKTRACE", "0");
        let python = Venv::with_coverage(&pythons::usual()?)?;
        shell.env("HITLOG_TEST_PYTHON", python.path_of("python"));
        // What a test says goes to stderr.
        shell.args(["-c", "exec cargo run --quiet --package xtask -- promises \"$1\" 2>&1", "sh"]);
        let seen = watch(shell.arg(&self.test), |_| {})?;
        self.judge(seen.code, &seen.stdout)
    }

    fn judge(&self, code: Option<i32>, output: &str) -> Result {
        let is_named = |line: &str| {
            let test = self.test.rsplit("::").next().unwrap_or(&self.test);
            // In the list of the failures at the end, of cargo and of pytest.
            let name = line.trim().rsplit("::").next().unwrap_or(line);
            line.starts_with("    ") && name == test
                || line.starts_with("FAILED ") && line.contains(&self.test)
        };
        let mut lines = output.split_once("failures:").map_or(output, |(_, rest)| rest).lines();
        // A command is one proof: what failed in it, only its message tells.
        let failed = self.test.starts_with("cargo xtask ") || lines.any(is_named);
        match (code, failed, output.contains(&self.says)) {
            (Some(0), ..) => Err(Failure("The test passes.".into())),
            (_, false, _) => Err(Failure("Something else failed (see above).".into())),
            (.., false) => Err(Failure(format!("It failed, but did not say `{}`.", self.says))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promises;

    #[test]
    fn every_patch_says_what_it_breaks_and_fits() {
        let folder = root().join("tests/broken");
        let all = read_all(&folder).unwrap();
        assert!(all.len() > 12, "{all:?}");
        for broken in all {
            let mut check = command("git");
            check.args(APPLY).arg("--check").arg(folder.join(format!("{}.patch", broken.name)));
            capture(&mut check).unwrap_or_else(|Failure(said)| panic!("{}: {said}", broken.name));
        }
    }

    #[test]
    fn every_promise_of_the_readme_is_broken_once() {
        let tests: Vec<String> = read_all(&root().join("tests/broken"))
            .unwrap()
            .into_iter()
            .map(|broken| broken.test)
            .collect();
        assert_eq!(promises::not_shown_by(&tests).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn only_the_named_test_with_its_message_counts() {
        let broken = parse("x", "Broken: a lock\nTest: tests/a.rs::b\nSays: 3 lost\n\n").unwrap();
        let failed = "test b ... FAILED\n1 of 2 lost\nfailures:\n    b\n";
        assert!(broken.judge(Some(1), failed).is_err(), "says something else");
        let failed = failed.replace("1 of 2", "3");
        assert!(broken.judge(Some(1), &failed).is_ok());
        assert!(broken.judge(Some(0), &failed).is_err(), "the command ended well");
        let other = "error: could not compile\n3 lost\nfailures:\n    bb\n";
        assert!(broken.judge(Some(1), other).is_err());
        let python = parse("y", "Broken: a\nTest: t/test_a.py::test_b\nSays: E assert\n").unwrap();
        assert!(python.judge(Some(1), "E assert 1\nFAILED t/test_a.py::test_b - assert 1\n").is_ok());
        let command = parse("c", "Broken: a\nTest: cargo xtask demo\nSays: is not named\n").unwrap();
        assert!(command.judge(Some(1), "worker gw1 is not named\n").is_ok());
        assert!(command.judge(Some(1), "no network\n").is_err());
        assert!(parse("z", "Broken: a lock\nSays: 3\n").is_err());
    }
}
