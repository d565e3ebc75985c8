//! Every interleaving of two appending threads and a scan, by loom: what a scan accepts was appended
//! whole, and what it does not accept yet is blank.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --test slot_interleavings` - without the flag there is
//! nothing here to run.

#![cfg(loom)]

use hitlog::format::{Record, Slot, classify, place, seal};
use hitlog::storage::SlotCell;
use loom::sync::Arc;

const LOG_ID: [u8; 16] = [7; 16];
const APPENDS: u32 = 1;

fn record(slot: u32) -> Record {
    Record::Line { context: 1, file: 1, line: slot + 1 }
}

fn append(cells: &[SlotCell], slots: std::ops::Range<u32>) {
    for slot in slots {
        cells[slot as usize].store(seal(record(slot).words(), place(&LOG_ID, slot)));
    }
}

/// How many records a scan accepts; fails on anything but a whole record or a blank slot.
fn scan(cells: &[SlotCell]) -> u32 {
    let mut valid = 0;
    for (slot, cell) in (0..).zip(cells) {
        match classify(cell.load(), place(&LOG_ID, slot)) {
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

#[test]
fn a_scan_sees_whole_records_or_none() {
    loom::model(|| {
        let cells: Arc<Vec<SlotCell>> =
            Arc::new((0..2 * APPENDS).map(|_| SlotCell::default()).collect());
        let writers: Vec<_> = [0..APPENDS, APPENDS..2 * APPENDS]
            .map(|slots| {
                let cells = Arc::clone(&cells);
                loom::thread::spawn(move || append(&cells, slots))
            })
            .into();
        scan(&cells);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(scan(&cells), 2 * APPENDS, "all that was appended is there");
    });
}
