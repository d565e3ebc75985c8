//! What this process could not record although it is being recorded, in sentences; and which files of the
//! project it ran that are not measured.
//!
//! Each sentence is kept once and goes into a file of this process in the run directory, where the
//! compactor finds it: whoever reads the summary of a run hears of it, whatever became of the process.
//! `HITLOG_DEBUG` shows it on standard error at once.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hitlog::run_directory::{LOADED_FILE_PREFIX, NOTES_FILE_PREFIX};

/// The sentences of this process so far, and its run directory.
struct Notes {
    known: Vec<String>,
    directory: Option<PathBuf>,
}

static NOTES: Mutex<Notes> = Mutex::new(Notes { known: Vec::new(), directory: None });

fn notes() -> MutexGuard<'static, Notes> {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on notes go into `run_directory`.
pub fn write_into(run_directory: &Path) {
    *notes() = Notes { known: Vec::new(), directory: Some(run_directory.to_owned()) };
}

/// Tells `note`, unless it was told before.
pub fn tell(note: &str) {
    let mut notes = notes();
    if notes.known.iter().any(|known| known == note) {
        return;
    }
    notes.known.push(note.to_owned());
    if let Some(directory) = &notes.directory {
        let line = note.replace(['\n', '\r'], " ") + "\n";
        append(directory, NOTES_FILE_PREFIX, line.as_bytes());
    }
    if std::env::var_os("HITLOG_DEBUG").is_some_and(|value| !value.is_empty()) {
        // The program may have closed it.
        let _ = writeln!(std::io::stderr(), "hitlog: process {}: {note}", std::process::id());
    }
}

/// Names the file at `path` as one that this process ran: tests depend on it although no line is recorded.
pub fn tell_loaded(run_directory: &Path, path: &[u8]) {
    append(run_directory, LOADED_FILE_PREFIX, &[path, b"\0"].concat());
}

/// What cannot be written is worth no disturbance of the program.
fn append(directory: &Path, prefix: &str, text: &[u8]) {
    let path = directory.join(format!("{prefix}{}.txt", std::process::id()));
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    let _ = opened.and_then(|mut file| file.write_all(text));
}
