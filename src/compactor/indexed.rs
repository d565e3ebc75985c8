//! A list of different items and where each of them is, by hash.
//!
//! A large index is not in the processor's cache. Items that are mostly looked for one after the other, the
//! arcs of a function, therefore have entries side by side:
//!
//! ```text
//! key         | group, hashed | neighbour: 5 |
//! index       .. | 32 entries of some groups | 32 entries of others | ..
//! a collision goes on with the next entry of the next 32
//! ```

use super::hits::Budget;
use std::hash::{BuildHasher as _, RandomState};

/// Bits of a key that tell an entry from its neighbours.
const NEIGHBOUR_BITS: u32 = 5;

/// Entries that lie side by side. So many are two lines of a cache.
pub(super) const NEIGHBOURS: u64 = 1 << NEIGHBOUR_BITS;

/// An unused entry of an index.
const UNUSED: u32 = u32::MAX;

/// Entries of the smallest index, a power of two. It is kept at most half full.
const INDEX_SIZE_MIN: usize = 64;

/// What a list holds.
pub(super) trait Item: Copy {
    /// By which it is looked for; different items may have the same. Items that are looked for together
    /// have keys that differ in the lowest bits, and every value of these is about as frequent. `seed`
    /// differs from list to list, so that nobody can make a log of whose items many have one key.
    fn index_key(&self, seed: u64) -> u64;
}

/// A list of different items, and where each of them is.
pub(super) struct Indexed<T> {
    /// Positions in `items`, by the hash of what is there.
    index: Vec<u32>,
    seed: u64,
    pub(super) items: Vec<T>,
}

impl<T: Item> Indexed<T> {
    pub(super) fn new() -> Indexed<T> {
        let seed = RandomState::new().hash_one(0);
        Indexed { index: vec![UNUSED; INDEX_SIZE_MIN], seed, items: Vec::new() }
    }

    /// The position of the item that has the key of `item` and that `is_it`, or else of `item`, which is
    /// added; `None` if the budget has no room for it.
    #[inline]
    pub(super) fn position(
        &mut self,
        item: T,
        is_it: impl Fn(&T) -> bool,
        budget: &Budget,
    ) -> Option<usize> {
        match self.find(item.index_key(self.seed), is_it) {
            Ok(position) => Some(position),
            Err(at) => self.add(at, item, budget),
        }
    }

    fn add(&mut self, mut at: usize, item: T, budget: &Budget) -> Option<usize> {
        if 2 * (self.items.len() + 1) > self.index.len() {
            if !self.grow(budget) {
                return None;
            }
            at = self.free_entry(item);
        }
        self.index[at] = self.items.len() as u32;
        self.items.push(item);
        Some(self.items.len() - 1)
    }

    /// The entry where the search for `key` begins.
    #[inline]
    fn first_entry(&self, key: u64) -> usize {
        let (group, neighbour) = (key >> NEIGHBOUR_BITS, key % NEIGHBOURS);
        let product = u128::from(group ^ self.seed) * 0x9E37_79B9_7F4A_7C15;
        let folded = (product >> 64) as u64 ^ product as u64;
        (folded << NEIGHBOUR_BITS | neighbour) as usize & (self.index.len() - 1)
    }

    /// Where the search goes on from the entry `at`. Neighbours stay neighbours; and since the step is odd
    /// and the size a power of two, each entry has its turn.
    #[inline]
    fn next_entry(&self, at: usize) -> usize {
        (at + NEIGHBOURS as usize + 1) & (self.index.len() - 1)
    }

    /// The position of the item with this key that `is_it`; or else the entry where it belongs.
    #[inline]
    fn find(&self, key: u64, is_it: impl Fn(&T) -> bool) -> Result<usize, usize> {
        let mut at = self.first_entry(key);
        loop {
            match self.index[at] {
                UNUSED => return Err(at),
                position if is_it(&self.items[position as usize]) => return Ok(position as usize),
                _ => at = self.next_entry(at),
            }
        }
    }

    /// Where `item`, which is not in the index, belongs.
    fn free_entry(&self, item: T) -> usize {
        let (Ok(at) | Err(at)) = self.find(item.index_key(self.seed), |_| false);
        at
    }

    /// Makes room for twice as many items, if the budget allows.
    #[cold]
    fn grow(&mut self, budget: &Budget) -> bool {
        let more = self.index.len();
        if !budget.take(more * (size_of::<u32>() + size_of::<T>() / 2)) {
            return false;
        }
        self.index = vec![UNUSED; 2 * more];
        self.items.reserve_exact(more - self.items.len());
        for position in 0..self.items.len() {
            let at = self.free_entry(self.items[position]);
            self.index[at] = position as u32;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::{Block, Ends, FileArc, Pair, block_key};
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// All items have their places, in whatever order they are looked for again.
    fn assert_found<T: Item + PartialEq + std::fmt::Debug>(items: &[T]) -> Indexed<T> {
        let (mut indexed, budget) = (Indexed::new(), Budget::unlimited());
        let mut position = |item: T| indexed.position(item, |known| *known == item, &budget).unwrap();
        let first: Vec<usize> = items.iter().map(|item| position(*item)).collect();
        let again: Vec<usize> = items.iter().rev().map(|item| position(*item)).collect();
        assert!(first.iter().rev().eq(&again));
        assert!(items.iter().zip(first).all(|(item, at)| indexed.items[at] == *item));
        indexed
    }

    /// How many entries are looked at, on average, to find an item that is there.
    fn probes<T: Item + PartialEq>(indexed: &Indexed<T>) -> f64 {
        let steps = |item: &T| {
            let mut at = indexed.first_entry(item.index_key(indexed.seed));
            let mut steps = 1;
            while indexed.items[indexed.index[at] as usize] != *item {
                (at, steps) = (indexed.next_entry(at), steps + 1);
            }
            steps
        };
        indexed.items.iter().map(steps).sum::<u64>() as f64 / indexed.items.len() as f64
    }

    fn arc(file: u32, from: i32, to: i32) -> FileArc {
        FileArc { file, ends: Ends::new(from, to) }
    }

    #[test]
    fn whatever_a_log_holds_a_search_is_short() {
        let many = 0..100_000;
        let of_functions =
            many.clone().map(|at| arc(1 + at as u32 / 500, at % 500, at % 500 + 1 + at % 3));
        let from_one_line = many.clone().map(|at| arc(1, 32, at));
        let of_one_neighbour = many.clone().map(|at| arc(1 + at as u32 % 7, 32 * at, 32 * at + 1));
        // What one file adds to a key another one must not take away.
        let of_far_files = many.clone().map(|at| {
            let (high, low) = (at as u32 / 256, at as u32 % 256);
            arc(1 + (low << 16), 1, 1 + (high << 8 | low) as i32)
        });
        let kinds: [Vec<FileArc>; 4] = [
            of_functions.collect(),
            from_one_line.collect(),
            of_one_neighbour.collect(),
            of_far_files.collect(),
        ];
        for (kind, arcs) in kinds.iter().enumerate() {
            let probes = probes(&assert_found(arcs));
            assert!(probes < 12.0, "{kind}: {probes}");
        }
        let block = |file, context, line| Block::new(block_key(Pair::new(file, context), line));
        let of_tests = many.clone().map(|at| block(1 + at as u32 % 200, at as u32 / 200, 7));
        let of_one_file = many.clone().map(|at| block(1, at as u32, 7));
        let of_one_context =
            many.map(|at| block(1 + at as u32 / 10_000, 1, 256 * (at as u32 % 10_000)));
        let kinds: [Vec<Block>; 3] =
            [of_tests.collect(), of_one_file.collect(), of_one_context.collect()];
        for (kind, blocks) in kinds.iter().enumerate() {
            let probes = probes(&assert_found(blocks));
            assert!(probes < 3.0, "{kind}: {probes}");
        }
    }

    proptest! {
        #[test]
        fn each_item_has_one_position(
            arcs in prop::collection::vec((1..4u32, -40..40i32, -40..40i32), 0..3000),
        ) {
            let arcs: Vec<FileArc> = arcs.iter().map(|(file, from, to)| arc(*file, *from, *to)).collect();
            let indexed = assert_found(&arcs);
            let mut different = HashMap::new();
            for one in &arcs {
                let next = different.len();
                different.entry((one.file, one.ends)).or_insert(next);
            }
            prop_assert_eq!(indexed.items.len(), different.len());
        }
    }
}
