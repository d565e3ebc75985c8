//! Remembers what ran: the table `hitlog_source`, by which a file answers for its lines when the tree has
//! moved on.
//!
//! A file whose size and modification time are still those of the recording is kept, compressed. All else is
//! marked and never stops a compaction: a file that changed meanwhile, is gone, cannot be read or is none.
//! Of a large file only the hash is kept, which still tells whether it changed.

use super::logs::FileState;
use super::names::Texts;
use crate::hash::{hex, sha256};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use rayon::prelude::*;
use rusqlite::{Connection, Result, params};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Largest source that is kept, in bytes. What is larger was made by a machine.
const KEPT_BYTES_MAX: u64 = 4 << 20;

/// Largest file of which a hash is taken, in bytes: a second's work.
const HASHED_BYTES_MAX: u64 = 256 << 20;

/// Files that are worked off at once, so that memory is bounded whatever their number.
const BATCH_FILES: usize = 256;

/// What is kept of a file.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    state: &'static str,
    sha256: Option<String>,
    /// Compressed by zlib.
    source: Option<Vec<u8>>,
}

impl Kept {
    fn nothing(state: &'static str) -> Kept {
        Kept { state, sha256: None, source: None }
    }
}

/// Writes a row for each of the files `paths`, whose ids count from 1, of which the recording has a state.
/// `None` as the state is that of a file that changed while it was recorded.
pub(super) fn write(
    connection: &Connection,
    paths: &Texts,
    states: &BTreeMap<u32, Option<FileState>>,
) -> Result<()> {
    let mut statement = connection.prepare("insert into hitlog_source values (?,?,?,?)")?;
    let states: Vec<_> = states.iter().collect();
    for batch in states.chunks(BATCH_FILES) {
        let keep = |(file, state): &(&u32, &Option<FileState>)| match state {
            Some(state) => keep(Path::new(&paths[**file as usize - 1]), *state),
            None => Kept::nothing("changed"),
        };
        let kept: Vec<Kept> = batch.par_iter().map(keep).collect();
        for ((file, _), kept) in batch.iter().zip(kept) {
            statement.execute(params![file, kept.state, kept.sha256, kept.source])?;
        }
    }
    Ok(())
}

/// What is kept of the file `path`, which was as `state` says when it ran.
fn keep(path: &Path, state: FileState) -> Kept {
    match read(path, state) {
        Ok(kept) => kept,
        Err(error) if is_absence(&error) => Kept::nothing("missing"),
        Err(_) => Kept::nothing("unreadable"),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn read(path: &Path, state: FileState) -> io::Result<Kept> {
    // A FIFO in the place of a file would keep us waiting for ever.
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > HASHED_BYTES_MAX {
        return Ok(Kept::nothing("unreadable"));
    }
    if !is_as_recorded(&metadata, state) {
        return Ok(Kept::nothing("changed"));
    }
    let kept = if state.size > KEPT_BYTES_MAX { hash(&mut file)? } else { compress(&mut file)? };
    let is_unchanged = is_as_recorded(&file.metadata()?, state);
    Ok(if is_unchanged { kept } else { Kept::nothing("changed") })
}

fn is_as_recorded(metadata: &Metadata, state: FileState) -> bool {
    let mtime_ns = metadata.mtime().checked_mul(1_000_000_000);
    let mtime_ns = mtime_ns.and_then(|ns| ns.checked_add(metadata.mtime_nsec()));
    metadata.len() == state.size && mtime_ns == Some(state.mtime_ns)
}

fn hash(file: &mut File) -> io::Result<Kept> {
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 18];
    loop {
        match file.read(&mut block)? {
            0 => break,
            length => hasher.update(&block[..length]),
        }
    }
    Ok(Kept { state: "large", sha256: Some(hex(&hasher.finalize())), source: None })
}

fn compress(file: &mut File) -> io::Result<Kept> {
    let mut bytes = Vec::new();
    file.take(KEPT_BYTES_MAX).read_to_end(&mut bytes)?;
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&bytes)?;
    Ok(Kept { state: "kept", sha256: Some(sha256(&bytes)), source: Some(encoder.finish()?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::ZlibDecoder;
    use std::fs;

    fn state_of(path: &Path) -> FileState {
        let metadata = fs::metadata(path).unwrap();
        let mtime_ns = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
        FileState { mtime_ns, size: metadata.len() }
    }

    #[test]
    fn an_unchanged_file_is_kept_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.py");
        fs::write(&path, b"x = '\xff'\r\n").unwrap();
        let kept = keep(&path, state_of(&path));
        assert_eq!((kept.state, kept.sha256), ("kept", Some(sha256(b"x = '\xff'\r\n"))));
        let mut source = Vec::new();
        ZlibDecoder::new(&kept.source.unwrap()[..]).read_to_end(&mut source).unwrap();
        assert_eq!(source, b"x = '\xff'\r\n");
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
    }

    #[test]
    fn of_a_large_file_the_hash_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.py");
        let bytes = vec![b'#'; KEPT_BYTES_MAX as usize + 1];
        fs::write(&path, &bytes).unwrap();
        let expected = Kept { state: "large", sha256: Some(sha256(&bytes)), source: None };
        assert_eq!(keep(&path, state_of(&path)), expected);
    }

    #[test]
    fn what_cannot_be_kept_is_marked() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.py"), "one").unwrap();
        let before = state_of(&at("a.py"));
        fs::write(at("a.py"), "longer").unwrap();
        assert_eq!(keep(&at("a.py"), before), Kept::nothing("changed"));
        assert_eq!(keep(&at("none.py"), before), Kept::nothing("missing"));
        assert_eq!(keep(&at("a.py/none.py"), before), Kept::nothing("missing"));
        assert_eq!(keep(folder.path(), before), Kept::nothing("unreadable"));
        let fifo = std::ffi::CString::new(at("fifo").to_str().unwrap()).unwrap();
        assert!(
            std::process::Command::new("mkfifo")
                .arg(fifo.to_str().unwrap())
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(keep(&at("fifo"), before), Kept::nothing("unreadable"));
    }
}
