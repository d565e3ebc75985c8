//! Three appending threads and a scanning one in a hundred thousand random orders, by shuttle: loom, which
//! tries every order of two, does not come to an end with more.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test --release --test slot_schedules` - without the flag there is nothing
//! here to run. `HITLOG_SCHEDULES` sets how many orders are tried.

#![cfg(shuttle)]

#[path = "common/random.rs"]
mod random;

use hitlog::format::{Record, Slot, classify, place, seal};
use hitlog::storage::SlotCell;
use shuttle::sync::Arc;

const LOG_ID: [u8; 16] = [7; 16];
const WRITERS: u32 = 3;
const APPENDS: u32 = 3;

fn record(slot: u32) -> Record {
    Record::Line { context: 1, file: 1, line: slot + 1 }
}

fn append(cells: &[SlotCell], slots: std::ops::Range<u32>) {
    for slot in slots {
        cells[slot as usize].store(seal(record(slot).words(), place(&LOG_ID, slot)));
        // Whoever appended sees it from then on.
        assert_eq!(at(cells, slot), Slot::Valid(record(slot)));
    }
}

fn at(cells: &[SlotCell], slot: u32) -> Slot {
    classify(cells[slot as usize].load(), place(&LOG_ID, slot))
}

/// How many records a scan accepts; fails on anything but a whole record or a blank slot.
fn scan(cells: &[SlotCell]) -> u32 {
    let mut valid = 0;
    for slot in 0..cells.len() as u32 {
        match at(cells, slot) {
            Slot::Valid(found) => {
                assert_eq!(found, record(slot));
                valid += 1;
            }
            Slot::Blank { .. } => {}
            other => panic!("slot {slot}: {other:?}"),
        }
    }
    valid
}

fn append_and_scan() {
    let cells: Arc<Vec<SlotCell>> =
        Arc::new((0..WRITERS * APPENDS).map(|_| SlotCell::default()).collect());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let cells = Arc::clone(&cells);
            shuttle::thread::spawn(move || append(&cells, writer * APPENDS..(writer + 1) * APPENDS))
        })
        .collect();
    let reader = {
        let cells = Arc::clone(&cells);
        shuttle::thread::spawn(move || {
            let first = scan(&cells);
            assert!(scan(&cells) >= first, "what was there is gone");
        })
    };
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    reader.join().unwrap();
    assert_eq!(scan(&cells), WRITERS * APPENDS, "all that was appended is there");
}

#[test]
fn a_scan_sees_whole_records_or_none_whatever_the_order() {
    let schedules = random::figure("HITLOG_SCHEDULES", 100_000) as usize;
    shuttle::check_random(append_and_scan, schedules);
}
