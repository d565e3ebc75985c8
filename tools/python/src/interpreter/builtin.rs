//! Functions that the interpreter calls directly, by its fastest conventions.

use std::ffi::{CStr, c_int};

use pyo3::ffi;
use pyo3::prelude::*;

/// Gets its arguments as an array.
pub type Fast = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *mut *mut ffi::PyObject,
    ffi::Py_ssize_t,
) -> *mut ffi::PyObject;

/// Gets its arguments as an array, at its end those by keyword, whose names come in a tuple (or null).
pub type FastWithKeywords = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// Gets its arguments as a tuple and a dictionary (or null); its stack may be unwound by `pthread_exit`.
#[cfg(not(Py_3_12))]
pub type Unwinding = unsafe extern "C-unwind" fn(
    *mut ffi::PyObject,
    *mut ffi::PyObject,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// What the interpreter has to know of a function; to be kept in a `static`.
pub struct Definition(ffi::PyMethodDef);

// SAFETY: neither we nor the interpreter ever change it.
unsafe impl Sync for Definition {}

impl Definition {
    /// A function that takes arguments by position only.
    pub const fn fast(name: &'static CStr, doc: &'static CStr, callback: Fast) -> Definition {
        let method = ffi::PyMethodDefPointer { PyCFunctionFast: callback };
        Definition::new(name, doc, method, ffi::METH_FASTCALL)
    }

    /// A function that takes arguments by position and by keyword.
    pub const fn fast_with_keywords(
        name: &'static CStr,
        doc: &'static CStr,
        callback: FastWithKeywords,
    ) -> Definition {
        let method = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: callback };
        Definition::new(name, doc, method, ffi::METH_FASTCALL | ffi::METH_KEYWORDS)
    }

    /// A function whose stack may be unwound.
    #[cfg(not(Py_3_12))]
    pub const fn unwinding(name: &'static CStr, doc: &'static CStr, callback: Unwinding) -> Definition {
        // SAFETY: the two types differ in nothing but what they say of unwinding, which is the
        // business of caller and callee: CPython's frames do not mind.
        let callback: ffi::PyCFunctionWithKeywords = unsafe { std::mem::transmute(callback) };
        let method = ffi::PyMethodDefPointer { PyCFunctionWithKeywords: callback };
        Definition::new(name, doc, method, ffi::METH_VARARGS | ffi::METH_KEYWORDS)
    }

    const fn new(
        name: &'static CStr,
        doc: &'static CStr,
        ml_meth: ffi::PyMethodDefPointer,
        ml_flags: c_int,
    ) -> Definition {
        let (ml_name, ml_doc) = (name.as_ptr(), doc.as_ptr());
        Definition(ffi::PyMethodDef { ml_name, ml_meth, ml_flags, ml_doc })
    }

    /// The function as one of `module`.
    pub fn of_module<'py>(&'static self, module: &Bound<'py, PyModule>) -> PyResult<Bound<'py, PyAny>> {
        let name = module.name()?;
        self.function(module, name.as_ptr())
    }

    /// The function as a method of `object`, which the callback gets as its first argument.
    pub fn of_object<'py>(&'static self, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.function(object, std::ptr::null_mut())
    }

    fn function<'py>(
        &'static self,
        object: &Bound<'py, PyAny>,
        module_name: *mut ffi::PyObject,
    ) -> PyResult<Bound<'py, PyAny>> {
        let definition = std::ptr::from_ref(&self.0).cast_mut();
        // SAFETY: the definition lives for ever, its flags say how the callback is called, and the
        // interpreter only reads it; the result is a fresh reference or null with an exception set.
        unsafe {
            let function = ffi::PyCFunction_NewEx(definition, object.as_ptr(), module_name);
            Bound::from_owned_ptr_or_err(object.py(), function)
        }
    }
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
