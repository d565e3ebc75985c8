//! What children of this process need to find the run without the environment: this process's marker
//! (`hitlog::run_marker`), in which the context of each start is noted just before it.
//!
//! Nothing is written when a context is switched, so that contexts cost the same with and without
//! children. A forked child gets a marker of its own when it first starts a process; until then its
//! children find the one of its parent.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use hitlog::run_marker::RunMarker;

use crate::notes;
use crate::session::Session;

static MARKER: Mutex<Option<RunMarker>> = Mutex::new(None);

/// The marker, unless a thread that this process does not have held it when the process was forked.
fn marker() -> Option<MutexGuard<'static, Option<RunMarker>>> {
    MARKER.try_lock().ok()
}

/// Leaves the marker of a process that records into `run_directory`, in `context` so far.
pub fn begin(run_directory: &Path, context: &[u8]) {
    let Some(mut marker) = marker() else { return };
    match RunMarker::leave(run_directory, context) {
        Ok(left) => *marker = Some(left),
        Err(error) => {
            *marker = None;
            notes::tell(&format!(
                "children that are started without the environment are not recorded ({error})"
            ));
        }
    }
}

/// Notes that the calling thread is about to start a process.
pub fn starts(session: &Session) {
    let context = session.context_of_thread();
    let noted = marker().and_then(|mut marker| {
        let ours = marker.as_mut().filter(|marker| marker.is_ours())?;
        ours.child_starts(&context).ok()
    });
    if noted.is_none() {
        begin(&session.run_directory, &context);
    }
}

/// Removes the marker: what children record from here on belongs to nobody.
pub fn end() {
    if let Some(left) = marker().and_then(|mut marker| marker.take()) {
        left.remove();
    }
}
