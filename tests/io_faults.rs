//! The n-th operation on the log's file fails: n = 1, 2, 3 ... until none does, each with eight errors, once
//! and for ever. The host goes on, what was recorded before is whole, and every loss is counted.

mod common;

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use common::Content;
use hitlog::Recorder;
use hitlog::format::{LogId, Record};
use hitlog::storage::memory::Memory;
use hitlog::storage::{SlotCell, Storage};

const ERRORS: [i32; 8] = [
    libc::ENOSPC,
    libc::EIO,
    libc::EMFILE,
    libc::EDQUOT,
    libc::EINTR,
    libc::EROFS,
    libc::EACCES,
    libc::ENOMEM,
];
const LINES: u32 = 12_000;

/// Which operation fails, and how.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Whether records are stored through memory, or each is an operation of its own.
    in_memory: bool,
    nth: i64,
    errno: i32,
    for_ever: bool,
}

/// Counts operations down to the one that fails.
struct Countdown(AtomicI64, Plan);

impl Countdown {
    fn next(&self) -> io::Result<()> {
        let left = self.0.fetch_sub(1, Ordering::Relaxed);
        let fails = left == 1 || (left < 1 && self.1.for_ever);
        if fails { Err(io::Error::from_raw_os_error(self.1.errno)) } else { Ok(()) }
    }

    fn was_reached(&self) -> bool {
        self.0.load(Ordering::Relaxed) < 1
    }
}

struct Faulty {
    plan: Plan,
    memory: Arc<Memory>,
    countdown: Arc<Countdown>,
}

impl Storage for Faulty {
    fn capacity(&self) -> u64 {
        self.memory.capacity()
    }

    fn extend(&self, from: u64, to: u64) -> io::Result<()> {
        self.countdown.next()?;
        self.memory.extend(from, to)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.countdown.next()?;
        self.memory.write(offset, bytes)
    }

    fn store(&self, slot: u32, sealed: [u64; 4]) -> io::Result<()> {
        if !self.plan.in_memory {
            self.countdown.next()?;
        }
        self.memory.store(slot, sealed)
    }

    fn cells(&self) -> Option<NonNull<SlotCell>> {
        self.memory.cells().filter(|_| self.plan.in_memory)
    }

    fn sync(&self, length: u64) -> io::Result<()> {
        self.countdown.next()?;
        self.memory.sync(length)
    }

    fn discard(&self) {
        self.memory.discard();
    }
}

/// Records under `plan`; whether the fault was reached.
fn survive(plan: Plan) -> bool {
    let countdown = Arc::new(Countdown(AtomicI64::new(plan.nth), plan));
    let made: Arc<Mutex<Option<Arc<Memory>>>> = Arc::default();
    let (place, of_storage) = (Arc::clone(&made), Arc::clone(&countdown));
    let open = move |_pid: u32, _log_id: &LogId| -> io::Result<Box<dyn Storage>> {
        of_storage.next()?;
        let memory = Arc::new(Memory::new(40_000, u64::MAX));
        *place.lock().unwrap() = Some(Arc::clone(&memory));
        Ok(Box::new(Faulty { plan, memory, countdown: Arc::clone(&of_storage) }))
    };
    match Recorder::with_storage(Box::new(open), b"run".to_vec(), "faulty".into()) {
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("faulty") && text.contains("os error"), "{plan:?}: {text}");
        }
        Ok(recorder) => {
            let lost = record(recorder);
            let bytes = made.lock().unwrap().as_ref().unwrap().to_bytes();
            check(&Content::parse(&bytes), lost, plan);
        }
    }
    countdown.was_reached()
}

/// What a host does; how many of its records were lost.
fn record(recorder: Recorder) -> u64 {
    let file = recorder.file("a.py");
    for line in 1..=LINES {
        if line % 100 == 0 {
            let _ = recorder.sync();
        }
        recorder.line(file, line);
    }
    let lost = recorder.lost();
    drop(recorder);
    lost
}

fn check(content: &Content, lost: u64, plan: Plan) {
    content.assert_whole();
    assert_eq!(content.lines().len() as u64 + lost, u64::from(LINES), "{plan:?}");
    for trailer in content.trailers() {
        let Record::Trailer { lost: told, records, .. } = trailer else { unreachable!() };
        assert_eq!(u64::from(told), lost, "{plan:?}");
        assert_eq!(records as usize, content.records.len() - content.trailers().len(), "{plan:?}");
    }
}

#[test]
fn the_host_survives_every_fault_and_every_loss_is_counted() {
    for errno in ERRORS {
        for for_ever in [false, true] {
            let mut nth = 1;
            while survive(Plan { in_memory: true, nth, errno, for_ever }) {
                nth += 1;
            }
            assert!(nth > 100, "only {nth} operations were there to fail");
        }
    }
}

#[test]
fn without_memory_the_same_holds_for_every_record() {
    for errno in [libc::ENOSPC, libc::EIO] {
        for for_ever in [false, true] {
            for nth in (1..60).chain((60..13_000).step_by(731)) {
                survive(Plan { in_memory: false, nth, errno, for_ever });
            }
        }
    }
}
