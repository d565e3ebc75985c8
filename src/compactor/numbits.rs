//! Numbits: coverage.py's blobs of line numbers. Bit `n` of byte `b` is line `8 * b + n`; there is no
//! byte behind the last line.

use super::keys::{BLOCK_LINES, Block};
use byteorder::{ByteOrder as _, LittleEndian};

/// Bytes of one block of lines.
const BLOCK_BYTES: usize = BLOCK_LINES as usize / 8;

/// The numbits of the lines in `blocks`, which are sorted and of one file and context, made in `space`.
pub(super) fn numbits<'space>(blocks: &[Block], space: &'space mut Vec<u8>) -> &'space [u8] {
    debug_assert!(blocks.is_sorted_by_key(|block| block.key));
    space.clear();
    for block in blocks {
        let start = block.number() as usize * BLOCK_BYTES;
        space.resize(start + BLOCK_BYTES, 0);
        LittleEndian::write_u64_into(&block.lines, &mut space[start..]);
    }
    let length = space.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    &space[..length]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compactor::hits::{Budget, Collector};
    use crate::compactor::keys::Pair;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// As coverage.py's documentation of `numbits_to_nums` describes it.
    fn lines_of(numbits: &[u8]) -> BTreeSet<u32> {
        let bits =
            (0_u32..).zip(numbits).flat_map(|(byte, bits)| (0..8).map(move |bit| (byte, bit, bits)));
        bits.filter(|(_, bit, bits)| *bits >> bit & 1 == 1)
            .map(|(byte, bit, _)| 8 * byte + bit)
            .collect()
    }

    proptest! {
        #[test]
        fn numbits_hold_exactly_the_lines(lines in prop::collection::btree_set(1..5000u32, 1..50)) {
            let budget = Budget::unlimited();
            let mut collector = Collector::new(&budget);
            lines.iter().rev().for_each(|line| collector.line(Pair::new(1, 1), *line));
            let mut blocks = collector.finish().lines;
            blocks.sort_unstable_by_key(|block| block.key);
            let mut space = vec![0xFF; 9];
            let numbits = numbits(&blocks, &mut space);
            prop_assert_eq!(lines_of(numbits), lines);
            prop_assert_ne!(numbits.last(), Some(&0));
        }
    }
}
