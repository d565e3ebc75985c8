//! Reads arcs in hitlog's compact form.
//!
//! ```text
//! hitlog_known_arc  file, number -> line left, line reached; none if only a line is noted
//! hitlog_arc_bits   file, block, context -> bit n: arc 64 * block + n was taken
//! hitlog_other_arc  arcs without a number, as rows
//! ```
//!
//! Every line that ran has a number of its own, as the arc to itself or as a note. So lines are those of the
//! bits that remain under a mask.

use super::{Lines, ends, line_or_exit};
use crate::query::pages::{ARC_BITS, PageReader};
use rusqlite::{Connection, Result, Row};
use std::collections::BTreeMap;

/// Arcs of one row of bits.
const WORD_ARCS: usize = u64::BITS as usize;

/// A numbered arc: line left, and line reached if it is more than a note.
type Known = (i32, Option<i32>);

/// Which of 64 arcs tell that a line ran, and which line.
#[derive(Clone, Copy)]
struct Mask {
    bits: u64,
    lines: [u32; WORD_ARCS],
}

impl Mask {
    const NONE: Mask = Mask { bits: 0, lines: [0; WORD_ARCS] };

    fn note(&mut self, number: usize, known: Known) {
        let (from, to) = known;
        if from > 0 && to.is_none_or(|to| to == from) {
            self.bits |= 1 << (number % WORD_ARCS);
            self.lines[number % WORD_ARCS] = from.unsigned_abs();
        }
    }

    fn add(&self, taken: u64, lines: &mut Lines) {
        each_bit(taken & self.bits).for_each(|bit| lines.insert(self.lines[bit]));
    }
}

fn each_bit(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < u64::BITS).then_some(bit as usize)
    })
}

/// Calls `visit` with each context of `file` and its lines.
pub(super) fn of_file(
    pages: &PageReader,
    connection: &Connection,
    file: i64,
    mut visit: impl FnMut(i64, &Lines),
) -> Result<()> {
    let mut masks = Vec::new();
    for_each_known(connection, file, |number, known| {
        if masks.len() <= number / WORD_ARCS {
            masks.resize(number / WORD_ARCS + 1, Mask::NONE);
        }
        masks[number / WORD_ARCS].note(number, known);
    })?;
    let mut words: Vec<(i64, usize, u64)> = Vec::new();
    for_each_word(pages, connection, file, |context, block, bits| words.push((context, block, bits)))?;
    // Each block comes with its contexts in order: runs, which a stable sort has only to merge.
    words.sort_by_key(|(context, ..)| *context);
    let mut others: BTreeMap<i64, Lines> = BTreeMap::new();
    add_others(connection, OTHERS_OF_FILE, file, &mut others)?;
    let mut lines = Lines::default();
    for words in words.chunk_by(|left, right| left.0 == right.0) {
        let context = words[0].0;
        lines.clear();
        for (_, block, bits) in words {
            masks.get(*block).into_iter().for_each(|mask| mask.add(*bits, &mut lines));
        }
        others.remove(&context).into_iter().for_each(|more| lines.unite(&more));
        visit(context, &lines);
    }
    others.iter().for_each(|(context, lines)| visit(*context, lines));
    Ok(())
}

/// Calls `visit` with each file of `context` and its lines, by file.
pub(super) fn of_context(
    connection: &Connection,
    context: i64,
    mut visit: impl FnMut(i64, &Lines),
) -> Result<()> {
    let mut by_file: BTreeMap<i64, Lines> = BTreeMap::new();
    let words = "select file_id, block, bits from hitlog_arc_bits where context_id = ?";
    let arcs = "select number, fromno, tono from hitlog_known_arc
                 where file_id = ?1 and number between 64 * ?2 and 64 * ?2 + 63";
    let (mut words, mut arcs) = (connection.prepare_cached(words)?, connection.prepare_cached(arcs)?);
    let mut rows = words.query([context])?;
    while let Some(row) = rows.next()? {
        let (file, block): (i64, i64) = (row.get(0)?, row.get(1)?);
        let mut mask = Mask::NONE;
        let mut known = arcs.query([file, block])?;
        while let Some(row) = known.next()? {
            read_known(row, |number, known| mask.note(number, known))?;
        }
        mask.add(row.get::<_, i64>(2)?.cast_unsigned(), by_file.entry(file).or_default());
    }
    add_others(connection, OTHERS_OF_CONTEXT, context, &mut by_file)?;
    by_file.iter().for_each(|(file, lines)| visit(*file, lines));
    Ok(())
}

/// Calls `visit` with each context, line left and line reached.
pub(super) fn arcs_of_file(
    pages: &PageReader,
    connection: &Connection,
    file: i64,
    mut visit: impl FnMut(i64, i32, i32),
) -> Result<()> {
    let mut arcs: Vec<Option<Known>> = Vec::new();
    for_each_known(connection, file, |number, known| {
        if arcs.len() <= number {
            arcs.resize(number + 1, None);
        }
        arcs[number] = Some(known);
    })?;
    for_each_word(pages, connection, file, |context, block, bits| {
        for bit in each_bit(bits) {
            let number = block.saturating_mul(WORD_ARCS).saturating_add(bit);
            if let Some(Some((from, Some(to)))) = arcs.get(number) {
                visit(context, *from, *to);
            }
        }
    })?;
    let mut statement = connection.prepare_cached(OTHERS_OF_FILE)?;
    let mut rows = statement.query([file])?;
    while let Some(row) = rows.next()? {
        if let Some((from, to)) = ends(row, 1)? {
            visit(row.get(0)?, from, to);
        }
    }
    Ok(())
}

fn for_each_known(
    connection: &Connection,
    file: i64,
    mut visit: impl FnMut(usize, Known),
) -> Result<()> {
    let sql = "select number, fromno, tono from hitlog_known_arc where file_id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([file])?;
    while let Some(row) = rows.next()? {
        read_known(row, &mut visit)?;
    }
    Ok(())
}

/// A number beyond all that a compactor gives would cost memory, and is passed over.
fn read_known(row: &Row<'_>, mut visit: impl FnMut(usize, Known)) -> Result<()> {
    let number = usize::try_from(row.get::<_, i64>(0)?).ok();
    let from = line_or_exit(row.get(1)?);
    let to: Option<i64> = row.get(2)?;
    let is_known = |number: &usize| *number < crate::limits::ARCS_NUMBERED_MAX;
    if let Some((number, from)) = number.filter(is_known).zip(from) {
        match to.map(line_or_exit) {
            Some(None) => {}
            Some(to) => visit(number, (from, to)),
            None => visit(number, (from, None)),
        }
    }
    Ok(())
}

fn for_each_word(
    pages: &PageReader,
    connection: &Connection,
    file: i64,
    mut visit: impl FnMut(i64, usize, u64),
) -> Result<()> {
    let mut word = |block: i64, context, bits: i64| {
        if let Ok(block) = usize::try_from(block) {
            visit(context, block, bits.cast_unsigned());
        }
    };
    let is_read = pages.locked(connection, |locked| {
        let Some(tree) = locked.table(&ARC_BITS)? else { return Ok(false) };
        tree.rows(file..=file, |mut row| {
            let [_file, block, context, bits] = row.integers()?;
            word(block, context, bits);
            Ok(())
        })?;
        Ok(true)
    })?;
    if is_read == Some(true) {
        return Ok(());
    }
    let sql = "select block, context_id, bits from hitlog_arc_bits where file_id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([file])?;
    while let Some(row) = rows.next()? {
        word(row.get(0)?, row.get(1)?, row.get(2)?);
    }
    Ok(())
}

const OTHERS_OF_FILE: &str =
    "select context_id, fromno, tono from hitlog_other_arc where file_id = ? and tono is not null";
const OTHERS_OF_CONTEXT: &str =
    "select file_id, fromno, coalesce(tono, fromno) from hitlog_other_arc where context_id = ?";

fn add_others(
    connection: &Connection,
    sql: &str,
    id: i64,
    groups: &mut BTreeMap<i64, Lines>,
) -> Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        super::add_arc(groups.entry(row.get(0)?).or_default(), row)?;
    }
    Ok(())
}
