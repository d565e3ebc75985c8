//! The answer of `hitlog who` in the words of other programs: editors that speak the Language Server
//! Protocol (3.17: `CodeLens`, `Range`, `DocumentUri`), and GitHub's workflow commands (`::notice`).

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::wording::{counted, duration, shown_path};
use crate::query::{Lines, Source, Who, WhoTest};

/// One code lens for each line that ran: its title is the number of tests and the time they take; the
/// argument of its command names them.
pub(super) fn lsp(who: &Who, source: &Source, out: &mut dyn Write) -> io::Result<()> {
    let uri = uri(&who.path);
    let lenses: Vec<Value> = who.lines.iter().map(|line| lens(who, source, &uri, line)).collect();
    super::write_json(&lenses, out)
}

fn lens(who: &Who, source: &Source, uri: &str, line: u32) -> Value {
    let tests = tests_of(who, line);
    let named = tests.iter().map(|test| json!({"test": test.test, "durationNs": test.duration_ns}));
    let argument = json!({"uri": uri, "line": line - 1, "tests": named.collect::<Vec<_>>()});
    // The protocol counts lines and UTF-16 units from 0.
    let length = source.line(line).map_or(0, |text| text.encode_utf16().count());
    let position = |character: usize| json!({"line": line - 1, "character": character});
    json!({
        "range": {"start": position(0), "end": position(length)},
        "command": {"title": title(&tests), "command": "hitlog.showTests", "arguments": [argument]},
    })
}

/// One annotation for each run of lines that the same tests ran; a warning where none did.
pub(super) fn github(who: &Who, out: &mut dyn Write) -> io::Result<()> {
    let place = |first: u32, last: u32| {
        format!("file={},line={first},endLine={last}", property(&shown_path(&who.path)))
    };
    if who.tests.is_empty() {
        let (first, last) = match &who.asked {
            Some(asked) => (*asked.start(), *asked.end()),
            None => (1, 1),
        };
        return writeln!(out, "::warning {},title=no tests::No test ran this.", place(first, last));
    }
    for (first, last, tests) in pieces(who) {
        let named = tests.iter().map(|test| match test.duration_ns {
            Some(ns) => format!("{} ({})", test.test, duration(ns)),
            None => test.test.clone(),
        });
        let message = data(&named.collect::<Vec<_>>().join("\n"));
        let title = property(&title(&tests));
        writeln!(out, "::notice {},title={title}::{message}", place(first, last))?;
    }
    Ok(())
}

/// Lines that follow each other and were run by the same tests, of which there are some.
fn pieces(who: &Who) -> Vec<(u32, u32, Vec<&WhoTest>)> {
    let mut pieces: Vec<(u32, u32, Vec<&WhoTest>)> = Vec::new();
    for line in who.lines.iter() {
        let tests = tests_of(who, line);
        match pieces.last_mut() {
            Some((_, last, of)) if *last + 1 == line && *of == tests => *last = line,
            _ if tests.is_empty() => {}
            _ => pieces.push((line, line, tests)),
        }
    }
    pieces
}

fn tests_of(who: &Who, line: u32) -> Vec<&WhoTest> {
    let has_line = |lines: &Lines| lines.contains(line);
    who.tests.iter().filter(|test| has_line(&test.lines)).collect()
}

fn title(tests: &[&WhoTest]) -> String {
    let known = tests.iter().filter_map(|test| test.duration_ns).fold(0, u64::saturating_add);
    match known {
        0 => counted(tests.len() as u64, "test"),
        ns => format!("{}, {}", counted(tests.len() as u64, "test"), duration(ns)),
    }
}

/// The file's URI, with every byte escaped that RFC 3986 does not leave as it is in a path.
fn uri(path: &str) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| Path::new(path).to_owned());
    let escaped = path.to_string_lossy().bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            byte => text.push_str(&format!("%{byte:02X}")),
        }
        text
    });
    format!("file://{escaped}")
}

/// Text behind the `::` of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_workflow_command_is_escaped() {
        assert_eq!(data("100%\nb:c,d"), "100%25%0Ab:c,d");
        assert_eq!(property("a:b,c\r"), "a%3Ab%2Cc%0D");
    }

    #[test]
    fn a_path_becomes_a_uri() {
        assert_eq!(uri("/src/a b/\u{fc}#1.py"), "file:///src/a%20b/%C3%BC%231.py");
    }
}
