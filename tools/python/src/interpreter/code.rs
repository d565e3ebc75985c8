//! Which measured file a code object belongs to.
//!
//! CPython keeps one pointer per code object for us (`co_extra`): null while nothing was decided, else
//! a [`MeasuredFile`], which lives for ever. Code objects hold no reference to it, so that nothing has
//! to be done when one is freed.

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicIsize, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::packages;
use crate::session::{MeasuredFile, Session};

/// Our place among the extra pointers; negative: none yet.
static INDEX: AtomicIsize = AtomicIsize::new(-1);

unsafe extern "C" fn keep(_extra: *mut c_void) {}

/// Gets a place in code objects, once per process.
pub fn prepare() -> PyResult<()> {
    if INDEX.load(Ordering::Relaxed) < 0 {
        // SAFETY: the lock is held (the caller has a `PyResult`-returning interpreter call to make).
        let index = unsafe { ffi::PyUnstable_Eval_RequestCodeExtraIndex(keep) };
        INDEX.store(index, Ordering::Relaxed);
    }
    if INDEX.load(Ordering::Relaxed) < 0 {
        return Err(PyRuntimeError::new_err("too many tools keep data in code objects"));
    }
    Ok(())
}

/// The file of `code`, if that was decided.
///
/// # Safety
/// `code` is a code object, and the interpreter's lock is held.
#[inline(always)]
pub unsafe fn file_of(code: *mut ffi::PyObject) -> Option<&'static MeasuredFile> {
    let mut extra = std::ptr::null_mut();
    // SAFETY: as the caller promises; `extra` is a place for a pointer.
    unsafe { ffi::PyUnstable_Code_GetExtra(code, INDEX.load(Ordering::Relaxed), &mut extra) };
    // SAFETY: only `set_file` stores there, and only files that live for ever.
    unsafe { extra.cast::<MeasuredFile>().as_ref() }
}

/// Remembers the file of `code`; `false` if there is no memory.
///
/// # Safety
/// As [`file_of`].
pub unsafe fn set_file(code: *mut ffi::PyObject, file: &'static MeasuredFile) -> bool {
    let extra = std::ptr::from_ref(file).cast_mut().cast();
    // SAFETY: as the caller promises.
    let result = unsafe { ffi::PyUnstable_Code_SetExtra(code, INDEX.load(Ordering::Relaxed), extra) };
    if result != 0 {
        // SAFETY: the lock is held.
        unsafe { ffi::PyErr_Clear() };
    }
    result == 0
}

/// Code objects of so many code units are long: a report of a line costs microseconds there.
#[cfg(Py_3_12)]
const LONG: ffi::Py_ssize_t = 1000;

/// Whether reports of lines of `code` are dear: CPython 3.12 and 3.13 look up the number of a line from
/// the beginning of the code object, each time. From the third report on, arming the line is cheaper.
///
/// # Safety
/// As [`file_of`].
#[cfg(Py_3_12)]
#[inline(always)]
pub unsafe fn has_dear_lines(code: *mut ffi::PyObject) -> bool {
    // SAFETY: as the caller promises; a code object's size is the number of its code units.
    !cfg!(Py_3_14) && unsafe { ffi::Py_SIZE(code) } >= LONG
}

/// Decides which file `code` belongs to, by its `co_filename`.
pub fn decide(code: &Bound<'_, PyAny>, session: &'static Session) -> Option<&'static MeasuredFile> {
    let py = code.py();
    let name = code.getattr(pyo3::intern!(py, "co_filename")).ok()?;
    let name = text_bytes(&name).ok()?;
    Some(session.file(&name, |path| packages::contain(py, &session.filter.source_packages, path)))
}

/// The bytes of a text as the file system has them; what cannot be a file's name is encoded as it is.
pub fn text_bytes(text: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    encoded(text, c"surrogateescape").or_else(|_| encoded(text, c"surrogatepass"))
}

fn encoded(text: &Bound<'_, PyAny>, errors: &CStr) -> PyResult<Vec<u8>> {
    // SAFETY: `text` is an object, the other arguments are texts that end with NUL; the result is a
    // fresh reference or null with an exception set (also when `text` is no text).
    let bytes = unsafe {
        let encoding = c"utf-8".as_ptr();
        let bytes = ffi::PyUnicode_AsEncodedString(text.as_ptr(), encoding, errors.as_ptr());
        Bound::from_owned_ptr_or_err(text.py(), bytes)
    };
    bytes?.extract()
}

/// Whether `object` is a code object.
#[cfg(Py_3_12)]
pub fn is_code(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: `object` is an object.
    unsafe { ffi::PyCode_Check(object.as_ptr()) != 0 }
}
