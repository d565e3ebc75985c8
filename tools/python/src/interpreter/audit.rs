//! The interpreter's audit events: code that is about to run, and processes about to be started or
//! replaced.
//!
//! `exec` tells of every module (imports, `runpy`, pytest's rewritten modules) and every `exec`, `eval`
//! and `compile`d text; functions that are made of a code object, or get another one, have events of
//! their own. A hook cannot be taken away again: without a recording it does nothing. It never raises.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use hitlog::format::EndReason;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::{children, session};

type Hook = unsafe extern "C" fn(*const c_char, *mut ffi::PyObject, *mut c_void) -> c_int;

unsafe extern "C" {
    /// In CPython since 3.8 (`Include/cpython/sysmodule.h`).
    fn PySys_AddAuditHook(hook: Hook, data: *mut c_void) -> c_int;
    /// As above.
    fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
}

/// Whether the hook was ever called with [`OUR_EVENT`].
static HEARD: AtomicBool = AtomicBool::new(false);
const OUR_EVENT: &CStr = c"hitlog.begin";

/// Begins to listen, once per process. There must be a recording.
pub fn install(py: Python<'_>) -> PyResult<()> {
    if HEARD.load(Ordering::Relaxed) {
        return Ok(());
    }
    // A hook of the program that refuses ours is seldom an error, so that only an event shows it.
    // SAFETY: `hook` has the type that is asked for and lives for ever; the event has no arguments.
    unsafe {
        if PySys_AddAuditHook(hook, std::ptr::null_mut()) == 0 {
            PySys_Audit(OUR_EVENT.as_ptr(), std::ptr::null());
        }
    }
    drop(PyErr::take(py));
    if HEARD.load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(PyRuntimeError::new_err("an audit hook of the program refuses further hooks"))
}

unsafe extern "C" fn hook(
    event: *const c_char,
    arguments: *mut ffi::PyObject,
    _data: *mut c_void,
) -> c_int {
    let Some(session) = session::current() else { return 0 };
    // SAFETY: the interpreter passes a text that ends with NUL.
    let event = unsafe { CStr::from_ptr(event) };
    match event.to_bytes() {
        b"exec" | b"function.__new__" => code_runs(arguments, 0),
        b"object.__setattr__" => code_runs(arguments, 2),
        b"os.exec" => {
            children::starts(session);
            session.recorder.end(EndReason::Exec, None);
        }
        b"subprocess.Popen" => {
            children::starts(session);
            // SAFETY: a hook that gets arguments runs with the interpreter's lock held.
            super::forks::watch_subprocess(unsafe { Python::assume_attached() });
        }
        b"os.posix_spawn" | b"os.system" => children::starts(session),
        b"os.fork" | b"os.forkpty" => super::forks::expect(),
        _ if event == OUR_EVENT => HEARD.store(true, Ordering::Relaxed),
        _ => {}
    }
    0
}

/// The argument at `place` may be a code object that is about to run.
#[cfg(Py_3_12)]
fn code_runs(arguments: *mut ffi::PyObject, place: usize) {
    use pyo3::types::PyTuple;

    if !in_main_interpreter() {
        return;
    }
    // SAFETY: a hook that gets arguments runs with the interpreter's lock held.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the interpreter passes a tuple, which it keeps during the call, or nothing.
    let arguments = unsafe { Bound::from_borrowed_ptr_or_opt(py, arguments) };
    let code = arguments.and_then(|all| all.cast_into::<PyTuple>().ok()?.get_item(place).ok());
    if let Some(code) = code.filter(super::code::is_code) {
        // Whatever goes wrong here must not reach the program.
        let _ = super::monitoring::see(&code);
    }
}

/// The tracing core looks at code when it is called.
#[cfg(not(Py_3_12))]
fn code_runs(_arguments: *mut ffi::PyObject, _place: usize) {}

/// Whether the caller is the interpreter that is recorded: a further one in the same process has
/// monitoring of its own, and perhaps a lock of its own.
#[cfg(Py_3_12)]
fn in_main_interpreter() -> bool {
    // SAFETY: both only read pointers of the running interpreter.
    unsafe { std::ptr::eq(ffi::PyInterpreterState_Get(), ffi::PyInterpreterState_Main()) }
}
