//! Numbers the arcs of a file, and makes what is written of them: work that needs nothing but the file's own hits.
//!
//! Each arc of a file has a number, in the order in which arcs are first met: those that are taken together then
//! stand together. What a context took is words of 64 bits.
//!
//! A number costs memory while its file is written, and so does a word of bits, since the words of a file are
//! put in another order. Of a file with more arcs than [`ARCS_NUMBERED_MAX`], or with more words than
//! [`WORDS_WAITING_MAX`], the rest have no numbers and do not wait.

use super::bitmap::Bitmap;
use super::hits::FileHits;
use super::keys::{self, Block, Ends, FileArc, Pair};
use super::tables::{LineRange, add_lines};
use crate::limits::ARCS_NUMBERED_MAX;
use std::collections::HashMap;
use std::convert::Infallible;
use std::mem;

/// The number of an arc that has none.
const UNNUMBERED: u32 = u32::MAX;

/// Words of bits of one file, 24 bytes each: 1,000 words of each of 4,000 contexts.
const WORDS_WAITING_MAX: usize = 1 << 22;

/// Arcs of one word of bits.
const WORD_ARCS: u32 = u64::BITS;

/// A line that ran, or an arc that was taken.
#[derive(Clone, Copy)]
pub(super) enum Hit {
    Line(u32),
    /// With its position in the dictionary.
    Arc(u32, Ends),
}

impl Hit {
    /// Line left and line reached. Coverage.py knows either lines or arcs in one file: where arcs were recorded, a line
    /// that ran is written as the arc from that line to itself, which its reports take for what it is.
    pub(super) fn ends(self) -> Ends {
        match self {
            Hit::Line(line) => line_to_itself(line),
            Hit::Arc(_, ends) => ends,
        }
    }

    /// The lines of which it tells that they ran.
    pub(super) fn lines(self) -> impl Iterator<Item = u32> {
        let ends = self.ends();
        let ends = [ends.from(), ends.to().unwrap_or_default()];
        ends.into_iter().filter(|line| *line > 0).map(|line| line as u32)
    }
}

fn line_to_itself(line: u32) -> Ends {
    Ends::new(line as i32, line as i32)
}

/// Calls `visit` with `lines` and `arcs` of one context by line left and line reached. `known` are the file's arcs by
/// the numbers in `arcs`.
#[inline]
pub(super) fn for_each_hit<E>(
    lines: &[Block],
    arcs: &[Block],
    known: &[FileArc],
    mut visit: impl FnMut(Hit) -> Result<(), E>,
) -> Result<(), E> {
    let mut lines = lines.iter().flat_map(Block::iter).peekable();
    for index in arcs.iter().flat_map(Block::iter) {
        let ends = known[index as usize].ends;
        while let Some(line) = lines.next_if(|line| line_to_itself(*line) < ends) {
            visit(Hit::Line(line))?;
        }
        visit(Hit::Arc(index, ends))?;
    }
    lines.try_for_each(|line| visit(Hit::Line(line)))
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
pub(super) struct Numbers {
    all: HashMap<Ends, u32>,
    /// By position in the dictionary of the part that is being written.
    of_part: Vec<Option<u32>>,
    /// The present file.
    file: u32,
    /// By line, below [`LINES_BY_TABLE`], of lines to themselves and of lines alone.
    to_itself: Vec<NumberIn>,
    alone: Vec<NumberIn>,
    /// How many different arcs were counted, without those that say no more than that a line ran.
    arcs: u64,
    /// Some arcs had no number, and were not.
    is_incomplete: bool,
}

impl Numbers {
    /// Goes on to `file`, or goes on with it in the next part, which has a dictionary of its own, of so many arcs.
    pub(super) fn begin_part(&mut self, file: u32, arcs: usize) {
        if self.file != file {
            self.file = file;
            self.all.clear();
        }
        self.of_part.clear();
        self.of_part.resize(arcs, None);
    }

    #[inline]
    fn of(&mut self, hit: Hit) -> Number {
        match hit {
            Hit::Line(line) => self.of_line(line),
            Hit::Arc(index, ends) => self.of_arc(index, ends),
        }
    }

    /// Counts `hit`, if it is an arc.
    #[inline]
    pub(super) fn count(&mut self, hit: Hit) {
        self.of(hit);
    }

    #[inline]
    fn of_arc(&mut self, index: u32, ends: Ends) -> Number {
        if let Some(number) = self.of_part[index as usize] {
            return Number { number, is_first: false };
        }
        let number = self.of_ends(ends);
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
        let number = self.of_ends(line_to_itself(line));
        remember(&mut self.to_itself, self.file, line, number);
        number
    }

    /// The number of a line alone.
    #[inline]
    fn of_end(&mut self, line: u32) -> Number {
        if let Some(number) = number_in(&self.alone, self.file, line) {
            return number;
        }
        let number = self.of_ends(Ends::only(line));
        remember(&mut self.alone, self.file, line, number);
        number
    }

    fn of_ends(&mut self, ends: Ends) -> Number {
        let next = self.all.len() as u32;
        if let Some(number) = self.all.get(&ends) {
            return Number { number: *number, is_first: false };
        } else if next as usize >= ARCS_NUMBERED_MAX {
            return Number { number: UNNUMBERED, is_first: false };
        }
        self.all.insert(ends, next);
        Number { number: next, is_first: true }
    }

    /// How many different arcs there were since the last call; `None` if some were not counted.
    pub(super) fn take_count(&mut self) -> Option<u64> {
        let arcs = mem::take(&mut self.arcs);
        (!mem::take(&mut self.is_incomplete)).then_some(arcs)
    }
}

/// 64 arcs of a file, of which some context took those whose bits are set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Word {
    pub(super) block: u32,
    pub(super) pair: Pair,
    pub(super) bits: u64,
}

/// What is written of one file.
#[derive(Default)]
pub(super) struct FileRows {
    pub(super) file: u32,
    /// By number.
    pub(super) known: Vec<Ends>,
    /// With their numbers, sorted.
    pub(super) by_ends: Vec<(Ends, u32)>,
    /// Sorted: by block, since the question is mostly who ran a line.
    pub(super) words: Vec<Word>,
    /// Lines that ran in children only.
    pub(super) child_lines: Vec<LineRange>,
    /// How many different lines there are.
    pub(super) lines: u64,
    /// How many different arcs; `None` if some were not counted.
    pub(super) arcs: Option<u64>,
}

/// The arcs of one file, while they come. One that has room serves for the next file.
#[derive(Default)]
pub(super) struct FileArcs {
    numbers: Numbers,
    /// The context that is being read.
    pair: Option<Pair>,
    /// Of it: the lines that ran, those at the ends of arcs, the bits, and which of their words have any.
    lines: Bitmap,
    ends: Bitmap,
    words: Vec<u64>,
    used: Vec<u32>,
    /// And what has no bit.
    others: Vec<Ends>,
    /// Of the whole file.
    lines_of_file: Bitmap,
    rows: FileRows,
}

impl FileArcs {
    /// The file whose arcs come.
    pub(super) fn file(&self) -> u32 {
        self.rows.file
    }

    /// Takes what follows of the file, or of the next one if that was finished. `other` gets arcs without a number, by
    /// context, then line left and line reached.
    pub(super) fn add<E>(
        &mut self,
        hits: &FileHits<'_>,
        other: &mut impl FnMut(Pair, Ends) -> Result<(), E>,
    ) -> Result<(), E> {
        self.rows.file = hits.file;
        self.numbers.begin_part(hits.file, hits.known.len());
        // What ran in children is among the hits, too.
        hits.in_children.iter().for_each(|block| add_lines(&mut self.rows.child_lines, block));
        for (pair, lines, arcs) in hits.pairs() {
            if self.pair != Some(pair) {
                self.end_pair(other)?;
                self.pair = Some(pair);
            }
            lines.iter().for_each(|block| self.lines.insert_block(block));
            let Ok(()) = for_each_hit(lines, arcs, hits.known, |hit| {
                let number = self.numbers.of(hit);
                self.set(hit.ends(), number);
                if let Hit::Arc(..) = hit {
                    hit.lines().for_each(|line| self.ends.insert(line));
                }
                Ok::<_, Infallible>(())
            });
        }
        Ok(())
    }

    #[inline]
    fn set(&mut self, ends: Ends, Number { number, is_first }: Number) {
        if number == UNNUMBERED {
            self.others.push(ends);
            return;
        }
        if is_first {
            self.rows.known.push(ends);
        }
        let at = (number / WORD_ARCS) as usize;
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        if self.words[at] == 0 {
            self.used.push(at as u32);
        }
        self.words[at] |= 1 << (number % WORD_ARCS);
    }

    /// Arcs tell that the lines at their ends ran. Where nothing else does, it is noted, so that it need not be
    /// found out again by each question.
    fn end_pair<E>(&mut self, other: &mut impl FnMut(Pair, Ends) -> Result<(), E>) -> Result<(), E> {
        let Some(pair) = self.pair else { return Ok(()) };
        self.lines_of_file.merge(&self.lines);
        self.lines_of_file.merge(&self.ends);
        self.ends.remove(&self.lines);
        let only = mem::take(&mut self.ends);
        for line in only.iter() {
            let number = self.numbers.of_end(line);
            self.set(Ends::only(line), number);
        }
        self.ends = only;
        self.lines.clear();
        self.ends.clear();
        self.pair = None;
        let is_room = self.rows.words.len() + self.used.len() <= WORDS_WAITING_MAX;
        for block in self.used.drain(..) {
            let bits = mem::take(&mut self.words[block as usize]);
            if is_room {
                self.rows.words.push(Word { block, pair, bits });
            } else {
                let numbers = keys::bits(bits).map(|bit| block * WORD_ARCS + bit);
                self.others.extend(numbers.map(|number| self.rows.known[number as usize]));
            }
        }
        self.others.sort_unstable();
        self.others.drain(..).try_for_each(|ends| other(pair, ends))
    }

    /// All of the file; `other` gets the last arcs without a number.
    pub(super) fn finish<E>(
        &mut self,
        other: &mut impl FnMut(Pair, Ends) -> Result<(), E>,
    ) -> Result<FileRows, E> {
        self.end_pair(other)?;
        let mut rows = mem::take(&mut self.rows);
        rows.words.sort_unstable();
        rows.by_ends = rows.known.iter().copied().zip(0..).collect();
        rows.by_ends.sort_unstable();
        rows.lines = self.lines_of_file.len();
        self.lines_of_file.clear();
        rows.arcs = self.numbers.take_count();
        Ok(rows)
    }
}
