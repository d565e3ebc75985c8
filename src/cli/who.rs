//! `hitlog who`: the tests that ran a line.

use std::io::{self, Write};
use std::num::IntErrorKind;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::wording::{counted, duration, grouped, one_line, shown_path};
use super::{DONE, Error, NEGATIVE, who_formats};
use crate::query::{self, Database, Source, Who, WhoTest};

const EXAMPLES: &str = "\
Examples:
  hitlog who src/shop/cart.py:88         the tests that ran line 88, and how long each takes
  hitlog who cart.py:80-95               any of these lines; the end of a path is enough
  hitlog who src/shop/cart.py --json     the tests of each line of a file, for a program
  hitlog who cart.py --format=lsp        code lenses with locations, for an editor
  hitlog who cart.py:88 --format=github  an annotation for a workflow of GitHub's
  hitlog who cart.py:88 --format=names | xargs -d '\\n' pytest

Exit codes: 0 a test ran it; 1 no test did; 2 no answer: the file is not known, or was not measured.";

/// Which tests ran this line?
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// A file, and a line or two; the path may be relative, absolute or the end of one
    #[arg(value_name = "FILE[:LINE[-LINE]]", value_parser = super::recorded_name())]
    place: String,

    /// The file to ask
    #[arg(long, value_name = "FILE", default_value = "hitlog.db")]
    db: PathBuf,

    /// How to answer
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    /// Answer in JSON; the same as --format=json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// The tests' names, one on a line, as pytest takes them
    Names,
    /// Code lenses of the Language Server Protocol
    Lsp,
    /// Workflow commands of GitHub's, which it shows as annotations
    Github,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Error> {
    let (path, asked) = parse(&arguments.place)?;
    if path.is_empty() {
        let reason = "name a file, as src/shop/cart.py:88";
        let value = format!("'{}'", arguments.place);
        return Err(Error::Argument { option: "FILE:LINE", value, reason });
    }
    let database = Database::open(&arguments.db).map_err(|source| Error::Query { source })?;
    let found = database.find_file(path).and_then(|file| {
        let source = Source::read(&database, file)?;
        Ok((query::who(&database, file, asked)?, source))
    });
    let (who, source) = found.map_err(|source| Error::Query { source })?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let format = if arguments.json { Format::Json } else { arguments.format };
    let printed = match format {
        Format::Text => text(&who, &source, &mut out),
        Format::Json => super::write_json(&who, &mut out),
        Format::Names => names(&who, &mut out),
        Format::Lsp => who_formats::lsp(&who, &source, &mut out),
        Format::Github => who_formats::github(&who, &mut out),
    };
    printed.and_then(|()| out.flush()).map_err(|source| Error::Stdout { source })?;
    Ok(if who.tests.is_empty() { NEGATIVE } else { DONE })
}

/// The path and the lines in `FILE`, `FILE:LINE` or `FILE:LINE-LINE`. A colon that no number follows belongs
/// to the path.
fn parse(place: &str) -> Result<(&str, Option<RangeInclusive<u32>>), Error> {
    let wrong = |reason| Error::Argument { option: "FILE:LINE", value: place.to_owned(), reason };
    let Some((path, lines)) = place.rsplit_once(':') else { return Ok((place, None)) };
    let (first, last) = lines.split_once('-').unwrap_or((lines, lines));
    if !lines.starts_with(|first: char| first.is_ascii_digit()) {
        return Ok((place, None));
    }
    // No file has as many lines as a number can tell: one that is larger is as good as the largest.
    let number = |digits: &str| match digits.parse::<u32>() {
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Ok(u32::MAX),
        number => number,
    };
    match (number(first), number(last)) {
        (Ok(0), _) => Err(wrong("lines are counted from 1")),
        (Ok(first), Ok(last)) if first <= last => Ok((path, Some(first..=last))),
        (Ok(_), Ok(_)) => Err(wrong("the second line comes before the first")),
        _ => Err(wrong("a line is a number; see `hitlog who --help`")),
    }
}

fn text(who: &Who, source: &Source, out: &mut dyn Write) -> io::Result<()> {
    heading(who, source, out)?;
    if who.tests.is_empty() {
        return writeln!(out, "{}", negative(who, source));
    }
    let names: Vec<String> = who.tests.iter().map(|test| one_line(&test.test)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (test, name) in who.tests.iter().zip(&names) {
        let time = test.duration_ns.map(duration).unwrap_or_default();
        let line = format!("  {name:width$}  {time:>9}{}", where_it_ran(test));
        writeln!(out, "{}", line.trim_end())?;
    }
    write!(out, "{}", counted(who.tests.len() as u64, "test"))?;
    if who.duration_ns() > 0 {
        write!(out, ", {}", duration(who.duration_ns()))?;
    }
    if !who.outside_tests.is_empty() {
        let lines = if who.outside_tests.len() == 1 { "line" } else { "lines" };
        write!(out, "; {lines} {} ran outside of tests, too", who.outside_tests)?;
    }
    writeln!(out)
}

fn where_it_ran(test: &WhoTest) -> &'static str {
    match test.in_children.len() {
        0 => "",
        lines if lines == test.lines.len() => "   (in a child process)",
        _ => "   (partly in a child process)",
    }
}

/// The place, and its source if it is one line.
fn heading(who: &Who, source: &Source, out: &mut dyn Write) -> io::Result<()> {
    let path = shown_path(&who.path);
    let changed = if source.is_changed() { "   (the file changed since)" } else { "" };
    match &who.asked {
        None => writeln!(out, "{path}{changed}"),
        Some(lines) if lines.start() != lines.end() => {
            writeln!(out, "{path}:{}-{}{changed}", lines.start(), lines.end())
        }
        Some(lines) => match source.line(*lines.start()) {
            Some(text) => {
                writeln!(out, "{path}:{}    {}{changed}", lines.start(), one_line(text.trim()))
            }
            None => writeln!(out, "{path}:{}{changed}", lines.start()),
        },
    }
}

fn negative(who: &Who, source: &Source) -> String {
    let lines = source.text().lines().count();
    match &who.asked {
        _ if !who.lines.is_empty() => {
            "ran outside of tests only, when the module was imported for example".to_owned()
        }
        Some(asked) if lines > 0 && *asked.start() as usize > lines => {
            format!("the file has no such line: it ends with line {}", grouped(lines as u64))
        }
        _ => "never ran: no test reaches this, or there is no code here".to_owned(),
    }
}

/// Names with line breaks would be two.
fn names(who: &Who, out: &mut dyn Write) -> io::Result<()> {
    who.tests.iter().try_for_each(|test| writeln!(out, "{}", test.test.replace(['\n', '\r'], " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_path_and_lines() {
        let good = [
            ("cart.py:88", ("cart.py", Some(88..=88))),
            ("a:b.py:1-20", ("a:b.py", Some(1..=20))),
            ("cart.py:99999999999", ("cart.py", Some(u32::MAX..=u32::MAX))),
            ("cart.py", ("cart.py", None)),
            ("C:cart.py", ("C:cart.py", None)),
        ];
        for (place, expected) in good {
            assert_eq!(parse(place).ok(), Some(expected), "{place}");
        }
        let bad = ["cart.py:0", "cart.py:9-3", "cart.py:1x", "cart.py:1-"];
        bad.iter().for_each(|place| assert!(parse(place).is_err(), "{place}"));
    }
}
