//! Turns hits into rows, and counts what they are in all.
//!
//! Coverage.py knows either lines or arcs in one file. So where arcs were recorded, a line that ran is
//! written as the arc from that line to itself, which its reports take for what it is.

use super::database::{Batch, LineRow, NumberRow};
use super::hits::Hits;
use super::keys::{ArcKey, BLOCK_LINES, Block, Pair};
use super::schema::NUMBERS_MIN;
use rusqlite::{Connection, Result};
use std::collections::HashSet;

/// How many different lines and arcs files have, whoever ran them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Distinct {
    pub(super) lines: u64,
    pub(super) arcs: u64,
}

/// Writes hits, which come in their order, in one part or several.
pub(super) struct HitRows<'connection> {
    connection: &'connection Connection,
    has_arcs: bool,
    lines: Batch<'connection, LineRow>,
    arcs: Batch<'connection, ArcKey>,
    file: u32,
    /// Of the present file: its lines, as a bitmap, and its arcs.
    lines_of_file: Bitmap,
    arcs_of_file: HashSet<(i32, i32)>,
    /// The lines of all files.
    numbers: Bitmap,
    distinct: Distinct,
}

impl HitRows<'_> {
    pub(super) fn new(connection: &Connection, has_arcs: bool) -> Result<HitRows<'_>> {
        Ok(HitRows {
            connection,
            has_arcs,
            lines: Batch::new(connection)?,
            arcs: Batch::new(connection)?,
            file: 0,
            lines_of_file: Bitmap::default(),
            arcs_of_file: HashSet::new(),
            numbers: Bitmap::default(),
            distinct: Distinct::default(),
        })
    }

    /// Writes `hits`, all of which follow those written before.
    pub(super) fn write(&mut self, hits: &Hits) -> Result<()> {
        let mut blocks = hits.blocks.chunk_by(|left, right| left.pair() == right.pair()).peekable();
        let mut arcs = hits.arcs.chunk_by(|left, right| left.pair() == right.pair()).peekable();
        loop {
            let pairs =
                [blocks.peek().map(|list| list[0].pair()), arcs.peek().map(|list| list[0].pair())];
            let Some(pair) = pairs.into_iter().flatten().min() else { return Ok(()) };
            let blocks = blocks.next_if(|list| list[0].pair() == pair).unwrap_or_default();
            let arcs = arcs.next_if(|list| list[0].pair() == pair).unwrap_or_default();
            self.pair(pair, blocks, arcs)?;
        }
    }

    fn pair(&mut self, pair: Pair, blocks: &[Block], arcs: &[ArcKey]) -> Result<()> {
        if pair.file() != self.file {
            self.end_file();
            self.file = pair.file();
        }
        blocks.iter().for_each(|block| self.lines_of_file.insert_block(block));
        if !self.has_arcs {
            return self.lines.push(LineRow::new(blocks));
        }
        for arc in arcs {
            let (from, to) = arc.ends();
            self.arcs_of_file.insert((from, to));
            [from, to].into_iter().filter_map(line_of).for_each(|line| self.lines_of_file.insert(line));
        }
        let lines = blocks.iter().flat_map(Block::iter);
        let mut all: Vec<ArcKey> = lines
            .map(|line| ArcKey::new(pair, line as i32, line as i32))
            .chain(arcs.iter().copied())
            .collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().try_for_each(|arc| self.arcs.push(arc))
    }

    fn end_file(&mut self) {
        self.distinct.lines += self.lines_of_file.len();
        self.distinct.arcs += self.arcs_of_file.len() as u64;
        self.numbers.merge(&self.lines_of_file);
        self.lines_of_file.clear();
        self.arcs_of_file.clear();
    }

    /// Writes the last rows and the table of line numbers.
    pub(super) fn finish(mut self) -> Result<Distinct> {
        self.end_file();
        self.lines.finish()?;
        self.arcs.finish()?;
        let mut rows = Batch::new(self.connection)?;
        let beyond = self.numbers.iter().filter(|line| *line > NUMBERS_MIN);
        (1..=NUMBERS_MIN).chain(beyond).try_for_each(|line| rows.push(NumberRow(line)))?;
        rows.finish()?;
        Ok(self.distinct)
    }
}

fn line_of(end: i32) -> Option<u32> {
    u32::try_from(end).ok().filter(|line| *line > 0)
}

/// A set of line numbers.
#[derive(Debug, Default)]
struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    fn reserve(&mut self, words: usize) {
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }

    fn insert(&mut self, line: u32) {
        let word = line as usize / 64;
        self.reserve(word + 1);
        self.words[word] |= 1 << (line % 64);
    }

    fn insert_block(&mut self, block: &Block) {
        let start = (block.number() * BLOCK_LINES / 64) as usize;
        self.reserve(start + block.lines.len());
        self.words[start..].iter_mut().zip(block.lines).for_each(|(word, more)| *word |= more);
    }

    fn merge(&mut self, other: &Bitmap) {
        self.reserve(other.words.len());
        self.words.iter_mut().zip(&other.words).for_each(|(word, more)| *word |= more);
    }

    fn clear(&mut self) {
        self.words.clear();
    }

    fn len(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        let words = (0_u32..).step_by(64).zip(&self.words);
        words.flat_map(|(first, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| first + bit)
        })
    }
}
