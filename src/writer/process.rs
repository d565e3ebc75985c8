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
use super::wiped::Wiped;
use crate::format::{EndReason, Header, LogId, Record, Words, ZERO_ID};
use crate::storage::Storage;
use crate::system::{self, Host};

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
    host: Host,
    processes: Table<Process>,
    current_process: AtomicU32,
    next_segment_serial: AtomicU64,
}

impl Shared {
    pub(super) fn new(open_storage: Box<OpenStorage>, run_id: Vec<u8>) -> io::Result<Shared> {
        let shared = Shared {
            names: Names::new(),
            context: AtomicU32::new(0),
            open_storage,
            run_id,
            host: Host::read(),
            processes: Table::new(),
            current_process: AtomicU32::new(0),
            next_segment_serial: AtomicU64::new(1),
        };
        let first = Process::new(NameIndex::default(), ZERO_ID)?;
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
        let child = Process::new(self.names.index(), known.log_id_or_parent()).ok()?;
        let id = self.processes.push(child, u32::MAX)?;
        let _ = self.current_process.compare_exchange(current, id, Ordering::AcqRel, Ordering::Acquire);
        self.existing_process()
    }
}

/// One process's log.
pub(super) struct Process {
    /// 1; a forked child reads 0.
    ours: Wiped<AtomicU32>,
    pub(super) index: NameIndex,
    pub(super) lost: AtomicU64,
    /// Error number of the failure after which no more room is asked for; 0: none.
    failed: AtomicU32,
    /// Whether a trailer was written and nothing after it.
    ended: AtomicBool,
    next_thread: AtomicU32,
    parent_log_id: LogId,
    first_log_id: OnceLock<LogId>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    /// All but the last one are full.
    segments: Vec<Segment>,
    /// Blocks that threads hold.
    held: Vec<Held>,
    /// What threads left over of blocks of the last segment.
    spare: Vec<Range<u32>>,
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
    /// A trailer stands in the log already: say that it goes on.
    pub(super) resumed: bool,
}

impl Process {
    fn new(index: NameIndex, parent_log_id: LogId) -> io::Result<Process> {
        let ours = Wiped::<AtomicU32>::new()?;
        ours.store(1, Ordering::Release);
        Ok(Process {
            ours,
            index,
            lost: AtomicU64::new(0),
            failed: AtomicU32::new(0),
            ended: AtomicBool::new(false),
            next_thread: AtomicU32::new(0),
            parent_log_id,
            first_log_id: OnceLock::new(),
            log: Mutex::default(),
        })
    }

    pub(super) fn is_ours(&self) -> bool {
        self.ours.load(Ordering::Acquire) == 1
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
                log.hold(hot, block);
                let resumed = self.ended.swap(false, Ordering::AcqRel);
                Some(Given { opened, resumed })
            }
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
                None if opened => return Err(io::ErrorKind::StorageFull.into()),
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
            process_start_ticks: system::process_start_ticks(),
            pid_namespace: system::pid_namespace(),
            boot_id: shared.host.boot_id,
            wall_start_ns: system::wall_ns(),
            monotonic_start_ns: system::monotonic_ns(),
            run_id: shared.run_id.clone(),
            host: shared.host.name.clone(),
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
            Some(segment) => segment.write(slot, words),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Counts `count` records that found no room, and leaves word of it in the log at each power of two,
    /// so that a process which is killed afterwards has told the loss to within a factor of two.
    pub(super) fn lose(&self, count: u64) {
        let before = self.lost.fetch_add(count, Ordering::AcqRel);
        let lost = before + count;
        let power = lost.ilog2();
        if before != 0 && before.ilog2() == power {
            return;
        }
        let slot = LOSS_SLOTS.start + power;
        if !LOSS_SLOTS.contains(&slot) {
            return;
        }
        let errno = self.failed.load(Ordering::Acquire) as u16;
        let loss = Record::Loss { lost, errno, time_ns: system::monotonic_ns() };
        if let Some(segment) = self.lock().segments.last_mut()
            && segment.write(slot, loss.words()).is_ok()
        {
            segment.records += 1;
        }
    }

    /// Writes the trailers of all segments. Gives back the one that found its reserved slots used, and
    /// must be appended like any other record.
    pub(super) fn end(
        &self,
        hot: &Arc<Wiped<Hot>>,
        reason: EndReason,
        exit_code: Option<u16>,
    ) -> Option<Record> {
        let mut log = self.lock();
        log.take_back(hot);
        if self.ended.load(Ordering::Acquire) {
            return None;
        }
        let last = log.segments.len().checked_sub(1)?;
        let time_ns = system::monotonic_ns();
        let lost = u32::try_from(self.lost.load(Ordering::Acquire)).unwrap_or(u32::MAX);
        for index in 0..last {
            let records = log.records(index);
            let reason = EndReason::Continued;
            let trailer = Record::Trailer { reason, exit_code: None, time_ns, records, lost: 0 };
            log.segments[index].write_trailer(trailer);
        }
        let records = log.records(last);
        let trailer = Record::Trailer { reason, exit_code, time_ns, records, lost };
        let written = log.segments[last].write_trailer(trailer);
        self.ended.store(written, Ordering::Release);
        (!written).then_some(trailer)
    }

    /// Ends the log once more, after `trailers` were appended to the block of `hot`.
    pub(super) fn end_again(&self, hot: &Arc<Wiped<Hot>>, trailers: u64) {
        let mut log = self.lock();
        log.take_back(hot);
        if let Some(segment) = log.segments.last_mut() {
            segment.records -= trailers;
        }
        self.ended.store(true, Ordering::Release);
    }

    /// Brings all segments to the medium.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.lock().segments.iter().try_for_each(Segment::sync)
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

impl Log {
    fn hold(&mut self, hot: &Arc<Wiped<Hot>>, block: Range<u32>) {
        let index = self.segments.len() - 1;
        let segment = &self.segments[index];
        hot.set(segment.cells(), segment.first_place(), segment.serial, &block);
        self.held.push(Held { hot: Arc::clone(hot), segment: index, block });
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

    /// Records appended to a segment so far.
    fn records(&self, segment: usize) -> u64 {
        let held = self.held.iter().filter(|held| held.segment == segment);
        self.segments[segment].records + held.map(Held::records).sum::<u64>()
    }
}
