//! `hitlog affected`: which tests must run for the tree as it is.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;

use super::wording::{counted, grouped, shown_path};
use super::{DONE, Error};
use crate::query::affected::{Answer, ChangedFile, Options, affected};
use crate::query::paths::from_here;

const EXAMPLES: &str = "\
Examples:
  hitlog affected                            what changed since hitlog.db, and how many tests that concerns
  hitlog affected --list | head              their names, the fastest first
  hitlog affected --json | jq '.tests[] | {test, why}'
  hitlog affected --since main --db ci.db    compare with git's main instead of the remembered sources
  pytest --hitlog-affected                   run them, and bring hitlog.db up to date

Exit codes: 0 done, whether or not there are any; 2 not done.";

/// Tell which tests must run for the tree as it is
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The recording
    #[arg(long, value_name = "FILE", default_value = "hitlog.db")]
    db: PathBuf,

    /// Compare with a revision of git instead of the sources in the recording
    #[arg(long, value_name = "REV")]
    since: Option<String>,

    /// Print the names of the tests, the fastest first, and test files that the recording does not know
    #[arg(long, conflicts_with = "json")]
    list: bool,

    /// Print everything as JSON on stdout
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Error> {
    let options =
        Options { database: arguments.db.clone(), since: arguments.since.clone(), python: None };
    let answer = affected(&options).map_err(|source| Error::Affected { source })?;
    let text = match (arguments.json, arguments.list) {
        (true, _) => serde_json::json!(answer).to_string() + "\n",
        (_, true) => list(&answer),
        _ => summary(&answer, arguments),
    };
    io::stdout().lock().write_all(text.as_bytes()).map_err(|source| Error::Stdout { source })?;
    warn_of_another_folder(&answer, arguments);
    Ok(DONE)
}

/// Whoever asks from a copy of the tree would take the answer for one about the copy.
fn warn_of_another_folder(answer: &Answer, arguments: &Arguments) {
    let here = std::env::current_dir();
    if let (Some(root), Ok(here)) = (&answer.root, here)
        && !here.starts_with(root)
        && !root.starts_with(&here)
    {
        super::say(&format!(
            "{} was recorded in {}, and the files there were compared, not those here. To compare these, record \
             them: pytest --hitlog",
            arguments.db.display(),
            root.display(),
        ));
    }
}

fn list(answer: &Answer) -> String {
    let tests = answer.tests.iter().map(|test| test.test.clone());
    let files = answer.new_test_files.iter().map(|path| from_here(path));
    tests.chain(files).map(|line| line + "\n").collect()
}

/// What people want to know first.
fn summary(answer: &Answer, arguments: &Arguments) -> String {
    let since = arguments.since.clone().unwrap_or_else(|| arguments.db.display().to_string());
    let changed: Vec<String> = answer.changed.iter().map(changed_file).collect();
    let mut text = match changed.len() {
        0 => format!("nothing changed since {since}\n"),
        number => {
            let files = counted(number as u64, "file");
            format!("{files} changed since {since}: {}\n", changed.join(", "))
        }
    };
    if !answer.new_test_files.is_empty() {
        let files: Vec<_> = answer.new_test_files.iter().map(shown_path).collect();
        let _ = writeln!(text, "not in the recording: {}", files.join(", "));
    }
    let seconds = answer.duration_ns() as f64 / 1e9;
    let (tests, total) = (grouped(answer.tests.len() as u64), grouped(answer.total() as u64));
    let _ = write!(text, "{tests} of {total} tests, about {seconds:.1} s");
    let is_any = !answer.tests.is_empty() || !answer.new_test_files.is_empty();
    text + if is_any { ":   pytest --hitlog-affected\n" } else { "\n" }
}

fn changed_file(file: &ChangedFile) -> String {
    let ranges = file.lines.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    let ranges: Vec<_> = ranges.collect();
    let name = shown_path(&file.path);
    match (&ranges[..], &file.note) {
        ([], Some(note)) => format!("{name} ({note})"),
        ([], None) => name,
        ([range], _) if !range.contains('-') => format!("{name} (line {range})"),
        _ => format!("{name} (lines {})", ranges.join(", ")),
    }
}
