//! What did this test run?

use super::database::{Database, File};
use super::{Error, Lines, Test};
use serde::Serialize;
use std::collections::HashMap;

/// The lines that a test ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct What {
    /// The test.
    pub test: String,
    /// How long it takes, in nanoseconds, if known.
    pub duration_ns: Option<u64>,
    /// Whether only those lines are here that no other test ran. What also runs outside of tests, at
    /// import for example, is then left out, too.
    pub only: bool,
    /// Each file with lines, by path.
    pub files: Vec<FileLines>,
}

/// Lines of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileLines {
    /// The file.
    pub path: String,
    /// The lines.
    pub lines: Lines,
}

/// The lines that `test` ran, of every file; with `only`, those that nothing else ran.
///
/// # Errors
/// If SQLite cannot read.
///
/// ```
/// use hitlog::query::{Database, what};
///
/// # let folder = tempfile::tempdir()?;
/// # let (run, output) = (folder.path().join("run"), folder.path().join("hitlog.db"));
/// # #[cfg(feature = "recorder")] {
/// let recorder = hitlog::Recorder::open(&run)?;
/// let file = recorder.file("/src/shop/cart.py");
/// for (test, lines) in [("t.py::a|run", 1..=3), ("t.py::b|run", 3..=9)] {
///     let _test = recorder.context(test);
///     lines.for_each(|line| recorder.line(file, line));
/// }
/// # hitlog::compactor::compact(&[run], &hitlog::compactor::Options::new(&output), &())?;
/// let database = Database::open(&output)?;
/// let test = database.find_test("a")?;
/// assert_eq!(what(&database, test, false)?.files[0].lines.to_string(), "1-3");
/// assert_eq!(what(&database, test, true)?.files[0].lines.to_string(), "1-2");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn what(database: &Database, test: &Test, only: bool) -> Result<What, Error> {
    let mut by_file: HashMap<i64, Lines> = HashMap::new();
    for context in &test.contexts {
        database.hits_of_context(*context, |file, lines| {
            by_file.entry(file).or_default().unite(lines);
        })?;
    }
    let mut files = Vec::new();
    for file in &database.files {
        let Some(lines) = by_file.remove(&file.id) else { continue };
        let lines = if only { lines.without(&of_others(database, test, file)?) } else { lines };
        if !lines.is_empty() {
            files.push(FileLines { path: file.path.clone(), lines });
        }
    }
    let duration_ns = database.durations().of(test)?;
    Ok(What { test: test.name.clone(), duration_ns, only, files })
}

/// The lines of `file` that anything but `test` ran.
fn of_others(database: &Database, test: &Test, file: &File) -> Result<Lines, Error> {
    let mut others = Lines::default();
    database.hits_of_file(file, |context, lines| {
        if !test.contexts.contains(&context) {
            others.unite(lines);
        }
    })?;
    Ok(others)
}
