//! The dictionary of arcs: each arc of each file once, numbered within its file by line left and line reached.
//!
//! Chunks number arcs as they meet them. What they found is translated bit by bit into the dictionary's
//! numbers, which depend on nothing but which arcs there are.

use super::hits::{Budget, Hits, Indexed};
use super::keys::{ARCS_OF_FILE_MAX, Block, FileArc, block_key};
use rayon::prelude::*;

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
        let (mut all, unlimited) = (Indexed::new(), Budget::unlimited());
        let mut position = |arc: &FileArc| all.position(*arc, &unlimited).map(|at| at as u32);
        let met = parts.iter().map(|part| part.known.iter().map(&mut position).collect());
        let mut met: Vec<Vec<u32>> = met.collect::<Option<_>>()?;
        let mut order: Vec<u32> = (0..all.items.len() as u32).collect();
        order.par_sort_unstable_by_key(|position| all.items[*position as usize]);
        let arcs: Vec<FileArc> = order.iter().map(|position| all.items[*position as usize]).collect();
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
