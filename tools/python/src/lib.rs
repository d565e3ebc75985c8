//! The extension module `hitlog._native`: the recorder inside a Python process.
//!
//! ```text
//! hitlog.pth -> hitlog._start -> start: configuration, filter, session (the log of this process)
//! interpreter: code is about to run  -> which file? measured? -> its lines are reported
//!              a line ran            -> session: seen in this context? -> Recorder::line
//! pytest plugin, hitlog.context      -> switch_context
//! ```
//!
//! `interpreter` is the only module that touches CPython's insides; `stamps` the only other one with
//! `unsafe`. Nothing here ever disturbs the program: what fails before recording begins is told to
//! `hitlog._start`, which keeps it to itself; what fails later becomes a note.

#![deny(unsafe_code)]

#[cfg(not(any(Py_3_9, doc)))]
compile_error!("hitlog records CPython 3.9 and later; build it with one of these");
#[cfg(any(PyPy, GraalPy))]
compile_error!(
    "hitlog records CPython only: PyPy and GraalPy have no way to follow code objects at low cost"
);
#[cfg(Py_GIL_DISABLED)]
compile_error!(
    "hitlog does not record free-threaded builds of CPython: use the ordinary build of the same version"
);

mod children;
mod commands;
mod configuration;
mod error;
mod filter;
mod glob;
#[allow(unsafe_code)]
mod interpreter;
mod notes;
mod real_path;
mod session;
#[allow(unsafe_code)]
mod stamps;

use std::path::PathBuf;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::Error;
use crate::session::Session;

/// The recorder inside a Python process.
#[pymodule(gil_used = true)]
mod _native {
    #[pymodule_export]
    use super::commands::{affected, check_output, compact, create_run_directory, look, main, update};
    #[pymodule_export]
    use super::{
        after_fork, begin, child_starts, end, has_configuration, is_main_thread, is_recording, mention,
        sample, switch_context,
    };
}

/// Whether the run in `run_directory` has its measuring configuration.
#[pyfunction]
fn has_configuration(run_directory: PathBuf) -> bool {
    configuration::configuration_path(&run_directory).exists()
}

/// Begins to record this process into `run_directory`, in `context`; files below the directories
/// `excluded` are not measured. Returns whether the run wants a context for each test of unittest. Raises
/// RuntimeError with a sentence if that cannot be; then nothing is recorded, and nothing has changed.
///
/// All threads are recorded, whichever calls this. Does nothing in a process that is recorded already.
#[pyfunction]
fn begin(
    py: Python<'_>,
    run_directory: PathBuf,
    context: &Bound<'_, PyAny>,
    excluded: Vec<PathBuf>,
) -> PyResult<bool> {
    if session::current().is_some() {
        return Ok(false);
    }
    let excluded = excluded.iter().map(|path| configuration::path_bytes(path).to_vec()).collect();
    let context = context_bytes(context)?;
    let settings = configuration::read(&run_directory).map_err(refusal)?;
    notes::write_into(&run_directory);
    let session = Session::begin(&run_directory, &settings, excluded, &context).map_err(refusal)?;
    interpreter::start(py, session).map_err(|error| {
        session.end(None);
        refusal(Error::Interpreter { reason: error.value(py).to_string() })
    })?;
    children::begin(&run_directory, &context);
    Ok(settings.test_contexts)
}

/// Takes those of these files down that are measured, whether anything of them runs or not. In a process
/// that is not recorded it does nothing.
#[pyfunction]
fn mention(py: Python<'_>, paths: Vec<PathBuf>) {
    let Some(session) = session::current() else { return };
    let packages = &session.filter.source_packages;
    for path in paths {
        let name = configuration::path_bytes(&path);
        session.file(name, |path| interpreter::packages::contain(py, packages, path));
    }
}

fn refusal(error: Error) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

/// Ends the recording of this process, with its exit status (0 to 255) if that is known: lines that run
/// from here on, in whichever thread, are not recorded. Children that are recorded by then go on.
#[pyfunction]
#[pyo3(signature = (exit_status = None))]
fn end(py: Python<'_>, exit_status: Option<i32>) {
    let Some(session) = session::current() else { return };
    interpreter::stop(py);
    children::end();
    session.end(exit_status.map(|status| (status & 0xff) as u16));
}

/// Whether this process is being recorded.
#[pyfunction]
fn is_recording() -> bool {
    session::current().is_some()
}

/// Whether the calling thread is the first one of this process.
#[pyfunction]
fn is_main_thread() -> bool {
    interpreter::is_main_thread()
}

/// Makes `name` the context: in the main thread that of the process, in another thread its own one
/// (`None`: the process's). Returns the one before, to be given back; `None` if there was none, or in a
/// process that is not recorded. Bytes that are no UTF-8 come back as surrogates (PEP 383). A forked child
/// goes on in the context of the thread that forked. Raises TypeError for what is no text.
#[pyfunction]
fn switch_context<'py>(
    py: Python<'py>,
    name: Option<&Bound<'py, PyAny>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(session) = session::current() else { return Ok(None) };
    let name = name.map(context_bytes).transpose()?;
    let before = if interpreter::is_main_thread() {
        Some(session.switch_context(&name.unwrap_or_default()))
    } else {
        session.switch_own_context(name.as_deref())
    };
    interpreter::context_switched(py, session);
    before.map(|bytes| context_text(py, &bytes)).transpose()
}

/// To be called when the calling thread is about to start a process, so that a child finds its context
/// without the environment; returns that context, empty in a process that is not recorded.
#[pyfunction]
fn child_starts(py: Python<'_>) -> Bound<'_, PyBytes> {
    let context = session::current().map(|session| {
        children::starts(session);
        session.context_of_thread()
    });
    PyBytes::new(py, &context.unwrap_or_default())
}

/// Records a measurement, in the unit that `name` tells, with the time of the call and the context of the
/// calling thread. Raises OverflowError or TypeError for what is no whole number from 0 to 2**64 - 1. In a
/// process that is not recorded it does nothing else.
#[pyfunction]
fn sample(name: &Bound<'_, PyAny>, value: u64) -> PyResult<()> {
    let name = context_bytes(name)?;
    if let Some(session) = session::current() {
        session.recorder.sample(name, value);
    }
    Ok(())
}

/// To be called in every forked child, before anything else: it gets a log of its own, and its only thread
/// becomes its main thread. In a process that is not recorded, or was not forked, nothing is lost by it.
#[pyfunction]
fn after_fork(py: Python<'_>) {
    interpreter::after_fork(py);
}

/// The bytes of a name, as the file system would have them.
fn context_bytes(name: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = name.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    interpreter::text_bytes(name)
}

fn context_text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    PyBytes::new(py, bytes).call_method1("decode", ("utf-8", "surrogateescape"))
}
