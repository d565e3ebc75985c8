//! One log, opened for reading: which log it is, who wrote it, how many slots it has.

use super::{Error, liveness};
use crate::format::{
    self, HEADER_COPY_SIZE, HEADER_SIZE, Header, HeaderDamage, LogId, RECORD_SIZE, parse_header_copy,
};
use crate::limits::LOG_BYTES_MAX;
use std::fs::{File, FileType, OpenOptions};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
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

/// Opens `path` without following a link and without waiting for a FIFO's other end.
fn open_regular(path: &Path) -> Result<File, Error> {
    let refuse = |found| Error::NotRegular { path: path.to_path_buf(), found };
    // Asked before it is opened, because opening a device can have effects; and again afterwards,
    // because the path can have become another file in between.
    let before = std::fs::symlink_metadata(path).map_err(|source| open_error(path, source))?;
    if let Some(found) = not_regular(before.file_type()) {
        return Err(refuse(found));
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|source| open_error(path, source))?;
    let after = file.metadata().map_err(|source| open_error(path, source))?;
    match not_regular(after.file_type()) {
        Some(found) => Err(refuse(found)),
        None => Ok(file),
    }
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

/// The bytes of both copies, as far as the file has them and they can be read.
fn read_header_bytes(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_SIZE];
    let mut length = 0;
    while length < HEADER_SIZE {
        match file.read_at(&mut bytes[length..], length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // A bad sector in the first copy must not hide the second one: its bytes count as zeros.
            Err(_) if length < HEADER_COPY_SIZE => length = HEADER_COPY_SIZE,
            Err(_) => break,
        }
    }
    bytes.truncate(length);
    bytes
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
            assert_eq!((log.slot_count(), log.trailing_bytes()), (2, 6));
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
        assert!(message(&folder.path().join("nosuch")).contains("no such log"));
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "hello").unwrap();
        assert!(message(&plain).contains("this is not a log"));
        assert!(message(&plain.join("below")).contains("cannot be opened"));
    }

    #[test]
    fn a_fifo_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success(), "mkfifo is part of every system");
        assert!(message(&path).contains("a FIFO"));
    }

    #[test]
    fn of_copies_that_cannot_be_read_the_first_counts_as_zeros() {
        let (_folder, path) = log_with([header().to_bytes(), header().to_bytes()], 0);
        let file = File::options().write(true).open(&path).unwrap();
        assert!(file.read_at(&mut [0], 0).is_err());
        assert_eq!(read_header_bytes(&file), [0; HEADER_COPY_SIZE], "the second one ends it");
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
