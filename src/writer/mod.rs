//! The writer: what a recorded process carries.
//!
//! * [`Recorder`]: the handle that a program holds; clones are the same recorder.
//! * `process`: the part of a recorder that belongs to one process; a forked child makes its own.
//! * `segment`: one log file and the blocks handed out of it.
//! * `thread`: one thread's part: its context, and all that is not done in a few nanoseconds.
//! * `hot`: one thread's block and the hits it has seen: the hot path.
//! * `names`: files, contexts and sample names with their ids, the same before and after a fork.
//! * `table`, `wiped`: memory that can be read without a lock, memory that a child finds zeroed.
//!
//! ```text
//! Recorder::line -> hot: seen?    -> room in my block? -> four stores into the mapped log
//!                              |         | no: process: take a block -> segment: write zeros ahead
//!                              yes: done |                 (first in this process: create the log)
//! ```

#[allow(unsafe_code)]
mod hot;
mod names;
mod process;
mod recorder;
mod segment;
#[allow(unsafe_code)]
mod table;
#[allow(unsafe_code)]
mod thread;
#[allow(unsafe_code)]
mod wiped;

pub use recorder::{ContextGuard, FileId, Recorder};

use std::io;
use std::path::PathBuf;

/// Why a recording cannot begin. Once it has begun, nothing fails: what cannot be written is counted.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The run directory cannot be made.
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No log can be created in the run directory.
    Log {
        /// The run directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Memory that is cleared in forked children cannot be had.
    Memory {
        /// What the system says.
        source: io::Error,
    },
    /// What was recorded cannot be brought to the medium.
    Sync {
        /// What the system says.
        source: io::Error,
    },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Directory { path, source } => write!(
                f,
                "{}: the run directory cannot be made ({source}); choose one in a writable place",
                path.display()
            ),
            Error::Log { path, source } => write!(
                f,
                "{}: no log can be created there ({source}); free some space or choose another directory",
                path.display()
            ),
            Error::Memory { source } => write!(
                f,
                "memory that is cleared in forked children is not to be had ({source}); Linux 4.14 or later has it"
            ),
            Error::Sync { source } => write!(
                f,
                "the log could not be brought to the medium ({source}); it survives this process, but not a power loss"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Directory { source, .. }
            | Error::Log { source, .. }
            | Error::Memory { source }
            | Error::Sync { source } => Some(source),
        }
    }
}
