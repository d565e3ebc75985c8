//! `hitlog clean`: old runs go.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::old_runs::{self, Entry, Fate};
use super::wording::{counted, one_line, size};
use super::{DONE, DONE_WITH_LOSS, Error};
use crate::run_directory::runs_folder;

const EXAMPLES: &str = "\
Examples:
  hitlog clean                all runs under .hitlog but the newest
  hitlog clean --keep 10      but the ten newest
  hitlog clean --dry-run      only say what would go
  hitlog clean --dir /srv/ci --keep 0

Compacted files (hitlog.db) stay: only logs go. So does every run whose processes, or whose pytest or
`hitlog run`, still live, and whatever a run does not leave. What is being removed is called
RUN.removing; if a cleaning is killed, the next one removes the rest.

Exit codes: 0 done; 1 done, but a run could not be removed; 2 not done.";

/// Remove the logs of old runs
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// How many runs stay, the newest ones
    #[arg(long, value_name = "N", default_value = "1")]
    keep: usize,

    /// The folder whose .hitlog is meant
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// Remove nothing, but say what would be removed
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// Print a JSON array of what became of each run
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Error> {
    let folder = runs_folder(&arguments.dir);
    let entries = match old_runs::remove(&folder, arguments.keep, arguments.dry_run) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::NoRun { folder, remedy: "name the folder that has it with --dir" });
        }
        entries => entries.map_err(|source| Error::Runs { path: folder.clone(), source })?,
    };
    let mut out = io::stdout().lock();
    let printed = match arguments.json {
        true => super::write_json(&entries, &mut out),
        false => text(&folder, &entries, arguments.dry_run, &mut out),
    };
    printed.map_err(|source| Error::Stdout { source })?;
    let is_left = |entry: &Entry| entry.is_run && matches!(entry.fate, Fate::Refused { .. });
    Ok(if entries.iter().any(is_left) { DONE_WITH_LOSS } else { DONE })
}

fn text(folder: &Path, entries: &[Entry], is_dry: bool, out: &mut dyn Write) -> io::Result<()> {
    let done = if is_dry { "would remove" } else { "removed" };
    let (mut runs, mut all) = (0, 0);
    for Entry { path, fate, .. } in entries {
        let path = one_line(path.display());
        match fate {
            Fate::Kept => {}
            Fate::Living { reason } | Fate::Refused { reason } => {
                writeln!(out, "{path}: stays: {}", one_line(reason))?;
            }
            Fate::Removed { bytes } => {
                writeln!(out, "{path}: {done} ({})", size(*bytes))?;
                (runs, all) = (runs + 1, all + bytes);
            }
        }
    }
    writeln!(out, "{}: {done} {}, {}", one_line(folder.display()), counted(runs, "run"), size(all))
}
