//! Which Pythons this machine has.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::shell::{Failure, Result, capture, command, say};

/// Version of a Python: major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u8, u8);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Version {
    /// Reads `3.12`.
    fn parse(text: &str) -> Option<Version> {
        let (major, minor) = text.split_once('.')?;
        Some(Version(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// The oldest Python that hitlog supports.
const OLDEST: Version = Version(3, 9);

/// The newest Python that is looked for by name.
const NEWEST: Version = Version(3, 15);

/// The Pythons on which everything must be shown.
const USUAL: [Version; 4] = [Version(3, 11), Version(3, 12), Version(3, 13), Version(3, 14)];

/// An interpreter of this machine.
#[derive(Clone, Debug)]
pub struct Python {
    /// Its version.
    pub version: Version,
    /// Where it is.
    pub path: PathBuf,
}

/// Asks a Python what it is: version, implementation, whether it is free-threaded, and where it lies.
const QUESTION: &str = "import sys, sysconfig
print('%d.%d' % sys.version_info[:2])
print(sys.implementation.name)
print(sysconfig.get_config_var('Py_GIL_DISABLED') or 0)
print(sys.executable)";

/// The interpreter behind `program`, if it is a CPython that hitlog supports.
fn ask(program: PathBuf) -> Option<Python> {
    let answer = capture(command(program).args(["-c", QUESTION])).ok()?;
    let mut lines = answer.lines();
    let version = Version::parse(lines.next()?)?;
    let is_usual_build = lines.next()? == "cpython" && lines.next()? == "0";
    let path = PathBuf::from(lines.next()?);
    (is_usual_build && version >= OLDEST).then_some(Python { version, path })
}

/// The Python that a user gets by typing `python3`, or else the newest that is there.
pub fn usual() -> Result<Python> {
    let first = ask("python3".into()).or_else(|| find_all().pop());
    first.ok_or_else(|| {
        Failure(format!(
            "no CPython from {OLDEST} is found. Install one, or name it in HITLOG_PYTHONS."
        ))
    })
}

/// One interpreter of each version, oldest first.
fn find_all() -> Vec<Python> {
    let mut found = BTreeMap::new();
    for python in candidates().into_iter().filter_map(ask) {
        found.entry(python.version).or_insert(python);
    }
    found.into_values().collect()
}

/// Where interpreters may be, the preferred first.
fn candidates() -> Vec<PathBuf> {
    let named = std::env::var_os("HITLOG_PYTHONS").unwrap_or_default();
    let mut paths: Vec<PathBuf> = std::env::split_paths(&named).collect();
    paths.retain(|path| !path.as_os_str().is_empty());
    paths.push("python3".into());
    paths.extend((OLDEST.1..=NEWEST.1).map(|minor| format!("python3.{minor}").into()));
    if let Ok(root) = capture(command("pyenv").arg("root")) {
        let versions = PathBuf::from(root.trim_end()).join("versions");
        let folders = versions.read_dir().into_iter().flatten().flatten();
        paths.extend(folders.map(|folder| folder.path().join("bin").join("python")));
    }
    paths
}

/// The Pythons that the options of a command ask for; says which of them are absent.
pub fn choose(options: &[&str]) -> Result<Vec<Python>> {
    let wanted = parse(options)?;
    let (chosen, others): (Vec<_>, Vec<_>) = find_all()
        .into_iter()
        .partition(|python| wanted.as_ref().is_none_or(|list| list.contains(&python.version)));
    for python in &chosen {
        say(format!("Python {}: {}", python.version, python.path.display()));
    }
    for version in wanted.iter().flatten().filter(|version| !has(&chosen, **version)) {
        say(format!("Python {version}: absent, not tested"));
    }
    for python in others {
        say(format!("Python {}: found, not asked for (--all-pythons)", python.version));
    }
    if chosen.is_empty() {
        return Err(Failure(
            "none of these Pythons is found. Install one, or name it in HITLOG_PYTHONS.".into(),
        ));
    }
    Ok(chosen)
}

fn has(pythons: &[Python], version: Version) -> bool {
    pythons.iter().any(|python| python.version == version)
}

/// The versions that are asked for; `None` for all.
fn parse(options: &[&str]) -> Result<Option<Vec<Version>>> {
    match options {
        [] => Ok(Some(USUAL.to_vec())),
        ["--all-pythons"] => Ok(None),
        _ => options.chunks(2).map(parse_one).collect::<Result<_>>().map(Some),
    }
}

fn parse_one(option: &[&str]) -> Result<Version> {
    let version = match option {
        ["--python", version] => Version::parse(version),
        _ => None,
    };
    version.ok_or_else(|| {
        Failure(format!("`{}` is not an option; see `cargo xtask --help`.", option.join(" ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered_as_numbers() {
        assert_eq!(Version::parse("3.12"), Some(Version(3, 12)));
        assert_eq!(Version::parse("3"), None);
        assert_eq!(Version::parse("3.x"), None);
        assert!(Version(3, 9) < Version(3, 10));
    }

    #[test]
    fn options_choose_versions() {
        assert_eq!(parse(&[]).unwrap(), Some(USUAL.to_vec()));
        assert_eq!(parse(&["--all-pythons"]).unwrap(), None);
        let two = ["--python", "3.9", "--python", "3.12"];
        assert_eq!(parse(&two).unwrap(), Some(vec![Version(3, 9), Version(3, 12)]));
        for wrong in [&["--python"][..], &["--frob"], &["--python", "new"], &["3.12"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_usual_python_is_supported() {
        match usual() {
            Ok(python) => assert!(python.version >= OLDEST && python.path.exists()),
            Err(Failure(sentence)) => assert!(sentence.contains("HITLOG_PYTHONS"), "{sentence}"),
        }
    }
}
