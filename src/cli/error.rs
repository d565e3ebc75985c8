//! What stops a verb.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the command did not do what was asked. The text is a sentence that names the file and a remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no run where runs are looked for.
    NoRun {
        /// The folder of runs.
        folder: PathBuf,
        /// How another one is named.
        remedy: &'static str,
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
    /// The folder of all runs cannot be read.
    Runs {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An argument that cannot be used, or not be handed to the recorded processes.
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
    /// It cannot be told which tests are affected.
    Affected {
        /// Why; names the file.
        source: crate::query::affected::Error,
    },
    /// A report for the browser was not written.
    Html {
        /// Why; names the file.
        source: Box<crate::html::Error>,
    },
    /// A question has no answer.
    Query {
        /// Why; names the file.
        source: crate::query::Error,
    },
}

impl Error {
    /// Whether the reader of our stdout went away.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Error::Stdout { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoRun { folder, remedy } => write!(
                f,
                "{}: no run here. Record one with `hitlog run`, or {remedy}.",
                folder.display()
            ),
            Error::Stdout { source } => write!(f, "stdout cannot be written: {source}."),
            Error::RunDirectory { source } => write!(f, "{source}"),
            Error::Runs { path, source } => {
                write!(f, "{}: cannot be read ({source}). Name its folder with --dir.", path.display())
            }
            Error::Argument { option, value, reason } => write!(f, "{option} {value}: {reason}."),
            Error::Compactor { source } => write!(f, "{source}"),
            Error::Affected { source } => write!(f, "{source}"),
            Error::Html { source } => write!(f, "{source}"),
            Error::Query { source } => write!(f, "{source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Stdout { source } | Error::RunDirectory { source } | Error::Runs { source, .. } => {
                Some(source)
            }
            Error::Compactor { source } => Some(source),
            Error::Affected { source } => Some(source),
            Error::Html { source } => Some(source),
            Error::Query { source } => Some(source),
            _ => None,
        }
    }
}
