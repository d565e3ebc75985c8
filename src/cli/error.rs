//! What stops a verb.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::run_directory::{RUNS_FOLDER, newest};

/// Why the command did not do what was asked. The text is a sentence that names the file and a remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// `path` is neither a run directory nor a log.
    Missing {
        /// As the user gave it.
        path: PathBuf,
        /// A run that is there.
        newest: Option<PathBuf>,
    },
    /// No path was given, and there is no run under the current folder.
    NoRun,
    /// The file `path` cannot be written.
    Output {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// stdout cannot be written.
    Stdout {
        /// What the system said.
        source: io::Error,
    },
    /// A run directory cannot be made or written. The error's text says which, and what to do.
    RunDirectory {
        /// What the system said.
        source: io::Error,
    },
    /// An argument that cannot be handed to the recorded processes.
    Argument {
        /// The option.
        option: &'static str,
        /// Its value, as far as it can be shown.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A compaction stopped.
    Compactor {
        /// Why; names the file.
        source: crate::compactor::Error,
    },
}

impl Error {
    /// The error of an input that is not there, for a user whose current folder is `base`.
    pub(super) fn missing(path: &Path, base: &Path) -> Error {
        Error::Missing { path: path.to_owned(), newest: newest(base) }
    }

    /// Whether the reader of our stdout went away.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Error::Stdout { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing { path, newest } => {
                write!(f, "{}: no such run directory or log. ", path.display())?;
                match newest {
                    Some(run) => {
                        write!(f, "Runs are under {RUNS_FOLDER}/ (newest: {}).", run.display())
                    }
                    None => write!(
                        f,
                        "There is no run under {RUNS_FOLDER}/ here: record one with `hitlog run`."
                    ),
                }
            }
            Error::NoRun => {
                write!(
                    f,
                    "{RUNS_FOLDER}: no run here. Record one with `hitlog run`, or name a run directory."
                )
            }
            Error::Output { path, reason } => {
                write!(
                    f,
                    "{}: cannot be written: {reason}. Choose another file with -o.",
                    path.display()
                )
            }
            Error::Stdout { source } => write!(f, "stdout cannot be written: {source}."),
            Error::RunDirectory { source } => write!(f, "{source}"),
            Error::Argument { option, value, reason } => write!(f, "{option} {value}: {reason}."),
            Error::Compactor { source } => write!(f, "{source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Stdout { source } | Error::RunDirectory { source } => Some(source),
            Error::Compactor { source } => Some(source),
            _ => None,
        }
    }
}
