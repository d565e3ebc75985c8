//! What a path of another machine is on this one.
//!
//! The rules are those of coverage.py's `[paths]`: the beginning of a path is replaced, whole parts of it, and
//! `*` stands for anything in one part, `**` for any number of parts, `*/` at the beginning, too; `?` for one
//! character.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Replaces the beginning of paths.
///
/// ```
/// use hitlog::compactor::PathMap;
///
/// let map = PathMap::new("/app", "/home/me/shop");
/// assert_eq!(map.apply("/app/cart.py").as_deref(), Some("/home/me/shop/cart.py"));
/// assert_eq!(map.apply("/apple/cart.py"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathMap {
    /// What the beginning must look like; ends where a part of the path ends.
    old: Vec<Token>,
    /// Absolute, without `/` at the end.
    new: String,
    /// Whether the map holds only for files that are there under their new path.
    only_existing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Any number of parts, each with its `/`.
    Parts,
    /// Anything but `/`.
    InPart,
    /// One character but `/`.
    One,
    Byte(u8),
}

impl PathMap {
    /// What begins with the folder `old`, word for word, begins with `new` instead, a path of the current
    /// folder if it is relative.
    #[must_use]
    pub fn new(old: &str, new: &str) -> PathMap {
        let old = old.trim_end_matches('/').bytes().map(Token::Byte).chain([Token::Byte(b'/')]);
        PathMap { old: old.collect(), new: absolute(Path::new(""), new), only_existing: false }
    }

    /// As a line of coverage.py's `[paths]` says that stands in the folder `base`. Holds only for files that
    /// are there under their new path.
    #[must_use]
    pub fn from_pattern(base: &Path, pattern: &str, new: &str) -> PathMap {
        let pattern = pattern.trim_end_matches('/');
        let pattern = match pattern.starts_with(['*', '/']) {
            true => pattern.to_owned(),
            false => absolute(base, pattern),
        };
        let old = tokens(&format!("{pattern}/"));
        PathMap { old, new: absolute(base, new), only_existing: true }
    }

    /// The new path of `path`, if this map is for it.
    #[must_use]
    pub fn apply(&self, path: &str) -> Option<String> {
        let end = matched(&self.old, path.as_bytes())?;
        let new = format!("{}/{}", self.new, path.get(end..)?);
        (!self.only_existing || fs::exists(&new).unwrap_or(false)).then_some(new)
    }
}

fn absolute(base: &Path, path: &str) -> String {
    let path = std::path::absolute(base.join(path)).unwrap_or_else(|_| base.join(path));
    let mut parts = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.to_string_lossy().trim_end_matches('/').to_owned()
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = pattern.as_bytes();
    while let Some(first) = rest.first() {
        let stars = rest.iter().take_while(|byte| **byte == b'*').count();
        let begins_part = tokens.last().is_none_or(|token| *token == Token::Byte(b'/'));
        let is_any_depth = begins_part && (stars > 1 || (stars == 1 && tokens.is_empty()));
        match first {
            b'*' if is_any_depth && rest.get(stars) == Some(&b'/') => {
                tokens.push(Token::Parts);
                rest = &rest[stars + 1..];
            }
            b'*' => {
                tokens.push(Token::InPart);
                rest = &rest[stars..];
            }
            byte => {
                tokens.push(if *byte == b'?' { Token::One } else { Token::Byte(*byte) });
                rest = &rest[1..];
            }
        }
    }
    tokens
}

/// Where the longest beginning of `path` ends that the tokens describe. All ways are followed at once, so
/// that no pattern takes long.
fn matched(tokens: &[Token], path: &[u8]) -> Option<usize> {
    // For each position in the path: whether the tokens so far can end there.
    let mut ends = vec![false; path.len() + 1];
    ends[0] = true;
    for token in tokens {
        let mut next = vec![false; path.len() + 1];
        let mut is_within = false;
        for at in 0..=path.len() {
            is_within |= ends[at];
            match token {
                Token::Byte(byte) => next[at] = at > 0 && ends[at - 1] && path[at - 1] == *byte,
                Token::One => next[at] = at > 0 && ends[at - 1] && path[at - 1] != b'/',
                Token::InPart => {
                    is_within = ends[at] || (is_within && at > 0 && path[at - 1] != b'/');
                    next[at] = is_within;
                }
                Token::Parts => next[at] = ends[at] || (is_within && at > 0 && path[at - 1] == b'/'),
            }
        }
        ends = next;
    }
    ends.iter().rposition(|is_end| *is_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(pattern: &str, path: &str) -> Option<usize> {
        matched(&tokens(pattern), path.as_bytes())
    }

    #[test]
    fn patterns_are_those_of_coverage_py() {
        assert_eq!(end("/ci/*/src/", "/ci/build7/src/a.py"), Some(15));
        assert_eq!(end("/ci/*/src/", "/ci/a/b/src/a.py"), None);
        assert_eq!(end("/ci/**/src/", "/ci/a/b/src/a.py"), Some(12));
        assert_eq!(end("*/src/", "/ci/a/src/b/src/a.py"), Some(16), "the longest");
        assert_eq!(end("*/src/", "src/a.py"), Some(4));
        assert_eq!(end("/ci/b?/", "/ci/b1/a.py"), Some(7));
        assert_eq!(end("/ci/b?/", "/ci/b/a.py"), None);
        assert_eq!(end("/ci/", "/cia/a.py"), None);
        assert_eq!(end("/ci/x*y*/", "/ci/xaybyz/a"), Some(11));
        let hostile = "a*".repeat(300) + "b/";
        assert_eq!(end(&hostile, &"a".repeat(3000)), None);
    }

    #[test]
    fn a_pattern_holds_only_for_files_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/a.py"), "").unwrap();
        let map = PathMap::from_pattern(folder.path(), "*/site-packages/shop", "src");
        let expected = folder.path().join("src/a.py").to_string_lossy().into_owned();
        assert_eq!(map.apply("/usr/lib/site-packages/shop/a.py"), Some(expected));
        assert_eq!(map.apply("/usr/lib/site-packages/shop/gone.py"), None);
        let here = std::env::current_dir().unwrap();
        let expected = here.join("x/a.py").to_string_lossy().into_owned();
        assert_eq!(PathMap::new("/app/", "./y/../x").apply("/app/a.py"), Some(expected));
        assert_eq!(PathMap::new("src", "/new").apply("src/a.py").as_deref(), Some("/new/a.py"));
    }
}
