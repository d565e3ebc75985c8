//! Reports of branches through `sys.monitoring` (CPython 3.12 and later).
//!
//! Each code object gets a table of its branches, in a second extra pointer of its own, which grows
//! with the ways that are taken: offset of the branch, offset of the destination, and the arc between
//! lines that they stand for, worked out once. As for lines, a stamp says whether the way was seen in
//! this context.

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicIsize, AtomicU32, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::instructions::{self, Instructions};
use crate::session::{self, MeasuredFile, Verdict};
use crate::stamps;

/// Our second place among the extra pointers of code objects; negative: none.
static INDEX: AtomicIsize = AtomicIsize::new(-1);

/// The destination of what ends the function.
const EXIT: u32 = u32::MAX;

/// The branches of one code object.
struct Branches {
    file: &'static MeasuredFile,
    /// Read when the first branch is taken.
    instructions: RefCell<Option<Instructions>>,
    known: RefCell<Vec<Branch>>,
    /// Transitions that follow from the lines that run, from each line that makes a function.
    implied: RefCell<Option<Vec<(i32, i32)>>>,
}

/// A branch, with the ways that were taken so far.
struct Branch {
    offset: u32,
    ways: [Option<Way>; 2],
}

#[derive(Clone, Copy)]
struct Way {
    destination: u32,
    arc: Option<(i32, i32)>,
    stamp: &'static AtomicU32,
}

unsafe extern "C" fn free(extra: *mut c_void) {
    if !extra.is_null() {
        // SAFETY: only `attach` stores there, and the code object is going away.
        drop(unsafe { Box::from_raw(extra.cast::<Branches>()) });
    }
}

/// Gets a place in code objects, once per process.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    instructions::prepare(py)?;
    if INDEX.load(Ordering::Relaxed) < 0 {
        // SAFETY: the interpreter's lock is held.
        let index = unsafe { ffi::PyUnstable_Eval_RequestCodeExtraIndex(free) };
        INDEX.store(index, Ordering::Relaxed);
    }
    if INDEX.load(Ordering::Relaxed) < 0 {
        return Err(PyRuntimeError::new_err("too many tools keep data in code objects"));
    }
    Ok(())
}

/// Gives `code`, a code object of `file`, an empty table in the place of what it had. `makes_functions`
/// tells whether there are other code objects in it.
///
/// # Safety
/// `code` is a code object.
pub unsafe fn attach(code: &Bound<'_, PyAny>, file: &'static MeasuredFile, makes_functions: bool) {
    let (instructions, known) = (RefCell::default(), RefCell::default());
    let implied = RefCell::new(if makes_functions { None } else { Some(Vec::new()) });
    let table = Box::into_raw(Box::new(Branches { file, instructions, known, implied }));
    let index = INDEX.load(Ordering::Relaxed);
    let mut before = std::ptr::null_mut();
    // SAFETY: as the caller promises; the table before belonged to `code` alone.
    unsafe {
        ffi::PyUnstable_Code_GetExtra(code.as_ptr(), index, &mut before);
        if ffi::PyUnstable_Code_SetExtra(code.as_ptr(), index, table.cast()) == 0 {
            free(before);
        } else {
            ffi::PyErr_Clear();
            free(table.cast());
        }
    }
}

/// The branch at offset `from` of `code` was taken to offset `to`.
pub fn taken(code: &Bound<'_, PyAny>, from: u32, to: u32) -> Verdict {
    // SAFETY: events come with a code object.
    let Some(table) = (unsafe { table_of(code) }) else { return Verdict::Keep };
    table.taken(code, from, to).unwrap_or(Verdict::Keep)
}

/// `code` returns at offset `from`.
pub fn returned(code: &Bound<'_, PyAny>, from: u32) -> Verdict {
    // SAFETY: events come with a code object.
    let Some(table) = (unsafe { table_of(code) }) else { return Verdict::Never };
    table.one_way(code, from, EXIT).unwrap_or(Verdict::Never)
}

/// `line` of `code` runs for the first time in this context.
pub fn line_ran(code: &Bound<'_, PyAny>, line: u32) {
    // SAFETY: events come with a code object.
    if let Some(table) = unsafe { table_of(code) } {
        table.line_ran(code, line);
    }
}

/// The table of `code`, which lives as long as `code` does.
///
/// # Safety
/// `code` is a code object.
unsafe fn table_of<'code>(code: &'code Bound<'_, PyAny>) -> Option<&'code Branches> {
    let index = INDEX.load(Ordering::Relaxed);
    let mut extra = std::ptr::null_mut();
    // SAFETY: as the caller promises; only `attach` stores there.
    unsafe {
        ffi::PyUnstable_Code_GetExtra(code.as_ptr(), index, &mut extra);
        extra.cast::<Branches>().as_ref()
    }
}

/// The instruction at offset `from` of `code`, a function with an `async for`, ran. CPython 3.12 and 3.13
/// do not report which way an `async for` goes.
#[cfg(not(Py_3_14))]
pub fn passed(code: &Bound<'_, PyAny>, from: u32) -> Verdict {
    // SAFETY: events come with a code object.
    let Some(table) = (unsafe { table_of(code) }) else { return Verdict::Never };
    table.passed(code, from).unwrap_or(Verdict::Never)
}

/// Whether `code` has to be watched instruction by instruction.
#[cfg(not(Py_3_14))]
pub fn has_async_for(code: &Bound<'_, PyAny>) -> PyResult<bool> {
    /// `CO_COROUTINE` and `CO_ASYNC_GENERATOR`.
    const ASYNC: u32 = 0x80 | 0x200;
    let flags: u32 = code.getattr(pyo3::intern!(code.py(), "co_flags"))?.extract()?;
    Ok(flags & ASYNC != 0 && Instructions::read(code)?.has_async_for())
}

impl Branches {
    #[cfg(not(Py_3_14))]
    fn passed(&self, code: &Bound<'_, PyAny>, from: u32) -> Option<Verdict> {
        self.read(code)?;
        let to = self.instructions.try_borrow().ok()?.as_ref()?.way_of_async_for(from)?;
        self.one_way(code, from, to)
    }

    /// What is at offset `from` goes on at offset `to`, and never elsewhere.
    fn one_way(&self, code: &Bound<'_, PyAny>, from: u32, to: u32) -> Option<Verdict> {
        if self.find(from, to).is_none() {
            self.learn(code, from, to)?;
        }
        let (way, _) = self.find(from, to)?;
        let (line, next) = way.arc?;
        Some(self.file.arc(way.stamp, line, next))
    }

    fn line_ran(&self, code: &Bound<'_, PyAny>, line: u32) -> Option<()> {
        if self.implied.try_borrow().ok()?.is_none() {
            self.read(code)?;
            let instructions = self.instructions.try_borrow().ok()?;
            let implied = instructions.as_ref()?.transitions_after_functions();
            *self.implied.try_borrow_mut().ok()? = Some(implied);
        }
        let implied = self.implied.try_borrow().ok()?;
        for (line, next) in implied.iter().flatten().filter(|(from, _)| *from == line as i32) {
            self.file.transition(*line, *next);
        }
        Some(())
    }

    fn read(&self, code: &Bound<'_, PyAny>) -> Option<()> {
        if self.instructions.try_borrow().ok()?.is_none() {
            let read = Instructions::read(code).ok()?;
            *self.instructions.try_borrow_mut().ok()? = Some(read);
        }
        Some(())
    }

    fn taken(&self, code: &Bound<'_, PyAny>, from: u32, to: u32) -> Option<Verdict> {
        let known = self.find(from, to);
        let (way, other) = match known {
            Some(known) => known,
            None => {
                self.learn(code, from, to)?;
                self.find(from, to)?
            }
        };
        let verdict = match way.arc {
            Some((line, next)) => self.file.arc(way.stamp, line, next),
            None => Verdict::Never,
        };
        if cfg!(Py_3_14) || matches!(verdict, Verdict::Keep | Verdict::Forked) {
            return Some(verdict);
        }
        // One event stands for both ways: it is enough when both were seen.
        Some(match other {
            Some(other) if other.arc.is_none() => verdict,
            Some(other) if session::is_seen(other.stamp) => Verdict::Enough,
            _ => Verdict::Keep,
        })
    }

    /// The way from `from` to `to`, and the other way of the same branch.
    fn find(&self, from: u32, to: u32) -> Option<(Way, Option<Way>)> {
        let known = self.known.try_borrow().ok()?;
        let place = known.binary_search_by_key(&from, |branch| branch.offset).ok()?;
        match known[place].ways {
            [Some(way), other] if way.destination == to => Some((way, other)),
            [other, Some(way)] if way.destination == to => Some((way, other)),
            _ => None,
        }
    }

    fn learn(&self, code: &Bound<'_, PyAny>, from: u32, to: u32) -> Option<()> {
        self.read(code)?;
        let arc = {
            let instructions = self.instructions.try_borrow().ok()?;
            let instructions = instructions.as_ref()?;
            if to == EXIT { instructions.exit(from) } else { instructions.arc(from, to) }
        };
        let way = Way { destination: to, arc, stamp: stamps::one()? };
        let mut known = self.known.try_borrow_mut().ok()?;
        match known.binary_search_by_key(&from, |branch| branch.offset) {
            Err(place) => known.insert(place, Branch { offset: from, ways: [Some(way), None] }),
            Ok(place) => *known[place].ways.iter_mut().find(|way| way.is_none())? = Some(way),
        }
        Some(())
    }
}
