//! Packed keys: hits are sorted and compared as numbers, in the order in which rows are written.
//!
//! ```text
//! Pair       | file 24 | context 26 |
//! block key  | file 24 | context 26 | line / 256: 14 |
//! Ends       | from 24 | to 24 |
//! ```
//!
//! The same layout serves the ids of one log and those of the output. Arcs are numbered, and their numbers
//! collected in blocks as those of lines are.

use super::indexed::{Item, NEIGHBOURS};
use crate::limits::{LINE_MAX, NAME_ID_MAX};

const FILE_BITS: u32 = 24;
const CONTEXT_BITS: u32 = 26;
const BLOCK_BITS: u32 = 14;
const END_BITS: u32 = 24;

/// Largest id of a file in one output. More would not fit a key.
pub(super) const FILE_ID_MAX: u32 = (1 << FILE_BITS) - 1;

/// Largest id of a context in one output. More would not fit a key.
pub(super) const CONTEXT_ID_MAX: u32 = (1 << CONTEXT_BITS) - 1;

/// Lines of one [`Block`]: most functions of a file share a block, and a block costs 40 bytes, so that
/// the memory of any set of hits is bounded by their number, wherever their lines lie.
pub(super) const BLOCK_LINES: u32 = 256;

/// What makes negative ends of arcs positive: numbers then sort as the signed ends do.
const END_BIAS: i32 = 1 << (END_BITS - 1);

const _: () = assert!(FILE_BITS + CONTEXT_BITS + BLOCK_BITS == u64::BITS);
const _: () = assert!(NAME_ID_MAX <= FILE_ID_MAX && NAME_ID_MAX <= CONTEXT_ID_MAX);
const _: () = assert!(LINE_MAX / BLOCK_LINES < 1 << BLOCK_BITS);
const _: () = assert!((LINE_MAX as i32) < END_BIAS);

/// How many different arcs of one file can have a number.
pub(super) const ARCS_OF_FILE_MAX: usize = (BLOCK_LINES as usize) << BLOCK_BITS;

/// A file and a context; by file first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair(u64);

impl Pair {
    #[inline]
    pub(super) fn new(file: u32, context: u32) -> Pair {
        Pair(u64::from(file) << CONTEXT_BITS | u64::from(context))
    }

    pub(super) fn file(self) -> u32 {
        (self.0 >> CONTEXT_BITS) as u32
    }

    pub(super) fn context(self) -> u32 {
        self.0 as u32 & CONTEXT_ID_MAX
    }
}

/// The lines of 256 neighbours that ran in one file and context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) key: u64,
    /// Bit `n` of word `w`: line `64 * w + n` of the block.
    pub(super) lines: [u64; BLOCK_LINES as usize / 64],
}

#[inline]
pub(super) fn block_key(pair: Pair, line: u32) -> u64 {
    pair.0 << BLOCK_BITS | u64::from(line / BLOCK_LINES)
}

impl Item for Block {
    /// Blocks of one context in neighbouring files are looked for together.
    #[inline]
    fn index_key(&self, _: u64) -> u64 {
        let file_last = self.key.rotate_left(FILE_BITS);
        // Else all contexts of one file, or all blocks of one, would have one value of the lowest bits.
        let (context, block) = (self.pair().context(), self.number());
        file_last.wrapping_add(u64::from(context) + u64::from(block))
    }
}

impl Block {
    pub(super) fn new(key: u64) -> Block {
        Block { key, lines: [0; BLOCK_LINES as usize / 64] }
    }

    #[inline]
    pub(super) fn insert(&mut self, line: u32) {
        self.lines[(line % BLOCK_LINES / 64) as usize] |= 1 << (line % 64);
    }

    pub(super) fn pair(&self) -> Pair {
        Pair(self.key >> BLOCK_BITS)
    }

    /// The number of this block in its file: its first line by [`BLOCK_LINES`].
    pub(super) fn number(&self) -> u32 {
        self.key as u32 & ((1 << BLOCK_BITS) - 1)
    }

    pub(super) fn with_pair(self, pair: Pair) -> Block {
        Block { key: pair.0 << BLOCK_BITS | u64::from(self.number()), ..self }
    }

    /// How many lines there are.
    pub(super) fn len(&self) -> u64 {
        self.lines.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// The lines, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let first = self.number() * BLOCK_LINES;
        let words = self.lines.into_iter().zip((first..).step_by(64));
        words.flat_map(|(word, first)| bits(word).map(move |bit| first + bit))
    }
}

/// The positions of the bits that are set in `word`, ascending.
#[inline]
pub(super) fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < u64::BITS).then_some(bit)
    })
}

/// Line left and line reached; by the line left first, negative ends before positive ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ends(u64);

impl Ends {
    /// Before all others.
    pub(super) const FIRST: Ends = Ends(0);

    #[inline]
    pub(super) fn new(from: i32, to: i32) -> Ends {
        Ends(u64::from(biased(from)) << END_BITS | u64::from(biased(to)))
    }

    /// No arc, but a note that `line` ran, which follows from the arcs that touch it.
    pub(super) fn only(line: u32) -> Ends {
        Ends(u64::from(biased(line as i32)) << END_BITS)
    }

    #[inline]
    pub(super) fn from(self) -> i32 {
        end(self.0 >> END_BITS)
    }

    /// `None` for [`Ends::only`].
    #[inline]
    pub(super) fn to(self) -> Option<i32> {
        let is_arc = self.0 & ((1 << END_BITS) - 1) != 0;
        is_arc.then(|| end(self.0))
    }
}

/// An arc of a file, whoever took it; by file first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileArc {
    pub(super) file: u32,
    pub(super) ends: Ends,
}

impl Item for FileArc {
    /// Arcs of one length from neighbouring lines of a file are looked for together.
    #[inline]
    fn index_key(&self, seed: u64) -> u64 {
        let from = self.ends.0 >> END_BITS;
        let length = self.ends.0.wrapping_sub(from) & ((1 << END_BITS) - 1);
        let file = u64::from(self.file).wrapping_mul(seed | 1);
        (length << END_BITS | from) ^ (file - file % NEIGHBOURS)
    }
}

/// Where a hit stands in the output; by file, context, line left, line reached. A line is the arc to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) pair: Pair,
    pub(super) ends: Ends,
}

impl Place {
    /// Before all hits of `pair`.
    pub(super) fn first_of(pair: Pair) -> Place {
        Place { pair, ends: Ends::FIRST }
    }

    /// The place halfway to `end`, if both are in one pair and neither is it.
    pub(super) fn midpoint(self, end: Place) -> Option<Place> {
        let last = Ends((1 << (2 * END_BITS)) - 1);
        let end = if end.pair == self.pair { end.ends } else { last };
        let middle = self.ends.0.midpoint(end.0);
        (middle > self.ends.0).then_some(Place { ends: Ends(middle), ..self })
    }
}

#[inline]
fn biased(end: i32) -> u32 {
    (end + END_BIAS) as u32
}

#[inline]
fn end(bits: u64) -> i32 {
    (bits as i32 & ((1 << END_BITS) - 1)) - END_BIAS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const END_MAX: i32 = LINE_MAX as i32;

    proptest! {
        #[test]
        fn packed_keys_keep_their_parts_and_their_order(
            left in (1..=FILE_ID_MAX, 0..=CONTEXT_ID_MAX, -END_MAX..=END_MAX, -END_MAX..=END_MAX),
            right in (1..=FILE_ID_MAX, 0..=CONTEXT_ID_MAX, -END_MAX..=END_MAX, -END_MAX..=END_MAX),
        ) {
            let place = |(file, context, from, to)| {
                Place { pair: Pair::new(file, context), ends: Ends::new(from, to) }
            };
            let Place { pair, ends } = place(left);
            let to = ends.to().expect("an arc");
            prop_assert_eq!((pair.file(), pair.context(), ends.from(), to), left);
            prop_assert_eq!(place(left).cmp(&place(right)), left.cmp(&right));
            let line = left.2.unsigned_abs();
            let only = Ends::only(line);
            prop_assert_eq!((only.from(), only.to()), (line as i32, None));
        }

        #[test]
        fn a_block_tells_its_lines(file in 1..=FILE_ID_MAX, context in 0..=CONTEXT_ID_MAX, line in 1..=LINE_MAX) {
            let pair = Pair::new(file, context);
            let mut block = Block::new(block_key(pair, line));
            block.insert(line);
            prop_assert_eq!(block.pair(), pair);
            prop_assert_eq!(block.iter().collect::<Vec<_>>(), [line]);
            let other = Pair::new(context.max(1) & FILE_ID_MAX, file);
            let moved = block.with_pair(other);
            prop_assert_eq!((moved.pair(), moved.iter().next()), (other, Some(line)));
        }
    }
}
