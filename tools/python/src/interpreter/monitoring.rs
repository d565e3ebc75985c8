//! Reports of lines through `sys.monitoring` (CPython 3.12 and later).
//!
//! No event is on for the whole interpreter: each code object of a measured file gets events of its
//! own when it is seen for the first time, so that all other code runs at full speed. A line that needs
//! no more reports in this context is disabled, and armed again at the next switch by turning the
//! events of its code object off and on, which disturbs no other tool.
//!
//! Programs can take our tool id away (tests of tools do). The next switch of contexts notices, takes
//! an id again and arms all code anew.

use std::sync::Mutex;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString, PyTuple, PyWeakrefReference};

use super::builtin::Definition;
use super::{branches, builtin, code, events, loaded};
use crate::notes;
use crate::session::{self, Session};

/// Ids of tools in the order in which they are tried. The others have a use by convention: debuggers,
/// coverage.py, profilers and optimizers that come later find theirs free.
const TOOL_IDS: [i32; 2] = [4, 3];
const TAKEN_AWAY: &str = "the program gave back or took hitlog's tool id of sys.monitoring: lines that \
                          ran from then until the next context may be missing";
/// So many code objects wait to be armed before those that are gone are looked for.
const HOT_ROOM: usize = 1024;

/// What is needed of `sys.monitoring`, looked up once.
struct Monitoring {
    /// The very object that shows that a tool id is ours.
    name: Py<PyString>,
    get_tool: Py<PyAny>,
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
    /// Code objects with lines that were disabled since the last switch. They may be freed meanwhile:
    /// a program may `exec` any number of texts in one context.
    hot: Vec<Py<PyWeakrefReference>>,
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
            name: PyString::new(py, "hitlog").unbind(),
            get_tool: get("get_tool")?,
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
    if session::has_branches() {
        branches::prepare(py)?;
    }
    for (event, callback) in callbacks(monitoring) {
        monitoring.register_callback.call1(py, (tool, event, callback))?;
    }
    loaded::each_code(py, &mut |code| see(&code))
}

/// All events that are ever asked for, each with the function that gets it.
fn callbacks(monitoring: &Monitoring) -> Vec<(i32, &Py<PyAny>)> {
    let mut callbacks = vec![
        (monitoring.line_event, &monitoring.on_line),
        (monitoring.start_event, &monitoring.on_start),
        (monitoring.return_event, &monitoring.on_return),
        #[cfg(not(Py_3_14))]
        (monitoring.instruction_event, &monitoring.on_instruction),
    ];
    callbacks.extend(monitoring.branch_events.iter().map(|event| (*event, &monitoring.on_branch)));
    callbacks
}

fn take_tool_id(py: Python<'_>, monitoring: &Monitoring) -> PyResult<i32> {
    let free = |tool: &i32| monitoring.use_tool_id.call1(py, (*tool, &monitoring.name)).is_ok();
    TOOL_IDS.into_iter().find(free).ok_or_else(|| {
        let holder = |tool| monitoring.get_tool.call1(py, (tool,)).map(|name| name.to_string());
        let [first, second] =
            TOOL_IDS.map(|tool| format!("{tool} by {}", holder(tool).unwrap_or_default()));
        PyRuntimeError::new_err(format!(
            "the tool ids of sys.monitoring that have no use by convention are taken: {first}, {second}"
        ))
    })
}

/// Whether `tool` is still our id.
fn is_ours(py: Python<'_>, monitoring: &Monitoring, tool: i32) -> bool {
    monitoring.get_tool.call1(py, (tool,)).is_ok_and(|name| name.is(&monitoring.name))
}

/// Gives the tool id back, if it is still ours.
pub fn stop(py: Python<'_>) {
    let (tool, hot) = with_state(|state| (state.tool.take(), std::mem::take(&mut state.hot)));
    drop(hot);
    let (Some(tool), Some(monitoring)) = (tool, MONITORING.get(py)) else { return };
    if !is_ours(py, monitoring, tool) {
        notes::tell(TAKEN_AWAY);
        return;
    }
    for (event, _) in callbacks(monitoring) {
        // Nothing is left to do when this fails: without a recording the callbacks do nothing.
        let _ = monitoring.register_callback.call1(py, (tool, event, py.None()));
    }
    let _ = monitoring.free_tool_id.call1(py, (tool,));
}

/// Notices that our tool id is not ours any more, and begins again with another one.
pub fn check(py: Python<'_>, session: &'static Session) {
    let Some(tool) = with_state(|state| state.tool) else { return };
    if MONITORING.get(py).is_some_and(|monitoring| is_ours(py, monitoring, tool)) {
        return;
    }
    notes::tell(TAKEN_AWAY);
    with_state(|state| state.tool = None);
    // Whether code kept its events depends on the version: all of it is looked at anew.
    session.forget_files();
    if let Err(error) = start(py, session) {
        stop(py);
        notes::tell(&format!("no line is recorded any more: {}", error.value(py)));
    }
}

/// Arms again what was disabled since the last switch.
pub fn report_hot(py: Python<'_>) -> PyResult<()> {
    let (tool, mut hot) = with_state(|state| (state.tool, std::mem::take(&mut state.hot)));
    let Some(tool) = tool else { return Ok(()) };
    hot.sort_unstable_by_key(|code| code.as_ptr());
    hot.dedup_by_key(|code| code.as_ptr());
    let monitoring = monitoring(py)?;
    for code in hot {
        let Some(code) = code.bind(py).upgrade() else { continue };
        #[cfg_attr(Py_3_14, expect(unused_mut))]
        let mut events: i32 = monitoring.get_local_events.call1(py, (tool, &code))?.extract(py)?;
        #[cfg(not(Py_3_14))]
        if events & monitoring.instruction_event != 0 {
            events = events_of(monitoring, &code)?;
        }
        report(monitoring, tool, &code, events)?;
    }
    Ok(())
}

/// Lets each instruction of `code` be reported, unless they are already.
#[cfg(not(Py_3_14))]
pub fn watch_instructions(code: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = code.py();
    let monitoring = monitoring(py)?;
    let Some(tool) = with_state(|state| state.tool) else { return Ok(()) };
    let events: i32 = monitoring.get_local_events.call1(py, (tool, code))?.extract(py)?;
    if events & monitoring.instruction_event != 0 {
        return Ok(());
    }
    let events = events | monitoring.instruction_event;
    monitoring.set_local_events.call1(py, (tool, code, events)).map(drop)
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
        let constants = code.getattr(pyo3::intern!(code.py(), "co_consts"))?;
        let inner: Vec<_> = constants.cast_into::<PyTuple>()?.iter().filter(code::is_code).collect();
        if session::has_branches() {
            // SAFETY: as above.
            unsafe { branches::attach(&code, file) };
        }
        report(monitoring, tool, &code, events_of(monitoring, &code)?)?;
        waiting.extend(inner);
    }
    Ok(())
}

/// The events that are needed of `code`.
fn events_of(monitoring: &Monitoring, code: &Bound<'_, PyAny>) -> PyResult<i32> {
    let mut events = monitoring.line_event;
    if cfg!(Py_3_13) && begins_with_its_body(monitoring, code)? {
        events |= monitoring.start_event;
    }
    if session::has_branches() {
        events |= monitoring.branch_events.iter().sum::<i32>() | monitoring.return_event;
        #[cfg(not(Py_3_14))]
        if branches::has_async_for(code)? {
            events |= monitoring.instruction_event;
        }
    }
    Ok(events)
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
///
/// # Errors
/// There is no memory for it; then nothing may be disabled.
pub fn remember_hot(code: &Bound<'_, PyAny>) -> PyResult<()> {
    // A code object has one such reference for all who ask.
    let code = PyWeakrefReference::new(code)?;
    let is_full = with_state(|state| {
        if state.hot.last().is_none_or(|last| !last.is(&code)) {
            state.hot.push(code.clone().unbind());
        }
        state.hot.len() == state.hot.capacity() && state.hot.len() >= HOT_ROOM
    });
    if is_full {
        forget_freed(code.py());
    }
    Ok(())
}

/// Makes room among the code objects to arm, so that their list grows only with those that are alive.
fn forget_freed(py: Python<'_>) {
    let mut hot = with_state(|state| std::mem::take(&mut state.hot));
    hot.sort_unstable_by_key(|code| code.as_ptr());
    hot.dedup_by_key(|code| code.as_ptr());
    hot.retain(|code| code.bind(py).upgrade().is_some());
    hot.reserve(hot.len().max(HOT_ROOM));
    with_state(|state| {
        hot.append(&mut state.hot);
        state.hot = hot;
    });
}

/// What a callback returns so that the event is not reported again.
pub fn disable(py: Python<'_>) -> *mut ffi::PyObject {
    MONITORING.get(py).map_or_else(builtin::none, |known| known.disable.clone_ref(py).into_ptr())
}
