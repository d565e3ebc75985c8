//! One thread's part of a recorder: the way of a hit from the handle into the log, and what is done where
//! the short way ([`Hot`]) ends: no room, names not written, a fork, a context's change.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::hot::Hot;
use super::process::{Given, Process, Shared};
use super::wiped::Wiped;
use crate::format::{EndReason, NAME_CHUNK_BYTES, NameChunk, NameSpace, Record, Words};
use crate::limits::LINE_MAX;
use crate::system;

/// Slots between the two copies of a record that is kept twice: a page of 4096 bytes apart.
const COPY_DISTANCE: u32 = 128;
/// Chunks of a name that are written as one piece, with their copies, into one block.
const NAME_PIECE: usize = 256;
/// The number that stands for all threads without a context of their own, where a thread is numbered.
const PROCESS_CONTEXT: u32 = u32::MAX;
/// Attempts to find room and names in the same segment; two are enough unless segments are tiny.
const ATTEMPTS: u32 = 8;

/// One thread's part of a recorder.
pub(super) struct Thread {
    shared: Arc<Shared>,
    hot_pages: Arc<Wiped<Hot>>,
    /// What lies in `hot_pages`, without the way there.
    hot: *const Hot,
    /// This thread's own context, if it has one; kept across fork. Not in here itself: `context` points to it,
    /// and a `Thread` moves into its box.
    own_context: Arc<AtomicU32>,
    /// Where the context of this thread's hits stands: `own_context`, or the one that all threads share.
    context: Cell<*const AtomicU32>,
    /// Number of this thread in the log, and the process in which it got it.
    number: Cell<u32>,
    process: Cell<*const Process>,
}

/// A recorder, and a thread's part of it.
#[derive(Clone, Copy)]
struct Last {
    shared: *const Shared,
    thread: *const Thread,
}

const NONE: Last = Last { shared: std::ptr::null(), thread: std::ptr::null() };

thread_local! {
    static LAST: Cell<Last> = const { Cell::new(NONE) };
    static THREADS: RefCell<ThreadList> = const { RefCell::new(ThreadList(Vec::new())) };
}

/// This thread's parts of all recorders it ever used.
#[expect(clippy::vec_box, reason = "LAST points to a Thread, which must not move")]
struct ThreadList(Vec<Box<Thread>>);

impl Drop for ThreadList {
    fn drop(&mut self) {
        LAST.set(NONE);
    }
}

/// Does `work` with the calling thread's part of `shared`; `None` if there is no memory for one.
#[inline(always)]
pub(super) fn with<R>(shared: &Arc<Shared>, work: impl FnOnce(&Thread) -> R) -> Option<R> {
    let last = LAST.get();
    if last.shared != Arc::as_ptr(shared) {
        return find(shared, work);
    }
    // SAFETY: LAST points to a Thread that THREADS of this very thread owns, and is reset before that list is
    // changed or dropped. Until then the Thread keeps its `shared` alive: no other one has that address.
    Some(work(unsafe { &*last.thread }))
}

#[cold]
fn find<R>(shared: &Arc<Shared>, work: impl FnOnce(&Thread) -> R) -> Option<R> {
    LAST.set(NONE);
    match THREADS.try_with(|list| find_in(&mut *list.try_borrow_mut().ok()?, shared)) {
        Ok(thread) => {
            let thread = thread?;
            LAST.set(Last { shared: Arc::as_ptr(shared), thread });
            // SAFETY: just found in the list, which nobody changes during `work`: that needs `find`,
            // which `work` does not call.
            Some(work(unsafe { thread.as_ref() }?))
        }
        // Late in the end of a thread, after its list is gone: a part for this one call.
        Err(_) => Some(work(&Thread::new(shared).ok()?)),
    }
}

fn find_in(list: &mut ThreadList, shared: &Arc<Shared>) -> Option<*const Thread> {
    let list = &mut list.0;
    list.retain(|thread| !thread.shared.closed.load(Ordering::Acquire));
    let index = match list.iter().position(|thread| Arc::ptr_eq(&thread.shared, shared)) {
        Some(index) => index,
        None => {
            list.push(Box::new(Thread::new(shared).ok()?));
            list.len() - 1
        }
    };
    Some(&raw const *list[index])
}

impl Thread {
    fn new(shared: &Arc<Shared>) -> io::Result<Thread> {
        let hot_pages = Arc::new(Wiped::<Hot>::new()?);
        Ok(Thread {
            shared: Arc::clone(shared),
            hot: &raw const **hot_pages,
            hot_pages,
            own_context: Arc::default(),
            context: Cell::new(&raw const shared.context),
            number: Cell::new(0),
            process: Cell::new(std::ptr::null()),
        })
    }

    #[inline(always)]
    fn hot(&self) -> &Hot {
        // SAFETY: it lies in `hot_pages`, which lives as long as `self`.
        unsafe { &*self.hot }
    }

    /// The context that this thread's hits belong to.
    #[inline(always)]
    pub(super) fn context(&self) -> u32 {
        // SAFETY: it points into `own_context` or `shared`, which live as long as `self`.
        unsafe { &*self.context.get() }.load(Ordering::Relaxed)
    }

    fn own_context(&self) -> Option<u32> {
        let is_own = std::ptr::eq(self.context.get(), Arc::as_ptr(&self.own_context));
        is_own.then(|| self.own_context.load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn line(&self, file: u32, line: u32) {
        let words = Words::line(self.context(), file, line);
        // An end of an arc is never i32::MIN: as a key, a line differs from every arc.
        let hot = self.hot();
        if hot.is_new([words.payload[0], words.payload[1] | 1 << 63]) {
            self.append_line(hot, words.payload[0], line);
        }
    }

    #[inline]
    pub(super) fn arc(&self, file: u32, from: i32, to: i32) {
        // Before the filter: an end that is outside the limits could look like a line there.
        if from.unsigned_abs() > LINE_MAX || to.unsigned_abs() > LINE_MAX {
            return self.shared.lose();
        }
        let words = Words::arc(self.context(), file, from, to);
        let hot = self.hot();
        if hot.is_new(words.payload) {
            self.append_arc(hot, words.payload[0], from, to);
        }
    }

    /// Apart from the filter, which then needs no register saved; `names` are context and file.
    #[inline(never)]
    fn append_line(&self, hot: &Hot, names: u64, line: u32) {
        let words = Words::line(names as u32, (names >> 32) as u32, line);
        self.append_hit(hot, words, (1..=LINE_MAX).contains(&line));
    }

    #[inline(never)]
    fn append_arc(&self, hot: &Hot, names: u64, from: i32, to: i32) {
        let words = Words::arc(names as u32, (names >> 32) as u32, from, to);
        self.append_hit(hot, words, true);
    }

    #[inline(always)]
    fn append_hit(&self, hot: &Hot, words: Words, within_limits: bool) {
        if !within_limits || !hot.append_hit(words) {
            self.append_hit_slowly(words.head, words.payload[0], words.payload[1]);
        }
    }

    #[cold]
    #[inline(never)]
    fn append_hit_slowly(&self, head: u32, names: u64, lines: u64) {
        let words = Words { head, payload: [names, lines], payload_last: 0 };
        let context = words.payload[0] as u32;
        let file = (words.payload[0] >> 32) as u32;
        let names = [(NameSpace::Context, context), (NameSpace::File, file)];
        let within_limits = Record::from_words(words).is_some();
        if within_limits && self.append(words, &names) {
            self.hot().prepare(words.payload[0]);
        } else {
            self.shared.lose();
        }
    }

    /// Writes the name of `file`, unless this thread's segment has it.
    pub(super) fn mention(&self, file: u32) {
        let Some(process) = self.process() else { return self.shared.lose() };
        if !self.make_room(process, 1) || !self.write_name(process, NameSpace::File, file) {
            self.shared.lose();
        }
    }

    /// This process's part, with this thread known to it.
    fn process(&self) -> Option<&Process> {
        let process = self.shared.process()?;
        if !std::ptr::eq(process, self.process.get()) {
            self.process.set(process);
            self.number.set(process.number_thread());
        }
        Some(process)
    }

    /// Makes sure that this process has a log.
    pub(super) fn begin(&self) -> bool {
        self.process().is_some_and(|process| self.make_room(process, 1))
    }

    /// Appends `words`, after the names it uses; `false` if there is no room or no such name.
    fn append(&self, words: Words, names: &[(NameSpace, u32)]) -> bool {
        let Some(process) = self.process() else { return false };
        for _ in 0..ATTEMPTS {
            if !self.make_room(process, 1) {
                return false;
            }
            let serial = self.hot().serial.load(Ordering::Relaxed);
            if !names.iter().all(|(space, id)| self.write_name(process, *space, *id)) {
                return false;
            }
            if self.hot().room() > 0 && self.hot().serial.load(Ordering::Relaxed) == serial {
                return self.put_front(process, words);
            }
        }
        false
    }

    /// Gets a block with `need` free slots, unless this thread has them. What is written into a block first
    /// may need room itself; that ends, because a log is opened and resumed once at most meanwhile.
    fn make_room(&self, process: &Process, need: u32) -> bool {
        for _ in 0..ATTEMPTS {
            if self.hot().room() >= need {
                return true;
            }
            let Some(given) = process.give_block(&self.shared, &self.hot_pages, need) else {
                return false;
            };
            self.settle_in(process, given);
        }
        false
    }

    fn settle_in(&self, process: &Process, given: Given) {
        let time_ns = system::monotonic_ns();
        if given.resumed {
            self.put_front(process, Record::Resumed { time_ns }.words());
        }
        let (of_process, own) = (self.shared.context.load(Ordering::Relaxed), self.own_context());
        if given.opened {
            self.restate(of_process, PROCESS_CONTEXT, time_ns);
        }
        if given.moved {
            self.restate(own.unwrap_or(0), self.number.get(), time_ns);
        }
    }

    /// Says that a context goes on that began before this log did.
    fn restate(&self, context: u32, thread: u32, time_ns: u64) {
        if context != 0 {
            let start = Record::ContextStart { context, thread, time_ns, inherited: true };
            self.append(start.words(), &[(NameSpace::Context, context)]);
        }
    }

    /// Stores into the first free slot, which must exist.
    fn put_front(&self, process: &Process, words: Words) -> bool {
        let slot = self.hot().next.load(Ordering::Relaxed);
        let stored = self.put(process, slot, words);
        self.hot().next.store(slot + u32::from(stored), Ordering::Relaxed);
        stored
    }

    fn put(&self, process: &Process, slot: u32, words: Words) -> bool {
        if !self.hot().is_memory() {
            let serial = self.hot().serial.load(Ordering::Relaxed);
            return process.write_through(serial, slot, words).is_ok();
        }
        // SAFETY: there is memory, and the callers take slots of this thread's block only.
        unsafe { self.hot().put(slot, words) };
        true
    }

    /// Stores all `records` from the front of the free slots and again from their back, at least
    /// [`COPY_DISTANCE`] apart, so that no damaged sector or page costs both copies.
    fn put_twice(&self, process: &Process, records: &[Words]) -> bool {
        let count = records.len() as u32;
        if !self.make_room(process, (2 * count).max(count + COPY_DISTANCE)) {
            return false;
        }
        let end = self.hot().end.load(Ordering::Relaxed);
        let back = (end - count..end).zip(records).rev();
        let stored = back.take_while(|(slot, words)| self.put(process, *slot, **words)).count() as u32;
        self.hot().shorten(end - stored);
        stored == count && records.iter().all(|words| self.put_front(process, *words))
    }

    /// Writes the name `id`, unless it stands in this thread's segment.
    fn write_name(&self, process: &Process, space: NameSpace, id: u32) -> bool {
        if id == 0 {
            return space == NameSpace::Context;
        }
        let Some(name) = self.shared.names.get(space, id) else { return false };
        if name.is_written_in(self.hot().serial.load(Ordering::Relaxed)) {
            return true;
        }
        let mut records: Vec<Words> = chunks_of(space, id, &name.text).collect();
        if let Some((size, mtime_ns)) = name.facts {
            records.push(Record::FileFacts { file: id, size, mtime_ns }.words());
        }
        for _ in 0..ATTEMPTS {
            // A block of another segment may come in between: then all of it must be written again.
            if !self.make_room(process, 1) {
                return false;
            }
            let serial = self.hot().serial.load(Ordering::Relaxed);
            if !records.chunks(NAME_PIECE).all(|piece| self.put_twice(process, piece)) {
                return false;
            }
            if self.hot().serial.load(Ordering::Relaxed) == serial {
                name.set_written_in(serial);
                return true;
            }
        }
        false
    }

    /// Makes `context` the process's context, as one that began before the log did.
    pub(super) fn inherit_process_context(&self, context: u32) {
        self.begin();
        self.shared.context.store(context, Ordering::Release);
        self.restate(context, PROCESS_CONTEXT, system::monotonic_ns());
    }

    /// Makes `context` the process's context.
    pub(super) fn switch_process_context(&self, context: u32) {
        self.begin();
        let before = self.shared.context.swap(context, Ordering::AcqRel);
        self.write_switch(before, context, PROCESS_CONTEXT);
    }

    /// Makes `context` this thread's own (`None`: follow the process's again); returns what was before.
    pub(super) fn switch_own_context(&self, context: Option<u32>) -> Option<u32> {
        self.begin();
        let before = self.own_context();
        self.own_context.store(context.unwrap_or(0), Ordering::Relaxed);
        self.context.set(match context {
            Some(_) => Arc::as_ptr(&self.own_context),
            None => &raw const self.shared.context,
        });
        self.write_switch(before.unwrap_or(0), context.unwrap_or(0), self.number.get());
        before
    }

    fn write_switch(&self, before: u32, after: u32, thread: u32) {
        if before == after {
            return;
        }
        let time_ns = system::monotonic_ns();
        let stop = Record::ContextStop { context: before, thread, time_ns };
        let start = Record::ContextStart { context: after, thread, time_ns, inherited: false };
        for (context, record) in [(before, stop), (after, start)] {
            if context != 0 && !self.append(record.words(), &[(NameSpace::Context, context)]) {
                self.shared.lose();
            }
        }
    }

    pub(super) fn sample(&self, name: u32, value: u64) {
        let (context, time_ns) = (self.context(), system::monotonic_ns());
        let sample = Record::Sample { name: name as u16, context, time_ns, value };
        let names = [(NameSpace::Context, context), (NameSpace::Sample, name)];
        if !self.append(sample.words(), &names) {
            self.shared.lose();
        }
    }

    /// Ends the log, if this process has one.
    pub(super) fn end(&self, reason: EndReason, exit_code: Option<u16>) {
        let Some(process) = self.shared.existing_process() else { return };
        if process.end(&self.hot_pages, reason, exit_code) {
            return;
        }
        // Room first: it may lie in another segment, and the trailer counts that one's records.
        if self.make_room(process, 1 + COPY_DISTANCE) {
            let trailer = process.later_trailer(reason, exit_code);
            if self.put_twice(process, &[trailer.words()]) {
                process.end_again(&self.hot_pages);
            }
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(process) = self.shared.existing_process() {
            process.take_back(&self.hot_pages);
        }
    }
}

/// The records of a name.
fn chunks_of(space: NameSpace, id: u32, text: &[u8]) -> impl Iterator<Item = Words> {
    let count = text.len().div_ceil(NAME_CHUNK_BYTES).max(1);
    (0..count).map(move |index| {
        let start = index * NAME_CHUNK_BYTES;
        let bytes = &text[start..text.len().min(start + NAME_CHUNK_BYTES)];
        let last = index + 1 == count;
        Record::Name { space, id, index: index as u16, last, chunk: NameChunk::new(bytes) }.words()
    })
}
