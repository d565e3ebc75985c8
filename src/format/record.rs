//! One record of 32 bytes, alone in its slot.
//!
//! ```text
//! byte  0     1      2..4   4..8    8..28     28..32
//!      | kind | flags | aux | place | payload | CRC-32/IEEE of bytes 0..28 |
//! word  0                            1  2  3.lo  3.hi
//! ```
//!
//! `place` binds the record to its log and its slot. A slot that has a right checksum and another
//! place holds somebody else's record: a stale disk block, a misplaced page. It is recognised as
//! foreign and never accepted. What goes to disk is described by `format-spec.md`: if you change a
//! layout here, raise [`VERSION`](super::VERSION) and change the specification first.

use byteorder::{ByteOrder, LittleEndian};

use super::LogId;
use super::checksum::{crc32_like, crc32_of_words};
use crate::limits::{LINE_MAX, NAME_ID_MAX};

/// Size of a record and of its slot, in bytes. Divides 512, so no record crosses a sector.
pub const RECORD_SIZE: usize = 32;

/// Bytes of a name that one record carries.
pub const NAME_CHUNK_BYTES: usize = 16;

/// The bit of a kind that lets a reader which does not know the kind skip the record.
pub const KIND_SKIPPABLE: u8 = 0x80;

/// The kinds of records, byte 0 of each. Kind 0 is blank space and never valid.
pub mod kind {
    /// A slot that was never written.
    pub const BLANK: u8 = 0x00;
    /// A line that ran.
    pub const LINE: u8 = 0x01;
    /// A transition between two lines that was taken.
    pub const ARC: u8 = 0x02;
    /// A part of a file's path.
    pub const FILE_NAME: u8 = 0x03;
    /// A part of a context's name.
    pub const CONTEXT_NAME: u8 = 0x04;
    /// The end of the log, written by its own process.
    pub const TRAILER: u8 = 0x05;
    /// The process went on after a trailer.
    pub const RESUMED: u8 = 0x06;
    /// Records could not be written.
    pub const LOSS: u8 = 0x07;
    /// Size and modification time of a file when it was first recorded.
    pub const FILE_FACTS: u8 = 0x81;
    /// A context began.
    pub const CONTEXT_START: u8 = 0x82;
    /// A context ended.
    pub const CONTEXT_STOP: u8 = 0x83;
    /// A part of the name of a series of samples.
    pub const SAMPLE_NAME: u8 = 0x84;
    /// One measurement.
    pub const SAMPLE: u8 = 0x85;
}

/// Flag of a name's record: the name ends here.
const FLAG_NAME_LAST: u8 = 0x80;
/// Flag of a context's start: begun by the parent process, inherited at the start of this one.
const FLAG_INHERITED: u8 = 0x01;
/// Flag of a trailer: `aux` holds the exit code.
const FLAG_EXIT_CODE_KNOWN: u8 = 0x80;
/// Bits of a trailer's flags that say why the log ended.
const MASK_END_REASON: u8 = 0x0F;

/// What a name names. Ids of each space count from 1 within one log; 0 is no file, or the empty context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NameSpace {
    /// Paths of files, as absolute as the recorder knew them.
    File,
    /// Names of contexts, such as `tests/test_cart.py::test_total|run`.
    Context,
    /// Names of series of samples.
    Sample,
}

/// Why a process ended its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The recorder was closed, mostly because the process ended.
    Closed,
    /// This segment is full; the recording goes on in the next one.
    Continued,
    /// The process is about to replace itself by `exec`.
    Exec,
}

/// At most [`NAME_CHUNK_BYTES`] bytes of a name; all but the last chunk of a name are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameChunk {
    bytes: [u8; NAME_CHUNK_BYTES],
    length: u8,
}

impl NameChunk {
    /// The chunk that holds `bytes`.
    ///
    /// # Panics
    /// If `bytes` is longer than [`NAME_CHUNK_BYTES`].
    #[must_use]
    pub fn new(bytes: &[u8]) -> NameChunk {
        let mut chunk = NameChunk { bytes: [0; NAME_CHUNK_BYTES], length: bytes.len() as u8 };
        chunk.bytes[..bytes.len()].copy_from_slice(bytes);
        chunk
    }

    /// The bytes of the name in this chunk.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// One record. Times are nanoseconds of the system's monotonic clock (`CLOCK_MONOTONIC`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Line `line` (from 1) of file `file` ran in context `context` (0: the empty context).
    Line {
        /// Id of the context.
        context: u32,
        /// Id of the file.
        file: u32,
        /// Line number, from 1.
        line: u32,
    },
    /// The transition from line `from` to line `to` was taken. A negative end is the entry to or the
    /// exit from the code object that starts at that line, as in coverage.py.
    Arc {
        /// Id of the context.
        context: u32,
        /// Id of the file.
        file: u32,
        /// Line left.
        from: i32,
        /// Line reached.
        to: i32,
    },
    /// Chunk `index` (from 0) of the name `id` in `space`.
    Name {
        /// What is named.
        space: NameSpace,
        /// Id that other records use for it.
        id: u32,
        /// Position of this chunk in the name, in chunks.
        index: u16,
        /// Whether the name ends with this chunk.
        last: bool,
        /// The bytes.
        chunk: NameChunk,
    },
    /// What `file` was when it was first recorded.
    FileFacts {
        /// Id of the file.
        file: u32,
        /// Size in bytes.
        size: u64,
        /// Modification time, in nanoseconds since 1970-01-01 UTC.
        mtime_ns: i64,
    },
    /// Context `context` began on thread `thread`.
    ContextStart {
        /// Id of the context.
        context: u32,
        /// Number of the thread within this log, from 0 in the order of first use; `u32::MAX`: all threads
        /// without a context of their own.
        thread: u32,
        /// When.
        time_ns: u64,
        /// Whether it began before this log: in the parent process, or in the segment before.
        inherited: bool,
    },
    /// Context `context` ended on thread `thread`.
    ContextStop {
        /// Id of the context.
        context: u32,
        /// Number of the thread within this log.
        thread: u32,
        /// When.
        time_ns: u64,
    },
    /// A measurement.
    Sample {
        /// Id of the sample's name.
        name: u16,
        /// Id of the context it was taken in.
        context: u32,
        /// When.
        time_ns: u64,
        /// What was measured, in the unit that its name tells.
        value: u64,
    },
    /// The log was ended by its own process.
    Trailer {
        /// Why.
        reason: EndReason,
        /// The process's exit code, if it was known.
        exit_code: Option<u16>,
        /// When.
        time_ns: u64,
        /// How many records were appended to this log, without trailers.
        records: u64,
        /// How many appends found no room, saturating.
        lost: u32,
    },
    /// The process went on after a trailer (an `exec` that failed).
    Resumed {
        /// When.
        time_ns: u64,
    },
    /// At least `lost` records could not be written up to now.
    Loss {
        /// How many.
        lost: u64,
        /// The operating system's error number (`ENOSPC`, ...).
        errno: u16,
        /// When.
        time_ns: u64,
    },
    /// A record of a kind that this version does not know.
    Unknown {
        /// Its kind; [`KIND_SKIPPABLE`] tells whether it may be skipped.
        kind: u8,
    },
}

/// A record as words in registers, before its place and its checksum are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// Kind, flags and aux: the low half of word 0.
    pub head: u32,
    /// Payload bytes 0..8 and 8..16.
    pub payload: [u64; 2],
    /// Payload bytes 16..20.
    pub payload_last: u32,
}

#[inline(always)]
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

#[inline(always)]
const fn head(kind: u8, flags: u8, aux: u16) -> u32 {
    kind as u32 | (flags as u32) << 8 | (aux as u32) << 16
}

const fn low(word: u64) -> u32 {
    word as u32
}

const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

/// The place of slot `slot` in log `log_id`: the id's first four bytes as a little-endian number, plus
/// the slot's number, modulo 2^32.
#[inline(always)]
#[must_use]
pub const fn place(log_id: &LogId, slot: u32) -> u32 {
    let tag = log_id[0] as u32
        | (log_id[1] as u32) << 8
        | (log_id[2] as u32) << 16
        | (log_id[3] as u32) << 24;
    tag.wrapping_add(slot)
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

impl Words {
    /// A line, as [`Record::Line`].
    #[inline(always)]
    #[must_use]
    pub const fn line(context: u32, file: u32, line: u32) -> Words {
        let payload = [pair(context, file), line as u64];
        Words { head: head(kind::LINE, 0, 0), payload, payload_last: 0 }
    }

    /// An arc, as [`Record::Arc`].
    #[inline(always)]
    #[must_use]
    pub const fn arc(context: u32, file: u32, from: i32, to: i32) -> Words {
        let payload = [pair(context, file), pair(from as u32, to as u32)];
        Words { head: head(kind::ARC, 0, 0), payload, payload_last: 0 }
    }
}

impl Record {
    /// This record as words.
    ///
    /// ```
    /// use hitlog::format::{Record, Slot, classify, seal, place};
    /// let record = Record::Line { context: 1, file: 2, line: 88 };
    /// let log_id = [7; 16];
    /// let slot = seal(record.words(), place(&log_id, 5));
    /// assert_eq!(classify(slot, place(&log_id, 5)), Slot::Valid(record));
    /// assert!(matches!(classify(slot, place(&log_id, 6)), Slot::Foreign { .. }));
    /// ```
    #[must_use]
    pub fn words(&self) -> Words {
        let (head, first, second, payload_last) = match *self {
            Record::Line { context, file, line } => return Words::line(context, file, line),
            Record::Arc { context, file, from, to } => return Words::arc(context, file, from, to),
            Record::Name { space, id, index, last, chunk } => {
                let flags = chunk.length | if last { FLAG_NAME_LAST } else { 0 };
                let text = u128_of(&chunk.bytes);
                let second = (text >> 32) as u64;
                (
                    head(kind_of_space(space), flags, index),
                    pair(id, text as u32),
                    second,
                    (text >> 96) as u32,
                )
            }
            Record::FileFacts { file, size, mtime_ns } => {
                (head(kind::FILE_FACTS, 0, 0), size, mtime_ns as u64, file)
            }
            Record::ContextStart { context, thread, time_ns, inherited } => {
                let flags = if inherited { FLAG_INHERITED } else { 0 };
                (head(kind::CONTEXT_START, flags, 0), time_ns, pair(context, thread), 0)
            }
            Record::ContextStop { context, thread, time_ns } => {
                (head(kind::CONTEXT_STOP, 0, 0), time_ns, pair(context, thread), 0)
            }
            Record::Sample { name, context, time_ns, value } => {
                (head(kind::SAMPLE, 0, name), time_ns, value, context)
            }
            Record::Trailer { reason, exit_code, time_ns, records, lost } => {
                let known = if exit_code.is_some() { FLAG_EXIT_CODE_KNOWN } else { 0 };
                let flags = known | number_of_reason(reason);
                (head(kind::TRAILER, flags, exit_code.unwrap_or(0)), time_ns, records, lost)
            }
            Record::Resumed { time_ns } => (head(kind::RESUMED, 0, 0), time_ns, 0, 0),
            Record::Loss { lost, errno, time_ns } => (head(kind::LOSS, 0, errno), time_ns, lost, 0),
            Record::Unknown { kind } => (head(kind, 0, 0), 0, 0, 0),
        };
        Words { head, payload: [first, second], payload_last }
    }

    /// The record that `words` are; `None` if no writer of this version writes such content.
    #[inline]
    #[must_use]
    pub fn from_words(words: Words) -> Option<Record> {
        match words.head as u8 {
            kind::LINE | kind::ARC => Record::hit_from_words(words),
            _ => Record::from_rare_words(words),
        }
    }

    /// The line or the arc that `words` are; `None` if they are something else.
    #[inline(always)]
    fn hit_from_words(words: Words) -> Option<Record> {
        let [first, second] = words.payload;
        let (context, file) = (low(first), high(first));
        if !context_ok(context) || !file_ok(file) {
            return None;
        }
        match words.head as u8 {
            kind::LINE => {
                let line = low(second);
                (1..=LINE_MAX).contains(&line).then_some(Record::Line { context, file, line })
            }
            kind::ARC => {
                let (from, to) = (low(second) as i32, high(second) as i32);
                let whole = from.unsigned_abs() <= LINE_MAX && to.unsigned_abs() <= LINE_MAX;
                whole.then_some(Record::Arc { context, file, from, to })
            }
            _ => None,
        }
    }

    /// [`Record::from_words`] of what is neither.
    #[inline(never)]
    fn from_rare_words(words: Words) -> Option<Record> {
        let [kind, flags, aux_low, aux_high] = words_bytes(words.head);
        let aux = u16::from(aux_low) | u16::from(aux_high) << 8;
        let [first, second] = words.payload;
        let record = match kind {
            kind::BLANK => return None,
            kind::FILE_NAME | kind::CONTEXT_NAME | kind::SAMPLE_NAME => {
                return name_from(space_of_kind(kind)?, flags, aux, words);
            }
            kind::TRAILER => Record::Trailer {
                reason: reason_of_number(flags & MASK_END_REASON)?,
                exit_code: (flags & FLAG_EXIT_CODE_KNOWN != 0).then_some(aux),
                time_ns: first,
                records: second,
                lost: words.payload_last,
            },
            kind::RESUMED => Record::Resumed { time_ns: first },
            kind::LOSS => Record::Loss { lost: second, errno: aux, time_ns: first },
            kind::FILE_FACTS => {
                let file = words.payload_last;
                let facts = Record::FileFacts { file, size: first, mtime_ns: second as i64 };
                return file_ok(file).then_some(facts);
            }
            kind::CONTEXT_START => {
                let (context, thread) = (low(second), high(second));
                let inherited = flags & FLAG_INHERITED != 0;
                let start = Record::ContextStart { context, thread, time_ns: first, inherited };
                return context_ok(context).then_some(start);
            }
            kind::CONTEXT_STOP => {
                let (context, thread) = (low(second), high(second));
                let stop = Record::ContextStop { context, thread, time_ns: first };
                return context_ok(context).then_some(stop);
            }
            kind::SAMPLE => {
                let context = words.payload_last;
                let sample = Record::Sample { name: aux, context, time_ns: first, value: second };
                return (aux != 0 && context_ok(context)).then_some(sample);
            }
            kind => Record::Unknown { kind },
        };
        Some(record)
    }
}

fn context_ok(id: u32) -> bool {
    id <= NAME_ID_MAX
}

fn file_ok(id: u32) -> bool {
    (1..=NAME_ID_MAX).contains(&id)
}

fn words_bytes(word: u32) -> [u8; 4] {
    [word as u8, (word >> 8) as u8, (word >> 16) as u8, (word >> 24) as u8]
}

fn u128_of(bytes: &[u8; NAME_CHUNK_BYTES]) -> u128 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn name_from(space: NameSpace, flags: u8, index: u16, words: Words) -> Option<Record> {
    let [first, second] = words.payload;
    let id = low(first);
    let text =
        u128::from(high(first)) | u128::from(second) << 32 | u128::from(words.payload_last) << 96;
    let mut bytes = [0; NAME_CHUNK_BYTES];
    for (position, byte) in bytes.iter_mut().enumerate() {
        *byte = (text >> (8 * position)) as u8;
    }
    let last = flags & FLAG_NAME_LAST != 0;
    let length = flags & !FLAG_NAME_LAST;
    let full = usize::from(length) == NAME_CHUNK_BYTES;
    let length_ok = full || (last && usize::from(length) < NAME_CHUNK_BYTES);
    let index_ok = usize::from(index) < crate::limits::NAME_BYTES_MAX / NAME_CHUNK_BYTES;
    let id_max = if space == NameSpace::Sample { u32::from(u16::MAX) } else { NAME_ID_MAX };
    let whole = length_ok && index_ok && (1..=id_max).contains(&id);
    let chunk = NameChunk { bytes, length };
    whole.then_some(Record::Name { space, id, index, last, chunk })
}

fn kind_of_space(space: NameSpace) -> u8 {
    match space {
        NameSpace::File => kind::FILE_NAME,
        NameSpace::Context => kind::CONTEXT_NAME,
        NameSpace::Sample => kind::SAMPLE_NAME,
    }
}

fn space_of_kind(kind: u8) -> Option<NameSpace> {
    match kind {
        kind::FILE_NAME => Some(NameSpace::File),
        kind::CONTEXT_NAME => Some(NameSpace::Context),
        kind::SAMPLE_NAME => Some(NameSpace::Sample),
        _ => None,
    }
}

fn number_of_reason(reason: EndReason) -> u8 {
    match reason {
        EndReason::Closed => 0,
        EndReason::Continued => 1,
        EndReason::Exec => 2,
    }
}

fn reason_of_number(number: u8) -> Option<EndReason> {
    match number {
        0 => Some(EndReason::Closed),
        1 => Some(EndReason::Continued),
        2 => Some(EndReason::Exec),
        _ => None,
    }
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
    if !is_checksum_right(slot) {
        return match slot {
            [0, 0, 0, 0] => Slot::Blank { unfinished: false },
            [_, _, _, 0] => Slot::Blank { unfinished: true },
            _ => Slot::Damaged(SlotDamage::Checksum),
        };
    }
    if high(slot[0]) != place {
        return Slot::Foreign { place: high(slot[0]) };
    }
    Record::from_words(words_of(slot)).map_or(Slot::Damaged(SlotDamage::Content), Slot::Valid)
}

/// The line or the arc that the slot with the words `slot` holds, if its place is `place`; `None` if it
/// holds anything else, which [`classify`] then tells. Nearly all slots of a large log are hits, and a
/// loop that asks this first keeps them in registers: a fifth faster than a loop over [`Slot`]s.
#[inline(always)]
#[must_use]
pub fn classify_hit(slot: [u64; 4], place: u32) -> Option<Record> {
    if !is_checksum_right(slot) || high(slot[0]) != place {
        return None;
    }
    Record::hit_from_words(words_of(slot))
}

#[inline(always)]
fn is_checksum_right(slot: [u64; 4]) -> bool {
    crc32_of_words([slot[0], slot[1], slot[2]], low(slot[3])) == high(slot[3])
}

#[inline(always)]
fn words_of(slot: [u64; 4]) -> Words {
    Words { head: low(slot[0]), payload: [slot[1], slot[2]], payload_last: low(slot[3]) }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            let is_hit = matches!(record, Record::Line { .. } | Record::Arc { .. });
            prop_assert_eq!(classify_hit(slot, place), is_hit.then_some(record));
            prop_assert_eq!(classify_hit(slot, place.wrapping_add(1)), None);
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
        for record in [
            Record::Line { context: 0, file: 1, line: 0 },
            Record::Line { context: 0, file: 1, line: LINE_MAX + 1 },
            Record::Line { context: 0, file: 0, line: 1 },
            Record::Line { context: u32::MAX, file: 1, line: 1 },
            Record::Arc { context: 0, file: 1, from: i32::MIN, to: 1 },
            Record::Sample { name: 0, context: 0, time_ns: 0, value: 0 },
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
