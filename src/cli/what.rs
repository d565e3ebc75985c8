//! `hitlog what`: the lines that a test ran.

use std::io::{self, Write};
use std::path::PathBuf;

use super::wording::{counted, duration, one_line, shown_path};
use super::{DONE, Error, NEGATIVE};
use crate::query::{self, Database, What};

const EXAMPLES: &str = "\
Examples:
  hitlog what tests/test_cart.py::test_discount     the files and lines that it ran
  hitlog what test_discount                         a part of its name is enough, if no other test has it
  hitlog what test_discount --only                  what nobody tests without it
  hitlog what test_discount --json | jq '.files[].path'

Exit codes: 0 done; 1 nothing to tell (no such lines); 2 no answer: no such test, or several.";

/// Which lines did this test run?
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The test: its name, or an end or another part of it that no other test has
    #[arg(value_parser = super::recorded_name())]
    test: String,

    /// Only the lines that nothing else ran
    #[arg(long)]
    only: bool,

    /// The file to ask
    #[arg(long, value_name = "FILE", default_value = "hitlog.db")]
    db: PathBuf,

    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Error> {
    let database = Database::open(&arguments.db).map_err(|source| Error::Query { source })?;
    if arguments.test.is_empty() {
        let (option, reason) = ("TEST", "name a test, or a part of its name");
        return Err(Error::Argument { option, value: "''".to_owned(), reason });
    }
    let test = database.find_test(&arguments.test);
    let what = test.and_then(|test| query::what(&database, test, arguments.only));
    let what = what.map_err(|source| Error::Query { source })?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let printed = match arguments.json {
        true => super::write_json(&what, &mut out),
        false => text(&what, &mut out),
    };
    printed.and_then(|()| out.flush()).map_err(|source| Error::Stdout { source })?;
    Ok(if what.files.is_empty() { NEGATIVE } else { DONE })
}

fn text(what: &What, out: &mut dyn Write) -> io::Result<()> {
    let time = what.duration_ns.map(|ns| format!("   {}", duration(ns))).unwrap_or_default();
    writeln!(out, "{}{time}", one_line(&what.test))?;
    for file in &what.files {
        writeln!(out, "  {}  {}", shown_path(&file.path), file.lines)?;
    }
    let lines = what.files.iter().map(|file| file.lines.len()).sum();
    let files = counted(what.files.len() as u64, "file");
    let only = if what.only { " that nothing else runs" } else { "" };
    writeln!(out, "{}{only}, in {files}", counted(lines, "line"))
}
