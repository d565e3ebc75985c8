//! The part of a recorder that belongs to one process: its log, and who holds which block of it.
//!
//! A forked child makes its own [`Process`] and leaves its parent's alone, because any lock in it may be
//! held by a thread that the child does not have.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::hot::Hot;
use super::names::{NameIndex, Names};
use super::segment::{LOSS_SLOTS, Segment};
use super::table::Table;
use super::wiped::{Own, Wiped};
use crate::format::{BOOT_ID_UNKNOWN, EndReason, Header, LogId, Record, Words, ZERO_ID};
use crate::process_identity::{self, boot_id, pid_namespace};
use crate::storage::Storage;
use crate::system;

/// Creates the storage of the log with this id, written by this pid; `AlreadyExists` asks for another id.
pub(super) type OpenStorage = dyn Fn(u32, &LogId) -> io::Result<Box<dyn Storage>> + Send + Sync;

/// Tries with fresh random ids before creation is given up.
const LOG_ID_TRIES: u32 = 1000;

/// What a recorder keeps across fork.
pub(super) struct Shared {
    pub(super) names: Names,
    /// The context of all threads that have none of their own.
    pub(super) context: AtomicU32,
    open_storage: Box<OpenStorage>,
    run_id: Vec<u8>,
    host: Vec<u8>,
    boot_id: [u8; 16],
    processes: Table<Process>,
    current_process: AtomicU32,
    next_segment_serial: AtomicU64,
    /// Set when the last recorder is gone: nobody can append any more.
    pub(super) closed: AtomicBool,
}

impl Shared {
    pub(super) fn new(open_storage: Box<OpenStorage>, run_id: Vec<u8>) -> io::Result<Shared> {
        let shared = Shared {
            names: Names::new(),
            context: AtomicU32::new(0),
            open_storage,
            run_id,
            host: system::host_name(),
            boot_id: boot_id().unwrap_or(BOOT_ID_UNKNOWN),
            processes: Table::new(),
            current_process: AtomicU32::new(0),
            next_segment_serial: AtomicU64::new(1),
            closed: AtomicBool::new(false),
        };
        let first = Process::new(ZERO_ID, 0)?;
        shared
            .current_process
            .store(shared.processes.push(first, u32::MAX).unwrap_or(0), Ordering::Release);
        Ok(shared)
    }

    /// This process's part, if it has one; a forked child has none before its first append.
    pub(super) fn existing_process(&self) -> Option<&Process> {
        self.processes.get(self.current_process.load(Ordering::Acquire)).filter(|p| p.is_ours())
    }

    /// This process's part; `None` if there is no memory for one.
    pub(super) fn process(&self) -> Option<&Process> {
        let current = self.current_process.load(Ordering::Acquire);
        let known = self.processes.get(current)?;
        if known.is_ours() {
            return Some(known);
        }
        known.release_inherited();
        let child =
            Process::new(known.log_id_or_parent(), known.own.lost.load(Ordering::Acquire)).ok()?;
        let id = self.processes.push(child, u32::MAX)?;
        let _ = self.current_process.compare_exchange(current, id, Ordering::AcqRel, Ordering::Acquire);
        self.existing_process()
    }

    /// Counts one record that could not be written.
    pub(super) fn lose(&self) {
        match self.process() {
            Some(process) => process.lose(),
            None => self.lose_without_process(),
        }
    }

    /// Counts one record of a thread or a process that has no memory for any part of this recorder.
    pub(super) fn lose_without_process(&self) {
        if let Some(process) = self.processes.get(self.current_process.load(Ordering::Acquire)) {
            process.own.lost.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How many records of this process could not be written.
    pub(super) fn lost(&self) -> u64 {
        let process = self.processes.get(self.current_process.load(Ordering::Acquire));
        process.map_or(0, |process| process.own.lost.load(Ordering::Acquire))
    }
}

/// One process's log.
pub(super) struct Process {
    own: Wiped<Own>,
    pub(super) index: NameIndex,
    /// Error number of the failure after which no more room is asked for; 0: none.
    failed: AtomicU32,
    next_thread: AtomicU32,
    parent_log_id: LogId,
    first_log_id: OnceLock<LogId>,
    log: Mutex<Log>,
}

/// What a trailer tells of the last segment.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Told {
    records: u64,
    lost: u64,
}

#[derive(Default)]
struct Log {
    /// All but the last one are full.
    segments: Vec<Segment>,
    /// Blocks that threads hold.
    held: Vec<Held>,
    /// What threads left over of blocks of the last segment.
    spare: Vec<Range<u32>>,
    /// The latest trailer, if no block was given out since.
    ended: Option<Told>,
}

struct Held {
    hot: Arc<Wiped<Hot>>,
    segment: usize,
    block: Range<u32>,
}

impl Held {
    /// Records in this block so far.
    fn records(&self) -> u64 {
        let free = self.hot.free();
        u64::from(self.block.end - self.block.start) - u64::from(free.end - free.start)
    }
}

/// What a thread has to do after it was given a block.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Given {
    /// The log was just created: the context of the moment must be written into it.
    pub(super) opened: bool,
    /// The block lies in another segment than this thread's block before.
    pub(super) moved: bool,
    /// A trailer stands in the log already: say that it goes on.
    pub(super) resumed: bool,
}

impl Process {
    fn new(parent_log_id: LogId, lost: u64) -> io::Result<Process> {
        let own = Wiped::<Own>::new()?;
        own.lost.store(lost, Ordering::Release);
        own.is_ours.store(1, Ordering::Release);
        Ok(Process {
            own,
            index: NameIndex::default(),
            failed: AtomicU32::new(0),
            next_thread: AtomicU32::new(0),
            parent_log_id,
            first_log_id: OnceLock::new(),
            log: Mutex::default(),
        })
    }

    pub(super) fn is_ours(&self) -> bool {
        self.own.is_ours.load(Ordering::Acquire) == 1
    }

    /// The next number of a thread in this log.
    pub(super) fn number_thread(&self) -> u32 {
        self.next_thread.fetch_add(1, Ordering::Relaxed)
    }

    /// Why no more room is to be had.
    pub(super) fn failure(&self) -> Option<io::Error> {
        let errno = self.failed.load(Ordering::Acquire);
        (errno != 0).then(|| io::Error::from_raw_os_error(errno as i32))
    }

    fn log_id_or_parent(&self) -> LogId {
        self.first_log_id.get().copied().unwrap_or(self.parent_log_id)
    }

    /// In a child: lets go of the parent's mapping and descriptor, unless a thread of the parent was
    /// working on them at the moment of the fork; then they stay, unused.
    fn release_inherited(&self) {
        self.index.release_inherited();
        if let Ok(mut log) = self.log.try_lock() {
            *log = Log::default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `hot` at least `need` free slots in a row; `None` if there is no room any more.
    pub(super) fn give_block(
        &self,
        shared: &Shared,
        hot: &Arc<Wiped<Hot>>,
        need: u32,
    ) -> Option<Given> {
        if self.failed.load(Ordering::Acquire) != 0 {
            return None;
        }
        let mut log = self.lock();
        log.take_back(hot);
        match self.find_block(&mut log, shared, need) {
            Ok((block, opened)) => {
                let moved = log.hold(hot, block);
                let resumed = log.ended.take().is_some();
                Some(Given { opened, moved, resumed })
            }
            // A single slot may still be free where a row of them is not.
            Err(_) if need > 1 => None,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                self.failed.store(errno.unsigned_abs(), Ordering::Release);
                None
            }
        }
    }

    fn find_block(&self, log: &mut Log, shared: &Shared, need: u32) -> io::Result<(Range<u32>, bool)> {
        let fits = |block: &Range<u32>| block.end - block.start >= need;
        if let Some(index) = log.spare.iter().position(fits) {
            return Ok((log.spare.swap_remove(index), false));
        }
        let mut opened = false;
        loop {
            let room = log.segments.last_mut().map(Segment::take_block).transpose()?.flatten();
            match room {
                Some(block) if fits(&block) => return Ok((block, opened)),
                Some(block) => log.spare.push(block),
                None if opened => return Err(io::Error::from_raw_os_error(libc::ENOSPC)),
                None => {
                    let segment = self.open_segment(shared, log.segments.len())?;
                    log.segments.push(segment);
                    log.spare.clear();
                    opened = true;
                }
            }
        }
    }

    fn open_segment(&self, shared: &Shared, number: usize) -> io::Result<Segment> {
        let pid = std::process::id();
        for _ in 0..LOG_ID_TRIES {
            let log_id = system::random_id()?;
            match (shared.open_storage)(pid, &log_id) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(storage) => {
                    let header = self.header(shared, log_id, pid, number as u32);
                    let serial = shared.next_segment_serial.fetch_add(1, Ordering::AcqRel);
                    return Segment::begin(storage, header, serial);
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn header(&self, shared: &Shared, log_id: LogId, pid: u32, segment: u32) -> Header {
        let first_log_id = *self.first_log_id.get_or_init(|| log_id);
        Header {
            log_id,
            parent_log_id: self.parent_log_id,
            first_log_id,
            segment,
            pid,
            ppid: std::os::unix::process::parent_id(),
            process_start_ticks: process_identity::process("self").map_or(0, |own| own.start_ticks),
            pid_namespace: pid_namespace().unwrap_or(0),
            boot_id: shared.boot_id,
            wall_start_ns: system::wall_ns(),
            monotonic_start_ns: system::monotonic_ns(),
            run_id: shared.run_id.clone(),
            host: shared.host.clone(),
            argv: system::argv(),
            argv_cut: false,
        }
    }

    /// Takes back the block of a thread that ends.
    pub(super) fn take_back(&self, hot: &Arc<Wiped<Hot>>) {
        self.lock().take_back(hot);
    }

    /// Writes a record where there is no memory to store it through.
    pub(super) fn write_through(&self, serial: u64, slot: u32, words: Words) -> io::Result<()> {
        match self.lock().segments.iter().find(|segment| segment.serial == serial) {
            Some(segment) => segment.store(slot, words),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Counts a record that found no room, and leaves word of it in the log at each power of two, so that
    /// a process which is killed afterwards has told the loss to within a factor of two.
    fn lose(&self) {
        let lost = self.own.lost.fetch_add(1, Ordering::AcqRel) + 1;
        let slot = LOSS_SLOTS.start + lost.ilog2();
        if !lost.is_power_of_two() || !LOSS_SLOTS.contains(&slot) {
            return;
        }
        let errno = self.failed.load(Ordering::Acquire) as u16;
        let loss = Record::Loss { lost, errno, time_ns: system::monotonic_ns() };
        if let Some(segment) = self.lock().segments.last_mut()
            && segment.store(slot, loss.words()).is_ok()
        {
            segment.records += 1;
        }
    }

    /// Stores the trailers of all segments, unless the latest trailer tells all there is. `false` if the
    /// last one's found its reserved slots used: then make room for two records, and call
    /// [`Process::later_trailer`].
    pub(super) fn end(&self, hot: &Arc<Wiped<Hot>>, reason: EndReason, exit_code: Option<u16>) -> bool {
        let mut log = self.lock();
        log.take_back(hot);
        let Some(last) = log.segments.len().checked_sub(1) else { return true };
        log.end_those_left_behind();
        let told = self.tell(&log);
        if log.ended == Some(told) {
            return true;
        }
        let stored = log.segments[last].store_trailer(told.trailer(reason, exit_code));
        if stored {
            log.ended = Some(told);
        }
        stored
    }

    /// A trailer for the segment that is the last one now.
    pub(super) fn later_trailer(&self, reason: EndReason, exit_code: Option<u16>) -> Record {
        self.tell(&self.lock()).trailer(reason, exit_code)
    }

    /// Ends the log once more, after both copies of `trailer` were appended to the block of `hot`.
    pub(super) fn end_again(&self, hot: &Arc<Wiped<Hot>>) {
        let mut log = self.lock();
        log.take_back(hot);
        if let Some(segment) = log.segments.last_mut() {
            segment.records -= 2;
        }
        log.end_those_left_behind();
        log.ended = Some(self.tell(&log));
    }

    fn tell(&self, log: &Log) -> Told {
        let last = log.segments.len().saturating_sub(1);
        Told { records: log.records(last), lost: self.own.lost.load(Ordering::Acquire) }
    }

    /// Brings all segments to the medium.
    pub(super) fn sync(&self) -> io::Result<()> {
        let segments: Vec<_> = self.lock().segments.iter().map(Segment::sync).collect();
        segments.into_iter().try_for_each(|sync| sync())
    }

    /// Lets go of all segments. Only when no thread can append any more.
    pub(super) fn close(&self) {
        let mut log = self.lock();
        for held in &log.held {
            held.hot.clear();
        }
        *log = Log::default();
    }
}

impl Told {
    fn trailer(self, reason: EndReason, exit_code: Option<u16>) -> Record {
        let lost = u32::try_from(self.lost).unwrap_or(u32::MAX);
        let time_ns = system::monotonic_ns();
        Record::Trailer { reason, exit_code, time_ns, records: self.records, lost }
    }
}

impl Log {
    /// Gives `block` of the last segment to a thread; whether that is another segment than before.
    fn hold(&mut self, hot: &Arc<Wiped<Hot>>, block: Range<u32>) -> bool {
        let index = self.segments.len() - 1;
        let segment = &self.segments[index];
        let moved = hot.serial.load(Ordering::Relaxed) != segment.serial;
        hot.set(segment.cells(), segment.first_place(), segment.serial, &block);
        self.held.push(Held { hot: Arc::clone(hot), segment: index, block });
        moved
    }

    fn take_back(&mut self, hot: &Arc<Wiped<Hot>>) {
        let mine = self.held.iter().position(|held| Arc::ptr_eq(&held.hot, hot));
        let Some(index) = mine else { return };
        let held = self.held.swap_remove(index);
        self.segments[held.segment].records += held.records();
        let free = hot.free();
        if !free.is_empty() && held.segment + 1 == self.segments.len() {
            self.spare.push(free);
        }
        hot.clear();
    }

    /// Stores the trailers of all segments but the last one.
    fn end_those_left_behind(&mut self) {
        for index in 0..self.segments.len().saturating_sub(1) {
            let left = Told { records: self.records(index), lost: 0 };
            self.segments[index].store_continued(left.trailer(EndReason::Continued, None));
        }
    }

    /// Records appended to a segment so far.
    fn records(&self, segment: usize) -> u64 {
        let held = self.held.iter().filter(|held| held.segment == segment);
        let given_back = self.segments.get(segment).map_or(0, |segment| segment.records);
        given_back + held.map(Held::records).sum::<u64>()
    }
}
