//! File patterns as coverage.py reads them in `include` and `omit`, on bytes.
//!
//! `*` is anything within a name, `**/` any directories or none, `?` one character, `[abc]` one of
//! these; a pattern that begins with `*/` may begin anywhere, one that ends with `/*` goes on to the
//! end of the path, one without a slash matches a name in any directory. Matching is a walk over sets
//! of positions, so that its time is bounded by pattern times path, whatever the pattern.

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Glob(Vec<Token>);

#[derive(Clone, Debug)]
enum Token {
    Byte(u8),
    /// `?`
    NameByte,
    /// `*`
    NameBytes,
    /// `**/`: nothing, or anything up to and with a slash.
    Directories,
    /// A trailing `/*`, after its slash.
    Rest,
    Class {
        negated: bool,
        ranges: Vec<(u8, u8)>,
    },
}

impl Glob {
    /// Compiles `pattern`. One that is relative to a directory must have been made absolute before.
    pub fn new(pattern: &[u8]) -> Glob {
        let mut rest = pattern;
        let mut tokens = Vec::new();
        if !pattern.contains(&b'/') {
            tokens.push(Token::Directories);
        } else if let Some(after) = strip_leading_stars(pattern) {
            tokens.push(Token::Directories);
            rest = after;
        }
        while !rest.is_empty() {
            let (token, length) = next_token(rest);
            let ends = length == rest.len();
            if matches!(token, Token::NameBytes) && ends && follows_slash(pattern, rest) {
                tokens.push(Token::Rest);
            } else {
                tokens.push(token);
            }
            rest = &rest[length..];
        }
        Glob(tokens)
    }

    /// Whether the whole of `path` matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        let mut reached = vec![false; path.len() + 1];
        reached[0] = true;
        for token in &self.0 {
            reached = step(token, path, &reached);
        }
        reached[path.len()]
    }
}

fn strip_leading_stars(pattern: &[u8]) -> Option<&[u8]> {
    let stars = pattern.iter().take_while(|byte| **byte == b'*').count();
    (stars > 0 && pattern.get(stars) == Some(&b'/')).then(|| &pattern[stars + 1..])
}

fn follows_slash(pattern: &[u8], rest: &[u8]) -> bool {
    let start = pattern.len() - rest.len();
    start > 0 && pattern[start - 1] == b'/'
}

/// The first token of `rest`, which is not empty, and how many bytes it takes.
fn next_token(rest: &[u8]) -> (Token, usize) {
    match rest[0] {
        b'*' => {
            let stars = rest.iter().take_while(|byte| **byte == b'*').count();
            if stars > 1 && rest.get(stars) == Some(&b'/') {
                (Token::Directories, stars + 1)
            } else {
                (Token::NameBytes, stars)
            }
        }
        b'?' => (Token::NameByte, 1),
        b'[' => class(rest).unwrap_or((Token::Byte(b'['), 1)),
        byte => (Token::Byte(byte), 1),
    }
}

fn class(rest: &[u8]) -> Option<(Token, usize)> {
    let end = rest.iter().position(|byte| *byte == b']')?;
    let negated = rest.get(1) == Some(&b'^');
    let mut members = &rest[1 + usize::from(negated)..end];
    let mut ranges = Vec::new();
    while let [first, more @ ..] = members {
        members = match more {
            [b'-', last, after @ ..] => {
                ranges.push((*first, *last));
                after
            }
            _ => {
                ranges.push((*first, *first));
                more
            }
        };
    }
    Some((Token::Class { negated, ranges }, end + 1))
}

/// The positions in `path` that are reached when `token` is matched from those in `from`.
fn step(token: &Token, path: &[u8], from: &[bool]) -> Vec<bool> {
    let mut to = vec![false; from.len()];
    let mut running = false;
    for at in 0..from.len() {
        let before = at.checked_sub(1);
        to[at] = match token {
            Token::NameBytes => {
                running = from[at] || (running && before.is_some_and(|b| path[b] != b'/'));
                running
            }
            Token::Rest => {
                running |= from[at];
                running
            }
            Token::Directories => {
                let ends = before.is_some_and(|b| path[b] == b'/') && running;
                running |= from[at];
                from[at] || ends
            }
            one => before.is_some_and(|b| from[b] && is_one(one, path[b])),
        };
    }
    to
}

fn is_one(token: &Token, byte: u8) -> bool {
    match token {
        Token::Byte(wanted) => byte == *wanted,
        Token::NameByte => byte != b'/',
        Token::Class { negated, ranges } => {
            ranges.iter().any(|(first, last)| (*first..=*last).contains(&byte)) != *negated
        }
        Token::NameBytes | Token::Directories | Token::Rest => false,
    }
}
