//! Asks a compacted file: who tests this line, what does this test run, what changed.
//!
//! * [`Database`]: one file of hitlog, or of coverage.py, opened for reading.
//! * [`Tests`]: its contexts, by the tests they are phases of.
//! * [`Lines`]: a set of line numbers.
//! * [`Source`]: the text of a file, if it is still there.
//! * [`who`]: the tests that ran some lines of a file.
//! * [`what`]: the lines that a test ran.
//! * [`show`]: the recording at a glance.
//! * [`diff`]: what two recordings do not have in common.
//! * [`affected`]: which tests must run for the present state of the tree.
//! * [`Error`]: why there is no answer.
//!
//! Nothing but the SQLite file is read (and sources, to show or compare them), and nothing is ever written. A
//! file of coverage.py itself, which has none of hitlog's own tables, answers whatever needs no processes and
//! no durations.

pub mod affected;
mod database;
mod diff;
mod durations;
mod error;
mod files;
mod hits;
mod lines;
pub(crate) mod pages;
pub(crate) mod paths;
mod show;
mod source;
mod tests;
mod what;
mod who;

pub use database::{Database, File};
#[cfg(feature = "compactor")]
pub(crate) use database::{SQLITE_MAGIC, has};
#[cfg(feature = "cli")]
pub(crate) use database::{name_of_log, rows};
pub use diff::{Diff, FileDiff, TestDiff, diff};
pub use durations::Durations;
pub use error::Error;
pub use lines::Lines;
pub use show::{FileFacts, Process, Show, TestFacts, show};
pub use source::Source;
pub use tests::{Test, Tests};
pub use what::{FileLines, What, what};
pub use who::{Who, WhoTest, who};
