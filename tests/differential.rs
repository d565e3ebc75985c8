//! Two readers in two languages print the same bytes: `hitlog dump --json` and `tools/spec_reader.py`,
//! which was written from `format-spec.md` alone. Random logs, most of them damaged.
//!
//! `HITLOG_DIFFERENTIAL_LOGS=20000` sets how many - fewer than that by themselves, since two milliseconds
//! for each are most of a minute; `HITLOG_SEED=...` repeats a run, whose seed every failure names.
#![cfg(all(feature = "cli", feature = "recorder"))]
#![allow(clippy::print_stdout, clippy::print_stderr)] // the seed, and why a test was skipped

mod log_builder;
#[path = "common/random.rs"]
mod random;

use hitlog::cli::dump;
use hitlog::format::{
    EndReason, HEADER_COPY_SIZE, HEADER_SIZE, Header, NameChunk, NameSpace, RECORD_SIZE, Record,
    log_file_name,
};
use hitlog::limits::{LINE_MAX, NAME_ID_MAX};
use log_builder::{LogBuilder, SlotBytes, name_records, slot_bytes, whole_log};
use random::{Random, setting};
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;

fn random_record(random: &mut Random) -> Record {
    let context = random.number(NAME_ID_MAX.into()) as u32;
    let file = random.number(NAME_ID_MAX.into()) as u32;
    let thread = random.number(3) as u32;
    let time_ns = random.number(u64::MAX);
    let line = |random: &mut Random| {
        let line = random.number(LINE_MAX.into()) as i32;
        if random.one_in(2) { line } else { line.wrapping_neg() }
    };
    match random.below(14) {
        0 | 1 => Record::Line { context, file, line: random.number(LINE_MAX.into()) as u32 },
        2 => Record::Arc { context, file, from: line(random), to: line(random) },
        3 => random_chunk(random),
        4 => Record::FileFacts { file, size: random.next(), mtime_ns: random.next() as i64 },
        5 | 6 => {
            let inherited = random.one_in(3);
            Record::ContextStart { context, thread, time_ns, inherited }
        }
        7 | 8 => Record::ContextStop { context, thread, time_ns },
        9 => {
            let name = random.number(0xFFFF) as u16;
            Record::Sample { name, context, time_ns, value: random.next() }
        }
        10 => Record::Trailer {
            reason: random.of(&[EndReason::Closed, EndReason::Continued, EndReason::Exec]),
            exit_code: random.one_in(2).then_some(random.number(0xFFFF) as u16),
            time_ns,
            records: random.number(30),
            lost: if random.one_in(2) { 0 } else { random.number(u32::MAX.into()) as u32 },
        },
        11 => Record::Resumed { time_ns },
        12 => Record::Loss { lost: random.number(3), errno: random.number(0xFFFF) as u16, time_ns },
        _ => Record::Unknown { kind: random.next() as u8 },
    }
}

fn random_chunk(random: &mut Random) -> Record {
    let space = random.of(&[NameSpace::File, NameSpace::Context, NameSpace::Sample]);
    let length = random.below(17);
    let text = random.bytes(length);
    let index = random.number(4095) as u16;
    let id = random.number(0xFFFF) as u32;
    Record::Name { space, id, index, last: random.one_in(2), chunk: NameChunk::new(&text) }
}

/// A log with random records, names among them, in random slots.
fn random_log(random: &mut Random, process: &Process) -> LogBuilder {
    let log_id: [u8; 16] = random.bytes(16).try_into().unwrap();
    if random.one_in(5) {
        return whole_log(log_id);
    }
    let mut log = LogBuilder::new(log_id);
    log.header = random_header(random, process, log.header);
    let count = random.of(&[0, 1, 5, 60, 200]);
    while log.slots.len() < count {
        match random.below(8) {
            0 => log.slots.push([0; RECORD_SIZE]),
            1 | 2 => {
                let space = random.of(&[NameSpace::File, NameSpace::Context, NameSpace::Sample]);
                let id = 1 + random.below(5) as u32;
                let text = random.text();
                log.push_all(&name_records(space, id, &text));
            }
            3 => {
                // A record with bits set that no table lists, and fields that no enum allows.
                let mut slot = slot_bytes(random_record(random), &log_id, log.slots.len() as u32);
                let at = random.of(&[0, 1, 2, 3, 8, 12, 27]);
                slot[at] = random.next() as u8;
                log.slots.push(with_crc(slot));
            }
            _ => log.push(random_record(random)),
        }
    }
    log
}

fn with_crc(mut slot: SlotBytes) -> SlotBytes {
    let crc = crc32fast::hash(&slot[..28]);
    slot[28..].copy_from_slice(&crc.to_le_bytes());
    slot
}

/// Who runs this test: a header that names it is that of a living writer, if the log is locked.
struct Process {
    boot_id: [u8; 16],
    pid_namespace: u64,
    start_ticks: u64,
}

impl Process {
    fn own() -> Option<Process> {
        use std::os::unix::fs::MetadataExt as _;
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let boot_id = u128::from_str_radix(&boot_id.trim().replace('-', ""), 16).ok()?.to_be_bytes();
        let pid_namespace = std::fs::metadata("/proc/self/ns/pid").ok()?.ino();
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let fields = stat.rsplit_once(')')?.1;
        let start_ticks = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some(Process { boot_id, pid_namespace, start_ticks })
    }
}

fn random_header(random: &mut Random, process: &Process, header: Header) -> Header {
    let mut header = Header {
        parent_log_id: if random.one_in(2) { [0; 16] } else { [9; 16] },
        segment: random.number(u32::MAX.into()) as u32,
        wall_start_ns: random.next() as i64,
        monotonic_start_ns: random.next(),
        run_id: random.text(),
        host: random.text(),
        argv: random.text(),
        argv_cut: random.one_in(4),
        ..header
    };
    if random.one_in(2) {
        header.pid = std::process::id();
        header.boot_id = random.of(&[process.boot_id, process.boot_id, [0; 16]]);
        header.pid_namespace = random.of(&[process.pid_namespace, process.pid_namespace, 0, 1]);
        header.process_start_ticks = random.of(&[process.start_ticks, process.start_ticks, 0, 1]);
    }
    if random.one_in(3) {
        header.argv = (0..random.below(5)).flat_map(|_| [&random.text()[..], b"\0"].concat()).collect();
    }
    header
}

/// Does one thing to `bytes`, the file of a log, that a disk, a kernel or a person might do.
fn damage(random: &mut Random, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    let slots = bytes.len().saturating_sub(HEADER_SIZE) / RECORD_SIZE;
    let slot = |random: &mut Random| HEADER_SIZE + RECORD_SIZE * random.below(slots);
    match random.below(10) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 if bytes.len() > HEADER_SIZE => {
            bytes.truncate(HEADER_SIZE + random.below(slots * RECORD_SIZE + 1))
        }
        2 => {
            let length = random.below(100);
            bytes.extend(random.bytes(length));
        }
        3 if bytes.len() >= HEADER_SIZE => damage_header(random, bytes, others),
        4 | 5 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        6 if slots > 1 => {
            let (from, to) = (slot(random), slot(random));
            let moved = bytes[from..][..RECORD_SIZE].to_vec();
            let replaced = bytes[to..][..RECORD_SIZE].to_vec();
            bytes[to..][..RECORD_SIZE].copy_from_slice(&moved);
            if random.one_in(2) {
                bytes[from..][..RECORD_SIZE].copy_from_slice(&replaced);
            }
        }
        7 if slots > 0 => {
            let at = slot(random);
            let from = random.of(&[0, 8, 24, 28]);
            bytes[at + from..at + RECORD_SIZE].fill(random.of(&[0, 0, 0xFF]));
        }
        8 if slots > 0 && !others.is_empty() => {
            let at = slot(random);
            let other = &others[random.below(others.len())];
            if let Some(theirs) = other.get(at..at + RECORD_SIZE) {
                bytes[at..at + RECORD_SIZE].copy_from_slice(theirs);
            }
        }
        9 if slots > 0 => {
            let at = slot(random);
            let end = bytes.len().min(at + random.below(2000));
            bytes[at..end].fill(0);
        }
        _ => {}
    }
}

fn damage_header(random: &mut Random, bytes: &mut [u8], others: &[Vec<u8>]) {
    let at = random.of(&[0, HEADER_COPY_SIZE]);
    let copy = &mut bytes[at..at + HEADER_COPY_SIZE];
    match random.below(4) {
        0 => copy.fill(0),
        1 => copy[random.below(HEADER_COPY_SIZE)] ^= 1,
        2 if !others.is_empty() => {
            let other = &others[random.below(others.len())];
            if other.len() >= HEADER_COPY_SIZE {
                copy.copy_from_slice(&other[..HEADER_COPY_SIZE]);
            }
        }
        _ => {
            // Another version, other flags, other sizes, under a right checksum.
            copy[8 + random.below(16)] = random.of(&[0, 1, 2, 32, 255]);
            let crc = crc32fast::hash(&copy[..HEADER_COPY_SIZE - 4]);
            copy[HEADER_COPY_SIZE - 4..].copy_from_slice(&crc.to_le_bytes());
        }
    }
}

/// Writes `count` random logs and returns their paths, and the files to be kept open: they hold locks.
fn random_logs(random: &mut Random, count: usize, folder: &Path) -> (Vec<PathBuf>, Vec<File>) {
    let process = Process::own().expect("/proc is there on every Linux system");
    let (mut paths, mut locked, mut others) = (Vec::new(), Vec::new(), Vec::<Vec<u8>>::new());
    for index in 0..count {
        let log = random_log(random, &process);
        let mut bytes = log.bytes();
        for _ in 0..random.of(&[0, 0, 1, 1, 2, 3, 10]) {
            damage(random, &mut bytes, &others);
        }
        let name = match random.below(10) {
            0 => format!("{index}.hitlog"),
            1 => log_file_name(1, &[7; 16]),
            _ => log.file_name(),
        };
        let path = folder.join(index.to_string()).join(name);
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        // The reader in Python takes long for a log of blank slots.
        if random.one_in(40) {
            file.set_len(bytes.len() as u64 + random.next() % (4 << 20)).unwrap();
        }
        if random.one_in(4) {
            file.lock().unwrap();
            locked.push(file);
        }
        paths.push(path);
        others.truncate(20);
        others.insert(0, bytes);
    }
    (paths, locked)
}

/// What one reader printed: the exit code, and its lines, divided by logs.
struct Printed {
    code: u8,
    logs: Vec<Vec<String>>,
    errors: usize,
}

fn printed(code: u8, out: Vec<u8>, err: Vec<u8>) -> Printed {
    let mut logs = Vec::<Vec<String>>::new();
    for line in String::from_utf8(out).unwrap().lines() {
        if line.starts_with("{\"log\":") {
            logs.push(Vec::new());
        }
        logs.last_mut().unwrap().push(line.to_string());
    }
    Printed { code, logs, errors: String::from_utf8(err).unwrap().lines().count() }
}

fn dump_of(paths: &[PathBuf]) -> Printed {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = dump::Arguments { json: true, logs: paths.to_vec() };
    let code = dump::run(&arguments, &mut out, &mut err).unwrap();
    printed(code, out, err)
}

fn spec_reader_of(paths: &[PathBuf]) -> Printed {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/spec_reader.py");
    let output = Command::new("python3").arg(script).args(paths).output().unwrap();
    let code = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
    assert!(code == 0 || code == 2, "{}", String::from_utf8_lossy(&output.stderr));
    printed(code, output.stdout, output.stderr)
}

fn is_python_there() -> bool {
    let version = "import sys; sys.exit(sys.version_info < (3, 9))";
    Command::new("python3").args(["-c", version]).status().is_ok_and(|status| status.success())
}

/// A run directory with what two threads recorded: one log with a trailer, or without.
fn recorded(folder: &Path, is_ended: bool) -> PathBuf {
    let recorder = hitlog::Recorder::open(folder).unwrap();
    let record = |name: &str| {
        let _context = recorder.context(name);
        let file = recorder.file(format!("src/{name}.rs"));
        (1..3000).for_each(|line| recorder.line(file, line));
        recorder.arc(file, -1, 7);
        recorder.sample("lines", 2999);
    };
    recorder.switch_context("whole run");
    std::thread::scope(|scope| {
        scope.spawn(|| record("a context with a name longer than one record"));
        record("b");
    });
    if is_ended {
        recorder.end(EndReason::Closed, Some(0));
    }
    let entry = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    // A copy: this process has the log itself locked, and is alive.
    let copy = folder.join(entry.file_name()).with_extension("copy");
    std::fs::copy(entry.path(), &copy).unwrap();
    copy
}

#[test]
fn two_readers_agree_on_what_the_recorder_writes() {
    if !is_python_there() {
        eprintln!("skipped: there is no python3 of version 3.9 or later here");
        return;
    }
    for (is_ended, state) in [(true, "clean"), (false, "cut")] {
        let folder = tempfile::tempdir().unwrap();
        let paths = [recorded(folder.path(), is_ended)];
        let (ours, theirs) = (dump_of(&paths), spec_reader_of(&paths));
        assert_eq!(ours.logs, theirs.logs);
        let summary: serde_json::Value = serde_json::from_str(ours.logs[0].last().unwrap()).unwrap();
        assert_eq!((&summary["state"], &summary["whole"]), (&state.into(), &true.into()), "{summary}");
        assert_eq!((&summary["lines"], &summary["arcs"]), (&5998.into(), &2.into()), "{summary}");
        assert_eq!(summary["last_context"]["name"], "whole run", "{summary}");
    }
}

#[test]
fn two_readers_print_the_same() {
    if !is_python_there() {
        eprintln!("skipped: there is no python3 of version 3.9 or later here");
        return;
    }
    let seed = setting("HITLOG_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let count = setting("HITLOG_DIFFERENTIAL_LOGS").unwrap_or(2000) as usize;
    let again = format!("HITLOG_SEED={seed} HITLOG_DIFFERENTIAL_LOGS={count}");
    println!("{again}");
    let mut random = Random(seed);
    let mut states = std::collections::BTreeSet::new();
    for batch in (0..count).step_by(1000) {
        let folder = tempfile::tempdir().unwrap();
        let (paths, _locked) = random_logs(&mut random, (count - batch).min(1000), folder.path());
        let (ours, theirs) = (dump_of(&paths), spec_reader_of(&paths));
        for (index, (our_log, their_log)) in ours.logs.iter().zip(&theirs.logs).enumerate() {
            for (our_line, their_line) in our_log.iter().zip(their_log) {
                assert_eq!(our_line, their_line, "log {index} read, in batch {batch}; {again}");
            }
            assert_eq!(our_log.len(), their_log.len(), "log {index} read, in batch {batch}; {again}");
            let summary: serde_json::Value = serde_json::from_str(our_log.last().unwrap()).unwrap();
            states.insert(format!("{} {}", summary["state"], summary["whole"]));
        }
        assert_eq!(ours.logs.len(), theirs.logs.len(), "{again}");
        assert_eq!((ours.code, ours.errors), (theirs.code, theirs.errors), "{again}");
    }
    // A test that never saw one of these would not mean much.
    let seen: Vec<_> = states.iter().map(String::as_str).collect();
    let all = [
        "\"clean\" false",
        "\"clean\" true",
        "\"cut\" false",
        "\"cut\" true",
        "\"running\" false",
        "\"running\" true",
    ];
    assert!(count < 400 || seen == all, "{seen:?}; {again}");
}
