//! Sets of line numbers, kept as coverage.py keeps them: bit `n` of byte `b` is line `8 * b + n`.

use serde::{Serialize, Serializer};
use std::fmt;
use std::ops::RangeInclusive;

/// A set of line numbers. Shown as text and through serde, it is a list of ranges: `3-5, 9`.
///
/// ```
/// use hitlog::query::Lines;
///
/// let mut lines: Lines = [3, 4, 5, 9].into_iter().collect();
/// assert_eq!(lines.to_string(), "3-5, 9");
/// lines.unite(&[10].into_iter().collect());
/// assert_eq!(lines.ranges().last(), Some(9..=10));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lines {
    /// No byte behind the last line.
    bits: Vec<u8>,
}

impl Lines {
    /// The lines of a blob of coverage.py's.
    #[must_use]
    pub fn from_numbits(numbits: &[u8]) -> Lines {
        Lines { bits: numbits[..significant(numbits)].to_vec() }
    }

    /// The set as a blob of coverage.py's, without a byte behind the last line.
    #[must_use]
    pub fn numbits(&self) -> &[u8] {
        &self.bits
    }

    /// Adds a line.
    pub fn insert(&mut self, line: u32) {
        let byte = line as usize / 8;
        if self.bits.len() <= byte {
            self.bits.resize(byte + 1, 0);
        }
        self.bits[byte] |= 1 << (line % 8);
    }

    /// Takes all lines out, and keeps their room.
    pub(super) fn clear(&mut self) {
        self.bits.clear();
    }

    /// Whether `line` is in the set.
    #[must_use]
    pub fn contains(&self, line: u32) -> bool {
        self.bits.get(line as usize / 8).is_some_and(|byte| byte >> (line % 8) & 1 == 1)
    }

    /// Adds all lines of `other`.
    pub fn unite(&mut self, other: &Lines) {
        self.unite_numbits(&other.bits);
    }

    pub(super) fn unite_numbits(&mut self, numbits: &[u8]) {
        let numbits = &numbits[..significant(numbits)];
        if self.bits.is_empty() {
            self.bits.extend_from_slice(numbits);
            return;
        }
        if self.bits.len() < numbits.len() {
            self.bits.resize(numbits.len(), 0);
        }
        self.bits.iter_mut().zip(numbits).for_each(|(byte, more)| *byte |= more);
    }

    /// The lines that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Lines) -> Lines {
        let others = other.bits.iter().chain(std::iter::repeat(&0));
        let left: Vec<u8> = self.bits.iter().zip(others).map(|(byte, less)| byte & !less).collect();
        Lines::from_numbits(&left)
    }

    /// The lines that are in `range`.
    #[must_use]
    pub fn within(&self, range: &RangeInclusive<u32>) -> Lines {
        self.iter()
            .skip_while(|line| line < range.start())
            .take_while(|line| line <= range.end())
            .collect()
    }

    /// Whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bits.iter().map(|byte| u64::from(byte.count_ones())).sum()
    }

    /// The lines, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let mut bytes = (0_u32..).step_by(8).zip(&self.bits);
        let (mut first, mut left) = (0, 0);
        std::iter::from_fn(move || {
            while left == 0 {
                (first, left) = bytes.next().map(|(first, byte)| (first, *byte))?;
            }
            let bit = left.trailing_zeros();
            left &= left - 1;
            Some(first + bit)
        })
    }

    /// The lines as ranges without gaps, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u32>> {
        let mut lines = self.iter().peekable();
        std::iter::from_fn(move || {
            let first = lines.next()?;
            let mut last = first;
            while lines.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            Some(first..=last)
        })
    }
}

/// How many bytes there are up to the last line.
fn significant(numbits: &[u8]) -> usize {
    numbits.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

impl FromIterator<u32> for Lines {
    fn from_iter<I: IntoIterator<Item = u32>>(lines: I) -> Lines {
        let mut set = Lines::default();
        lines.into_iter().for_each(|line| set.insert(line));
        set
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, range) in self.ranges().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            range.start().fmt(f)?;
            if range.start() < range.end() {
                f.write_str("-")?;
                range.end().fmt(f)?;
            }
        }
        Ok(())
    }
}

/// `[[3, 5], [9, 9]]`
impl Serialize for Lines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.ranges().map(|range| [*range.start(), *range.end()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn lines(lines: &BTreeSet<u32>) -> Lines {
        lines.iter().copied().collect()
    }

    proptest! {
        #[test]
        fn a_set_of_lines_is_a_set(
            left in prop::collection::btree_set(1..300u32, 0..40),
            right in prop::collection::btree_set(1..300u32, 0..40),
            range in (1..300u32, 1..300u32),
        ) {
            let mut united = lines(&left);
            united.unite(&lines(&right));
            prop_assert_eq!(united, lines(&(&left | &right)));
            prop_assert_eq!(lines(&left).without(&lines(&right)), lines(&(&left - &right)));
            let inside = left.iter().copied().filter(|line| (range.0..=range.1).contains(line)).collect();
            prop_assert_eq!(lines(&left).within(&(range.0..=range.1)), lines(&inside));
            prop_assert_eq!(lines(&left).iter().collect::<BTreeSet<_>>(), left.clone());
            prop_assert_eq!(lines(&left).len(), left.len() as u64);
            prop_assert_eq!(lines(&left).ranges().flatten().collect::<BTreeSet<_>>(), left.clone());
            prop_assert!((0..300).all(|line| lines(&left).contains(line) == left.contains(&line)));
        }
    }

    #[test]
    fn ranges_are_told_shortly() {
        assert_eq!(Lines::default().to_string(), "");
        assert_eq!(Lines::from_numbits(&[0b1011_1010, 1, 0]).to_string(), "1, 3-5, 7-8");
        let json = serde_json::to_string(&Lines::from_numbits(&[0b1011_1010, 1])).unwrap();
        assert_eq!(json, "[[1,1],[3,5],[7,8]]");
    }
}
