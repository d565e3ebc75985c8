//! Who ran which lines of one file, from the tables that hitlog and coverage.py share.
//!
//! Most tests run a file in one of a few ways: equal sets of lines are kept once, and each context is a
//! reference to one. Where arcs were recorded, a line ran if an arc leaves or reaches it, as in the view
//! `hitlog_line`.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use super::database::has_table;
use super::names::{Names, OUTSIDE, Owner};

/// Lines behind this one are not shown: no source has so many, and a damaged number would take all memory.
pub(super) const LINES_MAX: u32 = 1_000_000;

/// A set of lines, as numbits: bit `n` of byte `b` is line `8 * b + n`.
pub(super) type Lines = Vec<u8>;

/// That a context ran a set of lines, by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) owner: Owner,
    pub(super) set: u32,
}

/// That a line was followed by another one; a negative end is the entry to, or exit from, the code that
/// begins in that line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arc {
    pub(super) from: i32,
    pub(super) to: i32,
    /// How many tests took it.
    pub(super) tests: u32,
}

/// All that ran of a file.
#[derive(Debug, Default)]
pub(super) struct Runs {
    pub(super) sets: Vec<Lines>,
    /// Sorted by test, what ran outside of tests first.
    pub(super) runs: Vec<Run>,
    /// Sorted.
    pub(super) arcs: Vec<Arc>,
}

/// Reads what ran of the file with this id.
pub(super) fn of_file(connection: &Connection, file: i64, names: &Names) -> rusqlite::Result<Runs> {
    let mut by_context: BTreeMap<i64, Lines> = BTreeMap::new();
    let sql = "select context_id, numbits from line_bits where file_id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![file])?;
    while let Some(row) = rows.next()? {
        let numbits = row.get_ref(1)?.as_bytes_or_null().ok().flatten().unwrap_or_default();
        let kept = numbits.len().min(LINES_MAX as usize / 8);
        merge(by_context.entry(row.get(0)?).or_default(), &numbits[..kept]);
    }
    let arcs = read_arcs(connection, file, names, &mut by_context)?;
    Ok(Runs { arcs, ..gather(by_context, names) })
}

/// Reads arcs, and adds the lines at their ends.
fn read_arcs(
    connection: &Connection,
    file: i64,
    names: &Names,
    by_context: &mut BTreeMap<i64, Lines>,
) -> rusqlite::Result<Vec<Arc>> {
    if !names.has_arcs || !has_table(connection, "arc")? {
        return Ok(Vec::new());
    }
    let mut taken: Vec<(i32, i32, Option<u32>)> = Vec::new();
    let sql = "select context_id, fromno, tono from arc where file_id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![file])?;
    while let Some(row) = rows.next()? {
        let (context, from, to): (i64, i32, i32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let lines = by_context.entry(context).or_default();
        [from, to].into_iter().filter_map(line_of).for_each(|line| insert(lines, line));
        if from != to {
            taken.push((from, to, owner_of(names, context).test));
        }
    }
    taken.sort_unstable();
    taken.dedup();
    let of_one = taken.chunk_by(|left, right| (left.0, left.1) == (right.0, right.1));
    let arc = |list: &[(i32, i32, Option<u32>)]| Arc {
        from: list[0].0,
        to: list[0].1,
        tests: list.iter().filter(|(_, _, test)| test.is_some()).count() as u32,
    };
    Ok(of_one.map(arc).collect())
}

fn owner_of(names: &Names, context: i64) -> Owner {
    names.owners.get(&context).copied().unwrap_or(OUTSIDE)
}

fn line_of(end: i32) -> Option<u32> {
    u32::try_from(end).ok().filter(|line| (1..LINES_MAX).contains(line))
}

/// Keeps equal sets once.
fn gather(by_context: BTreeMap<i64, Lines>, names: &Names) -> Runs {
    let mut runs = Runs::default();
    let mut known: HashMap<Lines, u32> = HashMap::new();
    for (context, lines) in by_context {
        let set = *known.entry(lines).or_insert_with_key(|lines| {
            runs.sets.push(lines.clone());
            runs.sets.len() as u32 - 1
        });
        runs.runs.push(Run { owner: owner_of(names, context), set });
    }
    runs.runs.sort_by_key(|run| (run.owner.test, run.owner.phase));
    runs
}

/// Adds `line` to `lines`.
fn insert(lines: &mut Lines, line: u32) {
    let byte = line as usize / 8;
    if lines.len() <= byte {
        lines.resize(byte + 1, 0);
    }
    lines[byte] |= 1 << (line % 8);
}

/// Adds all of `more` to `lines`.
pub(super) fn merge(lines: &mut Lines, more: &[u8]) {
    if lines.len() < more.len() {
        lines.resize(more.len(), 0);
    }
    lines.iter_mut().zip(more).for_each(|(byte, bits)| *byte |= bits);
}

/// The line numbers in `lines`, rising. No line has the number 0.
pub(super) fn numbers(lines: &[u8]) -> impl Iterator<Item = u32> {
    let bytes = (0_u32..).step_by(8).zip(lines).filter(|(_, bits)| **bits != 0);
    let lines = bytes.flat_map(|(first, bits)| {
        (0..8).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| first + bit)
    });
    lines.filter(|line| *line > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::names::Phase;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(lines: &[u32]) -> Lines {
        let mut set = Lines::new();
        lines.iter().for_each(|line| insert(&mut set, *line));
        set
    }

    #[test]
    fn equal_sets_are_kept_once_and_tests_are_in_order() {
        let owner = |test| Owner { test, phase: Phase::Run };
        let owners = [(1, OUTSIDE), (2, owner(Some(1))), (3, owner(Some(0)))];
        let names = Names { owners: owners.into(), ..Names::default() };
        let by_context = [(1, set(&[1, 9])), (2, set(&[2])), (3, set(&[9, 1])), (77, set(&[2]))];
        let runs = gather(by_context.into(), &names);
        assert_eq!(runs.sets, [set(&[1, 9]), set(&[2])]);
        let found: Vec<_> = runs.runs.iter().map(|run| (run.owner.test, run.set)).collect();
        assert_eq!(found, [(None, 0), (None, 1), (Some(0), 0), (Some(1), 1)]);
    }

    proptest! {
        #[test]
        fn merged_sets_hold_the_lines_of_both(
            left in prop::collection::btree_set(1..3000u32, 0..40),
            right in prop::collection::btree_set(1..3000u32, 0..40),
        ) {
            let sets = [&left, &right].map(|lines| set(&Vec::from_iter(lines.iter().copied())));
            let mut merged = sets[0].clone();
            merge(&mut merged, &sets[1]);
            let expected: BTreeSet<u32> = left.union(&right).copied().collect();
            prop_assert!(numbers(&merged).eq(expected));
        }
    }
}
