//! The source of a file as it ran: its text, or why there is none.

use serde::Serialize;

use super::Error;
use super::names::File;
use crate::query::{self, Database};

/// Larger sources are not shown, in bytes.
const SOURCE_BYTES_MAX: usize = 4 << 20;

/// How sure it is that a text is what ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It is what ran.
    Same,
    /// The recording does not tell what the file was like.
    Unknown,
    /// The file is another one than the one that ran, which is not remembered: its text is not shown.
    Changed,
    /// There is no text.
    Missing,
    /// It is larger than what is shown.
    Large,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) state: State,
    pub(super) text: Option<String>,
}

impl Source {
    pub(super) fn read(database: &Database, file: &File) -> Result<Source, Error> {
        let source = query::Source::read(database, &file.file)?;
        let is_known = database.file_as_recorded(&file.file)?.is_some();
        let state = match source.text() {
            "" => State::Missing,
            _ if source.is_changed() && !source.is_remembered() => State::Changed,
            text if text.len() > SOURCE_BYTES_MAX => State::Large,
            _ if is_known => State::Same,
            _ => State::Unknown,
        };
        let is_shown = matches!(state, State::Same | State::Unknown);
        Ok(Source { state, text: is_shown.then(|| source.text().to_owned()) })
    }
}
