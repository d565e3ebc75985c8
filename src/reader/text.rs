//! Names are bytes; people and JSON want text.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `bytes` as text: every byte that is not part of valid UTF-8 is shown as `\xNN`, as Python's
/// `bytes.decode("utf-8", "backslashreplace")` does.
///
/// ```
/// use hitlog::reader::escaped;
/// assert_eq!(escaped("süß.py".as_bytes()), "süß.py");
/// assert_eq!(escaped(b"caf\xE9.py"), r"caf\xe9.py");
/// ```
#[must_use]
pub fn escaped(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf8_is_shown_byte_by_byte() {
        assert_eq!(escaped(b"a\xE2\x82b"), r"a\xe2\x82b", "a character that was cut");
        assert_eq!(escaped(b"\xED\xA0\x80"), r"\xed\xa0\x80", "half of a surrogate pair");
        assert_eq!(escaped(b"\xF5\xFF"), r"\xf5\xff");
        assert_eq!(escaped(b"a\0\n"), "a\0\n");
    }
}
