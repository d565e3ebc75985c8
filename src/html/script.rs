//! Values as scripts that hand them to the page: `hitlog.deliver("file-3", {...});`
//!
//! Scripts are the only thing that a page opened from the file system can load. Names and source texts are
//! whatever somebody recorded, so a value is JSON (which escapes quotes and control characters), in which
//! `<` and the two line ends that only JavaScript knows are escaped as well. It holds nothing but data.

use serde::{Serialize, Serializer};

/// The script that delivers `value` under `name`, which consists of letters, digits and hyphens.
pub(super) fn deliver(name: &str, value: &impl Serialize) -> String {
    // Only maps whose keys are no strings, and our own serializers, could fail: there are none.
    let json = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    let mut script = format!("hitlog.deliver(\"{name}\", ");
    for part in json.split_inclusive(['<', '\u{2028}', '\u{2029}']) {
        let last =
            part.chars().next_back().filter(|last| matches!(last, '<' | '\u{2028}' | '\u{2029}'));
        match last {
            Some(last) => {
                script.push_str(&part[..part.len() - last.len_utf8()]);
                script.push_str(&format!("\\u{:04x}", u32::from(last)));
            }
            None => script.push_str(part),
        }
    }
    script.push_str(");\n");
    script
}

/// A list of bytes, each in base64 with padding (RFC 4648, section 4), as the page's `atob` reads it.
pub(super) fn base64_list<S: Serializer>(list: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(|bytes| encoded(bytes)))
}

fn encoded(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |position: usize| u32::from(group.get(position).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let has_data = digit <= group.len();
            let value = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if has_data { char::from(DIGITS[value]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let examples =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (bytes, expected) in examples {
            assert_eq!(encoded(bytes.as_bytes()), expected);
        }
        assert_eq!(encoded(&[0xFF, 0xFB, 0xF0]), "//vw");
    }

    #[test]
    fn hostile_text_stays_a_string() {
        let hostile = "</script><script>alert(1)</script>\u{2028}\u{2029}\"'`\\\0\u{1b}\u{202e}<!--é\n";
        let script = deliver("index", &[hostile]);
        assert!(!script.contains('<'), "{script}");
        let is_break = |char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}');
        assert!(!script.trim_end().contains(is_break), "{script}");
        let json = script
            .strip_prefix("hitlog.deliver(\"index\", ")
            .and_then(|rest| rest.strip_suffix(");\n"));
        let read: Vec<String> = serde_json::from_str(json.unwrap()).unwrap();
        assert_eq!(read, [hostile]);
    }
}
