//! `hitlog html`: a report for the browser, from a compacted file.

use std::io::{self, Write};
use std::path::PathBuf;

use super::{DONE, Error, say, wording::counted};
use crate::html;

const EXAMPLES: &str = "\
Examples:
  hitlog html                            hitlog.db into the folder htmlhit
  hitlog html -o report && xdg-open report/index.html
  hitlog html --db nightly.db -o /srv/www/nightly
  hitlog html --db .coverage -o report   coverage.py's own file: no processes, no times
  hitlog html --json | jq .bytes

Click a line and see its tests; click a test and see its lines; see which code no
test runs, and how each process ended. The folder needs no server and no network,
and can be copied anywhere. A report in it is replaced when the whole of the new
one is written; a folder with anything else in it is refused. Sources are shown
as they were when they ran: from disk, or as the recording remembers them.

Exit codes: 0 done; 2 not done.";

/// Write a report for the browser: lines and their tests, tests and their lines, processes
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The file to report on: one of hitlog, or a data file of coverage.py
    #[arg(long, value_name = "FILE", default_value = "hitlog.db")]
    db: PathBuf,

    /// The folder to write; a link to one is followed
    #[arg(short, long, value_name = "DIR", default_value = "htmlhit")]
    output: PathBuf,

    /// Print what was written as JSON on stdout
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Error> {
    let summary = html::write(&arguments.db, &arguments.output)
        .map_err(|source| Error::Html { source: Box::new(source) })?;
    if arguments.json {
        let mut stdout = io::stdout().lock();
        let written = serde_json::to_writer(&mut stdout, &summary).map_err(io::Error::from);
        written.and_then(|()| writeln!(stdout)).map_err(|source| Error::Stdout { source })?;
    } else {
        let page = arguments.output.join("index.html");
        let (files, tests) = (counted(summary.files, "file"), counted(summary.tests, "test"));
        say(&format!("{files}, {tests} -> {}", page.display()));
    }
    Ok(DONE)
}
