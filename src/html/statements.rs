//! Which lines of a Python source are statements that could run: so that what did not run can be shown.
//!
//! Only the lexical structure is looked at, after the Python language reference, chapter 2: strings,
//! brackets, comments and joined lines make logical lines; a logical line is a statement, unless no
//! bytecode comes from it (`else:`, `finally:`, `global`, `nonlocal`, docstrings). As in coverage.py, a
//! comment `pragma: no cover` takes out its statement, and the whole suite of a header. What a compiler
//! would optimise away is not known here: coverage.py's own report is the word on the last line.

/// How a logical line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It can run.
    Statement,
    /// It can run and goes one of several ways: `if`, `elif`, `while`, `for`, `case`.
    Branch,
    /// Only an annotation (`x: int`): in a function no code comes from it, elsewhere some does.
    Annotation,
    /// No code comes from it.
    NoCode,
    /// Taken out by `pragma: no cover`.
    Excluded,
}

/// A logical line: from its first token's line to its last one's, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogicalLine {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) kind: Kind,
}

/// The logical lines of `source`, in order. Any text gives some answer.
pub(super) fn logical_lines(source: &str) -> Vec<LogicalLine> {
    let raw = Scanner::new(source).run();
    let mut excluded = vec![false; raw.len()];
    let mut suite = None;
    for (at, line) in raw.iter().enumerate() {
        if suite.is_some_and(|indent| line.indent <= indent) {
            suite = None;
        }
        let is_decorated_so = at > 0 && excluded[at - 1] && raw[at - 1].word == "@";
        let starts = line.is_taken_out() || (is_decorated_so && raw[at - 1].indent == line.indent);
        if suite.is_none() && starts && line.is_header {
            suite = Some(line.indent);
        }
        excluded[at] = starts || suite.is_some();
        if excluded[at] {
            let above = (0..at).rev().take_while(|above| raw[*above].is_decorator_of(line));
            above.for_each(|above| excluded[above] = true);
        }
    }
    let line = |(line, is_excluded): (&RawLine<'_>, bool)| {
        let kind = if is_excluded { Kind::Excluded } else { line.kind() };
        LogicalLine { first: line.first, last: line.last, kind }
    };
    raw.iter().zip(excluded).map(line).collect()
}

/// Words that stand before a colon, or with a `lambda`, and so begin no annotation.
const BEFORE_COLONS: [&str; 18] = [
    "if", "elif", "else", "while", "for", "try", "except", "finally", "with", "def", "class", "async",
    "match", "case", "return", "yield", "assert", "lambda",
];

/// A logical line as it was read.
struct RawLine<'source> {
    first: u32,
    last: u32,
    indent: u32,
    /// The keyword or name it begins with, `@` of a decorator, or nothing.
    word: &'source str,
    /// Its code, with strings and comments.
    text: &'source str,
    is_only_strings: bool,
    is_header: bool,
    has_pragma: bool,
    /// Outside of brackets.
    has_colon: bool,
    has_equals: bool,
}

impl RawLine<'_> {
    /// What coverage.py's default patterns match: the pragma, code for type checkers, bodies left out.
    fn is_taken_out(&self) -> bool {
        let is_stub = matches!(self.word, "def" | "async") && self.text.ends_with(": ...");
        let for_types = ["if TYPE_CHECKING:", "if typing.TYPE_CHECKING:"];
        self.has_pragma || is_stub || self.text == "..." || for_types.contains(&self.text)
    }

    fn is_decorator_of(&self, line: &RawLine<'_>) -> bool {
        self.word == "@"
            && self.indent == line.indent
            && matches!(line.word, "def" | "class" | "async" | "@")
    }

    fn is_annotation(&self) -> bool {
        self.has_colon && !self.has_equals && !self.is_header && !BEFORE_COLONS.contains(&self.word)
    }

    fn kind(&self) -> Kind {
        match self.word {
            "else" | "finally" if self.is_header => Kind::NoCode,
            "global" | "nonlocal" => Kind::NoCode,
            _ if self.is_only_strings => Kind::NoCode,
            _ if self.is_annotation() => Kind::Annotation,
            "if" | "elif" | "for" => Kind::Branch,
            "while" if !is_always(self.text, "while") => Kind::Branch,
            "async" if self.text["async".len()..].trim_start().starts_with("for ") => Kind::Branch,
            "case" if self.is_header && !is_wildcard(self.text) => Kind::Branch,
            _ => Kind::Statement,
        }
    }
}

/// Whether the condition after `keyword` is a constant that holds.
fn is_always(text: &str, keyword: &str) -> bool {
    let condition = text[keyword.len()..].trim_start();
    ["True", "1"]
        .iter()
        .any(|word| condition.strip_prefix(word).is_some_and(|rest| rest.trim_start().starts_with(':')))
}

fn is_wildcard(text: &str) -> bool {
    let pattern = text["case".len()..].trim_start();
    pattern.strip_prefix('_').is_some_and(|rest| rest.trim_start().starts_with(':'))
}

/// Where the scanner stands: what was opened and is not closed yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Bracket,
    Text {
        quote: u8,
        is_triple: bool,
        is_formatted: bool,
    },
    /// The expression in the braces of a formatted string.
    Field,
    /// The format behind the colon of a field.
    Format,
}

/// Goes through a source once, byte by byte: all that matters is ASCII.
struct Scanner<'source> {
    source: &'source str,
    at: usize,
    line: u32,
    open: Vec<Open>,
    found: Vec<RawLine<'source>>,
    /// Of the logical line that is being read: where it begins, in bytes and lines, and its indentation.
    start: Option<(usize, u32, u32)>,
    /// Behind its last token: the byte and the line.
    end: (usize, u32),
    /// Something else than strings was seen in it.
    has_code: bool,
    last_code: u8,
    has_pragma: bool,
    has_colon: bool,
    has_equals: bool,
}

impl<'source> Scanner<'source> {
    fn new(source: &'source str) -> Scanner<'source> {
        let at = if source.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Scanner {
            source,
            at,
            line: 1,
            open: Vec::new(),
            found: Vec::new(),
            start: None,
            end: (0, 1),
            has_code: false,
            last_code: 0,
            has_pragma: false,
            has_colon: false,
            has_equals: false,
        }
    }

    fn run(mut self) -> Vec<RawLine<'source>> {
        while let Some(byte) = self.peek(0) {
            match self.open.last() {
                Some(Open::Text { .. } | Open::Format) => self.text(byte),
                _ => self.code(byte),
            }
        }
        self.end_logical_line();
        self.found
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.as_bytes().get(self.at + ahead).copied()
    }

    /// Goes on by `count` bytes, none of which but the first may end a line.
    fn advance(&mut self, count: usize) {
        if self.peek(0) == Some(b'\n') {
            self.line += 1;
        }
        self.at = (self.at + count).min(self.source.len());
    }

    fn token(&mut self, count: usize) {
        if self.start.is_none() {
            self.start = Some((self.at, self.line, self.indent()));
        }
        self.end = (self.at + count, self.line);
        self.advance(count);
    }

    /// The columns before the present place: a tab goes to the next multiple of 8.
    fn indent(&self) -> u32 {
        let line = self.source[..self.at].rsplit('\n').next().unwrap_or_default();
        line.bytes()
            .fold(0, |column, byte| if byte == b'\t' { (column / 8 + 1) * 8 } else { column + 1 })
    }

    fn code(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                if self.open.is_empty() {
                    self.end_logical_line();
                }
                self.advance(1);
            }
            b' ' | b'\t' | b'\r' | b'\x0c' => self.advance(1),
            b'\\' if self.peek(1) == Some(b'\n') => {
                self.advance(1);
                self.advance(1);
            }
            b'#' => self.comment(),
            b'"' | b'\'' => self.begin_text(0),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => self.word(),
            _ => self.sign(byte),
        }
    }

    fn comment(&mut self) {
        let rest = &self.source[self.at..];
        let comment = rest.split('\n').next().unwrap_or_default();
        self.has_pragma |= is_pragma(comment);
        self.advance(comment.len());
    }

    fn word(&mut self) {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
        let length = self.source.as_bytes()[self.at..].iter().take_while(|byte| is_part(byte)).count();
        if length <= 2 && matches!(self.peek(length), Some(b'"' | b'\'')) {
            return self.begin_text(length);
        }
        self.has_code = true;
        self.last_code = b'a';
        self.token(length);
    }

    fn sign(&mut self, byte: u8) {
        self.has_code = true;
        self.last_code = byte;
        let top = self.open.last().copied();
        self.has_colon |= top.is_none() && byte == b':';
        self.has_equals |= top.is_none() && byte == b'=';
        self.token(1);
        match byte {
            b'(' | b'[' | b'{' => self.open.push(Open::Bracket),
            b')' | b']' | b'}' => drop(self.open.pop()),
            b':' if top == Some(Open::Field) => self.open.push(Open::Format),
            _ => {}
        }
    }

    /// Begins a string whose prefix is `prefix` bytes long.
    fn begin_text(&mut self, prefix: usize) {
        let letters = &self.source.as_bytes()[self.at..self.at + prefix];
        let is_formatted = letters.iter().any(|letter| b"fFtT".contains(letter));
        let Some(quote) = self.peek(prefix) else { return };
        let is_triple = self.peek(prefix + 1) == Some(quote) && self.peek(prefix + 2) == Some(quote);
        self.token(prefix + if is_triple { 3 } else { 1 });
        self.open.push(Open::Text { quote, is_triple, is_formatted });
    }

    /// In a string, or in the format of one of its fields.
    fn text(&mut self, byte: u8) {
        let is_text = |(_, open): &(usize, Open)| matches!(open, Open::Text { .. });
        let enclosing = self.open.iter().copied().enumerate().rev().find(is_text);
        let Some((position, Open::Text { quote, is_triple, is_formatted })) = enclosing else {
            return self.token(1);
        };
        let closes = byte == quote
            && (!is_triple || (self.peek(1) == Some(quote) && self.peek(2) == Some(quote)));
        let in_format = self.open.last() == Some(&Open::Format);
        match byte {
            b'\\' if self.peek(1) == Some(b'\n') => {
                self.token(1);
                self.token(1);
            }
            b'\\' if matches!(self.peek(1), Some(b'\\' | b'"' | b'\'')) => self.token(2),
            b'\n' if !is_triple => self.open.truncate(position), // never closed
            _ if closes => {
                self.token(if is_triple { 3 } else { 1 });
                self.open.truncate(position);
            }
            b'{' if is_formatted && self.peek(1) == Some(b'{') && !in_format => self.token(2),
            b'{' if is_formatted => {
                self.token(1);
                self.open.push(Open::Field);
            }
            b'}' if in_format => {
                self.token(1);
                self.open.truncate(self.open.len() - 2);
            }
            _ => self.token(1),
        }
    }

    fn end_logical_line(&mut self) {
        let has_pragma = std::mem::take(&mut self.has_pragma);
        let is_only_strings = !std::mem::take(&mut self.has_code);
        let has_colon = std::mem::take(&mut self.has_colon);
        let has_equals = std::mem::take(&mut self.has_equals);
        let Some((start, first, indent)) = self.start.take() else { return };
        let text = &self.source[start..self.end.0];
        let is_word = |char: char| char.is_alphanumeric() || char == '_';
        let length = text.find(|char| !is_word(char)).unwrap_or(text.len());
        let word = if text.starts_with('@') { "@" } else { &text[..length] };
        let is_header = !is_only_strings && self.last_code == b':' && text.ends_with(':');
        let last = self.end.1;
        self.found.push(RawLine {
            first,
            last,
            indent,
            word,
            text,
            is_only_strings,
            is_header,
            has_pragma,
            has_colon,
            has_equals,
        });
    }
}

/// Whether `comment` takes its statement out, by coverage.py's default pattern
/// `#\s*(pragma|PRAGMA)[:\s]?\s*(no|NO)\s*(cover|COVER)`.
fn is_pragma(comment: &str) -> bool {
    comment.split('#').skip(1).any(|text| {
        let after = |text: &str, words: [&str; 2]| {
            let text = text.trim_start();
            words.iter().find_map(|word| text.strip_prefix(word)).map(str::to_owned)
        };
        after(text, ["pragma", "PRAGMA"])
            .map(|rest| rest.strip_prefix(':').map_or(rest.clone(), str::to_owned))
            .and_then(|rest| after(&rest, ["no", "NO"]))
            .and_then(|rest| after(&rest, ["cover", "COVER"]))
            .is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(source: &str) -> Vec<(u32, u32, Kind)> {
        logical_lines(source).iter().map(|line| (line.first, line.last, line.kind)).collect()
    }

    #[test]
    fn a_statement_may_take_several_lines() {
        use Kind::{Branch, NoCode, Statement};
        let source = "\"\"\"What it\nis for.\"\"\"\nx = [1,  # one\n\n     2]\ny = 1 + \\\n    2\n\
                      if x and (\n    y):\n    pass\nelse:\n    f'''{x[\"a\"]:>{y}}\n'''.strip()\n";
        let expected = [
            (1, 2, NoCode),
            (3, 5, Statement),
            (6, 7, Statement),
            (8, 9, Branch),
            (10, 10, Statement),
            (11, 11, NoCode),
            (12, 13, Statement),
        ];
        assert_eq!(found(source), expected);
    }

    #[test]
    fn quotes_in_fields_of_formatted_strings_do_not_end_them() {
        for text in ["f\"{x[\"a\"]}\"", "f'{x:%H\"%M}'", "rf'\\{x}'", "f'{{\"'", "f'{x!r:{y}}{z}'"] {
            let source = format!("a = {text}\nb = 1\n");
            let expected = [(1, 1, Kind::Statement), (2, 2, Kind::Statement)];
            assert_eq!(found(&source), expected, "{text}");
        }
    }

    #[test]
    fn a_pragma_takes_out_its_statement_and_the_suite_of_a_header() {
        use Kind::{Excluded, Statement};
        let source = "a = 1  # pragma: no cover\n@b  # PRAGMA NO COVER\ndef f():\n    # x\n    c\n\n\
                      d\nclass E:  # noqa # pragma: no cover\n  def g():\n    h\ni = '# pragma: no cover'\n";
        let kinds: Vec<_> = logical_lines(source).iter().map(|line| (line.first, line.kind)).collect();
        let expected = [
            (1, Excluded),
            (2, Excluded),
            (3, Excluded),
            (5, Excluded),
            (7, Statement),
            (8, Excluded),
            (9, Excluded),
            (10, Excluded),
            (11, Statement),
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn annotations_and_overloads_are_no_statements_of_their_own() {
        let kinds =
            |source: &str| logical_lines(source).iter().map(|line| line.kind).collect::<Vec<_>>();
        assert_eq!(kinds("x: int\n"), [Kind::Annotation]);
        assert_eq!(kinds("self.x[1]: dict[str,\n int]\n"), [Kind::Annotation]);
        for source in ["x: int = 1\n", "with a: b\n", "x = lambda: 1\n", "f(lambda: 1)\n", "x[1:2]\n"] {
            assert_eq!(kinds(source), [Kind::Statement], "{source}");
        }
        let overload = "@a\n@typing.overload\ndef f(x: int) -> int: ...\n@a\ndef f(x):\n    ...\n";
        use Kind::{Excluded, Statement};
        assert_eq!(kinds(overload), [Excluded, Excluded, Excluded, Statement, Statement, Excluded]);
    }

    #[test]
    fn loops_without_a_condition_are_no_branches() {
        let kind = |source: &str| logical_lines(source)[0].kind;
        assert_eq!(kind("while True:\n"), Kind::Statement);
        assert_eq!(kind("while Truely:\n"), Kind::Branch);
        assert_eq!(kind("async for x in y:\n"), Kind::Branch);
        assert_eq!(kind("async def f():\n"), Kind::Statement);
        assert_eq!(kind("case _:\n"), Kind::Statement);
        assert_eq!(kind("case = 3\n"), Kind::Statement);
        assert_eq!(kind("case [_, 1]:\n"), Kind::Branch);
    }

    proptest! {
        #[test]
        fn any_text_gives_lines_in_order(source in "[a-f\"'\\\\{}()#:\n \t\u{e9}]{0,80}") {
            let lines = logical_lines(&source);
            prop_assert!(lines.iter().all(|line| 1 <= line.first && line.first <= line.last));
            prop_assert!(lines.windows(2).all(|pair| pair[0].last < pair[1].first));
            let count = source.split('\n').count() as u32;
            prop_assert!(lines.iter().all(|line| line.last <= count));
        }
    }
}
