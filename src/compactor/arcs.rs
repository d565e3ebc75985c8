//! The dictionary of arcs: each arc of each file once, numbered within its file by line left and line reached.
//!
//! Chunks number arcs as they meet them. What they found is translated bit by bit into the dictionary's
//! numbers, which depend on nothing but which arcs there are.

use super::hits::Hits;
use super::keys::{ARCS_OF_FILE_MAX, Block, FileArc, block_key};
use rayon::prelude::*;

/// The arcs of all files.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    /// Sorted, each once.
    arcs: Vec<FileArc>,
}

impl Dictionary {
    /// The arcs that `parts` know; `None` if there are more of one file than can be numbered.
    pub(super) fn new(parts: &[Hits]) -> Option<Dictionary> {
        let known = parts.iter().flat_map(|part| &part.known);
        let mut arcs: Vec<FileArc> = known.filter(|arc| arc.file != 0).copied().collect();
        arcs.par_sort_unstable();
        arcs.dedup();
        arcs.shrink_to_fit();
        let mut files = arcs.chunk_by(|left, right| left.file == right.file);
        let fits = files.all(|arcs| arcs.len() <= ARCS_OF_FILE_MAX);
        fits.then_some(Dictionary { arcs })
    }

    /// The arcs of `file`, by number.
    pub(super) fn of_file(&self, file: u32) -> &[FileArc] {
        let start = self.arcs.partition_point(|arc| arc.file < file);
        let length = self.arcs[start..].partition_point(|arc| arc.file == file);
        &self.arcs[start..start + length]
    }

    /// The arcs of `hits` in blocks of this dictionary's numbers, unsorted.
    pub(super) fn renumbered(&self, hits: &Hits) -> Vec<Block> {
        let numbers = self.numbers_of(&hits.known);
        let mut renumbered = Vec::with_capacity(hits.arcs.len());
        for block in &hits.arcs {
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

    /// This dictionary's number for each of `known`.
    fn numbers_of(&self, known: &[FileArc]) -> Vec<u32> {
        let (mut file, mut arcs) = (0, &self.arcs[..0]);
        let number = |arc: &FileArc| {
            if arc.file != file {
                (file, arcs) = (arc.file, self.of_file(arc.file));
            }
            arcs.binary_search(arc).map_or(0, |number| number as u32)
        };
        known.iter().map(number).collect()
    }
}
