//! Builds logs record by record, out of nothing but the format's encoders.
#![allow(dead_code)] // each test uses a part

use hitlog::format::{
    EndReason, HEADER_SIZE, Header, LogId, NAME_CHUNK_BYTES, NameChunk, NameSpace, RECORD_SIZE, Record,
    log_file_name, place, seal,
};

/// The bytes of a slot.
pub type SlotBytes = [u8; RECORD_SIZE];

/// A slot with `record` in place `slot` of log `log_id`.
pub fn slot_bytes(record: Record, log_id: &LogId, slot: u32) -> SlotBytes {
    let mut bytes = [0; RECORD_SIZE];
    for (index, word) in seal(record.words(), place(log_id, slot)).into_iter().enumerate() {
        bytes[8 * index..][..8].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The records that make the name `text`.
pub fn name_records(space: NameSpace, id: u32, text: &[u8]) -> Vec<Record> {
    let count = text.len().div_ceil(NAME_CHUNK_BYTES).max(1);
    let chunk = |index: usize| {
        let rest = &text[index * NAME_CHUNK_BYTES..];
        let chunk = NameChunk::new(&rest[..rest.len().min(NAME_CHUNK_BYTES)]);
        Record::Name { space, id, index: index as u16, last: index + 1 == count, chunk }
    };
    (0..count).map(chunk).collect()
}

/// A log in memory.
pub struct LogBuilder {
    pub header: Header,
    pub slots: Vec<SlotBytes>,
}

impl LogBuilder {
    pub fn new(log_id: LogId) -> LogBuilder {
        let header = Header {
            log_id,
            first_log_id: log_id,
            pid: 4711,
            ppid: 4700,
            // A boot that is over: the writer is dead, whatever runs on this machine.
            boot_id: [0x5B; 16],
            monotonic_start_ns: 1_000,
            run_id: b"20261120-101502-7f3a".to_vec(),
            host: b"buildhost".to_vec(),
            argv: b"python\0-m\0pytest\0".to_vec(),
            ..Header::default()
        };
        LogBuilder { header, slots: Vec::new() }
    }

    /// Appends `record` in the next slot.
    pub fn push(&mut self, record: Record) {
        let number = self.slots.len() as u32;
        self.slots.push(slot_bytes(record, &self.header.log_id, number));
    }

    pub fn push_all(&mut self, records: &[Record]) {
        records.iter().for_each(|record| self.push(*record));
    }

    /// The whole file.
    pub fn bytes(&self) -> Vec<u8> {
        [self.header.to_bytes().repeat(2), self.slots.concat()].concat()
    }

    pub fn file_name(&self) -> String {
        log_file_name(self.header.pid, &self.header.log_id)
    }
}

/// How many slots [`whole_log`] has; all of them are valid.
pub const WHOLE_LOG_SLOTS: usize = 64;

/// A log of 64 records with one of each kind: names and facts at its front and again at its back, a
/// trailer twice.
pub fn whole_log(log_id: LogId) -> LogBuilder {
    let mut names = Vec::new();
    names.extend(name_records(NameSpace::File, 1, b"/home/ann/shop/src/shop/cart.py"));
    names.extend(name_records(NameSpace::File, 2, "/home/ann/süß.py".as_bytes()));
    names.extend(name_records(NameSpace::Context, 1, b"tests/test_cart.py::test_discount|run"));
    names.extend(name_records(NameSpace::Context, 2, b"sixteen bytes..."));
    names.extend(name_records(NameSpace::Sample, 1, b"rss_bytes"));
    names.push(Record::FileFacts { file: 1, size: 3182, mtime_ns: 1_795_160_000_000_000_000 });
    names.push(Record::FileFacts { file: 2, size: 0, mtime_ns: -1 });
    let mut log = LogBuilder::new(log_id);
    log.push_all(&names);
    log.push(Record::ContextStart { context: 1, thread: 0, time_ns: 2_000, inherited: true });
    log.push(Record::Sample { name: 1, context: 1, time_ns: 2_100, value: 48_123_904 });
    log.push(Record::ContextStop { context: 1, thread: 0, time_ns: 3_000 });
    log.push(Record::ContextStart { context: 2, thread: 0, time_ns: 3_000, inherited: false });
    log.push(Record::Unknown { kind: 0xF7 });
    log.push(Record::Resumed { time_ns: 3_500 });
    log.push(Record::Loss { lost: 0, errno: 28, time_ns: 3_600 });
    log.push(Record::Arc { context: 2, file: 1, from: -1, to: 1 });
    for line in 1.. {
        if log.slots.len() == WHOLE_LOG_SLOTS - names.len() - 2 {
            break;
        }
        log.push(Record::Line { context: 2, file: 1 + line % 2, line });
    }
    log.push_all(&names);
    for _ in 0..2 {
        let records = WHOLE_LOG_SLOTS as u64 - 2;
        let (reason, exit_code) = (EndReason::Closed, Some(1));
        log.push(Record::Trailer { reason, exit_code, time_ns: 9_000, records, lost: 0 });
    }
    assert_eq!(log.slots.len(), WHOLE_LOG_SLOTS);
    log
}

/// Offset of `slot` in the file, in bytes.
pub fn offset_of(slot: usize) -> usize {
    HEADER_SIZE + slot * RECORD_SIZE
}
