//! A record in its slot, sealed by its place and a checksum, and what a reader finds there.
//!
//! ```text
//! byte  0            4       8                28
//!      | head (words) | place | payload (words) | CRC-32/IEEE of bytes 0..28 |
//! word  0                      1  2  3.lo        3.hi
//! ```
//!
//! `place` binds the record to its log and its slot. A slot that has a right checksum and another
//! place holds somebody else's record: a stale disk block, a misplaced page. It is recognised as
//! foreign and never accepted.

use byteorder::{ByteOrder, LittleEndian};

use super::checksum::{crc32_like, crc32_of_words};
use super::words::{high, low, pair};
use super::{LogId, RECORD_SIZE, Record, Words};

/// The place of slot `slot` in log `log_id`: the id's first four bytes as a little-endian number, plus
/// the slot's number, modulo 2^32.
#[inline(always)]
#[must_use]
pub const fn place(log_id: &LogId, slot: u32) -> u32 {
    u32::from_le_bytes([log_id[0], log_id[1], log_id[2], log_id[3]]).wrapping_add(slot)
}

/// The four words of a slot that holds `words` at `place`; the last one carries the checksum, and is
/// to be stored last.
#[inline(always)]
#[must_use]
pub const fn seal(words: Words, place: u32) -> [u64; 4] {
    let first = pair(words.head, place);
    let crc = crc32_of_words([first, words.payload[0], words.payload[1]], words.payload_last);
    [first, words.payload[0], words.payload[1], pair(words.payload_last, crc)]
}

/// Slots in a row whose places differ in the lowest byte only, once that of the first is 0.
pub const PLACES_ALIKE: u32 = 256;

/// What the checksums of all hits with this first payload word (context and file) share.
#[inline]
#[must_use]
pub const fn names_checksum(names: u64) -> u32 {
    crc32_of_words([0, names, 0], 0)
}

/// What the checksums of all records share whose places are like `place` but for the lowest byte.
#[inline]
#[must_use]
pub const fn places_checksum(place: u32) -> u32 {
    crc32_like(0, 0, place & !(PLACES_ALIKE - 1), 0)
}

/// As [`seal`], for a line or an arc; `shared` is the exclusive or of [`names_checksum`] and
/// [`places_checksum`].
///
/// ```
/// use hitlog::format::{Words, names_checksum, places_checksum, seal, seal_hit};
/// let (hit, place) = (Words::line(1, 2, 88), 0x4321);
/// let shared = names_checksum(hit.payload[0]) ^ places_checksum(place);
/// assert_eq!(seal_hit(hit, place, shared), seal(hit, place));
/// ```
#[inline(always)]
#[must_use]
pub const fn seal_hit(hit: Words, place: u32, shared: u32) -> [u64; 4] {
    let crc = crc32_like(shared, hit.head, place & (PLACES_ALIKE - 1), hit.payload[1]);
    [pair(hit.head, place), hit.payload[0], hit.payload[1], pair(0, crc)]
}
/// The bytes of a slot with the words `slot`.
#[must_use]
pub fn slot_bytes(slot: [u64; 4]) -> [u8; RECORD_SIZE] {
    let mut bytes = [0; RECORD_SIZE];
    LittleEndian::write_u64_into(&slot, &mut bytes);
    bytes
}

/// The words of a slot with the bytes `bytes`.
///
/// # Panics
/// If `bytes` is not [`RECORD_SIZE`] long.
#[inline(always)]
#[must_use]
pub fn slot_words(bytes: &[u8]) -> [u64; 4] {
    let mut slot = [0; 4];
    LittleEndian::read_u64_into(bytes, &mut slot);
    slot
}

/// What a reader found in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A whole record that was written to this slot of this log.
    Valid(Record),
    /// No append ever ended here.
    Blank {
        /// Whether one had begun: some bytes are set, the last eight (stored last) are not. The process
        /// died in the middle of it, before the append returned.
        unfinished: bool,
    },
    /// Bytes that no writer left there.
    Damaged(SlotDamage),
    /// A whole record that was written to another slot or another log.
    Foreign {
        /// The place it was written for; minus this log's place 0 it is a slot's number, if the
        /// record is from this log.
        place: u32,
    },
}

/// Why a slot counts as damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotDamage {
    /// The checksum is not that of the bytes.
    Checksum,
    /// The checksum is right, but the content is outside the format's limits.
    Content,
    /// The bytes could not be read: the medium failed, or the file became shorter meanwhile.
    Unreadable,
}

/// What the slot with the words `slot` holds, if its place is `place`.
#[inline]
#[must_use]
pub fn classify(slot: [u64; 4], place: u32) -> Slot {
    // The checksum of zeros is not zero: such a slot is nothing else.
    if slot == [0; 4] {
        return Slot::Blank { unfinished: false };
    }
    if !is_checksum_right(slot) {
        return match slot {
            [_, _, _, 0] => Slot::Blank { unfinished: true },
            _ => Slot::Damaged(SlotDamage::Checksum),
        };
    }
    if high(slot[0]) != place {
        return Slot::Foreign { place: high(slot[0]) };
    }
    Record::from_words(words_of(slot)).map_or(Slot::Damaged(SlotDamage::Content), Slot::Valid)
}

#[inline(always)]
pub(super) fn is_checksum_right(slot: [u64; 4]) -> bool {
    crc32_of_words([slot[0], slot[1], slot[2]], low(slot[3])) == high(slot[3])
}

#[inline(always)]
pub(super) fn words_of(slot: [u64; 4]) -> Words {
    Words { head: low(slot[0]), payload: [slot[1], slot[2]], payload_last: low(slot[3]) }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{EndReason, NameChunk, NameSpace, kind};
    use crate::limits::{LINE_MAX, NAME_ID_MAX};
    use proptest::prelude::*;

    fn name_space() -> impl Strategy<Value = NameSpace> {
        prop_oneof![Just(NameSpace::File), Just(NameSpace::Context), Just(NameSpace::Sample)]
    }

    fn reason() -> impl Strategy<Value = EndReason> {
        prop_oneof![Just(EndReason::Closed), Just(EndReason::Continued), Just(EndReason::Exec)]
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let context = 0..=NAME_ID_MAX;
        let file = 1..=NAME_ID_MAX;
        let line = -(LINE_MAX as i32)..=LINE_MAX as i32;
        prop_oneof![
            (context.clone(), file.clone(), 1..=LINE_MAX)
                .prop_map(|(context, file, line)| Record::Line { context, file, line }),
            (context.clone(), file.clone(), line.clone(), line)
                .prop_map(|(context, file, from, to)| Record::Arc { context, file, from, to }),
            (name_space(), 1..=0xFFFFu32, 0..4096u16, prop::collection::vec(any::<u8>(), 0..16))
                .prop_map(|(space, id, index, text)| Record::Name {
                    space,
                    id,
                    index,
                    last: true,
                    chunk: NameChunk::new(&text)
                }),
            (name_space(), 1..=0xFFFFu32, 0..4096u16, any::<bool>(), any::<[u8; 16]>()).prop_map(
                |(space, id, index, last, text)| Record::Name {
                    space,
                    id,
                    index,
                    last,
                    chunk: NameChunk::new(&text)
                }
            ),
            (file, any::<u64>(), any::<i64>()).prop_map(|(file, size, mtime_ns)| Record::FileFacts {
                file,
                size,
                mtime_ns
            }),
            (context.clone(), any::<u32>(), any::<u64>(), any::<bool>()).prop_map(
                |(context, thread, time_ns, inherited)| Record::ContextStart {
                    context,
                    thread,
                    time_ns,
                    inherited
                }
            ),
            (context.clone(), any::<u32>(), any::<u64>()).prop_map(|(context, thread, time_ns)| {
                Record::ContextStop { context, thread, time_ns }
            }),
            (1..=u16::MAX, context, any::<u64>(), any::<u64>()).prop_map(
                |(name, context, time_ns, value)| Record::Sample { name, context, time_ns, value }
            ),
            (reason(), any::<Option<u16>>(), any::<u64>(), any::<u64>(), any::<u32>()).prop_map(
                |(reason, exit_code, time_ns, records, lost)| Record::Trailer {
                    reason,
                    exit_code,
                    time_ns,
                    records,
                    lost
                }
            ),
            any::<u64>().prop_map(|time_ns| Record::Resumed { time_ns }),
            (any::<u64>(), any::<u16>(), any::<u64>())
                .prop_map(|(lost, errno, time_ns)| Record::Loss { lost, errno, time_ns }),
        ]
    }

    proptest! {
        #[test]
        fn a_hit_is_sealed_like_any_record(context: u32, file: u32, from: i32, to: i32, place: u32) {
            for hit in [Words::line(context, file, from as u32), Words::arc(context, file, from, to)] {
                let shared = names_checksum(hit.payload[0]) ^ places_checksum(place);
                prop_assert_eq!(seal_hit(hit, place, shared), seal(hit, place));
            }
        }

        #[test]
        fn every_record_survives_its_slot(record in any_record(), place: u32) {
            let slot = seal(record.words(), place);
            prop_assert_eq!(classify(slot, place), Slot::Valid(record));
        }

        #[test]
        fn a_record_elsewhere_is_foreign(record in any_record(), place: u32, other: u32) {
            prop_assume!(place != other);
            prop_assert_eq!(classify(seal(record.words(), place), other), Slot::Foreign { place });
        }

        #[test]
        fn up_to_five_flipped_bits_are_never_accepted(
            record in any_record(),
            place: u32,
            bits in prop::collection::btree_set(0..256usize, 1..=5),
        ) {
            let mut slot = seal(record.words(), place);
            for bit in bits {
                slot[bit / 64] ^= 1 << (bit % 64);
            }
            let found = classify(slot, place);
            let noticed = matches!(found, Slot::Damaged(_) | Slot::Blank { unfinished: true });
            prop_assert!(noticed, "{:?}", found);
        }
    }

    #[test]
    fn an_empty_slot_is_blank_everywhere() {
        assert_eq!(classify([0; 4], 0), Slot::Blank { unfinished: false });
        assert_eq!(classify([0; 4], 77), Slot::Blank { unfinished: false });
    }

    #[test]
    fn content_outside_the_limits_is_damage() {
        // Only the last chunk of a name is short.
        let name = |space, id, index, last| {
            let chunk = NameChunk::new(b"short");
            Record::Name { space, id, index, last, chunk }
        };
        for record in [
            Record::Line { context: 0, file: 1, line: 0 },
            Record::Line { context: 0, file: 1, line: LINE_MAX + 1 },
            Record::Line { context: 0, file: 0, line: 1 },
            Record::Line { context: u32::MAX, file: 1, line: 1 },
            Record::Arc { context: 0, file: 1, from: i32::MIN, to: 1 },
            Record::Sample { name: 0, context: 0, time_ns: 0, value: 0 },
            name(NameSpace::File, 0, 0, true),
            name(NameSpace::Sample, 0x1_0000, 0, true),
            name(NameSpace::File, 1, 4096, true),
            name(NameSpace::File, 1, 0, false),
            Record::Unknown { kind: kind::BLANK },
        ] {
            let found = classify(seal(record.words(), 9), 9);
            assert_eq!(found, Slot::Damaged(SlotDamage::Content), "{record:?}");
        }
    }

    #[test]
    fn an_unknown_kind_is_valid_and_named() {
        let record = Record::Unknown { kind: 0x7F };
        assert_eq!(classify(seal(record.words(), 9), 9), Slot::Valid(record));
    }
}
