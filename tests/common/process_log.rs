//! Logs of processes, told by names of files and contexts, with the format's own encoders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hitlog::format::{
    EndReason, HEADER_SIZE, Header, LogId, NAME_CHUNK_BYTES, NameChunk, NameSpace, RECORD_SIZE, Record,
    log_file_name, place, seal, slot_bytes,
};

/// 2026-11-20 10:15:02 UTC, when all these logs begin.
pub const WALL_START_NS: i64 = 1_795_169_702_000_000_000;

/// The monotonic clock at that time.
pub const MONOTONIC_START_NS: u64 = 5_000_000_000;

/// A log of the process `header.pid`, whose id follows from its pid.
#[derive(Clone, Debug)]
pub struct ProcessLog {
    pub header: Header,
    pub records: Vec<Record>,
    names: BTreeMap<(NameSpace, Vec<u8>), u32>,
}

#[allow(dead_code, reason = "not every test uses everything")]
impl ProcessLog {
    pub fn new(pid: u32) -> ProcessLog {
        let log_id = log_id(pid);
        let header = Header {
            log_id,
            first_log_id: log_id,
            pid,
            ppid: 1,
            process_start_ticks: u64::from(pid) * 10,
            // A boot that is over: the writer is dead, whatever runs on this machine.
            boot_id: [0x5B; 16],
            wall_start_ns: WALL_START_NS,
            monotonic_start_ns: MONOTONIC_START_NS,
            host: b"builder".to_vec(),
            argv: b"python\0-m\0pytest\0".to_vec(),
            ..Header::default()
        };
        ProcessLog { header, records: Vec::new(), names: BTreeMap::new() }
    }

    pub fn push(&mut self, record: Record) -> &mut ProcessLog {
        self.records.push(record);
        self
    }

    /// The id of `name`, whose chunks are written twice when it is used first.
    pub fn name(&mut self, space: NameSpace, name: impl AsRef<[u8]>) -> u32 {
        let name = name.as_ref();
        if let Some(id) = self.names.get(&(space, name.to_vec())) {
            return *id;
        }
        let id = 1 + self.names.keys().filter(|(of, _)| *of == space).count() as u32;
        self.names.insert((space, name.to_vec()), id);
        let mut chunks: Vec<&[u8]> = name.chunks(NAME_CHUNK_BYTES).collect();
        if name.is_empty() {
            chunks.push(name);
        }
        for (index, chunk) in chunks.iter().enumerate() {
            let last = index + 1 == chunks.len();
            let chunk = NameChunk::new(chunk);
            let record = Record::Name { space, id, index: index as u16, last, chunk };
            self.records.extend([record, record]);
        }
        id
    }

    pub fn file(&mut self, path: impl AsRef<[u8]>) -> u32 {
        self.name(NameSpace::File, path)
    }

    /// The empty name is context 0 and takes no record.
    pub fn context(&mut self, name: impl AsRef<[u8]>) -> u32 {
        if name.as_ref().is_empty() { 0 } else { self.name(NameSpace::Context, name) }
    }

    pub fn line(&mut self, context: &str, file: &str, line: u32) -> &mut ProcessLog {
        let (context, file) = (self.context(context), self.file(file));
        self.push(Record::Line { context, file, line })
    }

    pub fn arc(&mut self, context: &str, file: &str, from: i32, to: i32) -> &mut ProcessLog {
        let (context, file) = (self.context(context), self.file(file));
        self.push(Record::Arc { context, file, from, to })
    }

    /// Starts `context` `at_ns` after the log.
    pub fn start(&mut self, context: &str, at_ns: u64) -> &mut ProcessLog {
        let context = self.context(context);
        let time_ns = MONOTONIC_START_NS + at_ns;
        self.push(Record::ContextStart { context, thread: 0, time_ns, inherited: false })
    }

    /// Says that the process was started in `context`.
    pub fn inherit(&mut self, context: &str) -> &mut ProcessLog {
        let (context, thread, time_ns) = (self.context(context), u32::MAX, MONOTONIC_START_NS);
        self.push(Record::ContextStart { context, thread, time_ns, inherited: true })
    }

    pub fn stop(&mut self, context: &str, at_ns: u64) -> &mut ProcessLog {
        let context = self.context(context);
        let time_ns = MONOTONIC_START_NS + at_ns;
        self.push(Record::ContextStop { context, thread: 0, time_ns })
    }

    /// A clean end, a second after the start.
    pub fn end(&mut self, reason: EndReason, exit_code: Option<u16>) -> &mut ProcessLog {
        let time_ns = MONOTONIC_START_NS + 1_000_000_000;
        let records = self.records.len() as u64;
        self.push(Record::Trailer { reason, exit_code, time_ns, records, lost: 0 })
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.to_bytes().repeat(2);
        for (slot, record) in (0..).zip(&self.records) {
            bytes.extend(slot_bytes(seal(record.words(), place(&self.header.log_id, slot))));
        }
        bytes
    }

    pub fn file_name(&self) -> String {
        log_file_name(self.header.pid, &self.header.log_id)
    }

    /// Writes the log into `run` and returns its path.
    pub fn write(&self, run: &Path) -> PathBuf {
        write(&run.join(self.file_name()), &self.bytes())
    }
}

pub fn log_id(pid: u32) -> LogId {
    let mut id = [0xA5; 16];
    id[..4].copy_from_slice(&pid.to_le_bytes());
    id
}

pub fn write(path: &Path, bytes: &[u8]) -> PathBuf {
    std::fs::write(path, bytes).expect("the log can be written");
    path.to_path_buf()
}

/// Flips a bit of slot `slot`.
#[allow(dead_code, reason = "not every test uses everything")]
pub fn flip(bytes: &mut [u8], slot: usize) {
    bytes[HEADER_SIZE + slot * RECORD_SIZE + 9] ^= 4;
}
