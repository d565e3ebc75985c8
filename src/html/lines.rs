//! Who ran which lines of one file, and which ways control took in it.
//!
//! Most tests run a file in one of a few ways: equal sets of lines are kept once, and each context is a
//! reference to one.

use std::collections::HashMap;

use super::Error;
use super::names::{File, Names, Owner};
use crate::query::{self, Database};

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
    /// Of contexts of tests: what ran in children only, which did not begin the context.
    pub(super) in_children: Vec<Run>,
    /// Sorted.
    pub(super) arcs: Vec<Arc>,
}

impl Runs {
    /// Reads what ran of `file`.
    pub(super) fn read(database: &Database, file: &File, names: &Names) -> Result<Runs, Error> {
        let (mut by_context, mut in_children) = (Vec::new(), Vec::new());
        database.hits_of_file(&file.file, |context, lines| by_context.push((context, kept(lines))))?;
        database.child_lines_of_file(&file.file, |context, lines| {
            in_children.push((context, kept(lines)));
        })?;
        let arcs = if names.has_arcs { read_arcs(database, file, names)? } else { Vec::new() };
        Ok(Runs { arcs, ..gather(by_context, in_children, names) })
    }
}

fn kept(lines: &query::Lines) -> Lines {
    let numbits = lines.numbits();
    numbits[..numbits.len().min(LINES_MAX as usize / 8)].to_vec()
}

fn read_arcs(database: &Database, file: &File, names: &Names) -> Result<Vec<Arc>, Error> {
    let sql = "select fromno, tono, context_id from arc where file_id = ? and fromno <> tono";
    let mut taken: Vec<(i32, i32, Option<u32>)> = database.asking(|connection| {
        let mut statement = connection.prepare_cached(sql)?;
        let arcs = statement.query_map([file.file.id], |row| {
            Ok((row.get(0)?, row.get(1)?, names.owner(row.get(2)?).test))
        })?;
        arcs.collect()
    })?;
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

/// Keeps equal sets once.
fn gather(by_context: Vec<(i64, Lines)>, in_children: Vec<(i64, Lines)>, names: &Names) -> Runs {
    let (mut sets, mut known) = (Vec::new(), HashMap::new());
    let mut sorted = |by_context: Vec<(i64, Lines)>| -> Vec<Run> {
        let mut set = |lines: Lines| {
            *known.entry(lines).or_insert_with_key(|lines| {
                sets.push(lines.clone());
                sets.len() as u32 - 1
            })
        };
        let runs = by_context
            .into_iter()
            .map(|(context, lines)| Run { owner: names.owner(context), set: set(lines) });
        let mut runs: Vec<Run> = runs.collect();
        runs.sort_by_key(|run| (run.owner.test, run.owner.phase));
        runs
    };
    let (runs, mut in_children) = (sorted(by_context), sorted(in_children));
    in_children.retain(|run| run.owner.test.is_some());
    Runs { sets, runs, in_children, arcs: Vec::new() }
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
    use crate::html::names::{OUTSIDE, Phase};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(lines: &[u32]) -> Lines {
        lines.iter().copied().collect::<query::Lines>().numbits().to_vec()
    }

    #[test]
    fn equal_sets_are_kept_once_and_tests_are_in_order() {
        let owner = |test| Owner { test, phase: Phase::Run };
        let owners = [(1, OUTSIDE), (2, owner(Some(1))), (3, owner(Some(0)))];
        let names = Names { owners: owners.into(), ..Names::default() };
        let by_context = [(1, set(&[1, 9])), (2, set(&[2])), (3, set(&[9, 1])), (77, set(&[2]))];
        let in_children = [(1, set(&[1])), (2, set(&[2]))];
        let runs = gather(by_context.into(), in_children.into(), &names);
        assert_eq!(runs.sets, [set(&[1, 9]), set(&[2]), set(&[1])]);
        let found = |runs: &[Run]| Vec::from_iter(runs.iter().map(|run| (run.owner.test, run.set)));
        assert_eq!(found(&runs.runs), [(None, 0), (None, 1), (Some(0), 0), (Some(1), 1)]);
        assert_eq!(found(&runs.in_children), [(Some(1), 1)], "outside of tests it is not told");
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
