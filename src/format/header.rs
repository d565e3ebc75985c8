//! The header of a log: who wrote it. Written once, before the first record, and never changed.
//!
//! It is kept twice, in two pages of 4096 bytes, so that one damaged sector does not cost the log.
//! The offsets below are the format; `format-spec.md` has the table.

use byteorder::{ByteOrder, LittleEndian};

/// Identity of a log: 128 random bits.
pub type LogId = [u8; 16];

/// No log (a process without a recorded parent).
pub const ZERO_ID: LogId = [0; 16];

/// The boot id where the system tells none.
pub const BOOT_ID_UNKNOWN: [u8; 16] = [0; 16];

/// The first bytes of a log. As in PNG: a byte that is not ASCII, a name, and line ends that a transfer
/// in text mode would change.
pub const MAGIC: [u8; 8] = [0x89, b'H', b'I', b'T', 0x0D, 0x0A, 0x1A, 0x0A];

/// Version of the format that this code writes and reads.
pub const VERSION: u16 = 1;

/// Size of each of the two copies, in bytes.
pub const HEADER_COPY_SIZE: usize = 4096;

/// Offset of slot 0 in the file, in bytes.
pub const HEADER_SIZE: usize = 2 * HEADER_COPY_SIZE;

/// The incompatible flags that this version understands. A log with any other must not be read.
pub const INCOMPATIBLE_KNOWN: u32 = 0;

/// Compatible flag: `argv` was longer than its room and is cut.
const FLAG_ARGV_CUT: u32 = 1;

const VERSION_AT: usize = 8;
const RECORD_SIZE_AT: usize = VERSION_AT + 2;
const HEADER_SIZE_AT: usize = RECORD_SIZE_AT + 2;
const COMPATIBLE_AT: usize = HEADER_SIZE_AT + 4;
const INCOMPATIBLE_AT: usize = COMPATIBLE_AT + 4;
const LOG_ID_AT: usize = INCOMPATIBLE_AT + 4;
const PARENT_LOG_ID_AT: usize = LOG_ID_AT + 16;
const FIRST_LOG_ID_AT: usize = PARENT_LOG_ID_AT + 16;
const SEGMENT_AT: usize = FIRST_LOG_ID_AT + 16;
const PID_AT: usize = SEGMENT_AT + 4;
const PARENT_PID_AT: usize = PID_AT + 4;
const RESERVED_AT: usize = PARENT_PID_AT + 4;
const PROCESS_START_AT: usize = RESERVED_AT + 4;
const PID_NAMESPACE_AT: usize = PROCESS_START_AT + 8;
const BOOT_ID_AT: usize = PID_NAMESPACE_AT + 8;
const WALL_START_AT: usize = BOOT_ID_AT + 16;
const MONOTONIC_START_AT: usize = WALL_START_AT + 8;
const RUN_ID_LENGTH_AT: usize = MONOTONIC_START_AT + 8;
const HOST_LENGTH_AT: usize = RUN_ID_LENGTH_AT + 2;
const ARGV_LENGTH_AT: usize = HOST_LENGTH_AT + 2;
const TEXT_AT: usize = ARGV_LENGTH_AT + 4;
const CRC_AT: usize = HEADER_COPY_SIZE - 4;

// Each offset counts from the one before, so this one changes with any of them.
const _: () = assert!(TEXT_AT == 144, "format-spec.md has other offsets");

/// Longest run id and longest host name, in bytes.
const SHORT_TEXT_MAX: usize = 255;

/// Who wrote a log, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Identity of this log.
    pub log_id: LogId,
    /// The log of the process that this one was forked from; [`ZERO_ID`] if there is none.
    pub parent_log_id: LogId,
    /// The log of this process's first segment; equals `log_id` in segment 0.
    pub first_log_id: LogId,
    /// Number of this segment of the recording, from 0.
    pub segment: u32,
    /// Process id, in its own pid namespace.
    pub pid: u32,
    /// Process id of the parent at the time the log was opened.
    pub ppid: u32,
    /// Start of the process in clock ticks since boot (field 22 of `/proc/<pid>/stat`); 0 if unknown.
    pub process_start_ticks: u64,
    /// Inode number of the pid namespace; 0 if unknown.
    pub pid_namespace: u64,
    /// The system's boot id; [`BOOT_ID_UNKNOWN`] if it tells none.
    pub boot_id: [u8; 16],
    /// Start of the log, in nanoseconds since 1970-01-01 UTC.
    pub wall_start_ns: i64,
    /// Start of the log, in nanoseconds of the monotonic clock.
    pub monotonic_start_ns: u64,
    /// Name of the run directory.
    pub run_id: Vec<u8>,
    /// Name of the host.
    pub host: Vec<u8>,
    /// The command line: each argument followed by a NUL byte.
    pub argv: Vec<u8>,
    /// Whether `argv` was longer than its room.
    pub argv_cut: bool,
}

/// Why a copy of a header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderDamage {
    /// The file ends before the copy does.
    Short,
    /// The first eight bytes are not those of a log.
    Magic,
    /// The checksum is not that of the bytes.
    Checksum,
    /// A version of the format that this code does not know.
    Version(u16),
    /// Flags of features without which this log cannot be understood.
    Incompatible(u32),
    /// The checksum is right, but a size or a length is impossible.
    Content,
    /// Whole, but not equal to the other copy, which is this log's.
    Different,
}

impl std::fmt::Display for HeaderDamage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HeaderDamage::Short => write!(f, "the file ends inside the header"),
            HeaderDamage::Magic => write!(f, "no hitlog signature"),
            HeaderDamage::Checksum => write!(f, "wrong checksum"),
            HeaderDamage::Version(version) => {
                write!(f, "format version {version}, and this hitlog knows only {VERSION}")
            }
            HeaderDamage::Incompatible(flags) => {
                write!(f, "features {flags:#x}, which this hitlog does not know")
            }
            HeaderDamage::Content => write!(f, "impossible sizes"),
            HeaderDamage::Different => write!(f, "whole, but not equal to the other copy"),
        }
    }
}

impl Header {
    /// One copy of this header, as it stands at offset 0 and at offset [`HEADER_COPY_SIZE`].
    ///
    /// Run id and host are cut at 255 bytes, `argv` at what room is left (some 3.4 KiB or more).
    ///
    /// ```
    /// use hitlog::format::{Header, parse_header_copy};
    /// let header = Header { pid: 7, argv: b"python\0-c\0pass\0".to_vec(), ..Header::default() };
    /// assert_eq!(parse_header_copy(&header.to_bytes()), Ok(header));
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let run_id = &self.run_id[..self.run_id.len().min(SHORT_TEXT_MAX)];
        let host = &self.host[..self.host.len().min(SHORT_TEXT_MAX)];
        let room = CRC_AT - TEXT_AT - run_id.len() - host.len();
        let argv = &self.argv[..self.argv.len().min(room)];
        let argv_cut = self.argv_cut || argv.len() < self.argv.len();

        let mut copy = vec![0; HEADER_COPY_SIZE];
        copy[..MAGIC.len()].copy_from_slice(&MAGIC);
        LittleEndian::write_u16(&mut copy[VERSION_AT..], VERSION);
        LittleEndian::write_u16(&mut copy[RECORD_SIZE_AT..], super::RECORD_SIZE as u16);
        LittleEndian::write_u32(&mut copy[HEADER_SIZE_AT..], HEADER_SIZE as u32);
        LittleEndian::write_u32(&mut copy[COMPATIBLE_AT..], if argv_cut { FLAG_ARGV_CUT } else { 0 });
        LittleEndian::write_u32(&mut copy[INCOMPATIBLE_AT..], 0);
        copy[LOG_ID_AT..][..16].copy_from_slice(&self.log_id);
        copy[PARENT_LOG_ID_AT..][..16].copy_from_slice(&self.parent_log_id);
        copy[FIRST_LOG_ID_AT..][..16].copy_from_slice(&self.first_log_id);
        LittleEndian::write_u32(&mut copy[SEGMENT_AT..], self.segment);
        LittleEndian::write_u32(&mut copy[PID_AT..], self.pid);
        LittleEndian::write_u32(&mut copy[PARENT_PID_AT..], self.ppid);
        LittleEndian::write_u64(&mut copy[PROCESS_START_AT..], self.process_start_ticks);
        LittleEndian::write_u64(&mut copy[PID_NAMESPACE_AT..], self.pid_namespace);
        copy[BOOT_ID_AT..][..16].copy_from_slice(&self.boot_id);
        LittleEndian::write_i64(&mut copy[WALL_START_AT..], self.wall_start_ns);
        LittleEndian::write_u64(&mut copy[MONOTONIC_START_AT..], self.monotonic_start_ns);
        LittleEndian::write_u16(&mut copy[RUN_ID_LENGTH_AT..], run_id.len() as u16);
        LittleEndian::write_u16(&mut copy[HOST_LENGTH_AT..], host.len() as u16);
        LittleEndian::write_u32(&mut copy[ARGV_LENGTH_AT..], argv.len() as u32);
        let mut at = TEXT_AT;
        for text in [run_id, host, argv] {
            copy[at..at + text.len()].copy_from_slice(text);
            at += text.len();
        }
        let crc = crc32fast::hash(&copy[..CRC_AT]);
        LittleEndian::write_u32(&mut copy[CRC_AT..], crc);
        copy
    }
}

/// The header in `copy`, the [`HEADER_COPY_SIZE`] bytes of one copy.
///
/// # Errors
/// What is wrong with this copy; the other one may be whole.
pub fn parse_header_copy(copy: &[u8]) -> Result<Header, HeaderDamage> {
    if copy.len() < HEADER_COPY_SIZE {
        return Err(HeaderDamage::Short);
    }
    if copy[..MAGIC.len()] != MAGIC {
        return Err(HeaderDamage::Magic);
    }
    if LittleEndian::read_u32(&copy[CRC_AT..]) != crc32fast::hash(&copy[..CRC_AT]) {
        return Err(HeaderDamage::Checksum);
    }
    let version = LittleEndian::read_u16(&copy[VERSION_AT..]);
    if version != VERSION {
        return Err(HeaderDamage::Version(version));
    }
    let incompatible = LittleEndian::read_u32(&copy[INCOMPATIBLE_AT..]) & !INCOMPATIBLE_KNOWN;
    if incompatible != 0 {
        return Err(HeaderDamage::Incompatible(incompatible));
    }
    let record_size = usize::from(LittleEndian::read_u16(&copy[RECORD_SIZE_AT..]));
    let header_size = LittleEndian::read_u32(&copy[HEADER_SIZE_AT..]) as usize;
    let run_id_length = usize::from(LittleEndian::read_u16(&copy[RUN_ID_LENGTH_AT..]));
    let host_length = usize::from(LittleEndian::read_u16(&copy[HOST_LENGTH_AT..]));
    let argv_length = LittleEndian::read_u32(&copy[ARGV_LENGTH_AT..]) as usize;
    let room = CRC_AT - TEXT_AT;
    if record_size != super::RECORD_SIZE
        || header_size != HEADER_SIZE
        || argv_length > room
        || run_id_length + host_length + argv_length > room
    {
        return Err(HeaderDamage::Content);
    }
    let (run_id, rest) = copy[TEXT_AT..].split_at(run_id_length);
    let (host, rest) = rest.split_at(host_length);
    Ok(Header {
        log_id: id_at(copy, LOG_ID_AT),
        parent_log_id: id_at(copy, PARENT_LOG_ID_AT),
        first_log_id: id_at(copy, FIRST_LOG_ID_AT),
        segment: LittleEndian::read_u32(&copy[SEGMENT_AT..]),
        pid: LittleEndian::read_u32(&copy[PID_AT..]),
        ppid: LittleEndian::read_u32(&copy[PARENT_PID_AT..]),
        process_start_ticks: LittleEndian::read_u64(&copy[PROCESS_START_AT..]),
        pid_namespace: LittleEndian::read_u64(&copy[PID_NAMESPACE_AT..]),
        boot_id: id_at(copy, BOOT_ID_AT),
        wall_start_ns: LittleEndian::read_i64(&copy[WALL_START_AT..]),
        monotonic_start_ns: LittleEndian::read_u64(&copy[MONOTONIC_START_AT..]),
        run_id: run_id.to_vec(),
        host: host.to_vec(),
        argv: rest[..argv_length].to_vec(),
        argv_cut: LittleEndian::read_u32(&copy[COMPATIBLE_AT..]) & FLAG_ARGV_CUT != 0,
    })
}

fn id_at(copy: &[u8], at: usize) -> LogId {
    let mut id = ZERO_ID;
    id.copy_from_slice(&copy[at..at + 16]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_argv_is_cut_and_says_so() {
        let (run_id, host, argv) = (vec![b'r'; 400], vec![b'h'; 400], vec![b'x'; 9000]);
        let header = Header { run_id, host, argv, ..Header::default() };
        let read = parse_header_copy(&header.to_bytes()).unwrap();
        assert!(read.argv_cut);
        assert_eq!((read.run_id.len(), read.host.len()), (SHORT_TEXT_MAX, SHORT_TEXT_MAX));
        assert_eq!(read.argv.len(), CRC_AT - TEXT_AT - 2 * SHORT_TEXT_MAX);
    }

    #[test]
    fn an_argv_may_fill_its_room() {
        let header = Header { argv: vec![b'x'; CRC_AT - TEXT_AT], ..Header::default() };
        assert_eq!(parse_header_copy(&header.to_bytes()), Ok(header));
    }

    #[test]
    fn no_text_is_longer_than_the_room_of_all() {
        let with_length = |at: usize, length: usize| {
            let mut copy = Header::default().to_bytes();
            LittleEndian::write_u16(&mut copy[at..], length as u16);
            let crc = crc32fast::hash(&copy[..CRC_AT]);
            LittleEndian::write_u32(&mut copy[CRC_AT..], crc);
            parse_header_copy(&copy)
        };
        let room = CRC_AT - TEXT_AT;
        for at in [RUN_ID_LENGTH_AT, HOST_LENGTH_AT, ARGV_LENGTH_AT] {
            assert!(with_length(at, room).is_ok(), "{at}");
            assert_eq!(with_length(at, room + 1), Err(HeaderDamage::Content), "{at}");
        }
    }

    #[test]
    fn every_field_has_bytes_of_its_own() {
        let header = Header {
            log_id: [1; 16],
            parent_log_id: [2; 16],
            first_log_id: [3; 16],
            segment: 4,
            pid: 5,
            ppid: 6,
            process_start_ticks: 7,
            pid_namespace: 8,
            boot_id: [9; 16],
            wall_start_ns: -10,
            monotonic_start_ns: 11,
            run_id: b"run".to_vec(),
            host: b"host".to_vec(),
            argv: b"python\0".to_vec(),
            argv_cut: true,
        };
        assert_eq!(parse_header_copy(&header.to_bytes()), Ok(header));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let whole = Header { pid: 7, run_id: b"run".to_vec(), ..Header::default() }.to_bytes();
        for bit in 0..8 * HEADER_COPY_SIZE {
            let mut copy = whole.clone();
            copy[bit / 8] ^= 1 << (bit % 8);
            let damage = parse_header_copy(&copy).unwrap_err();
            let expected =
                if bit < 8 * MAGIC.len() { HeaderDamage::Magic } else { HeaderDamage::Checksum };
            assert_eq!(damage, expected, "bit {bit}");
        }
    }

    #[test]
    fn what_this_version_cannot_read_is_named() {
        let change = |at: usize, value: u8| {
            let mut copy = Header::default().to_bytes();
            copy[at] = value;
            let crc = crc32fast::hash(&copy[..CRC_AT]);
            LittleEndian::write_u32(&mut copy[CRC_AT..], crc);
            parse_header_copy(&copy).unwrap_err()
        };
        assert_eq!(change(VERSION_AT, 2), HeaderDamage::Version(2));
        assert_eq!(change(INCOMPATIBLE_AT, 8), HeaderDamage::Incompatible(8));
        assert_eq!(change(RECORD_SIZE_AT, 64), HeaderDamage::Content);
        assert_eq!(change(HEADER_SIZE_AT, 1), HeaderDamage::Content);
        assert_eq!(change(ARGV_LENGTH_AT + 3, 0xFF), HeaderDamage::Content);
        assert_eq!(parse_header_copy(&[0; 10]), Err(HeaderDamage::Short));
    }
}
