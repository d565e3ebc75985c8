//! `format-spec.md` against the code: every number in its tables, every byte in its examples, and the six
//! whole files. Whoever changes one of the two alone breaks a test here.
#![cfg(feature = "cli")]

mod spec_document;

use hitlog::cli::dump;
use hitlog::format::{
    self, HEADER_COPY_SIZE, HEADER_SIZE, Header, NAME_CHUNK_BYTES, NameSpace, RECORD_SIZE, Record,
    Slot, SlotDamage, classify, kind, log_file_name, place, seal,
};
use hitlog::limits;
use proptest::prelude::*;
use spec_document::{
    Field, FieldKind, Table, block, block_labels, fields, file_of_hexdump, hex, number, table, tables,
};
use std::collections::BTreeMap;
use std::path::Path;

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

fn words(slot: &[u8]) -> [u64; 4] {
    let word = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().unwrap());
    [word(0), word(8), word(16), word(24)]
}

fn bytes(words: [u64; 4]) -> Vec<u8> {
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

fn with_crc(mut slot: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&slot[..28]);
    slot[28..].copy_from_slice(&crc.to_le_bytes());
    slot
}

#[test]
fn the_checksum_is_the_one_described() {
    let said = include_str!("../format-spec.md").contains("bytes `123456789` is 0xCBF43926.");
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
    let table = table("Header", "offset");
    let magic = hex(table.rows[0].last().unwrap());
    let numbers = BTreeMap::from([
        ("version", i128::from(format::VERSION)),
        ("record_size", 32),
        ("header_size", 8192),
        ("compatible_flags", number(self::table("Header", "compatible flag").rows[0][0])),
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
    for field in fields(&table) {
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
    assert_eq!(covered(&fields(&table)), (0..HEADER_COPY_SIZE).collect::<Vec<_>>());
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
    let whole = bytes(seal(Record::Resumed { time_ns: 7 }.words(), place(&LOG_ID, 0)));
    let other = bytes(seal(Record::Resumed { time_ns: 7 }.words(), place(&LOG_ID, 9)));
    let kind_zero = bytes(seal(Record::Unknown { kind: 0 }.words(), place(&LOG_ID, 0)));
    let mut unfinished = whole.clone();
    unfinished[24..].fill(0);
    let mut flipped = whole.clone();
    flipped[10] ^= 1;
    let expected = [
        ("foreign", other, r#""foreign":{"place":857870601,"slot":null}}"#),
        ("damaged: content", kind_zero, r#""damaged":"content"}"#),
        ("valid", whole, r#""record":"resumed","time_ns":7}"#),
        ("blank", vec![0; 32], ""),
        ("blank: unfinished", unfinished, r#""blank":"unfinished"}"#),
        ("damaged: checksum", flipped, r#""damaged":"checksum"}"#),
    ];
    let said: Vec<_> = table("Classes", "class").rows.iter().skip(1).map(|row| row[0]).collect();
    assert_eq!(said, expected.each_ref().map(|(class, _, _)| *class));
    for (class, slot, expected) in expected {
        let lines = dump_json(&[two_copies(), slot].concat());
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
    let slot = bytes(seal(words, 0x3031_3233));
    let mut built = vec![0; RECORD_SIZE];
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

#[test]
fn the_kinds_are_those_of_the_code_and_all_others_are_unknown() {
    let table = table("Records", "kind");
    let said: Vec<_> = table.rows.iter().map(|row| (row[1], number(row[0]) as u8)).collect();
    assert_eq!(said, KINDS);
    for row in &table.rows {
        let skippable = number(row[0]) as u8 & format::KIND_SKIPPABLE != 0;
        assert_eq!(row[2], if skippable { "yes" } else { "no" }, "{}", row[1]);
    }
    for kind in (0..=u8::MAX).filter(|kind| KINDS.iter().all(|known| known.1 != *kind)) {
        let slot = seal(Record::Unknown { kind }.words(), 0);
        assert_eq!(classify(slot, 0), Slot::Valid(Record::Unknown { kind }));
    }
}

/// The kind and the fields of each kind of record that has a table.
fn record_tables() -> Vec<(u8, &'static str, Vec<Field>)> {
    let of_record = |table: Table| {
        let (kind, name) = table.heading.strip_prefix("0x")?.split_once(' ')?;
        let kind = u8::from_str_radix(kind, 16).unwrap();
        (table.columns[0] == "offset").then(|| (kind, name, fields(&table)))
    };
    tables().into_iter().filter_map(of_record).collect()
}

/// The numbers and the text in a record, by the names of the tables.
fn numbers_and_text(record: &Record) -> (BTreeMap<&'static str, i128>, Vec<u8>) {
    let mut text = Vec::new();
    let numbers: Vec<(&str, i128)> = match *record {
        Record::Line { context, file, line } => {
            vec![("context", context.into()), ("file", file.into()), ("line", line.into())]
        }
        Record::Arc { context, file, from, to } => vec![
            ("context", context.into()),
            ("file", file.into()),
            ("from", from.into()),
            ("to", to.into()),
        ],
        Record::Name { id, index, last, chunk, .. } => {
            text.extend(chunk.as_bytes());
            let length = chunk.as_bytes().len() as i128;
            vec![("length", length), ("last", last.into()), ("index", index.into()), ("id", id.into())]
        }
        Record::FileFacts { file, size, mtime_ns } => {
            vec![("file", file.into()), ("size", size.into()), ("mtime_ns", mtime_ns.into())]
        }
        Record::ContextStart { context, thread, time_ns, inherited } => vec![
            ("context", context.into()),
            ("thread", thread.into()),
            ("time_ns", time_ns.into()),
            ("inherited", inherited.into()),
        ],
        Record::ContextStop { context, thread, time_ns } => {
            vec![("context", context.into()), ("thread", thread.into()), ("time_ns", time_ns.into())]
        }
        Record::Sample { name, context, time_ns, value } => vec![
            ("name", name.into()),
            ("context", context.into()),
            ("time_ns", time_ns.into()),
            ("value", value.into()),
        ],
        Record::Trailer { reason, exit_code, time_ns, records, lost } => vec![
            ("reason", reason as i128),
            ("exit_code_known", exit_code.is_some().into()),
            ("exit_code", exit_code.unwrap_or(0).into()),
            ("time_ns", time_ns.into()),
            ("records", records.into()),
            ("lost", lost.into()),
        ],
        Record::Resumed { time_ns } => vec![("time_ns", time_ns.into())],
        Record::Loss { lost, errno, time_ns } => {
            vec![("lost", lost.into()), ("errno", errno.into()), ("time_ns", time_ns.into())]
        }
        Record::Unknown { kind } => vec![("kind", kind.into())],
    };
    (numbers.into_iter().collect(), text)
}

/// A slot at place 0 of a record of `kind` with these numbers, as the table `fields` says.
fn slot_of_table(
    kind: u8,
    fields: &[Field],
    numbers: &BTreeMap<&'static str, i128>,
    text: &[u8],
) -> Vec<u8> {
    let mut slot = vec![0; RECORD_SIZE];
    slot[0] = kind;
    for field in fields {
        match field.kind {
            FieldKind::Bytes => field.put_bytes(&mut slot, text),
            _ => field.put(&mut slot, numbers[field.name]),
        }
    }
    with_crc(slot)
}

/// Numbers in the ranges of `fields`, made of `random`, that belong together.
fn some_numbers(fields: &[Field], random: &[u64]) -> BTreeMap<&'static str, i128> {
    let value = |(field, random): (&Field, &u64)| {
        let width = field.range.end() - field.range.start() + 1;
        (field.name, field.range.start() + i128::from(*random) % width)
    };
    let mut numbers: BTreeMap<_, _> = fields.iter().zip(random).map(value).collect();
    if numbers.get("length").is_some_and(|length| *length < NAME_CHUNK_BYTES as i128) {
        numbers.insert("last", 1);
    }
    if numbers.get("exit_code_known") == Some(&0) {
        numbers.insert("exit_code", 0);
    }
    numbers
}

proptest! {
    #[test]
    fn each_kind_of_record_is_its_table(random: [u64; 8], text: [u8; NAME_CHUNK_BYTES]) {
        let tables = record_tables();
        prop_assert_eq!(tables.len(), KINDS.len() - 1, "each kind but blank has a table");
        for (kind, name, fields) in tables {
            prop_assert!(KINDS.contains(&(name, kind)));
            let mut numbers = some_numbers(&fields, &random);
            let length = numbers.get("length").map_or(0, |length| *length as usize);
            let slot = slot_of_table(kind, &fields, &numbers, &text[..length]);
            let Slot::Valid(record) = classify(words(&slot), 0) else { panic!("{name}: {slot:02x?}") };
            numbers.remove("text");
            prop_assert_eq!(numbers_and_text(&record), (numbers, text[..length].to_vec()), "{}", name);
            prop_assert_eq!(bytes(seal(record.words(), 0)), slot, "{}", name);
        }
    }

    #[test]
    fn what_no_table_lists_is_ignored(random: [u64; 8], noise: [u8; RECORD_SIZE]) {
        for (kind, name, fields) in record_tables() {
            let numbers = some_numbers(&fields, &random);
            let slot = slot_of_table(kind, &fields, &numbers, b"");
            let mut listed = [0u8; RECORD_SIZE];
            listed[0] = 0xFF;
            listed[4..8].fill(0xFF);
            for field in &fields {
                match field.kind {
                    FieldKind::Mask(mask) => listed[field.offset] |= mask,
                    _ => listed[field.offset..][..field.size].fill(0xFF),
                }
            }
            let noisy = (0..RECORD_SIZE).map(|at| slot[at] | noise[at] & !listed[at]).collect();
            let found = classify(words(&with_crc(noisy)), 0);
            prop_assert_eq!(found, classify(words(&slot), 0), "{}", name);
        }
    }
}

#[test]
fn what_is_out_of_range_is_damage() {
    let mut tried = 0;
    for (kind, name, fields) in record_tables() {
        let inside = some_numbers(&fields, &[0; 8]);
        for field in fields.iter().filter(|field| field.limited) {
            for (value, fits) in [
                (*field.range.start(), true),
                (*field.range.end(), true),
                (field.range.start() - 1, false),
                (field.range.end() + 1, false),
            ] {
                let widest = match field.kind {
                    FieldKind::Mask(mask) => i128::from(mask >> mask.trailing_zeros()),
                    _ => (1 << (8 * field.size)) - 1,
                };
                if value > widest || (value < 0 && *field.range.start() >= 0) {
                    continue; // cannot be written
                }
                let numbers = [(field.name, value)].into();
                let numbers = inside.clone().into_iter().chain::<BTreeMap<_, _>>(numbers).collect();
                let slot = slot_of_table(kind, &fields, &numbers, b"");
                let found = classify(words(&slot), 0);
                let damaged = found == Slot::Damaged(SlotDamage::Content);
                assert_eq!(!damaged, fits, "{name}.{} = {value}: {found:?}", field.name);
                tried += 1;
            }
        }
    }
    assert!(tried > 60, "{tried}");
}

#[test]
fn a_short_chunk_must_be_the_last() {
    let chunk = format::NameChunk::new(b"short");
    for space in [NameSpace::File, NameSpace::Context, NameSpace::Sample] {
        let record = Record::Name { space, id: 1, index: 0, last: false, chunk };
        let found = classify(seal(record.words(), 0), 0);
        assert_eq!(found, Slot::Damaged(SlotDamage::Content));
    }
}

#[test]
fn each_example_of_a_record_is_what_it_says() {
    let lines = block("records");
    let mut kinds = Vec::new();
    let mut slots = Vec::new();
    for (number, pair) in lines.chunks(2).enumerate() {
        let slot = hex(pair[0]);
        let Slot::Valid(record) = classify(words(&slot), place(&LOG_ID, number as u32)) else {
            panic!("{}: not a valid record", pair[0]);
        };
        if !matches!(record, Record::Unknown { .. }) {
            assert_eq!(bytes(seal(record.words(), place(&LOG_ID, number as u32))), slot, "{record:?}");
            kinds.push(slot[0]);
        }
        slots.extend(slot);
    }
    assert_eq!(kinds, KINDS[1..].iter().map(|kind| kind.1).collect::<Vec<_>>(), "one of each");
    let said: Vec<_> = lines.chunks(2).map(|pair| pair[1]).collect();
    let dumped = dump_json(&[two_copies(), slots].concat());
    assert_eq!(dumped[1..=said.len()], said);
}

#[test]
fn the_fields_of_a_record_in_json_are_in_the_order_of_the_table() {
    let table = table("dump --json", "record");
    for line in block("records").iter().skip(1).step_by(2) {
        let rest = line.split_once(r#""record":""#).unwrap().1;
        let (record, rest) = rest.split_once('"').unwrap();
        let row = table.rows.iter().find(|row| row[0] == record).unwrap();
        let keys: Vec<_> =
            rest.split(",\"").filter_map(|part| part.split_once("\":")).map(|(key, _)| key).collect();
        assert_eq!(keys.join(", "), row[1], "{record}");
    }
    assert_eq!(table.rows.len(), KINDS.len(), "each kind but blank, and the unknown ones");
}

#[test]
fn the_reasons_of_an_end_are_those_of_the_table() {
    for row in table("0x05 trailer", "reason").rows {
        let mut slot = vec![0; RECORD_SIZE];
        (slot[0], slot[1]) = (kind::TRAILER, row[0].parse().unwrap());
        slot[4..8].copy_from_slice(&place(&LOG_ID, 0).to_le_bytes());
        let lines = dump_json(&[two_copies(), with_crc(slot)].concat());
        assert!(lines[1].contains(&format!(r#""reason":"{}""#, row[1])), "{}", lines[1]);
    }
}

#[test]
fn the_example_of_a_header_is_the_one_of_the_files() {
    let file = file_of_hexdump(&block("hexdump good"));
    let example = table("A header", "offset");
    let layout = fields(&table("Header", "offset"));
    assert_eq!(example.rows.len(), layout.len());
    for (row, field) in example.rows.iter().zip(layout) {
        assert_eq!((row[0], row[2]), (field.offset.to_string().as_str(), field.name));
        let said = hex(row[1]);
        assert_eq!(said, file[field.offset..][..said.len()], "{}", field.name);
        if field.kind == FieldKind::Number && row[3].parse::<i64>().is_ok() {
            let mut value = vec![0; HEADER_COPY_SIZE];
            field.put(&mut value, number(row[3]));
            assert_eq!(value[field.offset..][..field.size], said, "{}", field.name);
        }
    }
}

#[test]
fn each_whole_file_is_dumped_as_it_says() {
    let labels = block_labels("hexdump");
    assert_eq!(labels.len(), 6);
    assert_eq!(labels, block_labels("json-lines"));
    for label in labels {
        let file = file_of_hexdump(&block(&format!("hexdump {label}")));
        assert_eq!(dump_json(&file), block(&format!("json-lines {label}")), "{label}");
    }
}

#[test]
fn the_good_file_is_what_a_writer_writes() {
    let file = file_of_hexdump(&block("hexdump good"));
    let header = format::parse_header_copy(&file[..HEADER_COPY_SIZE]).unwrap();
    assert_eq!(header.to_bytes().repeat(2), file[..HEADER_SIZE]);
    let mut names = BTreeMap::<_, u32>::new();
    for (number, slot) in file[HEADER_SIZE..].chunks(RECORD_SIZE).enumerate() {
        let place = place(&header.log_id, number as u32);
        let Slot::Valid(record) = classify(words(slot), place) else { panic!("slot {number}") };
        assert_eq!(bytes(seal(record.words(), place)), slot, "slot {number}");
        if matches!(record, Record::Name { .. } | Record::FileFacts { .. } | Record::Trailer { .. }) {
            *names.entry(format!("{record:?}")).or_default() += 1;
        }
    }
    assert!(names.values().all(|times| *times == 2), "{names:?}");
    let said = Path::new("4711-00112233445566778899aabbccddeeff.hitlog");
    assert_eq!(said, Path::new(&log_file_name(header.pid, &header.log_id)));
}
