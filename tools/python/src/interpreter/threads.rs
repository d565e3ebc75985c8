//! Threads trace themselves when they begin (CPython 3.9 to 3.11), also those of `_thread`, of which
//! `threading` knows nothing.
//!
//! What lies below a thread's whole life must be able to vanish: when the interpreter ends, it ends
//! the threads that still run by `pthread_exit`, which unwinds their stacks. So [`run`] owns nothing
//! that would have to be dropped, and nothing there stops an unwinding.

use std::ffi::c_char;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use super::builtin::Definition;
use super::{builtin, tracing};

unsafe extern "C-unwind" {
    /// CPython's, declared so that an unwinding may pass.
    fn PyObject_Call(
        callable: *mut ffi::PyObject,
        arguments: *mut ffi::PyObject,
        keywords: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
    /// In CPython 3.8 to 3.12 (`Include/cpython/pyerrors.h`).
    fn _PyErr_WriteUnraisableMsg(message: *const c_char, object: *mut ffi::PyObject);
}

static START: Definition = Definition::fast(
    c"start_new_thread",
    c"start_new_thread(function, args[, kwargs])\n\nStart a new thread and return its identifier.",
    start,
);
static RUN: Definition = Definition::unwinding(c"run", c"Runs a thread, traced.", run);

/// The system's own `_thread.start_new_thread`.
static START_THREAD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Puts our `start_new_thread` in the place of the system's, once.
pub fn wrap_start(py: Python<'_>) -> PyResult<()> {
    START_THREAD.get_or_try_init(py, || replace(py)).map(drop)
}

fn replace(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let module = py.import("_thread")?;
    let original = module.getattr("start_new_thread")?;
    let ours = START.of_module(&module)?;
    module.setattr("start_new_thread", &ours)?;
    module.setattr("start_new", &ours)?;
    let modules = py.import("sys")?.getattr("modules")?;
    if let Ok(threading) = modules.get_item("threading") {
        threading.setattr("_start_new_thread", &ours)?;
    }
    Ok(original.unbind())
}

/// `_thread.start_new_thread(function, arguments[, keywords])`.
unsafe extern "C" fn start(
    _module: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls its functions with the lock held.
    let py = unsafe { Python::assume_attached() };
    let place = |index: usize| {
        // SAFETY: the interpreter passes `count` objects, which are alive during the call.
        unsafe { Bound::from_borrowed_ptr(py, *arguments.add(index)) }
    };
    match started(py, (0..count as usize).map(place).collect()) {
        Ok(identifier) => identifier.into_ptr(),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}

fn started<'py>(py: Python<'py>, mut given: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    // What is not callable goes on as it is, so that the error is the usual one.
    if let Some(function) = given.first_mut().filter(|function| function.is_callable()) {
        *function = RUN.of_object(function)?;
    }
    let original = START_THREAD.get(py).ok_or_else(|| PyRuntimeError::new_err("not installed"))?;
    original.bind(py).call1(PyTuple::new(py, given)?)
}

/// The life of a thread: traces itself, then does what it was started for.
unsafe extern "C-unwind" fn run(
    function: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls its functions with the lock held.
    tracing::trace_this_thread(unsafe { Python::assume_attached() });
    // SAFETY: what the thread was started with; nothing here waits to be dropped.
    let result = unsafe { PyObject_Call(function, arguments, keywords) };
    if !result.is_null() {
        return result;
    }
    // As the interpreter itself does, so that the message names the function and not us.
    // SAFETY: an exception is set, and the lock is held.
    unsafe {
        if ffi::PyErr_ExceptionMatches(ffi::PyExc_SystemExit) != 0 {
            ffi::PyErr_Clear();
        } else {
            _PyErr_WriteUnraisableMsg(c"in thread started by".as_ptr(), function);
        }
    }
    builtin::none()
}
