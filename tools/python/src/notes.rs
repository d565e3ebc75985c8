//! What this process could not record although it is being recorded, in sentences.
//!
//! `HITLOG_DEBUG` shows each on standard error at once; a process that compacts its own run, as
//! `pytest --hitlog` does, shows them with the summary. Each sentence is kept once.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn notes() -> MutexGuard<'static, Vec<String>> {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps `note`, unless it is known.
pub fn tell(note: &str) {
    let mut notes = notes();
    if notes.iter().any(|known| known == note) {
        return;
    }
    notes.push(note.to_owned());
    if std::env::var_os("HITLOG_DEBUG").is_some_and(|value| !value.is_empty()) {
        // The program may have closed it.
        let _ = writeln!(std::io::stderr(), "hitlog: process {}: {note}", std::process::id());
    }
}

/// All notes since the last call.
pub fn take() -> Vec<String> {
    std::mem::take(&mut *notes())
}
