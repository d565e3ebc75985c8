//! Reports of lines through `sys.monitoring` (CPython 3.12 and later).
//!
//! No event is on for the whole interpreter: each code object of a measured file gets events of its
//! own when it is seen for the first time, so that all other code runs at full speed. A line that needs
//! no more reports in this context is disabled, and armed again at the next switch by turning the
//! events of its code object off and on, which disturbs no other tool.

use std::sync::Mutex;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple};

use super::builtin::Definition;
use super::{branches, builtin, code, events, loaded};
use crate::session::{self, Session};

/// Ids of tools in the order in which they are tried; 0 to 2 and 5 have a use by convention.
const TOOL_IDS: [i32; 6] = [4, 3, 5, 2, 0, 1];

/// What is needed of `sys.monitoring`, looked up once.
struct Monitoring {
    use_tool_id: Py<PyAny>,
    free_tool_id: Py<PyAny>,
    register_callback: Py<PyAny>,
    restart_events: Py<PyAny>,
    get_local_events: Py<PyAny>,
    set_local_events: Py<PyAny>,
    disable: Py<PyAny>,
    line_event: i32,
    start_event: i32,
    return_event: i32,
    #[cfg(not(Py_3_14))]
    instruction_event: i32,
    /// One event, or one for each way.
    branch_events: Vec<i32>,
    on_line: Py<PyAny>,
    on_start: Py<PyAny>,
    on_branch: Py<PyAny>,
    on_return: Py<PyAny>,
    #[cfg(not(Py_3_14))]
    on_instruction: Py<PyAny>,
    /// The instruction `RESUME`, at which the body of each function begins.
    resume: u8,
}

#[cfg(not(Py_3_14))]
const BRANCH_EVENTS: [&str; 1] = ["BRANCH"];
#[cfg(Py_3_14)]
const BRANCH_EVENTS: [&str; 2] = ["BRANCH_LEFT", "BRANCH_RIGHT"];
static MONITORING: PyOnceLock<Monitoring> = PyOnceLock::new();

#[derive(Default)]
struct State {
    tool: Option<i32>,
    /// Code objects with lines that were disabled since the last switch.
    hot: Vec<Py<PyAny>>,
}

static STATE: Mutex<State> = Mutex::new(State { tool: None, hot: Vec::new() });

fn with_state<R>(work: impl FnOnce(&mut State) -> R) -> R {
    work(&mut STATE.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn monitoring(py: Python<'_>) -> PyResult<&'static Monitoring> {
    MONITORING.get_or_try_init(py, || {
        let module = py.import("sys")?.getattr("monitoring")?;
        let numbers = module.getattr("events")?;
        let get = |name: &str| module.getattr(name).map(Bound::unbind);
        let hitlog = py.import("hitlog")?;
        let function =
            |definition: &'static Definition| definition.of_module(&hitlog).map(Bound::unbind);
        Ok(Monitoring {
            use_tool_id: get("use_tool_id")?,
            free_tool_id: get("free_tool_id")?,
            register_callback: get("register_callback")?,
            restart_events: get("restart_events")?,
            get_local_events: get("get_local_events")?,
            set_local_events: get("set_local_events")?,
            disable: get("DISABLE")?,
            line_event: numbers.getattr("LINE")?.extract()?,
            start_event: numbers.getattr("PY_START")?.extract()?,
            return_event: numbers.getattr("PY_RETURN")?.extract()?,
            #[cfg(not(Py_3_14))]
            instruction_event: numbers.getattr("INSTRUCTION")?.extract()?,
            branch_events: BRANCH_EVENTS
                .iter()
                .map(|name| numbers.getattr(name)?.extract())
                .collect::<PyResult<_>>()?,
            on_line: function(&events::ON_LINE)?,
            on_start: function(&events::ON_START)?,
            on_branch: function(&events::ON_BRANCH)?,
            on_return: function(&events::ON_RETURN)?,
            #[cfg(not(Py_3_14))]
            on_instruction: function(&events::ON_INSTRUCTION)?,
            resume: resume_instruction(py)?,
        })
    })
}

fn resume_instruction(py: Python<'_>) -> PyResult<u8> {
    let function = py.eval(c"lambda: None", None, None)?;
    let bytes = function.getattr("__code__")?.getattr("co_code")?;
    Ok(bytes.cast::<PyBytes>()?.as_bytes()[0])
}

/// Takes a tool id and arms the code that is there already.
pub fn start(py: Python<'_>, _session: &'static Session) -> PyResult<()> {
    let monitoring = monitoring(py)?;
    let tool = take_tool_id(py, monitoring)?;
    with_state(|state| state.tool = Some(tool));
    let register = |event: i32, callback: &Py<PyAny>| {
        monitoring.register_callback.call1(py, (tool, event, callback)).map(drop)
    };
    register(monitoring.line_event, &monitoring.on_line)?;
    register(monitoring.start_event, &monitoring.on_start)?;
    if session::has_branches() {
        branches::prepare(py)?;
        for event in &monitoring.branch_events {
            register(*event, &monitoring.on_branch)?;
        }
        register(monitoring.return_event, &monitoring.on_return)?;
        #[cfg(not(Py_3_14))]
        register(monitoring.instruction_event, &monitoring.on_instruction)?;
    }
    loaded::each_code(py, &mut |code| see(&code))
}

fn take_tool_id(py: Python<'_>, monitoring: &Monitoring) -> PyResult<i32> {
    let free = |tool: &i32| monitoring.use_tool_id.call1(py, (*tool, "hitlog")).is_ok();
    TOOL_IDS.into_iter().find(free).ok_or_else(|| {
        PyRuntimeError::new_err("all tool ids of sys.monitoring are taken by other tools")
    })
}

/// Whether events still reach us; other tools have ids of their own.
pub fn is_observing(_py: Python<'_>) -> PyResult<bool> {
    Ok(with_state(|state| state.tool.is_some()))
}

/// Gives the tool id back.
pub fn stop(py: Python<'_>) -> PyResult<()> {
    let monitoring = monitoring(py)?;
    let (tool, hot) = with_state(|state| (state.tool.take(), std::mem::take(&mut state.hot)));
    drop(hot);
    let Some(tool) = tool else { return Ok(()) };
    let events = [monitoring.line_event, monitoring.start_event, monitoring.return_event];
    for event in events.iter().chain(&monitoring.branch_events) {
        monitoring.register_callback.call1(py, (tool, event, py.None()))?;
    }
    monitoring.free_tool_id.call1(py, (tool,)).map(drop)
}

/// Arms again what was disabled since the last switch.
pub fn report_hot(py: Python<'_>) -> PyResult<()> {
    let (tool, mut hot) = with_state(|state| (state.tool, std::mem::take(&mut state.hot)));
    let Some(tool) = tool else { return Ok(()) };
    hot.sort_unstable_by_key(|code| code.as_ptr());
    hot.dedup_by_key(|code| code.as_ptr());
    let monitoring = monitoring(py)?;
    for code in hot {
        let events = monitoring.get_local_events.call1(py, (tool, &code))?.extract(py)?;
        report(monitoring, tool, code.bind(py), events)?;
    }
    Ok(())
}

/// Arms again everything that was ever disabled. Other tools get their disabled events once more, too.
pub fn report_all(py: Python<'_>) -> PyResult<()> {
    let (tool, hot) = with_state(|state| (state.tool, std::mem::take(&mut state.hot)));
    drop(hot);
    if tool.is_none() {
        return Ok(());
    }
    monitoring(py)?.restart_events.call0(py).map(drop)
}

/// A code object is about to run, or was found: arms it, and what lies in it, if its file is measured.
pub fn see(found: &Bound<'_, PyAny>) -> PyResult<()> {
    let Some(session) = session::current() else { return Ok(()) };
    // SAFETY: callers hand over code objects only (`audit` and `loaded` check it).
    let known = unsafe { code::file_of(found.as_ptr()) };
    if known.is_some_and(|file| session.owns(file)) {
        return Ok(());
    }
    let Some(file) = code::decide(found, session) else { return Ok(()) };
    if !file.is_measured() {
        return Ok(());
    }
    let Some(tool) = with_state(|state| state.tool) else { return Ok(()) };
    let monitoring = monitoring(found.py())?;
    let mut waiting = vec![found.clone()];
    while let Some(code) = waiting.pop() {
        // SAFETY: only code objects are put into `waiting`.
        let before = unsafe { code::file_of(code.as_ptr()) };
        if before.is_some_and(|before| session.owns(before)) {
            continue;
        }
        // SAFETY: as above.
        if !unsafe { code::set_file(code.as_ptr(), file) } {
            continue;
        }
        let mut events = monitoring.line_event;
        if cfg!(Py_3_13) && begins_with_its_body(monitoring, &code)? {
            events |= monitoring.start_event;
        }
        let constants = code.getattr(pyo3::intern!(code.py(), "co_consts"))?;
        let inner: Vec<_> = constants.cast_into::<PyTuple>()?.iter().filter(code::is_code).collect();
        if session::has_branches() {
            // SAFETY: as above.
            unsafe { branches::attach(&code, file, !inner.is_empty()) };
            events |= monitoring.branch_events.iter().sum::<i32>() | monitoring.return_event;
            #[cfg(not(Py_3_14))]
            if branches::has_async_for(&code)? {
                events |= monitoring.instruction_event;
            }
        }
        report(monitoring, tool, &code, events)?;
        waiting.extend(inner);
    }
    Ok(())
}

/// Turns the events of a code object off and these on, which arms its disabled lines again.
fn report(monitoring: &Monitoring, tool: i32, code: &Bound<'_, PyAny>, events: i32) -> PyResult<()> {
    let py = code.py();
    monitoring.set_local_events.call1(py, (tool, code, 0))?;
    monitoring.set_local_events.call1(py, (tool, code, events)).map(drop)
}

/// Whether the body of `code` begins on the line of its `RESUME`: `def f(): pass`, a lambda, a function
/// that is only a docstring. CPython 3.13 to 3.15 do not report that line (issue 155992) unless the
/// start of the function is reported too.
fn begins_with_its_body(monitoring: &Monitoring, code: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = code.py();
    let instructions = code.getattr(pyo3::intern!(py, "co_code"))?.cast_into::<PyBytes>()?;
    let mut instructions = instructions.as_bytes().chunks_exact(2);
    let Some(resume) = instructions.position(|unit| unit[0] == monitoring.resume) else {
        return Ok(true);
    };
    let (resume, body) = (2 * resume, 2 * resume + 2);
    let mut resume_line = None;
    for range in code.call_method0(pyo3::intern!(py, "co_lines"))?.try_iter()? {
        let (start, end, line): (usize, usize, Option<u32>) = range?.extract()?;
        if (start..end).contains(&resume) {
            resume_line = line;
        }
        if (start..end).contains(&body) {
            return Ok(line == resume_line);
        }
    }
    Ok(false)
}

/// Remembers that events of `code` were disabled, and have to be armed at the next switch of contexts.
pub fn remember_hot(code: &Bound<'_, PyAny>) {
    with_state(|state| {
        if state.hot.last().is_none_or(|last| last.as_ptr() != code.as_ptr()) {
            state.hot.push(code.clone().unbind());
        }
    });
}

/// What a callback returns so that the event is not reported again.
pub fn disable(py: Python<'_>) -> *mut ffi::PyObject {
    MONITORING.get(py).map_or_else(builtin::none, |known| known.disable.clone_ref(py).into_ptr())
}
