//! What touches CPython's insides, and all of this package's `unsafe` but the stamps' memory.
//!
//! * `code`: which measured file a code object belongs to, kept in the code object itself.
//! * `monitoring` and `events` (3.12 and later) or `tracing` (3.9 to 3.11): how lines are reported; both have
//!   `start`, `stop`, `check` (is it still we who observe?), `report_hot` and `report_all`.
//! * `branches`, `instructions`, `origins` and `landings`, or `frame` and `transitions`: which way a branch
//!   went, and which lines that means.
//! * `loaded`: the code that was there before the recording began.
//! * `audit`: the interpreter tells of code that is about to run, and of `exec`.
//! * `forks`: children of which nobody tells us.
//! * `ends`: the exit status, and ends that skip the interpreter's own.
//! * `builtin`: functions that the interpreter calls without a detour.
//!
//! All of it runs with the interpreter's lock held.

mod audit;
#[cfg(Py_3_12)]
mod branches;
mod builtin;
mod code;
mod ends;
#[cfg(Py_3_12)]
mod events;
mod forks;
#[cfg(not(Py_3_12))]
mod frame;
#[cfg(Py_3_12)]
mod instructions;
#[cfg(all(Py_3_12, not(Py_3_14)))]
mod landings;
#[cfg(Py_3_12)]
mod loaded;
#[cfg(Py_3_12)]
mod monitoring;
#[cfg(Py_3_12)]
mod origins;
pub mod packages;
#[cfg(not(Py_3_12))]
mod thread_state;
#[cfg(not(Py_3_12))]
mod threads;
#[cfg(not(Py_3_12))]
mod tracing;
#[cfg(not(Py_3_12))]
mod transitions;

pub use code::text_bytes;
#[cfg(Py_3_12)]
use monitoring as core;
use pyo3::prelude::*;
#[cfg(not(Py_3_12))]
use tracing as core;

use crate::notes;
use crate::session::{self, Session};

/// Lets the interpreter report the lines of measured files to `session`.
///
/// # Errors
/// The interpreter has no room for another observer; nothing is reported then.
pub fn start(py: Python<'_>, session: &'static Session) -> PyResult<()> {
    let started = try_start(py, session);
    if started.is_err() {
        stop(py);
    }
    started
}

fn try_start(py: Python<'_>, session: &'static Session) -> PyResult<()> {
    code::prepare()?;
    core::start(py, session)?;
    ends::install(py)?;
    forks::install();
    audit::install(py)
}

/// No lines are reported any more.
pub fn stop(py: Python<'_>) {
    core::stop(py);
}

/// To be called when a context of `session` was switched: what is not reported any more is reported
/// again. What goes wrong is told, since callers are the tests of the program.
pub fn context_switched(py: Python<'_>, session: &'static Session) {
    core::check(py, session);
    let reported = if session::adapt_heat() {
        core::report_all(py)
    } else {
        core::report_hot(py).or_else(|_| core::report_all(py))
    };
    tell(reported);
}

/// To be called in a forked child.
pub fn after_fork(py: Python<'_>) {
    session::after_fork(!forks::is_before_exec());
    tell(core::report_all(py));
}

fn tell(reported: PyResult<()>) {
    if let Err(error) = reported {
        notes::tell(&format!("lines that ran before may not be reported again ({error})"));
    }
}

/// Whether the calling thread is the process's first one (in a forked child: the one that forked).
pub fn is_main_thread() -> bool {
    // SAFETY: neither call has arguments or can fail.
    unsafe { libc::gettid() == libc::getpid() }
}
