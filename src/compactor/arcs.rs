//! The dictionary of arcs: each arc of each file once, numbered within its file by line left and line reached.
//!
//! Chunks number arcs as they meet them. What they found is translated bit by bit into the dictionary's
//! numbers, which depend on nothing but which arcs there are.

use super::hits::{Budget, Hits};
use super::indexed::Indexed;
use super::keys::{ARCS_OF_FILE_MAX, Block, FileArc, block_key};
use rayon::prelude::*;

/// Arcs by their numbers, which they have in the order in which they are first met.
pub(super) struct Known {
    arcs: Indexed<FileArc>,
    /// Behind the one that was met last: what followed it once mostly follows it again.
    next: usize,
}

impl Known {
    pub(super) fn new() -> Known {
        Known { arcs: Indexed::new(), next: 0 }
    }

    /// The number of `arc`; `None` if the budget has no room for it.
    #[inline]
    pub(super) fn number(&mut self, arc: FileArc, budget: &Budget) -> Option<u32> {
        // There it is found without a look at the index.
        if self.arcs.items.get(self.next) != Some(&arc) {
            self.next = self.arcs.position(arc, |known| *known == arc, budget)?;
        }
        self.next += 1;
        Some(self.next as u32 - 1)
    }

    /// The arcs, by number.
    pub(super) fn finish(mut self) -> Vec<FileArc> {
        self.arcs.items.shrink_to_fit();
        self.arcs.items
    }
}

/// The arcs of all files.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    /// Sorted, each once.
    arcs: Vec<FileArc>,
}

impl Dictionary {
    /// The arcs that `parts` know, and the number of each as each part met them; `None` if there are more of one
    /// file than can be numbered.
    pub(super) fn new(parts: &[Hits]) -> Option<(Dictionary, Vec<Vec<u32>>)> {
        // Parts know mostly the same arcs: only what is left of them is sorted.
        let (mut all, unlimited) = (Known::new(), Budget::unlimited());
        let mut number = |arc: &FileArc| all.number(*arc, &unlimited);
        let met = parts.iter().map(|part| part.known.iter().map(&mut number).collect());
        let mut met: Vec<Vec<u32>> = met.collect::<Option<_>>()?;
        let all = all.finish();
        let mut order: Vec<u32> = (0..all.len() as u32).collect();
        order.par_sort_unstable_by_key(|position| all[*position as usize]);
        let arcs: Vec<FileArc> = order.iter().map(|position| all[*position as usize]).collect();
        let mut numbers = vec![0; arcs.len()];
        let mut order = order.iter();
        for of_file in arcs.chunk_by(|left, right| left.file == right.file) {
            // File 0 is none: no block names its arcs.
            if of_file.len() > ARCS_OF_FILE_MAX && of_file[0].file != 0 {
                return None;
            }
            (0..).zip(order.by_ref().take(of_file.len())).for_each(|(number, position)| {
                numbers[*position as usize] = number;
            });
        }
        met.iter_mut().flatten().for_each(|position| *position = numbers[*position as usize]);
        Some((Dictionary { arcs }, met))
    }

    /// The arcs of `file`, by number.
    pub(super) fn of_file(&self, file: u32) -> &[FileArc] {
        let start = self.arcs.partition_point(|arc| arc.file < file);
        let length = self.arcs[start..].partition_point(|arc| arc.file == file);
        &self.arcs[start..start + length]
    }
}

/// `blocks` of arcs by their numbers in a part, as blocks of `numbers`, unsorted.
pub(super) fn renumbered(blocks: &[Block], numbers: &[u32]) -> Vec<Block> {
    let mut renumbered = Vec::with_capacity(blocks.len());
    for block in blocks {
        // What one block becomes stands at the end, mostly in very few blocks.
        let first = renumbered.len();
        for number in block.iter().map(|number| numbers[number as usize]) {
            let key = block_key(block.pair(), number);
            let found = renumbered[first..].iter().rposition(|block: &Block| block.key == key);
            let at = found.map_or(renumbered.len(), |at| first + at);
            if at == renumbered.len() {
                renumbered.push(Block::new(key));
            }
            renumbered[at].insert(number);
        }
    }
    renumbered
}
