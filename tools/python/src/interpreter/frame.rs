//! The two fields of a frame that tracing needs, as CPython 3.9 to 3.11 lay them out
//! (`Include/cpython/frameobject.h`, in 3.11 `Include/internal/pycore_frame.h`). These versions only get
//! security fixes any more, so that the layouts are final.

use std::ffi::{c_char, c_int};

use pyo3::ffi::PyObject;
#[cfg(not(Py_3_11))]
use pyo3::ffi::PyVarObject;

/// CPython 3.9.
#[cfg(not(Py_3_10))]
#[repr(C)]
pub struct Frame {
    ob_base: PyVarObject,
    f_back: *mut Frame,
    f_code: *mut PyObject,
    f_builtins: *mut PyObject,
    f_globals: *mut PyObject,
    f_locals: *mut PyObject,
    f_valuestack: *mut *mut PyObject,
    f_stacktop: *mut *mut PyObject,
    f_trace: *mut PyObject,
    /// Whether lines of this frame are reported.
    pub f_trace_lines: c_char,
    f_trace_opcodes: c_char,
    f_gen: *mut PyObject,
    f_lasti: c_int,
    /// The line that is being reported.
    pub f_lineno: c_int,
}

/// CPython 3.10.
#[cfg(all(Py_3_10, not(Py_3_11)))]
#[repr(C)]
pub struct Frame {
    ob_base: PyVarObject,
    f_back: *mut Frame,
    f_code: *mut PyObject,
    f_builtins: *mut PyObject,
    f_globals: *mut PyObject,
    f_locals: *mut PyObject,
    f_valuestack: *mut *mut PyObject,
    f_trace: *mut PyObject,
    f_stackdepth: c_int,
    /// Whether lines of this frame are reported.
    pub f_trace_lines: c_char,
    f_trace_opcodes: c_char,
    f_gen: *mut PyObject,
    f_lasti: c_int,
    /// The line that is being reported.
    pub f_lineno: c_int,
}

/// CPython 3.11.
#[cfg(Py_3_11)]
#[repr(C)]
pub struct Frame {
    ob_base: PyObject,
    f_back: *mut Frame,
    f_frame: *mut InterpreterFrame,
    f_trace: *mut PyObject,
    /// The line that is being reported.
    pub f_lineno: c_int,
    /// Whether lines of this frame are reported.
    pub f_trace_lines: c_char,
}

/// What a running frame of CPython 3.11 begins with.
#[cfg(Py_3_11)]
#[repr(C)]
struct InterpreterFrame {
    f_func: *mut PyObject,
    f_globals: *mut PyObject,
    f_builtins: *mut PyObject,
    f_locals: *mut PyObject,
    f_code: *mut PyObject,
}

/// The code object that `frame` runs, which the frame holds.
///
/// # Safety
/// `frame` is a frame of the running interpreter.
#[inline(always)]
pub unsafe fn code(frame: *mut Frame) -> *mut PyObject {
    #[cfg(Py_3_11)]
    // SAFETY: as the caller promises; a frame object always has a frame.
    unsafe {
        (*(*frame).f_frame).f_code
    }
    #[cfg(not(Py_3_11))]
    // SAFETY: as the caller promises.
    unsafe {
        (*frame).f_code
    }
}
