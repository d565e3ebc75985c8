//! The text of a recorded file, and whether it is still the text that ran.

use super::Error;
use super::database::{Database, File};
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
}

impl Source {
    /// Reads the text of `file` from where it was when it ran; no text if it is not there or not readable.
    ///
    /// # Errors
    /// If SQLite cannot read how large and how old the file was.
    pub fn read(database: &Database, file: &File) -> Result<Source, Error> {
        let recorded = database.file_as_recorded(file)?;
        let opened = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&file.path);
        let Some((opened, metadata)) = opened.ok().and_then(|opened| {
            let metadata = opened.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((opened, metadata))
        }) else {
            return Ok(Source::default());
        };
        let mtime_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        let is_changed = recorded
            .is_some_and(|(size, mtime)| (metadata.len(), mtime_ns) != (size, i128::from(mtime)));
        let mut bytes = Vec::new();
        // A file that vanishes in between has no text.
        let _ = opened.take(SOURCE_BYTES_MAX).read_to_end(&mut bytes);
        Ok(Source { text: String::from_utf8_lossy(&bytes).into_owned(), is_changed })
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

    /// Whether the file is not as it was when it ran, by its size and modification time.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }
}
