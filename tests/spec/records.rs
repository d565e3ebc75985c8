//! Each kind of record is its table: what is written, what is read, what is refused, what is ignored.

use crate::document::{Field, FieldKind, Table, fields, number, table, tables};
use crate::{KINDS, with_crc};
use hitlog::format::{
    self, NAME_CHUNK_BYTES, NameSpace, RECORD_SIZE, Record, Slot, SlotDamage, classify, seal,
    slot_bytes, slot_words,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

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
) -> [u8; RECORD_SIZE] {
    let mut slot = [0; RECORD_SIZE];
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
            let Slot::Valid(record) = classify(slot_words(&slot), 0) else { panic!("{name}: {slot:02x?}") };
            numbers.remove("text");
            prop_assert_eq!(numbers_and_text(&record), (numbers, text[..length].to_vec()), "{}", name);
            prop_assert_eq!(slot_bytes(seal(record.words(), 0)), slot, "{}", name);
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
            let noisy = std::array::from_fn(|at| slot[at] | noise[at] & !listed[at]);
            let found = classify(slot_words(&with_crc(noisy)), 0);
            prop_assert_eq!(found, classify(slot_words(&slot), 0), "{}", name);
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
                let found = classify(slot_words(&slot), 0);
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
