//! Collects the hits of a range of slots, each once, and joins what several ranges found.
//!
//! * [`Budget`]: how much memory all collectors together may take.
//! * [`Collector`]: the hits of one chunk of a log: blocks of lines and blocks of arcs, by hash. An arc is
//!   numbered when it is met first, so that to meet it again in a context takes a bit.
//! * [`Hits`]: what is left of them, with the output's ids once they were translated; apart from them lines
//!   of children, which did not begin the context that they ran in.
//! * [`United`]: all of them, sorted.

use super::arcs::{self, Dictionary, Known};
use super::indexed::Indexed;
use super::keys::{Block, Ends, FileArc, Pair, block_key};
use rayon::prelude::*;
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

    pub(super) fn take(&self, bytes: usize) -> bool {
        let before = self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
        before.saturating_add(bytes as u64) <= self.limit
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.limit
    }
}

/// Blocks, each once, of numbers that come in runs.
struct Blocks {
    blocks: Indexed<Block>,
    /// Position of the block hit last.
    latest: usize,
}

impl Blocks {
    fn new() -> Blocks {
        Blocks { blocks: Indexed::new(), latest: 0 }
    }

    /// Whether there was room for line (or arc) `number`.
    #[inline]
    fn insert(&mut self, pair: Pair, number: u32, budget: &Budget) -> bool {
        let key = block_key(pair, number);
        match self.blocks.items.get_mut(self.latest) {
            Some(block) if block.key == key => block.insert(number),
            _ => return self.insert_elsewhere(key, number, budget),
        }
        true
    }

    fn insert_elsewhere(&mut self, key: u64, number: u32, budget: &Budget) -> bool {
        let position = self.blocks.position(Block::new(key), |block| block.key == key, budget);
        let Some(position) = position else { return false };
        self.latest = position;
        self.blocks.items[position].insert(number);
        true
    }

    fn finish(mut self) -> Vec<Block> {
        self.blocks.items.shrink_to_fit();
        self.blocks.items
    }
}

/// Collects the hits of one chunk.
pub(super) struct Collector<'budget> {
    budget: &'budget Budget,
    /// Over the budget: nothing is collected any more.
    dropped: bool,
    lines: Blocks,
    arcs: Blocks,
    /// The arcs by their numbers, which count from 0.
    known: Known,
}

impl Collector<'_> {
    pub(super) fn new(budget: &Budget) -> Collector<'_> {
        Collector {
            budget,
            dropped: budget.is_exceeded(),
            lines: Blocks::new(),
            arcs: Blocks::new(),
            known: Known::new(),
        }
    }

    /// Takes hits of a file in a context.
    #[inline]
    pub(super) fn add(
        &mut self,
        pair: Pair,
        lines: impl Iterator<Item = u32>,
        arcs: impl Iterator<Item = (i32, i32)>,
    ) {
        lines.for_each(|line| self.line(pair, line));
        arcs.for_each(|(from, to)| self.arc(pair, from, to));
    }

    #[inline]
    pub(super) fn line(&mut self, pair: Pair, line: u32) {
        if !self.dropped && !self.lines.insert(pair, line, self.budget) {
            self.drop_all();
        }
    }

    /// Takes an arc from a line to itself for what it says: that the line ran.
    #[inline]
    pub(super) fn arc(&mut self, pair: Pair, from: i32, to: i32) {
        if from == to && from > 0 {
            return self.line(pair, from as u32);
        }
        if self.dropped {
            return;
        }
        let arc = FileArc { file: pair.file(), ends: Ends::new(from, to) };
        let number = self.known.number(arc, self.budget);
        if !number.is_some_and(|number| self.arcs.insert(pair, number, self.budget)) {
            self.drop_all();
        }
    }

    #[cold]
    fn drop_all(&mut self) {
        self.dropped = true;
        (self.lines, self.arcs, self.known) = (Blocks::new(), Blocks::new(), Known::new());
    }

    /// What was collected; nothing if the budget did not suffice.
    pub(super) fn finish(self) -> Hits {
        let known = self.known.finish();
        Hits { lines: self.lines.finish(), arcs: self.arcs.finish(), known, ..Hits::default() }
    }
}

/// Hits of a chunk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hits {
    pub(super) lines: Vec<Block>,
    /// Lines that ran in a process which was started in their context.
    pub(super) lines_of_children: Vec<Block>,
    /// Blocks of numbers of arcs.
    pub(super) arcs: Vec<Block>,
    /// The arcs by their numbers.
    pub(super) known: Vec<FileArc>,
}

impl Hits {
    /// Gives all hits other ids. Those for which `pair` or `file` has none are dropped.
    pub(super) fn translate(
        &mut self,
        pair: impl Fn(Pair) -> Option<Pair>,
        file: impl Fn(u32) -> Option<u32>,
    ) {
        for blocks in [&mut self.lines, &mut self.arcs] {
            blocks.retain_mut(|block| {
                let pair = pair(block.pair());
                *block = pair.map_or(*block, |pair| block.with_pair(pair));
                pair.is_some()
            });
        }
        // File 0 is none: the blocks that name these arcs are gone.
        self.known.iter_mut().for_each(|arc| arc.file = file(arc.file).unwrap_or(0));
    }

    /// Takes what ran in the contexts `inherited`, which are sorted, for lines of children.
    pub(super) fn set_children_apart(&mut self, inherited: &[u32]) {
        if !inherited.is_empty() {
            let is_inherited = |block: &Block| inherited.binary_search(&block.pair().context()).is_ok();
            let lines = std::mem::take(&mut self.lines);
            (self.lines_of_children, self.lines) = lines.into_iter().partition(is_inherited);
        }
    }
}

/// All hits, each once and in their order.
#[derive(Debug, Default)]
pub(super) struct United {
    /// By key.
    pub(super) lines: Vec<Block>,
    /// Those of them that ran in children, and not in the process that began the context; by key.
    pub(super) in_children: Vec<Block>,
    /// By key; the numbers of a file's arcs are those of the dictionary.
    pub(super) arcs: Vec<Block>,
    pub(super) dictionary: Dictionary,
}

/// The hits of one file, out of [`United`].
pub(super) struct FileHits<'hits> {
    pub(super) file: u32,
    lines: &'hits [Block],
    pub(super) in_children: &'hits [Block],
    arcs: &'hits [Block],
    /// The file's arcs, by the numbers in `arcs`.
    pub(super) known: &'hits [FileArc],
}

impl<'hits> FileHits<'hits> {
    /// Each context with its lines and arcs.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (Pair, &'hits [Block], &'hits [Block])> {
        let by_pair = |blocks: &'hits [Block]| {
            blocks.chunk_by(|left, right| left.pair() == right.pair()).peekable()
        };
        let (mut lines, mut arcs) = (by_pair(self.lines), by_pair(self.arcs));
        std::iter::from_fn(move || {
            let next = [lines.peek(), arcs.peek()].map(|list| list.map(|list| list[0].pair()));
            let pair = next.into_iter().flatten().min()?;
            let lines = lines.next_if(|list| list[0].pair() == pair).unwrap_or_default();
            let arcs = arcs.next_if(|list| list[0].pair() == pair).unwrap_or_default();
            Some((pair, lines, arcs))
        })
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> usize {
        self.lines.len() + self.arcs.len()
    }
}

/// Takes the blocks of `file` from the beginning of `blocks`.
fn take_file<'hits>(blocks: &mut &'hits [Block], file: u32) -> &'hits [Block] {
    let (of_file, rest) = blocks.split_at(blocks.partition_point(|block| block.pair().file() <= file));
    *blocks = rest;
    of_file
}

impl United {
    /// The hits, file by file.
    pub(super) fn by_file(&self) -> impl Iterator<Item = FileHits<'_>> {
        let (mut lines, mut in_children, mut arcs) =
            (&self.lines[..], &self.in_children[..], &self.arcs[..]);
        std::iter::from_fn(move || {
            let next =
                [lines.first(), arcs.first()].map(|block| block.map(|block| block.pair().file()));
            let file = next.into_iter().flatten().min()?;
            Some(FileHits {
                file,
                lines: take_file(&mut lines, file),
                in_children: take_file(&mut in_children, file),
                arcs: take_file(&mut arcs, file),
                known: self.dictionary.of_file(file),
            })
        })
    }

    /// Everything that `parts` hold; `None` if it does not fit the budget, or has more arcs of one file
    /// than can be numbered. The parts are freed as they are taken over.
    pub(super) fn new(mut parts: Vec<Hits>, budget: &Budget) -> Option<United> {
        let of_children = parts.iter_mut().map(|part| std::mem::take(&mut part.lines_of_children));
        let of_children = unite(of_children.collect());
        let (dictionary, numbers) = Dictionary::new(&parts)?;
        let renumbered = parts.into_par_iter().zip(numbers).map(|(part, numbers)| {
            let blocks =
                if budget.is_exceeded() { Vec::new() } else { arcs::renumbered(&part.arcs, &numbers) };
            budget.take(blocks.len().saturating_sub(part.arcs.len()) * size_of::<Block>());
            (part.lines, blocks)
        });
        let (lines, arcs): (Vec<_>, Vec<_>) = renumbered.unzip();
        if budget.is_exceeded() {
            return None;
        }
        let lines = unite(lines);
        let in_children = without(of_children, &lines);
        let lines =
            if in_children.is_empty() { lines } else { unite(vec![lines, in_children.clone()]) };
        Some(United { lines, in_children, arcs: unite(arcs), dictionary })
    }
}

/// All blocks of `parts`, sorted, each key once.
pub(super) fn unite(parts: Vec<Vec<Block>>) -> Vec<Block> {
    let mut all = Vec::new();
    all.reserve_exact(parts.iter().map(Vec::len).sum());
    parts.into_iter().for_each(|part| all.extend_from_slice(&part));
    all.par_sort_unstable_by_key(|block: &Block| block.key);
    all.dedup_by(|later, kept| {
        let same = later.key == kept.key;
        if same {
            kept.lines.iter_mut().zip(later.lines).for_each(|(word, more)| *word |= more);
        }
        same
    });
    all
}

/// What is in `blocks` and not in `others`, both of which are sorted.
fn without(mut blocks: Vec<Block>, others: &[Block]) -> Vec<Block> {
    blocks.retain_mut(|block| {
        if let Ok(at) = others.binary_search_by_key(&block.key, |other| other.key) {
            block.lines.iter_mut().zip(others[at].lines).for_each(|(word, less)| *word &= !less);
        }
        block.lines.iter().any(|word| *word != 0)
    });
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn numbers_of(blocks: &[Block]) -> Vec<(u32, u32, u32)> {
        let of_block = |block: &Block| {
            let pair = block.pair();
            block.iter().map(move |line| (pair.file(), pair.context(), line)).collect::<Vec<_>>()
        };
        blocks.iter().flat_map(of_block).collect()
    }

    fn arcs_of(hits: &United) -> Vec<(u32, u32, i32, i32)> {
        let arc_of = |(file, context, number): (u32, u32, u32)| {
            let ends = hits.dictionary.of_file(file)[number as usize].ends;
            (file, context, ends.from(), ends.to().expect("an arc"))
        };
        numbers_of(&hits.arcs).into_iter().map(arc_of).collect()
    }

    fn united<const N: usize>(parts: [Collector<'_>; N]) -> United {
        United::new(parts.map(Collector::finish).into(), &Budget::unlimited()).expect("few arcs")
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
            let hits = united(parts);
            let (ran, taken): (Vec<_>, Vec<_>) =
                arcs.into_iter().partition(|(_, _, from, to)| from == to && *from > 0);
            let ran = ran.into_iter().map(|(file, context, line, _)| (file, context, line as u32));
            let expected: Vec<_> = lines.into_iter().chain(ran).collect::<BTreeSet<_>>().into_iter().collect();
            prop_assert_eq!(numbers_of(&hits.lines), expected);
            let expected: Vec<_> = taken.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
            prop_assert_eq!(arcs_of(&hits), expected);
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
    fn arcs_that_lie_further_apart_when_sorted_count_towards_the_budget() {
        let far_apart = |budget: &Budget| {
            let unlimited = Budget::unlimited();
            let mut collector = Collector::new(&unlimited);
            for step in 0..256 {
                (0..256)
                    .for_each(|line| collector.arc(Pair::new(1, 1 + step), line, 1000 + step as i32));
            }
            United::new(vec![collector.finish()], budget).is_some()
        };
        assert!(!far_apart(&Budget::new(256 * 40)));
        assert!(far_apart(&Budget::new(256 * 256 * 40)));
    }

    #[test]
    fn repeated_hits_cost_no_memory() {
        let budget = Budget::new(16_384);
        let mut collector = Collector::new(&budget);
        for repeat in 0..100_000 {
            collector.arc(Pair::new(1, 1), repeat % 100 - 100, 1);
            collector.line(Pair::new(1, 1), 1 + repeat as u32 % 200);
        }
        assert!(!budget.is_exceeded());
        let hits = collector.finish();
        assert_eq!((hits.lines.len(), hits.arcs.len(), hits.known.len()), (1, 1, 100));
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
        let translate = |file: u32| (file == 2).then_some(9);
        hits.translate(|pair| Some(Pair::new(translate(pair.file())?, 1)), translate);
        let hits = United::new(vec![hits], &budget).unwrap();
        assert_eq!(numbers_of(&hits.lines), [(9, 1, 5)]);
        assert_eq!(arcs_of(&hits), [(9, 1, 5, 6)]);
    }
}
