//! `hitlog run`: records a command with all its descendants, then compacts what they wrote.
//!
//! ```text
//! make .hitlog/<run id>/, write run.json -> run the command with HITLOG_RUN set -> write command.json
//!     -> compact -> print the summary -> end as the command ended
//! ```

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::command::{Ended, Signals, not_started_exit_code};
use super::{DONE, Error, NOT_DONE, compact, say};
use crate::compactor::{Options, check_output, quoted, told_in};
use crate::run_directory::{self, COMMAND_FILE, CONTEXT_VARIABLE, RUN_FILE, RUN_VARIABLE};
use crate::run_marker::RunMarker;

const EXAMPLES: &str = "\
Examples:
  hitlog run -- pytest -n 8                     tests by name, from all workers
  hitlog run --source src -- pytest             only files under src
  hitlog run --context nightly -o nightly.db -- python -m shop
  hitlog run --test-contexts -- python -m unittest
  hitlog run -- sh -c 'make test'               whatever Python it starts is recorded
  hitlog run -- python tools/report.py; echo $?

Every Python in which the package is installed (pip install hitlog) records,
and so do all its children. Measured are the files under the current folder
that belong to no environment's site-packages; --source, [tool.hitlog] or
coverage.py's own configuration say otherwise. If no process recorded, the
package is not installed in that Python, or nothing that ran is measured.

The exit status is the command's own: 128 + n after signal n, 127 if it is not
found, 126 if it cannot be started. It is 2 if hitlog cannot begin, or if the
command ended with 0 but its logs cannot be compacted; they are kept then.";

/// Record a command and all its descendants, then compact
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The file to write; replaced only when the compaction is done
    #[arg(short, long, value_name = "FILE", default_value = "hitlog.db")]
    output: PathBuf,

    /// The folder in which .hitlog/<run id>/ is made
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// Record branches as well as lines
    #[arg(long)]
    branch: bool,

    /// Write branches as rows of coverage.py's own table (see `hitlog compact --help`)
    #[arg(long)]
    plain_tables: bool,

    /// Measure only this file, folder or package; may be repeated
    #[arg(long = "source", value_name = "PATH")]
    sources: Vec<PathBuf>,

    /// The context in which the command starts
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Give each test of unittest its own context (pytest's tests have one anyway)
    #[arg(long)]
    test_contexts: bool,

    /// The command to record, with its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<OsString>,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Error> {
    check_output(&arguments.output).map_err(|source| Error::Compactor { source })?;
    let run = make_run(arguments)?;
    let _held = run_directory::hold(&run);
    let mut signals = Signals::take_over().map_err(|source| Error::RunDirectory { source })?;
    let mut command = command(arguments, &run)?;
    // For those of the command's processes that get no environment. Without it the others still record.
    let marker = RunMarker::leave(&run, arguments.context.as_deref().unwrap_or_default().as_bytes());
    let ended = signals.run(&mut command);
    marker.into_iter().for_each(RunMarker::remove);
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return Ok(explain_not_started(arguments, &run, &error)),
    };
    // Without it only the exit status of one process is unknown.
    let _ = write_json(&run.join(COMMAND_FILE), &ended);
    if !run_directory::has_logs(&run) {
        explain_nothing_recorded(&run, &ended);
        return Ok(ended.exit_code());
    }
    let [from, to] = [&run, &arguments.output].map(|path| quoted(&path.to_string_lossy()));
    let later = format!("hitlog compact {from} -o {to}");
    signals.end_with(format!("interrupted; the logs are kept. Compact them with `{later}`"));
    Ok(match compact_and_print(&run, arguments) {
        Ok(()) => ended.exit_code(),
        Err(error) => {
            say(&error);
            say(&format!("the logs are kept in {}. When that is mended: `{later}`", run.display()));
            if ended.exit_code() == DONE { NOT_DONE } else { ended.exit_code() }
        }
    })
}

/// Makes the run directory and writes there what is to be recorded.
fn make_run(arguments: &Arguments) -> Result<PathBuf, Error> {
    let cwd = std::env::current_dir().map_err(|source| Error::RunDirectory { source })?;
    let sources = arguments.sources.iter().map(|source| resolve_source(source, &cwd));
    let command: Vec<_> = arguments.command.iter().map(|word| word.to_string_lossy()).collect();
    let run_file = json!({
        "version": 1,
        "cwd": cwd.to_string_lossy(),
        "command": command,
        "branch": arguments.branch,
        "source": sources.collect::<Result<Vec<_>, _>>()?,
        "context": arguments.context,
        "test_contexts": arguments.test_contexts,
    });
    let run = run_directory::create(&arguments.dir);
    run.and_then(|run| write_json(&run.join(RUN_FILE), &run_file).map(|()| run))
        .map_err(|source| Error::RunDirectory { source })
}

/// What is there under the name is a file or folder, everything else a package.
fn resolve_source(source: &Path, cwd: &Path) -> Result<String, Error> {
    let path = if source.exists() { cwd.join(source).canonicalize() } else { Ok(source.to_owned()) };
    let path = path.unwrap_or_else(|_| source.to_owned());
    path.into_os_string().into_string().map_err(|value| Error::Argument {
        option: "--source",
        value: value.to_string_lossy().into_owned(),
        reason: "the name is not UTF-8, so it cannot be handed on; name the folder above it",
    })
}

/// The command, told to record into `run` even if a recorded process starts it.
fn command(arguments: &Arguments, run: &Path) -> Result<Command, Error> {
    let run = run.canonicalize().map_err(|source| Error::RunDirectory { source })?;
    let mut command = Command::new(&arguments.command[0]);
    command.args(&arguments.command[1..]).env(RUN_VARIABLE, run);
    match &arguments.context {
        Some(context) => command.env(CONTEXT_VARIABLE, context),
        None => command.env_remove(CONTEXT_VARIABLE),
    };
    Ok(command)
}

/// Writes `value` so that a reader finds all of it or no file.
fn write_json(path: &Path, value: &impl serde::Serialize) -> io::Result<()> {
    let explain = |error: io::Error| {
        io::Error::new(error.kind(), format!("{}: cannot be written ({error}).", path.display()))
    };
    let unfinished = path.with_extension("json.part");
    let text = serde_json::to_vec(value)?;
    fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, path)).map_err(explain)
}

fn compact_and_print(run: &Path, arguments: &Arguments) -> Result<(), Error> {
    let options = Options { plain_tables: arguments.plain_tables, ..Options::new(&arguments.output) };
    let report = compact::compact(&[run.to_owned()], &options)?;
    compact::print_for_people(&report);
    if report.lines == 0 && report.arcs == 0 {
        // A program may want nothing but contexts and samples.
        say(
            &"no line that ran is measured. If one should be, correct --source, or source, include and \
              omit in the configuration (see `hitlog run --help`)",
        );
    }
    Ok(())
}

/// The run directory goes with a command that never ran, and takes nothing but what was put there here.
fn explain_not_started(arguments: &Arguments, run: &Path, error: &io::Error) -> u8 {
    let _ = fs::remove_file(run.join(RUN_FILE)).and_then(|()| fs::remove_dir(run));
    let name = arguments.command[0].to_string_lossy();
    let remedy = match name.starts_with('-') {
        true => "It is no option of `hitlog run` either: see `hitlog run --help`.",
        false => "Check its spelling, its permissions and PATH.",
    };
    say(&format!("{name}: cannot be started: {error}. {remedy}"));
    not_started_exit_code(error)
}

fn explain_nothing_recorded(run: &Path, ended: &Ended) {
    let told: Vec<String> = told_in(run).collect();
    let why = if told.is_empty() {
        ". Is the Python package installed there (pip install hitlog), and is what ran measured (--source, \
         [tool.hitlog])? A run inside of this one (`hitlog run` or `pytest --hitlog`) records for itself. See \
         `hitlog run --help`."
            .to_owned()
    } else {
        format!(": {}", told.join("; "))
    };
    say(&format!("the command ended ({ended}), but no process recorded anything{why}"));
}
