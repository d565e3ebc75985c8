//! What two recordings do not have in common.

use super::database::{Database, File};
use super::{Error, Lines};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// The differences from one recording to another. Files and tests are the same if they have the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diff {
    /// Tests that only the second recording has, by name.
    pub tests_added: Vec<String>,
    /// Tests that only the first one has.
    pub tests_gone: Vec<String>,
    /// Each file of which other lines ran, whoever ran them, by path.
    pub files: Vec<FileDiff>,
    /// Each test of both recordings that ran other lines, by name. One without a name stands for what ran
    /// outside of tests.
    pub tests: Vec<TestDiff>,
    /// Whether the recordings have any file in common.
    pub have_common_files: bool,
}

/// The lines of a file that ran in one of two recordings only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileDiff {
    /// The file.
    pub path: String,
    /// Lines that ran in the second recording only.
    pub gained: Lines,
    /// Lines that ran in the first recording only.
    pub lost: Lines,
    /// Whether the file itself changed in between (its size or modification time), so that lines with
    /// the same number may be others. `None` if that is not known.
    pub source_changed: Option<bool>,
}

/// A test that ran other lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TestDiff {
    /// The test.
    pub test: String,
    /// The files of which it ran other lines, by path.
    pub files: Vec<FileDiff>,
}

impl Diff {
    /// Whether in both recordings the same tests ran the same lines.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tests_added.is_empty()
            && self.tests_gone.is_empty()
            && self.files.is_empty()
            && self.tests.is_empty()
    }
}

/// What changed from the recording `before` to the recording `after`.
///
/// # Errors
/// If SQLite cannot read.
///
/// ```
/// use hitlog::query::{Database, diff};
///
/// # let folder = tempfile::tempdir()?;
/// # let mut databases = Vec::new();
/// # #[cfg(feature = "recorder")] {
/// for (name, line) in [("before", 1), ("after", 2)] {
///     let run = folder.path().join(name);
///     let recorder = hitlog::Recorder::open(&run)?;
///     recorder.line(recorder.file("/src/parser.rs"), line);
///     # let output = folder.path().join(format!("{name}.db"));
///     # hitlog::compactor::compact(&[run], &hitlog::compactor::Options::new(&output), &())?;
///     databases.push(Database::open(&output)?);
/// }
/// let changes = diff(&databases[0], &databases[1])?;
/// assert_eq!(changes.files[0].gained.to_string(), "2");
/// assert_eq!(changes.files[0].lost.to_string(), "1");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn diff(before: &Database, after: &Database) -> Result<Diff, Error> {
    let names = |database: &Database| -> BTreeSet<String> {
        database.tests.iter().map(|test| test.name.clone()).collect()
    };
    let (old, new) = (names(before), names(after));
    let mut changes = Diff {
        tests_added: new.difference(&old).cloned().collect(),
        tests_gone: old.difference(&new).cloned().collect(),
        ..Diff::default()
    };
    let is_in_both = |test: &str| test.is_empty() || (old.contains(test) && new.contains(test));
    let mut by_test: BTreeMap<String, Vec<FileDiff>> = BTreeMap::new();
    for pair in paired(&before.files, &after.files) {
        changes.have_common_files |= pair.0.is_some() && pair.1.is_some();
        let source_changed = source_changed(before, after, pair)?;
        let sides = [by_tests(before, pair.0)?, by_tests(after, pair.1)?];
        let path = pair.0.or(pair.1).map_or("", |file| file.path.as_str());
        let differences = |[old, new]: [&Lines; 2]| FileDiff {
            path: path.to_owned(),
            gained: new.without(old),
            lost: old.without(new),
            source_changed,
        };
        let all = [&sides[0], &sides[1]].map(united);
        if all[0] != all[1] {
            changes.files.push(differences([&all[0], &all[1]]));
        }
        let tests: BTreeSet<&str> = sides.iter().flat_map(|side| side.keys().copied()).collect();
        for test in tests.into_iter().filter(|test| is_in_both(test)) {
            let nothing = Lines::default();
            let [old, new] = [&sides[0], &sides[1]].map(|side| side.get(test).unwrap_or(&nothing));
            if old != new {
                by_test.entry(test.to_owned()).or_default().push(differences([old, new]));
            }
        }
    }
    changes.tests = by_test.into_iter().map(|(test, files)| TestDiff { test, files }).collect();
    Ok(changes)
}

/// A file of the one recording and the file of the same path of the other.
type Pair<'files> = (Option<&'files File>, Option<&'files File>);

/// The files of both lists, which are sorted by path.
fn paired<'files>(before: &'files [File], after: &'files [File]) -> impl Iterator<Item = Pair<'files>> {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(&new.path),
        };
        let old = if order.is_le() { before.next() } else { None };
        let new = if order.is_ge() { after.next() } else { None };
        Some((old, new))
    })
}

/// The lines of `file` by the tests that ran them; those outside of tests under no name.
fn by_tests<'database>(
    database: &'database Database,
    file: Option<&File>,
) -> Result<BTreeMap<&'database str, Lines>, Error> {
    let mut by_test: BTreeMap<&str, Lines> = BTreeMap::new();
    let Some(file) = file else { return Ok(by_test) };
    database.hits_of_file(file, |context, lines| {
        let Some(test) = database.tests.of_context(context).filter(|_| !lines.is_empty()) else {
            return;
        };
        let name = if test.is_outside { "" } else { test.name.as_str() };
        by_test.entry(name).or_default().unite(lines);
    })?;
    Ok(by_test)
}

fn united(by_test: &BTreeMap<&str, Lines>) -> Lines {
    by_test.values().fold(Lines::default(), |mut all, lines| {
        all.unite(lines);
        all
    })
}

fn source_changed(before: &Database, after: &Database, pair: Pair<'_>) -> Result<Option<bool>, Error> {
    let (Some(old), Some(new)) = pair else { return Ok(None) };
    let states = (before.file_as_recorded(old)?, after.file_as_recorded(new)?);
    Ok(match states {
        (Some(old), Some(new)) => Some(old != new),
        _ => None,
    })
}
