//! Collects the hits of a range of slots, each once, and joins what several ranges found.
//!
//! * [`Budget`]: how much memory all collectors together may take.
//! * [`Collector`]: the hits of one chunk of a log: blocks of lines in a small hash table, arcs in a list.
//! * [`Hits`]: what is left of them: blocks and arcs, sorted once they carry the output's ids.

use super::keys::{ArcKey, Block, Pair, block_key};
use rayon::slice::ParallelSliceMut as _;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory that hits may take, in bytes. Once it is exceeded, it stays so: the hits are dropped and
/// collected again, in parts.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    taken: AtomicU64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Budget {
        Budget { limit, taken: AtomicU64::new(0) }
    }

    pub(super) fn unlimited() -> Budget {
        Budget::new(u64::MAX)
    }

    fn take(&self, bytes: usize) -> bool {
        let before = self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
        before.saturating_add(bytes as u64) <= self.limit
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.limit
    }
}

/// An unused entry of a collector's index.
const UNUSED: u32 = u32::MAX;

/// Entries of the smallest index. It is kept at most half full.
const INDEX_SIZE_MIN: usize = 64;

/// Arcs of the first list, before it is sorted for the first time.
const ARCS_MIN: usize = 1024;

/// Collects the hits of one chunk.
pub(super) struct Collector<'budget> {
    budget: &'budget Budget,
    /// Over the budget: nothing is collected any more.
    dropped: bool,
    /// Positions in `blocks`, by the hash of their keys.
    index: Vec<u32>,
    /// Makes collisions a matter of chance, whatever ids a log uses.
    seed: u64,
    blocks: Vec<Block>,
    /// Position of the block hit last: hits come in runs.
    latest: usize,
    arcs: Vec<ArcKey>,
}

impl Collector<'_> {
    pub(super) fn new(budget: &Budget) -> Collector<'_> {
        Collector {
            budget,
            dropped: budget.is_exceeded(),
            index: vec![UNUSED; INDEX_SIZE_MIN],
            seed: RandomState::new().hash_one(0),
            blocks: Vec::new(),
            latest: 0,
            arcs: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn line(&mut self, pair: Pair, line: u32) {
        let key = block_key(pair, line);
        match self.blocks.get_mut(self.latest) {
            Some(block) if block.key == key => block.insert(line),
            _ => self.line_elsewhere(key, line),
        }
    }

    fn line_elsewhere(&mut self, key: u64, line: u32) {
        if self.dropped {
            return;
        }
        let mut at = self.index_of(key);
        loop {
            match self.index[at] {
                UNUSED => break,
                position if self.blocks[position as usize].key == key => {
                    self.latest = position as usize;
                    self.blocks[self.latest].insert(line);
                    return;
                }
                _ => at = (at + 1) & (self.index.len() - 1),
            }
        }
        if 2 * (self.blocks.len() + 1) > self.index.len() {
            self.grow();
            return self.line_elsewhere(key, line);
        }
        self.index[at] = self.blocks.len() as u32;
        self.latest = self.blocks.len();
        self.blocks.push(Block::new(key));
        self.blocks[self.latest].insert(line);
    }

    #[inline]
    fn index_of(&self, key: u64) -> usize {
        let product = u128::from(key ^ self.seed) * 0x9E37_79B9_7F4A_7C15;
        let folded = (product >> 64) as u64 ^ product as u64;
        folded as usize & (self.index.len() - 1)
    }

    /// Makes room for twice as many blocks, if the budget allows.
    #[cold]
    fn grow(&mut self) {
        let more = self.index.len();
        if !self.budget.take(more * (size_of::<u32>() + size_of::<Block>() / 2)) {
            self.drop_all();
            return;
        }
        self.index = vec![UNUSED; 2 * more];
        self.blocks.reserve_exact(more - self.blocks.len());
        for position in 0..self.blocks.len() {
            let mut at = self.index_of(self.blocks[position].key);
            while self.index[at] != UNUSED {
                at = (at + 1) & (self.index.len() - 1);
            }
            self.index[at] = position as u32;
        }
    }

    #[inline]
    pub(super) fn arc(&mut self, pair: Pair, from: i32, to: i32) {
        if self.arcs.len() == self.arcs.capacity() {
            self.make_room_for_arcs();
        }
        if !self.dropped {
            self.arcs.push(ArcKey::new(pair, from, to));
        }
    }

    /// Drops what the list holds twice; if that is little, makes it longer.
    #[cold]
    fn make_room_for_arcs(&mut self) {
        unite_arcs(&mut self.arcs);
        if self.dropped || self.arcs.len() < self.arcs.capacity() / 2 {
            return;
        }
        let more = self.arcs.capacity().max(ARCS_MIN);
        if self.budget.take(more * size_of::<ArcKey>()) {
            self.arcs.reserve_exact(more + self.arcs.capacity() - self.arcs.len());
        } else {
            self.drop_all();
        }
    }

    fn drop_all(&mut self) {
        self.dropped = true;
        self.index = vec![UNUSED; INDEX_SIZE_MIN];
        self.blocks = Vec::new();
        self.arcs = Vec::new();
        self.latest = 0;
    }

    /// What was collected; nothing if the budget did not suffice.
    pub(super) fn finish(mut self) -> Hits {
        unite_arcs(&mut self.arcs);
        self.arcs.shrink_to_fit();
        self.blocks.shrink_to_fit();
        Hits { blocks: self.blocks, arcs: self.arcs }
    }
}

fn unite_arcs(arcs: &mut Vec<ArcKey>) {
    arcs.sort_unstable();
    arcs.dedup();
}

/// Hits, of a chunk or of everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hits {
    /// By key, once they were united.
    pub(super) blocks: Vec<Block>,
    /// In their order, once they were united.
    pub(super) arcs: Vec<ArcKey>,
}

impl Hits {
    /// Gives all hits other ids. Those for which `translate` has none are dropped.
    pub(super) fn translate(&mut self, translate: impl Fn(Pair) -> Option<Pair>) {
        self.blocks.retain_mut(|block| {
            let pair = translate(block.pair());
            *block = pair.map_or(*block, |pair| block.with_pair(pair));
            pair.is_some()
        });
        self.arcs.retain_mut(|arc| {
            let pair = translate(arc.pair());
            *arc = pair.map_or(*arc, |pair| arc.with_pair(pair));
            pair.is_some()
        });
    }

    /// Everything that `parts` hold, sorted, each block and each arc once. The parts are freed as they
    /// are taken over.
    pub(super) fn unite(parts: Vec<Hits>) -> Hits {
        let mut all = Hits::default();
        all.blocks.reserve_exact(parts.iter().map(|part| part.blocks.len()).sum());
        all.arcs.reserve_exact(parts.iter().map(|part| part.arcs.len()).sum());
        for part in parts {
            all.blocks.extend_from_slice(&part.blocks);
            all.arcs.extend_from_slice(&part.arcs);
        }
        all.blocks.par_sort_unstable_by_key(|block| block.key);
        all.blocks.dedup_by(|later, kept| {
            let same = later.key == kept.key;
            if same {
                kept.lines.iter_mut().zip(later.lines).for_each(|(word, more)| *word |= more);
            }
            same
        });
        all.arcs.par_sort_unstable();
        all.arcs.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn lines_of(hits: &Hits) -> Vec<(u32, u32, u32)> {
        let of_block = |block: &Block| {
            let pair = block.pair();
            block.iter().map(move |line| (pair.file(), pair.context(), line)).collect::<Vec<_>>()
        };
        hits.blocks.iter().flat_map(of_block).collect()
    }

    proptest! {
        #[test]
        fn hits_are_kept_once_and_sorted(
            lines in prop::collection::vec((1..4u32, 0..40u32, 1..2000u32), 0..600),
            arcs in prop::collection::vec((1..4u32, 0..3u32, -30..30i32, -30..30i32), 0..3000),
            cut: prop::sample::Index,
        ) {
            let budget = Budget::unlimited();
            let mut parts = [Collector::new(&budget), Collector::new(&budget)];
            for (number, (file, context, line)) in lines.iter().enumerate() {
                let part = usize::from(number >= cut.index(lines.len()));
                parts[part].line(Pair::new(*file, *context), *line);
            }
            for (number, (file, context, from, to)) in arcs.iter().enumerate() {
                parts[number % 2].arc(Pair::new(*file, *context), *from, *to);
            }
            let hits = Hits::unite(parts.map(Collector::finish).into());
            let expected: Vec<_> = lines.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
            prop_assert_eq!(lines_of(&hits), expected);
            let found: Vec<_> = hits.arcs.iter().map(|arc| (arc.pair().file(), arc.pair().context(), arc.ends().0, arc.ends().1)).collect();
            let expected: Vec<_> = arcs.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn over_the_budget_nothing_is_kept_and_all_know_it() {
        let budget = Budget::new(100_000);
        let mut first = Collector::new(&budget);
        (1..100_000).for_each(|context| first.line(Pair::new(1, context), 7));
        assert!(budget.is_exceeded());
        assert_eq!(first.finish(), Hits::default());
        let mut second = Collector::new(&budget);
        (1..100_000).for_each(|line| second.arc(Pair::new(1, 1), line, line + 1));
        assert_eq!(second.finish(), Hits::default());
    }

    #[test]
    fn repeated_hits_cost_no_memory() {
        let budget = Budget::new(ARCS_MIN as u64 * 16);
        let mut collector = Collector::new(&budget);
        for repeat in 0..100_000 {
            collector.arc(Pair::new(1, 1), repeat % 100, 1);
            collector.line(Pair::new(1, 1), 1 + repeat as u32 % 200);
        }
        assert!(!budget.is_exceeded());
        let hits = collector.finish();
        assert_eq!((hits.blocks.len(), hits.arcs.len()), (1, 100));
    }

    #[test]
    fn hits_without_a_name_are_dropped_in_translation() {
        let budget = Budget::unlimited();
        let mut collector = Collector::new(&budget);
        for file in 1..=2 {
            collector.line(Pair::new(file, 0), 5);
            collector.arc(Pair::new(file, 0), 5, 6);
        }
        let mut hits = collector.finish();
        hits.translate(|pair| (pair.file() == 2).then_some(Pair::new(9, 1)));
        assert_eq!(lines_of(&hits), [(9, 1, 5)]);
        assert_eq!(hits.arcs, [ArcKey::new(Pair::new(9, 1), 5, 6)]);
    }
}
