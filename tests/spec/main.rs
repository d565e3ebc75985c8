//! `format-spec.md` against the code: every number in its tables, every byte in its examples, and the six
//! whole files. Whoever changes one of the two alone breaks a test here.
#![cfg(feature = "cli")]

mod document;
mod examples;
mod layout;
mod records;

use hitlog::cli::dump;
use hitlog::format::{Header, RECORD_SIZE, kind, log_file_name};

const LOG_ID: [u8; 16] =
    [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF];

/// The lines of `hitlog dump --json` for a log with these bytes.
fn dump_json(bytes: &[u8]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(log_file_name(4711, &LOG_ID));
    std::fs::write(&path, bytes).unwrap();
    let arguments = dump::Arguments { json: true, logs: vec![path] };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dump::run(&arguments, &mut out, &mut err).unwrap();
    assert_eq!((code, String::from_utf8(err).unwrap()), (0, String::new()));
    String::from_utf8(out).unwrap().lines().map(String::from).collect()
}

fn two_copies() -> Vec<u8> {
    Header { log_id: LOG_ID, ..Header::default() }.to_bytes().repeat(2)
}

fn with_crc(mut slot: [u8; RECORD_SIZE]) -> [u8; RECORD_SIZE] {
    let crc = crc32fast::hash(&slot[..28]);
    slot[28..].copy_from_slice(&crc.to_le_bytes());
    slot
}

/// The kinds that the document names, in its order.
const KINDS: [(&str, u8); 13] = [
    ("blank", kind::BLANK),
    ("line", kind::LINE),
    ("arc", kind::ARC),
    ("file_name", kind::FILE_NAME),
    ("context_name", kind::CONTEXT_NAME),
    ("trailer", kind::TRAILER),
    ("resumed", kind::RESUMED),
    ("loss", kind::LOSS),
    ("file_facts", kind::FILE_FACTS),
    ("context_start", kind::CONTEXT_START),
    ("context_stop", kind::CONTEXT_STOP),
    ("sample_name", kind::SAMPLE_NAME),
    ("sample", kind::SAMPLE),
];
