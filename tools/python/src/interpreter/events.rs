//! The functions that `sys.monitoring` calls, once per event: they look, record, and say whether to go on.

use pyo3::ffi;
use pyo3::prelude::*;

use super::builtin::{self, Definition};
use super::{branches, code, monitoring};
use crate::session::{self, Verdict};

pub static ON_LINE: Definition = Definition::fast(c"on_line", c"Records that a line ran.", on_line);
pub static ON_START: Definition =
    Definition::fast(c"on_start", c"Makes the first line be reported.", on_start);
pub static ON_BRANCH: Definition =
    Definition::fast(c"on_branch", c"Records which way a branch went.", on_branch);
pub static ON_RETURN: Definition =
    Definition::fast(c"on_return", c"Records the end of a function.", on_return);
#[cfg(not(Py_3_14))]
pub static ON_INSTRUCTION: Definition =
    Definition::fast(c"on_instruction", c"Records which way a branch before went.", on_instruction);

/// `LINE`: code object, line number.
unsafe extern "C" fn on_line(
    _module: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    if count != 2 {
        return builtin::none();
    }
    // SAFETY: there are two arguments, and the interpreter promises a code object and a number; a
    // caller from outside who passes something else gets "not found" and -1, with an error.
    let (file, line) = unsafe {
        let line = ffi::PyLong_AsLong(*arguments.add(1));
        (code::file_of(*arguments), line)
    };
    let (Some(file), Ok(line)) = (file, u32::try_from(line)) else { return not_expected() };
    // SAFETY: the first argument is a code object, as it has a file.
    let is_dear = || unsafe { code::has_dear_lines(*arguments) };
    let verdict = if session::has_branches() {
        // SAFETY: callbacks run with the lock held, and the code object lives during the call.
        let code = unsafe { borrowed(*arguments) };
        // SAFETY: it is a code object, as it has a file.
        let table = unsafe { branches::table_of(&code) };
        table.map_or_else(|| file.line(line, is_dear), |table| table.line(&code, line, is_dear))
    } else {
        file.line(line, is_dear)
    };
    // SAFETY: the first argument is a code object, and the lock is held.
    unsafe { answer(verdict, *arguments) }
}

/// The arguments were not those of an event of a measured file.
#[cold]
fn not_expected() -> *mut ffi::PyObject {
    // SAFETY: callbacks run with the lock held.
    unsafe { ffi::PyErr_Clear() };
    builtin::none()
}

/// What a callback returns after an event of `code`.
///
/// # Safety
/// `code` is a code object and the lock is held.
#[inline(always)]
unsafe fn answer(verdict: Verdict, code: *mut ffi::PyObject) -> *mut ffi::PyObject {
    if verdict == Verdict::Keep {
        return builtin::none();
    }
    // SAFETY: as the caller promises.
    unsafe { disable(verdict, code) }
}

/// Does what a verdict other than "keep" says; mostly disables the event that was just reported.
///
/// # Safety
/// As [`answer`].
#[cold]
unsafe fn disable(verdict: Verdict, code: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: callbacks run with the lock held.
    let py = unsafe { Python::assume_attached() };
    if verdict == Verdict::Forked {
        // A child of which Python does not know that it was forked: what its parent did not want
        // reported any more is reported here.
        super::after_fork(py);
        return builtin::none();
    }
    // SAFETY: as the caller promises.
    let code = unsafe { borrowed(code) };
    if verdict == Verdict::Enough
        && session::is_heat_by_context()
        && monitoring::remember_hot(&code).is_err()
    {
        // What could not be armed again must not be disabled.
        return builtin::none();
    }
    monitoring::disable(py)
}

/// `PY_START`: only there to make the interpreter report the first line.
unsafe extern "C" fn on_start(
    _module: *mut ffi::PyObject,
    _arguments: *mut *mut ffi::PyObject,
    _count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    if session::is_heat_by_context() {
        return builtin::none();
    }
    // SAFETY: callbacks run with the lock held.
    monitoring::disable(unsafe { Python::assume_attached() })
}

/// An argument of a callback.
///
/// # Safety
/// The lock is held, and `object` lives as long as the callback runs.
unsafe fn borrowed<'py>(object: *mut ffi::PyObject) -> Bound<'py, PyAny> {
    // SAFETY: as the caller promises.
    unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), object) }
}

/// `BRANCH`, `BRANCH_LEFT`, `BRANCH_RIGHT`: code object, offset of the branch, offset of the destination.
unsafe extern "C" fn on_branch(
    _module: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    if count != 3 {
        return builtin::none();
    }
    // SAFETY: callbacks run with the lock held; there are three arguments, the first a code object.
    unsafe {
        let code = borrowed(*arguments);
        let from = ffi::PyLong_AsLong(*arguments.add(1));
        let to = ffi::PyLong_AsLong(*arguments.add(2));
        match (u32::try_from(from), u32::try_from(to)) {
            (Ok(from), Ok(to)) => match branches::table_of(&code) {
                Some(table) => answer(table.branch(&code, from, to), code.as_ptr()),
                None => builtin::none(),
            },
            _ => not_expected(),
        }
    }
}

/// `PY_RETURN`: code object, offset, value.
unsafe extern "C" fn on_return(
    _module: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    if count != 3 {
        return builtin::none();
    }
    // SAFETY: callbacks run with the lock held; there are three arguments, the first a code object.
    unsafe {
        let code = borrowed(*arguments);
        match (u32::try_from(ffi::PyLong_AsLong(*arguments.add(1))), branches::table_of(&code)) {
            (Ok(from), Some(table)) => answer(table.returned(&code, from), code.as_ptr()),
            _ => not_expected(),
        }
    }
}

/// `INSTRUCTION`, where other events do not tell which way a branch goes: code object, offset.
#[cfg(not(Py_3_14))]
unsafe extern "C" fn on_instruction(
    _module: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    if count != 2 {
        return builtin::none();
    }
    // SAFETY: callbacks run with the lock held; there are two arguments, the first a code object.
    unsafe {
        let code = borrowed(*arguments);
        match (u32::try_from(ffi::PyLong_AsLong(*arguments.add(1))), branches::table_of(&code)) {
            (Ok(from), Some(table)) => answer(table.instruction(&code, from), code.as_ptr()),
            _ => not_expected(),
        }
    }
}
