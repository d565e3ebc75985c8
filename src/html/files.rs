//! What the page is told of files: of each in the index, and all of one in a script of its own.

use serde::Serialize;

use super::lines::{self, Lines, Runs};
use super::names::{File, Names};
use super::processes::Processes;
use super::script;
use super::source::{Source, State};
use super::statements::{Kind, LogicalLine, logical_lines};
use super::tests::{self, OfFile, Tests};

/// How a line is marked, one letter each.
mod mark {
    /// Nothing ran, and nothing could.
    pub(super) const NONE: u8 = b'-';
    /// A statement that did not run.
    pub(super) const MISSING: u8 = b'm';
    /// It ran only outside of tests, mostly on import.
    pub(super) const OUTSIDE: u8 = b'o';
    /// A test ran it.
    pub(super) const TESTED: u8 = b't';
    /// Taken out by `pragma: no cover`.
    pub(super) const EXCLUDED: u8 = b'x';
}

/// How many statements of a file ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    tested: u32,
    outside: u32,
    missing: u32,
    partial: u32,
}

/// A file, as its script delivers it.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    state: State,
    source: Option<String>,
    /// A mark for each line.
    marks: String,
    /// How many tests ran each line.
    tests: Vec<u32>,
    /// First and last line of each statement that takes several.
    spans: Vec<[u32; 2]>,
    /// Lines with a branch that went only one way.
    partial: Vec<u32>,
    /// Test (-1: outside of tests), phase and position in `sets`, one after the other.
    runs: Vec<i64>,
    /// The same of what ran in children only, but without what ran outside of tests.
    in_children: Vec<i64>,
    #[serde(serialize_with = "script::base64_list")]
    sets: Vec<Lines>,
    /// From, to and how many tests, one after the other.
    arcs: Vec<i64>,
    #[serde(skip)]
    counts: Option<Counts>,
    #[serde(skip)]
    tests_of_file: u32,
}

impl Page {
    /// What there is to say of a file; tells `tests` what they ran of it.
    pub(super) fn new(runs: Runs, source: Source, tests: &mut OfFile<'_>) -> Page {
        let (per_line, outside) = tests.count(&runs);
        let is_python = |text: &&String| tests.is_python && text.len() < u32::MAX as usize;
        let logical = source.text.as_ref().filter(is_python).map(|text| logical_lines(text));
        let length = source.text.as_ref().map_or(0, |text| text.lines().count());
        let mut sheet = Sheet::new(per_line, &outside, length);
        let partial = logical.as_deref().map(|lines| partial(lines, &runs)).unwrap_or_default();
        let spans =
            logical.iter().flatten().filter(|line| line.last > line.first && line.kind != Kind::NoCode);
        let spans = spans.map(|line| [line.first, line.last]).collect();
        let counts = logical.as_deref().map(|lines| sheet.statements(lines, partial.len()));
        let flat = |run: &lines::Run| {
            let test = run.owner.test.map_or(-1, i64::from);
            [test, run.owner.phase as i64, i64::from(run.set)]
        };
        let arc = |arc: &lines::Arc| [arc.from.into(), arc.to.into(), arc.tests.into()];
        Page {
            state: source.state,
            source: source.text,
            marks: String::from_utf8_lossy(&sheet.marks[1..]).into_owned(),
            tests: sheet.tests.split_off(1),
            spans,
            partial,
            runs: runs.runs.iter().flat_map(flat).collect(),
            in_children: runs.in_children.iter().flat_map(flat).collect(),
            arcs: runs.arcs.iter().flat_map(arc).collect(),
            sets: runs.sets,
            counts,
            tests_of_file: tests.found(),
        }
    }
}

/// Marks and numbers of tests by line, from line 0, which there is not.
struct Sheet {
    marks: Vec<u8>,
    tests: Vec<u32>,
}

impl Sheet {
    fn new(mut tests: Vec<u32>, outside: &[u8], length: usize) -> Sheet {
        let last = lines::numbers(outside).last().map_or(0, |line| line as usize);
        let ran = tests.iter().rposition(|count| *count > 0).unwrap_or(0);
        let count = 1 + length.max(last).max(ran);
        tests.resize(count, 0);
        let mut marks = vec![mark::NONE; count];
        lines::numbers(outside).for_each(|line| marks[line as usize] = mark::OUTSIDE);
        for (mark, _) in marks.iter_mut().zip(&tests).filter(|(_, tests)| **tests > 0) {
            *mark = mark::TESTED;
        }
        Sheet { marks, tests }
    }

    /// Gives all lines of a statement the best of their marks, and counts statements.
    fn statements(&mut self, logical: &[LogicalLine], partial: usize) -> Counts {
        let mut counts = Counts { partial: partial as u32, ..Counts::default() };
        for line in logical {
            let end = (line.last as usize + 1).min(self.marks.len());
            let marks = &mut self.marks[(line.first as usize).min(end)..end];
            let mark = match line.kind {
                Kind::NoCode => continue,
                Kind::Excluded => mark::EXCLUDED,
                Kind::Annotation if best(marks) == mark::MISSING => continue,
                Kind::Statement | Kind::Branch | Kind::Annotation => best(marks),
            };
            match mark {
                mark::TESTED => counts.tested += 1,
                mark::OUTSIDE => counts.outside += 1,
                mark::MISSING => counts.missing += 1,
                _ => {}
            }
            marks.fill(mark);
        }
        counts
    }
}

fn best(marks: &[u8]) -> u8 {
    let order = [mark::TESTED, mark::OUTSIDE];
    order.into_iter().find(|mark| marks.contains(mark)).unwrap_or(mark::MISSING)
}

/// The branches of which arcs lead to one place only.
fn partial(logical: &[LogicalLine], runs: &Runs) -> Vec<u32> {
    let branches = logical.iter().filter(|line| line.kind == Kind::Branch);
    let is_inside =
        |line: &LogicalLine, end: i32| (line.first as i32..=line.last as i32).contains(&end);
    let ways = |line: &LogicalLine| {
        let start = runs.arcs.partition_point(|arc| arc.from < line.first as i32);
        let leaving = runs.arcs[start..].iter().take_while(|arc| is_inside(line, arc.from));
        let mut ends: Vec<i32> =
            leaving.map(|arc| arc.to).filter(|end| !is_inside(line, *end)).collect();
        ends.sort_unstable();
        ends.dedup();
        ends.len()
    };
    branches.filter(|line| ways(line) == 1).map(|line| line.first).collect()
}

/// All files, a list for each thing that is told of them.
#[derive(Debug, Default, Serialize)]
struct Columns {
    path: Vec<String>,
    state: Vec<State>,
    /// Statements, by how they ran. Where statements are not known, lines that ran; and -1 are missing.
    tested: Vec<u32>,
    outside: Vec<u32>,
    missing: Vec<i64>,
    partial: Vec<u32>,
    tests: Vec<u32>,
    /// Lines that tests ran, and the sum over them of how many tests ran each.
    lines: Vec<u32>,
    hits: Vec<u64>,
}

/// Collects what the index tells of each file.
#[derive(Debug, Default)]
pub(super) struct Index {
    columns: Columns,
}

/// The script that is always loaded.
#[derive(Debug, Serialize)]
pub(super) struct IndexPage<'a> {
    root: String,
    writer: &'a str,
    has_arcs: bool,
    chunk: usize,
    files: &'a Columns,
    tests: tests::Columns<'a>,
    processes: super::processes::Summary,
}

impl Index {
    pub(super) fn push(&mut self, file: &File, page: &Page) {
        let marked = |mark: u8| page.marks.bytes().filter(|found| *found == mark).count() as u32;
        let counts = page.counts.unwrap_or_else(|| Counts {
            tested: marked(mark::TESTED),
            outside: marked(mark::OUTSIDE),
            ..Counts::default()
        });
        let columns = &mut self.columns;
        columns.path.push(file.file.path.clone());
        columns.state.push(page.state);
        columns.tested.push(counts.tested);
        columns.outside.push(counts.outside);
        columns.missing.push(page.counts.map_or(-1, |counts| counts.missing.into()));
        columns.partial.push(counts.partial);
        columns.tests.push(page.tests_of_file);
        columns.lines.push(page.tests.iter().filter(|tests| **tests > 0).count() as u32);
        columns.hits.push(page.tests.iter().map(|tests| u64::from(*tests)).sum());
    }

    /// The index, with paths below the root they share.
    pub(super) fn page<'a>(
        &'a mut self,
        names: &'a Names,
        tests: &'a Tests<'_>,
        processes: &Processes,
    ) -> IndexPage<'a> {
        let root = names.root();
        for path in &mut self.columns.path {
            if let Some(below) = path.strip_prefix(&root) {
                *path = below.to_owned();
            }
        }
        IndexPage {
            root,
            writer: &names.writer,
            has_arcs: names.has_arcs,
            chunk: tests::CHUNK_TESTS,
            files: &self.columns,
            tests: tests.columns(),
            processes: processes.summary(),
        }
    }
}

#[cfg(test)]
mod tests_of_marks {
    use super::*;
    use crate::html::lines::Arc;

    const SOURCE: &str =
        "import a\nif (a and\n        b):\n    c\nelse:\n    d  # pragma: no cover\ne\n";

    fn sheet(tested: &[usize], outside: u8) -> (String, Counts) {
        let mut tests = vec![0; 8];
        tested.iter().for_each(|line| tests[*line] = 2);
        let mut sheet = Sheet::new(tests, &[outside], SOURCE.lines().count());
        let counts = sheet.statements(&logical_lines(SOURCE), 0);
        (String::from_utf8(sheet.marks).unwrap(), counts)
    }

    #[test]
    fn a_statement_ran_if_one_of_its_lines_did() {
        let (marks, counts) = sheet(&[3], 0b110);
        assert_eq!(marks, "-ottm-xm");
        assert_eq!(counts, Counts { tested: 1, outside: 1, missing: 2, partial: 0 });
    }

    #[test]
    fn lines_that_run_behind_the_source_are_there() {
        let sheet = Sheet::new(vec![0, 0, 5], &[0, 0, 1], 1);
        assert_eq!(sheet.marks.len(), 17);
        assert_eq!((sheet.marks[2], sheet.marks[16]), (mark::TESTED, mark::OUTSIDE));
    }

    #[test]
    fn a_branch_that_went_one_way_is_partial() {
        let arcs = |list: &[(i32, i32)]| {
            let arcs = list.iter().map(|(from, to)| Arc { from: *from, to: *to, tests: 1 });
            Runs { arcs: arcs.collect(), ..Runs::default() }
        };
        let partial = |list: &[(i32, i32)]| partial(&logical_lines(SOURCE), &arcs(list));
        assert_eq!(partial(&[(1, 2), (2, 3), (3, 4)]), [2]);
        assert_eq!(partial(&[(1, 2), (2, 6), (3, 4)]), [0; 0]);
        assert_eq!(partial(&[(1, 2), (3, 4), (3, -1)]), [0; 0], "an exit is a way");
        assert_eq!(partial(&[(1, 2)]), [0; 0], "it did not run");
    }
}
