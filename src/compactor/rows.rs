//! Turns hits into rows, and counts what they are in all.

use super::Error;
use super::arc_rows::{CompactArcs, PlainArcs};
use super::bitmap::Bitmap;
use super::hits::United;
use super::keys::Block;
use super::line_rows::LineRows;
use super::pages::Written;
use super::publish::Output;
use super::schema::Form;
use super::tables::{ChildLines, LineRange, Roots, add_lines, write_log_files};
use super::trees::Trees;
use std::{io, mem};

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
    children: ChildLines,
    rows: Rows,
}

/// What hits are written as.
enum Rows {
    Lines(Box<LineRows>),
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
        let rows = match form {
            Form::Lines => Rows::Lines(Box::new(LineRows::new(roots))),
            Form::PlainArcs => Rows::PlainArcs(Box::new(PlainArcs::new(roots))),
            Form::CompactArcs => Rows::CompactArcs(Box::new(CompactArcs::new(roots))),
        };
        Ok(HitRows { output, roots, trees, children: ChildLines::new(roots), rows })
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
        let (trees, children) = (&mut self.trees, &mut self.children);
        let written = match &mut self.rows {
            Rows::Lines(rows) => rows.write(trees, children, hits),
            Rows::PlainArcs(rows) => rows.write(trees, children, hits),
            Rows::CompactArcs(rows) => rows.write(trees, children, hits),
        };
        written.map_err(|source| self.output.write_error(source))
    }

    /// Writes the last rows and, for numbits, the table of line numbers.
    pub(super) fn finish(self) -> Result<Left, Error> {
        let output = self.output;
        self.finish_rows().map_err(|source| output.write_error(source))
    }

    fn finish_rows(mut self) -> io::Result<Left> {
        let (trees, children) = (&mut self.trees, &mut self.children);
        let mut left = match self.rows {
            Rows::Lines(rows) => rows.finish(trees, children, self.roots)?,
            Rows::PlainArcs(rows) => rows.finish(trees, children)?,
            Rows::CompactArcs(rows) => rows.finish(trees, children)?,
        };
        self.children.finish(&mut self.trees)?;
        left.written = self.trees.finish()?;
        Ok(left)
    }
}

/// The file whose rows are being written. It may go on in the next part.
#[derive(Default)]
pub(super) struct OpenFile {
    file: u32,
    /// Its lines that ran, and those of them that ran in children only.
    pub(super) lines: Bitmap,
    child_lines: Vec<LineRange>,
}

impl OpenFile {
    /// Goes on to `file`, or goes on with it. The lines of the one before, if it is at its end.
    pub(super) fn begin(
        &mut self,
        file: u32,
        trees: &mut Trees,
        children: &mut ChildLines,
    ) -> io::Result<Option<Bitmap>> {
        if file == self.file {
            return Ok(None);
        }
        let before = mem::replace(self, OpenFile { file, ..OpenFile::default() });
        before.end(trees, children).map(Some)
    }

    /// Adds lines that ran in children only.
    pub(super) fn add_child_lines(&mut self, block: &Block) {
        add_lines(&mut self.child_lines, block);
    }

    /// The lines of the file, all of which were added.
    pub(super) fn end(self, trees: &mut Trees, children: &mut ChildLines) -> io::Result<Bitmap> {
        children.push_file(trees, &self.child_lines)?;
        Ok(self.lines)
    }
}
