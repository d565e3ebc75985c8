//! What becomes of a recording when some of its tests have run again.

use super::lines::compare;
use super::python::Shape;
use super::recording::{RecordedFile, Recording};
use super::surroundings::Surroundings;
use super::{Error, Options, affected};
use crate::query::paths::normalized;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;

/// How a test ended that has to run again.
const PENDING: &str = "pending";

/// What of the former recording is no longer true, and what is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Contexts of tests that ran again, or are gone.
    pub replaced: HashSet<String>,
    /// Files that are gone, and did not run again.
    pub gone: HashSet<String>,
    /// For each file of which another version ran: where its unchanged lines are.
    pub moved: HashMap<String, BTreeMap<u32, u32>>,
    /// How each test ended; `pending` is one that is affected and has not run since.
    pub outcomes: BTreeMap<String, String>,
    /// What tests depend on beside the code that ran, as JSON.
    pub surroundings: Vec<String>,
}

/// Compares the recording `base` with `recorded`, that of tests which ran again. `selected` are the tests that
/// were affected when these began, and `collected` all tests that there are, if all were looked for.
///
/// A test that is affected by the tree as it is and did not run to its end is noted as pending, so that
/// nothing is forgotten that was left out or changed meanwhile.
///
/// # Errors
/// If one of the recordings cannot be read.
pub fn renewal(
    base: &Path,
    recorded: &Path,
    selected: &[String],
    collected: &[String],
) -> Result<Renewal, Error> {
    let options = Options { database: base.to_owned(), since: None, python: None };
    let affected = affected(&options)?.tests.into_iter().map(|test| test.test);
    let affected: BTreeSet<String> = affected.chain(selected.iter().cloned()).collect();
    let (base, recorded) = (Recording::open(base)?, Recording::open(recorded)?);
    let gone = gone_tests(&base, collected);
    let ended =
        recorded.tests.iter().filter(|test| test.outcome.as_deref().is_some_and(|end| end != PENDING));
    let ended: BTreeSet<String> = ended.map(|test| test.name.clone()).collect();
    let is_replaced = |name: &str| ended.contains(name) || gone.contains(name);
    Ok(Renewal {
        replaced: base.contexts_of_tests(is_replaced)?,
        gone: gone_files(&base, &recorded),
        moved: moved(&base, &recorded)?,
        outcomes: outcomes(&base, &recorded, &affected, &ended, &gone),
        surroundings: surroundings(base.surroundings, recorded.surroundings),
    })
}

/// The tests of `base` that are no longer there.
fn gone_tests(base: &Recording, collected: &[String]) -> BTreeSet<String> {
    let known: BTreeSet<&str> = collected.iter().map(String::as_str).collect();
    let file_of = |name: &str| name.split_once("::").map(|(file, _)| file.to_owned());
    let files: BTreeSet<String> = collected.iter().filter_map(|name| file_of(name)).collect();
    let root = base.surroundings.last().map(|found| found.request.root.clone()).unwrap_or_default();
    let is_gone = |name: &&str| {
        file_of(name).is_some_and(|file| {
            let is_missing = files.contains(&file) && !known.contains(name);
            is_missing || is_nothing_at(&normalized(&root.join(&file)))
        })
    };
    base.tests.iter().map(|test| test.name.as_str()).filter(is_gone).map(str::to_owned).collect()
}

/// The files of `base` that are no longer there. Who depended on them has run again, or is pending.
fn gone_files(base: &Recording, recorded: &Recording) -> HashSet<String> {
    let has_run = |path: &Path| recorded.files.iter().any(|file| file.path == path);
    // Tests may make and remove files of their own.
    let is_gone = |file: &&RecordedFile| {
        file.sha256.is_some() && is_nothing_at(&file.path) && !has_run(&file.path)
    };
    let gone = base.files.iter().filter(is_gone);
    gone.map(|file| file.path.to_string_lossy().into_owned()).collect()
}

/// Whether the system says that nothing is at `path`. If it fails to look, what was recorded stays.
fn is_nothing_at(path: &Path) -> bool {
    let kind = std::fs::metadata(path).map_err(|error| error.kind());
    matches!(kind, Err(ErrorKind::NotFound | ErrorKind::NotADirectory))
}

fn outcomes(
    base: &Recording,
    recorded: &Recording,
    affected: &BTreeSet<String>,
    ended: &BTreeSet<String>,
    gone: &BTreeSet<String>,
) -> BTreeMap<String, String> {
    let end_of = |outcome: &Option<String>| outcome.clone().unwrap_or_else(|| PENDING.to_owned());
    let kept = base.tests.iter().filter(|test| test.is_pytest && !gone.contains(&test.name));
    let mut outcomes: BTreeMap<_, _> =
        kept.map(|test| (test.name.clone(), end_of(&test.outcome))).collect();
    for name in affected.iter().filter(|name| !ended.contains(*name)) {
        outcomes.entry(name.clone()).and_modify(|outcome| *outcome = PENDING.to_owned());
    }
    outcomes.extend(recorded.tests.iter().map(|test| (test.name.clone(), end_of(&test.outcome))));
    outcomes
}

/// Where the lines went of the files of which both recordings have a version, and not the same.
fn moved(base: &Recording, recorded: &Recording) -> Result<HashMap<String, BTreeMap<u32, u32>>, Error> {
    let present: HashMap<&Path, &RecordedFile> =
        recorded.files.iter().map(|file| (file.path.as_path(), file)).collect();
    let mut moved = HashMap::new();
    for file in &base.files {
        let Some(present) = present.get(file.path.as_path()) else { continue };
        if file.sha256 == present.sha256 {
            continue;
        }
        let shapes: [Option<Shape>; 2] = [base.shape(file)?, recorded.shape(present)?];
        if let [Some(before), Some(after)] = shapes {
            moved.insert(file.path.to_string_lossy().into_owned(), compare(&before, &after).moved);
        }
    }
    Ok(moved)
}

/// The present ones, with what only the former ones tell of.
fn surroundings(former: Vec<Surroundings>, present: Vec<Surroundings>) -> Vec<String> {
    let united = present.into_iter().next_back().map(|mut last| {
        former.iter().for_each(|former| last.add_files_of(former));
        vec![last]
    });
    let all = united.unwrap_or(former);
    all.iter().filter_map(|surroundings| serde_json::to_string(surroundings).ok()).collect()
}
