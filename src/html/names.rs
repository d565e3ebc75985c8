//! The files and tests of a recording, numbered in the order of their names.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rusqlite::Connection;

use super::database::{rows_of, text};

/// A file of which something ran.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Its position among the files of the report.
    pub(super) number: u32,
    /// Its id in the database.
    pub(super) id: i64,
    pub(super) path: String,
    /// Size in bytes and modification time as it ran, where they were recorded.
    pub(super) recorded: Option<(u64, i64)>,
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
        let paths = self.files.iter().map(|file| &file.path);
        for (number, name) in paths.chain(&self.tests).chain(&self.log_ids).enumerate() {
            hashes[number % 2].update(&(name.len() as u64).to_le_bytes());
            hashes[number % 2].update(name.as_bytes());
        }
        let [high, low] = hashes.map(|hash| u64::from(hash.finalize()));
        high << 32 | low
    }

    /// The folder, with a slash at its end, below which all files are; empty if there is none.
    pub(super) fn root(&self) -> String {
        let mut folders = self.files.iter().map(|file| folder_of(&file.path));
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

/// Splits `nodeid|run` and the like into the test and its phase.
pub(super) fn test_and_phase(context: &str) -> (&str, Phase) {
    let phase = |word| match word {
        "setup" => Some(Phase::Setup),
        "run" => Some(Phase::Run),
        "teardown" => Some(Phase::Teardown),
        _ => None,
    };
    let parts = context.rsplit_once('|').and_then(|(test, word)| Some((test, phase(word)?)));
    parts.unwrap_or((context, Phase::Whole))
}

pub(super) fn read(connection: &Connection) -> rusqlite::Result<Names> {
    let mut names = Names { files: read_files(connection)?, ..Names::default() };
    let meta = rows_of(connection, "meta", "select key, value from meta", |row| {
        Ok((text(row, 0)?, text(row, 1)?))
    })?;
    let meta: HashMap<String, String> = meta.into_iter().collect();
    let of = |key: &str| meta.get(key).cloned().unwrap_or_default();
    names.has_arcs = of("has_arcs") == "1";
    names.writer = if of("version").starts_with("hitlog") {
        of("version")
    } else {
        format!("coverage.py {}", of("version")).trim_end().to_owned()
    };
    let contexts = "select id, context from context";
    let contexts = rows_of(connection, "context", contexts, |row| Ok((row.get(0)?, text(row, 1)?)))?;
    add_contexts(&mut names, &contexts);
    let log_ids = "select log_id from hitlog_log order by log_id";
    names.log_ids = rows_of(connection, "hitlog_log", log_ids, |row| text(row, 0))?;
    Ok(names)
}

fn read_files(connection: &Connection) -> rusqlite::Result<Vec<File>> {
    let recorded = "select file_id, size, mtime_ns from hitlog_file where size is not null";
    let recorded = rows_of(connection, "hitlog_file", recorded, |row| {
        let size: i64 = row.get(1)?;
        Ok((row.get(0)?, (u64::try_from(size).unwrap_or(0), row.get(2)?)))
    })?;
    let recorded: HashMap<i64, (u64, i64)> = recorded.into_iter().collect();
    let files = "select id, path from file order by path";
    let files = rows_of(connection, "file", files, |row| Ok((row.get::<_, i64>(0)?, text(row, 1)?)))?;
    let numbered = (0..).zip(files).map(|(number, (id, path))| {
        let recorded = recorded.get(&id).copied();
        File { number, id, path, recorded }
    });
    Ok(numbered.collect())
}

fn add_contexts(names: &mut Names, contexts: &[(i64, String)]) {
    let split = || contexts.iter().map(|(id, context)| (*id, test_and_phase(context)));
    let tests: BTreeMap<&str, ()> =
        split().map(|(_, (test, _))| (test, ())).filter(|(test, ())| !test.is_empty()).collect();
    let numbers: HashMap<&str, u32> = tests.keys().copied().zip(0..).collect();
    names.owners = split()
        .map(|(id, (test, phase))| match numbers.get(test) {
            Some(number) => (id, Owner { test: Some(*number), phase }),
            None => (id, OUTSIDE),
        })
        .collect();
    names.tests = tests.keys().map(|test| (*test).to_owned()).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(paths: &[&str], contexts: &[&str]) -> Names {
        let file = |(number, path): (u32, &&str)| File {
            number,
            id: 1,
            path: (*path).to_owned(),
            recorded: None,
        };
        let mut names = Names { files: (0..).zip(paths).map(file).collect(), ..Names::default() };
        let contexts: Vec<_> = (1..).zip(contexts.iter().map(ToString::to_string)).collect();
        add_contexts(&mut names, &contexts);
        names
    }

    #[test]
    fn contexts_of_one_test_are_one_test() {
        let names = names_of(&[], &["", "t[a|b]|run", "t[a|b]|setup", "a|teardown", "nightly", "|run"]);
        assert_eq!(names.tests, ["a", "nightly", "t[a|b]"]);
        let owner = |test, phase| Owner { test, phase };
        assert_eq!(names.owners[&1], OUTSIDE);
        assert_eq!(names.owners[&2], owner(Some(2), Phase::Run));
        assert_eq!(names.owners[&3], owner(Some(2), Phase::Setup));
        assert_eq!(names.owners[&4], owner(Some(0), Phase::Teardown));
        assert_eq!(names.owners[&5], owner(Some(1), Phase::Whole));
        assert_eq!(names.owners[&6], OUTSIDE);
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
