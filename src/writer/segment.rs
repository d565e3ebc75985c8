//! One log file and the blocks handed out of it.
//!
//! ```text
//! block 0 (56 KiB, after the header)                      block 1 (64 KiB)      block 2 ...
//! | trailer | losses | continued | records ... | continued' | trailer' | records ...  |
//! ```
//!
//! The reserved slots exist before the first record, so that a full disk can still be told of.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::format::{HEADER_SIZE, Header, RECORD_SIZE, Record, Words, place, seal};
use crate::storage::{SlotCell, Storage};

/// Bytes of a block: what one thread takes at a time.
const BLOCK_SIZE: u64 = 64 * 1024;
/// Bytes by which a log grows after its first block.
const GROWTH: u64 = 4 * BLOCK_SIZE;
/// Both copies of the trailer, far from each other.
const TRAILER_SLOTS: [u32; 2] = [0, slot_at(BLOCK_SIZE) - 1];
/// Slots for records of loss: one for each power of two of lost records that 32 bits can count.
pub(super) const LOSS_SLOTS: Range<u32> = 1..34;
/// Both copies of the trailer that says that the recording goes on in the next segment.
const CONTINUED_SLOTS: [u32; 2] = [LOSS_SLOTS.end, TRAILER_SLOTS[1] - 1];

const fn slot_at(offset: u64) -> u32 {
    ((offset - HEADER_SIZE as u64) / RECORD_SIZE as u64) as u32
}

/// A log that this process writes.
pub(super) struct Segment {
    storage: Arc<dyn Storage>,
    pub(super) header: Header,
    /// Number of this segment among all that this recorder ever had, its forebears' included.
    pub(super) serial: u64,
    /// Bytes of the file that are written.
    extended: u64,
    /// Offset of the next block to hand out.
    next_block: u64,
    /// Records in blocks that were given back, and in reserved slots; trailers do not count.
    pub(super) records: u64,
    /// Whether the reserved slots of the trailer, and of the one of a segment left behind, are used.
    trailer_written: bool,
    continued_written: bool,
}

impl Segment {
    /// Writes the header and block 0 into `storage`.
    pub(super) fn begin(storage: Box<dyn Storage>, header: Header, serial: u64) -> io::Result<Segment> {
        write_beginning(&*storage, &header).inspect_err(|_| storage.discard())?;
        Ok(Segment {
            storage: storage.into(),
            header,
            serial,
            extended: BLOCK_SIZE,
            next_block: 0,
            records: 0,
            trailer_written: false,
            continued_written: false,
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
            CONTINUED_SLOTS[0] + 1..CONTINUED_SLOTS[1]
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

    /// Stores a record in a slot that belongs to the caller.
    pub(super) fn store(&self, slot: u32, words: Words) -> io::Result<()> {
        self.storage.store(slot, seal(words, place(&self.header.log_id, slot)))
    }

    /// Stores `trailer` in its reserved slots; `false` if they are used, and it must go elsewhere.
    pub(super) fn store_trailer(&mut self, trailer: Record) -> bool {
        let free = !std::mem::replace(&mut self.trailer_written, true);
        if free {
            self.store_twice(TRAILER_SLOTS, trailer);
        }
        free
    }

    /// Stores `trailer`, that of a segment left behind, once.
    pub(super) fn store_continued(&mut self, trailer: Record) {
        if !std::mem::replace(&mut self.continued_written, true) {
            self.store_twice(CONTINUED_SLOTS, trailer);
        }
    }

    fn store_twice(&self, slots: [u32; 2], record: Record) {
        for slot in slots {
            // A failure leaves the log cut, which is what a reader must then believe.
            let _ = self.store(slot, record.words());
        }
    }

    /// What brings all that is written to the medium, without any lock.
    pub(super) fn sync(&self) -> impl FnOnce() -> io::Result<()> + use<> {
        let (storage, extended) = (Arc::clone(&self.storage), self.extended);
        move || storage.sync(extended)
    }
}

fn write_beginning(storage: &dyn Storage, header: &Header) -> io::Result<()> {
    let copy = header.to_bytes();
    storage.write(0, &[copy.as_slice(), &copy].concat())?;
    storage.extend(HEADER_SIZE as u64, BLOCK_SIZE)
}
