//! A log in memory on which the n-th operation fails.

#[path = "errors.rs"]
mod errors;

pub use errors::ERRORS;

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use hitlog::Recorder;
use hitlog::format::LogId;
use hitlog::storage::memory::Memory;
use hitlog::storage::{SlotCell, Storage};

/// Which operation fails, and how.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Whether records are stored through memory, or each is an operation of its own.
    pub in_memory: bool,
    /// Which one, from 1.
    pub nth: i64,
    /// The error number that it returns.
    pub errno: i32,
    /// Whether all later ones fail as well.
    pub for_ever: bool,
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

/// What became of the faults of a [`Plan`], and of the log.
pub struct Faults {
    countdown: Arc<Countdown>,
    made: Arc<Mutex<Option<Arc<Memory>>>>,
}

impl Faults {
    /// Whether the operation that fails was reached.
    pub fn was_reached(&self) -> bool {
        self.countdown.was_reached()
    }

    /// The bytes of the log that was made last.
    pub fn log(&self) -> Option<Vec<u8>> {
        self.made.lock().expect("no panic inside").as_ref().map(|memory| memory.to_bytes())
    }
}

/// A recorder whose storage fails as `plan` says.
pub fn open(plan: Plan) -> (Result<Recorder, hitlog::writer::Error>, Faults) {
    let countdown = Arc::new(Countdown(AtomicI64::new(plan.nth), plan));
    let made: Arc<Mutex<Option<Arc<Memory>>>> = Arc::default();
    let (place, of_storage) = (Arc::clone(&made), Arc::clone(&countdown));
    let open = move |_pid: u32, _log_id: &LogId| -> io::Result<Box<dyn Storage>> {
        of_storage.next()?;
        let memory = Arc::new(Memory::new(40_000, u64::MAX));
        *place.lock().expect("no panic inside") = Some(Arc::clone(&memory));
        Ok(Box::new(Faulty { plan, memory, countdown: Arc::clone(&of_storage) }))
    };
    let recorder = Recorder::with_storage(Box::new(open), b"run".to_vec(), "faulty".into());
    (recorder, Faults { countdown, made })
}
