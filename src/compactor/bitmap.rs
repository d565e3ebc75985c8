//! A set of line numbers.

use super::keys::{BLOCK_LINES, Block, bits};

/// Line numbers; memory goes by the largest of them.
#[derive(Debug, Default)]
pub(super) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    fn reserve(&mut self, words: usize) {
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }

    #[inline]
    pub(super) fn insert(&mut self, line: u32) {
        let word = line as usize / 64;
        self.reserve(word + 1);
        self.words[word] |= 1 << (line % 64);
    }

    pub(super) fn insert_block(&mut self, block: &Block) {
        let start = (block.number() * BLOCK_LINES / 64) as usize;
        self.reserve(start + block.lines.len());
        self.words[start..].iter_mut().zip(block.lines).for_each(|(word, more)| *word |= more);
    }

    pub(super) fn merge(&mut self, other: &Bitmap) {
        self.reserve(other.words.len());
        self.words.iter_mut().zip(&other.words).for_each(|(word, more)| *word |= more);
    }

    pub(super) fn remove(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, less)| *word &= !less);
    }

    pub(super) fn clear(&mut self) {
        self.words.clear();
    }

    pub(super) fn len(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let words = (0_u32..).step_by(64).zip(&self.words);
        words.flat_map(|(first, word)| bits(*word).map(move |bit| first + bit))
    }
}
