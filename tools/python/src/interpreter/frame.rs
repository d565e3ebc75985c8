//! The fields of frames and code objects that tracing needs, as CPython 3.9 to 3.11 lay them out
//! (`Include/cpython/frameobject.h` and `code.h`, in 3.11 `Include/internal/pycore_frame.h`). These
//! versions only get security fixes any more, so that the layouts are final.

#[cfg(Py_3_11)]
use std::ffi::c_short;
use std::ffi::{c_char, c_int};

use pyo3::ffi::{PyObject, PyVarObject};

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
    /// The instruction that ran last (3.9: offset in bytes, 3.10: in instructions); negative: none yet.
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
    /// The instruction that ran last (3.9: offset in bytes, 3.10: in instructions); negative: none yet.
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
    frame_obj: *mut PyObject,
    previous: *mut InterpreterFrame,
    /// The instruction that ran last: its number in the low byte, its argument in the high one.
    prev_instr: *mut u16,
}

/// CPython 3.9 and 3.10.
#[cfg(not(Py_3_11))]
#[repr(C)]
struct Code {
    ob_base: PyObject,
    co_argcount: c_int,
    co_posonlyargcount: c_int,
    co_kwonlyargcount: c_int,
    co_nlocals: c_int,
    co_stacksize: c_int,
    co_flags: c_int,
    co_firstlineno: c_int,
    /// Bytes.
    co_code: *mut PyObject,
}

/// CPython 3.11.
#[cfg(Py_3_11)]
#[repr(C)]
struct Code {
    ob_base: PyVarObject,
    co_consts: *mut PyObject,
    co_names: *mut PyObject,
    co_exceptiontable: *mut PyObject,
    co_flags: c_int,
    co_warmup: c_short,
    co_linearray_entry_size: c_short,
    co_argcount: c_int,
    co_posonlyargcount: c_int,
    co_kwonlyargcount: c_int,
    co_stacksize: c_int,
    co_firstlineno: c_int,
}

/// `CO_GENERATOR`, `CO_COROUTINE`, `CO_ASYNC_GENERATOR`: functions that can be left and entered again.
const SUSPENDABLE: c_int = 0x20 | 0x80 | 0x200;
/// The instruction `yield`, and that of `yield from` and `await` before 3.11.
const YIELD_VALUE: u8 = 86;
#[cfg(not(Py_3_11))]
const YIELD_FROM: u8 = 72;

/// The line at which the code object of `frame` begins.
///
/// # Safety
/// `frame` is a frame of the running interpreter.
pub unsafe fn first_line(frame: *mut Frame) -> i32 {
    // SAFETY: as the caller promises.
    unsafe { (*code(frame).cast::<Code>()).co_firstlineno }
}

/// # Safety
/// As [`first_line`].
unsafe fn is_suspendable(frame: *mut Frame) -> bool {
    // SAFETY: as the caller promises.
    unsafe { (*code(frame).cast::<Code>()).co_flags & SUSPENDABLE != 0 }
}

/// Whether a call of `frame` that is being reported enters it again.
///
/// # Safety
/// As [`first_line`].
pub unsafe fn is_entered_again(frame: *mut Frame) -> bool {
    // SAFETY: as the caller promises; the instruction is `RESUME`, whose argument is 0 at the beginning.
    #[cfg(Py_3_11)]
    unsafe {
        is_suspendable(frame) && *(*(*frame).f_frame).prev_instr >> 8 != 0
    }
    // SAFETY: as the caller promises.
    #[cfg(not(Py_3_11))]
    unsafe {
        is_suspendable(frame) && (*frame).f_lasti >= 0
    }
}

/// Whether an end of `frame` that is being reported only suspends it.
///
/// # Safety
/// As [`first_line`].
pub unsafe fn is_suspended(frame: *mut Frame) -> bool {
    // SAFETY: as the caller promises.
    #[cfg(Py_3_11)]
    unsafe {
        is_suspendable(frame) && *(*(*frame).f_frame).prev_instr as u8 == YIELD_VALUE
    }
    // SAFETY: as the caller promises; the offsets are checked against the length of the bytes.
    #[cfg(not(Py_3_11))]
    unsafe {
        let offset = if cfg!(Py_3_10) { 2 * (*frame).f_lasti } else { (*frame).f_lasti };
        let bytes = (*code(frame).cast::<Code>()).co_code;
        let length = pyo3::ffi::PyBytes_Size(bytes);
        let at = |offset: c_int| {
            let inside = offset >= 0 && (offset as isize) < length;
            inside.then(|| *pyo3::ffi::PyBytes_AsString(bytes).offset(offset as isize) as u8)
        };
        is_suspendable(frame) && (at(offset) == Some(YIELD_VALUE) || at(offset + 2) == Some(YIELD_FROM))
    }
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
