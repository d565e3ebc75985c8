//! Functions that the interpreter calls directly, by its fastest convention.

use std::ffi::{CStr, c_int};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// A callback that gets its arguments as an array.
pub type Fast = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *mut *mut ffi::PyObject,
    ffi::Py_ssize_t,
) -> *mut ffi::PyObject;

/// A function object named `name` in `module` that calls `callback`; lives for ever.
pub fn function<'py>(
    py: Python<'py>,
    module: &str,
    name: &'static CStr,
    doc: &'static CStr,
    callback: Fast,
) -> PyResult<Bound<'py, PyAny>> {
    let method = ffi::PyMethodDefPointer { PyCFunctionFast: callback };
    made(py, module, name, doc, method, ffi::METH_FASTCALL)
}

/// A fresh reference to `None`, which a callback returns.
#[inline(always)]
pub fn none() -> *mut ffi::PyObject {
    // SAFETY: `None` always exists, and callbacks run with the interpreter's lock held.
    unsafe {
        let none = ffi::Py_None();
        ffi::Py_INCREF(none);
        none
    }
}

/// As [`Fast`], with the names of the keyword arguments, which follow the others, in a tuple or null.
pub type FastWithKeywords = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// As [`function`], for a callback that takes keyword arguments.
pub fn function_with_keywords<'py>(
    py: Python<'py>,
    module: &str,
    name: &'static CStr,
    doc: &'static CStr,
    callback: FastWithKeywords,
) -> PyResult<Bound<'py, PyAny>> {
    let method = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: callback };
    made(py, module, name, doc, method, ffi::METH_FASTCALL | ffi::METH_KEYWORDS)
}

fn made<'py>(
    py: Python<'py>,
    module: &str,
    name: &'static CStr,
    doc: &'static CStr,
    ml_meth: ffi::PyMethodDefPointer,
    ml_flags: c_int,
) -> PyResult<Bound<'py, PyAny>> {
    let (ml_name, ml_doc) = (name.as_ptr(), doc.as_ptr());
    let definition = Box::leak(Box::new(ffi::PyMethodDef { ml_name, ml_meth, ml_flags, ml_doc }));
    let module = PyString::new(py, module);
    // SAFETY: the definition lives for ever and its flags say how the callback is called; the result
    // is a fresh reference or null with an exception set.
    unsafe {
        let function = ffi::PyCFunction_NewEx(definition, std::ptr::null_mut(), module.as_ptr());
        Bound::from_owned_ptr_or_err(py, function)
    }
}
