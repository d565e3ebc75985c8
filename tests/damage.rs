//! A log is damaged in every way that a small log can be: each bit flipped, each length cut, each slot
//! zeroed, swapped, duplicated, taken from another log. Exactly what was touched is lost, and named.
#![cfg(feature = "cli")]

mod log_builder;

use hitlog::cli::{check, dump};
use hitlog::format::{
    HEADER_COPY_SIZE, HEADER_SIZE, HeaderDamage, RECORD_SIZE, Slot, SlotDamage, place,
};
use hitlog::reader::{Contents, Digest, LogReader, SlotCounts, State};
use log_builder::{LogBuilder, WHOLE_LOG_SLOTS, offset_of, whole_log};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const ID: [u8; 16] = *b"one log of many.";
const OTHER_ID: [u8; 16] = *b"another log.....";
const SLOTS: u64 = WHOLE_LOG_SLOTS as u64;

/// The log of 64 records in a file, and what is read of it undamaged.
struct Patient {
    _folder: tempfile::TempDir,
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    whole: Reading,
}

/// All that can be read of a log.
struct Reading {
    log: LogReader,
    counts: SlotCounts,
    slots: Vec<(u32, Slot)>,
    contents: Contents,
}

fn read(path: &Path) -> Reading {
    let log = LogReader::open(path).unwrap();
    let mut digest = Digest::default();
    let mut slots = Vec::new();
    let visit = |number, slot| {
        digest.add(number, &slot);
        slots.push((number, slot));
    };
    let counts = log.scan(0..log.slot_count(), visit).unwrap();
    let SlotCounts { slots: all, valid, blank, unfinished, damaged, foreign } = counts;
    assert_eq!(valid + blank + damaged + foreign, all);
    assert!(unfinished <= blank);
    Reading { log, counts, slots, contents: digest.finish() }
}

impl Patient {
    fn new() -> Patient {
        let folder = tempfile::tempdir().unwrap();
        let log = whole_log(ID);
        let path = folder.path().join(log.file_name());
        std::fs::write(&path, log.bytes()).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let whole = read(&path);
        assert_eq!((whole.counts.valid, whole.slots.len()), (SLOTS, WHOLE_LOG_SLOTS));
        assert!(whole.contents.is_whole(&whole.log, &whole.counts));
        assert_eq!(whole.contents.state(false), State::Clean);
        Patient { _folder: folder, path, file, bytes: log.bytes(), whole }
    }

    /// What is read after `bytes` were written at `offset`; the file is healed before this returns.
    fn with(&self, offset: usize, bytes: &[u8]) -> Reading {
        self.with_all(&[(offset, bytes)])
    }

    fn with_all(&self, changes: &[(usize, &[u8])]) -> Reading {
        for (offset, bytes) in changes {
            self.file.write_all_at(bytes, *offset as u64).unwrap();
        }
        let reading = read(&self.path);
        for (offset, bytes) in changes {
            self.file.write_all_at(&self.bytes[*offset..][..bytes.len()], *offset as u64).unwrap();
        }
        reading
    }

    fn slot(&self, number: usize) -> &[u8] {
        &self.bytes[offset_of(number)..][..RECORD_SIZE]
    }

    /// Whether slot `number` holds a trailer.
    fn is_trailer(number: usize) -> bool {
        number >= WHOLE_LOG_SLOTS - 2
    }

    /// Asserts that nothing but `touched` was lost: each other slot, and all that is written twice.
    fn assert_only_lost(&self, reading: &Reading, touched: &[usize], what: &str) {
        let is_touched = |number: &u32| touched.contains(&(*number as usize));
        let others = |slots: &[(u32, Slot)]| -> Vec<_> {
            slots.iter().copied().filter(|(number, _)| !is_touched(number)).collect()
        };
        assert_eq!(others(&reading.slots), others(&self.whole.slots), "{what}");
        assert_eq!(reading.counts.valid, SLOTS - touched.len() as u64, "{what}");
        let missing = touched.iter().filter(|number| !Patient::is_trailer(**number)).count();
        assert_eq!(reading.contents.missing(&reading.counts), missing as u64, "{what}");
        assert!(!reading.contents.is_whole(&reading.log, &reading.counts) || missing == 0, "{what}");
        assert_eq!(reading.contents.state(false), State::Clean, "{what}");
    }

    fn assert_names_whole(&self, reading: &Reading, what: &str) {
        let (found, whole) = (&reading.contents, &self.whole.contents);
        assert_eq!(found.files, whole.files, "{what}");
        assert_eq!(found.contexts, whole.contexts, "{what}");
        assert_eq!(found.sample_names, whole.sample_names, "{what}");
        assert_eq!(found.names_lost(), 0, "{what}");
        let facts = |contents: &Contents| -> Vec<_> {
            contents.file_facts.iter().map(|facts| (facts.file, facts.size, facts.mtime_ns)).collect()
        };
        assert_eq!(facts(found), facts(whole), "{what}");
    }
}

/// The classes of the slots `numbers`, in their order; `None` for a blank one.
fn found_in(reading: &Reading, numbers: &[usize]) -> Vec<Option<Slot>> {
    let found = |number: &usize| {
        reading.slots.iter().find(|slot| slot.0 as usize == *number).map(|slot| slot.1)
    };
    numbers.iter().map(found).collect()
}

fn foreign(number: usize) -> Option<Slot> {
    Some(Slot::Foreign { place: place(&ID, number as u32) })
}

#[test]
fn every_flipped_bit_of_a_record_costs_that_record_alone() {
    let patient = Patient::new();
    for bit in 0..WHOLE_LOG_SLOTS * RECORD_SIZE * 8 {
        let (number, offset) = (bit / (RECORD_SIZE * 8), HEADER_SIZE + bit / 8);
        let reading = patient.with(offset, &[patient.bytes[offset] ^ 1 << (bit % 8)]);
        let what = format!("bit {bit}, slot {number}");
        patient.assert_only_lost(&reading, &[number], &what);
        patient.assert_names_whole(&reading, &what);
        assert_eq!(
            found_in(&reading, &[number]),
            [Some(Slot::Damaged(SlotDamage::Checksum))],
            "{what}"
        );
        let listed: Vec<_> = reading.contents.damaged.iter().map(|at| at.slot as usize).collect();
        assert_eq!(listed, [number], "{what}");
    }
}

#[test]
fn every_flipped_bit_of_the_header_costs_one_copy() {
    let patient = Patient::new();
    for bit in 0..HEADER_SIZE * 8 {
        let offset = bit / 8;
        let reading = patient.with(offset, &[patient.bytes[offset] ^ 1 << (bit % 8)]);
        let copy = offset / HEADER_COPY_SIZE;
        let damage = match offset % HEADER_COPY_SIZE {
            0..8 => HeaderDamage::Magic,
            _ => HeaderDamage::Checksum,
        };
        let mut expected = [Ok(()), Ok(())];
        expected[copy] = Err(damage);
        assert_eq!(reading.log.header_copies(), expected, "bit {bit}");
        assert_eq!(reading.log.header(), patient.whole.log.header(), "bit {bit}");
        patient.assert_only_lost(&reading, &[], &format!("bit {bit}"));
        assert!(!reading.contents.is_whole(&reading.log, &reading.counts), "bit {bit}");
    }
}

#[test]
fn with_both_copies_lost_the_name_of_the_file_is_enough() {
    let patient = Patient::new();
    let reading = patient.with(0, &[0xFF; HEADER_SIZE]);
    assert_eq!(reading.log.header(), None);
    assert_eq!((reading.log.log_id(), reading.log.pid()), (ID, Some(4711)));
    patient.assert_only_lost(&reading, &[], "no header");
    patient.assert_names_whole(&reading, "no header");
}

#[test]
fn every_length_keeps_all_whole_slots() {
    let patient = Patient::new();
    let front = (0..WHOLE_LOG_SLOTS).find(|number| !is_name(&patient, *number)).unwrap();
    for length in (0..patient.bytes.len()).rev() {
        patient.file.set_len(length as u64).unwrap();
        let reading = read(&patient.path);
        let slots = length.saturating_sub(HEADER_SIZE) / RECORD_SIZE;
        assert_eq!(reading.slots, patient.whole.slots[..slots], "{length}");
        let rest = length.saturating_sub(HEADER_SIZE) - slots * RECORD_SIZE;
        assert_eq!(reading.log.trailing_bytes(), rest as u64, "{length}");
        let copies =
            [4096, 8192].map(|end| if length < end { Err(HeaderDamage::Short) } else { Ok(()) });
        assert_eq!(reading.log.header_copies(), copies, "{length}");
        assert_eq!(reading.log.log_id(), ID, "{length}");
        let has_trailer = slots > WHOLE_LOG_SLOTS - 2;
        let state = if has_trailer { State::Clean } else { State::Cut };
        assert_eq!(reading.contents.state(false), state, "{length}");
        let whole = reading.contents.is_whole(&reading.log, &reading.counts);
        let never_begun = length == 0 || length == HEADER_COPY_SIZE;
        let may_be_whole = never_begun || (length >= HEADER_SIZE && rest == 0);
        assert_eq!(whole, may_be_whole, "{length}: a cut between slots cannot be seen");
        if slots >= front {
            patient.assert_names_whole(&reading, &format!("length {length}"));
        }
    }
}

fn is_name(patient: &Patient, number: usize) -> bool {
    use hitlog::format::Record;
    let slot = patient.whole.slots[number].1;
    matches!(slot, Slot::Valid(Record::Name { .. } | Record::FileFacts { .. }))
}

#[test]
fn every_zeroed_slot_is_missing_and_every_zeroed_sector_costs_no_name() {
    let patient = Patient::new();
    for number in 0..WHOLE_LOG_SLOTS {
        let reading = patient.with(offset_of(number), &[0; RECORD_SIZE]);
        patient.assert_only_lost(&reading, &[number], &format!("slot {number}"));
        patient.assert_names_whole(&reading, &format!("slot {number}"));
        assert_eq!(found_in(&reading, &[number]), [None]);
        assert_eq!((reading.counts.blank, reading.counts.unfinished), (1, 0));
    }
    for first in (0..WHOLE_LOG_SLOTS - 16).step_by(16) {
        let reading = patient.with(offset_of(first), &[0; 512]);
        let touched: Vec<_> = (first..first + 16).collect();
        patient.assert_only_lost(&reading, &touched, &format!("sector of slot {first}"));
        patient.assert_names_whole(&reading, &format!("sector of slot {first}"));
    }
}

#[test]
fn every_slot_without_its_last_word_is_unfinished() {
    let patient = Patient::new();
    for number in 0..WHOLE_LOG_SLOTS {
        let reading = patient.with(offset_of(number) + 24, &[0; 8]);
        patient.assert_only_lost(&reading, &[number], &format!("slot {number}"));
        assert_eq!(found_in(&reading, &[number]), [Some(Slot::Blank { unfinished: true })]);
        assert_eq!((reading.counts.blank, reading.counts.unfinished), (1, 1));
    }
}

#[test]
fn every_two_swapped_slots_are_foreign() {
    let patient = Patient::new();
    let names = WHOLE_LOG_SLOTS
        - 2
        - patient.whole.slots.iter().take_while(|slot| is_name(&patient, slot.0 as usize)).count();
    for left in 0..WHOLE_LOG_SLOTS {
        for right in left + 1..WHOLE_LOG_SLOTS {
            let what = format!("slots {left} and {right}");
            let reading = patient.with_all(&[
                (offset_of(left), patient.slot(right)),
                (offset_of(right), patient.slot(left)),
            ]);
            let both_trailers = Patient::is_trailer(left);
            let both_copies = is_name(&patient, left) && right == left + names;
            if !both_trailers {
                patient.assert_only_lost(&reading, &[left, right], &what);
            }
            if !both_copies {
                patient.assert_names_whole(&reading, &what);
            }
            assert_eq!(found_in(&reading, &[left, right]), [foreign(right), foreign(left)], "{what}");
            let listed: Vec<_> = reading.contents.foreign.iter().map(|at| at.slot as usize).collect();
            assert_eq!(listed, [left, right], "{what}");
        }
    }
}

#[test]
fn every_slot_duplicated_over_another_is_foreign_there() {
    let patient = Patient::new();
    for from in 0..WHOLE_LOG_SLOTS {
        for to in (0..WHOLE_LOG_SLOTS).filter(|to| *to != from) {
            let what = format!("slot {from} over slot {to}");
            let reading = patient.with(offset_of(to), patient.slot(from));
            patient.assert_only_lost(&reading, &[to], &what);
            patient.assert_names_whole(&reading, &what);
            assert_eq!(found_in(&reading, &[to]), [foreign(from)], "{what}");
        }
    }
}

#[test]
fn every_slot_of_another_log_is_foreign() {
    let patient = Patient::new();
    let other = whole_log(OTHER_ID);
    for number in 0..WHOLE_LOG_SLOTS {
        let reading = patient.with(offset_of(number), &other.slots[number]);
        patient.assert_only_lost(&reading, &[number], &format!("slot {number}"));
        patient.assert_names_whole(&reading, &format!("slot {number}"));
        let place = place(&OTHER_ID, number as u32);
        assert_eq!(found_in(&reading, &[number]), [Some(Slot::Foreign { place })]);
    }
}

#[test]
fn a_header_of_another_log_is_named_and_does_not_count() {
    let patient = Patient::new();
    let other = LogBuilder::new(OTHER_ID).header.to_bytes();
    for copy in 0..2 {
        let reading = patient.with(copy * HEADER_COPY_SIZE, &other);
        let mut expected = [Ok(()), Ok(())];
        expected[copy] = Err(HeaderDamage::Different);
        assert_eq!(reading.log.header_copies(), expected);
        patient.assert_only_lost(&reading, &[], &format!("copy {copy}"));
    }
}

fn check_of(paths: &[&Path], json: bool) -> (u8, String, String) {
    let paths = paths.iter().map(|path| path.to_path_buf()).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = check::run(&check::Arguments { json, paths }, &mut out, &mut err).unwrap();
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn check_says_what_is_damaged_where() {
    let folder = tempfile::tempdir().unwrap();
    let write = |log: &LogBuilder, bytes: &[u8]| {
        let path = folder.path().join(log.file_name());
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let log = whole_log(ID);
    write(&log, &log.bytes());
    let said = check_of(&[folder.path()], false);
    let all_whole = "1 log whole, 62 records (0 cut short, 0 still running)\n";
    assert_eq!(said, (0, all_whole.into(), String::new()));

    let other = whole_log(OTHER_ID);
    let mut bytes = other.bytes();
    bytes[offset_of(30) + 9] ^= 1;
    let damaged = write(&other, &bytes);
    let (code, out, err) = check_of(&[folder.path()], false);
    let expected = "4711 python -m pytest  61 records, 1 damaged (slot 30: checksum), names whole\n\
                    1 of 2 logs damaged, 1 record of 124 not readable; everything else will be kept\n";
    assert_eq!((code, out.as_str(), err.as_str()), (1, expected, ""));

    let (code, out, _) = check_of(&[&damaged], true);
    let lines: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, lines.len()), (1, 2));
    assert_eq!(lines[0]["damaged_slots"], serde_json::json!([[30, "checksum"]]));
    assert_eq!(lines[1]["logs_not_whole"], 1);
}

#[test]
fn check_calls_the_log_of_a_killed_process_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = whole_log(ID);
    log.slots.truncate(30);
    log.slots[29][24..].fill(0);
    log.slots.push([0; RECORD_SIZE]);
    let path = folder.path().join(log.file_name());
    std::fs::write(&path, log.bytes()).unwrap();
    let (code, out, _) = check_of(&[&path], false);
    assert_eq!((code, out.as_str()), (0, "1 log whole, 29 records (1 cut short, 0 still running)\n"));
}

#[test]
fn check_goes_on_after_what_it_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let log = whole_log(ID);
    let path = folder.path().join(log.file_name());
    std::fs::write(&path, log.bytes()).unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (code, out, err) = check_of(&[&empty, Path::new("nosuch"), &path], false);
    assert_eq!(code, 2);
    assert!(out.starts_with("1 log whole, 62 records"), "{out}");
    let errors: Vec<_> = err.lines().collect();
    assert!(errors[0].contains("empty: no logs here."), "{err}");
    assert!(errors[1].starts_with("hitlog: nosuch: no such run directory or log."), "{err}");
}

#[test]
fn dump_for_people_shows_names_and_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let log = whole_log(ID);
    let path = folder.path().join(log.file_name());
    let mut bytes = log.bytes();
    bytes[offset_of(30)] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = dump::Arguments { json: false, logs: vec![path] };
    assert_eq!(dump::run(&arguments, &mut out, &mut err).unwrap(), 0);
    let text = String::from_utf8(out).unwrap();
    for expected in [
        "state    clean, exit code 1\n",
        "command  python -m pytest\n",
        "slots    64: 63 valid, 0 blank, 1 damaged, 0 foreign\n",
        "missing  1 record by the trailer\n",
        "       30  DAMAGED        checksum\n",
        "context start  +0.000001000 s tests/test_cart.py::test_discount|run thread 0 (inherited)\n",
        "/home/ann/süß.py:1  in sixteen bytes...\n",
    ] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
}
