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
//! one = lambda: load()     2  <lambda>: such a line runs with what is around it, and when it is called
//! ```
//!
//! Logical lines and their indentation are enough for that, in every version of Python. What cannot be made
//! sense of is refused.

mod lexical;

use lexical::{LogicalLine, logical_lines};
use std::collections::BTreeSet;

/// The block of what runs when the module is imported.
pub(super) const MODULE: usize = 0;

/// The name of functions that have none, as Python says it.
pub(super) const LAMBDA: &str = "<lambda>";

/// First words of statements that give no function another name.
const STATEMENTS: [&str; 18] = [
    "import", "from", "class", "def", "if", "elif", "else", "for", "while", "try", "except", "finally",
    "with", "assert", "raise", "del", "pass", "global",
];

/// The list of what a module exports: all of its functions, and none by another name.
const EXPORTS: &str = "__all__";

/// How deep functions and classes may stand in each other.
const DEPTH_MAX: usize = 100;

/// A function's body, or the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Name of the function; empty for the module.
    pub(super) name: String,
    /// Name of the class in whose body the function stands.
    pub(super) class: Option<String>,
    /// Name of the outermost function around this one, if this one belongs to no class: it can only be reached
    /// by what that function makes of it.
    pub(super) enclosing: Option<String>,
    /// The block in which the function is made. The module is its own parent.
    pub(super) parent: usize,
    /// Number of the line with the function's `def`; 0 for the module.
    pub(super) header: u32,
    /// All identifiers in the body, the header and the decorators, also those in strings.
    pub(super) words: BTreeSet<String>,
    /// The identifiers in the decorators.
    pub(super) decorators: BTreeSet<String>,
    /// Whether the body is on the line of its header, or is that of a lambda: the same line runs when the
    /// function is made and when it is called.
    pub(super) is_inline: bool,
}

/// A statement that assigns or calls, as in `HANDLERS = {"load": load}`, `get = cached(load)`, `add(load)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// The identifiers in it, in their order.
    pub(super) words: Vec<String>,
    /// How many of them are in what is assigned to; 0 if nothing is.
    pub(super) target_count: usize,
}

impl Table {
    /// The names under which the functions that it mentions may be reached. What is called may keep them under
    /// any of its arguments.
    pub(super) fn names(&self) -> &[String] {
        match self.target_count {
            0 => &self.words,
            count => &self.words[..count],
        }
    }
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
    /// For each class, the identifiers in its header: its name and its bases.
    pub(super) classes: Vec<(String, BTreeSet<String>)>,
    /// The statements of the module, and of classes in it, that may give functions another name.
    pub(super) tables: Vec<Table>,
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
    class: Option<String>,
    /// Whether nothing of the function's body was seen yet.
    is_fresh: bool,
}

/// Puts logical lines into blocks.
struct Builder {
    shape: Shape,
    open: Vec<Open>,
    decorators: BTreeSet<String>,
}

impl Builder {
    fn new() -> Builder {
        Builder { shape: Shape::of_nothing(), open: Vec::new(), decorators: BTreeSet::new() }
    }

    fn add(&mut self, line: LogicalLine) -> Option<()> {
        while self.open.last().is_some_and(|open| line.indent <= open.indent) {
            self.open.pop();
        }
        let around = self.block_of(&line);
        let block = self.inline_block(&line, around).unwrap_or(around);
        self.shape.blocks[block].words.extend(line.words.iter().cloned());
        let lines = line.texts.iter().map(|(number, text)| CodeLine {
            number: *number,
            block,
            text: text.clone(),
        });
        self.shape.lines.extend(lines);
        if line.is_decorator {
            self.decorators.extend(line.words);
        } else {
            let decorators = std::mem::take(&mut self.decorators);
            self.open_what_follows(line, around, decorators);
        }
        (self.open.len() <= DEPTH_MAX).then_some(())
    }

    /// A block of its own for a line that holds a whole body: of a function, or, where no function is around
    /// it, of a lambda.
    fn inline_block(&mut self, line: &LogicalLine, around: usize) -> Option<usize> {
        let mut words = line.words.iter().map(String::as_str).skip_while(|word| *word == "async");
        let name = match (words.next(), words.next()) {
            (Some("def"), Some(name)) if !line.is_suite_below => name,
            _ if around == MODULE && line.words.iter().any(|word| word == "lambda") => LAMBDA,
            _ => return None,
        };
        let decorators = if line.is_decorator { BTreeSet::new() } else { self.decorators.clone() };
        let block = Block {
            is_inline: true,
            ..self.block(name.to_owned(), line.texts[0].0, around, decorators)
        };
        self.shape.blocks.push(block);
        Some(self.shape.blocks.len() - 1)
    }

    /// A function `name`, to be made in the block `parent`.
    fn block(&self, name: String, header: u32, parent: usize, decorators: BTreeSet<String>) -> Block {
        let class = self.open.last().and_then(|open| open.class.clone());
        let around = &self.shape.blocks[parent];
        let enclosing = (parent != MODULE && class.is_none())
            .then(|| around.enclosing.clone().unwrap_or_else(|| around.name.clone()));
        let words = decorators.clone();
        Block { name, class, enclosing, parent, header, words, decorators, is_inline: false }
    }

    /// The block that `line` runs in. A docstring runs with the header of its function.
    fn block_of(&mut self, line: &LogicalLine) -> usize {
        let Some(open) = self.open.last_mut() else { return MODULE };
        let is_docstring = std::mem::take(&mut open.is_fresh) && line.is_string;
        if is_docstring { self.shape.blocks[open.block].parent } else { open.block }
    }

    fn open_what_follows(&mut self, line: LogicalLine, block: usize, decorators: BTreeSet<String>) {
        let LogicalLine { indent, words, texts, is_suite_below, target_count, .. } = line;
        let mut first = words.iter().map(String::as_str).skip_while(|word| *word == "async");
        match (first.next(), first.next()) {
            (Some("class"), Some(name)) => {
                let class = Some(name.to_owned());
                self.shape.classes.push((name.to_owned(), words.iter().skip(1).cloned().collect()));
                self.open.push(Open { indent, block, class, is_fresh: false });
            }
            (Some("def"), Some(name)) if is_suite_below => {
                let mut made = self.block(name.to_owned(), texts[0].0, block, decorators);
                made.words.extend(words.iter().cloned());
                self.shape.blocks.push(made);
                let block = self.shape.blocks.len() - 1;
                self.open.push(Open { indent, block, class: None, is_fresh: true });
            }
            (Some(first), _) if block == MODULE && !STATEMENTS.contains(&first) && first != EXPORTS => {
                self.shape.tables.push(Table { words, target_count });
            }
            _ => {}
        }
    }
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
        let outer = ["", "", "get", "", "put", ""];
        assert_blocks(source, &[&["", "", "", ""], &inner[..], &outer[..]].concat());
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
        let shape = Shape::of(source.as_bytes()).unwrap();
        let block = &shape.blocks[1];
        assert_eq!((block.name.as_str(), block.class.as_deref()), ("f", Some("A")));
        for word in ["store", "getattr", "name", "value", "cached"] {
            assert!(block.words.contains(word), "{word}: {:?}", block.words);
        }
        assert_eq!(block.decorators.iter().collect::<Vec<_>>(), ["cached"]);
        assert!(shape.blocks[MODULE].words.contains("db"));
        assert_eq!(shape.classes, [("A".into(), ["A", "Base"].map(String::from).into())]);
    }

    #[test]
    fn a_function_on_one_line_is_a_block_and_goes_by_the_name_of_what_is_around_it() {
        let source = "\
def outer():
  def inner(): return 1
  return inner
one = keep(lambda: outer())
";
        assert_blocks(source, &["", "outer.inner", "outer", "<lambda>"]);
        let shape = Shape::of(source.as_bytes()).unwrap();
        let [_, outer, inner, lambda] = &shape.blocks[..] else { panic!("{:?}", shape.blocks) };
        assert_eq!((&outer.enclosing, outer.is_inline), (&None, false));
        assert_eq!((inner.enclosing.as_deref(), inner.is_inline), (Some("outer"), true));
        assert!(lambda.is_inline && lambda.words.contains("one"));
    }

    #[test]
    fn statements_that_give_functions_other_names_are_known() {
        let source = "\
import a
__all__ = ['load']
HANDLERS: dict = {'load': load}
if x == load: pass
class A:
    get = cached(load)
register('text', load)
";
        let shape = Shape::of(source.as_bytes()).unwrap();
        let names: Vec<_> = shape.tables.iter().map(Table::names).collect();
        assert_eq!(names, [&["HANDLERS"][..], &["get"], &["register", "text", "load"]]);
    }

    #[test]
    fn the_beginning_of_a_computed_name_is_a_word() {
        let source = "def f(kind):\n    return getattr(x, f'visit_{kind}'), f'{kind}_end', 'load_%s'\n";
        let words = &Shape::of(source.as_bytes()).unwrap().blocks[1].words;
        assert!(words.contains("visit_") && words.contains("load_"), "{words:?}");
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
