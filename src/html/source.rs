//! The source of a file as it ran: its text, or why there is none.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rusqlite::Connection;
use serde::Serialize;

use super::names::File;

/// Larger sources are not shown, in bytes.
const SOURCE_BYTES_MAX: u64 = 4 << 20;

/// How sure it is that a text is what ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// Size and modification time are those of the recording.
    Same,
    /// The recording does not tell size and modification time.
    Unknown,
    /// The file is another one than the one that ran: its text is not shown.
    Changed,
    /// There is no such file.
    Missing,
    /// It is larger than what is shown.
    Large,
}

#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) state: State,
    pub(super) text: Option<String>,
}

/// The source of `file`.
///
/// The connection is not asked yet: a recording that remembers its sources is to be read here.
pub(super) fn of_file(_connection: &Connection, file: &File) -> rusqlite::Result<Source> {
    Ok(from_disk(file))
}

fn from_disk(file: &File) -> Source {
    let without_text = |state| Source { state, text: None };
    let path = Path::new(&file.path);
    let Some(metadata) = fs::metadata(path).ok().filter(|metadata| metadata.is_file()) else {
        return without_text(State::Missing);
    };
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let mtime_ns = modified.and_then(|since| i64::try_from(since.as_nanos()).ok());
    let state = match file.recorded {
        None => State::Unknown,
        Some((size, mtime)) if size == metadata.len() && Some(mtime) == mtime_ns => State::Same,
        Some(_) => State::Changed,
    };
    if state == State::Changed {
        return without_text(state);
    } else if metadata.len() > SOURCE_BYTES_MAX {
        return without_text(State::Large);
    }
    match fs::read(path) {
        Ok(bytes) => Source { state, text: Some(String::from_utf8_lossy(&bytes).into_owned()) },
        Err(_) => without_text(State::Missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shown_only_if_it_is_what_ran() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.py");
        fs::write(&path, b"x = '\xe9'\n").unwrap();
        let metadata = fs::metadata(&path).unwrap();
        let mtime = metadata.modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
        let source = |recorded, path: &Path| {
            let path = path.to_str().unwrap().to_owned();
            let source = from_disk(&File { number: 0, id: 1, path, recorded });
            (source.state, source.text)
        };
        let text = Some("x = '\u{fffd}'\n".to_owned());
        assert_eq!(source(Some((8, mtime)), &path), (State::Same, text.clone()));
        assert_eq!(source(None, &path), (State::Unknown, text));
        assert_eq!(source(Some((8, mtime - 1)), &path), (State::Changed, None));
        assert_eq!(source(Some((9, mtime)), &path), (State::Changed, None));
        assert_eq!(source(None, folder.path()), (State::Missing, None));
        fs::File::create(&path).unwrap().set_len(SOURCE_BYTES_MAX + 1).unwrap();
        assert_eq!(source(None, &path), (State::Large, None));
    }
}
