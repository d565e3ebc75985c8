//! The header, the slot and the limits, as the tables of the document say.

use crate::document::{Field, FieldKind, fields, hex, number, table};
use crate::{LOG_ID, dump_json, two_copies};
use hitlog::format::{
    self, HEADER_COPY_SIZE, HEADER_SIZE, Header, NAME_CHUNK_BYTES, RECORD_SIZE, Record, place, seal,
    slot_bytes,
};
use hitlog::limits;
use std::collections::BTreeMap;

#[test]
fn the_checksum_is_the_one_described() {
    let said = include_str!("../../format-spec.md").contains("bytes `123456789` is 0xCBF43926.");
    assert!(said);
    assert_eq!(crc32fast::hash(b"123456789"), 0xCBF4_3926);
}

#[test]
fn the_limits_are_those_of_the_code() {
    let expected = [
        ("record_size", RECORD_SIZE as u64),
        ("header_copy_size", HEADER_COPY_SIZE as u64),
        ("header_size", HEADER_SIZE as u64),
        ("log_bytes_max", limits::LOG_BYTES_MAX),
        ("line_max", u64::from(limits::LINE_MAX)),
        ("name_id_max", u64::from(limits::NAME_ID_MAX)),
        ("sample_name_id_max", u64::from(limits::SAMPLE_NAME_ID_MAX)),
        ("name_chunk_bytes", NAME_CHUNK_BYTES as u64),
        ("name_bytes_max", limits::NAME_BYTES_MAX as u64),
        ("name_chunks_kept_max", limits::NAME_CHUNKS_KEPT_MAX as u64),
        ("context_events_kept_max", limits::CONTEXT_EVENTS_KEPT_MAX as u64),
        ("samples_kept_max", limits::SAMPLES_KEPT_MAX as u64),
        ("files_kept_max", limits::FILES_KEPT_MAX as u64),
        ("damage_listed_max", limits::DAMAGE_LISTED_MAX as u64),
    ];
    let table = table("Limits", "limit");
    let said: Vec<_> = table.rows.iter().map(|row| (row[0], row[1].parse().unwrap())).collect();
    assert_eq!(said, expected);
}

#[test]
fn the_header_is_the_table() {
    let header = Header {
        log_id: LOG_ID,
        parent_log_id: [2; 16],
        first_log_id: [3; 16],
        segment: 0x0405_0607,
        pid: 0x0809_0A0B,
        ppid: 0x0C0D_0E0F,
        process_start_ticks: 0x1011_1213_1415_1617,
        pid_namespace: 0x1819_1A1B_1C1D_1E1F,
        boot_id: [4; 16],
        wall_start_ns: -5,
        monotonic_start_ns: 0x2021_2223_2425_2627,
        run_id: b"run".to_vec(),
        host: b"host".to_vec(),
        argv: b"a\0bc\0".to_vec(),
        argv_cut: true,
    };
    let layout = table("Header", "offset");
    let magic = hex(layout.rows[0].last().unwrap());
    let numbers = BTreeMap::from([
        ("version", i128::from(format::VERSION)),
        ("record_size", 32),
        ("header_size", 8192),
        ("compatible_flags", number(table("Header", "compatible flag").rows[0][0])),
        ("incompatible_flags", i128::from(format::INCOMPATIBLE_KNOWN)),
        ("segment", i128::from(header.segment)),
        ("pid", i128::from(header.pid)),
        ("ppid", i128::from(header.ppid)),
        ("process_start_ticks", i128::from(header.process_start_ticks)),
        ("pid_namespace", i128::from(header.pid_namespace)),
        ("wall_start_ns", i128::from(header.wall_start_ns)),
        ("monotonic_start_ns", i128::from(header.monotonic_start_ns)),
        ("run_id_length", 3),
        ("host_length", 4),
        ("argv_length", 5),
    ]);
    let texts: BTreeMap<_, &[u8]> = BTreeMap::from([
        ("magic", &magic[..]),
        ("log_id", &header.log_id),
        ("parent_log_id", &header.parent_log_id),
        ("first_log_id", &header.first_log_id),
        ("boot_id", &header.boot_id),
        ("text", b"runhosta\0bc\0"),
    ]);
    let mut copy = vec![0; HEADER_COPY_SIZE];
    for field in fields(&layout) {
        match field.kind {
            FieldKind::Zero => {}
            FieldKind::Bytes => field.put_bytes(&mut copy, texts[field.name]),
            _ if field.name == "crc" => {
                let crc = crc32fast::hash(&copy[..field.offset]);
                field.put(&mut copy, i128::from(crc));
            }
            _ => field.put(&mut copy, numbers[field.name]),
        }
    }
    assert_eq!(copy, header.to_bytes());
    assert_eq!(format::parse_header_copy(&copy), Ok(header));
    assert_eq!(covered(&fields(&layout)), (0..HEADER_COPY_SIZE).collect::<Vec<_>>());
}

/// The bytes that belong to some field; a byte with several fields in masks stands there once.
fn covered(fields: &[Field]) -> Vec<usize> {
    let mut covered: Vec<_> =
        fields.iter().flat_map(|field| field.offset..field.offset + field.size).collect();
    let all = covered.len();
    covered.dedup();
    let masks = fields.iter().filter(|field| matches!(field.kind, FieldKind::Mask(_))).count();
    assert!(all - covered.len() < masks.max(1), "fields overlap");
    covered
}

#[test]
fn each_state_of_a_header_copy_is_found() {
    let whole = two_copies();
    let changed = |at: usize, value: u8| {
        let mut copy = whole[..HEADER_COPY_SIZE].to_vec();
        copy[at] = value;
        let crc = crc32fast::hash(&copy[..HEADER_COPY_SIZE - 4]);
        copy[HEADER_COPY_SIZE - 4..].copy_from_slice(&crc.to_le_bytes());
        [&whole[..HEADER_COPY_SIZE], &copy].concat()
    };
    let offset = |name| {
        fields(&table("Header", "offset")).into_iter().find(|field| field.name == name).unwrap().offset
    };
    let mut flipped = whole.clone();
    flipped[HEADER_COPY_SIZE + 2000] ^= 1;
    let mut no_magic = flipped.clone();
    no_magic[HEADER_COPY_SIZE] = 0;
    let expected = [
        ("short", whole[..HEADER_SIZE - 1].to_vec()),
        ("magic", no_magic),
        ("checksum", flipped),
        ("version", changed(offset("version"), 2)),
        ("incompatible", changed(offset("incompatible_flags") + 3, 0x80)),
        ("content", changed(offset("argv_length") + 1, 0x10)),
        ("different", changed(offset("pid"), 1)),
        ("whole", whole.clone()),
    ];
    let said: Vec<_> = table("State of a copy", "state").rows.iter().map(|row| row[0]).collect();
    assert_eq!(said, expected.each_ref().map(|(state, _)| *state));
    for (state, file) in expected {
        let first_line = &dump_json(&file)[0];
        let expected = format!(r#""header_copies":["whole","{state}"]"#);
        assert!(first_line.contains(&expected), "{state}: {first_line}");
    }
}

#[test]
fn each_class_of_a_slot_is_found() {
    let whole = slot_bytes(seal(Record::Resumed { time_ns: 7 }.words(), place(&LOG_ID, 0)));
    let other = slot_bytes(seal(Record::Resumed { time_ns: 7 }.words(), place(&LOG_ID, 9)));
    let kind_zero = slot_bytes(seal(Record::Unknown { kind: 0 }.words(), place(&LOG_ID, 0)));
    let mut unfinished = whole;
    unfinished[24..].fill(0);
    let mut flipped = whole;
    flipped[10] ^= 1;
    let expected = [
        ("foreign", other, r#""foreign":{"place":857870601,"slot":null}}"#),
        ("damaged: content", kind_zero, r#""damaged":"content"}"#),
        ("valid", whole, r#""record":"resumed","time_ns":7}"#),
        ("blank", [0; RECORD_SIZE], ""),
        ("blank: unfinished", unfinished, r#""blank":"unfinished"}"#),
        ("damaged: checksum", flipped, r#""damaged":"checksum"}"#),
    ];
    let said: Vec<_> = table("Classes", "class").rows.iter().skip(1).map(|row| row[0]).collect();
    assert_eq!(said, expected.each_ref().map(|(class, _, _)| *class));
    for (class, slot, expected) in expected {
        let lines = dump_json(&[&two_copies()[..], &slot].concat());
        match expected {
            "" => assert_eq!(lines.len(), 2, "a blank slot has no line"),
            expected => assert_eq!(lines[1], format!(r#"{{"slot":0,{expected}"#), "{class}"),
        }
    }
}

#[test]
fn the_slot_is_the_table() {
    let words = format::Words {
        head: 0x0403_0201,
        payload: [0x1011_1213_1415_1617, 0x1819_1A1B_1C1D_1E1F],
        payload_last: 0x2021_2223,
    };
    let slot = slot_bytes(seal(words, 0x3031_3233));
    let mut built = [0; RECORD_SIZE];
    let fields = fields(&table("Slots", "offset"));
    for field in &fields {
        match field.name {
            "kind" => field.put(&mut built, 0x01),
            "flags" => field.put(&mut built, 0x02),
            "aux" => field.put(&mut built, 0x0403),
            "place" => field.put(&mut built, 0x3031_3233),
            "payload" => field.put_bytes(&mut built, &slot[8..28]),
            _ => {
                let crc = crc32fast::hash(&built[..field.offset]);
                field.put(&mut built, i128::from(crc));
            }
        }
    }
    assert_eq!(built, slot);
    assert_eq!(covered(&fields), (0..RECORD_SIZE).collect::<Vec<_>>());
}
