//! Writes arcs, either as rows of coverage.py's table or in hitlog's compact form.
//!
//! ```text
//! hitlog_known_arc  file, number -> line left, line reached
//! hitlog_arc_bits   file, context, block -> bit n: arc 64 * block + n was taken
//! hitlog_other_arc  arcs without a number, as rows
//! ```

use super::arc_numbers::{FileArcs, FileRows, Numbers, for_each_hit};
use super::hits::{FileHits, United};
use super::rows::{Left, OpenFile};
use super::tables::{ArcBits, ChildLines, HitTable, KnownArcs, Roots};
use super::trees::Trees;
use rayon::prelude::*;
use std::io::Result;

/// Rows of coverage.py's own table, which are written as their hits come.
pub(super) struct PlainArcs {
    table: HitTable,
    numbers: Numbers,
    open: OpenFile,
    /// How many different ones the files before have.
    lines: u64,
}

impl PlainArcs {
    pub(super) fn new(roots: &Roots) -> PlainArcs {
        PlainArcs {
            table: HitTable::arcs(roots),
            numbers: Numbers::default(),
            open: OpenFile::default(),
            lines: 0,
        }
    }

    /// Writes `hits`, all of which follow those written before.
    pub(super) fn write(
        &mut self,
        trees: &mut Trees,
        children: &mut ChildLines,
        hits: &United,
    ) -> Result<()> {
        for file in hits.by_file() {
            if let Some(lines) = self.open.begin(file.file, trees, children)? {
                self.lines += lines.len();
            }
            self.numbers.begin_part(file.file, file.known.len());
            // What ran in children is among the hits, too.
            file.in_children.iter().for_each(|block| self.open.add_child_lines(block));
            for (pair, lines, arcs) in file.pairs() {
                for_each_hit(lines, arcs, file.known, |hit| {
                    self.numbers.count(hit);
                    hit.lines().for_each(|line| self.open.lines.insert(line));
                    self.table.push_arc(trees, pair, hit.ends())
                })?;
            }
        }
        Ok(())
    }

    /// Writes the last rows.
    pub(super) fn finish(mut self, trees: &mut Trees, children: &mut ChildLines) -> Result<Left> {
        let lines = self.lines + self.open.end(trees, children)?.len();
        let indexes = self.table.finish(trees)?;
        Ok(Left::of_arcs(lines, self.numbers.take_count(), indexes))
    }
}

/// Blocks of hits of the files whose arcs are numbered at the same time, 40 bytes each. What comes of them waits until
/// it is written.
const BLOCKS_AT_ONCE: usize = 1 << 15;

/// The compact form. Files are numbered in parallel and written one after the other.
pub(super) struct CompactArcs {
    /// The last file that was met: it may go on in the next part.
    open: FileArcs,
    tables: Tables,
}

impl CompactArcs {
    pub(super) fn new(roots: &Roots) -> CompactArcs {
        CompactArcs { open: FileArcs::default(), tables: Tables::new(roots) }
    }

    /// Writes `hits`, all of which follow those written before.
    pub(super) fn write(
        &mut self,
        trees: &mut Trees,
        children: &mut ChildLines,
        hits: &United,
    ) -> Result<()> {
        let mut files: Vec<FileHits<'_>> = hits.by_file().collect();
        let Some(last) = files.pop() else { return Ok(()) };
        let mut files = &files[..];
        if let Some((first, others)) = files.split_first()
            && first.file == self.open.file()
        {
            self.open.add(first);
            files = others;
        }
        if last.file != self.open.file() {
            self.tables.push_file(trees, children, &self.open.finish())?;
            self.write_whole(trees, children, files)?;
        }
        self.open.add(&last);
        Ok(())
    }

    /// Writes files that do not go on. While some are written, the next ones are numbered.
    fn write_whole(
        &mut self,
        trees: &mut Trees,
        children: &mut ChildLines,
        mut files: &[FileHits<'_>],
    ) -> Result<()> {
        let mut write = |rows: &FileRows| self.tables.push_file(trees, children, rows);
        let number = |arcs: &mut FileArcs, hits: &FileHits<'_>| {
            arcs.add(hits);
            arcs.finish()
        };
        let mut numbered: Vec<FileRows> = Vec::new();
        while !files.is_empty() {
            let (next, others) = files.split_at(files_at_once(files));
            let (written, next) = rayon::join(
                || numbered.iter().try_for_each(&mut write),
                || next.par_iter().map_init(FileArcs::default, number).collect(),
            );
            written?;
            (numbered, files) = (next, others);
        }
        numbered.iter().try_for_each(write)
    }

    /// Writes the last rows.
    pub(super) fn finish(mut self, trees: &mut Trees, children: &mut ChildLines) -> Result<Left> {
        self.tables.push_file(trees, children, &self.open.finish())?;
        self.tables.finish(trees)
    }
}

/// How many of `files` have [`BLOCKS_AT_ONCE`] together; one at least.
fn files_at_once(files: &[FileHits<'_>]) -> usize {
    let mut blocks = 0;
    let is_room = |hits: &&FileHits<'_>| {
        blocks += hits.blocks();
        blocks <= BLOCKS_AT_ONCE
    };
    files.iter().take_while(is_room).count().max(1)
}

/// The tables of the compact form.
struct Tables {
    known: KnownArcs,
    bits: ArcBits,
    others: HitTable,
    lines: u64,
    /// `None` if some were not counted.
    arcs: Option<u64>,
}

impl Tables {
    fn new(roots: &Roots) -> Tables {
        Tables {
            known: KnownArcs::new(roots),
            bits: ArcBits::new(roots),
            others: HitTable::other_arcs(roots),
            lines: 0,
            arcs: Some(0),
        }
    }

    fn push_file(
        &mut self,
        trees: &mut Trees,
        children: &mut ChildLines,
        rows: &FileRows,
    ) -> Result<()> {
        self.lines += rows.lines;
        self.arcs = self.arcs.zip(rows.arcs).map(|(before, more)| before + more);
        self.known.push_file(trees, rows.file, &rows.known, &rows.by_ends)?;
        rows.words
            .iter()
            .try_for_each(|word| self.bits.push(trees, word.pair, word.block, word.bits))?;
        rows.others.iter().try_for_each(|(pair, ends)| self.others.push_arc(trees, *pair, *ends))?;
        children.push_file(trees, &rows.child_lines)
    }

    fn finish(self, trees: &mut Trees) -> Result<Left> {
        self.known.finish(trees)?;
        let indexes = [self.bits.finish(trees)?, self.others.finish(trees)?];
        Ok(Left::of_arcs(self.lines, self.arcs, indexes.into_iter().flatten()))
    }
}
