//! What the plugin and the command need outside of the recording itself.

use std::ffi::OsString;
use std::path::PathBuf;

use hitlog::compactor::{self, Options, Progress};
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;

use crate::notes;

/// Makes a directory for one run below `base` and returns its path. Raises OSError with a sentence.
#[pyfunction]
pub fn create_run_directory(base: PathBuf) -> PyResult<OsString> {
    let created = hitlog::run_directory::create(&base);
    // Until this process ends, whatever happens: `hitlog clean` then leaves the run alone.
    std::mem::forget(created.as_deref().ok().and_then(hitlog::run_directory::hold));
    created.map(PathBuf::into_os_string).map_err(|error| PyOSError::new_err(error.to_string()))
}

/// Compacts the run into `output` and returns the summary, with what this process has to tell of its
/// own recording. Raises RuntimeError with a sentence.
#[pyfunction]
pub fn compact(py: Python<'_>, run_directory: PathBuf, output: PathBuf) -> PyResult<String> {
    let options = Options::new(output);
    py.detach(|| compactor::compact(&[run_directory], &options, &Silent))
        .map(|report| with_notes(report.to_string()))
        .map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

fn with_notes(summary: String) -> String {
    let told = notes::take().into_iter().map(|note| format!("\nnote: {note}"));
    summary.trim_end().to_owned() + &told.collect::<String>()
}

/// Runs the command `hitlog` with these arguments, its own name first, and returns its exit status.
#[pyfunction]
pub fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| hitlog::cli::main(arguments))
}

/// Tells nobody how far it is: pytest has the terminal.
struct Silent;

impl Progress for Silent {
    fn total(&self, _slots: u64) {}
    fn advance(&self, _slots: u64) {}
    fn stage(&self, _name: &str) {}
}
