//! Plain writes, for file systems without shared mappings: every record is one `pwrite` before the
//! append returns, so the promise to survive the process is the same, at the price of a system call.

use std::io;
use std::ptr::NonNull;

use super::log_file::LogFile;
use super::{SlotCell, Storage};
use crate::format::{HEADER_SIZE, RECORD_SIZE, slot_bytes};
use crate::limits::LOG_BYTES_MAX;

/// A log file without a mapping.
pub struct Buffered {
    file: LogFile,
}

impl Buffered {
    pub(super) fn new(file: LogFile) -> Buffered {
        Buffered { file }
    }

    /// Creates the log file `path` for plain writes, also where a mapping would be possible.
    ///
    /// # Errors
    /// The system's; `AlreadyExists` if there is something at `path`.
    pub fn create(path: &std::path::Path) -> io::Result<Buffered> {
        Ok(Buffered::new(LogFile::create(path)?))
    }
}

impl Storage for Buffered {
    fn capacity(&self) -> u64 {
        LOG_BYTES_MAX
    }

    fn extend(&self, from: u64, to: u64) -> io::Result<()> {
        self.file.extend(from, to)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(offset, bytes)
    }

    fn store(&self, slot: u32, sealed: [u64; 4]) -> io::Result<()> {
        let offset = HEADER_SIZE as u64 + u64::from(slot) * RECORD_SIZE as u64;
        self.file.write(offset, &slot_bytes(sealed))
    }

    fn cells(&self) -> Option<NonNull<SlotCell>> {
        None
    }

    fn sync(&self, _length: u64) -> io::Result<()> {
        self.file.sync()
    }

    fn discard(&self) {
        self.file.discard();
    }
}
