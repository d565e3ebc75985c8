//! Where a log's bytes go: the seam between the writer and the world.
//!
//! * [`Storage`]: what the writer needs of a log's file: room that is zero, and a way to fill it.
//! * [`SlotCell`]: one slot of 32 bytes in memory, stored word by word, the checksum last.
//! * [`mapped`]: the real one, a shared mapping; what was stored there survives the process.
//! * [`buffered`]: file systems without shared mappings; every record is one `pwrite`.
//! * [`memory`]: a log on the heap, for tests.
//!
//! ```text
//!        0        8 KiB                       extended        capacity
//! file   | header | slots, written as zeros   |
//! memory | same pages                         | reserved addresses, never touched |
//! ```

pub mod buffered;
mod log_file;
#[allow(unsafe_code)]
pub mod mapped;
pub mod memory;

use std::io;
use std::path::Path;
use std::ptr::NonNull;

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(shuttle)]
use shuttle::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(any(loom, shuttle)))]
use std::sync::atomic::{AtomicU64, Ordering};

/// One slot in memory.
#[derive(Debug, Default)]
#[repr(C, align(32))]
pub struct SlotCell([AtomicU64; 4]);

#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<SlotCell>() == crate::format::RECORD_SIZE);

impl SlotCell {
    /// Stores a sealed record. The word with the checksum goes last, so that a process killed in
    /// between leaves a slot that is recognised as unfinished.
    #[inline(always)]
    pub fn store(&self, slot: [u64; 4]) {
        self.0[0].store(slot[0].to_le(), Ordering::Relaxed);
        self.0[1].store(slot[1].to_le(), Ordering::Relaxed);
        self.0[2].store(slot[2].to_le(), Ordering::Relaxed);
        self.0[3].store(slot[3].to_le(), Ordering::Release);
    }

    /// The slot's words.
    #[must_use]
    pub fn load(&self) -> [u64; 4] {
        let last = u64::from_le(self.0[3].load(Ordering::Acquire));
        let word = |index: usize| u64::from_le(self.0[index].load(Ordering::Relaxed));
        [word(0), word(1), word(2), last]
    }
}

/// A log's file as its writer sees it. All offsets and lengths are bytes from the start of the file.
///
/// Used from any thread of one process; a forked child never writes to its parent's storage.
pub trait Storage: Send + Sync {
    /// The largest length this log can reach.
    fn capacity(&self) -> u64;

    /// Makes the bytes `from..to` exist and be zero, on the medium, so that a later store to them
    /// cannot fail. On failure the file ends at `from` as before.
    ///
    /// # Errors
    /// The system's: no space, quota, file size limit. No signal is raised for any of them.
    fn extend(&self, from: u64, to: u64) -> io::Result<()>;

    /// Writes `bytes` at `offset`, inside what is extended or at its end.
    ///
    /// # Errors
    /// The system's.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Stores a sealed record into slot `slot`, which lies in the extended part. Where there is memory it
    /// cannot fail: no limit, no lost descriptor keeps a loss or a trailer from being told.
    ///
    /// # Errors
    /// The system's, where there is no memory.
    fn store(&self, slot: u32, sealed: [u64; 4]) -> io::Result<()>;

    /// Slot 0 in memory, if records can be stored through memory. Slots in the extended part may be
    /// accessed as long as the storage lives; the part beyond must not be touched.
    fn cells(&self) -> Option<NonNull<SlotCell>>;

    /// Returns when the first `length` bytes are on the medium.
    ///
    /// # Errors
    /// The system's.
    fn sync(&self, length: u64) -> io::Result<()>;

    /// Removes a log that could not even get its header: a name without a log would be a riddle.
    fn discard(&self);
}

/// Creates the log file `path`, which must not exist, and the best storage for it.
///
/// # Errors
/// The system's; `AlreadyExists` if there is something at `path`, even a dangling link.
pub fn create(path: &Path) -> io::Result<Box<dyn Storage>> {
    let file = log_file::LogFile::create(path)?;
    Ok(match mapped::Mapped::new(file) {
        Ok(mapped) => Box::new(mapped),
        Err(file) => Box::new(buffered::Buffered::new(file)),
    })
}

impl<S: Storage + ?Sized> Storage for std::sync::Arc<S> {
    fn capacity(&self) -> u64 {
        (**self).capacity()
    }

    fn extend(&self, from: u64, to: u64) -> io::Result<()> {
        (**self).extend(from, to)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write(offset, bytes)
    }

    fn store(&self, slot: u32, sealed: [u64; 4]) -> io::Result<()> {
        (**self).store(slot, sealed)
    }

    fn cells(&self) -> Option<NonNull<SlotCell>> {
        (**self).cells()
    }

    fn sync(&self, length: u64) -> io::Result<()> {
        (**self).sync(length)
    }

    fn discard(&self) {
        (**self).discard();
    }
}
