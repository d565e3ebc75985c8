//! hitlog records *who ran what* - which test ran which line or took which branch of which file -
//! from many processes at once, at almost no cost, and never loses a record.
//!
//! Data flows one way, and the modules show it:
//!
//! ```text
//! format <- storage <- writer                        inside the recorded process
//! format <- reader  <- compactor <- cli              afterwards
//!                      query     <- cli              reads the SQLite file only
//!                      html      <- cli              likewise, into pages for a browser
//! ```
//!
//! Writer and reader never see each other: the log file, as `format-spec.md` describes it, is all
//! that they share. Two things stand a little aside: [`run_directory`] says where the logs of a run lie, and
//! `run_marker` is how a child that was started without the environment finds them. Merging compacted
//! files is the compactor's work, which asks them through `query`.

#![deny(unsafe_code)]

mod calendar;
pub mod format;
pub mod limits;
pub mod run_directory;

#[cfg(any(feature = "compactor", feature = "query"))]
mod hash;
#[cfg(any(feature = "recorder", feature = "reader"))]
mod process_identity;
#[cfg(any(feature = "recorder", feature = "cli"))]
pub mod run_marker;

#[cfg(feature = "recorder")]
pub mod storage;
#[cfg(feature = "recorder")]
#[allow(unsafe_code)]
mod system;
#[cfg(feature = "recorder")]
pub mod writer;

#[cfg(feature = "recorder")]
pub use writer::{ContextGuard, FileId, Recorder};

#[cfg(feature = "reader")]
pub mod reader;

#[cfg(feature = "compactor")]
pub mod compactor;

#[cfg(feature = "query")]
pub mod query;

#[cfg(feature = "cli")]
pub mod html;

#[cfg(feature = "cli")]
pub mod cli;
