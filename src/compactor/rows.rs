//! Turns hits into rows, and counts what they are in all.
//!
//! Coverage.py knows either lines or arcs in one file. So where arcs were recorded, a line that ran is
//! written as the arc from that line to itself, which its reports take for what it is.

use super::arc_rows::ArcRows;
use super::bitmap::Bitmap;
use super::database::{Batch, ChildRow, LineRow, NumberRow};
use super::hits::United;
use super::keys::{Block, FileArc};
use super::schema::{Form, NUMBERS_MIN};
use crate::limits::{NUMBITS_BYTES_FREE, NUMBITS_BYTES_PER_LINE};
use rusqlite::{Connection, Result};

/// How many different lines and arcs files have, whoever ran them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Distinct {
    pub(super) lines: u64,
    pub(super) arcs: u64,
    /// Lines of files and contexts that were left out, because their rows would be out of all proportion.
    pub(super) left_out: u64,
}

/// Writes hits, which come in their order, in one part or several.
pub(super) struct HitRows<'connection> {
    connection: &'connection Connection,
    lines: Batch<'connection, LineRow>,
    children: ChildRows<'connection>,
    /// If lines are to be written as arcs.
    arcs: Option<ArcRows<'connection>>,
    file: u32,
    /// The lines of the present file.
    lines_of_file: Bitmap,
    /// The lines of all files.
    numbers: Bitmap,
    distinct: Distinct,
    /// How many more bytes of numbits may be written.
    allowance: u64,
}

impl HitRows<'_> {
    pub(super) fn new(connection: &Connection, form: Form) -> Result<HitRows<'_>> {
        let has_arcs = form != Form::Lines;
        Ok(HitRows {
            connection,
            lines: Batch::new(connection)?,
            children: ChildRows { rows: Batch::new(connection)?, last: None },
            arcs: if has_arcs { Some(ArcRows::new(connection, form)?) } else { None },
            file: 0,
            lines_of_file: Bitmap::default(),
            numbers: Bitmap::default(),
            distinct: Distinct::default(),
            allowance: NUMBITS_BYTES_FREE,
        })
    }

    /// Writes `hits`, all of which follow those written before.
    pub(super) fn write(&mut self, hits: &United) -> Result<()> {
        let mut lines = hits.lines.chunk_by(|left, right| left.pair() == right.pair()).peekable();
        let mut arcs = hits.arcs.chunk_by(|left, right| left.pair() == right.pair()).peekable();
        let mut known: &[FileArc] = &[];
        let mut file_of_known = 0;
        loop {
            let pairs =
                [lines.peek().map(|list| list[0].pair()), arcs.peek().map(|list| list[0].pair())];
            let Some(pair) = pairs.into_iter().flatten().min() else { break };
            if pair.file() != file_of_known {
                (file_of_known, known) = (pair.file(), hits.dictionary.of_file(pair.file()));
                self.begin_file(pair.file(), known)?;
            }
            let lines = lines.next_if(|list| list[0].pair() == pair).unwrap_or_default();
            let arcs = arcs.next_if(|list| list[0].pair() == pair).unwrap_or_default();
            match &mut self.arcs {
                Some(rows) => rows.write(pair, lines, arcs, known, &mut self.lines_of_file)?,
                None => self.line_row(lines)?,
            }
        }
        hits.in_children.iter().try_for_each(|block| self.children.write(block))
    }

    /// Goes on to `file`, or goes on with it in the next part, which has a dictionary of its own.
    fn begin_file(&mut self, file: u32, known: &[FileArc]) -> Result<()> {
        if file != self.file {
            self.end_file()?;
            self.file = file;
        }
        if let Some(rows) = &mut self.arcs {
            rows.begin_part(known.len());
        }
        Ok(())
    }

    fn line_row(&mut self, blocks: &[Block]) -> Result<()> {
        let row = LineRow::new(blocks);
        let lines: u64 = blocks.iter().map(Block::len).sum();
        let bytes = row.numbits.len() as u64;
        let allowance = self.allowance + lines * NUMBITS_BYTES_PER_LINE;
        let Some(allowance) = allowance.checked_sub(bytes) else {
            self.distinct.left_out += lines;
            return Ok(());
        };
        self.allowance = allowance;
        blocks.iter().for_each(|block| self.lines_of_file.insert_block(block));
        self.lines.push(row)
    }

    fn end_file(&mut self) -> Result<()> {
        if let Some(rows) = &mut self.arcs {
            rows.end_file(&mut self.lines_of_file)?;
        }
        self.distinct.lines += self.lines_of_file.len();
        self.numbers.merge(&self.lines_of_file);
        self.lines_of_file.clear();
        Ok(())
    }

    /// Writes the last rows and, for numbits, the table of line numbers.
    pub(super) fn finish(mut self) -> Result<Distinct> {
        self.end_file()?;
        self.lines.finish()?;
        self.children.finish()?;
        if let Some(rows) = self.arcs {
            self.distinct.arcs = rows.finish()?;
            return Ok(self.distinct);
        }
        let mut rows = Batch::new(self.connection)?;
        let beyond = self.numbers.iter().filter(|line| *line > NUMBERS_MIN);
        (1..=NUMBERS_MIN).chain(beyond).try_for_each(|line| rows.push(NumberRow(line)))?;
        rows.finish()?;
        Ok(self.distinct)
    }
}

/// Writes lines that ran in children as ranges, which do not depend on the parts that they come in.
struct ChildRows<'connection> {
    rows: Batch<'connection, ChildRow>,
    /// The range that may go on.
    last: Option<ChildRow>,
}

impl ChildRows<'_> {
    fn write(&mut self, block: &Block) -> Result<()> {
        block.iter().try_for_each(|line| match &mut self.last {
            Some(range) if range.pair == block.pair() && range.last + 1 == line => {
                range.last = line;
                Ok(())
            }
            last => {
                let range = ChildRow { pair: block.pair(), first: line, last: line };
                last.replace(range).map_or(Ok(()), |range| self.rows.push(range))
            }
        })
    }

    fn finish(mut self) -> Result<()> {
        self.last.take().map_or(Ok(()), |range| self.rows.push(range))?;
        self.rows.finish()
    }
}
