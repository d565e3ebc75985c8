//! One log file and the blocks handed out of it.
//!
//! ```text
//! block 0 (56 KiB, after the header)                      block 1 (64 KiB)      block 2 ...
//! | 0: trailer | 1..34: losses | records ... | trailer' | records ...           |
//! ```
//!
//! The reserved slots exist before the first record, so that a full disk can still be told of.

use std::io;
use std::ops::Range;

use crate::format::{HEADER_SIZE, Header, RECORD_SIZE, Record, Words, place, seal, slot_bytes};
use crate::storage::{SlotCell, Storage};

/// Bytes of a block: what one thread takes at a time.
const BLOCK_SIZE: u64 = 64 * 1024;
/// Bytes by which a log grows after its first block.
const GROWTH: u64 = 4 * BLOCK_SIZE;
/// Slots for records of loss: one for each power of two of lost records that 32 bits can count.
pub(super) const LOSS_SLOTS: Range<u32> = 1..34;
/// The trailer's first copy.
const TRAILER_SLOT: u32 = 0;
/// The trailer's second copy, far from the first: the last slot of block 0.
const TRAILER_COPY_SLOT: u32 = slot_at(BLOCK_SIZE) - 1;

const fn slot_at(offset: u64) -> u32 {
    ((offset - HEADER_SIZE as u64) / RECORD_SIZE as u64) as u32
}

const fn offset_of(slot: u32) -> u64 {
    HEADER_SIZE as u64 + slot as u64 * RECORD_SIZE as u64
}

/// A log that this process writes.
pub(super) struct Segment {
    storage: Box<dyn Storage>,
    pub(super) header: Header,
    /// Number of this segment among all that this recorder ever had, its forebears' included.
    pub(super) serial: u64,
    /// Bytes of the file that are written.
    extended: u64,
    /// Offset of the next block to hand out.
    next_block: u64,
    /// Records in blocks that were given back, and in reserved slots.
    pub(super) records: u64,
    /// Whether the reserved trailer slots are used.
    trailer_written: bool,
}

impl Segment {
    /// Writes the header and block 0 into `storage`.
    pub(super) fn begin(storage: Box<dyn Storage>, header: Header, serial: u64) -> io::Result<Segment> {
        write_beginning(&*storage, &header).inspect_err(|_| storage.discard())?;
        Ok(Segment {
            storage,
            header,
            serial,
            extended: BLOCK_SIZE,
            next_block: 0,
            records: 0,
            trailer_written: false,
        })
    }

    /// Slot 0 in memory, if there is memory.
    pub(super) fn cells(&self) -> Option<std::ptr::NonNull<SlotCell>> {
        self.storage.cells()
    }

    /// Place of slot 0.
    pub(super) fn first_place(&self) -> u32 {
        place(&self.header.log_id, 0)
    }

    /// The slots of the next block, all zero on the medium; `None` if this segment is full.
    pub(super) fn take_block(&mut self) -> io::Result<Option<Range<u32>>> {
        let start = self.next_block;
        let end = start + BLOCK_SIZE;
        if end > self.storage.capacity() {
            return Ok(None);
        }
        if end > self.extended {
            self.extended = self.extend_to(end)?;
        }
        self.next_block = end;
        Ok(Some(if start == 0 {
            LOSS_SLOTS.end..TRAILER_COPY_SLOT
        } else {
            slot_at(start)..slot_at(end)
        }))
    }

    /// Extends the file by a step of growth; where that does not fit any more, just to `end`.
    fn extend_to(&self, end: u64) -> io::Result<u64> {
        let step = (self.extended + GROWTH).min(self.storage.capacity()).max(end);
        if self.storage.extend(self.extended, step).is_ok() {
            return Ok(step);
        }
        self.storage.extend(self.extended, end)?;
        Ok(end)
    }

    /// Stores a record in a slot that belongs to the caller, by a write.
    pub(super) fn write(&self, slot: u32, words: Words) -> io::Result<()> {
        let sealed = seal(words, place(&self.header.log_id, slot));
        self.storage.write(offset_of(slot), &slot_bytes(sealed))
    }

    /// Writes `trailer` into its reserved slots; `false` if they are used, and it must go elsewhere.
    pub(super) fn write_trailer(&mut self, trailer: Record) -> bool {
        let words = trailer.words();
        let free = !std::mem::replace(&mut self.trailer_written, true);
        if free {
            for slot in [TRAILER_SLOT, TRAILER_COPY_SLOT] {
                // A failure leaves the log cut, which is what a reader must then believe.
                let _ = self.write(slot, words);
            }
        }
        free
    }

    /// Brings all that is written to the medium.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.storage.sync(self.extended)
    }
}

fn write_beginning(storage: &dyn Storage, header: &Header) -> io::Result<()> {
    let copy = header.to_bytes();
    storage.write(0, &[copy.as_slice(), &copy].concat())?;
    storage.extend(HEADER_SIZE as u64, BLOCK_SIZE)
}
