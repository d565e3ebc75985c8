//! Reports of lines through a C trace function (CPython 3.9 to 3.11).
//!
//! Every thread gets the trace function: those that exist when the recording begins, and later ones
//! by way of `_thread.start_new_thread`, through which `threading` goes too. Frames of files that are
//! not measured report no lines.
//!
//! The function is installed together with an object. Programs keep `sys.gettrace()` and give it to
//! `sys.settrace()` later (`doctest` does), so that object, when it is called as a Python trace
//! function, puts the C function back in its place.
//!
//! A thread has one trace function, so that coverage.py, a debugger and this recorder exclude each
//! other: the one that comes second would end the first. Where another tool traces already nothing is
//! recorded; where it comes later, or tracing is switched off, the next switch of contexts notices, on
//! the thread that switches, and so does the end of the recording.

use std::ffi::c_int;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::builtin::Definition;
use super::frame::{self, Frame};
use super::{builtin, code, thread_state, threads, transitions};
use crate::notes;
use crate::session::{self, MeasuredFile, Session};

const OTHER_TOOL: &str = "another tool (coverage.py, a debugger) traces this process; \
                          before CPython 3.12 only one can";
const REPLACED: &str = "another tool (coverage.py, a debugger) began to trace this process: lines \
                        that ran from then on are missing, as before CPython 3.12 only one tool can trace";
const SWITCHED_OFF: &str = "tracing was switched off (sys.settrace, a debugger): lines that ran from \
                            then until the next context are missing";

unsafe extern "C" {
    /// In CPython 3.9 to 3.11 (`Include/cpython/ceval.h`): as `PyEval_SetTrace`, for any thread.
    fn _PyEval_SetTrace(
        thread: *mut ffi::PyThreadState,
        function: Option<ffi::Py_tracefunc>,
        object: *mut ffi::PyObject,
    ) -> c_int;
}

static TRACE_AGAIN: Definition =
    Definition::fast(c"trace", c"Records the lines of this thread.", trace_again);
/// The object that is installed with the trace function.
static TRACER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn tracer(py: Python<'_>) -> PyResult<&'static Py<PyAny>> {
    TRACER.get_or_try_init(py, || TRACE_AGAIN.of_module(&py.import("hitlog")?).map(Bound::unbind))
}

/// Who has the trace function of a thread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Nobody,
    Us,
    /// We, by way of `sys.settrace(sys.gettrace())`.
    Program,
    OtherTool,
}

/// # Safety
/// `thread` is alive and the interpreter's lock is held.
unsafe fn holder(thread: *mut ffi::PyThreadState, tracer: &Py<PyAny>) -> Holder {
    // SAFETY: as the caller promises.
    match unsafe { thread_state::trace_of(thread) } {
        (None, _) => Holder::Nobody,
        (Some(function), _) if std::ptr::fn_addr_eq(function, trace as ffi::Py_tracefunc) => Holder::Us,
        (Some(_), object) if object == tracer.as_ptr() => Holder::Program,
        _ => Holder::OtherTool,
    }
}

/// A thread whose trace function has a holder that is `wanted`.
fn find(
    _py: Python<'_>,
    tracer: &Py<PyAny>,
    wanted: impl Fn(Holder) -> bool,
) -> Option<*mut ffi::PyThreadState> {
    // SAFETY: the lock is held, and looking at a thread does not let go of it.
    unsafe { thread_state::find(|thread| wanted(holder(thread, tracer))) }
}

/// Begins to trace all threads there are, and those that will be started.
pub fn start(py: Python<'_>, _session: &'static Session) -> PyResult<()> {
    let tracer = tracer(py)?;
    if find(py, tracer, |holder| holder == Holder::OtherTool).is_some() {
        return Err(PyRuntimeError::new_err(OTHER_TOOL));
    }
    threads::wrap_start(py)?;
    // Audit hooks may run in between, and threads end: each search begins at the first thread.
    while let Some(thread) = find(py, tracer, |holder| holder != Holder::Us) {
        // SAFETY: the thread was just found, `trace` has the right type and `tracer` is an object.
        if unsafe { _PyEval_SetTrace(thread, Some(trace), tracer.as_ptr()) } != 0 {
            return Err(PyErr::take(py)
                .unwrap_or_else(|| PyRuntimeError::new_err("the trace function was refused")));
        }
    }
    Ok(())
}

/// Ends the tracing of all threads, but not that of other tools.
pub fn stop(py: Python<'_>) {
    let Some(tracer) = TRACER.get(py) else { return };
    if find(py, tracer, |holder| holder == Holder::OtherTool).is_some() {
        notes::tell(REPLACED);
    }
    let is_ours = |holder| matches!(holder, Holder::Us | Holder::Program);
    while let Some(thread) = find(py, tracer, is_ours) {
        // SAFETY: the thread was just found; no function is a valid argument.
        if unsafe { _PyEval_SetTrace(thread, None, std::ptr::null_mut()) } != 0 {
            drop(PyErr::take(py));
            return;
        }
    }
}

/// Notices that the calling thread is not traced by us any more, and traces it again if nobody does.
pub fn check(py: Python<'_>, _session: &'static Session) {
    let Some(tracer) = TRACER.get(py) else { return };
    // SAFETY: the lock is held, by this thread.
    match unsafe { holder(ffi::PyThreadState_Get(), tracer) } {
        Holder::Us => {}
        Holder::Program => trace_this_thread(py),
        Holder::Nobody => {
            notes::tell(SWITCHED_OFF);
            trace_this_thread(py);
        }
        Holder::OtherTool => notes::tell(REPLACED),
    }
}

/// Nothing is ever disabled here.
pub fn report_hot(_py: Python<'_>) -> PyResult<()> {
    Ok(())
}

/// As [`report_hot`].
pub fn report_all(_py: Python<'_>) -> PyResult<()> {
    Ok(())
}

/// The trace function.
unsafe extern "C" fn trace(
    _object: *mut ffi::PyObject,
    frame: *mut ffi::PyFrameObject,
    what: c_int,
    _argument: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: the interpreter passes a frame that runs, with the lock held.
    unsafe {
        match what {
            ffi::PyTrace_LINE => line(frame.cast()),
            ffi::PyTrace_CALL => call(frame.cast()),
            ffi::PyTrace_RETURN => leave(frame.cast()),
            _ => {}
        }
    }
    0
}

/// # Safety
/// `frame` is a frame of the running interpreter.
#[inline(always)]
unsafe fn line(frame: *mut Frame) {
    // SAFETY: as the caller promises.
    let (file, line) = unsafe { (code::file_of(frame::code(frame)), (*frame).f_lineno) };
    // SAFETY: as the caller promises.
    let Some(file) = file.or_else(|| unsafe { begun_before(frame) }) else { return };
    if session::has_branches() && file.is_measured() {
        // SAFETY: as the caller promises.
        unsafe { transitions::line(frame, file, line) };
    } else if let Ok(line) = u32::try_from(line) {
        file.line(line, || false);
    }
}

/// The file of a frame that ran before the recording began, so that nobody told of its call.
///
/// # Safety
/// As [`line`].
#[cold]
unsafe fn begun_before(frame: *mut Frame) -> Option<&'static MeasuredFile> {
    // SAFETY: as the caller promises.
    unsafe { decide(frame::code(frame), session::current()?) }
}

/// A function ends, or a generator is left for a while.
///
/// # Safety
/// As [`line`].
#[inline(always)]
unsafe fn leave(frame: *mut Frame) {
    if !session::has_branches() {
        return;
    }
    // SAFETY: as the caller promises.
    unsafe {
        let file = code::file_of(frame::code(frame));
        if let Some(file) = file.filter(|file| file.is_measured()) {
            transitions::end(frame, file);
        }
    }
}

/// A function begins or a generator goes on.
///
/// # Safety
/// As [`line`].
unsafe fn call(frame: *mut Frame) {
    // SAFETY: as the caller promises.
    unsafe {
        let code = frame::code(frame);
        let known = code::file_of(code).filter(|file| session::is_current(file));
        let file = known.or_else(|| decide(code, session::current()?));
        if !file.is_some_and(MeasuredFile::is_measured) {
            (*frame).f_trace_lines = 0;
        } else if session::has_branches() {
            transitions::begin(frame);
        }
    }
}

/// # Safety
/// `code` is a code object and the lock is held.
#[cold]
unsafe fn decide(code: *mut ffi::PyObject, session: &'static Session) -> Option<&'static MeasuredFile> {
    // SAFETY: as the caller promises.
    unsafe {
        let py = Python::assume_attached();
        let file = code::decide(&Bound::from_borrowed_ptr(py, code), session)?;
        code::set_file(code, file);
        Some(file)
    }
}

/// Begins to trace the calling thread, if there is a recording.
pub fn trace_this_thread(py: Python<'_>) {
    if session::current().is_none() {
        return;
    }
    if let Some(tracer) = TRACER.get(py) {
        // SAFETY: the lock is held, `trace` has the right type and `tracer` is an object.
        unsafe { ffi::PyEval_SetTrace(Some(trace), tracer.as_ptr()) };
    }
}

/// The tracer as a Python trace function: frame, event, argument. Returns itself.
unsafe extern "C" fn trace_again(
    _module: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls its functions with the lock held.
    let py = unsafe { Python::assume_attached() };
    let (Some(tracer), Some(_)) = (TRACER.get(py), session::current()) else {
        return builtin::none();
    };
    trace_this_thread(py);
    // SAFETY: there are three arguments, of which the first is checked to be a frame.
    unsafe {
        if count == 3 && ffi::PyFrame_Check(*arguments) != 0 {
            call((*arguments).cast());
        }
    }
    tracer.clone_ref(py).into_ptr()
}
