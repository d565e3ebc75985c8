//! A shared mapping of the log file: the kernel owns what was stored, so it survives any death of the
//! process.
//!
//! The mapping reserves addresses far beyond the end of the file, once, and the file grows behind it by
//! written zeros. A store into a page that the file has no space for would be SIGBUS on a full disk;
//! written space cannot fail any more.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};

use super::log_file::LogFile;
use super::{SlotCell, Storage};
use crate::format::{HEADER_SIZE, RECORD_SIZE};
use crate::limits::LOG_BYTES_MAX;
use crate::system;

/// Address space to reserve, in bytes: what is refused is tried smaller.
const RESERVES: [u64; 3] = [LOG_BYTES_MAX, 1 << 30, 64 << 20];

/// What part of a limited address space the recorder may take from its host.
const SHARE_OF_LIMIT: u64 = 64;

/// Bytes, aligned, that the kernel maps at a time when one of them is read (`fault_around_bytes`).
const MAPPED_AROUND: u64 = 64 * 1024;

/// A log file with its mapping.
pub struct Mapped {
    file: LogFile,
    mapping: MmapRaw,
    /// Bytes of the file that are written, and so can be stored to.
    extended: AtomicU64,
    /// Bytes whose pages this process has let go of.
    let_go: AtomicU64,
    /// Whether a read maps pages for writing too, as on a tmpfs. Disk file systems want to hear of the
    /// first write to each page: there a page that was read faults once more.
    reads_map: bool,
}

impl Mapped {
    /// Maps `file`; gives it back if this file system has no shared mappings.
    pub(super) fn new(file: LogFile) -> Result<Mapped, LogFile> {
        let share = system::address_space_limit() / SHARE_OF_LIMIT;
        let least = RESERVES[RESERVES.len() - 1];
        for reserve in RESERVES.into_iter().filter(|reserve| *reserve <= share.max(least)) {
            let length = reserve as usize;
            let mapping = file.with(|file| MmapOptions::new().len(length).map_raw(file));
            if let Ok(mapping) = mapping {
                let reads_map = file.with(|file| Ok(system::is_on_tmpfs(file))).unwrap_or(false);
                return Ok(Mapped {
                    file,
                    mapping,
                    extended: AtomicU64::new(0),
                    let_go: AtomicU64::new(0),
                    reads_map,
                });
            }
        }
        Err(file)
    }

    /// Takes the pages before `end` out of this process's memory, so that it does not grow with its log.
    /// The kernel keeps what was stored there as it keeps what was written to any file; a thread that
    /// still has a block there gets its page again at the next store.
    fn let_go(&self, end: u64) {
        let start = self.let_go.fetch_max(end, Ordering::AcqRel);
        let length = end.saturating_sub(start) as usize;
        // SAFETY: the range lies in the mapping, which is shared: its pages are the file's, and the same
        // bytes come back with the next access. Nobody has a reference into it, only atomic cells.
        let advised = unsafe {
            self.mapping.unchecked_advise_range(UncheckedAdvice::DontNeed, start as usize, length)
        };
        // Where the advice is refused, the pages stay.
        drop(advised);
    }

    /// Reads a byte wherever that maps its surroundings: one page fault in place of sixteen.
    fn map_around(&self, from: u64, to: u64) {
        let starts = (from / MAPPED_AROUND..to.div_ceil(MAPPED_AROUND)).map(|n| n * MAPPED_AROUND);
        for at in starts.map(|start| start.max(from)) {
            // SAFETY: `at` is below `to`, up to which the file was just extended, inside the mapping.
            unsafe { self.mapping.as_mut_ptr().add(at as usize).read_volatile() };
        }
    }
}

impl Storage for Mapped {
    fn capacity(&self) -> u64 {
        self.mapping.len() as u64
    }

    fn extend(&self, from: u64, to: u64) -> io::Result<()> {
        self.file.extend(from, to)?;
        self.extended.fetch_max(to, Ordering::AcqRel);
        self.let_go(from);
        if self.reads_map {
            self.map_around(from, to);
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(offset, bytes)
    }

    fn store(&self, slot: u32, sealed: [u64; 4]) -> io::Result<()> {
        let end = HEADER_SIZE as u64 + (u64::from(slot) + 1) * RECORD_SIZE as u64;
        let first = self.cells().filter(|_| end <= self.extended.load(Ordering::Acquire));
        let first = first.ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: the slot ends inside the extended part of the mapping, which `self` keeps.
        unsafe { first.add(slot as usize).as_ref() }.store(sealed);
        Ok(())
    }

    fn cells(&self) -> Option<NonNull<SlotCell>> {
        // SAFETY: the mapping is longer than the header (RESERVES), so the result stays inside it; a
        // page boundary plus 8192 is aligned for a cell of 32 bytes.
        let first = unsafe { self.mapping.as_mut_ptr().add(HEADER_SIZE) };
        NonNull::new(first.cast())
    }

    fn sync(&self, length: u64) -> io::Result<()> {
        self.mapping.flush_range(0, length as usize)?;
        self.file.sync()
    }

    fn discard(&self) {
        self.file.discard();
    }
}
