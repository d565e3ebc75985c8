//! The bytes of a log, without any input or output. `format-spec.md` is normative; where this code
//! differs from it, the code is wrong.
//!
//! * [`Header`]: who wrote this log. Kept twice, in two pages.
//! * [`Record`]: what one record says; [`Words`]: the same in registers; both 32 bytes in a slot.
//! * [`Slot`]: what a reader found in a slot: a record, nothing, damage, or somebody else's record.
//! * [`checksum`]: CRC-32/IEEE of words in registers.
//!
//! ```text
//! offset 0        4096      8192   8224   8256
//!        | header | header' | slot | slot | ... to the end of the file
//!                             0      1
//! ```

pub mod checksum;
mod file_name;
mod header;
mod hits;
mod record;
mod slot;
mod words;

pub use file_name::{FILE_EXTENSION, log_file_name, parse_log_file_name};
pub use header::{
    BOOT_ID_UNKNOWN, HEADER_COPY_SIZE, HEADER_SIZE, Header, HeaderDamage, INCOMPATIBLE_KNOWN, LogId,
    MAGIC, VERSION, ZERO_ID, parse_header_copy,
};
pub use hits::{HitFinder, HitRun};
pub use record::{
    EndReason, KIND_SKIPPABLE, NAME_CHUNK_BYTES, NameChunk, NameSpace, RECORD_SIZE, Record, kind,
};
pub use slot::{
    PLACES_ALIKE, Slot, SlotDamage, classify, names_checksum, place, places_checksum, seal, seal_hit,
    slot_bytes, slot_words,
};
pub use words::Words;
