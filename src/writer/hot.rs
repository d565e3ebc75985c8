//! The hot path of one thread: is the hit among those seen lately, and if not, four stores into the log.
//!
//! Everything it reads lies in memory that a forked child finds zeroed: there the bounds say "no room" and
//! nothing was seen, and the slow path in `thread` does the rest. No lock, no system call.
//!
//! A checksum of 28 bytes would be half of the work. Hits in a row share most of them, and a CRC is linear:
//! what context and file contribute is kept per file, what the upper bytes of the place contribute is
//! kept for 256 slots, and a hit looks up the five bytes that are its own.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::wiped::Wipeable;
use crate::format::{PLACES_ALIKE, Words, names_checksum, places_checksum, seal, seal_hit};
use crate::storage::SlotCell;

/// Hits that a thread remembers: 16 KiB, a share of the first-level cache that a host can spare, and few
/// pages to touch in a short life.
const SEEN_SIZE: usize = 1024;
/// Files between which a thread may change from hit to hit without another look at their names.
const NAMED_SIZE: usize = 8;
/// No context and file.
const NOTHING_NAMED: u64 = u64::MAX;

/// What the hot path of one thread reads and changes. Changed by its own thread; the bounds are read by
/// the one that ends the log.
#[repr(C)]
pub(super) struct Hot {
    /// Hits recorded lately, each in the one entry where it can be. First, so that finding the entry
    /// takes no addition.
    seen: [[AtomicU64; 2]; SEEN_SIZE],
    named: [Named; NAMED_SIZE],
    /// Address of slot 0; 0: no memory, records are written through.
    base: AtomicU64,
    /// Serial number of the segment; 0: none.
    pub(super) serial: AtomicU64,
    /// Free slots of this thread's block.
    pub(super) next: AtomicU32,
    pub(super) end: AtomicU32,
    /// Place of slot 0.
    first_place: AtomicU32,
    /// Up to this slot there is room, and places are alike but for the lowest byte.
    alike_end: AtomicU32,
    places_checksum: AtomicU32,
}

/// Context and file whose names stand in this log.
struct Named {
    /// As in a hit's first payload word.
    names: AtomicU64,
    checksum: AtomicU32,
}

// SAFETY: zero bytes are a value (no room, nothing seen), and every field is atomic.
unsafe impl Wipeable for Hot {}

impl Hot {
    pub(super) fn set(
        &self,
        cells: Option<NonNull<SlotCell>>,
        first_place: u32,
        serial: u64,
        block: &Range<u32>,
    ) {
        let base = cells.map_or(0, |first| first.as_ptr().expose_provenance());
        self.base.store(base as u64, Ordering::Relaxed);
        self.first_place.store(first_place, Ordering::Relaxed);
        if self.serial.swap(serial, Ordering::Relaxed) != serial {
            self.forget_names();
        }
        self.alike_end.store(0, Ordering::Relaxed);
        self.next.store(block.start, Ordering::Relaxed);
        self.end.store(block.end, Ordering::Relaxed);
    }

    fn forget_names(&self) {
        self.named.iter().for_each(|named| named.names.store(NOTHING_NAMED, Ordering::Relaxed));
    }

    fn named(&self, names: u64) -> &Named {
        &self.named[(names >> 32) as usize % NAMED_SIZE]
    }

    /// The slots that are not used yet.
    pub(super) fn free(&self) -> Range<u32> {
        let end = self.end.load(Ordering::Relaxed);
        self.next.load(Ordering::Relaxed).min(end)..end
    }

    pub(super) fn clear(&self) {
        self.end.store(0, Ordering::Relaxed);
        self.next.store(0, Ordering::Relaxed);
        self.alike_end.store(0, Ordering::Relaxed);
    }

    pub(super) fn room(&self) -> u32 {
        let free = self.free();
        free.end - free.start
    }

    fn place(&self, slot: u32) -> u32 {
        self.first_place.load(Ordering::Relaxed).wrapping_add(slot)
    }

    /// Whether records can be stored through memory.
    pub(super) fn is_memory(&self) -> bool {
        self.base.load(Ordering::Relaxed) != 0
    }

    /// Ends the free slots at `end`.
    pub(super) fn shorten(&self, end: u32) {
        self.alike_end.store(0, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
    }

    /// Makes the next hits with these `names` take the short way, as far as places are alike.
    pub(super) fn prepare(&self, names: u64) {
        if !self.is_memory() {
            return;
        }
        let free = self.free();
        let place = self.place(free.start);
        let alike = PLACES_ALIKE - place % PLACES_ALIKE;
        self.places_checksum.store(places_checksum(place), Ordering::Relaxed);
        self.alike_end.store(free.end.min(free.start + alike), Ordering::Relaxed);
        let named = self.named(names);
        named.checksum.store(names_checksum(names), Ordering::Relaxed);
        named.names.store(names, Ordering::Relaxed);
    }

    /// Whether `key` is not among the hits seen; puts it there, in the place of what shared its entry.
    #[inline(always)]
    pub(super) fn is_new(&self, key: [u64; 2]) -> bool {
        let mixed = (key[0].rotate_left(17) ^ key[1]).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let entry = &self.seen[(mixed >> 54) as usize % SEEN_SIZE];
        let seen =
            entry[0].load(Ordering::Relaxed) == key[0] && entry[1].load(Ordering::Relaxed) == key[1];
        if !seen {
            entry[0].store(key[0], Ordering::Relaxed);
            entry[1].store(key[1], Ordering::Relaxed);
        }
        !seen
    }

    /// Appends a line or an arc; `false` if that takes more than storing it.
    #[inline(always)]
    pub(super) fn append_hit(&self, hit: Words) -> bool {
        let (slot, names) = (self.next.load(Ordering::Relaxed), hit.payload[0]);
        let named = self.named(names);
        let room = slot < self.alike_end.load(Ordering::Relaxed);
        if !room || named.names.load(Ordering::Relaxed) != names {
            return false;
        }
        let shared =
            named.checksum.load(Ordering::Relaxed) ^ self.places_checksum.load(Ordering::Relaxed);
        // SAFETY: `slot` is below `alike_end`, which is set for blocks in memory only, within them.
        unsafe { self.store(slot, seal_hit(hit, self.place(slot), shared)) };
        self.next.store(slot + 1, Ordering::Relaxed);
        true
    }

    /// Stores any record.
    ///
    /// # Safety
    /// As [`Hot::store`].
    pub(super) unsafe fn put(&self, slot: u32, words: Words) {
        // SAFETY: the caller's promise.
        unsafe { self.store(slot, seal(words, self.place(slot))) };
    }

    /// Stores into `slot`.
    ///
    /// # Safety
    /// `slot` lies in this thread's block, and the block in memory (`base` is not 0).
    #[inline(always)]
    unsafe fn store(&self, slot: u32, sealed: [u64; 4]) {
        let first: *const SlotCell =
            std::ptr::with_exposed_provenance(self.base.load(Ordering::Relaxed) as usize);
        // SAFETY: the block is extended on the medium and nobody else stores to it; the segment is
        // unmapped only after all bounds were cleared, or in a child, where they read zero.
        unsafe { (*first.add(slot as usize)).store(sealed) };
    }
}
