//! One recording: the log of this process, what is measured, and the context of the moment.
//!
//! ```text
//! interpreter (a line ran) -> MeasuredFile::line: stamp of this generation? yes: done
//!                                                 | no: stamp it, Recorder::line
//! ```
//!
//! Everything here runs with the interpreter's lock held, but for the end of a thread's own context when
//! the thread ends (`OwnContext::drop`), and no lock of our own is held while the interpreter is called.
//! Recordings are never freed, since code objects point into them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use hitlog::format::EndReason;
use hitlog::{ContextGuard, FileId, Recorder};

use crate::configuration::Configuration;
use crate::error::Error;
use crate::filter::Filter;
use crate::notes;
use crate::stamps::{self, COUNT_BITS, COUNT_MAX, Stamps};

/// A line that ran this often in one context is not reported again before the next one: by then its
/// reports have cost about as much as it costs to arm it again.
const HOT_COUNT: u32 = 20;
/// No line is ever hot.
const NEVER: u32 = COUNT_MAX + 1;

/// The generation of the process's context, in the place where stamps have it.
static GENERATION: AtomicU32 = AtomicU32::new(1 << COUNT_BITS);
static LAST_GENERATION: AtomicU32 = AtomicU32::new(1 << COUNT_BITS);
/// How many threads have a context of their own.
static OWN_CONTEXTS: AtomicU32 = AtomicU32::new(0);
/// Whether transitions between lines are recorded.
static BRANCHES: AtomicBool = AtomicBool::new(false);
/// Recordings of this process so far.
static SESSIONS: AtomicU32 = AtomicU32::new(1);
/// The count at which a line is hot.
static HOT_AT: AtomicU32 = AtomicU32::new(1);
/// The recording of this process, while there is one.
static CURRENT: Mutex<Option<&'static Session>> = Mutex::new(None);
/// Its number, for those who are in a hurry; 0: there is none.
#[cfg(not(Py_3_12))]
static CURRENT_NUMBER: AtomicU32 = AtomicU32::new(0);

/// Not zero; but a forked child finds it zeroed, as all stamps.
static OF_THIS_PROCESS: OnceLock<&'static AtomicU32> = OnceLock::new();

thread_local! {
    /// Generation of this thread's own context; 0: it follows the process's.
    static OWN_GENERATION: Cell<u32> = const { Cell::new(0) };
    static OWN_CONTEXT: RefCell<OwnContext> = const { RefCell::new(OwnContext(None)) };
}

struct OwnContext(Option<(Vec<u8>, ContextGuard)>);

impl Drop for OwnContext {
    fn drop(&mut self) {
        if self.0.take().is_some() {
            OWN_CONTEXTS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A recording.
pub struct Session {
    /// Tells the recordings of this process apart.
    number: AtomicU32,
    pub recorder: Recorder,
    pub filter: Filter,
    files: Mutex<HashMap<Vec<u8>, &'static MeasuredFile>>,
    unmeasured: &'static MeasuredFile,
    static_context: Vec<u8>,
    /// Where its log is.
    pub run_directory: PathBuf,
    /// The context of all threads that have none of their own.
    context: Mutex<Vec<u8>>,
}

/// A file as code objects know it. Also stands for "not measured".
pub struct MeasuredFile {
    /// Number of its recording.
    session: u32,
    /// The recorder, and the file's id there; `None`: not measured.
    recorder: Option<(Recorder, FileId)>,
    stamps: Stamps,
}

/// What to do about a line that was just reported.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Report it again.
    Keep,
    /// It is not to be reported again in this context.
    Enough,
    /// It is never to be reported again.
    #[cfg(Py_3_12)]
    Never,
    /// It is the first one in a forked child of which nobody told us.
    Forked,
}

impl MeasuredFile {
    /// Whether its lines are recorded.
    pub fn is_measured(&self) -> bool {
        self.recorder.is_some()
    }

    /// Line `line` of this file ran. `is_dear`: the second report of it is to be the last in this context.
    #[inline(always)]
    pub fn line(&self, line: u32, is_dear: impl FnOnce() -> bool) -> Verdict {
        let Some(stamp) = self.stamps.get(line).filter(|_| line != 0) else {
            self.record_unstamped(line);
            return Verdict::Keep;
        };
        self.stamped_line(stamp, line, is_dear).1
    }

    /// Line `line` of this file, whose stamp this is, ran. Returns whether for the first time in this
    /// context, and what to do about it.
    #[inline(always)]
    pub fn stamped_line(
        &self,
        stamp: &AtomicU32,
        line: u32,
        is_dear: impl FnOnce() -> bool,
    ) -> (bool, Verdict) {
        let count = mark(stamp);
        if count == 1 {
            if is_dear() {
                // One before it is hot.
                stamp.fetch_add(HOT_COUNT - 2, Ordering::Relaxed);
            }
            self.record(line);
        }
        (count == 1, verdict(count))
    }

    /// The transition from line `from` to line `to`, whose stamp this is, was made.
    #[cfg(Py_3_12)]
    pub fn arc(&self, stamp: &AtomicU32, from: i32, to: i32) -> Verdict {
        let count = mark(stamp);
        if count == 1 {
            self.transition(from, to);
        }
        verdict(count)
    }

    /// Records a transition, or a negative line for the entry to or the exit from a function.
    pub fn transition(&self, from: i32, to: i32) {
        if let Some((recorder, file)) = &self.recorder {
            recorder.arc(*file, from, to);
        }
    }

    /// Without memory for stamps each report goes to the recorder, which has a filter of its own, and
    /// which counts lines that no record can hold as lost.
    #[cold]
    fn record_unstamped(&self, line: u32) {
        // The empty module begins on line 0, which no file has.
        if line != 0 {
            self.record(line);
        }
    }

    fn record(&self, line: u32) {
        if let Some((recorder, file)) = &self.recorder {
            recorder.line(*file, line);
        }
    }
}

/// Notes in `stamp` that its line ran; returns how often it did in this context, as far as that counts.
#[inline(always)]
fn mark(stamp: &AtomicU32) -> u32 {
    let generation = generation();
    let before = stamp.load(Ordering::Relaxed);
    let seen = before & !COUNT_MAX == generation;
    let count = if seen { ((before & COUNT_MAX) + 1).min(COUNT_MAX) } else { 1 };
    stamp.store(generation | count, Ordering::Relaxed);
    count
}

/// What to do about something that ran for the `count`-th time in this context.
#[inline(always)]
fn verdict(count: u32) -> Verdict {
    if count == 1 && is_forked() {
        Verdict::Forked
    } else if count >= HOT_AT.load(Ordering::Relaxed) {
        Verdict::Enough
    } else {
        Verdict::Keep
    }
}

/// Whether what `stamp` stands for ran in this context.
#[cfg(all(Py_3_12, not(Py_3_14)))]
pub fn is_seen(stamp: &AtomicU32) -> bool {
    stamp.load(Ordering::Relaxed) & !COUNT_MAX == generation()
}

/// Whether anything that runs often may go unreported for a while: not where threads have contexts of
/// their own, as what one of them has seen another has not.
#[cfg(all(Py_3_12, not(Py_3_14)))]
pub fn may_disable() -> bool {
    HOT_AT.load(Ordering::Relaxed) != NEVER
}

/// Whether transitions between lines are recorded, too.
#[inline(always)]
pub fn has_branches() -> bool {
    BRANCHES.load(Ordering::Relaxed)
}

#[inline(always)]
fn generation() -> u32 {
    if OWN_CONTEXTS.load(Ordering::Relaxed) != 0 {
        let own = OWN_GENERATION.get();
        if own != 0 {
            return own;
        }
    }
    GENERATION.load(Ordering::Relaxed)
}

/// Whether this process was forked since the last call of [`after_fork`], or of `Session::begin`.
pub fn is_forked() -> bool {
    OF_THIS_PROCESS.get().is_some_and(|mark| mark.load(Ordering::Relaxed) == 0)
}

fn next_number() -> u32 {
    SESSIONS.fetch_add(1, Ordering::Relaxed)
}

fn mark_process() {
    if OF_THIS_PROCESS.get().is_none()
        && let Ok(mark) = stamps::take(1)
    {
        let _ = OF_THIS_PROCESS.set(&mark[0]);
    }
    if let Some(mark) = OF_THIS_PROCESS.get() {
        mark.store(1, Ordering::Relaxed);
    }
}

/// A generation that no stamp has.
fn next_generation() -> u32 {
    let step = 1 << COUNT_BITS;
    match LAST_GENERATION.fetch_add(step, Ordering::Relaxed).wrapping_add(step) {
        0 => next_generation(),
        generation => generation,
    }
}

/// The recording of this process.
pub fn current() -> Option<&'static Session> {
    *lock(&CURRENT)
}

/// Whether `file` belongs to the recording of this process.
#[cfg(not(Py_3_12))]
#[inline(always)]
pub fn is_current(file: &MeasuredFile) -> bool {
    file.session == CURRENT_NUMBER.load(Ordering::Relaxed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn leaked<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

impl Session {
    /// Begins to record this process into the run at `run_directory`, in `context`.
    ///
    /// # Errors
    /// No log can be created there.
    pub fn begin(
        run_directory: &Path,
        configuration: &Configuration,
        excluded: Vec<Vec<u8>>,
        context: &[u8],
    ) -> Result<&'static Session, Error> {
        // `hitlog run --context NAME` hands the static context on as the one to begin with, too.
        let context = if context == configuration.static_context { &[] } else { context };
        let number = next_number();
        let nothing = MeasuredFile { session: number, recorder: None, stamps: Stamps::default() };
        let session = leaked(Session {
            number: AtomicU32::new(number),
            recorder: Recorder::open(run_directory)?,
            filter: Filter::new(configuration, excluded),
            files: Mutex::default(),
            unmeasured: leaked(nothing),
            static_context: configuration.static_context.clone(),
            run_directory: run_directory.to_owned(),
            context: Mutex::new(context.to_vec()),
        });
        match context {
            [] => session.recorder.switch_context(session.full_context(context)),
            _ => session.recorder.inherit_context(session.full_context(context)),
        }
        GENERATION.store(next_generation(), Ordering::Relaxed);
        HOT_AT.store(1, Ordering::Relaxed);
        BRANCHES.store(configuration.branch, Ordering::Relaxed);
        mark_process();
        *lock(&CURRENT) = Some(session);
        #[cfg(not(Py_3_12))]
        CURRENT_NUMBER.store(number, Ordering::Relaxed);
        Ok(session)
    }

    /// Ends it, with the exit code of the process if it is known.
    pub fn end(&self, exit_code: Option<u16>) {
        *lock(&CURRENT) = None;
        #[cfg(not(Py_3_12))]
        CURRENT_NUMBER.store(0, Ordering::Relaxed);
        self.recorder.end(EndReason::Closed, exit_code);
    }

    /// The file that code named `name` belongs to. A name is decided about once.
    pub fn file(
        &self,
        name: &[u8],
        is_in_package: impl FnOnce(&[u8]) -> bool,
    ) -> &'static MeasuredFile {
        if let Some(file) = lock(&self.files).get(name) {
            return file;
        }
        let path = self.filter.decide(name, is_in_package);
        if path.is_none()
            && let Some(path) = self.filter.unmeasured_of_project(name)
        {
            notes::tell_loaded(&self.run_directory, &path);
        }
        let mut files = lock(&self.files);
        let file = match path {
            None => self.unmeasured,
            // Two names of one file share its stamps.
            Some(path) if path != name => match files.get(&path) {
                Some(file) if file.is_measured() => file,
                _ => {
                    let file = self.measured(&path);
                    files.insert(path, file);
                    file
                }
            },
            Some(path) => self.measured(&path),
        };
        files.entry(name.to_vec()).or_insert(file)
    }

    fn measured(&self, path: &[u8]) -> &'static MeasuredFile {
        let file = self.recorder.file(Path::new(OsStr::from_bytes(path)));
        // An empty module has no line that could bring its name into the log.
        self.recorder.mention(file);
        leaked(MeasuredFile {
            session: self.number(),
            recorder: Some((self.recorder.clone(), file)),
            stamps: Stamps::default(),
        })
    }

    /// Whether `file` belongs to this recording, and not to one that ended before.
    #[cfg(Py_3_12)]
    pub fn owns(&self, file: &MeasuredFile) -> bool {
        file.session == self.number()
    }

    fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// From here on all code is seen as if for the first time.
    #[cfg(Py_3_12)]
    pub fn forget_files(&self) {
        self.number.store(next_number(), Ordering::Relaxed);
        lock(&self.files).clear();
    }

    fn full_context(&self, context: &[u8]) -> Vec<u8> {
        match (self.static_context.is_empty(), context.is_empty()) {
            (true, _) => context.to_vec(),
            (false, true) => self.static_context.clone(),
            (false, false) => [&self.static_context, &b"|"[..], context].concat(),
        }
    }

    /// The context in which the calling thread starts a process, without that of the whole run.
    pub fn context_of_thread(&self) -> Vec<u8> {
        let own = OWN_CONTEXT.with_borrow(|own| own.0.as_ref().map(|(name, _)| name.clone()));
        own.unwrap_or_else(|| lock(&self.context).clone())
    }

    /// Makes `context` the context of the process; returns the one before.
    pub fn switch_context(&self, context: &[u8]) -> Vec<u8> {
        let before = std::mem::replace(&mut *lock(&self.context), context.to_vec());
        if before != context {
            self.recorder.switch_context(self.full_context(context));
            GENERATION.store(next_generation(), Ordering::Relaxed);
        }
        before
    }

    /// Makes `context` the calling thread's own (`None`: it follows the process's again); returns the
    /// one before.
    pub fn switch_own_context(&self, context: Option<&[u8]>) -> Option<Vec<u8>> {
        OWN_CONTEXT.with_borrow_mut(|own| {
            let before = own.0.take().map(|(name, _)| name);
            let guard =
                context.map(|name| (name.to_vec(), self.recorder.context(self.full_context(name))));
            OWN_GENERATION.set(if guard.is_some() { next_generation() } else { 0 });
            let change = u32::from(guard.is_some()).wrapping_sub(u32::from(before.is_some()));
            OWN_CONTEXTS.fetch_add(change, Ordering::Relaxed);
            own.0 = guard;
            before
        })
    }
}

/// Sets from which count on lines are not reported again, as the contexts of the moment allow it.
/// Returns whether that is later than before, so that what is not reported must be armed again.
pub fn adapt_heat() -> bool {
    let heat = if OWN_CONTEXTS.load(Ordering::Relaxed) != 0 { NEVER } else { HOT_COUNT };
    HOT_AT.swap(heat, Ordering::Relaxed) < heat
}

/// Whether a line gets hot by running often in one context, and not by running at all.
#[cfg(Py_3_12)]
pub fn is_heat_by_context() -> bool {
    HOT_AT.load(Ordering::Relaxed) != 1
}

/// In a forked child: only the forking thread is left, as the first one. Its own context becomes that
/// of the process, as the context of a first thread is. `is_counted`: it gets a log in any case.
pub fn after_fork(is_counted: bool) {
    mark_process();
    OWN_CONTEXTS.store(u32::from(OWN_GENERATION.get() != 0), Ordering::Relaxed);
    if let Some(session) = current() {
        if is_counted {
            session.recorder.begin();
        }
        if let Some(own) = session.switch_own_context(None) {
            session.switch_context(&own);
        }
    }
}
