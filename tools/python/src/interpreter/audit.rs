//! The interpreter's audit events: code that is about to run, and processes about to be replaced.
//!
//! `exec` tells of every module (imports, `runpy`, pytest's rewritten modules) and every `exec`, `eval`
//! and `compile`d text; functions that are made of a code object, or get another one, have events of
//! their own. A hook cannot be taken away again: without a recording it does nothing. It never raises.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Once;

use hitlog::format::EndReason;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::session;

type Hook = unsafe extern "C" fn(*const c_char, *mut ffi::PyObject, *mut c_void) -> c_int;

unsafe extern "C" {
    /// In CPython since 3.8 (`Include/cpython/sysmodule.h`).
    fn PySys_AddAuditHook(hook: Hook, data: *mut c_void) -> c_int;
}

static INSTALLED: Once = Once::new();

/// Begins to listen, once per process.
pub fn install() -> PyResult<()> {
    let mut result = 0;
    // SAFETY: `hook` has the type that is asked for and lives for ever.
    INSTALLED.call_once(|| result = unsafe { PySys_AddAuditHook(hook, std::ptr::null_mut()) });
    if result == 0 {
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
    let event = unsafe { CStr::from_ptr(event) }.to_bytes();
    match event {
        b"exec" | b"function.__new__" => code_runs(arguments, 0),
        b"object.__setattr__" => code_runs(arguments, 2),
        b"os.exec" => session.recorder.end(EndReason::Exec, None),
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
