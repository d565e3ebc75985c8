//! Lines and arcs in slots that follow each other.
//!
//! Nearly all slots of a large log are hits, and hits in a row mostly share kind, context and file. They are
//! found as runs: then a checksum is that of the hit before, but for the few bytes that differ, these alone are
//! looked up, and no look-up waits for another.

use super::checksum::crc32_like;
use super::slot::{PLACES_ALIKE, is_checksum_right, slot_words, words_of};
use super::words::{high, low, pair};
use super::{RECORD_SIZE, Record, kind};
use crate::limits::LINE_MAX;

/// Lines or arcs of one file in one context, from slots in a row: at least one, at most [`PLACES_ALIKE`].
#[derive(Clone, Copy, Debug)]
pub struct Hits<'slots> {
    /// Id of the context.
    pub context: u32,
    /// Id of the file.
    pub file: u32,
    kind: u8,
    slots: &'slots [u8],
}

impl<'slots> Hits<'slots> {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        (self.slots.len() / RECORD_SIZE) as u32
    }

    /// The lines, in the order of their slots; nothing if these are arcs.
    #[inline]
    pub fn lines(&self) -> impl ExactSizeIterator<Item = u32> + use<'slots> {
        self.payloads(kind::LINE).map(low)
    }

    /// The lines left and the lines reached, in the order of their slots; nothing if these are lines.
    #[inline]
    pub fn arcs(&self) -> impl ExactSizeIterator<Item = (i32, i32)> + use<'slots> {
        self.payloads(kind::ARC).map(|payload| (low(payload) as i32, high(payload) as i32))
    }

    /// All of them, as records.
    pub fn records(&self) -> impl Iterator<Item = Record> + use<'slots> {
        let Hits { context, file, .. } = *self;
        let lines = self.lines().map(move |line| Record::Line { context, file, line });
        lines.chain(self.arcs().map(move |(from, to)| Record::Arc { context, file, from, to }))
    }

    #[inline]
    fn payloads(&self, kind: u8) -> impl ExactSizeIterator<Item = u64> + use<'slots> {
        let slots = if self.kind == kind { self.slots } else { &[] };
        slots.chunks_exact(RECORD_SIZE).map(|slot| slot_words(slot)[2])
    }
}

/// Finds runs of hits.
///
/// ```
/// use hitlog::format::{HitFinder, Record, seal, slot_bytes};
/// let hit = |line| Record::Line { context: 1, file: 2, line };
/// let slots: Vec<u8> =
///     (70..).zip([1, 2, 88]).flat_map(|(place, line)| slot_bytes(seal(hit(line).words(), place))).collect();
/// let hits = HitFinder::default().hits(&slots, 70).expect("three hits");
/// assert_eq!((hits.context, hits.file), (1, 2));
/// assert_eq!(hits.lines().collect::<Vec<_>>(), [1, 2, 88]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct HitFinder {
    /// What the hits in a row share: kind, context and file, and the place but for its lowest byte.
    head: u32,
    names: u64,
    place: u32,
    /// The checksum of a hit with these, and zeros in all other bytes.
    shared: u32,
}

impl HitFinder {
    /// The hits with which `slots`, the bytes of slots from `place` on, begin; `None` if the first one holds
    /// anything else, which [`classify`](super::classify) then tells. The next hits may be of the same kind,
    /// context and file.
    ///
    /// # Panics
    /// If there is no whole slot.
    #[inline]
    pub fn hits<'slots>(&mut self, slots: &'slots [u8], place: u32) -> Option<Hits<'slots>> {
        let first = slot_words(&slots[..RECORD_SIZE]);
        let count = match self.count_alike(slots, place) {
            0 => self.count_unlike(first, slots, place)?,
            count => count,
        };
        let slots = &slots[..count * RECORD_SIZE];
        Some(Hits { context: low(first[1]), file: high(first[1]), kind: first[0] as u8, slots })
    }

    /// How many slots at the beginning of `slots` hold hits like those before.
    #[inline]
    fn count_alike(&self, slots: &[u8], place: u32) -> usize {
        if place & !(PLACES_ALIKE - 1) != self.place {
            return 0;
        }
        // A line is a number of three bytes, an arc two of four.
        let line =
            |payload| (1..=u64::from(LINE_MAX)).contains(&payload).then_some(payload & 0xFF_FFFF);
        let arc = |payload| {
            let is_line = |end: u32| (end as i32).unsigned_abs() <= LINE_MAX;
            (is_line(low(payload)) && is_line(high(payload))).then_some(payload)
        };
        match self.head as u8 {
            kind::LINE => self.count_while(slots, place, line),
            kind::ARC => self.count_while(slots, place, arc),
            _ => 0,
        }
    }

    #[inline(always)]
    fn count_while(&self, slots: &[u8], place: u32, hit: impl Fn(u64) -> Option<u64>) -> usize {
        let is_alike = |(place, slot): &(u32, [u64; 4])| {
            hit(slot[2]).is_some_and(|payload| {
                let crc = crc32_like(self.shared, 0, *place, payload);
                slot[0] == pair(self.head, self.place | place)
                    && slot[1] == self.names
                    && slot[3] == pair(0, crc)
            })
        };
        let places = place % PLACES_ALIKE..PLACES_ALIKE;
        places.zip(slots.chunks_exact(RECORD_SIZE).map(slot_words)).take_while(is_alike).count()
    }

    /// As [`HitFinder::count_alike`], if `first`, the first of `slots`, holds a hit unlike those before.
    fn count_unlike(&mut self, first: [u64; 4], slots: &[u8], place: u32) -> Option<usize> {
        if !is_checksum_right(first) || high(first[0]) != place {
            return None;
        }
        Record::hit_from_words(words_of(first))?;
        if low(first[3]) == 0 {
            (self.head, self.names) = (low(first[0]), first[1]);
            self.place = place & !(PLACES_ALIKE - 1);
            // What the other bytes did to the checksum is taken away again.
            self.shared = crc32_like(high(first[3]), 0, place & (PLACES_ALIKE - 1), first[2]);
        }
        Some(self.count_alike(slots, place).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Slot, Words, classify, seal, slot_bytes};
    use proptest::prelude::*;

    proptest! {
        /// Whatever is around them, hits are found where [`classify`] finds them, and nowhere else.
        #[test]
        fn hits_are_found_among_anything_else(
            hits in prop::collection::vec((any::<bool>(), 0..2u32, 0..3u32, 0..9u32, 0..9i32), 1..600),
            damages in prop::collection::vec((any::<prop::sample::Index>(), 0..256usize), 0..30),
            ignored in prop::collection::vec((any::<prop::sample::Index>(), any::<(bool, u32)>()), 0..9),
            first_place: u32,
        ) {
            let place = |at: usize| first_place.wrapping_add(at as u32);
            let words = |(is_arc, context, file, from, to)| match is_arc {
                true => Words::arc(context, file, from as i32, to - 4),
                false => Words::line(context, file, from),
            };
            let mut words: Vec<Words> = hits.into_iter().map(words).collect();
            for (at, (is_last, bits)) in ignored {
                let words = at.get_mut(&mut words);
                match is_last {
                    true => words.payload_last = bits,
                    false => words.payload[1] |= u64::from(bits) << 32,
                }
            }
            let mut slots: Vec<[u64; 4]> =
                words.into_iter().enumerate().map(|(at, words)| seal(words, place(at))).collect();
            for (at, bit) in damages {
                at.get_mut(&mut slots)[bit / 64] ^= 1 << (bit % 64);
            }
            let bytes: Vec<u8> = slots.iter().flat_map(|slot| slot_bytes(*slot)).collect();
            let mut finder = HitFinder::default();
            let mut at = 0;
            while at < slots.len() {
                let found = finder.hits(&bytes[at * RECORD_SIZE..], place(at));
                let expected = |at: usize| match classify(slots[at], place(at)) {
                    Slot::Valid(hit @ (Record::Line { .. } | Record::Arc { .. })) => Some(hit),
                    _ => None,
                };
                let Some(hits) = found else {
                    prop_assert_eq!(expected(at), None);
                    at += 1;
                    continue;
                };
                prop_assert!(hits.count() >= 1 && hits.count() <= PLACES_ALIKE);
                prop_assert_eq!(hits.records().count(), hits.count() as usize);
                for hit in hits.records() {
                    prop_assert_eq!(expected(at), Some(hit));
                    at += 1;
                }
            }
        }
    }

    /// Runs are what makes it fast: they end only where kind, names or the upper bytes of the place change.
    #[test]
    fn hits_alike_are_one_run() {
        let words = |at: u32| Words::line(1, 2 + at / 200, 1 + at);
        let bytes: Vec<u8> = (0..400).flat_map(|at| slot_bytes(seal(words(at), 250 + at))).collect();
        let mut finder = HitFinder::default();
        let mut at = 0;
        let mut counts = Vec::new();
        while at < 400 {
            let hits = finder.hits(&bytes[at as usize * RECORD_SIZE..], 250 + at).expect("hits");
            counts.push(hits.count());
            at += hits.count();
        }
        assert_eq!(counts, [6, 194, 62, 138]);
    }
}
