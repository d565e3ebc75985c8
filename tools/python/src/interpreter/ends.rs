//! How a process ends: its log gets a trailer, with the exit status, whenever something of ours still
//! runs. A signal or a crash leaves none, and that is what the compactor reports.

use std::ffi::{c_int, c_void};
use std::sync::Once;

use hitlog::format::EndReason;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::builtin::{self, Definition};
use crate::{children, session};

static ON_EXIT: Once = Once::new();
static OUR_EXIT: Definition = Definition::fast_with_keywords(
    c"_exit",
    c"_exit($module, /, status)\n--\n\nExit to the system with specified status, without normal exit processing.",
    exit,
);
/// The system's own `os._exit`.
static EXIT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Begins to watch the ends of this process, once.
pub fn install(py: Python<'_>) -> PyResult<()> {
    ON_EXIT.call_once(watch_exit);
    EXIT.get_or_try_init(py, || wrap_exit(py)).map(drop)
}

#[cfg(target_env = "gnu")]
fn watch_exit() {
    unsafe extern "C" {
        /// glibc's: like `atexit`, with the exit status.
        fn on_exit(function: unsafe extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    }
    unsafe extern "C" fn ended(status: c_int, _argument: *mut c_void) {
        end(Some((status & 0xff) as u16));
    }
    // SAFETY: `ended` lives as long as the process: an extension module is never unloaded.
    unsafe { on_exit(ended, std::ptr::null_mut()) };
}

#[cfg(not(target_env = "gnu"))]
fn watch_exit() {
    extern "C" fn ended() {
        end(None);
    }
    // SAFETY: `ended` lives as long as the process: an extension module is never unloaded.
    unsafe { libc::atexit(ended) };
}

fn end(exit_code: Option<u16>) {
    if let Some(session) = session::current() {
        children::end();
        session.recorder.end(EndReason::Closed, exit_code);
    }
}

/// Puts our `_exit` in the place of the system's, which skips every handler.
fn wrap_exit(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let posix = py.import("posix")?;
    let original = posix.getattr("_exit")?;
    let ours = OUR_EXIT.of_module(&posix)?;
    posix.setattr("_exit", &ours)?;
    py.import("os")?.setattr("_exit", &ours)?;
    Ok(original.unbind())
}

/// `os._exit(status)`.
unsafe extern "C" fn exit(
    _module: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls its functions with the lock held.
    let py = unsafe { Python::assume_attached() };
    let Some(original) = EXIT.get(py) else { return builtin::none() };
    let given = if names.is_null() {
        count
    } else {
        // SAFETY: names of keywords come as a tuple.
        count + unsafe { ffi::PyTuple_Size(names) }
    };
    if given == 1 {
        // SAFETY: there is one argument, by position or by keyword. What is no number gives -1, and
        // an error that the original will raise again.
        let status = unsafe { ffi::PyLong_AsLong(*arguments) };
        // SAFETY: the lock is held.
        if unsafe { ffi::PyErr_Occurred() }.is_null() {
            end(Some((status & 0xff) as u16));
        } else {
            // SAFETY: the lock is held.
            unsafe { ffi::PyErr_Clear() };
        }
    }
    // SAFETY: the very arguments of this call go on to the original.
    unsafe { ffi::PyObject_Vectorcall(original.as_ptr(), arguments, count as usize, names) }
}
