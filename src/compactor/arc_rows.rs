//! Writes arcs, either as rows of coverage.py's table or in hitlog's compact form.
//!
//! In the compact form each arc of a file has a number, in the order in which arcs are first met: those
//! that are taken together then stand together. What a context took is words of 64 bits:
//!
//! ```text
//! hitlog_known_arc  file, number -> line left, line reached
//! hitlog_arc_bits   file, context, block -> bit n: arc 64 * block + n was taken
//! ```
//!
//! A number costs memory while its file is written. A file with more arcs than [`ARCS_NUMBERED_MAX`] has
//! the rest of them in plain rows, `hitlog_other_arc`.

use super::bitmap::Bitmap;
use super::database::{ArcRow, Batch, BitsRow, KnownRow, OtherRow};
use super::keys::{Block, Ends, FileArc, Pair};
use super::schema::Form;
use crate::limits::ARCS_NUMBERED_MAX;
use rusqlite::{Connection, Result};
use std::collections::HashMap;

/// The number of an arc that has none.
const UNNUMBERED: u32 = u32::MAX;

/// Rows of bits that are held back to be sorted, 24 bytes each.
const ROWS_WAITING_MAX: usize = 1 << 20;

/// Arcs of one word of bits.
const WORD_ARCS: u32 = u64::BITS;

/// Writes the arcs of files, one file after the other.
pub(super) struct ArcRows<'connection> {
    connection: &'connection Connection,
    plain: Option<Batch<'connection, ArcRow>>,
    compact: Option<Compact<'connection>>,
    numbers: Numbers,
    /// The file and context that are being written.
    pair: Option<Pair>,
    /// Of them: the lines that ran, and those at the ends of arcs.
    lines: Bitmap,
    ends: Bitmap,
}

impl ArcRows<'_> {
    pub(super) fn new(connection: &Connection, form: Form) -> Result<ArcRows<'_>> {
        let is_compact = form == Form::CompactArcs;
        Ok(ArcRows {
            connection,
            plain: if is_compact { None } else { Some(Batch::new(connection)?) },
            compact: if is_compact { Some(Compact::new(connection)?) } else { None },
            numbers: Numbers::default(),
            pair: None,
            lines: Bitmap::default(),
            ends: Bitmap::default(),
        })
    }

    /// Prepares for a dictionary of `known` arcs.
    pub(super) fn begin_part(&mut self, known: usize) {
        self.numbers.of_part.clear();
        self.numbers.of_part.resize(known, None);
    }

    /// Writes lines and arcs of `pair`, by line left and line reached. `known` are the file's arcs by the
    /// numbers in `arcs`.
    pub(super) fn write(
        &mut self,
        pair: Pair,
        lines: &[Block],
        arcs: &[Block],
        known: &[FileArc],
        lines_of_file: &mut Bitmap,
    ) -> Result<()> {
        if self.pair != Some(pair) {
            self.end_pair(lines_of_file)?;
            self.pair = Some(pair);
        }
        lines.iter().for_each(|block| self.lines.insert_block(block));
        let mut lines = lines.iter().flat_map(Block::iter).peekable();
        for index in arcs.iter().flat_map(Block::iter) {
            let ends = known[index as usize].ends;
            while let Some(line) = lines.next_if(|line| line_to_itself(*line) < ends) {
                self.line(pair, line)?;
            }
            let number = self.numbers.of_arc(index, ends);
            self.row(pair, ends, number)?;
            let reached = ends.to().unwrap_or_default();
            for line in [ends.from(), reached].into_iter().filter(|line| *line > 0) {
                self.ends.insert(line as u32);
            }
        }
        lines.try_for_each(|line| self.line(pair, line))
    }

    fn line(&mut self, pair: Pair, line: u32) -> Result<()> {
        let number = self.numbers.of_line(line);
        self.row(pair, line_to_itself(line), number)
    }

    #[inline]
    fn row(&mut self, pair: Pair, ends: Ends, number: Number) -> Result<()> {
        match (&mut self.compact, &mut self.plain) {
            (Some(compact), _) => compact.set(pair, ends, number),
            (_, Some(plain)) => plain.push(ArcRow { pair, ends }),
            (None, None) => Ok(()),
        }
    }

    /// Arcs tell that the lines at their ends ran. Where nothing else does, the compact form notes it, so
    /// that it need not be found out again by each question.
    fn end_pair(&mut self, lines_of_file: &mut Bitmap) -> Result<()> {
        lines_of_file.merge(&self.lines);
        lines_of_file.merge(&self.ends);
        self.ends.remove(&self.lines);
        if let (Some(pair), Some(compact)) = (self.pair, &mut self.compact) {
            for line in self.ends.iter() {
                let ends = Ends::only(line);
                compact.set(pair, ends, self.numbers.of(ends))?;
            }
            compact.end_pair(pair)?;
        }
        self.lines.clear();
        self.ends.clear();
        self.pair = None;
        Ok(())
    }

    pub(super) fn end_file(&mut self, lines_of_file: &mut Bitmap) -> Result<()> {
        self.end_pair(lines_of_file)?;
        self.numbers.end_file();
        self.compact.as_mut().map_or(Ok(()), Compact::write_waiting)
    }

    /// Writes the last rows. How many different arcs there are.
    pub(super) fn finish(self) -> Result<u64> {
        let arcs = self.numbers.arcs;
        if let Some(plain) = self.plain {
            plain.finish()?;
        }
        if let Some(compact) = self.compact {
            compact.finish()?;
        }
        if !self.numbers.is_incomplete {
            return Ok(arcs);
        }
        let sql = "select count(*) from (select distinct file_id, fromno, tono from arc
                    where fromno <> tono or fromno <= 0)";
        self.connection.query_row(sql, [], |row| row.get(0).map(i64::unsigned_abs))
    }
}

fn line_to_itself(line: u32) -> Ends {
    Ends::new(line as i32, line as i32)
}

/// The number of an arc, and whether nobody had it before.
#[derive(Clone, Copy)]
struct Number {
    number: u32,
    is_first: bool,
}

/// Numbers the arcs of one file as they are first met.
#[derive(Default)]
struct Numbers {
    all: HashMap<Ends, u32>,
    /// By position in the dictionary of the part that is being written.
    of_part: Vec<Option<u32>>,
    /// By line, of lines to themselves.
    of_lines: Vec<Option<u32>>,
    /// How many different arcs there were in all files, without those that say no more than that a line ran.
    arcs: u64,
    /// Some arcs had no number, and were not counted.
    is_incomplete: bool,
}

impl Numbers {
    #[inline]
    fn of_arc(&mut self, index: u32, ends: Ends) -> Number {
        if let Some(number) = self.of_part[index as usize] {
            return Number { number, is_first: false };
        }
        let number = self.of(ends);
        self.of_part[index as usize] = Some(number.number);
        self.arcs += u64::from(number.is_first);
        self.is_incomplete |= number.number == UNNUMBERED;
        number
    }

    #[inline]
    fn of_line(&mut self, line: u32) -> Number {
        let line = line as usize;
        if let Some(Some(number)) = self.of_lines.get(line) {
            return Number { number: *number, is_first: false };
        }
        if self.of_lines.len() <= line {
            self.of_lines.resize(line + 1, None);
        }
        let number = self.of(line_to_itself(line as u32));
        self.of_lines[line] = Some(number.number);
        number
    }

    fn of(&mut self, ends: Ends) -> Number {
        let next = self.all.len() as u32;
        if let Some(number) = self.all.get(&ends) {
            return Number { number: *number, is_first: false };
        } else if next as usize >= ARCS_NUMBERED_MAX {
            return Number { number: UNNUMBERED, is_first: false };
        }
        self.all.insert(ends, next);
        Number { number: next, is_first: true }
    }

    fn end_file(&mut self) {
        self.all.clear();
        self.of_lines.clear();
    }
}

/// The tables of the compact form.
struct Compact<'connection> {
    known: Batch<'connection, KnownRow>,
    bits: Batch<'connection, BitsRow>,
    others: Batch<'connection, OtherRow>,
    /// The bits of the present file and context, and which of the words have any.
    words: Vec<u64>,
    used: Vec<u32>,
    /// Rows of the present file that wait for their order: by block, since the question is mostly who ran
    /// a line.
    waiting: Vec<BitsRow>,
}

impl Compact<'_> {
    fn new(connection: &Connection) -> Result<Compact<'_>> {
        Ok(Compact {
            known: Batch::new(connection)?,
            bits: Batch::new(connection)?,
            others: Batch::new(connection)?,
            words: Vec::new(),
            used: Vec::new(),
            waiting: Vec::new(),
        })
    }

    #[inline]
    fn set(&mut self, pair: Pair, ends: Ends, Number { number, is_first }: Number) -> Result<()> {
        if number == UNNUMBERED {
            return self.others.push(OtherRow(ArcRow { pair, ends }));
        }
        if is_first {
            self.known.push(KnownRow { file: pair.file(), number, ends })?;
        }
        let at = (number / WORD_ARCS) as usize;
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        if self.words[at] == 0 {
            self.used.push(at as u32);
        }
        self.words[at] |= 1 << (number % WORD_ARCS);
        Ok(())
    }

    fn end_pair(&mut self, pair: Pair) -> Result<()> {
        for block in self.used.drain(..) {
            let bits = std::mem::take(&mut self.words[block as usize]);
            self.waiting.push(BitsRow { pair, block, bits });
        }
        // What SQLite gets out of order takes longer, no more.
        if self.waiting.len() >= ROWS_WAITING_MAX { self.write_waiting() } else { Ok(()) }
    }

    fn write_waiting(&mut self) -> Result<()> {
        self.waiting.sort_unstable_by_key(|row| (row.block, row.pair));
        self.waiting.drain(..).try_for_each(|row| self.bits.push(row))
    }

    fn finish(self) -> Result<()> {
        self.known.finish()?;
        self.bits.finish()?;
        self.others.finish()
    }
}
