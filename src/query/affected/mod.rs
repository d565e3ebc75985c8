//! Which tests must run for the present state of the tree.
//!
//! ```text
//! recording (what ran, sources as they were) -+
//! tree (the files as they are)               -+-> lines (changed bodies) -> select -> Answer
//! surroundings (configuration, packages)     -+                words (modules that are named)
//! ```
//!
//! It must never miss a test whose outcome could change; it may name too many. docs/affected.md says in
//! plain words how it decides.
//!
//! * [`affected`] answers; [`Options`] say what is asked, [`Answer`] is what comes of it.
//! * [`renewal`] says what becomes of a recording when some of its tests have run again.
//! * [`Surroundings`]: what a test runner has to write down beside what ran.

mod error;
mod lines;
mod python;
mod recording;
mod renewal;
mod select;
mod surroundings;
mod tree;
mod words;

pub use error::Error;
pub use renewal::{Renewal, renewal};
pub use surroundings::{Request, Surroundings};

use recording::Recording;
use select::Selection;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use tree::{Fate, Origin, Revision};

/// How the names of test files begin and end, as pytest looks for them unless told otherwise.
const TEST_FILE: (&str, &str) = ("test_", "_test.py");

/// What is asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// The recording.
    pub database: PathBuf,
    /// Compare with this revision of git instead of the sources that the recording remembers.
    pub since: Option<String>,
    /// Version of the Python that is going to run the tests, if that is known.
    pub python: Option<String>,
}

/// A file that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedFile {
    /// The file.
    pub path: PathBuf,
    /// First and last line of each changed part, in the present numbering; empty if that is not known, or
    /// if nothing but comments changed.
    pub lines: Vec<(u32, u32)>,
    /// What else there is to say.
    pub note: Option<String>,
}

/// A test that must run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AffectedTest {
    /// Its name: pytest's node id, or the context.
    pub test: String,
    /// Why it must run.
    pub why: String,
    /// How long it took, in nanoseconds; `None` if it has not run to its end.
    pub duration_ns: Option<u64>,
}

/// Which tests must run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// pytest's root folder in the recording: names of tests begin there, and its files were compared.
    pub root: Option<PathBuf>,
    /// The files that are not as they were.
    pub changed: Vec<ChangedFile>,
    /// The tests of the recording that must run, fastest first.
    pub tests: Vec<AffectedTest>,
    /// All other tests of the recording, with their durations in nanoseconds.
    pub others: BTreeMap<String, u64>,
    /// Files that look like test files beside those of the recording.
    pub new_test_files: Vec<PathBuf>,
}

impl Answer {
    /// How long the affected tests took, in nanoseconds.
    #[must_use]
    pub fn duration_ns(&self) -> u64 {
        self.tests.iter().filter_map(|test| test.duration_ns).sum()
    }

    /// How many tests the recording has.
    #[must_use]
    pub fn total(&self) -> usize {
        self.tests.len() + self.others.len()
    }
}

/// Finds the tests that must run for the tree as it is. Reads the recording, each file that is in it, and
/// what its [`Surroundings`] name; asks the recorded interpreter whether it can compile what changed. Locks
/// nothing once it has returned.
///
/// # Errors
/// If the recording cannot be read, or git does not know the revision.
///
/// ```
/// # #[cfg(feature = "recorder")] {
/// use hitlog::compactor::{Options as Output, compact};
/// use hitlog::query::affected::{Options, affected};
///
/// # let folder = tempfile::tempdir()?;
/// # let (run, database) = (folder.path().join("run"), folder.path().join("hitlog.db"));
/// let source = folder.path().join("words.txt");
/// std::fs::write(&source, "one\n")?;
/// let recorder = hitlog::Recorder::open(&run)?;
/// let file = recorder.file(source.to_str().unwrap());
/// for case in ["first", "second"] {
///     let _case = recorder.context(case);
///     if case == "first" {
///         recorder.line(file, 1);
///     }
/// }
/// compact(&[run], &Output::new(&database), &())?;
///
/// std::fs::write(&source, "two\n")?;
/// let answer = affected(&Options { database, since: None, python: None })?;
/// assert!(answer.tests.iter().any(|test| test.test == "first"));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn affected(options: &Options) -> Result<Answer, Error> {
    let recording = Recording::open(&options.database)?;
    let here = std::env::current_dir().map_err(|source| Error::CurrentFolder { source })?;
    let origin = match &options.since {
        Some(name) => Origin::Revision(Revision::find(&here, name)?),
        None => Origin::Remembered,
    };
    let root = recording.surroundings.last().map(|found| found.request.root.clone());
    let mut selection = Selection::new(&recording, root.clone().unwrap_or(here));
    selection.add_unfinished();
    let mut changed = changed_files(&recording, &origin)?;
    for (place, fate) in &changed {
        selection.add_changed(&recording.files[*place], fate)?;
    }
    let mut notes = selection.add_surroundings(options.python.as_deref())?;
    notes.extend(selection.add_unknown_conftests());
    notes.extend(selection.add_unknown_modules()?);
    changed.sort_by_key(|(place, _)| recording.files[*place].path.clone());
    let changed = changed.into_iter().map(|(place, fate)| told(&recording.files[place].path, fate));
    let noted = notes.into_iter().map(|(path, note)| told(&path, Fate::Other(note)));
    let new_test_files = selection.new_test_files();
    let changed = changed.chain(noted).collect();
    Ok(Answer { root, ..answer(&recording, selection, changed, new_test_files) })
}

/// The files of the recording that are not as they were, by their places, and what became of them.
fn changed_files(recording: &Recording, origin: &Origin) -> Result<Vec<(usize, Fate)>, Error> {
    let mut changed = Vec::new();
    for (place, file) in recording.files.iter().enumerate() {
        match tree::fate(recording, file, origin)? {
            Fate::Same => {}
            fate => changed.push((place, fate)),
        }
    }
    let edited = |(_, fate): &&mut (usize, Fate)| matches!(fate, Fate::Edited(_));
    let edited: Vec<_> = changed.iter_mut().filter(edited).collect();
    let paths: Vec<&Path> =
        edited.iter().map(|(place, _)| recording.files[*place].path.as_path()).collect();
    if !paths.is_empty() {
        let interpreter = recording.surroundings.last().map(|found| found.request.interpreter.clone());
        let interpreter = interpreter.filter(|path| path.is_absolute()).unwrap_or("python3".into());
        for ((_, fate), compiles) in edited.into_iter().zip(tree::compiles(&interpreter, &paths)) {
            if !compiles {
                *fate = Fate::Other("changed, and cannot be compiled");
            }
        }
    }
    Ok(changed)
}

fn told(path: &Path, fate: Fate) -> ChangedFile {
    let (lines, note) = match fate {
        Fate::Same => (Vec::new(), None),
        Fate::Edited(comparison) => {
            let note = comparison.lines.is_empty().then(|| "nothing but comments".to_owned());
            (comparison.lines.into_iter().map(RangeInclusive::into_inner).collect(), note)
        }
        Fate::Other(note) => (Vec::new(), Some(note.to_owned())),
    };
    ChangedFile { path: path.to_owned(), lines, note }
}

fn answer(
    recording: &Recording,
    selection: Selection<'_>,
    changed: Vec<ChangedFile>,
    new_test_files: BTreeSet<PathBuf>,
) -> Answer {
    let mut answer =
        Answer { changed, new_test_files: new_test_files.into_iter().collect(), ..Answer::default() };
    let mut reasons = selection.into_reasons();
    for (place, test) in recording.tests.iter().enumerate() {
        match reasons.remove(&place) {
            Some(why) => {
                let duration_ns = Some(test.duration_ns).filter(|ns| *ns > 0);
                answer.tests.push(AffectedTest { test: test.name.clone(), why, duration_ns });
            }
            None => {
                answer.others.insert(test.name.clone(), test.duration_ns);
            }
        }
    }
    answer
        .tests
        .sort_by(|left, right| (left.duration_ns, &left.test).cmp(&(right.duration_ns, &right.test)));
    answer
}
