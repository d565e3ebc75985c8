//! Lines and branches of one code object, through `sys.monitoring` (CPython 3.12 and later), where
//! branches are recorded.
//!
//! Each code object gets a [`Table`], in a second extra pointer of its own. What its instructions say is
//! worked out when the first event comes: what follows from the report of each line ([`Origins`]), and,
//! for each branch that is taken, the arc between lines that each way stands for. As for lines, a stamp
//! says whether a way was seen in this context. The stamps are the code object's own, not the file's:
//! another text under the same name may branch differently.

use std::cell::{OnceCell, RefCell};
use std::ffi::c_void;
use std::sync::atomic::{AtomicIsize, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::instructions::{self, Instructions};
use super::origins::Origins;
#[cfg(not(Py_3_14))]
use super::{
    landings::{self, Landings},
    monitoring,
};
#[cfg(not(Py_3_14))]
use crate::session;
use crate::session::{MeasuredFile, Verdict};
use crate::stamps::Piece;

/// Our second place among the extra pointers of code objects; negative: none.
static INDEX: AtomicIsize = AtomicIsize::new(-1);

/// The destination of what ends the function.
const EXIT: u32 = u32::MAX;

/// So often in a row a branch goes the same way before the instructions behind it are watched in its
/// place: that costs about as much as so many reports.
#[cfg(not(Py_3_14))]
const REPEATS_MAX: u32 = 200;

/// What is known of one code object.
pub struct Table {
    file: &'static MeasuredFile,
    contents: OnceCell<Contents>,
    taken: RefCell<Vec<Branch>>,
    #[cfg(not(Py_3_14))]
    landings: OnceCell<Landings>,
}

/// What the instructions say.
struct Contents {
    instructions: Instructions,
    origins: Origins,
    /// Of each line.
    stamps: Piece,
    /// Transitions that follow from the lines that run, from each line that makes a function.
    implied: Vec<(i32, i32)>,
}

/// A branch that was taken.
struct Branch {
    offset: u32,
    ways: [Option<Way>; 2],
    stamps: Piece,
    /// How often it was reported for the sake of the way that is not taken.
    #[cfg(not(Py_3_14))]
    repeats: u32,
}

#[derive(Clone, Copy)]
struct Way {
    destination: u32,
    /// What is recorded of it; `None`: nothing, or the report of another event tells.
    arc: Option<(i32, i32)>,
    /// Whether nothing is to be recorded of the other way.
    #[cfg(not(Py_3_14))]
    is_alone: bool,
}

unsafe extern "C" fn free(extra: *mut c_void) {
    if !extra.is_null() {
        // SAFETY: only `attach` stores there, and the code object is going away.
        drop(unsafe { Box::from_raw(extra.cast::<Table>()) });
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

/// Gives `code`, a code object of `file`, an empty table in the place of what it had.
///
/// # Safety
/// `code` is a code object.
pub unsafe fn attach(code: &Bound<'_, PyAny>, file: &'static MeasuredFile) {
    let table = Box::into_raw(Box::new(Table {
        file,
        contents: OnceCell::new(),
        taken: RefCell::default(),
        #[cfg(not(Py_3_14))]
        landings: OnceCell::new(),
    }));
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

/// The table of `code`, which lives as long as `code` does.
///
/// # Safety
/// `code` is a code object.
#[inline(always)]
pub unsafe fn table_of<'code>(code: &'code Bound<'_, PyAny>) -> Option<&'code Table> {
    let index = INDEX.load(Ordering::Relaxed);
    let mut extra = std::ptr::null_mut();
    // SAFETY: as the caller promises; only `attach` stores there.
    unsafe {
        ffi::PyUnstable_Code_GetExtra(code.as_ptr(), index, &mut extra);
        extra.cast::<Table>().as_ref()
    }
}

/// Whether `code` has to be watched instruction by instruction: CPython 3.12 and 3.13 do not report which
/// way an `async for` goes.
#[cfg(not(Py_3_14))]
pub fn has_async_for(code: &Bound<'_, PyAny>) -> PyResult<bool> {
    /// `CO_COROUTINE` and `CO_ASYNC_GENERATOR`.
    const ASYNC: u32 = 0x80 | 0x200;
    let flags: u32 = code.getattr(pyo3::intern!(code.py(), "co_flags"))?.extract()?;
    Ok(flags & ASYNC != 0 && Instructions::read(code)?.has_async_for())
}

/// The functions take the code object of the table. What they cannot find out they report again.
impl Table {
    /// `line` runs. `is_dear`: as for [`MeasuredFile::line`].
    #[inline(always)]
    pub fn line(&self, code: &Bound<'_, PyAny>, line: u32, is_dear: impl FnOnce() -> bool) -> Verdict {
        let Some(contents) = self.contents(code) else { return self.file.line(line, is_dear) };
        let place = contents.origins.place(line as i32);
        let Some((place, stamp)) = place.and_then(|at| Some((at, contents.stamps.get(at)?))) else {
            return self.file.line(line, is_dear);
        };
        let (is_first, verdict) = self.file.stamped_line(stamp, line, is_dear);
        if is_first {
            self.line_begins(contents, place, line as i32);
        }
        verdict
    }

    /// Records what follows from the first report of `line` in this context.
    fn line_begins(&self, contents: &Contents, place: usize, line: i32) {
        if let Some(before) = contents.origins.of(place) {
            self.file.transition(before, line);
        }
        for (line, next) in contents.implied.iter().filter(|(from, _)| *from == line) {
            self.file.transition(*line, *next);
        }
    }

    fn contents(&self, code: &Bound<'_, PyAny>) -> Option<&Contents> {
        if self.contents.get().is_none() {
            // Reading calls the interpreter, which may come back here meanwhile.
            let _ = self.contents.set(Contents::read(code)?);
        }
        self.contents.get()
    }

    /// The branch at offset `from` was taken to offset `to`.
    #[cfg(Py_3_14)]
    pub fn branch(&self, code: &Bound<'_, PyAny>, from: u32, to: u32) -> Verdict {
        let taken = self.with_branch(code, from, to, |branch, place| branch.passed(place, self.file));
        taken.unwrap_or(Verdict::Keep)
    }

    /// The branch at offset `from` was taken to offset `to`.
    #[cfg(not(Py_3_14))]
    pub fn branch(&self, code: &Bound<'_, PyAny>, from: u32, to: u32) -> Verdict {
        let taken = self.with_branch(code, from, to, |branch, place| {
            (branch.taken(place, self.file), branch.is_stuck())
        });
        match taken {
            Some((_, true)) if self.watch_landings(code, from).is_some() => Verdict::Enough,
            Some((verdict, _)) => verdict,
            None => Verdict::Keep,
        }
    }

    /// Lets the instructions of `code` be reported, each once, in the place of the branch at offset
    /// `from`; `None` if that would not tell everything.
    #[cfg(not(Py_3_14))]
    fn watch_landings(&self, code: &Bound<'_, PyAny>, from: u32) -> Option<()> {
        let landings = self.landings(code)?;
        let branch = from as usize / 2;
        let ways = landings::landings_of(&self.contents(code)?.instructions, branch);
        let is_told =
            |at: usize| landings.branch_before(at) == Some(branch) || self.is_seen(from, 2 * at as u32);
        let all = ways.into_iter().all(|at| at.is_some_and(is_told));
        (all && monitoring::watch_instructions(code).is_ok()).then_some(())
    }

    #[cfg(not(Py_3_14))]
    fn landings(&self, code: &Bound<'_, PyAny>) -> Option<&Landings> {
        let contents = self.contents(code)?;
        Some(self.landings.get_or_init(|| Landings::find(&contents.instructions)))
    }

    /// Whether nothing is to be recorded any more, in this context, of the way from `from` to `to`.
    #[cfg(not(Py_3_14))]
    fn is_seen(&self, from: u32, to: u32) -> bool {
        let Ok(taken) = self.taken.try_borrow() else { return false };
        let branch = taken.iter().find(|branch| branch.offset == from);
        branch.is_some_and(|branch| branch.place(to).is_some_and(|place| branch.is_done(place)))
    }

    /// The function returns at offset `from`.
    pub fn returned(&self, code: &Bound<'_, PyAny>, from: u32) -> Verdict {
        self.one_way(code, from, EXIT)
    }

    /// The instruction at offset `at` ran, of a function with an `async for` or with watched landings.
    #[cfg(not(Py_3_14))]
    pub fn instruction(&self, code: &Bound<'_, PyAny>, at: u32) -> Verdict {
        let contents = self.contents(code);
        if let Some(to) = contents.and_then(|contents| contents.instructions.way_of_async_for(at)) {
            return self.one_way(code, at, to);
        }
        let branch = self.landings(code).and_then(|landings| landings.branch_before(at as usize / 2));
        match branch.map(|branch| self.one_way(code, 2 * branch as u32, at)) {
            Some(_) if !session::may_disable() => Verdict::Keep,
            Some(_) => Verdict::Enough,
            None => Verdict::Never,
        }
    }

    /// What is at offset `from` goes on at offset `to`, and never elsewhere.
    fn one_way(&self, code: &Bound<'_, PyAny>, from: u32, to: u32) -> Verdict {
        let passed = self.with_branch(code, from, to, |branch, place| branch.passed(place, self.file));
        passed.unwrap_or(Verdict::Never)
    }

    /// Calls `work` with the branch at `from` and the place of its way to `to`.
    fn with_branch<R>(
        &self,
        code: &Bound<'_, PyAny>,
        from: u32,
        to: u32,
        work: impl FnOnce(&mut Branch, usize) -> R,
    ) -> Option<R> {
        let contents = self.contents(code)?;
        let mut taken = self.taken.try_borrow_mut().ok()?;
        let at = match taken.binary_search_by_key(&from, |branch| branch.offset) {
            Ok(at) => at,
            Err(at) => {
                taken.insert(at, Branch::new(from)?);
                at
            }
        };
        let branch = &mut taken[at];
        let place = branch.place(to).or_else(|| branch.learn(contents, to))?;
        Some(work(branch, place))
    }
}

impl Contents {
    fn read(code: &Bound<'_, PyAny>) -> Option<Contents> {
        let instructions = Instructions::read(code).ok()?;
        let origins = Origins::find(&instructions);
        let stamps = Piece::take(origins.count())?;
        let implied = instructions.transitions_after_functions();
        Some(Contents { instructions, origins, stamps, implied })
    }

    /// The arc from offset `from` to offset `to`, if reports of other events do not tell of it.
    fn arc(&self, from: u32, to: u32) -> Option<(i32, i32)> {
        if to == EXIT {
            return self.instructions.exit(from);
        }
        self.arc_of(self.instructions.line(from)?, to as usize / 2)
    }

    fn arc_of(&self, line: i32, to: usize) -> Option<(i32, i32)> {
        let next = self.instructions.next_line(line, to)?;
        let is_told = self.origins.tell(&self.instructions, line, next);
        (!is_told).then(|| self.instructions.transition(line, next))
    }

    /// Whether no way of the branch at offset `from` needs a report, but for those that mean `arc`.
    #[cfg(not(Py_3_14))]
    fn is_alone(&self, from: u32, arc: Option<(i32, i32)>) -> bool {
        let at = from as usize / 2;
        let line = self.instructions.line_at(at);
        let ways = self.instructions.successors(at).into_iter().flatten();
        ways.filter_map(|to| self.arc_of(line, to)).all(|other| Some(other) == arc)
    }
}

impl Branch {
    fn new(offset: u32) -> Option<Branch> {
        Some(Branch {
            offset,
            ways: [None, None],
            stamps: Piece::take(2)?,
            #[cfg(not(Py_3_14))]
            repeats: 0,
        })
    }

    fn place(&self, to: u32) -> Option<usize> {
        self.ways.iter().position(|way| way.is_some_and(|way| way.destination == to))
    }

    fn learn(&mut self, contents: &Contents, to: u32) -> Option<usize> {
        let place = self.ways.iter().position(Option::is_none)?;
        let arc = contents.arc(self.offset, to);
        self.ways[place] = Some(Way {
            destination: to,
            arc,
            #[cfg(not(Py_3_14))]
            is_alone: contents.is_alone(self.offset, arc),
        });
        Some(place)
    }

    /// The way at `place` was taken, and events of its own stand for it.
    fn passed(&self, place: usize, file: &MeasuredFile) -> Verdict {
        match (self.ways[place].and_then(|way| way.arc), self.stamps.get(place)) {
            (Some((line, next)), Some(stamp)) => file.arc(stamp, line, next),
            _ => Verdict::Never,
        }
    }
}

/// One event stands for both ways of a branch.
#[cfg(not(Py_3_14))]
impl Branch {
    /// The way at `place` was taken.
    fn taken(&mut self, place: usize, file: &MeasuredFile) -> Verdict {
        let verdict = self.passed(place, file);
        let is_alone = self.ways[place].is_some_and(|way| way.is_alone);
        if is_alone || matches!(verdict, Verdict::Keep | Verdict::Forked) {
            return verdict;
        }
        if !session::may_disable() {
            return Verdict::Keep;
        }
        if self.is_done(1 - place) {
            return Verdict::Enough;
        }
        self.repeats += 1;
        Verdict::Keep
    }

    /// Whether the way at `place` was seen in this context, or nothing is to be recorded of it.
    fn is_done(&self, place: usize) -> bool {
        let way = self.ways[place];
        way.is_some_and(|way| way.arc.is_none()) || self.stamps.get(place).is_some_and(session::is_seen)
    }

    /// Whether it is time to let others tell of the way that is not taken; begins to count anew.
    fn is_stuck(&mut self) -> bool {
        let is_stuck = self.repeats >= REPEATS_MAX;
        if is_stuck {
            self.repeats = 0;
        }
        is_stuck
    }
}
