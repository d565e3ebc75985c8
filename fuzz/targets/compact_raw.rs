//! Any logs, compacted: what comes out is a sound database that holds no more than was read, and nothing
//! outside of the output's folder is touched.
//!
//! The input is a list of logs, each with two bytes of length before it. The first byte of each chooses
//! whether the rest is the file as it is, or records whose places and checksums are made right.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hitlog::compactor::{Error, Options, compact};
use hitlog::format::{Header, LogId, Words, log_file_name, place, seal, slot_bytes};

/// How many logs one input may hold.
const LOGS_MAX: usize = 4;

/// Compacts the logs that `input` describes.
pub fn run(input: &[u8]) {
    let folder = Folder::new();
    let (logs, output) = (folder.0.join("run"), folder.0.join("out"));
    for path in [&logs, &output] {
        fs::create_dir_all(path).expect("a folder");
    }
    for (number, log) in split(input).into_iter().enumerate() {
        let log_id = [number as u8 + 1; 16];
        fs::write(logs.join(log_file_name(7, &log_id)), bytes_of(log, log_id)).expect("a log");
    }
    let before = contents(&logs);
    let options = Options { threads: Some(1), ..Options::new(output.join("hitlog.db")) };
    match compact(std::slice::from_ref(&logs), &options, &()) {
        Ok(report) => {
            check(&options.output, report.lines, report.arcs);
            assert_eq!(fs::read_dir(&output).expect("listed").count(), 1, "nothing beside the output");
        }
        Err(Error::NotARun { .. } | Error::NothingRecorded { .. }) => {
            assert_eq!(fs::read_dir(&output).expect("listed").count(), 0, "nothing is left");
        }
        Err(error) => panic!("{error}"),
    }
    assert_eq!(contents(&logs), before, "no log is changed");
    assert_eq!(
        fs::read_dir(&folder.0).expect("listed").count(),
        2,
        "nothing outside of the output's folder"
    );
}

/// A folder in memory where there is one: a compaction syncs what it writes.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = base.join(format!("hitlog-fuzz-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a folder of our own");
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn split(mut input: &[u8]) -> Vec<&[u8]> {
    let mut logs = Vec::new();
    while let ([low, high, rest @ ..], true) = (input, logs.len() < LOGS_MAX) {
        let (log, rest) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
        logs.push(log);
        input = rest;
    }
    logs
}

/// A log whose records have the content of `input`, 24 bytes for each, and are valid but for that content; or
/// `input` itself.
fn bytes_of(input: &[u8], log_id: LogId) -> Vec<u8> {
    let Some((choice, bytes)) = input.split_first() else { return Vec::new() };
    if choice % 4 == 0 {
        return bytes.to_vec();
    }
    let header = Header { log_id, first_log_id: log_id, boot_id: [0x5B; 16], ..Header::default() };
    let mut log = header.to_bytes().repeat(2);
    for (slot, content) in bytes.chunks_exact(24).enumerate() {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|index| content[at + index]));
        let pair = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let words = Words { head: word(0), payload: [pair(4), pair(12)], payload_last: word(20) };
        log.extend(slot_bytes(seal(words, place(&log_id, slot as u32))));
    }
    log
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("listed").map(|entry| entry.expect("an entry").path());
    entries.map(|path| (path.clone(), fs::read(path).expect("a log"))).collect()
}

/// SQLite finds nothing wrong, and coverage.py's tables are there.
fn check(output: &Path, lines: u64, arcs: u64) {
    let database = rusqlite::Connection::open(output).expect("a database");
    let one = |sql: &str| database.query_row(sql, [], |row| row.get::<_, String>(0)).expect(sql);
    assert_eq!(one("pragma integrity_check"), "ok");
    assert_eq!(one("select version || '' from coverage_schema"), "7");
    let found = one("select count(distinct path || char(0) || line) || '' from hitlog_line");
    assert!(found.parse::<u64>().expect("a number") >= lines.min(1), "{lines} lines, {arcs} arcs");
}
