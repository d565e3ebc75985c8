//! A shared mapping of the log file: the kernel owns what was stored, so it survives any death of the
//! process.
//!
//! The mapping reserves addresses far beyond the end of the file, once, and the file grows behind it by
//! written zeros. A store into a page that the file has no space for would be SIGBUS on a full disk;
//! written space cannot fail any more.

use std::io;
use std::ptr::NonNull;

use memmap2::{MmapOptions, MmapRaw};

use super::log_file::LogFile;
use super::{SlotCell, Storage};
use crate::format::HEADER_SIZE;
use crate::limits::LOG_BYTES_MAX;
use crate::system;

/// Address space to reserve, in bytes: what is refused (limits on address space) is tried smaller.
const RESERVES: [u64; 3] = [LOG_BYTES_MAX, 1 << 30, 64 << 20];

/// Bytes, aligned, that the kernel maps at a time when one of them is read (`fault_around_bytes`).
const MAPPED_AROUND: u64 = 64 * 1024;

/// A log file with its mapping.
pub struct Mapped {
    file: LogFile,
    mapping: MmapRaw,
    /// Whether a read maps pages for writing too, as on a tmpfs. Disk file systems want to hear of the
    /// first write to each page: there a page that was read faults once more.
    reads_map: bool,
}

impl Mapped {
    /// Maps `file`; gives it back if this file system has no shared mappings.
    pub(super) fn new(file: LogFile) -> Result<Mapped, LogFile> {
        for reserve in RESERVES {
            let length = reserve as usize;
            let mapping = file.with(|file| MmapOptions::new().len(length).map_raw(file));
            if let Ok(mapping) = mapping {
                let reads_map = file.with(|file| Ok(system::is_on_tmpfs(file))).unwrap_or(false);
                return Ok(Mapped { file, mapping, reads_map });
            }
        }
        Err(file)
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
        if self.reads_map {
            self.map_around(from, to);
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(offset, bytes)
    }

    fn cells(&self) -> Option<NonNull<SlotCell>> {
        // SAFETY: the mapping is longer than the header (RESERVES), so the result stays inside it; a
        // page boundary plus 8192 is aligned for a cell of 32 bytes.
        let first = unsafe { self.mapping.as_mut_ptr().add(HEADER_SIZE) };
        NonNull::new(first.cast())
    }

    fn sync(&self, length: u64) -> io::Result<()> {
        self.mapping.flush_range(0, length as usize)?;
        self.file.with(std::fs::File::sync_all)
    }

    fn discard(&self) {
        self.file.discard();
    }
}
