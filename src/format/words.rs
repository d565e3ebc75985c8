//! A record as words in registers, and back. What goes to disk is described by `format-spec.md`: if you change
//! a layout here, raise [`VERSION`](super::VERSION) and change the specification first.
//!
//! ```text
//! byte  0     1      2..4   8..28
//!      | kind | flags | aux | payload |
//!      | head               | payload[0], payload[1], payload_last |
//! ```

use super::record::kind;
use super::{EndReason, NAME_CHUNK_BYTES, NameChunk, NameSpace, Record};
use crate::limits::{LINE_MAX, NAME_ID_MAX};

/// Flag of a name's record: the name ends here.
const FLAG_NAME_LAST: u8 = 0x80;
/// Flag of a context's start: begun by the parent process, inherited at the start of this one.
const FLAG_INHERITED: u8 = 0x01;
/// Flag of a trailer: `aux` holds the exit code.
const FLAG_EXIT_CODE_KNOWN: u8 = 0x80;
/// Bits of a trailer's flags that say why the log ended.
const MASK_END_REASON: u8 = 0x0F;
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
pub(super) const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

#[inline(always)]
const fn head(kind: u8, flags: u8, aux: u16) -> u32 {
    kind as u32 | (flags as u32) << 8 | (aux as u32) << 16
}

pub(super) const fn low(word: u64) -> u32 {
    word as u32
}

pub(super) const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

/// Context and file of a hit, from the first word of its payload.
#[inline(always)]
pub(super) const fn names_of_hit(first: u64) -> (u32, u32) {
    (low(first), high(first))
}

/// Line left and line reached of an arc, from the second word of its payload.
#[inline(always)]
pub(super) const fn ends_of_arc(second: u64) -> (i32, i32) {
    (low(second) as i32, high(second) as i32)
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
    pub(super) fn hit_from_words(words: Words) -> Option<Record> {
        let [first, second] = words.payload;
        let (context, file) = names_of_hit(first);
        if !context_ok(context) || !file_ok(file) {
            return None;
        }
        match words.head as u8 {
            kind::LINE => {
                let line = low(second);
                (1..=LINE_MAX).contains(&line).then_some(Record::Line { context, file, line })
            }
            kind::ARC => {
                let (from, to) = ends_of_arc(second);
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
