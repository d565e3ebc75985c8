//! What the plugin and the command need outside of the recording itself.

use std::path::PathBuf;

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;

/// Makes a directory for one run below `base` and returns its path. Raises OSError with a sentence.
#[pyfunction]
pub fn create_run_directory(base: PathBuf) -> PyResult<PathBuf> {
    hitlog::run_directory::create(&base).map_err(|error| PyOSError::new_err(error.to_string()))
}

/// Compacts the run into `output` and returns the summary. Raises RuntimeError with a sentence.
#[pyfunction]
pub fn compact(run_directory: PathBuf, output: PathBuf) -> PyResult<String> {
    let _ = (run_directory, output);
    Err(PyRuntimeError::new_err("not built in"))
}

/// Runs the command `hitlog` with these arguments, its own name first, and returns its exit status.
#[pyfunction]
pub fn main(py: Python<'_>, arguments: Vec<std::ffi::OsString>) -> u8 {
    let _ = (py, arguments);
    2
}
