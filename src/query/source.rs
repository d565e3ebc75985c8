//! The text of a recorded file: from disk while that is the text that ran, else as the recording remembers it.

use super::Error;
use super::database::{Database, File, has};
use flate2::read::ZlibDecoder;
use rusqlite::OptionalExtension as _;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

/// Largest file whose text is shown, in bytes.
const SOURCE_BYTES_MAX: u64 = 64 << 20;

/// The text of a file, as far as it is there.
///
/// ```
/// # use hitlog::query::{Database, Source};
/// # let folder = tempfile::tempdir()?;
/// # let (run, output) = (folder.path().join("run"), folder.path().join("hitlog.db"));
/// # #[cfg(feature = "recorder")] {
/// let path = folder.path().join("parser.rs");
/// std::fs::write(&path, "fn main() {\n}\n")?;
/// let recorder = hitlog::Recorder::open(&run)?;
/// recorder.line(recorder.file(&path), 1);
/// # hitlog::compactor::compact(&[run], &hitlog::compactor::Options::new(&output), &())?;
/// let database = Database::open(&output)?;
/// let source = Source::read(&database, database.find_file("parser.rs")?)?;
/// assert_eq!(source.line(1), Some("fn main() {"));
/// assert!(!source.is_changed());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Source {
    text: String,
    is_changed: bool,
    is_remembered: bool,
}

impl Source {
    /// Reads the text of `file` from where it was when it ran. If that is not there or changed, it is the
    /// text that the recording remembers; if that is not there either, what is on disk, or nothing.
    ///
    /// # Errors
    /// If SQLite cannot read what the file was like.
    pub fn read(database: &Database, file: &File) -> Result<Source, Error> {
        let recorded = database.file_as_recorded(file)?;
        let present = present(&file.path);
        let is_as_recorded = |(_, state): &(Vec<u8>, State)| {
            recorded.is_none_or(|(size, mtime)| *state == (size, i128::from(mtime)))
        };
        if let Some((bytes, _)) = present.as_ref().filter(|present| is_as_recorded(present)) {
            return Ok(Source { text: text(bytes), ..Source::default() });
        }
        let present = present.map(|(bytes, _)| bytes);
        let remembered = remembered(database, file.id)?;
        let is_remembered = remembered.is_some();
        let is_changed = present.is_some() && present != remembered;
        let bytes = remembered.or(present).unwrap_or_default();
        Ok(Source { text: text(&bytes), is_changed, is_remembered })
    }

    /// All of it; empty if there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line `number`, counted from 1, without its end.
    #[must_use]
    pub fn line(&self, number: u32) -> Option<&str> {
        self.text.lines().nth((number as usize).checked_sub(1)?)
    }

    /// Whether the file on disk is not as it was when it ran: by its size and modification time, and by its
    /// text if that is remembered.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Whether the text is the one that ran, from the recording.
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        self.is_remembered
    }
}

/// Size in bytes, and modification time in nanoseconds since 1970 UTC.
type State = (u64, i128);

/// What is on disk, if it can be read. Never waits, as opening a FIFO would.
fn present(path: &str) -> Option<(Vec<u8>, State)> {
    let opened = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    let metadata = opened.metadata().ok().filter(fs::Metadata::is_file)?;
    let mtime_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    let mut bytes = Vec::new();
    opened.take(SOURCE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some((bytes, (metadata.len(), mtime_ns)))
}

/// The source of a file as it ran, if the recording keeps it.
pub(super) fn remembered(database: &Database, file_id: i64) -> Result<Option<Vec<u8>>, Error> {
    let sql = "select source from hitlog_source where file_id = ? and source is not null";
    let compressed: Option<Vec<u8>> = database.asking(|connection| {
        if !has(connection, "hitlog_source")? {
            return Ok(None);
        }
        connection.prepare_cached(sql)?.query_row([file_id], |row| row.get(0)).optional()
    })?;
    Ok(compressed.and_then(|compressed| {
        let mut source = Vec::new();
        let read = ZlibDecoder::new(&compressed[..]).take(SOURCE_BYTES_MAX).read_to_end(&mut source);
        read.ok().map(|_| source)
    }))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
