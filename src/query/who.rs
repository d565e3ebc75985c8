//! Who ran these lines?

use super::database::{Database, File};
use super::{Error, Lines};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

/// The tests that ran some lines of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Who {
    /// The file, as it was recorded.
    pub path: String,
    /// The lines that were asked for; all if `None`.
    pub asked: Option<RangeInclusive<u32>>,
    /// Those of them that ran at all.
    pub lines: Lines,
    /// Those of them that ran outside of tests, at import for example.
    pub outside_tests: Lines,
    /// Each test that ran any of them, by name.
    pub tests: Vec<WhoTest>,
}

/// A test that ran a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WhoTest {
    /// Its name.
    pub test: String,
    /// The lines that it ran, of those that were asked for.
    pub lines: Lines,
    /// Those of them that ran in its child processes only.
    pub in_children: Lines,
    /// How long the test takes, in nanoseconds, if known.
    pub duration_ns: Option<u64>,
}

impl Who {
    /// How long all tests together take, in nanoseconds, as far as it is known.
    #[must_use]
    pub fn duration_ns(&self) -> u64 {
        self.tests.iter().filter_map(|test| test.duration_ns).fold(0, u64::saturating_add)
    }
}

/// The tests that ran lines of `file`: those in `asked`, or all.
///
/// # Errors
/// If SQLite cannot read.
///
/// ```
/// use hitlog::query::{Database, who};
///
/// # let folder = tempfile::tempdir()?;
/// # let (run, output) = (folder.path().join("run"), folder.path().join("hitlog.db"));
/// # #[cfg(feature = "recorder")] {
/// let recorder = hitlog::Recorder::open(&run)?;
/// let file = recorder.file("/src/shop/cart.py");
/// {
///     let _test = recorder.context("tests/test_cart.py::test_discount|run");
///     recorder.line(file, 88);
/// }
/// # hitlog::compactor::compact(&[run], &hitlog::compactor::Options::new(&output), &())?;
/// let database = Database::open(&output)?;
/// let answer = who(&database, database.find_file("shop/cart.py")?, Some(80..=90))?;
/// assert_eq!(answer.tests[0].test, "tests/test_cart.py::test_discount");
/// assert_eq!(answer.tests[0].lines.to_string(), "88");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn who(database: &Database, file: &File, asked: Option<RangeInclusive<u32>>) -> Result<Who, Error> {
    let mut answer = Who { path: file.path.clone(), asked, ..Who::default() };
    let mut in_children: HashMap<i64, Lines> = HashMap::new();
    database.child_lines_of_file(file, |context, lines| {
        in_children.insert(context, lines.clone());
    })?;
    // All lines of each test, and those that ran in the process that began it.
    let mut by_test: BTreeMap<usize, [Lines; 2]> = BTreeMap::new();
    database.hits_of_file(file, |context, lines| {
        let lines = match &answer.asked {
            Some(asked) => &lines.within(asked),
            None => lines,
        };
        answer.lines.unite(lines);
        if let Some(position) = database.tests.position(context).filter(|_| !lines.is_empty()) {
            let [all, own] = by_test.entry(position).or_default();
            all.unite(lines);
            match in_children.get(&context) {
                Some(of_children) => own.unite(&lines.without(of_children)),
                None => own.unite(lines),
            }
        }
    })?;
    let durations = database.durations();
    for (position, [lines, own]) in by_test {
        let test = database.tests.at(position);
        if test.is_outside {
            answer.outside_tests.unite(&lines);
            continue;
        }
        let duration_ns = durations.of(test)?;
        let in_children = lines.without(&own);
        answer.tests.push(WhoTest { test: test.name.clone(), lines, in_children, duration_ns });
    }
    Ok(answer)
}
