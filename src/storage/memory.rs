//! A log on the heap, for tests: what the writer stored can be looked at, and space can run out.

use std::io;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{SlotCell, Storage};
use crate::format::{HEADER_SIZE, RECORD_SIZE, slot_bytes};

/// A log in memory with room for a fixed number of slots.
pub struct Memory {
    header: Mutex<Vec<u8>>,
    cells: Box<[SlotCell]>,
    extended: AtomicU64,
    /// Length in bytes at which the disk is full.
    full_at: u64,
}

impl Memory {
    /// A log of at most `slots` slots, on a disk that is full after `full_at` bytes.
    #[must_use]
    pub fn new(slots: usize, full_at: u64) -> Memory {
        let cells = (0..slots).map(|_| SlotCell::default()).collect();
        let header = Mutex::new(vec![0; HEADER_SIZE]);
        Memory { header, cells, extended: AtomicU64::new(0), full_at }
    }

    /// The bytes of the file as they are now.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let extended = self.extended.load(Ordering::Acquire) as usize;
        let mut bytes = self.header.lock().map(|header| header.clone()).unwrap_or_default();
        bytes.resize(extended.max(HEADER_SIZE), 0);
        for (cell, slot) in self.cells.iter().zip(bytes[HEADER_SIZE..].chunks_exact_mut(RECORD_SIZE)) {
            let words = cell.load();
            // Most of a log is blank.
            if words != [0; 4] {
                slot.copy_from_slice(&slot_bytes(words));
            }
        }
        bytes
    }
}

impl Storage for Memory {
    fn capacity(&self) -> u64 {
        (HEADER_SIZE + self.cells.len() * RECORD_SIZE) as u64
    }

    fn extend(&self, _from: u64, to: u64) -> io::Result<()> {
        if to > self.full_at {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.extended.store(to, Ordering::Release);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = offset as usize;
        let mut header = self.header.lock().map_err(|_| io::ErrorKind::Other)?;
        let room = header.get_mut(at..at + bytes.len()).ok_or(io::ErrorKind::InvalidInput)?;
        room.copy_from_slice(bytes);
        Ok(())
    }

    fn store(&self, slot: u32, sealed: [u64; 4]) -> io::Result<()> {
        self.cells.get(slot as usize).ok_or(io::ErrorKind::InvalidInput)?.store(sealed);
        Ok(())
    }

    fn cells(&self) -> Option<NonNull<SlotCell>> {
        Some(NonNull::from(&self.cells[0]))
    }

    fn sync(&self, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self) {
        self.extended.store(0, Ordering::Release);
    }
}
