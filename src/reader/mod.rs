//! Reads logs, whatever state they are in.
//!
//! * [`LogReader`]: one log, opened; knows who wrote it and walks every slot to the end of the file.
//! * [`SlotCounts`]: how many slots were valid, blank, damaged, foreign. They add up to all slots.
//! * [`Digest`]: collects everything of a log but its hits, range by range, in any order.
//! * [`Contents`]: what a digest found: names, durations of contexts, samples, how the log ended.
//!
//! Nothing is assumed about the order of slots, and nothing in a log is believed before its checksum
//! and its place were compared. Damage is data, with exact counts; an [`Error`] is only what stops
//! the reading of a whole log. Time and memory stay bounded, whatever the file holds: see
//! [`limits`](crate::limits).

mod bounded;
mod contents;
mod digest;
#[allow(unsafe_code)] // one call of lseek, which std does not offer with SEEK_DATA
mod holes;
mod liveness;
mod names;
mod open;
mod scan;
mod text;

pub use contents::{Contents, End, OpenContext, Sample, Span, State, Unnamed};
pub use digest::{DamagedSlot, Digest, FileFacts, ForeignSlot};
pub use names::Names;
pub use open::LogReader;
#[cfg(feature = "compactor")]
pub(crate) use open::not_regular;
pub use scan::{SlotCounts, Visitor};
pub use text::escaped;

use crate::format::HeaderDamage;
use std::io;
use std::path::PathBuf;

/// Why a log cannot be read at all.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be opened.
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path is not a regular file.
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What it is instead, with its article.
        found: &'static str,
    },
    /// Neither the header nor the file's name tells which log this is.
    NotALog {
        /// The file.
        path: PathBuf,
        /// What is wrong with each copy of the header.
        copies: [HeaderDamage; 2],
    },
    /// A log of a version or with features that this code does not know.
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Which.
        damage: HeaderDamage,
    },
    /// The file cannot be read, for a reason that is not in the file.
    Read {
        /// The file.
        path: PathBuf,
        /// Offset in the file, in bytes.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Open { path, source } if source.kind() == io::ErrorKind::NotFound => {
                write!(f, "{}: no such log. Runs are under .hitlog/.", path.display())
            }
            Error::Open { path, source } => write!(
                f,
                "{}: cannot be opened ({source}). Read it as the user who recorded it.",
                path.display()
            ),
            Error::NotRegular { path, found } => write!(
                f,
                "{}: this is {found}, and a log is a regular file. Give the path of the file itself.",
                path.display()
            ),
            Error::NotALog { path, copies: [first, second] } => write!(
                f,
                "{}: this is not a log, or one that lost both copies of its header and its name (first \
                 copy: {first}; second copy: {second}). If it is one, rename it to what it was called, \
                 <pid>-<log id>.hitlog, and its records can be read.",
                path.display()
            ),
            Error::Unsupported { path, damage } => {
                write!(f, "{}: {damage}. Read it with a later hitlog.", path.display())
            }
            Error::Read { path, offset, source } => write!(
                f,
                "{}: cannot be read at offset {offset} ({source}). Copy it to a local disk and try again.",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Open { source, .. } | Error::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}
