//! Writes arcs, either as rows of coverage.py's table or in hitlog's compact form.
//!
//! ```text
//! hitlog_known_arc  file, number -> line left, line reached
//! hitlog_arc_bits   file, block, context -> bit n: arc 64 * block + n was taken
//! hitlog_other_arc  arcs without a number, as rows
//! ```

use super::arc_numbers::{FileArcs, FileRows, Numbers, for_each_hit};
use super::hits::{FileHits, United};
use super::keys::{Ends, Pair};
use super::rows::{Left, OpenFile};
use super::tables::{ArcBits, ChildLines, HitTable, KnownArcs, Roots};
use super::trees::Trees;
use rayon::prelude::*;
use std::convert::Infallible;
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

/// Blocks of hits, of 256 arcs at most, of the files whose arcs are numbered at the same time. What comes of them waits
/// until it is written.
const BLOCKS_AT_ONCE: usize = 1 << 14;

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
        let files: Vec<FileHits<'_>> = hits.by_file().collect();
        let Some((last, mut whole)) = files.split_last() else { return Ok(()) };
        if let Some((first, others)) = whole.split_first()
            && first.file == self.open.file()
        {
            self.go_on(trees, first)?;
            whole = others;
        }
        if last.file != self.open.file() {
            self.end_file(trees, children)?;
            self.write_whole(trees, children, whole)?;
        }
        self.go_on(trees, last)
    }

    /// Goes on with the open file, or begins the next one.
    fn go_on(&mut self, trees: &mut Trees, hits: &FileHits<'_>) -> Result<()> {
        let others = &mut self.tables.others;
        self.open.add(hits, &mut |pair, ends| others.push_arc(trees, pair, ends))
    }

    fn end_file(&mut self, trees: &mut Trees, children: &mut ChildLines) -> Result<()> {
        let others = &mut self.tables.others;
        let rows = self.open.finish(&mut |pair, ends| others.push_arc(trees, pair, ends))?;
        self.tables.push_file(trees, children, &rows)
    }

    /// Writes files that do not go on. While some are written, the next ones are numbered.
    fn write_whole(
        &mut self,
        trees: &mut Trees,
        children: &mut ChildLines,
        mut files: &[FileHits<'_>],
    ) -> Result<()> {
        let mut numbered: Vec<Numbered> = Vec::new();
        while let Some((first, others)) = files.split_first() {
            let (next, behind) = files.split_at(files_at_once(files));
            let (written, next) = rayon::join(
                || {
                    numbered
                        .iter()
                        .try_for_each(|file| self.tables.push_numbered(trees, children, file))
                },
                || next.par_iter().map_init(FileArcs::default, Numbered::new).collect::<Vec<_>>(),
            );
            written?;
            (numbered, files) = (next, behind);
            if numbered.is_empty() {
                // Too large to wait.
                self.go_on(trees, first)?;
                self.end_file(trees, children)?;
                files = others;
            }
        }
        numbered.iter().try_for_each(|file| self.tables.push_numbered(trees, children, file))
    }

    /// Writes the last rows.
    pub(super) fn finish(mut self, trees: &mut Trees, children: &mut ChildLines) -> Result<Left> {
        self.end_file(trees, children)?;
        self.tables.finish(trees)
    }
}

/// How many of `files`, from the first one on, may wait together.
fn files_at_once(files: &[FileHits<'_>]) -> usize {
    let mut blocks = 0;
    let is_room = |hits: &&FileHits<'_>| {
        blocks += hits.blocks();
        blocks <= BLOCKS_AT_ONCE
    };
    files.iter().take_while(is_room).count()
}

/// A file that waits to be written.
struct Numbered {
    /// Arcs without a number.
    others: Vec<(Pair, Ends)>,
    rows: FileRows,
}

impl Numbered {
    fn new(arcs: &mut FileArcs, hits: &FileHits<'_>) -> Numbered {
        let mut others = Vec::new();
        let mut other = |pair, ends| {
            others.push((pair, ends));
            Ok::<_, Infallible>(())
        };
        let Ok(()) = arcs.add(hits, &mut other);
        let Ok(rows) = arcs.finish(&mut other);
        Numbered { others, rows }
    }
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

    fn push_numbered(
        &mut self,
        trees: &mut Trees,
        children: &mut ChildLines,
        Numbered { others, rows }: &Numbered,
    ) -> Result<()> {
        others.iter().try_for_each(|(pair, ends)| self.others.push_arc(trees, *pair, *ends))?;
        self.push_file(trees, children, rows)
    }

    /// Behind the arcs of the file that have no number.
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
        children.push_file(trees, &rows.child_lines)
    }

    fn finish(self, trees: &mut Trees) -> Result<Left> {
        self.known.finish(trees)?;
        let indexes = [self.bits.finish(trees)?, self.others.finish(trees)?];
        Ok(Left::of_arcs(self.lines, self.arcs, indexes.into_iter().flatten()))
    }
}
