//! Packed keys: hits are sorted and compared as numbers, in the order in which rows are written.
//!
//! ```text
//! Pair       | file 24 | context 26 |
//! block key  | file 24 | context 26 | line / 256: 14 |
//! ArcKey     | file 24 | context 26 | from 24 | to 24 |
//! ```
//!
//! The same layout serves the ids of one log and those of the output.

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

    /// The lines, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let first = self.number() * BLOCK_LINES;
        let words = self.lines.into_iter().zip((first..).step_by(64));
        words.flat_map(|(word, first)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| first + bit)
        })
    }
}

/// An arc of one file and context; by file, context, line left, line reached, negative ends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ArcKey(u128);

impl ArcKey {
    #[inline]
    pub(super) fn new(pair: Pair, from: i32, to: i32) -> ArcKey {
        let ends = u64::from(biased(from)) << END_BITS | u64::from(biased(to));
        ArcKey(u128::from(pair.0) << (2 * END_BITS) | u128::from(ends))
    }

    pub(super) fn pair(self) -> Pair {
        Pair((self.0 >> (2 * END_BITS)) as u64)
    }

    pub(super) fn with_pair(self, pair: Pair) -> ArcKey {
        let ends = self.0 & ((1 << (2 * END_BITS)) - 1);
        ArcKey(u128::from(pair.0) << (2 * END_BITS) | ends)
    }

    /// Line left and line reached.
    pub(super) fn ends(self) -> (i32, i32) {
        let end = |bits: u128| (bits as i32 & ((1 << END_BITS) - 1)) - END_BIAS;
        (end(self.0 >> END_BITS), end(self.0))
    }
}

fn biased(end: i32) -> u32 {
    (end + END_BIAS) as u32
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
            let key = |(file, context, from, to)| ArcKey::new(Pair::new(file, context), from, to);
            let (pair, ends) = (key(left).pair(), key(left).ends());
            prop_assert_eq!((pair.file(), pair.context(), ends.0, ends.1), left);
            prop_assert_eq!(key(left).cmp(&key(right)), left.cmp(&right));
            let moved = key(left).with_pair(Pair::new(right.0, right.1));
            prop_assert_eq!((moved.pair(), moved.ends()), (key(right).pair(), ends));
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
