//! What one record says: its kinds, and their content. How it lies in a slot is told by `words` and `slot`.

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
    pub(super) bytes: [u8; NAME_CHUNK_BYTES],
    pub(super) length: u8,
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
