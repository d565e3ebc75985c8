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
//! A number costs memory while its file is written, and so does a word of bits, since the words of a file are
//! put in another order. A file with more arcs than [`ARCS_NUMBERED_MAX`], or with more words than
//! [`WORDS_WAITING_MAX`], has the rest in plain rows, `hitlog_other_arc`.

use super::bitmap::Bitmap;
use super::keys::{self, Block, Ends, FileArc, Pair};
use super::schema::Form;
use super::tables::{ArcBits, HitTable, KnownArcs, Roots};
use super::trees::Trees;
use crate::limits::ARCS_NUMBERED_MAX;
use std::collections::HashMap;
use std::io::Result;
use std::mem;

/// The number of an arc that has none.
const UNNUMBERED: u32 = u32::MAX;

/// Words of bits of one file, 24 bytes each: 1,000 words of each of 4,000 contexts.
const WORDS_WAITING_MAX: usize = 1 << 22;

/// Arcs of one word of bits.
const WORD_ARCS: u32 = u64::BITS;

/// Writes the arcs of files, one file after the other.
pub(super) struct ArcRows {
    rows: Rows,
    numbers: Numbers,
    /// The file and context that are being written.
    pair: Option<Pair>,
    /// Of them: the lines that ran, and those at the ends of arcs.
    lines: Bitmap,
    ends: Bitmap,
}

/// What arcs are written as.
enum Rows {
    Plain(Box<HitTable>),
    Compact(Box<Compact>),
}

impl ArcRows {
    pub(super) fn new(roots: &Roots, form: Form) -> ArcRows {
        ArcRows {
            rows: match form {
                Form::CompactArcs => Rows::Compact(Box::new(Compact::new(roots))),
                Form::PlainArcs | Form::Lines => Rows::Plain(Box::new(HitTable::arcs(roots))),
            },
            numbers: Numbers::default(),
            pair: None,
            lines: Bitmap::default(),
            ends: Bitmap::default(),
        }
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
        trees: &mut Trees,
        pair: Pair,
        lines: &[Block],
        arcs: &[Block],
        known: &[FileArc],
        lines_of_file: &mut Bitmap,
    ) -> Result<()> {
        if self.pair != Some(pair) {
            self.end_pair(trees, lines_of_file)?;
            self.pair = Some(pair);
            self.numbers.file = pair.file();
        }
        lines.iter().for_each(|block| self.lines.insert_block(block));
        let mut lines = lines.iter().flat_map(Block::iter).peekable();
        for index in arcs.iter().flat_map(Block::iter) {
            let ends = known[index as usize].ends;
            while let Some(line) = lines.next_if(|line| line_to_itself(*line) < ends) {
                self.line(trees, pair, line)?;
            }
            let number = self.numbers.of_arc(index, ends);
            self.row(trees, pair, ends, number)?;
            let reached = ends.to().unwrap_or_default();
            for line in [ends.from(), reached].into_iter().filter(|line| *line > 0) {
                self.ends.insert(line as u32);
            }
        }
        lines.try_for_each(|line| self.line(trees, pair, line))
    }

    fn line(&mut self, trees: &mut Trees, pair: Pair, line: u32) -> Result<()> {
        let number = self.numbers.of_line(line);
        self.row(trees, pair, line_to_itself(line), number)
    }

    #[inline]
    fn row(&mut self, trees: &mut Trees, pair: Pair, ends: Ends, number: Number) -> Result<()> {
        match &mut self.rows {
            Rows::Compact(compact) => compact.set(trees, FileArc { file: pair.file(), ends }, number),
            Rows::Plain(plain) => plain.push_arc(trees, pair, ends),
        }
    }

    /// Arcs tell that the lines at their ends ran. Where nothing else does, the compact form notes it, so
    /// that it need not be found out again by each question.
    fn end_pair(&mut self, trees: &mut Trees, lines_of_file: &mut Bitmap) -> Result<()> {
        lines_of_file.merge(&self.lines);
        lines_of_file.merge(&self.ends);
        self.ends.remove(&self.lines);
        if let (Some(pair), Rows::Compact(compact)) = (self.pair, &mut self.rows) {
            for line in self.ends.iter() {
                let arc = FileArc { file: pair.file(), ends: Ends::only(line) };
                compact.set(trees, arc, self.numbers.of_end(line))?;
            }
            compact.end_pair(trees, pair)?;
        }
        self.lines.clear();
        self.ends.clear();
        self.pair = None;
        Ok(())
    }

    pub(super) fn end_file(&mut self, trees: &mut Trees, lines_of_file: &mut Bitmap) -> Result<()> {
        self.end_pair(trees, lines_of_file)?;
        self.numbers.end_file();
        match &mut self.rows {
            Rows::Compact(compact) => compact.end_file(trees),
            Rows::Plain(_) => Ok(()),
        }
    }

    /// How many different arcs there are; `None` if some were not counted.
    pub(super) fn count(&self) -> Option<u64> {
        (!self.numbers.is_incomplete).then_some(self.numbers.arcs)
    }

    /// Writes the last rows. The indexes that SQLite has to make.
    pub(super) fn finish(self, trees: &mut Trees) -> Result<Vec<&'static str>> {
        match self.rows {
            Rows::Plain(plain) => Ok(plain.finish(trees)?.into_iter().collect()),
            Rows::Compact(compact) => compact.finish(trees),
        }
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

/// Lines whose numbers are found without a hash: what a table of them takes is nothing.
const LINES_BY_TABLE: u32 = 1 << 16;

/// A number and the file in which it is one. Entries of other files need not be cleared: that would cost by the
/// largest line of each file, however few it has.
#[derive(Clone, Copy, Default)]
struct NumberIn {
    file: u32,
    number: u32,
}

#[inline]
fn number_in(table: &[NumberIn], file: u32, line: u32) -> Option<Number> {
    let known = table.get(line as usize).filter(|known| known.file == file)?;
    Some(Number { number: known.number, is_first: false })
}

fn remember(table: &mut Vec<NumberIn>, file: u32, line: u32, Number { number, .. }: Number) {
    if line >= LINES_BY_TABLE {
        return;
    }
    let line = line as usize;
    if table.len() <= line {
        table.resize(line + 1, NumberIn::default());
    }
    table[line] = NumberIn { file, number };
}

/// Numbers the arcs of one file as they are first met.
#[derive(Default)]
struct Numbers {
    all: HashMap<Ends, u32>,
    /// By position in the dictionary of the part that is being written.
    of_part: Vec<Option<u32>>,
    /// The present file.
    file: u32,
    /// By line, below [`LINES_BY_TABLE`], of lines to themselves and of lines alone.
    to_itself: Vec<NumberIn>,
    alone: Vec<NumberIn>,
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

    /// The number of a line to itself.
    #[inline]
    fn of_line(&mut self, line: u32) -> Number {
        if let Some(number) = number_in(&self.to_itself, self.file, line) {
            return number;
        }
        let number = self.of(line_to_itself(line));
        remember(&mut self.to_itself, self.file, line, number);
        number
    }

    /// The number of a line alone.
    #[inline]
    fn of_end(&mut self, line: u32) -> Number {
        if let Some(number) = number_in(&self.alone, self.file, line) {
            return number;
        }
        let number = self.of(Ends::only(line));
        remember(&mut self.alone, self.file, line, number);
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
    }
}

/// The tables of the compact form.
struct Compact {
    known: KnownArcs,
    bits: ArcBits,
    others: HitTable,
    /// The bits of the present file and context, and which of the words have any.
    words: Vec<u64>,
    used: Vec<u32>,
    /// What has no bit in the present file and context.
    plain: Vec<Ends>,
    /// Words of the present file that wait for their order: by block, since the question is mostly who ran
    /// a line.
    waiting: Vec<Word>,
}

/// 64 arcs of a file, of which some context took those whose bits are set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Word {
    block: u32,
    pair: Pair,
    bits: u64,
}

impl Compact {
    fn new(roots: &Roots) -> Compact {
        Compact {
            known: KnownArcs::new(roots),
            bits: ArcBits::new(roots),
            others: HitTable::other_arcs(roots),
            words: Vec::new(),
            used: Vec::new(),
            plain: Vec::new(),
            waiting: Vec::new(),
        }
    }

    #[inline]
    fn set(
        &mut self,
        trees: &mut Trees,
        arc: FileArc,
        Number { number, is_first }: Number,
    ) -> Result<()> {
        if number == UNNUMBERED {
            self.plain.push(arc.ends);
            return Ok(());
        }
        if is_first {
            self.known.push(trees, arc)?;
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

    fn end_pair(&mut self, trees: &mut Trees, pair: Pair) -> Result<()> {
        let is_room = self.waiting.len() + self.used.len() <= WORDS_WAITING_MAX;
        for block in self.used.drain(..) {
            let bits = mem::take(&mut self.words[block as usize]);
            if is_room {
                self.waiting.push(Word { block, pair, bits });
            } else {
                let numbers = keys::bits(bits).map(|bit| block * WORD_ARCS + bit);
                self.plain.extend(numbers.map(|number| self.known.ends(number)));
            }
        }
        self.plain.sort_unstable();
        self.plain.drain(..).try_for_each(|ends| self.others.push_arc(trees, pair, ends))
    }

    fn end_file(&mut self, trees: &mut Trees) -> Result<()> {
        self.known.end_file(trees)?;
        self.waiting.sort_unstable();
        let mut words = self.waiting.drain(..);
        words.try_for_each(|Word { block, pair, bits }| self.bits.push(trees, pair, block, bits))
    }

    fn finish(self, trees: &mut Trees) -> Result<Vec<&'static str>> {
        self.known.finish(trees)?;
        let left = [self.bits.finish(trees)?, self.others.finish(trees)?];
        Ok(left.into_iter().flatten().collect())
    }
}
