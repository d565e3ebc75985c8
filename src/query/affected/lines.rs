//! What changed between two versions of a Python source: which function bodies, and where each line went.
//!
//! Lines of code are compared, without comments and blank lines. A body counts as changed as a whole: a
//! line added to one of its branches can make a name local, or the function a generator, for all of them.

use super::python::{MODULE, Shape};
use similar::{Algorithm, DiffOp, capture_diff_slices};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Whoever looks at a function without calling it can see that its body has one of these.
const KIND_WORDS: [&[u8]; 3] = [b"yield", b"await", b"async"];

/// How one version of a source became another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Blocks of the old version that are not the same in the other.
    pub(super) changed: BTreeSet<usize>,
    /// The lines of the present version that are not in the old one; where lines were deleted, the line
    /// before them.
    pub(super) lines: Vec<RangeInclusive<u32>>,
    /// Where each unchanged line of code is, by its old number.
    pub(super) moved: BTreeMap<u32, u32>,
}

/// Compares two versions of a source.
pub(super) fn compare(old: &Shape, new: &Shape) -> Comparison {
    let mut found = Comparison::default();
    let mut blocks = Blocks::default();
    for operation in operations(old, new) {
        let (old_range, new_range) = (operation.old_range(), operation.new_range());
        if matches!(operation, DiffOp::Equal { .. }) {
            for (old_line, new_line) in old.lines[old_range].iter().zip(&new.lines[new_range]) {
                found.moved.insert(old_line.number, new_line.number);
                blocks.pairs.insert((old_line.block, new_line.block));
            }
            continue;
        }
        for line in &old.lines[old_range] {
            mark(old, line.block, &line.text, &mut blocks.old);
        }
        let numbers: Vec<u32> = new.lines[new_range.clone()].iter().map(|line| line.number).collect();
        for line in &new.lines[new_range.clone()] {
            mark(new, line.block, &line.text, &mut blocks.new);
        }
        let before = new_range.start.checked_sub(1).map_or(1, |index| new.lines[index].number);
        let (first, last) = (numbers.first(), numbers.last());
        found.lines.push(*first.unwrap_or(&before)..=*last.unwrap_or(&before));
    }
    blocks.pair_by_header(old, new, &found.moved);
    found.changed = blocks.changed(new);
    found
}

fn operations(old: &Shape, new: &Shape) -> Vec<DiffOp> {
    let texts = |shape: &Shape| shape.lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>();
    capture_diff_slices(Algorithm::Patience, &texts(old), &texts(new))
}

fn mark(shape: &Shape, block: usize, text: &[u8], marked: &mut BTreeSet<usize>) {
    marked.insert(block);
    let has = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    if KIND_WORDS.iter().any(|word| has(word)) {
        marked.insert(shape.blocks[block].parent);
    }
}

/// Blocks of both versions.
#[derive(Default)]
struct Blocks {
    /// Those with lines that are in this version only.
    old: BTreeSet<usize>,
    new: BTreeSet<usize>,
    /// Which have lines in common.
    pairs: BTreeSet<(usize, usize)>,
}

impl Blocks {
    /// A body of which every line is another one is still that of the same function. Not so a body that had
    /// no line: what ran then was the header.
    fn pair_by_header(&mut self, old: &Shape, new: &Shape, moved: &BTreeMap<u32, u32>) {
        let new_blocks = new.blocks.iter().map(|block| block.header).zip(0..);
        let new_blocks: BTreeMap<u32, usize> = new_blocks.collect();
        let with_lines: BTreeSet<usize> = old.lines.iter().map(|line| line.block).collect();
        for block in with_lines {
            let header = moved.get(&old.blocks[block].header);
            let there = header.and_then(|header| new_blocks.get(header));
            self.pairs.extend(there.map(|there| (block, *there)));
        }
    }

    /// The blocks of the old version that are not the same in the other one, `new`.
    fn changed(mut self, new: &Shape) -> BTreeSet<usize> {
        // The module is there in both, whether or not a line stayed.
        self.pairs.insert((MODULE, MODULE));
        self.mark_divided();
        let mut origins: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (old, new) in &self.pairs {
            origins.entry(*new).or_default().push(*old);
        }
        let mut changed = self.old;
        for mut block in self.new {
            // A block with nothing of an old one: what made it is the surrounding one's business.
            while !origins.contains_key(&block) {
                block = new.blocks[block].parent;
            }
            changed.extend(&origins[&block]);
        }
        changed
    }

    /// Marks blocks whose lines now belong to several, or came from several.
    fn mark_divided(&mut self) {
        let (mut of_old, mut of_new) = (BTreeMap::new(), BTreeMap::new());
        for (old, new) in &self.pairs {
            *of_old.entry(*old).or_insert(0) += 1;
            *of_new.entry(*new).or_insert(0) += 1;
        }
        for (old, new) in &self.pairs {
            if of_old[old] > 1 || of_new[new] > 1 {
                self.old.insert(*old);
                self.new.insert(*new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "\
import os
LIMIT = 1

def first(a):
    b = a
    return b

class Store:
    def get(self):
        x = 1
        return x

    def put(self):
        def inner():
            return 2
        return inner
";

    fn compared(old: &str, new: &str) -> (Vec<String>, Comparison) {
        let shape = |text: &str| Shape::of(text.as_bytes()).expect("Python");
        let (old, new) = (shape(old), shape(new));
        let comparison = compare(&old, &new);
        let names = comparison.changed.iter().map(|block| old.blocks[*block].name.clone()).collect();
        (names, comparison)
    }

    fn changed(from: &str, to: &str) -> Vec<String> {
        assert!(OLD.contains(from), "{from}");
        compared(OLD, &OLD.replacen(from, to, 1)).0
    }

    #[test]
    fn a_changed_line_changes_the_body_around_it() {
        assert_eq!(changed("b = a", "b = a + 1"), ["first"]);
        assert_eq!(changed("    b = a\n", ""), ["first"]);
        assert_eq!(changed("        x = 1\n", "        x = 1\n        x += 1\n"), ["get"]);
        assert_eq!(changed("return 2", "return 3"), ["inner"]);
        assert_eq!(changed("        return inner", "        y = 1\n        return inner"), ["put"]);
    }

    #[test]
    fn headers_classes_and_docstrings_belong_to_what_is_around() {
        assert_eq!(changed("LIMIT = 1", "LIMIT = 2"), [""]);
        assert_eq!(changed("def first(a):", "def first(a=1):"), [""]);
        assert_eq!(changed("def first", "@cache\ndef first"), [""]);
        assert_eq!(changed("    b = a", "    '''Doc.'''\n    b = a"), [""]);
        assert_eq!(changed("class Store:", "class Store:\n    size = 1"), [""]);
        assert_eq!(changed("        def inner():", "        def inner(a=1):"), ["put"]);
    }

    #[test]
    fn comments_and_blank_lines_change_nothing_but_numbers() {
        let (names, found) = compared(OLD, &OLD.replace("def first", "# why\n\n\ndef first"));
        assert!(names.is_empty() && found.lines.is_empty());
        assert_eq!((found.moved[&2], found.moved[&4], found.moved[&15]), (2, 7, 18));
        assert_eq!(changed("b = a", "b = a  # copied"), Vec::<String>::new());
    }

    #[test]
    fn a_function_that_becomes_a_generator_is_seen_without_a_call() {
        assert_eq!(changed("return b", "yield b"), ["", "first"]);
        assert_eq!(changed("return 2", "yield 2"), ["put", "inner"]);
    }

    #[test]
    fn a_header_put_into_a_body_changes_both() {
        assert_eq!(changed("    return b", "def second():\n    return b"), ["", "first"]);
        assert_eq!(changed("    b = a\n    return b\n", "    \"\"\"Doc.\"\"\"\n"), ["", "first"]);
    }

    #[test]
    fn a_body_that_had_only_a_docstring_is_counted_to_what_is_around() {
        let old = "def f():\n    '''Doc.'''\nx = 1\n";
        assert_eq!(compared(old, &old.replace("x =", "    return 1\nx =")).0, [""]);
    }

    #[test]
    fn a_body_that_runs_no_line_is_counted_to_what_is_around() {
        for declaration in ["global x", "y: int"] {
            let old = format!("def f():\n    {declaration}\nx = 1\n");
            assert_eq!(compared(&old, &old.replace("x = 1", "    x = 2\nx = 1")).0, [""]);
            assert_eq!(compared(&old, &old.replace(declaration, "return 1")).0, [""]);
            assert_eq!(compared(&old, &old.replace("def", "# one\ndef")).0, [""; 0]);
        }
    }

    #[test]
    fn lines_are_told_in_the_present_numbering() {
        let (_, found) = compared("a = 1\nb = 2\nc = 3\nd = 4\n", "a = 1\nc = 3\nx = 1\ny = 2\n");
        assert_eq!(found.lines, [1..=1, 3..=4]);
        assert_eq!(found.moved, BTreeMap::from([(1, 1), (3, 2)]));
    }
}
