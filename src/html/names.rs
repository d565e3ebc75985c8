//! The files and tests of a recording, numbered in the order of their names.

use std::collections::HashMap;
use std::path::Path;

use super::Error;
use crate::query::{self, Database, Tests, rows};

/// A file of which something ran.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Its position among the files of the report.
    pub(super) number: u32,
    pub(super) file: query::File,
}

/// The part of a test that a context is, as pytest's plugins name it behind a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The context has no such parts.
    Whole = 0,
    Setup = 1,
    Run = 2,
    Teardown = 3,
}

/// Whose context it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The test's position among the tests of the report; none for what ran outside of tests.
    pub(super) test: Option<u32>,
    pub(super) phase: Phase,
}

/// What ran outside of tests.
pub(super) const OUTSIDE: Owner = Owner { test: None, phase: Phase::Whole };

#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) files: Vec<File>,
    pub(super) tests: Vec<String>,
    /// By the context's id in the database.
    pub(super) owners: HashMap<i64, Owner>,
    /// Whether branches were recorded.
    pub(super) has_arcs: bool,
    /// The program that wrote the database, as it names itself.
    pub(super) writer: String,
    pub(super) log_ids: Vec<String>,
}

impl Names {
    /// Differs between recordings: logs have random ids.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hashes = [crc32fast::Hasher::new(), crc32fast::Hasher::new()];
        let paths = self.files.iter().map(|file| &file.file.path);
        for (number, name) in paths.chain(&self.tests).chain(&self.log_ids).enumerate() {
            hashes[number % 2].update(&(name.len() as u64).to_le_bytes());
            hashes[number % 2].update(name.as_bytes());
        }
        let [high, low] = hashes.map(|hash| u64::from(hash.finalize()));
        high << 32 | low
    }

    /// The folder, with a slash at its end, below which all files are; empty if there is none.
    pub(super) fn root(&self) -> String {
        let mut folders = self.files.iter().map(|file| folder_of(&file.file.path));
        let Some(first) = folders.next() else { return String::new() };
        let common = folders.fold(first, |common, folder| {
            common.ancestors().find(|ancestor| folder.starts_with(ancestor)).unwrap_or(Path::new(""))
        });
        match common.to_str().unwrap_or_default() {
            text if text.is_empty() || text.ends_with('/') => text.to_owned(),
            text => format!("{text}/"),
        }
    }
}

fn folder_of(path: &str) -> &Path {
    Path::new(path).parent().unwrap_or(Path::new(""))
}

/// The phase that a context is, of a test of this name.
fn phase(context: &str, test: &str) -> Phase {
    match context.strip_prefix(test) {
        Some("|setup") => Phase::Setup,
        Some("|run") => Phase::Run,
        Some("|teardown") => Phase::Teardown,
        _ => Phase::Whole,
    }
}

impl Names {
    pub(super) fn read(database: &Database) -> Result<Names, Error> {
        let numbered =
            (0..).zip(database.files()).map(|(number, file)| File { number, file: file.clone() });
        let mut names =
            Names { files: numbered.collect(), has_arcs: database.has_arcs(), ..Names::default() };
        names.add_tests(database.tests(), &database.contexts()?.into_iter().collect());
        names.writer = writer(database)?;
        if database.has_own_tables {
            let sql = "select log_id from hitlog_log order by log_id";
            names.log_ids = database.asking(|connection| rows(connection, sql, |row| row.get(0)))?;
        }
        Ok(names)
    }

    fn add_tests(&mut self, tests: &Tests, contexts: &HashMap<i64, String>) {
        for (number, test) in (0..).zip(tests.iter()) {
            self.tests.push(test.name.clone());
            for id in &test.contexts {
                let context = contexts.get(id).map_or("", String::as_str);
                self.owners
                    .insert(*id, Owner { test: Some(number), phase: phase(context, &test.name) });
            }
        }
    }

    /// Whose context this is.
    pub(super) fn owner(&self, context: i64) -> Owner {
        self.owners.get(&context).copied().unwrap_or(OUTSIDE)
    }
}

/// The program that wrote the database, with its version.
fn writer(database: &Database) -> Result<String, Error> {
    let sql = "select coalesce(value, '') from meta where key = 'version'";
    let found: Vec<String> = database.asking(|connection| rows(connection, sql, |row| row.get(0)))?;
    let version = found.into_iter().next().unwrap_or_default();
    let is_own = version.starts_with("hitlog");
    Ok(if is_own { version } else { format!("coverage.py {version}").trim_end().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(paths: &[&str], contexts: &[&str]) -> Names {
        let file = |(number, path): (u32, &&str)| File {
            number,
            file: query::File { id: 1, path: (*path).to_owned() },
        };
        let mut names = Names { files: (0..).zip(paths).map(file).collect(), ..Names::default() };
        let contexts = || (1..).zip(contexts.iter().map(ToString::to_string));
        names.add_tests(&Tests::new(contexts()), &contexts().collect());
        names
    }

    #[test]
    fn contexts_of_one_test_are_one_test() {
        let names = names_of(&[], &["", "t[a|b]|run", "t[a|b]|setup", "a|teardown", "nightly", "|run"]);
        assert_eq!(names.tests, ["a", "nightly", "t[a|b]"]);
        let owner = |test, phase| Owner { test, phase };
        assert_eq!(names.owner(1), OUTSIDE);
        assert_eq!(names.owners[&2], owner(Some(2), Phase::Run));
        assert_eq!(names.owners[&3], owner(Some(2), Phase::Setup));
        assert_eq!(names.owners[&4], owner(Some(0), Phase::Teardown));
        assert_eq!(names.owners[&5], owner(Some(1), Phase::Whole));
        assert_eq!(names.owner(6), OUTSIDE);
    }

    #[test]
    fn the_root_is_the_folder_above_all_files() {
        let root = |paths: &[&str]| names_of(paths, &[]).root();
        assert_eq!(root(&[]), "");
        assert_eq!(root(&["/src/shop/cart.py"]), "/src/shop/");
        assert_eq!(root(&["/src/shop/cart.py", "/src/shoes/a.py"]), "/src/");
        assert_eq!(root(&["/a.py", "/src/b.py"]), "/");
        assert_eq!(root(&["/src/b.py", "<template>"]), "");
    }

    #[test]
    fn fingerprints_tell_recordings_apart() {
        let one = names_of(&["/a", "/b"], &["t"]).fingerprint();
        assert_eq!(one, names_of(&["/a", "/b"], &["t"]).fingerprint());
        let others = [(&["/a", "/b"][..], &["u"][..]), (&["/a"], &["t"]), (&["/ab"], &["t"])];
        assert!(others.iter().all(|(paths, tests)| names_of(paths, tests).fingerprint() != one));
        let mut logged = names_of(&["/a", "/b"], &["t"]);
        logged.log_ids.push("00ff".to_owned());
        assert_ne!(logged.fingerprint(), one);
    }
}
