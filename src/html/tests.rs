//! What the page is told of tests: of each in the index, and which files they ran in scripts of
//! [`CHUNK_TESTS`] tests each.
//!
//! Which lines a test ran is not said here once more: the page takes them from the file's own script, by
//! the position of the set.

use serde::{Serialize, Serializer};

use super::lines::{self, Lines, Runs};
use super::names::{Names, Phase};
use super::processes::Processes;

/// How many tests are in one script.
pub(super) const CHUNK_TESTS: usize = 128;

/// What a test ran of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    file: u32,
    /// Lines, and those of them that no other test ran.
    lines: u32,
    only: u32,
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.file, self.lines, self.only].serialize(serializer)
    }
}

/// How long a test ran, in microseconds, in the process that was in it longest: a child, which is in its
/// parent's context, does not count twice. So it is in all that hitlog tells of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Time {
    /// In all, and by [`Phase`].
    pub(super) all: i64,
    pub(super) phases: [i64; 4],
}

#[derive(Debug, Default)]
struct Test {
    parts: Vec<Part>,
    time: Option<Time>,
    processes: Vec<u32>,
}

pub(super) struct Tests<'a> {
    names: &'a Names,
    tests: Vec<Test>,
}

/// A test in its script: files as (file, lines, lines that it alone ran).
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    files: &'a [Part],
    /// By phase, in microseconds.
    times: [i64; 4],
    /// In which processes it was.
    processes: &'a [u32],
}

/// All tests, a list for each thing that is told of them.
#[derive(Debug, Serialize)]
pub(super) struct Columns<'a> {
    name: &'a [String],
    /// In microseconds; -1 if it is not known.
    time: Vec<i64>,
    files: Vec<u32>,
    lines: Vec<u64>,
    only: Vec<u64>,
}

impl<'a> Tests<'a> {
    pub(super) fn new(names: &'a Names) -> Tests<'a> {
        Tests { names, tests: names.tests.iter().map(|_| Test::default()).collect() }
    }

    /// To be told what tests ran of file `number`.
    pub(super) fn of_file(&mut self, number: u32) -> OfFile<'_> {
        let path = &self.names.files[number as usize].file.path;
        let is_python = path.ends_with(".py") || path.ends_with(".pyw");
        OfFile { tests: &mut self.tests, number, is_python, found: 0 }
    }

    /// Takes over how long tests ran, and where.
    pub(super) fn add_times(&mut self, processes: &Processes) {
        for (number, test) in (0..).zip(&mut self.tests) {
            (test.time, test.processes) = processes.of_test(number);
        }
    }

    /// Scripts of tests, in order.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Vec<Row<'_>>> {
        self.tests.chunks(CHUNK_TESTS).map(|tests| tests.iter().map(Row::of).collect())
    }

    pub(super) fn columns(&self) -> Columns<'_> {
        let sum = |of: fn(&Part) -> u32| {
            let total = |test: &Test| test.parts.iter().map(|part| u64::from(of(part))).sum();
            self.tests.iter().map(total).collect()
        };
        Columns {
            name: &self.names.tests,
            time: self.tests.iter().map(|test| test.time.map_or(-1, |time| time.all)).collect(),
            files: self.tests.iter().map(|test| test.parts.len() as u32).collect(),
            lines: sum(|part| part.lines),
            only: sum(|part| part.only),
        }
    }
}

impl Row<'_> {
    fn of(test: &Test) -> Row<'_> {
        let times = test.time.unwrap_or_default().phases;
        Row { files: &test.parts, times, processes: &test.processes }
    }
}

/// Is told what tests ran of one file.
pub(super) struct OfFile<'a> {
    tests: &'a mut [Test],
    number: u32,
    /// Whether the file is a Python source, by its name.
    pub(super) is_python: bool,
    found: u32,
}

impl OfFile<'_> {
    /// Notes what each test ran. Returns how many tests ran each line, from line 0, which there is not, and
    /// the lines that ran outside of tests.
    pub(super) fn count(&mut self, runs: &Runs) -> (Vec<u32>, Lines) {
        let length = runs.sets.iter().map(Vec::len).max().unwrap_or(0) * 8;
        let mut per_line = vec![0; length];
        let mut outside = Lines::new();
        for (test, lines) in by_test(runs) {
            match test {
                Some(_) => lines::numbers(&lines).for_each(|line| per_line[line as usize] += 1),
                None => outside = lines,
            }
        }
        for (test, lines) in by_test(runs) {
            let Some(test) = test else { continue };
            let count = lines::numbers(&lines).count() as u32;
            let only =
                lines::numbers(&lines).filter(|line| per_line[*line as usize] == 1).count() as u32;
            self.found += 1;
            self.tests[test as usize].parts.push(Part { file: self.number, lines: count, only });
        }
        (per_line, outside)
    }

    /// How many tests ran the file.
    pub(super) fn found(&self) -> u32 {
        self.found
    }
}

/// All lines of each test, whatever the phase.
fn by_test(runs: &Runs) -> impl Iterator<Item = (Option<u32>, Lines)> {
    let groups = runs.runs.chunk_by(|left, right| left.owner.test == right.owner.test);
    groups.map(|group| {
        let mut lines = Lines::new();
        group.iter().for_each(|run| lines::merge(&mut lines, &runs.sets[run.set as usize]));
        (group[0].owner.test, lines)
    })
}

impl Time {
    /// Adds `us` to a phase.
    pub(super) fn add(&mut self, phase: Phase, us: i64) {
        self.all += us;
        self.phases[phase as usize] += us;
    }
}

#[cfg(test)]
mod tests_of_counts {
    use super::*;
    use crate::html::lines::Run;
    use crate::html::names::{File, OUTSIDE, Owner};
    use crate::query;

    fn names(tests: usize) -> Names {
        let file = File { number: 0, file: query::File { id: 1, path: "/a.py".to_owned() } };
        let tests = (0..tests).map(|number| format!("t{number}")).collect();
        Names { files: vec![file], tests, ..Names::default() }
    }

    #[test]
    fn a_line_counts_once_for_each_test_whatever_its_phases() {
        let names = names(2);
        let mut tests = Tests::new(&names);
        let run = |test, phase, set| Run { owner: Owner { test: Some(test), phase }, set };
        let runs = Runs {
            sets: vec![vec![0b0000_0110], vec![0b0000_1100], vec![0b1000_0000]],
            runs: vec![
                Run { owner: OUTSIDE, set: 2 },
                run(0, Phase::Setup, 0),
                run(0, Phase::Run, 1),
                run(1, Phase::Run, 1),
            ],
            ..Runs::default()
        };
        let mut of_file = tests.of_file(0);
        let (per_line, outside) = of_file.count(&runs);
        assert_eq!(per_line, [0, 1, 2, 2, 0, 0, 0, 0]);
        assert_eq!(outside, [0b1000_0000]);
        assert_eq!((of_file.found(), of_file.is_python), (2, true));
        let columns = tests.columns();
        assert_eq!((columns.lines, columns.only), (vec![3, 2], vec![1, 0]));
        assert_eq!((columns.files, columns.time), (vec![1, 1], vec![-1, -1]));
    }

    #[test]
    fn scripts_hold_all_tests_in_order() {
        let names = names(CHUNK_TESTS + 1);
        let tests = Tests::new(&names);
        let lengths: Vec<_> = tests.chunks().map(|chunk| chunk.len()).collect();
        assert_eq!(lengths, [CHUNK_TESTS, 1]);
        let row = serde_json::to_string(&tests.chunks().next().unwrap()[0]).unwrap();
        assert_eq!(row, r#"{"files":[],"times":[0,0,0,0],"processes":[]}"#);
    }
}
