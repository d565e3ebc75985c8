//! The code that was loaded before the recording began.
//!
//! Code objects are not known to the garbage collector, but functions, generators and coroutines are,
//! and what runs at the moment is found from the threads' frames.

use pyo3::ffi;
use pyo3::prelude::*;

use super::code;

/// Calls `see` with the code objects of all functions, generators, coroutines and frames there are.
pub fn each_code(
    py: Python<'_>,
    see: &mut dyn FnMut(Bound<'_, PyAny>) -> PyResult<()>,
) -> PyResult<()> {
    for object in py.import("gc")?.call_method0("get_objects")?.try_iter()? {
        if let Some(code) = code_of(&object?) {
            see(code)?;
        }
    }
    let frames = py.import("sys")?.call_method0("_current_frames")?;
    for frame in frames.call_method0("values")?.try_iter()? {
        let mut frame = frame?;
        while !frame.is_none() {
            see(frame.getattr("f_code")?)?;
            frame = frame.getattr("f_back")?;
        }
    }
    Ok(())
}

fn code_of<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let pointer = object.as_ptr();
    // SAFETY: `object` is an object; these only look at its type.
    let (function, generator, coroutine) = unsafe {
        (
            ffi::PyFunction_Check(pointer) != 0,
            ffi::PyGen_CheckExact(pointer) != 0,
            ffi::PyCoro_CheckExact(pointer) != 0,
        )
    };
    if function {
        // SAFETY: it is a function; the reference is borrowed from it.
        let code =
            unsafe { Bound::from_borrowed_ptr_or_opt(object.py(), ffi::PyFunction_GetCode(pointer)) };
        return code.filter(code::is_code);
    }
    let name = match (generator, coroutine) {
        (true, _) => "gi_code",
        (_, true) => "cr_code",
        _ => return None,
    };
    object.getattr(name).ok().filter(code::is_code)
}
