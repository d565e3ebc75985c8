//! The handle that a program holds.

use std::io;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Error;
use super::process::{OpenStorage, Shared};
use super::thread;
use crate::format::{EndReason, LogId, NameSpace, log_file_name};
use crate::storage::{self, Storage};

/// Records hits into a log of this process's own. Clones are the same recorder.
///
/// **Threads**: every method may be called from any thread; each thread fills blocks of its own, and no
/// lock is held while a record is stored. Not from signal handlers. **Fork**: a forked child notices at its
/// first record and goes on in a log of its own, with the context of the moment of the fork; ids stay
/// valid. After a raw `clone` of a program with several threads only what is safe there may be called, and
/// a first record is not: it allocates. **Death**: every call that returned is in the log, whatever ends the process. **Failure**: once
/// open, a recorder never disturbs its host; what finds no room is counted in [`Recorder::lost`].
///
/// The log gets its trailer ("ended clean") when the last clone is dropped or [`Recorder::end`] is called.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let run = directory.path().join("run");
/// let recorder = hitlog::Recorder::open(&run)?;
/// let file = recorder.file("src/parser.rs");
/// let case = recorder.context("corpus/0007.json");
/// recorder.line(file, 42);
/// recorder.sample("tokens", 1733);
/// drop(case);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Recorder {
    owner: Arc<Owner>,
}

/// Id of a file within one recorder. Valid in all threads and in forked children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(u32);

/// The context of hits that cannot be told apart: no id of a context is so large.
const LOST_CONTEXT: u32 = u32::MAX;

/// Ends the log when the last recorder is dropped.
struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        thread::with(&self.shared, |thread| thread.end(EndReason::Closed, None));
        if let Some(process) = self.shared.existing_process() {
            process.close();
        }
    }
}

impl Recorder {
    /// Opens a log for this process in `run_directory`, which is made (for its owner only) if missing.
    ///
    /// # Errors
    /// The directory or the log cannot be created, or the system lacks memory that is cleared on fork.
    pub fn open(run_directory: impl AsRef<Path>) -> Result<Recorder, Error> {
        let directory = std::path::absolute(run_directory.as_ref())
            .and_then(|path| make_private_directory(&path).map(|()| path))
            .map_err(|source| Error::Directory { path: run_directory.as_ref().to_owned(), source })?;
        let run_id = directory.file_name().unwrap_or_default().as_bytes().to_vec();
        let logs = directory.clone();
        let create = move |pid: u32, log_id: &LogId| create_log(&logs, pid, log_id);
        Recorder::with_storage(Box::new(create), run_id, directory)
    }

    /// Opens a log in a storage of the caller's choice; `open_storage` gets pid and log id, is called
    /// again in each forked child and for each further segment, and says `AlreadyExists` to get another id.
    ///
    /// # Errors
    /// As [`Recorder::open`].
    #[doc(hidden)]
    pub fn with_storage(
        open_storage: Box<OpenStorage>,
        run_id: Vec<u8>,
        directory: PathBuf,
    ) -> Result<Recorder, Error> {
        let shared = Shared::new(open_storage, run_id).map_err(|source| Error::Memory { source })?;
        let recorder = Recorder { owner: Arc::new(Owner { shared: Arc::new(shared) }) };
        if recorder.begin() {
            return Ok(recorder);
        }
        let failure = recorder.shared().process().and_then(|process| process.failure());
        let source = failure.unwrap_or_else(|| io::ErrorKind::OutOfMemory.into());
        Err(Error::Log { path: directory, source })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    fn intern(&self, space: NameSpace, name: &[u8]) -> u32 {
        let shared = self.shared();
        let id = shared.process().and_then(|process| shared.names.intern(&process.index, space, name));
        id.unwrap_or(0)
    }

    /// The id of the file at `path`, best absolute. Its size and modification time are taken down the
    /// first time, so that it can be told later whether a source is the one that ran.
    ///
    /// Beyond 16 million files the id is one whose hits count as lost.
    #[must_use]
    pub fn file(&self, path: impl AsRef<Path>) -> FileId {
        FileId(self.intern(NameSpace::File, path.as_ref().as_os_str().as_bytes()))
    }

    /// Takes `file` down, even if nothing of it ever runs: what is to be measured and is never used
    /// shows so, and an empty file has no line that could.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// let recorder = hitlog::Recorder::open(directory.path().join("run")).unwrap();
    /// recorder.mention(recorder.file("src/never_used.rs"));
    /// ```
    pub fn mention(&self, file: FileId) {
        if thread::with(self.shared(), |thread| thread.mention(file.0)).is_none() {
            self.shared().lose_without_process();
        }
    }

    /// Line `line` (from 1) of `file` ran. 4 ns; 1 to 2 ns if this thread recorded it lately in this context.
    #[inline]
    pub fn line(&self, file: FileId, line: u32) {
        if thread::with(self.shared(), |thread| thread.line(file.0, line)).is_none() {
            self.shared().lose_without_process();
        }
    }

    /// The transition from line `from` to line `to` of `file` was taken. A negative end is the entry to or
    /// the exit from the code object that starts at that line.
    #[inline]
    pub fn arc(&self, file: FileId, from: i32, to: i32) {
        if thread::with(self.shared(), |thread| thread.arc(file.0, from, to)).is_none() {
            self.shared().lose_without_process();
        }
    }

    /// Takes down a measurement with the time of the call; the unit of `value` is what `name` tells.
    pub fn sample(&self, name: impl AsRef<[u8]>, value: u64) {
        let name = self.intern(NameSpace::Sample, name.as_ref());
        if thread::with(self.shared(), |thread| thread.sample(name, value)).is_none() {
            self.shared().lose_without_process();
        }
    }

    /// Makes `name` the context of this process: of all threads that have none of their own, those
    /// started later and children forked later included. The empty name ends it.
    pub fn switch_context(&self, name: impl AsRef<[u8]>) {
        let context = self.intern_context(name.as_ref());
        thread::with(self.shared(), |thread| thread.switch_process_context(context));
    }

    /// Makes `name` the context of this process, as one that its parent began. For a process that was started
    /// by another one, before anything is recorded; a forked child has its parent's context by itself.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let (name, file) = ("t.py::test_a|run", "a.c");
    /// let recorder = hitlog::Recorder::open(directory.path().join("run")).unwrap();
    /// recorder.inherit_context(name); // as the environment or the command line has it
    /// recorder.line(recorder.file(file), 1);
    /// ```
    pub fn inherit_context(&self, name: impl AsRef<[u8]>) {
        let context = self.intern_context(name.as_ref());
        thread::with(self.shared(), |thread| thread.inherit_process_context(context));
    }

    /// Makes `name` the calling thread's own context until the guard is dropped.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let recorder = hitlog::Recorder::open(directory.path().join("run")).unwrap();
    /// # let file = recorder.file("a.c");
    /// {
    ///     let _outer = recorder.context("test_a");
    ///     let _inner = recorder.context("test_a, second part");
    ///     recorder.line(file, 1); // in "test_a, second part"
    /// }
    /// recorder.line(file, 1); // in no context
    /// ```
    #[must_use = "the context ends when the guard is dropped"]
    pub fn context(&self, name: impl AsRef<[u8]>) -> ContextGuard {
        let context = self.intern_context(name.as_ref());
        let before = thread::with(self.shared(), |thread| thread.switch_own_context(Some(context)));
        ContextGuard { recorder: self.clone(), before: before.flatten(), of_thread: PhantomData }
    }

    fn intern_context(&self, name: &[u8]) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let id = self.intern(NameSpace::Context, name);
        // Hits of a context that cannot be named are lost, not those of the empty one.
        if id == 0 { LOST_CONTEXT } else { id }
    }

    /// Makes sure that this process has a log, also if nothing of it is ever recorded; returns whether
    /// there is one. For a forked child that shall be counted in any case.
    pub fn begin(&self) -> bool {
        thread::with(self.shared(), |thread| thread.begin()).unwrap_or(false)
    }

    /// Returns when everything recorded before is on the medium and survives a power loss. Never
    /// needed for surviving the death of the process.
    ///
    /// # Errors
    /// What the system says; the recording goes on.
    pub fn sync(&self) -> Result<(), Error> {
        match self.shared().existing_process() {
            Some(process) => process.sync().map_err(|source| Error::Sync { source }),
            None => Ok(()),
        }
    }

    /// Marks this process's log as ended, with its exit code if it is known. Called again, it does something
    /// only if something was recorded or lost since: a log can go on after its end, as after an `exec` that
    /// failed. In a child that recorded nothing it does nothing.
    pub fn end(&self, reason: EndReason, exit_code: Option<u16>) {
        thread::with(self.shared(), |thread| thread.end(reason, exit_code));
    }

    /// How many records of this process found no room (disk full, no permission, outside the limits).
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared().lost()
    }
}

/// Ends a thread's own context when dropped, on the thread that began it. Guards of one thread are to be
/// dropped in the reverse order of their making, as scopes do: each brings back what was before it.
pub struct ContextGuard {
    recorder: Recorder,
    before: Option<u32>,
    /// A guard belongs to its thread.
    of_thread: PhantomData<*const ()>,
}

impl Drop for ContextGuard {
    fn drop(&mut self) {
        thread::with(self.recorder.shared(), |thread| thread.switch_own_context(self.before));
    }
}

fn make_private_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn create_log(directory: &Path, pid: u32, log_id: &LogId) -> io::Result<Box<dyn Storage>> {
    storage::create(&directory.join(log_file_name(pid, log_id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{HEADER_SIZE, RECORD_SIZE, Record, Slot, classify, place, slot_words};
    use crate::storage::memory::Memory;

    #[test]
    fn a_hit_outside_the_limits_is_lost_and_never_stored() {
        let memory = Arc::new(Memory::new(4096, u64::MAX));
        let storage = Arc::clone(&memory);
        let open = move |_: u32, _: &LogId| -> io::Result<Box<dyn Storage>> {
            Ok(Box::new(Arc::clone(&storage)))
        };
        let recorder = Recorder::with_storage(Box::new(open), Vec::new(), "memory".into()).unwrap();
        let file = recorder.file("a");
        recorder.line(file, 1);
        recorder.line(file, 0);
        recorder.line(file, crate::limits::LINE_MAX + 1);
        recorder.line(FileId(0), 1);
        recorder.line(FileId(8), 1);
        recorder.arc(file, 1, i32::MAX);
        recorder.arc(FileId(0), 1, 2);
        recorder.line(file, 2);
        recorder.arc(file, 1, 2);
        assert_eq!(recorder.lost(), 6);
        let bytes = memory.to_bytes();
        let log_id = crate::format::parse_header_copy(&bytes).unwrap().log_id;
        let slots = bytes[HEADER_SIZE..].chunks(RECORD_SIZE).enumerate();
        let slots = slots.map(|(slot, bytes)| classify(slot_words(bytes), place(&log_id, slot as u32)));
        let (mut hits, mut wrong) = (0, 0);
        for slot in slots {
            match slot {
                Slot::Valid(Record::Line { .. } | Record::Arc { .. }) => hits += 1,
                Slot::Valid(_) | Slot::Blank { .. } => {}
                _ => wrong += 1,
            }
        }
        assert_eq!((hits, wrong), (3, 0));
    }
}
