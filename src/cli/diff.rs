//! `hitlog diff`: what two recordings do not have in common.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::wording::{counted, one_line, shown_path};
use super::{DONE, Error, NEGATIVE};
use crate::query::{self, Database, Diff, FileDiff};

const EXAMPLES: &str = "\
Examples:
  hitlog diff before.db after.db             lines gained (+) and lost (-), by file and by test
  hitlog diff before.db after.db --json | jq '.tests_gone'
  hitlog diff --brief before.db after.db || echo 'other lines ran'

Files and tests are the same if they have the same name. Recordings from different folders are brought
together by `hitlog merge A -o C --map OLD=NEW` first.

Exit codes, as those of diff(1): 0 the same tests ran the same lines; 1 something differs; 2 trouble.";

/// What changed from one recording to another?
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The recording before
    #[arg(value_name = "A")]
    before: PathBuf,

    /// The recording after
    #[arg(value_name = "B")]
    after: PathBuf,

    /// Only say whether they differ
    #[arg(short = 'q', long)]
    brief: bool,

    /// Answer in JSON
    #[arg(long, conflicts_with = "brief")]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Error> {
    let open = |path: &Path| Database::open(path).map_err(|source| Error::Query { source });
    let (before, after) = (open(&arguments.before)?, open(&arguments.after)?);
    let changes = query::diff(&before, &after).map_err(|source| Error::Query { source })?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let printed = match (arguments.json, arguments.brief) {
        (true, _) => super::write_json(&changes, &mut out),
        (_, true) if changes.is_empty() => Ok(()),
        (_, true) => {
            let [before, after] = [&before, &after].map(|database| one_line(database.path().display()));
            writeln!(out, "{before} and {after} differ")
        }
        _ => text(&changes, &before, &after, &mut out),
    };
    printed.and_then(|()| out.flush()).map_err(|source| Error::Stdout { source })?;
    Ok(if changes.is_empty() { DONE } else { NEGATIVE })
}

fn text(changes: &Diff, before: &Database, after: &Database, out: &mut dyn Write) -> io::Result<()> {
    let mut paths = HashMap::new();
    for (tests, database) in [(&changes.tests_gone, before), (&changes.tests_added, after)] {
        if !tests.is_empty() {
            let count = counted(tests.len() as u64, "test");
            writeln!(out, "{count} only in {}:", one_line(database.path().display()))?;
            tests.iter().try_for_each(|test| writeln!(out, "  {}", one_line(test)))?;
        }
    }
    if !changes.files.is_empty() {
        writeln!(out, "{} with other lines:", counted(changes.files.len() as u64, "file"))?;
        changes.files.iter().try_for_each(|file| line(file, "  ", &mut paths, out))?;
    }
    if !changes.tests.is_empty() {
        writeln!(out, "{} that ran other lines:", counted(changes.tests.len() as u64, "test"))?;
        for test in &changes.tests {
            let name = if test.test.is_empty() { "(outside of tests)" } else { &test.test };
            writeln!(out, "  {}", one_line(name))?;
            test.files.iter().try_for_each(|file| line(file, "    ", &mut paths, out))?;
        }
    }
    if !changes.have_common_files && !changes.files.is_empty() {
        writeln!(
            out,
            "No file is in both; if they are of different folders, see `hitlog diff --help`."
        )?;
    }
    Ok(())
}

/// `src/shop/cart.py  +88-90  -12`; `paths` are those that were shown before, which come again with each test.
fn line<'changes>(
    file: &'changes FileDiff,
    indent: &str,
    paths: &mut HashMap<&'changes str, String>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let path = paths.entry(&file.path).or_insert_with(|| shown_path(&file.path));
    write!(out, "{indent}{path}")?;
    for (sign, lines) in [("+", &file.gained), ("-", &file.lost)] {
        if !lines.is_empty() {
            write!(out, "  {sign} {lines}")?;
        }
    }
    let changed = if file.source_changed == Some(true) { "   (the file itself changed)" } else { "" };
    writeln!(out, "{changed}")
}
