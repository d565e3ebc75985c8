//! Any bytes as a log: the reader ends, its counts add up, and nothing panics.
//!
//! The first byte chooses: the rest is the file as it is, or it is a list of records whose places and
//! checksums are made right, so that what they say reaches the code behind the checksum.

use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hitlog::format::{Header, LogId, Words, place, seal, slot_bytes};
use hitlog::reader::{Digest, LogReader};

const LOG_ID: LogId = [7; 16];

/// A file that has a log's name, until its thread ends.
struct LogFile {
    file: File,
    path: PathBuf,
}

impl LogFile {
    fn new() -> LogFile {
        let name = hitlog::format::log_file_name(std::process::id(), &LOG_ID);
        let path = std::env::temp_dir().join(name);
        LogFile { file: File::create(&path).expect("a temporary file"), path }
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

thread_local! {
    static LOG: RefCell<Option<LogFile>> = const { RefCell::new(None) };
}

/// Puts `bytes` into a file that has a log's name; every run reuses it.
fn with_log(bytes: &[u8], work: impl FnOnce(&Path)) {
    LOG.with_borrow_mut(|log| {
        let log = log.get_or_insert_with(LogFile::new);
        log.file.set_len(0).expect("cut");
        log.file.write_all_at(bytes, 0).expect("written");
        work(&log.path);
    });
}

/// A log whose records have the content of `bytes`, 24 for each, and are valid but for that content.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let header = Header { log_id: LOG_ID, ..Header::default() }.to_bytes();
    let mut log = header.repeat(2);
    for (slot, content) in bytes.chunks_exact(24).enumerate() {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|index| content[at + index]));
        let pair = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let words = Words { head: word(0), payload: [pair(4), pair(12)], payload_last: word(20) };
        log.extend(slot_bytes(seal(words, place(&LOG_ID, slot as u32))));
    }
    log
}

/// Reads the log that `input` describes.
pub fn run(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    let log = if choice % 2 == 0 { bytes.to_vec() } else { sealed(bytes) };
    with_log(&log, |path| {
        let Ok(log) = LogReader::open(path) else { return };
        let mut digest = Digest::default();
        let counts =
            log.scan(0..log.slot_count(), |number, slot| digest.add(number, &slot)).expect("read");
        let sum = counts.valid + counts.blank + counts.damaged + counts.foreign;
        assert_eq!(sum, counts.slots);
        assert_eq!(counts.slots, u64::from(log.slot_count()));
        let mut of_runs = Digest::default();
        assert_eq!(log.scan_with(0..log.slot_count(), &mut of_runs).expect("read"), counts);
        assert_eq!(format!("{:?}", of_runs.finish()), format!("{:?}", digest.finish()));
    });
}
