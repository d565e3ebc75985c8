//! Lines and arcs in slots that follow each other.
//!
//! Nearly all slots of a large log are hits, and hits in a row mostly share kind, context and file. They are
//! found as runs: then a checksum is that of the hit before, but for the few bytes that differ, these alone are
//! looked up, and no look-up waits for another.

use super::checksum::crc32_like;
use super::slot::{PLACES_ALIKE, is_checksum_right, slot_words, words_of};
use super::words::{ends_of_arc, high, low, names_of_hit, pair};
use super::{RECORD_SIZE, Record, kind};
use crate::limits::LINE_MAX;

/// Lines or arcs of one file in one context, from slots in a row: at least one, at most [`PLACES_ALIKE`].
#[derive(Clone, Copy, Debug)]
pub struct HitRun<'slots> {
    /// Id of the context.
    pub context: u32,
    /// Id of the file.
    pub file: u32,
    kind: u8,
    slots: &'slots [u8],
}

impl<'slots> HitRun<'slots> {
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
        self.payloads(kind::ARC).map(ends_of_arc)
    }

    /// All of them, as records.
    pub fn records(&self) -> impl Iterator<Item = Record> + use<'slots> {
        let HitRun { context, file, .. } = *self;
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
/// let hits = HitFinder::default().run(&slots, 70).expect("three hits");
/// assert_eq!((hits.context, hits.file), (1, 2));
/// assert_eq!(hits.lines().collect::<Vec<_>>(), [1, 2, 88]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct HitFinder {
    /// What the hits in a row share: kind, context and file, and the place but for its lowest byte.
    head: u32,
    names: u64,
    group: u32,
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
    pub fn run<'slots>(&mut self, slots: &'slots [u8], place: u32) -> Option<HitRun<'slots>> {
        let first = slot_words(&slots[..RECORD_SIZE]);
        let count = match self.count_alike(slots, place) {
            0 => self.count_unlike(first, slots, place)?,
            count => count,
        };
        let slots = &slots[..count * RECORD_SIZE];
        let (context, file) = names_of_hit(first[1]);
        Some(HitRun { context, file, kind: first[0] as u8, slots })
    }

    /// How many slots at the beginning of `slots` hold hits like those before.
    #[inline]
    fn count_alike(&self, slots: &[u8], place: u32) -> usize {
        if group(place) != self.group {
            return 0;
        }
        match self.head as u8 {
            kind::LINE => self.count_while(slots, place, line_checksum),
            kind::ARC => self.count_while(slots, place, arc_checksum),
            _ => 0,
        }
    }

    /// `checksum_of` tells what a second payload word does to the checksum, `None` if it is not that of a hit.
    #[inline(always)]
    fn count_while(&self, slots: &[u8], place: u32, checksum_of: impl Fn(u64) -> Option<u32>) -> usize {
        let HitFinder { head, names, group, shared } = *self;
        let first = pair(head, group);
        let is_alike = |(low, slot): &(u32, [u64; 4])| {
            checksum_of(slot[2]).is_some_and(|checksum| {
                // `low` is one byte anyway: so the compiler knows it, and looks up no other.
                let crc = shared ^ checksum ^ crc32_like(0, 0, low_of(*low), 0);
                slot[0] == first | pair(0, *low) && slot[1] == names && slot[3] == pair(0, crc)
            })
        };
        let lows = low_of(place)..PLACES_ALIKE;
        lows.zip(slots.chunks_exact(RECORD_SIZE).map(slot_words)).take_while(is_alike).count()
    }

    /// As [`HitFinder::count_alike`], if `first`, the first of `slots`, holds a hit unlike those before.
    fn count_unlike(&mut self, first: [u64; 4], slots: &[u8], place: u32) -> Option<usize> {
        // What could be no hit needs no checksum.
        Record::hit_from_words(words_of(first))?;
        if !is_checksum_right(first) || high(first[0]) != place {
            return None;
        }
        if low(first[3]) != 0 {
            // Ignored bytes that no writer of today sets: what shares them is not told from other hits.
            return Some(1);
        }
        (self.head, self.names, self.group) = (low(first[0]), first[1], group(place));
        // What the other bytes did to the checksum is taken away again.
        self.shared = crc32_like(high(first[3]), 0, low_of(place), first[2]);
        Some(1 + self.count_alike(&slots[RECORD_SIZE..], place.wrapping_add(1)))
    }
}

/// What the second payload word of a line does to the checksum; `None` if there is no such line.
#[inline(always)]
fn line_checksum(payload: u64) -> Option<u32> {
    // The mask changes nothing, but shows the compiler which bytes need no look-up.
    const { assert!(LINE_MAX <= 0xFF_FFFF) };
    (1..=u64::from(LINE_MAX)).contains(&payload).then(|| crc32_like(0, 0, 0, payload & 0xFF_FFFF))
}

/// What the second payload word of an arc does to the checksum; `None` if there is no such arc.
///
/// The bits of a negative end are those of a small number, each one the other way round, and what 32 ones do
/// to the checksum is known. So two bytes of each end are looked up, unless a file has more than 65,535 lines.
#[inline(always)]
fn arc_checksum(payload: u64) -> Option<u32> {
    const { assert!(LINE_MAX > 0xFFFF) };
    const FROM_ONES: u32 = crc32_like(0, 0, 0, pair(u32::MAX, 0));
    const TO_ONES: u32 = crc32_like(0, 0, 0, pair(0, u32::MAX));
    let (from, to) = ends_of_arc(payload);
    let (from_sign, to_sign) = ((from >> 31) as u32, (to >> 31) as u32);
    let signs = from_sign & FROM_ONES ^ to_sign & TO_ONES;
    let small = payload ^ pair(from_sign, to_sign);
    let low_bytes = signs ^ crc32_like(0, 0, 0, small & 0xFFFF_0000_FFFF);
    match small & 0xFFFF_0000_FFFF_0000 {
        0 => Some(low_bytes),
        high_bytes => {
            let is_whole = from.unsigned_abs() <= LINE_MAX && to.unsigned_abs() <= LINE_MAX;
            is_whole.then(|| low_bytes ^ crc32_like(0, 0, 0, high_bytes))
        }
    }
}

/// The place without its lowest byte, which hits in a row share.
const fn group(place: u32) -> u32 {
    place & !(PLACES_ALIKE - 1)
}

/// The lowest byte of the place.
const fn low_of(place: u32) -> u32 {
    place % PLACES_ALIKE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{NameChunk, NameSpace, Slot, Words, classify, seal, slot_bytes};
    use crate::limits::NAME_ID_MAX;
    use proptest::prelude::*;

    /// Lines around the limits, and around those of one, two and three bytes.
    const LINES: [u32; 12] = [
        0,
        1,
        8,
        0x1234,
        0xFFFF,
        0x1_0000,
        0x1_0001,
        LINE_MAX - 1,
        LINE_MAX,
        LINE_MAX + 1,
        0xFF_FFFF,
        0x100_0001,
    ];

    fn any_hit() -> impl Strategy<Value = Words> {
        let line = prop::sample::select(&LINES[..]);
        let end = (line.clone(), any::<bool>());
        let end =
            end.prop_map(|(line, is_negative)| if is_negative { -(line as i32) } else { line as i32 });
        let context = prop::sample::select(&[0, 1, 1, 1, 1, NAME_ID_MAX, NAME_ID_MAX + 1][..]);
        let file = prop::sample::select(&[0, 2, 2, 2, 2, 3][..]);
        prop_oneof![
            (context.clone(), file.clone(), line)
                .prop_map(|(context, file, line)| Words::line(context, file, line)),
            (context, file, end.clone(), end)
                .prop_map(|(context, file, from, to)| Words::arc(context, file, from, to)),
        ]
    }

    /// What happens to one of many slots.
    #[derive(Clone, Copy, Debug)]
    enum Change {
        /// Bits that a reader ignores, and that the checksum covers.
        Head(u32),
        PayloadHigh(u32),
        PayloadLast(u32),
        /// Damage.
        Flip(usize),
        Zeros,
        Unfinished,
        /// What the first slot holds.
        Copied,
        /// Another record.
        Name,
    }

    fn any_change() -> impl Strategy<Value = Change> {
        prop_oneof![
            any::<u32>().prop_map(|bits| Change::Head(bits & !0xFF)),
            any::<u32>().prop_map(Change::PayloadHigh),
            any::<u32>().prop_map(Change::PayloadLast),
            (0..256usize).prop_map(Change::Flip),
            Just(Change::Zeros),
            Just(Change::Unfinished),
            Just(Change::Copied),
            Just(Change::Name),
        ]
    }

    proptest! {
        /// Whatever is around them, hits are found where [`classify`] finds them, and nowhere else.
        #[test]
        fn hits_are_found_among_anything_else(
            hits in prop::collection::vec((any_hit(), 1..60usize), 1..20),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any_change()), 0..30),
            first_place: u32,
        ) {
            let words: Vec<Words> = hits.iter().flat_map(|(words, times)| vec![*words; *times]).collect();
            let place = |at: usize| first_place.wrapping_add(at as u32);
            let mut slots: Vec<[u64; 4]> =
                words.iter().enumerate().map(|(at, words)| seal(*words, place(at))).collect();
            for (at, change) in changes {
                let at = at.index(slots.len());
                let mut changed = words[at];
                match change {
                    Change::Head(bits) => changed.head |= bits,
                    Change::PayloadHigh(bits) => changed.payload[1] |= u64::from(bits) << 32,
                    Change::PayloadLast(bits) => changed.payload_last = bits,
                    Change::Name => {
                        let (space, chunk) = (NameSpace::File, NameChunk::new(b"a.py"));
                        changed = Record::Name { space, id: 1, index: 0, last: true, chunk }.words();
                    }
                    Change::Flip(_) | Change::Zeros | Change::Unfinished | Change::Copied => {}
                }
                slots[at] = seal(changed, place(at));
                match change {
                    Change::Flip(bit) => slots[at][bit / 64] ^= 1 << (bit % 64),
                    Change::Zeros => slots[at] = [0; 4],
                    Change::Unfinished => slots[at][3] = 0,
                    Change::Copied => slots[at] = slots[0],
                    _ => {}
                }
            }
            let bytes: Vec<u8> = slots.iter().flat_map(|slot| slot_bytes(*slot)).collect();
            let mut finder = HitFinder::default();
            let mut at = 0;
            while at < slots.len() {
                let found = finder.run(&bytes[at * RECORD_SIZE..], place(at));
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

    /// A hit that is refused here is still found, as one unlike those before: only slower.
    #[test]
    fn every_payload_has_the_checksum_of_its_bytes() {
        let bytes_of = |head: u32, payload: u64| {
            let words = Words { head, payload: [pair(0, 1), payload], payload_last: 0 };
            Record::hit_from_words(words).map(|_| crc32_like(0, 0, 0, payload))
        };
        let ends = LINES.iter().flat_map(|line| [*line, line.wrapping_neg(), !line, *line ^ (1 << 31)]);
        let ends: Vec<u32> = ends.collect();
        for payload in ends.iter().flat_map(|from| ends.iter().map(|to| pair(*from, *to))) {
            let arc = bytes_of(kind::ARC.into(), payload);
            assert_eq!(arc_checksum(payload), arc, "{:?}", ends_of_arc(payload));
            // A line with other bits set is left to `count_unlike`.
            let line = bytes_of(kind::LINE.into(), payload).filter(|_| high(payload) == 0);
            assert_eq!(line_checksum(payload), line, "{payload:#x}");
        }
    }

    /// Runs are what makes it fast: they end only where kind, names or the upper bytes of the place change.
    #[test]
    fn hits_alike_are_one_run() {
        let lines = |at: u32| Words::line(1, 2 + at / 200, 1 + at);
        let arcs = |at: u32| Words::arc(1, 2 + at / 200, at as i32, -1);
        for words in [lines as fn(u32) -> Words, arcs] {
            let bytes: Vec<u8> =
                (0..400).flat_map(|at| slot_bytes(seal(words(at), 250 + at))).collect();
            let mut finder = HitFinder::default();
            let mut at = 0;
            let mut counts = Vec::new();
            while at < 400 {
                let hits = finder.run(&bytes[at as usize * RECORD_SIZE..], 250 + at).expect("hits");
                counts.push(hits.count());
                at += hits.count();
            }
            assert_eq!(counts, [6, 194, 62, 138]);
        }
    }
}
