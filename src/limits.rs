//! Every upper bound in one place, each with its unit and its reason.
//!
//! A reader checks each length it finds in a log against these before it allocates anything: a log
//! is an untrusted file.

/// Largest line number, in lines. A bitmap of one file's lines up to here takes 512 KiB; a larger
/// number in a record is damage (CPython itself never produced a code object this long).
pub const LINE_MAX: u32 = (1 << 22) - 1;

/// Longest name (file path, context or sample name), in bytes. A longer one is cut here by the
/// writer; 64 KiB is sixteen times Linux's `PATH_MAX`.
pub const NAME_BYTES_MAX: usize = 64 * 1024;

/// Largest id of a file or a context within one log. Tables indexed by id stay below 16 M rows.
pub const NAME_ID_MAX: u32 = (1 << 24) - 1;

/// Largest id of a sample's name within one log: its field in a record is 16 bits wide.
pub const SAMPLE_NAME_ID_MAX: u16 = u16::MAX;

/// Largest size of one log, in bytes: the reserve that one mapping takes of the address space, after
/// which the writer goes on in the next segment. Slot numbers stay below 2^29.
pub const LOG_BYTES_MAX: u64 = 16 << 30;

/// How many chunks of names a reader keeps of one log: 32 MiB of text, 64 MiB of memory. A hundred
/// thousand tests with three contexts each need three quarters of it.
pub const NAME_CHUNKS_KEPT_MAX: usize = 1 << 21;

/// How many starts and stops of contexts a reader keeps of one log, 24 bytes each: half a million
/// switches.
pub const CONTEXT_EVENTS_KEPT_MAX: usize = 1 << 20;

/// How many samples a reader keeps of one log, 32 bytes each.
pub const SAMPLES_KEPT_MAX: usize = 1 << 20;

/// How many files' sizes and times a reader keeps of one log, and up to which file id it counts hits
/// for each file.
pub const FILES_KEPT_MAX: usize = 1 << 19;

/// How many damaged and how many foreign slots a reader names, and how many paths and contexts with bytes
/// that are not text a compaction; all of them are counted.
pub const DAMAGE_LISTED_MAX: usize = 1000;

/// How many arcs of one file a compactor numbers, some 40 bytes of memory each. The rest of them are
/// written one by one. A module of 20,000 lines has some 60,000.
pub const ARCS_NUMBERED_MAX: usize = 1 << 19;

/// Numbits take as much room as the largest line number says, and a line is recorded in 32 bytes. So what
/// all of them may take in an output grows with the lines they hold: this much for each, in bytes ...
pub const NUMBITS_BYTES_PER_LINE: u64 = 4096;

/// ... and this much for all of them. Files of up to 32,768 lines are never concerned, and others only if
/// thousands of contexts ran a few of their last lines.
pub const NUMBITS_BYTES_FREE: u64 = 64 << 20;

const _: () = assert!(NAME_BYTES_MAX.is_multiple_of(crate::format::NAME_CHUNK_BYTES));
const _: () = assert!(NAME_BYTES_MAX / crate::format::NAME_CHUNK_BYTES <= u16::MAX as usize + 1);
const _: () = assert!(NAME_CHUNKS_KEPT_MAX * crate::format::NAME_CHUNK_BYTES <= u32::MAX as usize);
const _: () = assert!(LOG_BYTES_MAX / (crate::format::RECORD_SIZE as u64) <= u32::MAX as u64);
