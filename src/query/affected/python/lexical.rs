//! The lexical structure of Python source: its logical lines, with the physical lines and names in them.
//!
//! Brackets, strings and comments are as the language reference defines them (section "Lexical analysis"; for
//! f-strings PEP 701, which takes the older ones in). What does not end is refused, since a test must not be
//! missed because a line was taken for part of a string. (The scanner of `html::statements` is another one
//! since it must give some answer for any text, and tells what a statement is.)

/// Longest string that may hold names, in bytes; what is longer is prose.
const NAMES_BYTES_MAX: usize = 64;

/// How deep strings may stand in f-strings.
const DEPTH_MAX: usize = 100;

/// What the parser sees as one line.
#[derive(Debug, Default)]
pub(super) struct LogicalLine {
    /// Columns before it; a tabulator goes to the next multiple of 8.
    pub(super) indent: usize,
    /// Identifiers and keywords, also those in strings, in their order.
    pub(super) words: Vec<String>,
    /// The physical lines: number and text.
    pub(super) texts: Vec<(u32, Vec<u8>)>,
    pub(super) is_decorator: bool,
    /// Whether it begins with a string, as docstrings do.
    pub(super) is_string: bool,
    /// Whether it ends with a colon.
    pub(super) is_suite_below: bool,
}

/// The logical lines of `source`; `None` if a bracket or a string does not end.
pub(super) fn logical_lines(source: &[u8]) -> Option<Vec<LogicalLine>> {
    let mut scanner =
        Scanner { source, at: 0, line: 1, words: Vec::new(), text_start: 0, has_code: false };
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
    /// Where the text of the physical line begins that is not in a logical line yet.
    text_start: usize,
    /// Whether there is code in that text.
    has_code: bool,
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
        (self.text_start, self.has_code) = (self.at, false);
        let mut line = LogicalLine { indent: self.indentation(), ..LogicalLine::default() };
        line.is_decorator = self.peek(0) == b'@';
        let mut brackets = Vec::new();
        let mut is_begun = false;
        loop {
            match self.peek(0) {
                _ if self.at >= self.source.len() && !brackets.is_empty() => return None,
                _ if self.at >= self.source.len() => {
                    self.end_text(&mut line);
                    break;
                }
                b'#' => {
                    self.end_text(&mut line);
                    self.skip_comment();
                }
                b'\n' | b'\r' => {
                    self.next_physical_line(&mut line);
                    if brackets.is_empty() {
                        break;
                    }
                }
                b'\\' if matches!(self.peek(1), b'\n' | b'\r') => {
                    self.at += 1;
                    self.next_physical_line(&mut line);
                }
                b' ' | b'\t' | b'\x0c' => self.at += 1,
                byte => {
                    let number = self.line;
                    let is_string = self.token(&mut brackets)?;
                    line.is_string |= is_string && !is_begun;
                    is_begun |= byte != b'(';
                    line.is_suite_below = byte == b':' && brackets.is_empty();
                    self.has_code = true;
                    self.take_whole_lines(number, &mut line);
                }
            }
        }
        line.words = std::mem::take(&mut self.words);
        Some((!line.texts.is_empty()).then_some(line))
    }

    /// What there is of code on the present physical line, up to here, is a text of `line`.
    fn end_text(&mut self, line: &mut LogicalLine) {
        if std::mem::take(&mut self.has_code) {
            let text = self.source[self.text_start..self.at].trim_ascii_end();
            line.texts.push((self.line, text.to_vec()));
        }
    }

    fn next_physical_line(&mut self, line: &mut LogicalLine) {
        self.end_text(line);
        self.end_of_line();
        self.text_start = self.at;
    }

    /// After a string that began on line `number`, perhaps an earlier one: those before its last are whole.
    fn take_whole_lines(&mut self, number: u32, line: &mut LogicalLine) {
        for whole in number..self.line {
            let (end, next) = self.end_of_line_from(self.text_start);
            line.texts.push((whole, self.source[self.text_start..end].to_vec()));
            self.text_start = next;
        }
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
