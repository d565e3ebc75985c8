//! Slots in memory that threads append to and scan, for the checkers of interleavings.
#![allow(dead_code, reason = "not every test uses everything")]

use hitlog::format::{Record, Slot, classify, place, seal};
use hitlog::storage::SlotCell;

const LOG_ID: [u8; 16] = [7; 16];

/// The slots of a log, each with a record of its own or none.
pub struct Slots(Vec<SlotCell>);

impl Slots {
    pub fn blank(count: u32) -> Slots {
        Slots((0..count).map(|_| SlotCell::default()).collect())
    }

    pub fn append(&self, slot: u32) {
        self.0[slot as usize].store(seal(record(slot).words(), place(&LOG_ID, slot)));
    }

    /// Whether the record of `slot` is there; fails on anything but that or a blank slot.
    pub fn holds(&self, slot: u32) -> bool {
        match classify(self.0[slot as usize].load(), place(&LOG_ID, slot)) {
            Slot::Valid(found) => {
                assert_eq!(found, record(slot));
                true
            }
            Slot::Blank { .. } => false,
            other => panic!("slot {slot}: {other:?}"),
        }
    }

    /// How many records a scan accepts.
    pub fn scan(&self) -> u32 {
        (0..self.0.len() as u32).map(|slot| u32::from(self.holds(slot))).sum()
    }
}

fn record(slot: u32) -> Record {
    Record::Line { context: 1, file: 1, line: slot + 1 }
}
