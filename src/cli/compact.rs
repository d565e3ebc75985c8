//! `hitlog compact`: all logs of a run into one SQLite file that coverage.py reads as its own.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::{DONE, DONE_WITH_LOSS, Error};
use crate::compactor::{self, Options, Progress, Report};
use crate::run_directory;

const EXAMPLES: &str = "\
Examples:
  hitlog compact                                  the newest run under .hitlog, into hitlog.db
  hitlog compact .hitlog/20261120-101502-7f3a -o one.db
  hitlog compact .hitlog/* -o all.db              several runs into one file
  hitlog compact --strict --json > report.json    exit 1 if a record was damaged or lost
  hitlog compact --delete-logs                    and delete the logs that are read whole

Exit codes: 0 done; 1 done, but damage or loss was found (with --strict); 2 not done.";

/// Compact the logs of a run into one SQLite file that coverage.py reads
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Run directories or single logs [default: the newest run under .hitlog]
    #[arg(value_name = "PATH")]
    inputs: Vec<PathBuf>,

    /// The file to write; replaced only when the compaction is done
    #[arg(short, long, value_name = "FILE", default_value = "hitlog.db")]
    output: PathBuf,

    /// Exit with 1 if any record was damaged or lost
    #[arg(long)]
    strict: bool,

    /// Print the report as JSON on stdout
    #[arg(long)]
    json: bool,

    /// How many threads work [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Delete each log that was read whole and whose writer has ended
    #[arg(long)]
    delete_logs: bool,

    /// Write branches as rows of coverage.py's own table: some twenty times larger; for programs that look
    /// for the table itself, where coverage.py is content with a view
    #[arg(long)]
    plain_tables: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Error> {
    let here = Path::new(".");
    let none =
        || Error::NoRun { folder: run_directory::runs_folder(here), remedy: "name a run directory" };
    let newest = || run_directory::newest(here).map(|run| vec![run]).ok_or_else(none);
    let inputs = if arguments.inputs.is_empty() { newest()? } else { arguments.inputs.clone() };
    let options = Options {
        threads: arguments.threads.map(usize::from),
        delete_logs: arguments.delete_logs,
        plain_tables: arguments.plain_tables,
        ..Options::new(&arguments.output)
    };
    let report = compact(&inputs, &options)?;
    if arguments.json {
        print_json(&report)?;
    } else {
        print_for_people(&report);
    }
    Ok(if arguments.strict && !report.is_whole() { DONE_WITH_LOSS } else { DONE })
}

/// Compacts, with a progress bar if stderr is a terminal.
pub(super) fn compact(inputs: &[PathBuf], options: &Options) -> Result<Report, Error> {
    let bar = Bar::new();
    let result = compactor::compact(inputs, options, &bar);
    bar.0.finish_and_clear();
    result.map_err(|source| Error::Compactor { source })
}

/// The summary goes to stderr, where it does not mix with the output of a recorded command.
pub(super) fn print_for_people(report: &Report) {
    let _ = write!(io::stderr().lock(), "{report}");
}

fn print_json(report: &Report) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    let written = serde_json::to_writer(&mut stdout, report).map_err(io::Error::from);
    written.and_then(|()| writeln!(stdout)).map_err(|source| Error::Stdout { source })
}

/// A progress bar on stderr; invisible where that is not a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Bar {
        let bar = ProgressBar::no_length();
        let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} slots");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Bar(bar)
    }
}

impl Progress for Bar {
    fn total(&self, slots: u64) {
        self.0.inc_length(slots);
    }

    fn advance(&self, slots: u64) {
        self.0.inc(slots);
    }

    fn stage(&self, name: &str) {
        self.0.set_message(name.to_owned());
    }
}
