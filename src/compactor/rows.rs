//! Turns hits into rows, and counts what they are in all.

use super::Error;
use super::arc_rows::{CompactArcs, PlainArcs};
use super::bitmap::Bitmap;
use super::hits::{FileHits, United};
use super::keys::Block;
use super::numbits::numbits;
use super::pages::Written;
use super::publish::Output;
use super::schema::{Form, NUMBERS_MIN};
use super::tables::{
    ChildLines, HitTable, LineRange, Roots, add_lines, write_log_files, write_numbers,
};
use super::trees::Trees;
use crate::limits::{NUMBITS_BYTES_FREE, NUMBITS_BYTES_PER_LINE};
use std::io;

/// How many different lines and arcs files have, whoever ran them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Distinct {
    pub(super) lines: u64,
    pub(super) arcs: u64,
    /// Lines of files and contexts that were left out, because their rows would be out of all proportion.
    pub(super) left_out: u64,
}

/// What was written, and what is left for SQLite.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) distinct: Distinct,
    /// There are more arcs than were counted.
    pub(super) arcs_not_counted: bool,
    /// Indexes that are still empty.
    pub(super) indexes: Vec<&'static str>,
    /// To be read back.
    pub(super) written: Written,
}

impl Left {
    /// After so many different lines and arcs, if all arcs were counted.
    pub(super) fn of_arcs(
        lines: u64,
        arcs: Option<u64>,
        indexes: impl IntoIterator<Item = &'static str>,
    ) -> Left {
        Left {
            distinct: Distinct { lines, arcs: arcs.unwrap_or_default(), left_out: 0 },
            arcs_not_counted: arcs.is_none(),
            indexes: indexes.into_iter().collect(),
            ..Left::default()
        }
    }
}

/// Writes hits, which come in their order, in one part or several.
pub(super) struct HitRows<'output> {
    output: &'output Output,
    roots: &'output Roots,
    trees: Trees,
    rows: Rows,
    children: ChildLines,
    /// The present file, and its lines that ran in children only.
    file: u32,
    child_lines: Vec<LineRange>,
    /// Space for the numbits of a row.
    numbits: Vec<u8>,
    /// The lines of the present file.
    lines_of_file: Bitmap,
    /// The lines of all files.
    numbers: Bitmap,
    distinct: Distinct,
    allowance: Allowance,
}

/// What hits are written as.
enum Rows {
    Lines(Box<HitTable>),
    /// Lines, too.
    PlainArcs(Box<PlainArcs>),
    CompactArcs(Box<CompactArcs>),
}

impl<'output> HitRows<'output> {
    /// Into the tables at `roots`, which SQLite made for `form` in the temporary file of `output`, and closed.
    pub(super) fn new(
        output: &'output Output,
        roots: &'output Roots,
        form: Form,
    ) -> Result<HitRows<'output>, Error> {
        let trees = Trees::open(output.temporary()).map_err(|source| output.write_error(source))?;
        Ok(HitRows {
            output,
            roots,
            trees,
            rows: match form {
                Form::Lines => Rows::Lines(Box::new(HitTable::lines(roots))),
                Form::PlainArcs => Rows::PlainArcs(Box::new(PlainArcs::new(roots))),
                Form::CompactArcs => Rows::CompactArcs(Box::new(CompactArcs::new(roots))),
            },
            children: ChildLines::new(roots),
            file: 0,
            child_lines: Vec::new(),
            numbits: Vec::new(),
            lines_of_file: Bitmap::default(),
            numbers: Bitmap::default(),
            distinct: Distinct::default(),
            allowance: Allowance(NUMBITS_BYTES_FREE),
        })
    }

    /// Writes files and the logs that name them, sorted, each once.
    pub(super) fn write_files_of_logs<'a>(
        &mut self,
        rows: impl Iterator<Item = (u32, &'a str)>,
    ) -> Result<(), Error> {
        let written = write_log_files(self.roots, &mut self.trees, rows);
        written.map_err(|source| self.output.write_error(source))
    }

    /// Writes `hits`, all of which follow those written before.
    pub(super) fn write(&mut self, hits: &United) -> Result<(), Error> {
        self.write_rows(hits).map_err(|source| self.output.write_error(source))
    }

    fn write_rows(&mut self, hits: &United) -> io::Result<()> {
        if let Rows::CompactArcs(rows) = &mut self.rows {
            return rows.write(&mut self.trees, &mut self.children, hits);
        }
        hits.by_file().try_for_each(|file| self.write_file(&file))
    }

    /// Writes lines or plain arcs of a file, as they come.
    fn write_file(&mut self, hits: &FileHits<'_>) -> io::Result<()> {
        if hits.file != self.file {
            self.end_file()?;
            self.file = hits.file;
        }
        if let Rows::PlainArcs(rows) = &mut self.rows {
            rows.begin_part(hits.file, hits.known);
        }
        let mut children = hits.in_children.iter().peekable();
        for (pair, lines, arcs) in hits.pairs() {
            let mut is_written = true;
            match &mut self.rows {
                // Written as a whole.
                Rows::CompactArcs(_) => {}
                Rows::PlainArcs(rows) => {
                    let lines_of_file = &mut self.lines_of_file;
                    rows.write(&mut self.trees, pair, (lines, arcs), hits.known, lines_of_file)?;
                }
                Rows::Lines(rows) => {
                    let numbits = numbits(lines, &mut self.numbits);
                    let count = lines.iter().map(Block::len).sum();
                    if self.allowance.take(count, numbits.len()) {
                        lines.iter().for_each(|block| self.lines_of_file.insert_block(block));
                        rows.push_lines(&mut self.trees, pair, numbits)?;
                    } else {
                        self.distinct.left_out += count;
                        is_written = false;
                    }
                }
            }
            // What ran in children is among the hits, too.
            while let Some(block) = children.next_if(|block| block.pair() == pair) {
                if is_written {
                    add_lines(&mut self.child_lines, block);
                }
            }
        }
        Ok(())
    }

    fn end_file(&mut self) -> io::Result<()> {
        self.children.push_file(&mut self.trees, &self.child_lines)?;
        self.child_lines.clear();
        self.distinct.lines += self.lines_of_file.len();
        self.numbers.merge(&self.lines_of_file);
        self.lines_of_file.clear();
        Ok(())
    }

    /// Writes the last rows and, for numbits, the table of line numbers.
    pub(super) fn finish(mut self) -> Result<Left, Error> {
        let output = self.output;
        self.end_file().and_then(|()| self.finish_rows()).map_err(|source| output.write_error(source))
    }

    fn finish_rows(mut self) -> io::Result<Left> {
        let trees = &mut self.trees;
        let mut left = match self.rows {
            Rows::Lines(rows) => {
                let indexes = rows.finish(trees)?.into_iter().collect();
                let beyond = self.numbers.iter().filter(|line| *line > NUMBERS_MIN);
                write_numbers(self.roots, trees, (1..=NUMBERS_MIN).chain(beyond))?;
                Left { distinct: self.distinct, indexes, ..Left::default() }
            }
            Rows::PlainArcs(rows) => rows.finish(trees, self.distinct.lines)?,
            Rows::CompactArcs(rows) => rows.finish(trees, &mut self.children)?,
        };
        self.children.finish(trees)?;
        left.written = self.trees.finish()?;
        Ok(left)
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
