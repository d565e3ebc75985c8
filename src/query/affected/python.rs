//! The shape of Python source: its logical lines, and which function's body each line belongs to.
//!
//! ```text
//! CACHE = {}               0  the module
//! @fixture                 0
//! def load(path=HERE):     0  a header runs when the function is made
//!     """Load it."""       0  so does what becomes the function's __doc__
//!     def line(text):      1  load
//!         return text      2  load.line
//!     return CACHE         1
//! class Store:             0  the body of a class runs with what is around it
//!     size = 1             0
//! ```
//!
//! Logical lines and their indentation are enough for that, in every version of Python. What cannot be made
//! sense of is refused.

mod lexical;

use lexical::{LogicalLine, logical_lines};
use std::collections::BTreeSet;

/// The block of what runs when the module is imported.
pub(super) const MODULE: usize = 0;

/// How deep functions and classes may stand in each other.
const DEPTH_MAX: usize = 100;

/// A function's body, or the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Name of the function; empty for the module.
    pub(super) name: String,
    /// The block in which the function is made. The module is its own parent.
    pub(super) parent: usize,
    /// Number of the line with the function's `def`; 0 for the module.
    pub(super) header: u32,
}

/// One line of source that is code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CodeLine {
    /// Counted from 1.
    pub(super) number: u32,
    pub(super) block: usize,
    /// Without a comment at its end. Lines of a string or in brackets are whole.
    pub(super) text: Vec<u8>,
}

/// What a source consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// The first is the module; functions follow in the order of their headers.
    pub(super) blocks: Vec<Block>,
    /// In their order. Blank lines and comments are left out.
    pub(super) lines: Vec<CodeLine>,
    /// All identifiers, also those in short strings.
    pub(super) words: BTreeSet<String>,
    /// The encoding that the source names (PEP 263), if it does.
    pub(super) encoding: Option<Vec<u8>>,
}

impl Shape {
    /// The shape of a file without a line: a module.
    pub(super) fn of_nothing() -> Shape {
        Shape { blocks: vec![Block::default()], ..Shape::default() }
    }

    /// The shape of `source`; `None` if it is no Python that we understand.
    pub(super) fn of(source: &[u8]) -> Option<Shape> {
        let source = source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source);
        let mut builder = Builder::new();
        for line in logical_lines(source)? {
            builder.add(line)?;
        }
        builder.give_up_bodies_that_run_nothing();
        builder.shape.lines.sort_by_key(|line| line.number);
        builder.shape.encoding = encoding(source);
        Some(builder.shape)
    }
}

/// The encoding that one of the first two lines of `source` names. It is part of a comment, and changes what
/// strings are.
fn encoding(source: &[u8]) -> Option<Vec<u8>> {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let lines = source.split(is_end).filter(|line| !line.is_empty()).take(2);
    let mut comments = lines.map(<[u8]>::trim_ascii_start).filter(|line| line.starts_with(b"#"));
    comments.find_map(|comment| {
        let at = comment.windows(7).position(|word| word == b"coding:" || word == b"coding=")?;
        let name = comment[at + 7..].trim_ascii_start();
        let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        Some(name.iter().take_while(is_name).copied().collect())
    })
}

/// An open function or class.
struct Open {
    indent: usize,
    block: usize,
    /// Whether nothing of the function's body was seen yet.
    is_fresh: bool,
}

/// Puts logical lines into blocks.
struct Builder {
    shape: Shape,
    open: Vec<Open>,
    /// The blocks in which anything runs.
    running: BTreeSet<usize>,
}

impl Builder {
    fn new() -> Builder {
        Builder { shape: Shape::of_nothing(), open: Vec::new(), running: BTreeSet::new() }
    }

    fn add(&mut self, line: LogicalLine) -> Option<()> {
        while self.open.last().is_some_and(|open| line.indent <= open.indent) {
            self.open.pop();
        }
        let block = self.block_of(&line);
        if !is_declaration(&line) {
            self.running.insert(block);
        }
        self.shape.words.extend(line.words.iter().cloned());
        let lines = line.texts.iter().map(|(number, text)| CodeLine {
            number: *number,
            block,
            text: text.clone(),
        });
        self.shape.lines.extend(lines);
        if !line.is_decorator {
            self.open_what_follows(&line, block);
        }
        (self.open.len() <= DEPTH_MAX).then_some(())
    }

    /// The block that `line` runs in. A docstring runs with the header of its function.
    fn block_of(&mut self, line: &LogicalLine) -> usize {
        let Some(open) = self.open.last_mut() else { return MODULE };
        let is_docstring = std::mem::take(&mut open.is_fresh) && line.is_string;
        if is_docstring { self.shape.blocks[open.block].parent } else { open.block }
    }

    /// A body of nothing but declarations runs no line by which its tests could be known: it stays with the header,
    /// which they ran to have the function.
    fn give_up_bodies_that_run_nothing(&mut self) {
        for line in &mut self.shape.lines {
            if !self.running.contains(&line.block) {
                line.block = self.shape.blocks[line.block].parent;
            }
        }
    }

    fn open_what_follows(&mut self, line: &LogicalLine, block: usize) {
        let LogicalLine { indent, words, texts, is_suite_below, .. } = line;
        let indent = *indent;
        let mut first = words.iter().map(String::as_str).skip_while(|word| *word == "async");
        match (first.next(), first.next()) {
            (Some("class"), Some(_)) => self.open.push(Open { indent, block, is_fresh: false }),
            // A body on the header's own line stays with the header.
            (Some("def"), Some(name)) if *is_suite_below => {
                let (name, header) = (name.to_owned(), texts[0].0);
                self.shape.blocks.push(Block { name, parent: block, header });
                let block = self.shape.blocks.len() - 1;
                self.open.push(Open { indent, block, is_fresh: true });
            }
            _ => {}
        }
    }
}

/// Whether Python makes no code of `line` in a function: `global x`, `nonlocal x`, `x: int`. That it does so of
/// `x: int = 1` does not matter, where nothing else is in a body.
fn is_declaration(line: &LogicalLine) -> bool {
    let text = line.texts.first().map_or(&[][..], |(_, text)| text.trim_ascii_start());
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_' || !byte.is_ascii();
    let (name, rest) = text.split_at(text.iter().take_while(is_part).count());
    matches!(name, b"global" | b"nonlocal")
        || !name.is_empty() && rest.trim_ascii_start().starts_with(b":")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each code line's number and the dotted name of its block.
    fn lines(source: &str) -> Vec<(u32, String)> {
        let shape = Shape::of(source.as_bytes()).expect("Python");
        let name = |mut block: usize| {
            let mut names = Vec::new();
            while block != MODULE {
                names.push(shape.blocks[block].name.clone());
                block = shape.blocks[block].parent;
            }
            names.reverse();
            names.join(".")
        };
        shape.lines.iter().map(|line| (line.number, name(line.block))).collect()
    }

    /// `expected` names the block of each line; `-` stands for a line without code.
    fn assert_blocks(source: &str, expected: &[&str]) {
        let expected: Vec<_> = (1..).zip(expected.iter().map(ToString::to_string)).collect();
        let expected: Vec<_> = expected.into_iter().filter(|(_, name)| name != "-").collect();
        assert_eq!(lines(source), expected, "{source}");
    }

    #[test]
    fn a_body_is_a_block_and_its_header_is_not() {
        let source = r#"@fixture
def load(path=HERE):
    """Load
    it."""
    def line(text):
        return text

    # end
    return CACHE
class Store:
    size = 1
    def get(self): return 1
    async def put(self):
        pass
last = 1
"#;
        let inner = ["load", "load.line", "-", "-", "load"];
        let outer = ["", "", "", "", "put", ""];
        assert_blocks(source, &[&["", "", "", ""], &inner[..], &outer[..]].concat());
    }

    #[test]
    fn a_body_that_runs_no_line_stays_with_its_header() {
        let source = "\
def f():
    '''Doc.'''
    global x
    y: int
    z : 'str'
def g():
    def h():
        nonlocal y
    global x
def i(): global x
def j():
    y: int
    try:
        pass
    finally: pass
";
        let (f, g, j) = (["", "", "", "", ""], ["", "g", "g", "g", ""], ["", "j", "j", "j", "j"]);
        assert_blocks(source, &[&f[..], &g[..], &j[..]].concat());
    }

    #[test]
    fn brackets_strings_and_backslashes_join_lines() {
        let source = "def f(
    a,  # one

    # two
    b='('
):
    x = 1 + \\
2
    y = '''
def g():
  '''
    return x
z = (
f)
";
        let header = ["", "", "-", "-", "", ""];
        assert_blocks(source, &[&header[..], &["f"; 6][..], &["", ""][..]].concat());
    }

    #[test]
    fn formatted_strings_may_hold_strings() {
        let source = r##"def f():
    a = f"{x["("]} {{ }} {y!r:>{w}} \N{LEFT PARENTHESIS} \{z}"
    b = rf'\{x}{"'" "}"}' + f"{'{'}" + b'\'' + r'\''
    c = f"""{
        x  # comment "
    }"""
    return a
b = 1
"##;
        assert_blocks(source, &["", "f", "f", "f", "f", "f", "f", ""]);
    }

    #[test]
    fn names_are_found_in_code_and_in_short_strings() {
        let source = "\
@mark.usefixtures('db')
class A(Base):
  @cached
  def f(self, store):
    return getattr(self, 'name') + f'{value}'
";
        let words = Shape::of(source.as_bytes()).unwrap().words;
        for word in ["store", "getattr", "name", "value", "cached", "db", "A", "Base"] {
            assert!(words.contains(word), "{word}: {words:?}");
        }
    }

    #[test]
    fn an_encoding_is_read_from_the_first_two_lines() {
        let of = |source: &str| Shape::of(source.as_bytes()).unwrap().encoding;
        assert_eq!(of("# -*- coding: latin-1 -*-\n"), Some(b"latin-1".to_vec()));
        assert_eq!(of("#!/usr/bin/python\n# vim: set fileencoding=utf-8 :\n"), Some(b"utf-8".to_vec()));
        assert_eq!(of("x = 1\ny = 1\n# coding: latin-1\n"), None);
    }

    #[test]
    fn what_does_not_end_is_refused() {
        for source in ["x = (", "x = 'a\n'", "x = '''", "x = f'{a'", "x = )", "(]", "\\ x"] {
            assert_eq!(Shape::of(source.as_bytes()), None, "{source}");
        }
    }

    #[test]
    fn a_mark_of_byte_order_and_all_line_ends_are_understood() {
        let source = "\u{feff}x = 1\r\ny = 2\r# z\nw = 3";
        assert_eq!(lines(source), [1, 2, 4].map(|number| (number, String::new())));
    }
}
