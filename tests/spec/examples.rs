//! The worked examples: records and a header in hex, and the six whole files.

use crate::document::{FieldKind, block, block_labels, fields, file_of_hexdump, hex, number, table};
use crate::{KINDS, LOG_ID, dump_json, two_copies, with_crc};
use hitlog::format::{
    self, HEADER_COPY_SIZE, HEADER_SIZE, RECORD_SIZE, Record, Slot, classify, kind, log_file_name,
    place, seal, slot_bytes, slot_words,
};
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn each_example_of_a_record_is_what_it_says() {
    let lines = block("records");
    let mut kinds = Vec::new();
    let mut slots = Vec::new();
    for (number, pair) in lines.chunks(2).enumerate() {
        let slot = hex(pair[0]);
        let Slot::Valid(record) = classify(slot_words(&slot), place(&LOG_ID, number as u32)) else {
            panic!("{}: not a valid record", pair[0]);
        };
        if !matches!(record, Record::Unknown { .. }) {
            assert_eq!(
                slot,
                slot_bytes(seal(record.words(), place(&LOG_ID, number as u32))),
                "{record:?}"
            );
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
        let mut slot = [0; RECORD_SIZE];
        (slot[0], slot[1]) = (kind::TRAILER, row[0].parse().unwrap());
        slot[4..8].copy_from_slice(&place(&LOG_ID, 0).to_le_bytes());
        let lines = dump_json(&[&two_copies()[..], &with_crc(slot)].concat());
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
        let Slot::Valid(record) = classify(slot_words(slot), place) else { panic!("slot {number}") };
        assert_eq!(slot, slot_bytes(seal(record.words(), place)), "slot {number}");
        if matches!(record, Record::Name { .. } | Record::FileFacts { .. } | Record::Trailer { .. }) {
            *names.entry(format!("{record:?}")).or_default() += 1;
        }
    }
    assert!(names.values().all(|times| *times == 2), "{names:?}");
    let said = Path::new("4711-00112233445566778899aabbccddeeff.hitlog");
    assert_eq!(said, Path::new(&log_file_name(header.pid, &header.log_id)));
}
