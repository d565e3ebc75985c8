//! What two recordings do not have in common.

use super::database::{Database, File};
use super::{Error, Lines};
use serde::Serialize;
use std::borrow::Cow;
use std::cmp;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

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
    diff_by(threads_for([before, after]), before, after)
}

fn diff_by(threads: usize, before: &Database, after: &Database) -> Result<Diff, Error> {
    let tests = CommonTests::new([before, after]);
    let only_in = |side: usize| {
        let names = tests.names.iter().zip(&tests.is_in);
        let only = names.filter(|(name, is_in)| !name.is_empty() && is_in[side] && !is_in[1 - side]);
        only.map(|(name, _)| (*name).to_owned()).collect()
    };
    let mut changes = Diff { tests_added: only_in(1), tests_gone: only_in(0), ..Diff::default() };
    let pairs: Vec<Pair<'_>> = paired(&before.files, &after.files, |file| file.path.as_str()).collect();
    changes.have_common_files = pairs.iter().any(|pair| pair.0.is_some() && pair.1.is_some());
    let mut by_test: BTreeMap<usize, Vec<FileDiff>> = BTreeMap::new();
    for FileChange { of_all, of_tests } in file_changes([before, after], &tests, &pairs, threads)? {
        changes.files.extend(of_all);
        for (number, difference) in of_tests {
            by_test.entry(number).or_default().push(difference);
        }
    }
    let named = |(number, files): (usize, _)| TestDiff { test: tests.names[number].to_owned(), files };
    changes.tests = by_test.into_iter().map(named).collect();
    Ok(changes)
}

/// Bytes of both recordings for which one more thread is worth its start.
const BYTES_OF_THREAD: u64 = 16 << 20;

/// What changed in one file: of all tests together, and of each test of both recordings by its number.
struct FileChange {
    of_all: Option<FileDiff>,
    of_tests: Vec<(usize, FileDiff)>,
}

/// How many threads are worth their start.
fn threads_for(databases: [&Database; 2]) -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let bytes: u64 = databases.iter().map(|database| database.size()).sum();
    processors.min(1 + (bytes / BYTES_OF_THREAD) as usize)
}

/// What changed in each of `pairs`, in their order. Each thread has connections of its own and takes the next pair
/// that nobody has taken. Where the recordings cannot be opened again, this one thread does all.
fn file_changes(
    databases: [&Database; 2],
    tests: &CommonTests<'_>,
    pairs: &[Pair<'_>],
    threads: usize,
) -> Result<Vec<FileChange>, Error> {
    let again = (1..threads).map_while(|_| Some([databases[0].again()?, databases[1].again()?]));
    let again: Vec<[Database; 2]> = again.collect();
    let next = AtomicUsize::new(0);
    let work = |databases: [&Database; 2]| {
        let mut sides = [ByTest::default(), ByTest::default()];
        let mut found = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(pair) = pairs.get(at) else { return Ok(found) };
            found.extend(file_change(databases, tests, *pair, &mut sides)?.map(|change| (at, change)));
        }
    };
    let mut found = thread::scope(|scope| {
        let work = &work;
        let others = again.into_iter();
        let others = others.map(|[before, after]| scope.spawn(move || work([&before, &after])));
        let others: Vec<_> = others.collect();
        let mut found: Vec<(usize, FileChange)> = work(databases)?;
        for other in others {
            found.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(found)
    })?;
    found.sort_by_key(|(at, _)| *at);
    Ok(found.into_iter().map(|(_, change)| change).collect())
}

/// What changed in the file `pair`, if anything; `sides` are space for it.
fn file_change(
    [before, after]: [&Database; 2],
    tests: &CommonTests<'_>,
    pair: Pair<'_>,
    sides: &mut [ByTest; 2],
) -> Result<Option<FileChange>, Error> {
    sides[0].read(before, &tests.numbers[0], pair.0)?;
    sides[1].read(after, &tests.numbers[1], pair.1)?;
    let (of_all, of_tests) = compare(sides);
    if of_all.is_none() && of_tests.is_empty() {
        return Ok(None);
    }
    let source_changed = source_changed(before, after, pair)?;
    let path = pair.0.or(pair.1).map_or("", |file| file.path.as_str());
    let difference =
        |[gained, lost]: [Lines; 2]| FileDiff { path: path.to_owned(), gained, lost, source_changed };
    let of_both = of_tests.into_iter().filter(|(number, _)| tests.is_in[*number] == [true, true]);
    Ok(Some(FileChange {
        of_all: of_all.map(difference),
        of_tests: of_both.map(|(number, lines)| (number, difference(lines))).collect(),
    }))
}

/// Lines gained and lines lost.
type Differences = [Lines; 2];

/// What all tests together ran differently, if anything, and what each test did.
fn compare(sides: &[ByTest; 2]) -> (Option<Differences>, Vec<(usize, Differences)>) {
    let mut of_tests = Vec::new();
    let (mut common, mut all) = (Lines::default(), [Lines::default(), Lines::default()]);
    for (old, new) in paired(sides[0].tests(), sides[1].tests(), |(number, _)| *number) {
        let number = old.as_ref().or(new.as_ref()).map_or(0, |(number, _)| *number);
        let numbits = [&old, &new].map(|side| side.as_ref().map_or(&[][..], |(_, numbits)| numbits));
        if numbits[0] == numbits[1] {
            common.unite_numbits(numbits[0]);
        } else {
            of_tests.push((number, differences(numbits.map(Lines::from_numbits))));
            all.iter_mut().zip(numbits).for_each(|(all, numbits)| all.unite_numbits(numbits));
        }
    }
    all.iter_mut().for_each(|lines| lines.unite(&common));
    ((all[0] != all[1]).then(|| differences(all)), of_tests)
}

fn differences([old, new]: [Lines; 2]) -> Differences {
    [new.without(&old), old.without(&new)]
}

/// The tests of two recordings under common numbers, in the order of their names. What ran outside of tests
/// has no name.
struct CommonTests<'databases> {
    names: Vec<&'databases str>,
    /// For each test: whether it is in each of the recordings. What ran outside of tests always is.
    is_in: Vec<[bool; 2]>,
    /// For each recording: the number of each of its tests.
    numbers: [Vec<usize>; 2],
}

impl<'databases> CommonTests<'databases> {
    fn new(databases: [&'databases Database; 2]) -> CommonTests<'databases> {
        let of_side = databases.map(|database| -> Vec<&str> {
            let tests = (0..database.tests.numbers()).map(|position| database.tests.at(position));
            tests.map(|test| if test.is_outside { "" } else { test.name.as_str() }).collect()
        });
        let mut is_in = BTreeMap::from([("", [true, true])]);
        for (side, names) in of_side.iter().enumerate() {
            names.iter().for_each(|name| is_in.entry(*name).or_insert([false, false])[side] = true);
        }
        let (names, is_in): (Vec<&str>, Vec<_>) = is_in.into_iter().unzip();
        let number = |name: &str| names.binary_search(&name).unwrap_or_default();
        let numbers = of_side.map(|side| side.into_iter().map(number).collect());
        CommonTests { names, is_in, numbers }
    }
}

/// A file of the one recording and the file of the same path of the other.
type Pair<'files> = (Option<&'files File>, Option<&'files File>);

/// The items of both lists, which are sorted by their keys.
fn paired<T, K: Ord>(
    before: impl IntoIterator<Item = T>,
    after: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> impl Iterator<Item = (Option<T>, Option<T>)> {
    let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
    std::iter::from_fn(move || {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return None,
            (Some(_), None) => cmp::Ordering::Less,
            (None, Some(_)) => cmp::Ordering::Greater,
            (Some(old), Some(new)) => key(old).cmp(&key(new)),
        };
        let old = if order.is_le() { before.next() } else { None };
        let new = if order.is_ge() { after.next() } else { None };
        Some((old, new))
    })
}

/// The lines of a file by the numbers of the tests that ran them. One that has room serves for the next file.
#[derive(Default)]
struct ByTest {
    /// For each context: the number of its test, and the place of its lines in `numbits`. Sorted by number.
    contexts: Vec<(usize, Range<usize>)>,
    numbits: Vec<u8>,
}

impl ByTest {
    fn read(
        &mut self,
        database: &Database,
        numbers: &[usize],
        file: Option<&File>,
    ) -> Result<(), Error> {
        let ByTest { contexts, numbits } = self;
        contexts.clear();
        numbits.clear();
        let Some(file) = file else { return Ok(()) };
        database.hits_of_file(file, |context, lines| {
            if let Some(position) = database.tests.position(context).filter(|_| !lines.is_empty()) {
                let start = numbits.len();
                numbits.extend_from_slice(lines.numbits());
                contexts.push((numbers[position], start..numbits.len()));
            }
        })?;
        contexts.sort_by_key(|(number, _)| *number);
        Ok(())
    }

    /// Each test with its lines, by number. Equal lines are equal bytes.
    fn tests(&self) -> impl Iterator<Item = (usize, Cow<'_, [u8]>)> {
        self.contexts.chunk_by(|left, right| left.0 == right.0).map(|contexts| {
            let mut numbits = contexts.iter().map(|(_, place)| &self.numbits[place.clone()]);
            let lines = match contexts.len() {
                1 => Cow::Borrowed(numbits.next().unwrap_or_default()),
                _ => {
                    let mut lines = Lines::default();
                    numbits.for_each(|numbits| lines.unite_numbits(numbits));
                    Cow::Owned(lines.numbits().to_vec())
                }
            };
            (contexts[0].0, lines)
        })
    }
}

fn source_changed(before: &Database, after: &Database, pair: Pair<'_>) -> Result<Option<bool>, Error> {
    let (Some(old), Some(new)) = pair else { return Ok(None) };
    let states = (before.file_as_recorded(old)?, after.file_as_recorded(new)?);
    Ok(match states {
        (Some(old), Some(new)) => Some(old != new),
        _ => None,
    })
}

#[cfg(all(test, feature = "recorder", feature = "compactor"))]
mod tests {
    use super::*;
    use crate::Recorder;
    use crate::compactor::{Options, compact};
    use std::path::{Path, PathBuf};

    /// A recording of three tests and sixty files, of which every seventh ran one line more if `is_later`.
    fn recording(folder: &Path, name: &str, is_later: bool) -> PathBuf {
        let run = folder.join(name);
        let recorder = Recorder::open(&run).unwrap();
        for test in ["a", "b", "c"] {
            let _context = recorder.context(test);
            for number in 0..60 {
                let file = recorder.file(format!("/src/{number}.py"));
                recorder.line(file, 1 + number % 5);
                if is_later && number % 7 == 0 && test != "b" {
                    recorder.line(file, 9);
                }
            }
        }
        drop(recorder);
        let output = folder.join(format!("{name}.db"));
        compact(&[run], &Options::new(&output), &()).unwrap();
        output
    }

    #[test]
    fn any_number_of_threads_finds_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let [before, after] = [("before", false), ("after", true)]
            .map(|(name, is_later)| recording(folder.path(), name, is_later));
        let databases = [&before, &after].map(|path| Database::open(path).unwrap());
        assert!(databases[0].again().is_some());
        let alone = diff_by(1, &databases[0], &databases[1]).unwrap();
        assert_eq!((alone.files.len(), alone.tests.len()), (9, 2));
        for threads in [2, 5] {
            assert_eq!(diff_by(threads, &databases[0], &databases[1]).unwrap(), alone);
        }
        // Another recording in its place has other files or tests: nobody mixes them.
        let other = folder.path().join("other");
        let recorder = Recorder::open(&other).unwrap();
        recorder.line(recorder.file("/src/other.py"), 1);
        drop(recorder);
        compact(&[other], &Options::new(&after), &()).unwrap();
        assert!(databases[1].again().is_none());
        assert_eq!(diff_by(5, &databases[0], &databases[1]).unwrap(), alone);
    }
}
