//! What stops the question which tests are affected.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why it is not known which tests must run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The recording cannot be read.
    Recording {
        /// Why; names the file.
        source: crate::query::Error,
    },
    /// A recording that holds no sources.
    NoSources {
        /// The recording.
        path: PathBuf,
    },
    /// Git cannot tell what a file was.
    Git {
        /// The revision that was asked for.
        revision: String,
        /// What git said, or why it did not start.
        reason: String,
    },
    /// The current folder has no path.
    CurrentFolder {
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Recording { source } => write!(f, "{source}"),
            Error::NoSources { path } => write!(
                f,
                "{}: not a recording that remembers its sources. Record once more with `pytest --hitlog`.",
                path.display()
            ),
            Error::Git { revision, reason } => write!(
                f,
                "git cannot compare with {revision} ({reason}). Name a revision of the repository that \
                 you are in, or leave out --since."
            ),
            Error::CurrentFolder { source } => {
                write!(f, "the current folder cannot be found ({source}). Go to one that is there.")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Recording { source } => Some(source),
            Error::CurrentFolder { source } => Some(source),
            _ => None,
        }
    }
}
