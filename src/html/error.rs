//! What stops a report.

use crate::query;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why no report was written. A report that was there before is as it was.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The recording cannot be read.
    Query {
        /// Why; names the file.
        source: query::Error,
    },
    /// The output's path holds something that is not a report.
    Refused {
        /// The path.
        path: PathBuf,
        /// What is there, with its article.
        found: &'static str,
    },
    /// Another process is writing a report there.
    Busy {
        /// The output.
        path: PathBuf,
    },
    /// The report cannot be written.
    Output {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl From<query::Error> for Error {
    fn from(source: query::Error) -> Error {
        Error::Query { source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Query { source } => source.fmt(f),
            Error::Refused { path, found } => write!(
                f,
                "{}: this is {found}, and no report of hitlog. Choose another folder with -o.",
                path.display()
            ),
            Error::Busy { path } => write!(
                f,
                "{}: another process is writing a report there. Try again, or choose another folder with -o.",
                path.display()
            ),
            Error::Output { path, action, source } => {
                write!(f, "{}: cannot {action} ({source}). {}", path.display(), remedy(source))
            }
        }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Make room on this disk, or choose another one with -o."
        }
        _ => "Choose a folder in which you may write with -o.",
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Query { source } => Some(source),
            Error::Output { source, .. } => Some(source),
            _ => None,
        }
    }
}
