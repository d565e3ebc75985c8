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
//! A scanner is enough for that, and works for every version of Python: brackets, strings and comments as
//! the language reference defines them (section "Lexical analysis"; for f-strings PEP 701, which takes the
//! older ones in), and indentation. What it cannot make sense of, it refuses.

use std::collections::BTreeSet;

/// Longest string that may hold names, in bytes; what is longer is prose.
const NAMES_BYTES_MAX: usize = 64;

/// The block of what runs when the module is imported.
pub(super) const MODULE: usize = 0;

/// How deep strings may stand in f-strings, and functions in functions.
const DEPTH_MAX: usize = 100;

/// A function's body, or the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Name of the function; empty for the module.
    pub(super) name: String,
    /// Name of the class in whose body the function stands.
    pub(super) class: Option<String>,
    /// The block in which the function is made. The module is its own parent.
    pub(super) parent: usize,
    /// Number of the line with the function's `def`; 0 for the module.
    pub(super) header: u32,
    /// All identifiers in the body, the header and the decorators, also those in strings.
    pub(super) words: BTreeSet<String>,
    /// The identifiers in the decorators.
    pub(super) decorators: BTreeSet<String>,
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
        Some(builder.shape)
    }
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
        let block = self.block_of(&line);
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
            self.open_what_follows(line, block, decorators);
        }
        (self.open.len() <= DEPTH_MAX).then_some(())
    }

    /// The block that `line` runs in. A docstring runs with the header of its function.
    fn block_of(&mut self, line: &LogicalLine) -> usize {
        let Some(open) = self.open.last_mut() else { return MODULE };
        let is_docstring = std::mem::take(&mut open.is_fresh) && line.is_string;
        if is_docstring { self.shape.blocks[open.block].parent } else { open.block }
    }

    fn open_what_follows(&mut self, line: LogicalLine, block: usize, decorators: BTreeSet<String>) {
        let LogicalLine { indent, words, texts, is_suite_below, .. } = line;
        let mut first = words.iter().map(String::as_str).skip_while(|word| *word == "async");
        match (first.next(), first.next()) {
            (Some("class"), Some(name)) => {
                let class = Some(name.to_owned());
                self.shape.classes.push((name.to_owned(), words.iter().skip(1).cloned().collect()));
                self.open.push(Open { indent, block, class, is_fresh: false });
            }
            // A body on the header's own line stays with the header.
            (Some("def"), Some(name)) if is_suite_below => {
                let class = self.open.last().and_then(|open| open.class.clone());
                let (name, header) = (name.to_owned(), texts[0].0);
                let words = words.into_iter().chain(decorators.iter().cloned()).collect();
                self.shape.blocks.push(Block { name, class, parent: block, header, words, decorators });
                let block = self.shape.blocks.len() - 1;
                self.open.push(Open { indent, block, class: None, is_fresh: true });
            }
            _ => {}
        }
    }
}

/// What the parser sees as one line.
#[derive(Debug, Default)]
struct LogicalLine {
    /// Columns before it; a tabulator goes to the next multiple of 8.
    indent: usize,
    /// Identifiers and keywords, also those in strings, in their order.
    words: Vec<String>,
    /// The physical lines: number and text.
    texts: Vec<(u32, Vec<u8>)>,
    is_decorator: bool,
    /// Whether it begins with a string, as docstrings do.
    is_string: bool,
    /// Whether it ends with a colon.
    is_suite_below: bool,
}

/// The logical lines of `source`; `None` if a bracket or a string does not end.
fn logical_lines(source: &[u8]) -> Option<Vec<LogicalLine>> {
    let mut scanner = Scanner { source, at: 0, line: 1, words: Vec::new() };
    let mut lines = Vec::new();
    while scanner.at < source.len() {
        lines.extend(scanner.logical_line()?);
    }
    Some(lines)
}

struct Scanner<'a> {
    source: &'a [u8],
    at: usize,
    /// Number of the physical line.
    line: u32,
    words: Vec<String>,
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.source.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// Steps over one byte, counting lines.
    fn step(&mut self) {
        let is_end = match self.peek(0) {
            b'\n' => true,
            b'\r' => self.peek(1) != b'\n',
            _ => false,
        };
        self.line += u32::from(is_end);
        self.at += 1;
    }

    fn indentation(&mut self) -> usize {
        let mut column = 0;
        loop {
            match self.peek(0) {
                b' ' => column += 1,
                b'\t' => column = (column / 8 + 1) * 8,
                b'\x0c' => column = 0,
                _ => return column,
            }
            self.at += 1;
        }
    }

    /// The next logical line; `Some(None)` for a blank one. `None` if it does not end.
    fn logical_line(&mut self) -> Option<Option<LogicalLine>> {
        let mut text_start = self.at;
        let mut line = LogicalLine { indent: self.indentation(), ..LogicalLine::default() };
        line.is_decorator = self.peek(0) == b'@';
        let mut brackets = Vec::new();
        let mut is_code = false;
        // Whether there is code on the present physical line.
        let mut is_code_here = false;
        loop {
            let (byte, number) = (self.peek(0), self.line);
            match byte {
                _ if self.at >= self.source.len() => {
                    if !brackets.is_empty() {
                        return None;
                    }
                    line.texts.extend(is_code_here.then(|| (number, self.text(text_start))));
                    break;
                }
                b'#' => {
                    line.texts.extend(is_code_here.then(|| (number, self.text(text_start))));
                    is_code_here = false;
                    self.skip_comment();
                }
                b'\n' | b'\r' => {
                    line.texts.extend(is_code_here.then(|| (number, self.text(text_start))));
                    is_code_here = false;
                    self.end_of_line();
                    text_start = self.at;
                    if brackets.is_empty() {
                        break;
                    }
                }
                b'\\' if matches!(self.peek(1), b'\n' | b'\r') => {
                    self.at += 1;
                    line.texts.extend(is_code_here.then(|| (number, self.text(text_start))));
                    is_code_here = false;
                    self.end_of_line();
                    text_start = self.at;
                }
                b' ' | b'\t' | b'\x0c' => self.at += 1,
                _ => {
                    let is_string = self.token(&mut brackets)?;
                    line.is_string |= is_string && !is_code;
                    is_code |= byte != b'(';
                    is_code_here = true;
                    line.is_suite_below = byte == b':' && brackets.is_empty();
                    // A string over several lines: those before its last are whole.
                    for whole in number..self.line {
                        let end = self.end_of_line_from(text_start);
                        line.texts.push((whole, self.source[text_start..end.0].to_vec()));
                        text_start = end.1;
                    }
                }
            }
        }
        line.words = std::mem::take(&mut self.words);
        Some((!line.texts.is_empty()).then_some(line))
    }

    fn text(&self, start: usize) -> Vec<u8> {
        self.source[start..self.at].trim_ascii_end().to_vec()
    }

    /// Where the physical line that `start` lies in ends, and where the next one begins.
    fn end_of_line_from(&self, start: usize) -> (usize, usize) {
        let rest = &self.source[start..];
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let length = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        (start + end, (start + end + length).min(self.source.len()))
    }

    fn skip_comment(&mut self) {
        while self.at < self.source.len() && !matches!(self.peek(0), b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn end_of_line(&mut self) {
        if self.peek(0) == b'\r' && self.peek(1) == b'\n' {
            self.step();
        }
        self.step();
    }

    /// Steps over one token. Whether it is a string; `None` if it does not end or closes what is not open.
    fn token(&mut self, brackets: &mut Vec<u8>) -> Option<bool> {
        match self.peek(0) {
            b'"' | b'\'' => self.string(&[], 0).map(|()| true),
            byte if is_word(byte) => self.word(),
            byte @ (b'(' | b'[' | b'{') => {
                brackets.push(byte);
                self.at += 1;
                Some(false)
            }
            byte @ (b')' | b']' | b'}') => {
                let open = brackets.pop()?;
                self.at += 1;
                matches!((open, byte), (b'(', b')') | (b'[', b']') | (b'{', b'}')).then_some(false)
            }
            b'\\' => None,
            _ => {
                self.at += 1;
                Some(false)
            }
        }
    }

    /// Steps over an identifier or a number, and the string of which it is the prefix.
    fn word(&mut self) -> Option<bool> {
        let start = self.at;
        while is_word(self.peek(0)) {
            self.at += 1;
        }
        let word = &self.source[start..self.at];
        let prefix = word.to_ascii_lowercase();
        let is_prefix = prefix.len() <= 2 && prefix.iter().all(|byte| b"rbuft".contains(byte));
        if is_prefix && matches!(self.peek(0), b'"' | b'\'') {
            return self.string(&prefix, 0).map(|()| !prefix.contains(&b'b') && !is_formatted(&prefix));
        }
        self.words.push(String::from_utf8_lossy(word).into_owned());
        Some(false)
    }

    /// Steps over a string that begins here, after its prefix.
    fn string(&mut self, prefix: &[u8], depth: usize) -> Option<()> {
        let quote = self.peek(0);
        let length = if self.peek(1) == quote && self.peek(2) == quote { 3 } else { 1 };
        self.at += length;
        let start = self.at;
        let end = Quotes { quote, length };
        while !self.is_at(end) {
            match self.peek(0) {
                _ if self.at >= self.source.len() => return None,
                b'\n' | b'\r' if length == 1 => return None,
                b'\\' => self.escape(prefix),
                b'{' if is_formatted(prefix) => self.replacement(end, prefix, depth)?,
                _ => self.step(),
            }
        }
        if !is_formatted(prefix) {
            self.words_of_string(start);
        }
        self.at += length;
        Some(())
    }

    fn is_at(&self, end: Quotes) -> bool {
        self.at < self.source.len() && (0..end.length).all(|ahead| self.peek(ahead) == end.quote)
    }

    fn escape(&mut self, prefix: &[u8]) {
        self.at += 1;
        let is_name = self.peek(0) == b'N' && self.peek(1) == b'{' && !prefix.contains(&b'r');
        if is_formatted(prefix) && is_name {
            while self.at < self.source.len() && !matches!(self.peek(0), b'}' | b'\n') {
                self.at += 1;
            }
        } else if matches!(self.peek(0), b'\r' | b'\n') {
            self.end_of_line();
        } else if !(is_formatted(prefix) && matches!(self.peek(0), b'{' | b'}')) {
            self.step();
        }
    }

    /// Steps over a replacement field of an f-string, or over `{{`.
    fn replacement(&mut self, end: Quotes, prefix: &[u8], depth: usize) -> Option<()> {
        self.at += 1;
        if self.peek(0) == b'{' {
            self.at += 1;
            return Some(());
        }
        if depth > DEPTH_MAX {
            return None;
        }
        let mut brackets = Vec::new();
        loop {
            match self.peek(0) {
                _ if self.at >= self.source.len() => return None,
                b'}' if brackets.is_empty() => {
                    self.at += 1;
                    return Some(());
                }
                b':' if brackets.is_empty() => {
                    self.at += 1;
                    return self.format_specification(end, prefix, depth);
                }
                b'#' => self.skip_comment(),
                b'\n' | b'\r' => self.end_of_line(),
                b'"' | b'\'' => self.string(&[], depth + 1)?,
                byte if is_word(byte) => self.word_in_field(depth)?,
                b'\\' => self.step(),
                _ => self.token(&mut brackets).map(|_| ())?,
            }
        }
    }

    fn word_in_field(&mut self, depth: usize) -> Option<()> {
        let start = self.at;
        while is_word(self.peek(0)) {
            self.at += 1;
        }
        let prefix = self.source[start..self.at].to_ascii_lowercase();
        if prefix.len() <= 2 && matches!(self.peek(0), b'"' | b'\'') {
            return self.string(&prefix, depth + 1);
        }
        self.words.push(String::from_utf8_lossy(&self.source[start..self.at]).into_owned());
        Some(())
    }

    /// Steps over what follows the colon of a replacement field, up to its end.
    fn format_specification(&mut self, end: Quotes, prefix: &[u8], depth: usize) -> Option<()> {
        loop {
            match self.peek(0) {
                _ if self.at >= self.source.len() || self.is_at(end) => return None,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                b'{' => self.replacement(end, prefix, depth + 1)?,
                b'\\' => self.escape(prefix),
                _ => self.step(),
            }
        }
    }

    /// Takes over the identifiers of the string from `start` to here: names are often given as text.
    fn words_of_string(&mut self, start: usize) {
        if self.at - start > NAMES_BYTES_MAX {
            return;
        }
        let words = self.source[start..self.at].split(|byte| !is_word(*byte));
        let is_name = |word: &&[u8]| word.first().is_some_and(|byte| !byte.is_ascii_digit());
        let words = words.filter(is_name).map(|word| String::from_utf8_lossy(word).into_owned());
        self.words.extend(words);
    }
}

/// How a string ends.
#[derive(Clone, Copy)]
struct Quotes {
    quote: u8,
    length: usize,
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80
}

fn is_formatted(prefix: &[u8]) -> bool {
    prefix.iter().any(|byte| matches!(byte, b'f' | b't'))
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
