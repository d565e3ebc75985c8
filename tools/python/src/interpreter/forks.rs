//! Forks, as far as `os.register_at_fork` does not tell of them.
//!
//! * A child that only calls `preexec_fn` and then becomes another program is no process of its own to
//!   anybody. It gets a log only if lines ran in it, and that log ends as before any `exec`.
//! * A child forked by C code finds its lines disabled as they were in its parent (CPython 3.12 and later),
//!   so that nothing might ever call us. glibc calls us in such a child, where only little is allowed, and
//!   the interpreter calls back before it goes on.

use std::ffi::{c_int, c_void};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use hitlog::format::EndReason;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::builtin::{self, Definition};
use crate::session;

/// Nobody said that there will be a fork.
const UNKNOWN: u8 = 0;
/// `os.fork` or `os.forkpty`, which tells the child about it.
const BY_PYTHON: u8 = 1;
/// `subprocess`, with a `preexec_fn`: as above, and the child becomes another program.
const BEFORE_EXEC: u8 = 2;

/// What kind of fork is about to happen.
static EXPECTED: AtomicU8 = AtomicU8::new(UNKNOWN);
/// Whether this process was forked to become another program.
static IS_BEFORE_EXEC: AtomicBool = AtomicBool::new(false);

static HANDLERS: Once = Once::new();
static OUR_FORK_EXEC: Definition =
    Definition::fast(c"fork_exec", c"Spawn a fresh new child process.", fork_exec);
static BEFORE: Definition = Definition::fast(
    c"preexec_fn",
    c"Runs in the child before it becomes another program.",
    before_exec,
);
/// The system's own `_posixsubprocess.fork_exec`.
static FORK_EXEC: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Begins to watch forks, once.
pub fn install() {
    HANDLERS.call_once(|| {
        // SAFETY: both handlers only do what is allowed in a child of a process with several threads, and
        // live as long as the process: an extension module is never unloaded.
        unsafe { libc::pthread_atfork(None, Some(in_parent), Some(in_child)) };
    });
}

/// To be called before `os.fork` and `os.forkpty`.
pub fn expect() {
    EXPECTED.store(BY_PYTHON, Ordering::Relaxed);
}

/// Whether this process is about to become another program, so that it need not be counted.
pub fn is_before_exec() -> bool {
    IS_BEFORE_EXEC.load(Ordering::Relaxed)
}

unsafe extern "C" fn in_parent() {
    EXPECTED.store(UNKNOWN, Ordering::Relaxed);
}

unsafe extern "C" fn in_child() {
    let kind = EXPECTED.swap(UNKNOWN, Ordering::Relaxed);
    IS_BEFORE_EXEC.store(kind == BEFORE_EXEC, Ordering::Relaxed);
    if kind == UNKNOWN {
        // SAFETY: may be called without the interpreter's lock. It takes a lock that another thread would
        // have had to hold at the very moment of the fork, for a few instructions.
        unsafe { ffi::Py_AddPendingCall(Some(forked), std::ptr::null_mut()) };
    }
}

/// The interpreter goes on in a child of whose fork it does not know.
extern "C" fn forked(_argument: *mut c_void) -> c_int {
    if session::is_forked() {
        // SAFETY: the interpreter makes pending calls with its lock held.
        super::after_fork(unsafe { Python::assume_attached() });
    }
    0
}

/// To be called before `subprocess` starts a program: by now its modules are there.
pub fn watch_subprocess(py: Python<'_>) {
    // Whatever goes wrong here must not reach the program.
    let _ = FORK_EXEC.get_or_try_init(py, || replace(py));
}

fn replace(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let module = py.import("_posixsubprocess")?;
    let original = module.getattr("fork_exec")?;
    let ours = OUR_FORK_EXEC.of_module(&module)?;
    module.setattr("fork_exec", &ours)?;
    let modules = py.import("sys")?.getattr("modules")?;
    // Since 3.12 it has a name of its own for the function.
    if let Ok(subprocess) = modules.get_item("subprocess")
        && subprocess.getattr("_fork_exec").is_ok_and(|known| known.is(&original))
    {
        subprocess.setattr("_fork_exec", &ours)?;
    }
    Ok(original.unbind())
}

/// `_posixsubprocess.fork_exec(...)`: the only callable among its arguments is `preexec_fn`.
unsafe extern "C" fn fork_exec(
    _module: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls its functions with the lock held.
    let py = unsafe { Python::assume_attached() };
    let Some(original) = FORK_EXEC.get(py) else { return builtin::none() };
    let place = |index: usize| {
        // SAFETY: the interpreter passes `count` objects, which are alive during the call.
        unsafe { Bound::from_borrowed_ptr(py, *arguments.add(index)) }
    };
    let mut given: Vec<Bound<'_, PyAny>> = (0..count as usize).map(place).collect();
    let preexec = given.iter_mut().find(|argument| argument.is_callable());
    let is_forked = preexec.is_some_and(|preexec| match BEFORE.of_object(preexec) {
        Ok(ours) => {
            *preexec = ours;
            true
        }
        Err(_) => false,
    });
    if is_forked {
        EXPECTED.store(BEFORE_EXEC, Ordering::Relaxed);
    }
    let given: Vec<_> = given.iter().map(Bound::as_ptr).collect();
    // SAFETY: the arguments are alive until `given` of this function goes.
    let result = unsafe {
        ffi::PyObject_Vectorcall(original.as_ptr(), given.as_ptr(), given.len(), std::ptr::null_mut())
    };
    EXPECTED.store(UNKNOWN, Ordering::Relaxed);
    result
}

/// In the child: does what `preexec_fn` is there for. What follows is the `exec`, or an `_exit(255)`.
unsafe extern "C" fn before_exec(
    original: *mut ffi::PyObject,
    _arguments: *mut *mut ffi::PyObject,
    _count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: the object that the function was made of, which it keeps alive; the lock is held.
    let result = unsafe { ffi::PyObject_CallNoArgs(original) };
    if let Some(session) = session::current() {
        let (reason, code) =
            if result.is_null() { (EndReason::Closed, Some(255)) } else { (EndReason::Exec, None) };
        session.recorder.end(reason, code);
    }
    result
}
