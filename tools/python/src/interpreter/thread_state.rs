//! The trace function of a thread, as CPython 3.9 to 3.11 lay it out (`Include/cpython/pystate.h`).
//! These versions only get security fixes any more, so that the layouts are final.

#[cfg(not(Py_3_10))]
use std::ffi::c_char;
use std::ffi::{c_int, c_void};

use pyo3::ffi;

/// CPython 3.9.
#[cfg(not(Py_3_10))]
#[repr(C)]
struct Counters {
    frame: *mut c_void,
    recursion_depth: c_int,
    overflowed: c_char,
    recursion_critical: c_char,
    stackcheck_counter: c_int,
    tracing: c_int,
    use_tracing: c_int,
}

/// CPython 3.10.
#[cfg(all(Py_3_10, not(Py_3_11)))]
#[repr(C)]
struct Counters {
    frame: *mut c_void,
    recursion_depth: c_int,
    recursion_headroom: c_int,
    stackcheck_counter: c_int,
    tracing: c_int,
    cframe: *mut c_void,
}

/// CPython 3.11.
#[cfg(Py_3_11)]
#[repr(C)]
struct Counters {
    initialized: c_int,
    is_static: c_int,
    recursion_remaining: c_int,
    recursion_limit: c_int,
    recursion_headroom: c_int,
    tracing: c_int,
    tracing_what: c_int,
    cframe: *mut c_void,
}

#[repr(C)]
struct ThreadState {
    previous: *mut c_void,
    next: *mut c_void,
    interpreter: *mut c_void,
    counters: Counters,
    profile_function: Option<ffi::Py_tracefunc>,
    trace_function: Option<ffi::Py_tracefunc>,
    profile_object: *mut ffi::PyObject,
    trace_object: *mut ffi::PyObject,
}

/// The trace function of `thread` and the object that was installed with it.
///
/// # Safety
/// `thread` is alive and the interpreter's lock is held.
pub unsafe fn trace_of(
    thread: *mut ffi::PyThreadState,
) -> (Option<ffi::Py_tracefunc>, *mut ffi::PyObject) {
    let thread = thread.cast::<ThreadState>();
    // SAFETY: as the caller promises; the struct begins as the interpreter's does.
    unsafe { ((*thread).trace_function, (*thread).trace_object) }
}

/// The first thread of this interpreter for which `wanted` holds.
///
/// # Safety
/// The interpreter's lock is held, so that no thread vanishes (further ones are put before the first);
/// `wanted` does not let go of it.
pub unsafe fn find(
    wanted: impl Fn(*mut ffi::PyThreadState) -> bool,
) -> Option<*mut ffi::PyThreadState> {
    // SAFETY: as the caller promises.
    let mut thread = unsafe { ffi::PyInterpreterState_ThreadHead(ffi::PyInterpreterState_Get()) };
    while !thread.is_null() && !wanted(thread) {
        // SAFETY: `thread` is in the list.
        thread = unsafe { ffi::PyThreadState_Next(thread) };
    }
    (!thread.is_null()).then_some(thread)
}
