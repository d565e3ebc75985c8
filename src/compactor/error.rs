//! What stops a compaction. Damage in a log does not: it is counted, and reported.

use crate::reader;
use rusqlite::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};

/// Why nothing was compacted. The output is as it was before.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An input that is not there.
    Missing {
        /// The input.
        path: PathBuf,
        /// The run under `.hitlog` that was made last.
        newest: Option<PathBuf>,
    },
    /// A directory that no run was recorded into.
    NotARun {
        /// The directory.
        path: PathBuf,
        /// The run under `.hitlog`, there or here, that was made last.
        newest: Option<PathBuf>,
    },
    /// No log was read: nothing is put in the place of an output that may hold something.
    NothingRecorded {
        /// The inputs.
        paths: Vec<PathBuf>,
        /// What was passed over or could not be read, each with its reason.
        reasons: Vec<String>,
    },
    /// A run directory that cannot be listed.
    Folder {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A log that was named as an input and cannot be read.
    Log {
        /// What the reader said.
        source: reader::Error,
    },
    /// A log that became another file while it was read.
    Changed {
        /// The log.
        path: PathBuf,
    },
    /// A compacted file that cannot be combined with others.
    Recording {
        /// Why; names the file.
        source: crate::query::Error,
    },
    /// A recording of which it cannot be found out what is still true.
    Renewal {
        /// Why; names the file.
        source: crate::query::affected::Error,
    },
    /// A configuration that cannot be used.
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// More different names than an output can hold.
    TooManyNames {
        /// What they name, in the plural.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there may be.
        max: u32,
    },
    /// Threads cannot be started.
    Threads {
        /// What the thread pool said.
        source: rayon::ThreadPoolBuildError,
    },
    /// The output's path holds something that must not be replaced.
    Refused {
        /// The path.
        path: PathBuf,
        /// What is there, with its article.
        found: &'static str,
    },
    /// The output is just being written by another process.
    Busy {
        /// The output.
        path: PathBuf,
    },
    /// The output cannot be made.
    Output {
        /// The output.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite cannot write the output.
    Database {
        /// The output.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// What was written is not what is read back.
    Inconsistent {
        /// The output.
        path: PathBuf,
        /// What the check found first.
        finding: String,
    },
}

impl Error {
    /// As if `output` itself could not be made, and not the file beside it that was needed first.
    pub(super) fn of_output(mut self, output: &Path) -> Error {
        if let Error::Refused { path, .. }
        | Error::Busy { path }
        | Error::Output { path, .. }
        | Error::Database { path, .. }
        | Error::Inconsistent { path, .. } = &mut self
        {
            *path = output.to_path_buf();
        }
        self
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Missing { path, newest } => {
                write!(f, "{}: no such run directory or log.{}", path.display(), hint(newest))
            }
            Error::NotARun { path, newest } => {
                write!(f, "{}: there are no logs in this directory.{}", path.display(), hint(newest))
            }
            Error::NothingRecorded { paths, reasons } => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(
                    f,
                    "{}: there is no log to read, so the output stays as it is.",
                    paths.join(", ")
                )?;
                match &reasons[..] {
                    [] => write!(f, " Name a run in which something was recorded."),
                    [first, ..] => write!(f, " {first}"),
                }
            }
            Error::Folder { path, source } => write!(
                f,
                "{}: this run directory cannot be listed ({source}). Compact it as the user who recorded it.",
                path.display()
            ),
            Error::Log { source } => source.fmt(f),
            Error::Changed { path } => write!(
                f,
                "{}: this log was replaced while it was read. Compact again when nothing moves it any more.",
                path.display()
            ),
            Error::Recording { source } => source.fmt(f),
            Error::Renewal { source } => source.fmt(f),
            Error::Configuration { path, reason } => {
                write!(f, "{}: not understood ({reason}). Correct it.", path.display())
            }
            Error::TooManyNames { what, found, max } => write!(
                f,
                "the logs name {found} {what}, and one output holds {max}. Compact fewer logs at a time."
            ),
            Error::Threads { source } => {
                write!(f, "threads cannot be started ({source}). Try again with --threads 1.")
            }
            Error::Refused { path, found } => write!(
                f,
                "{}: this is {found}, which is not replaced. Choose another file with -o, or move it away.",
                path.display()
            ),
            Error::Busy { path } => write!(
                f,
                "{}: another process is writing to this file. Try again, or choose another file with -o.",
                path.display()
            ),
            Error::Output { path, action, source } => {
                write!(f, "{}: cannot {action} ({source}). {}", path.display(), remedy(source))
            }
            Error::Database { path, source } => write_database(f, path, source),
            Error::Inconsistent { path, finding } => write!(
                f,
                "{}: the finished file was not read back as it was written ({finding}) and was dropped. \
                 Check the disk, or choose another one with -o.",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Folder { source, .. } | Error::Output { source, .. } => Some(source),
            Error::Log { source } => Some(source),
            Error::Recording { source } => Some(source),
            Error::Renewal { source } => Some(source),
            Error::Threads { source } => Some(source),
            Error::Database { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Where runs are.
fn hint(newest: &Option<PathBuf>) -> String {
    match newest {
        Some(run) => {
            let parent = run.parent().unwrap_or(run);
            format!(" Runs are under {}/ (newest: {}).", parent.display(), run.display())
        }
        None => {
            " Runs are under .hitlog/, and there is none yet: record one with hitlog run.".to_owned()
        }
    }
}

/// What to do about `error` of the output's disk or folder.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "Make its folder first, or choose another file with -o.",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Make room on this disk, or choose another one with -o."
        }
        _ => "Choose a file that you may write with -o.",
    }
}

fn write_database(
    f: &mut std::fmt::Formatter<'_>,
    path: &Path,
    source: &rusqlite::Error,
) -> std::fmt::Result {
    let remedy = match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::TooBig) => {
            "Make room on this disk, or choose another one with -o."
        }
        Some(ErrorCode::OutOfMemory) => "Free some memory, or compact fewer logs at a time.",
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly) => {
            "Check the disk, or choose another one with -o."
        }
        _ => "Compact again; if it stays so, please report it with this sentence.",
    };
    write!(f, "{}: cannot write the output ({source}). {remedy}", path.display())
}
