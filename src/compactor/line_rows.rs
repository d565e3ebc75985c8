//! Writes lines, as rows of numbits.

use super::bitmap::Bitmap;
use super::hits::{FileHits, United};
use super::keys::Block;
use super::numbits::numbits;
use super::rows::{Distinct, Left, OpenFile};
use super::schema::NUMBERS_MIN;
use super::tables::{ChildLines, HitTable, Roots, write_numbers};
use super::trees::Trees;
use crate::limits::{NUMBITS_BYTES_FREE, NUMBITS_BYTES_PER_LINE};
use std::io::Result;

/// Rows of numbits, which are written as their hits come.
pub(super) struct LineRows {
    table: HitTable,
    open: OpenFile,
    /// For the numbits of a row.
    space: Vec<u8>,
    /// The lines of all files.
    numbers: Bitmap,
    distinct: Distinct,
    allowance: Allowance,
}

impl LineRows {
    pub(super) fn new(roots: &Roots) -> LineRows {
        LineRows {
            table: HitTable::lines(roots),
            open: OpenFile::default(),
            space: Vec::new(),
            numbers: Bitmap::default(),
            distinct: Distinct::default(),
            allowance: Allowance(NUMBITS_BYTES_FREE),
        }
    }

    /// Writes `hits`, all of which follow those written before.
    pub(super) fn write(
        &mut self,
        trees: &mut Trees,
        children: &mut ChildLines,
        hits: &United,
    ) -> Result<()> {
        hits.by_file().try_for_each(|file| self.write_file(trees, children, &file))
    }

    fn write_file(
        &mut self,
        trees: &mut Trees,
        children: &mut ChildLines,
        hits: &FileHits<'_>,
    ) -> Result<()> {
        if let Some(lines) = self.open.begin(hits.file, trees, children)? {
            self.count(&lines);
        }
        let mut in_children = hits.in_children.iter().peekable();
        for (pair, blocks, _) in hits.pairs() {
            let numbits = numbits(blocks, &mut self.space);
            let lines = blocks.iter().map(Block::len).sum();
            let is_written = self.allowance.take(lines, numbits.len());
            if is_written {
                blocks.iter().for_each(|block| self.open.lines.insert_block(block));
                self.table.push_lines(trees, pair, numbits)?;
            } else {
                self.distinct.left_out += lines;
            }
            // What ran in children is among the hits, too.
            while let Some(block) = in_children.next_if(|block| block.pair() == pair) {
                if is_written {
                    self.open.add_child_lines(block);
                }
            }
        }
        Ok(())
    }

    /// Counts the lines of a file.
    fn count(&mut self, lines: &Bitmap) {
        self.distinct.lines += lines.len();
        self.numbers.merge(lines);
    }

    /// Writes the last rows, and the table of line numbers.
    pub(super) fn finish(
        mut self,
        trees: &mut Trees,
        children: &mut ChildLines,
        roots: &Roots,
    ) -> Result<Left> {
        let lines = std::mem::take(&mut self.open).end(trees, children)?;
        self.count(&lines);
        let indexes = self.table.finish(trees)?.into_iter().collect();
        let beyond = self.numbers.iter().filter(|line| *line > NUMBERS_MIN);
        write_numbers(roots, trees, (1..=NUMBERS_MIN).chain(beyond))?;
        Ok(Left { distinct: self.distinct, indexes, ..Left::default() })
    }
}

/// How many more bytes of numbits may be written.
struct Allowance(u64);

impl Allowance {
    /// Whether so many lines may take so many bytes.
    fn take(&mut self, lines: u64, bytes: usize) -> bool {
        let rest = (self.0 + lines * NUMBITS_BYTES_PER_LINE).checked_sub(bytes as u64);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}
