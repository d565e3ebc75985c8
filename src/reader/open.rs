//! One log, opened for reading: which log it is, who wrote it, how many slots it has.

use super::{Error, liveness};
use crate::format::{
    self, HEADER_COPY_SIZE, HEADER_SIZE, Header, HeaderDamage, LogId, RECORD_SIZE, parse_header_copy,
};
use crate::limits::LOG_BYTES_MAX;
use std::fs::{File, FileType, OpenOptions};
use std::os::unix::fs::{FileExt, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A log that was opened for reading. Its size is taken once, when it is opened: what a living writer
/// appends later is not seen.
///
/// Shared by threads freely: reading moves no file position.
///
/// ```
/// use hitlog::format::{Header, Record, Slot, log_file_name, place, seal};
/// use hitlog::reader::{Digest, LogReader, State};
///
/// # let folder = tempfile::tempdir()?;
/// let header = Header { log_id: [7; 16], pid: 4711, ..Header::default() };
/// let mut bytes = [header.to_bytes(), header.to_bytes()].concat();
/// let line = Record::Line { context: 0, file: 1, line: 88 };
/// for word in seal(line.words(), place(&header.log_id, 0)) {
///     bytes.extend(word.to_le_bytes());
/// }
/// let path = folder.path().join(log_file_name(4711, &header.log_id));
/// std::fs::write(&path, bytes)?;
///
/// let log = LogReader::open(&path)?;
/// let mut digest = Digest::default();
/// let counts = log.scan(0..log.slot_count(), |number, slot| {
///     assert_eq!((number, slot), (0, Slot::Valid(line)));
///     digest.add(number, &slot);
/// })?;
/// assert_eq!((counts.slots, counts.valid), (1, 1));
/// assert_eq!(digest.finish().state(log.is_writer_alive()), State::Cut);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    pub(super) file: File,
    size: u64,
    log_id: LogId,
    header: Option<Header>,
    header_copies: [Result<(), HeaderDamage>; 2],
    header_was_never_written: bool,
    writer_alive: bool,
}

impl LogReader {
    /// Opens the log `path`. Whether its writer is alive is found out here, before the size is taken:
    /// if it is not, the log is complete as it is read.
    ///
    /// # Errors
    /// If `path` is no regular file (also: a symbolic link), cannot be opened, is of a format that this
    /// code does not know, or if neither a copy of the header nor the file's name tells which log it is.
    pub fn open(path: impl AsRef<Path>) -> Result<LogReader, Error> {
        let path = path.as_ref().to_path_buf();
        let file = open_regular(&path)?;
        let at_most = read_header_bytes(&file);
        let copies = [0, HEADER_COPY_SIZE].map(|at| {
            let rest = &at_most[at.min(at_most.len())..];
            parse_header_copy(&rest[..rest.len().min(HEADER_COPY_SIZE)])
        });
        let name_id = log_id_of_name(&path);
        let (header, header_copies) = choose_header(copies, name_id);
        let log_id = match (&header, name_id) {
            (Some(header), _) => header.log_id,
            (None, Some(id)) if unsupported(&header_copies).is_none() => id,
            (None, _) => return Err(no_identity(path, header_copies)),
        };
        let header_was_never_written = was_never_written(&at_most, &header_copies);
        let writer_alive = open_regular(&path)
            .is_ok_and(|own_description| liveness::is_writer_alive(&own_description, header.as_ref()));
        let size = file.metadata().map_err(|source| open_error(&path, source))?.len();
        Ok(LogReader {
            path,
            file,
            size,
            log_id,
            header,
            header_copies,
            header_was_never_written,
            writer_alive,
        })
    }

    /// The path that was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who wrote this log; `None` if both copies of the header are lost.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// What is wrong with each copy of the header.
    pub fn header_copies(&self) -> [Result<(), HeaderDamage>; 2] {
        self.header_copies
    }

    /// Whether a copy of the header is not there because it was never written, and nothing else is wrong
    /// with the header: the process died while it made this file, before it could record anything.
    #[must_use]
    pub fn header_was_never_written(&self) -> bool {
        self.header_was_never_written
    }

    /// Identity of this log: from the header, or else from the file's name.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The pid of the writer, in its own pid namespace: from the header, or else from the file's name.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let from_name = || Some(format::parse_log_file_name(self.path.file_name()?.to_str()?)?.0);
        self.header.as_ref().map(|header| header.pid).or_else(from_name)
    }

    /// Size of the file when it was opened, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many whole slots the file has.
    #[must_use]
    pub fn slot_count(&self) -> u32 {
        let slots = self.size.min(LOG_BYTES_MAX).saturating_sub(HEADER_SIZE as u64);
        (slots / RECORD_SIZE as u64) as u32
    }

    /// How many bytes follow the last whole slot. No writer leaves any: the file was cut, or is larger
    /// than a log can be.
    #[must_use]
    pub fn trailing_bytes(&self) -> u64 {
        let slots_end = HEADER_SIZE as u64 + u64::from(self.slot_count()) * RECORD_SIZE as u64;
        self.size.saturating_sub(slots_end)
    }

    /// Whether the writer was alive when the log was opened, as far as can be told: see
    /// [`State::Running`](super::State::Running).
    #[must_use]
    pub fn is_writer_alive(&self) -> bool {
        self.writer_alive
    }
}

/// Opens `path`, a regular file.
fn open_regular(path: &Path) -> Result<File, Error> {
    let refuse = |found| Error::NotRegular { path: path.to_path_buf(), found };
    // Asked before it is opened, because opening a device can have effects; and again afterwards,
    // because the path can have become another file in between.
    let before = std::fs::symlink_metadata(path).map_err(|source| open_error(path, source))?;
    if let Some(found) = not_regular(before.file_type()) {
        return Err(refuse(found));
    }
    let file = open_itself(path).map_err(|source| open_error(path, source))?;
    let after = file.metadata().map_err(|source| open_error(path, source))?;
    match not_regular(after.file_type()) {
        Some(found) => Err(refuse(found)),
        None => Ok(file),
    }
}

/// Opens `path` without following a link and without waiting for a FIFO's other end.
fn open_itself(path: &Path) -> std::io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn open_error(path: &Path, source: std::io::Error) -> Error {
    Error::Open { path: path.to_path_buf(), source }
}

/// What a file is if not a regular one, with its article.
pub(crate) fn not_regular(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("a directory"),
        kind if kind.is_symlink() => Some("a symbolic link"),
        kind if kind.is_fifo() => Some("a FIFO"),
        kind if kind.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}

/// The bytes of both copies, as far as the file has them.
fn read_header_bytes(file: &impl FileExt) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_SIZE];
    let length = read_at(file, &mut bytes, 0).unwrap_or_else(|_| {
        // A bad sector in one copy must not hide the other: what cannot be read of it counts as zeros.
        for (copy, offset) in bytes.chunks_mut(HEADER_COPY_SIZE).zip([0, HEADER_COPY_SIZE as u64]) {
            let _ = read_at(file, copy, offset);
        }
        HEADER_SIZE
    });
    bytes.truncate(length);
    bytes
}

/// Fills `bytes` from `offset` on; fewer than asked for only at the end of the file.
pub(super) fn read_at(file: &impl FileExt, bytes: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Whether each copy in `bytes` is whole, or the file ends before it, or holds only zeros in its place.
fn was_never_written(bytes: &[u8], copies: &[Result<(), HeaderDamage>; 2]) -> bool {
    let (first, second) = bytes.split_at(bytes.len().min(HEADER_COPY_SIZE));
    let is_fine = |copy: &[u8], state: Result<(), HeaderDamage>| {
        state.is_ok() || copy.iter().all(|byte| *byte == 0)
    };
    is_fine(first, copies[0]) && is_fine(second, copies[1])
}

fn log_id_of_name(path: &Path) -> Option<LogId> {
    Some(format::parse_log_file_name(path.file_name()?.to_str()?)?.1)
}

/// The header that counts, and what is wrong with each copy. Of two whole copies that differ, the one
/// whose id stands in the file's name counts, or else the first.
fn choose_header(
    copies: [Result<Header, HeaderDamage>; 2],
    name_id: Option<LogId>,
) -> (Option<Header>, [Result<(), HeaderDamage>; 2]) {
    let mut states = [copies[0].as_ref().map(|_| ()), copies[1].as_ref().map(|_| ())]
        .map(|state| state.map_err(|damage| *damage));
    match copies {
        [Ok(first), Ok(second)] if first != second => {
            let second_counts = name_id.is_some_and(|id| first.log_id != id && second.log_id == id);
            states[usize::from(!second_counts)] = Err(HeaderDamage::Different);
            (Some(if second_counts { second } else { first }), states)
        }
        [Ok(header), _] | [_, Ok(header)] => (Some(header), states),
        [Err(_), Err(_)] => (None, states),
    }
}

/// The copy that is whole, but of a format that this code does not know.
fn unsupported(copies: &[Result<(), HeaderDamage>; 2]) -> Option<HeaderDamage> {
    copies
        .iter()
        .filter_map(|copy| copy.err())
        .find(|damage| matches!(damage, HeaderDamage::Version(_) | HeaderDamage::Incompatible(_)))
}

fn no_identity(path: PathBuf, copies: [Result<(), HeaderDamage>; 2]) -> Error {
    match (unsupported(&copies), copies) {
        (Some(damage), _) => Error::Unsupported { path, damage },
        (None, [Err(first), Err(second)]) => Error::NotALog { path, copies: [first, second] },
        (None, _) => unreachable!("a whole copy of the header has an id"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Record, log_file_name, place, seal, slot_bytes};
    use crate::reader::Digest;
    use byteorder::{ByteOrder as _, LittleEndian};
    use std::cell::Cell;
    use std::error::Error as _;

    const ID: LogId = [0xAB; 16];

    fn header() -> Header {
        Header { log_id: ID, pid: 7, ..Header::default() }
    }

    fn log_with(copies: [Vec<u8>; 2], rest: usize) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(log_file_name(7, &ID));
        std::fs::write(&path, [copies.concat(), vec![0; rest]].concat()).unwrap();
        (folder, path)
    }

    fn message(path: &Path) -> String {
        LogReader::open(path).unwrap_err().to_string()
    }

    #[test]
    fn either_copy_is_enough_and_the_name_is_the_last_resort() {
        let whole = header().to_bytes();
        let zeros = vec![0; HEADER_COPY_SIZE];
        for copies in [[whole.clone(), zeros.clone()], [zeros.clone(), whole]] {
            let (_folder, path) = log_with(copies, 70);
            let log = LogReader::open(&path).unwrap();
            assert_eq!(log.header(), Some(&header()));
            assert_eq!(log.header_copies().iter().filter(|copy| copy.is_err()).count(), 1);
            assert_eq!((log.size(), log.slot_count(), log.trailing_bytes()), (8262, 2, 6));
        }
        let (_folder, path) = log_with([zeros.clone(), zeros], 64);
        let log = LogReader::open(&path).unwrap();
        assert_eq!((log.header(), log.log_id(), log.pid()), (None, ID, Some(7)));
        assert!(log.header_was_never_written());
        assert_eq!(log.header_copies(), [Err(HeaderDamage::Magic); 2]);
    }

    fn is_whole(path: &Path) -> bool {
        let log = LogReader::open(path).unwrap();
        let mut digest = Digest::default();
        let counts = log.scan(0..u32::MAX, |number, slot| digest.add(number, &slot)).unwrap();
        digest.finish().is_whole(&log, &counts)
    }

    #[test]
    fn a_log_without_a_header_is_whole_only_before_the_first_record() {
        let zeros = || vec![0; HEADER_COPY_SIZE];
        let (_folder, path) = log_with([zeros(), zeros()], 64);
        assert!(is_whole(&path), "the process died before it could record");
        let record = Record::Resumed { time_ns: 1 };
        let slot = slot_bytes(seal(record.words(), place(&ID, 1)));
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&slot, (HEADER_SIZE + RECORD_SIZE) as u64).unwrap();
        assert!(!is_whole(&path), "it recorded, and its header is gone");
        let (_folder, path) = log_with([vec![1; HEADER_COPY_SIZE], zeros()], 64);
        assert!(!is_whole(&path), "no writer leaves such a copy");
    }

    #[test]
    fn two_equal_copies_are_both_whole() {
        let (_folder, path) = log_with([header().to_bytes(), header().to_bytes()], 0);
        assert_eq!(LogReader::open(&path).unwrap().header_copies(), [Ok(()); 2]);
    }

    #[test]
    fn of_two_different_headers_the_one_in_the_name_counts() {
        let other = Header { log_id: [1; 16], ..header() };
        let (_folder, path) = log_with([other.to_bytes(), header().to_bytes()], 0);
        let log = LogReader::open(&path).unwrap();
        assert_eq!(log.log_id(), ID);
        assert_eq!(log.header_copies(), [Err(HeaderDamage::Different), Ok(())]);
        for name_id in [Some(ID), Some([2; 16]), None] {
            let (first, second) = (Header { pid: 8, ..header() }, header());
            let (counts, states) = choose_header([Ok(first.clone()), Ok(second)], name_id);
            assert_eq!(counts, Some(first), "the name does not tell which");
            assert_eq!(states, [Ok(()), Err(HeaderDamage::Different)]);
        }
    }

    #[test]
    fn a_later_version_is_refused_even_if_the_name_is_right() {
        let mut copy = header().to_bytes();
        copy[8] = 2;
        let crc_at = HEADER_COPY_SIZE - 4;
        let crc = crc32fast::hash(&copy[..crc_at]);
        LittleEndian::write_u32(&mut copy[crc_at..], crc);
        let (_folder, path) = log_with([copy, vec![0; HEADER_COPY_SIZE]], 0);
        assert!(message(&path).contains("format version 2"), "{}", message(&path));
    }

    #[test]
    fn what_is_no_regular_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert!(message(&link).contains("a symbolic link"));
        assert!(message(folder.path()).contains("a directory"));
        assert!(message(Path::new("/dev/null")).contains("a device"));
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(message(&socket).contains("a socket"));
        assert!(message(&folder.path().join("nosuch")).contains("no such log"));
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "hello").unwrap();
        assert!(message(&plain).contains("this is not a log"));
        assert!(message(&plain.join("below")).contains("cannot be opened"));
    }

    #[test]
    fn what_the_system_said_is_the_source_of_an_error() {
        let error = LogReader::open("/nosuch").unwrap_err();
        let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
        assert_eq!(source.map(std::io::Error::kind), Some(std::io::ErrorKind::NotFound));
        assert!(
            LogReader::open("/dev/null").unwrap_err().source().is_none(),
            "the system said nothing"
        );
    }

    fn fifo_in(folder: &Path) -> PathBuf {
        let path = folder.join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success(), "mkfifo is part of every system");
        path
    }

    #[test]
    fn a_fifo_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        assert!(message(&fifo_in(folder.path())).contains("a FIFO"));
    }

    /// As if the path had become a link or a FIFO after it was asked for.
    #[test]
    fn a_link_is_not_followed_and_a_fifo_not_waited_for_when_they_are_opened() {
        let (folder, path) = log_with([header().to_bytes(), header().to_bytes()], 0);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(open_itself(&link).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        let fifo = open_itself(&fifo_in(folder.path())).unwrap();
        assert!(fifo.metadata().unwrap().file_type().is_fifo());
    }

    /// A file whose first read is interrupted by a signal. Each read gives one byte, and of a range none.
    struct Medium {
        bytes: Vec<u8>,
        lost: std::ops::Range<usize>,
        interrupted: Cell<bool>,
    }

    impl Medium {
        fn without(lost: std::ops::Range<usize>) -> Medium {
            let bytes = (0..=HEADER_SIZE).map(|at| (at % 251) as u8 + 1).collect();
            Medium { bytes, lost, interrupted: Cell::new(false) }
        }
    }

    impl FileExt for Medium {
        fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<usize> {
            let offset = offset as usize;
            if !self.interrupted.replace(true) {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            if self.lost.contains(&offset) {
                return Err(std::io::Error::from_raw_os_error(libc::EIO));
            }
            let Some(byte) = self.bytes.get(offset) else { return Ok(0) };
            bytes[0] = *byte;
            Ok(1)
        }

        fn write_at(&self, _: &[u8], _: u64) -> std::io::Result<usize> {
            unreachable!("nobody writes here")
        }
    }

    #[test]
    fn a_read_goes_on_after_a_signal_and_after_a_part() {
        let mut bytes = [0; 4];
        assert_eq!(read_at(&Medium::without(0..0), &mut bytes, 7).unwrap(), 4);
        assert_eq!(bytes, [8, 9, 10, 11]);
        let end = HEADER_SIZE as u64 - 2;
        assert_eq!(
            read_at(&Medium::without(0..0), &mut bytes, end).unwrap(),
            3,
            "the file has no more"
        );
    }

    #[test]
    fn a_copy_that_cannot_be_read_counts_as_zeros_and_hides_not_the_other() {
        let (first, second) = (0..HEADER_COPY_SIZE, HEADER_COPY_SIZE..HEADER_SIZE);
        for (lost, kept) in [(first.clone(), second.clone()), (second, first)] {
            let medium = Medium::without(lost.clone());
            let bytes = read_header_bytes(&medium);
            assert_eq!(bytes[lost], [0; HEADER_COPY_SIZE]);
            assert_eq!(bytes[kept.clone()], medium.bytes[kept]);
        }
    }

    #[test]
    fn an_empty_file_with_a_name_is_a_log_without_slots() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(log_file_name(7, &ID));
        std::fs::write(&path, "").unwrap();
        let log = LogReader::open(&path).unwrap();
        assert_eq!((log.slot_count(), log.trailing_bytes()), (0, 0));
        assert_eq!(log.header_copies(), [Err(HeaderDamage::Short); 2]);
    }

    #[test]
    fn a_file_larger_than_a_log_can_be_is_read_to_the_limit() {
        let (_folder, path) = log_with([header().to_bytes(), header().to_bytes()], 0);
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        let log = LogReader::open(&path).unwrap();
        assert_eq!(log.trailing_bytes(), (1 << 40) - LOG_BYTES_MAX);
        let counts = log.scan(0..log.slot_count(), |_, _| panic!("nothing is there")).unwrap();
        assert_eq!(counts.blank, u64::from(log.slot_count()));
    }
}
