//! One thread's block of the log and its seen-filter: the hot path.
//!
//! Everything the hot path reads lies in memory that a forked child finds zeroed: there the bounds say
//! "no room" and the filter says "nothing seen", and the slow path does the rest. No lock, no system call.

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::process::{Given, Process, Shared};
use super::wiped::{Wipeable, Wiped};
use crate::format::{EndReason, NAME_CHUNK_BYTES, NameChunk, NameSpace, Record, Words, seal};
use crate::limits::LINE_MAX;
use crate::storage::SlotCell;
use crate::system;

/// Entries of the seen-filter: 16 KiB, a share of the first-level cache that a host can spare, and few
/// pages to touch in a short life.
const FILTER_SIZE: usize = 1024;
/// Slots between the two copies of a record that is kept twice: a page of 4096 bytes apart.
const COPY_DISTANCE: u32 = 128;
/// Chunks of a name that are written as one piece, with their copies, into one block.
const NAME_PIECE: usize = 256;
/// Attempts to find room and names in the same segment; two are enough unless segments are tiny.
const ATTEMPTS: u32 = 8;
/// No context and file: the next hit has to look whether its names are written.
const NOTHING_NAMED: u64 = u64::MAX;

/// Where one thread may store. Changed by its own thread; read by the one that ends the log.
#[derive(Default)]
pub(super) struct Bounds {
    /// Address of slot 0; 0: no memory, records are written through.
    base: AtomicU64,
    /// Context and file, as in a hit's first payload word, whose names stand in this log.
    named: AtomicU64,
    /// Serial number of the segment; 0: none.
    serial: AtomicU64,
    next: AtomicU32,
    end: AtomicU32,
    /// Place of slot 0.
    first_place: AtomicU32,
}

// SAFETY: zero bytes are a value (no block), and every field is atomic.
unsafe impl Wipeable for Bounds {}

impl Bounds {
    pub(super) fn set(
        &self,
        cells: Option<NonNull<SlotCell>>,
        first_place: u32,
        serial: u64,
        block: &Range<u32>,
    ) {
        let base = cells.map_or(0, |first| first.as_ptr().expose_provenance());
        self.base.store(base as u64, Ordering::Relaxed);
        self.first_place.store(first_place, Ordering::Relaxed);
        self.serial.store(serial, Ordering::Relaxed);
        self.named.store(NOTHING_NAMED, Ordering::Relaxed);
        self.next.store(block.start, Ordering::Relaxed);
        self.end.store(block.end, Ordering::Relaxed);
    }

    /// The slots that are not used yet.
    pub(super) fn free(&self) -> Range<u32> {
        let end = self.end.load(Ordering::Relaxed);
        self.next.load(Ordering::Relaxed).min(end)..end
    }

    pub(super) fn clear(&self) {
        self.end.store(0, Ordering::Relaxed);
        self.next.store(0, Ordering::Relaxed);
        self.named.store(NOTHING_NAMED, Ordering::Relaxed);
    }

    fn room(&self) -> u32 {
        let free = self.free();
        free.end - free.start
    }
}

/// One thread's part of a recorder.
pub(super) struct Thread {
    shared: Arc<Shared>,
    bounds: Arc<Wiped<Bounds>>,
    filter: Wiped<[[AtomicU64; 2]; FILTER_SIZE]>,
    /// This thread's own context, if it has one; kept across fork.
    own_context: Cell<Option<u32>>,
    /// Number of this thread in the log, and the process in which it got it.
    number: Cell<u32>,
    process: Cell<*const Process>,
}

thread_local! {
    static LAST: Cell<*const Thread> = const { Cell::new(std::ptr::null()) };
    static THREADS: RefCell<ThreadList> = const { RefCell::new(ThreadList(Vec::new())) };
}

/// This thread's parts of all recorders it ever used.
#[expect(clippy::vec_box, reason = "LAST points to a Thread, which must not move")]
struct ThreadList(Vec<Box<Thread>>);

impl Drop for ThreadList {
    fn drop(&mut self) {
        LAST.set(std::ptr::null());
    }
}

/// Does `work` with the calling thread's part of `shared`; `None` if there is no memory for one.
#[inline(always)]
pub(super) fn with<R>(shared: &Arc<Shared>, work: impl FnOnce(&Thread) -> R) -> Option<R> {
    let last = LAST.get();
    // SAFETY: LAST points to a Thread that THREADS of this very thread owns (or that was leaked), and
    // is reset when THREADS is dropped or the Thread is removed from it.
    let thread = unsafe { last.as_ref() };
    match thread {
        Some(thread) if Arc::ptr_eq(&thread.shared, shared) => Some(work(thread)),
        _ => find(shared).map(work),
    }
}

#[cold]
fn find(shared: &Arc<Shared>) -> Option<&'static Thread> {
    let known = THREADS.try_with(|list| {
        let list = &mut list.try_borrow_mut().ok()?.0;
        // A recorder that is gone everywhere else is only held by our own list.
        list.retain(|thread| Arc::strong_count(&thread.shared) > 1);
        let known = list.iter().position(|thread| Arc::ptr_eq(&thread.shared, shared));
        let index = match known {
            Some(index) => index,
            None => {
                list.push(Box::new(Thread::new(shared).ok()?));
                list.len() - 1
            }
        };
        Some(&raw const *list[index])
    });
    let thread = match known {
        Ok(thread) => thread?,
        // Late in the end of a thread, after its list is gone: leaked, so that no hit is lost.
        Err(_) => Box::leak(Box::new(Thread::new(shared).ok()?)),
    };
    LAST.set(thread);
    // SAFETY: just made or found alive; the caller uses it before this thread can end.
    unsafe { thread.as_ref() }
}

impl Thread {
    fn new(shared: &Arc<Shared>) -> io::Result<Thread> {
        Ok(Thread {
            shared: Arc::clone(shared),
            bounds: Arc::new(Wiped::new()?),
            filter: Wiped::new()?,
            own_context: Cell::new(None),
            number: Cell::new(0),
            process: Cell::new(std::ptr::null()),
        })
    }

    /// The context that this thread's hits belong to.
    #[inline(always)]
    pub(super) fn context(&self) -> u32 {
        match self.own_context.get() {
            Some(own) => own,
            None => self.shared.context.load(Ordering::Relaxed),
        }
    }

    pub(super) fn line(&self, file: u32, line: u32) {
        let words = Words::line(self.context(), file, line);
        // An end of an arc is never i32::MIN: as a key, a line differs from every arc.
        if self.is_new([words.payload[0], words.payload[1] | 1 << 63]) {
            self.append_hit(words, file != 0 && (1..=LINE_MAX).contains(&line));
        }
    }

    pub(super) fn arc(&self, file: u32, from: i32, to: i32) {
        let words = Words::arc(self.context(), file, from, to);
        if self.is_new(words.payload) {
            let limits = from.unsigned_abs() <= LINE_MAX && to.unsigned_abs() <= LINE_MAX;
            self.append_hit(words, file != 0 && limits);
        }
    }

    /// Whether `key` is not in the seen-filter; puts it there, in the place of whatever shared its entry.
    #[inline(always)]
    fn is_new(&self, key: [u64; 2]) -> bool {
        let mixed = (key[0] ^ key[1].rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let entry = &self.filter[(mixed >> 54) as usize % FILTER_SIZE];
        let seen =
            entry[0].load(Ordering::Relaxed) == key[0] && entry[1].load(Ordering::Relaxed) == key[1];
        if !seen {
            entry[0].store(key[0], Ordering::Relaxed);
            entry[1].store(key[1], Ordering::Relaxed);
        }
        !seen
    }

    #[inline(always)]
    fn append_hit(&self, words: Words, within_limits: bool) {
        let bounds = &**self.bounds;
        let next = bounds.next.load(Ordering::Relaxed);
        let room = next < bounds.end.load(Ordering::Relaxed);
        if room && within_limits && bounds.named.load(Ordering::Relaxed) == words.payload[0] {
            self.store(next, words);
            bounds.next.store(next + 1, Ordering::Relaxed);
        } else {
            self.append_hit_slowly(words, within_limits);
        }
    }

    #[inline(always)]
    fn store(&self, slot: u32, words: Words) {
        let base = self.bounds.base.load(Ordering::Relaxed) as usize;
        let first: *const SlotCell = std::ptr::with_exposed_provenance(base);
        let place = self.bounds.first_place.load(Ordering::Relaxed).wrapping_add(slot);
        // SAFETY: `slot` lies in the block that this thread was given (checked by the callers), which is
        // extended on the medium and which nobody else stores to; the segment is unmapped only after
        // all bounds were cleared, or in a child, where they read zero.
        unsafe { (*first.add(slot as usize)).store(seal(words, place)) };
    }

    #[cold]
    fn append_hit_slowly(&self, words: Words, within_limits: bool) {
        let context = words.payload[0] as u32;
        let file = (words.payload[0] >> 32) as u32;
        let names = [(NameSpace::Context, context), (NameSpace::File, file)];
        if !within_limits || !self.append(words, &names) {
            self.lose(1);
        } else if self.bounds.base.load(Ordering::Relaxed) != 0 {
            self.bounds.named.store(words.payload[0], Ordering::Relaxed);
        }
    }

    /// Counts records of this thread that could not be written.
    pub(super) fn lose(&self, count: u64) {
        if let Some(process) = self.shared.process() {
            process.lose(count);
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
            let serial = self.bounds.serial.load(Ordering::Relaxed);
            if !names.iter().all(|(space, id)| self.write_name(process, *space, *id)) {
                return false;
            }
            if self.bounds.room() > 0 && self.bounds.serial.load(Ordering::Relaxed) == serial {
                return self.put_front(process, words);
            }
        }
        false
    }

    /// Gets a block with `need` free slots, unless this thread has them.
    fn make_room(&self, process: &Process, need: u32) -> bool {
        for _ in 0..ATTEMPTS {
            if self.bounds.room() >= need {
                return true;
            }
            let Some(given) = process.give_block(&self.shared, &self.bounds, need) else {
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
        let context = self.context();
        if given.opened && context != 0 {
            let thread = self.number.get();
            let start = Record::ContextStart { context, thread, time_ns, inherited: true };
            self.append(start.words(), &[(NameSpace::Context, context)]);
        }
    }

    /// Stores into the first free slot, which must exist.
    fn put_front(&self, process: &Process, words: Words) -> bool {
        let slot = self.bounds.next.load(Ordering::Relaxed);
        let stored = self.put(process, slot, words);
        self.bounds.next.store(slot + 1, Ordering::Relaxed);
        stored
    }

    fn put(&self, process: &Process, slot: u32, words: Words) -> bool {
        if self.bounds.base.load(Ordering::Relaxed) == 0 {
            let serial = self.bounds.serial.load(Ordering::Relaxed);
            return process.write_through(serial, slot, words).is_ok();
        }
        self.store(slot, words);
        true
    }

    /// Stores all `records` from the front of the free slots and again from their back, at least
    /// [`COPY_DISTANCE`] apart, so that no damaged sector or page costs both copies.
    fn put_twice(&self, process: &Process, records: &[Words]) -> bool {
        let count = records.len() as u32;
        if !self.make_room(process, (2 * count).max(count + COPY_DISTANCE)) {
            return false;
        }
        let end = self.bounds.end.load(Ordering::Relaxed);
        let back = (end - count..end).zip(records);
        let stored = back.into_iter().all(|(slot, words)| self.put(process, slot, *words));
        self.bounds.end.store(end - count, Ordering::Relaxed);
        records.iter().fold(stored, |stored, words| self.put_front(process, *words) && stored)
    }

    /// Writes the name `id`, unless it stands in this thread's segment.
    fn write_name(&self, process: &Process, space: NameSpace, id: u32) -> bool {
        if id == 0 {
            return space == NameSpace::Context;
        }
        let Some(name) = self.shared.names.get(space, id) else { return false };
        if name.is_written_in(self.bounds.serial.load(Ordering::Relaxed)) {
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
            let serial = self.bounds.serial.load(Ordering::Relaxed);
            if !records.chunks(NAME_PIECE).all(|piece| self.put_twice(process, piece)) {
                return false;
            }
            if self.bounds.serial.load(Ordering::Relaxed) == serial {
                name.set_written_in(serial);
                return true;
            }
        }
        false
    }

    /// Makes `context` the process's context.
    pub(super) fn switch_process_context(&self, context: u32) {
        let before = self.shared.context.swap(context, Ordering::AcqRel);
        self.write_switch(before, context);
    }

    /// Makes `context` this thread's own (`None`: follow the process's again); returns what was before.
    pub(super) fn switch_own_context(&self, context: Option<u32>) -> Option<u32> {
        let before = self.context();
        let own_before = self.own_context.replace(context);
        self.write_switch(before, self.context());
        own_before
    }

    fn write_switch(&self, before: u32, after: u32) {
        let Some(_) = self.process() else { return };
        let (thread, time_ns) = (self.number.get(), system::monotonic_ns());
        if before == after {
            return;
        }
        let stop = Record::ContextStop { context: before, thread, time_ns };
        let start = Record::ContextStart { context: after, thread, time_ns, inherited: false };
        for (context, record) in [(before, stop), (after, start)] {
            if context != 0 && !self.append(record.words(), &[(NameSpace::Context, context)]) {
                self.lose(1);
            }
        }
    }

    pub(super) fn sample(&self, name: u32, value: u64) {
        let (context, time_ns) = (self.context(), system::monotonic_ns());
        let sample = Record::Sample { name: name as u16, context, time_ns, value };
        let names = [(NameSpace::Context, context), (NameSpace::Sample, name)];
        if !self.append(sample.words(), &names) {
            self.lose(1);
        }
    }

    /// Ends the log, if this process has one.
    pub(super) fn end(&self, reason: EndReason, exit_code: Option<u16>) {
        let Some(process) = self.shared.existing_process() else { return };
        let Some(trailer) = process.end(&self.bounds, reason, exit_code) else { return };
        // The reserved slots are used: an earlier end was not the last.
        if self.put_twice(process, &[trailer.words()]) {
            process.end_again(&self.bounds, 2);
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(process) = self.shared.existing_process() {
            process.take_back(&self.bounds);
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
