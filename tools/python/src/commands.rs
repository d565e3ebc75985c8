//! What the plugin and the command need outside of the recording itself.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use hitlog::compactor::{self, Options, Report};
use hitlog::query::affected::{Options as Question, Request, Surroundings, affected as ask};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

/// Makes a directory for one run below `base` and returns its path. Raises OSError with a sentence.
#[pyfunction]
pub fn create_run_directory(base: PathBuf) -> PyResult<OsString> {
    let created = hitlog::run_directory::create(&base);
    // Until this process ends, whatever happens: `hitlog clean` then leaves the run alone.
    std::mem::forget(created.as_deref().ok().and_then(hitlog::run_directory::hold));
    created.map(PathBuf::into_os_string).map_err(|error| PyOSError::new_err(error.to_string()))
}

/// Raises RuntimeError with a sentence if no result can be written at `output`. Nothing is left there.
#[pyfunction]
pub fn check_output(output: PathBuf) -> PyResult<()> {
    compactor::check_output(&output).map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

/// Compacts the run into `output`; returns the summary, and whether all processes ended by themselves and
/// nothing of what they recorded is missing. Raises RuntimeError with a sentence.
#[pyfunction]
pub fn compact(py: Python<'_>, run_directory: PathBuf, output: PathBuf) -> PyResult<(String, bool)> {
    let options = Options::new(output);
    py.detach(|| compactor::compact(&[run_directory], &options, &()))
        .map(|report| (report.to_string(), is_smooth(&report)))
        .map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

fn is_smooth(report: &Report) -> bool {
    report.is_whole() && report.processes.not_ended.is_empty() && report.notes.is_empty()
}

/// Compacts the run, in which some tests of the recording `output` ran again, and puts it into that. `selected`
/// are the tests that were to run, `collected` all that there are, or none if that is not known. Returns and
/// raises as `compact` does.
#[pyfunction]
pub fn update(
    py: Python<'_>,
    run_directory: PathBuf,
    output: PathBuf,
    selected: Vec<String>,
    collected: Vec<String>,
) -> PyResult<(String, bool)> {
    py.detach(|| compactor::renew(run_directory, &output, &selected, &collected))
        .map(|report| (report.to_string(), is_smooth(&report)))
        .map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

/// Tells as JSON which tests must run that are in the recording `database`, under a Python of version
/// `python`. Raises RuntimeError with a sentence.
#[pyfunction]
pub fn affected(py: Python<'_>, database: PathBuf, python: String) -> PyResult<String> {
    let question = Question { database, since: None, python: Some(python) };
    let answer = py.detach(|| ask(&question));
    let answer = answer.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    Ok(serde_json::json!(answer).to_string())
}

/// Looks at what tests depend on beside the code that they run; both are JSON. What was modified later than
/// `since_ns`, in nanoseconds since 1970 UTC, counts as changed. Raises ValueError.
#[pyfunction]
pub fn look(py: Python<'_>, request: &str, since_ns: u64) -> PyResult<String> {
    let since = Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(since_ns));
    let request: Request =
        serde_json::from_str(request).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(serde_json::json!(py.detach(|| Surroundings::look(request, since))).to_string())
}

/// Runs the command `hitlog` with these arguments, its own name first, and returns its exit status.
#[pyfunction]
pub fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| hitlog::cli::main(arguments))
}
