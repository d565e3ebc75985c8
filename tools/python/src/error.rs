//! Why a process is not recorded.

use std::io;
use std::path::PathBuf;

/// Why recording could not begin. The program itself never sees it; `HITLOG_DEBUG=1` shows it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file of the run directory cannot be used.
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No log can be written.
    Recorder(hitlog::writer::Error),
    /// The interpreter does not let itself be observed.
    Interpreter {
        /// What it says.
        reason: String,
    },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::File { path, source } => write!(
                f,
                "{}: cannot be used ({source}); begin the run again with `hitlog run` or `pytest --hitlog`",
                path.display()
            ),
            Error::Recorder(error) => error.fmt(f),
            Error::Interpreter { reason } => {
                write!(f, "this Python cannot be recorded ({reason}); see the README of hitlog")
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<hitlog::writer::Error> for Error {
    fn from(error: hitlog::writer::Error) -> Error {
        Error::Recorder(error)
    }
}
