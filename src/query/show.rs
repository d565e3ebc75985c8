//! The recording at a glance.

use super::database::{Database, File, name_of_log, rows};
use super::{Error, Lines};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// What was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Show {
    /// The processes, in the order in which they began; none in a file of coverage.py.
    pub processes: Vec<Process>,
    /// The tests, the slowest first, and those whose duration is not known last.
    pub tests: Vec<TestFacts>,
    /// The files, the least tested first: by the number of tests, and of those equal the one with the most
    /// lines that no test ran.
    pub files: Vec<FileFacts>,
    /// Different lines that ran.
    pub lines: u64,
    /// Those of them that a test ran.
    pub lines_in_tests: u64,
    /// Whether branches were recorded.
    pub has_arcs: bool,
}

/// A process that recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Process {
    /// What pytest-xdist calls it (`gw3`), if it is a worker.
    pub name: Option<String>,
    /// Its process id, if known.
    pub pid: Option<u32>,
    /// That of its parent.
    pub ppid: Option<u32>,
    /// Its command line, as a JSON array.
    pub argv: String,
    /// ISO 8601, UTC.
    pub started_at: Option<String>,
    /// ISO 8601, UTC; `None` if it did not end by itself.
    pub ended_at: Option<String>,
    /// `clean`, `cut` or `running`.
    pub state: String,
    /// Its exit code, if known.
    pub exit_code: Option<i64>,
    /// The signal that ended it, if known.
    pub signal: Option<i32>,
    /// The context that it was in at the end.
    pub last_context: Option<String>,
    /// Records that were read.
    pub records: u64,
    /// Slots that hold no record any more.
    pub damaged: u64,
    /// Records that could not be written.
    pub lost: u64,
}

/// A test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TestFacts {
    /// Its name.
    pub test: String,
    /// How long it takes, in nanoseconds, if known.
    pub duration_ns: Option<u64>,
}

/// A file, and how well it is tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileFacts {
    /// Its path.
    pub path: String,
    /// How many tests ran something of it.
    pub tests: u64,
    /// How many lines ran.
    pub lines: u64,
    /// How many of them a test ran.
    pub lines_in_tests: u64,
    /// Whether tests are in this file, as their names tell.
    pub has_tests: bool,
}

/// What `database` holds, at a glance.
///
/// # Errors
/// If SQLite cannot read.
///
/// ```
/// use hitlog::query::{Database, show};
///
/// # let folder = tempfile::tempdir()?;
/// # let (run, output) = (folder.path().join("run"), folder.path().join("hitlog.db"));
/// # #[cfg(feature = "recorder")] {
/// let recorder = hitlog::Recorder::open(&run)?;
/// let file = recorder.file("/src/parser.rs");
/// recorder.line(file, 1);
/// {
///     let _case = recorder.context("corpus/0007.json");
///     recorder.line(file, 42);
/// }
/// # hitlog::compactor::compact(&[run], &hitlog::compactor::Options::new(&output), &())?;
/// let glance = show(&Database::open(&output)?)?;
/// assert_eq!(glance.processes[0].pid, Some(std::process::id()));
/// assert_eq!((glance.lines, glance.lines_in_tests), (2, 1));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn show(database: &Database) -> Result<Show, Error> {
    let mut glance = Show { has_arcs: database.has_arcs(), ..Show::default() };
    glance.processes = processes(database)?;
    glance.tests = tests(database)?;
    let test_files: HashSet<&str> =
        database.tests.iter().filter_map(|test| file_of(&test.name)).collect();
    let mut seen = vec![i64::MIN; database.tests.numbers()];
    for file in &database.files {
        let facts = facts_of(database, file, &test_files, &mut seen)?;
        glance.lines += facts.lines;
        glance.lines_in_tests += facts.lines_in_tests;
        glance.files.push(facts);
    }
    glance.files.sort_by_key(|file| (file.tests, file.lines_in_tests.wrapping_sub(file.lines)));
    Ok(glance)
}

fn tests(database: &Database) -> Result<Vec<TestFacts>, Error> {
    let durations = database.durations().all()?;
    let facts = (0..database.tests.numbers()).map(|position| (database.tests.at(position), position));
    let tests = facts.filter(|(test, _)| !test.is_outside);
    let mut tests: Vec<TestFacts> = tests
        .map(|(test, position)| TestFacts { test: test.name.clone(), duration_ns: durations[position] })
        .collect();
    // Stable: tests that take equally long stay in the order of their names.
    tests.sort_by_key(|test| std::cmp::Reverse(test.duration_ns));
    Ok(tests)
}

/// The path in front of a test's name: `tests/test_cart.py::test_total`, `nightly|tests/test_cart.py::test_total`.
fn file_of(test: &str) -> Option<&str> {
    let (path, _) = test.split_once("::")?;
    Some(path.rsplit_once('|').map_or(path, |(_, path)| path))
}

/// `seen` has a mark for each test, of the file in which it was last met.
fn facts_of(
    database: &Database,
    file: &File,
    test_files: &HashSet<&str>,
    seen: &mut [i64],
) -> Result<FileFacts, Error> {
    let (mut outside, mut in_tests, mut tests) = (Lines::default(), Lines::default(), 0);
    database.hits_of_file(file, |context, lines| {
        let position = database.tests.position(context);
        match position.filter(|at| !lines.is_empty() && !database.tests.at(*at).is_outside) {
            None => outside.unite(lines),
            Some(position) => {
                in_tests.unite(lines);
                tests += u64::from(std::mem::replace(&mut seen[position], file.id) != file.id);
            }
        }
    })?;
    outside.unite(&in_tests);
    // A test's name has the path from the folder where pytest began.
    let starts = std::iter::once(0).chain(file.path.match_indices('/').map(|(at, _)| at + 1));
    let has_tests = { starts }.any(|start| test_files.contains(&file.path[start..]));
    Ok(FileFacts {
        path: file.path.clone(),
        tests,
        lines: outside.len(),
        lines_in_tests: in_tests.len(),
        has_tests,
    })
}

/// The processes: a row of the last segment, with the sums of all segments.
fn processes(database: &Database) -> Result<Vec<Process>, Error> {
    if !database.has_own_tables {
        return Ok(Vec::new());
    }
    let sql = "select coalesce(first_log_id, log_id), pid, ppid, argv, started_at, ended_at, state, exit_code,
                      signal, last_context, records, damaged, lost, NAME
                 from hitlog_log order by segment, log_id";
    let logs = database.asking(|connection| {
        let sql = &sql.replace("NAME", name_of_log(connection));
        rows(connection, sql, |row| Ok((row.get::<_, String>(0)?, process(row)?)))
    })?;
    let mut by_first: BTreeMap<String, Process> = BTreeMap::new();
    for (first, log) in logs {
        let next = match by_first.remove(&first) {
            None => log,
            Some(before) => Process {
                started_at: before.started_at,
                records: before.records.saturating_add(log.records),
                damaged: before.damaged.saturating_add(log.damaged),
                lost: before.lost.saturating_add(log.lost),
                ..log
            },
        };
        by_first.insert(first, next);
    }
    let mut processes: Vec<Process> = by_first.into_values().collect();
    processes
        .sort_by(|left, right| left.started_at.cmp(&right.started_at).then(left.pid.cmp(&right.pid)));
    Ok(processes)
}

fn process(row: &rusqlite::Row<'_>) -> rusqlite::Result<Process> {
    let count = |column| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
    Ok(Process {
        pid: row.get(1)?,
        ppid: row.get(2)?,
        argv: row.get(3)?,
        started_at: row.get(4)?,
        ended_at: row.get(5)?,
        state: row.get(6)?,
        exit_code: row.get(7)?,
        signal: row.get(8)?,
        last_context: row.get(9)?,
        records: count(10)?,
        damaged: count(11)?,
        lost: count(12)?,
        name: row.get(13)?,
    })
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn a_test_names_its_file() {
        assert_eq!(file_of("tests/t.py::C::test_a[x::y]"), Some("tests/t.py"));
        assert_eq!(file_of("nightly|tests/t.py::test_a"), Some("tests/t.py"));
        assert_eq!(file_of("corpus/0007.json"), None);
    }
}
