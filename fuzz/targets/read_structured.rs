//! A valid log with listed damages: exactly the touched slots are lost, whatever the damage.
//!
//! The input is a list of instructions of four bytes: what to do, and to which slot.

use hitlog::format::{
    NameChunk, NameSpace, Record, Slot, SlotDamage, classify, place, seal, slot_bytes, slot_words,
};

const SLOTS: usize = 64;
const LOG_ID: [u8; 16] = [7; 16];

fn record(slot: usize) -> Record {
    let number = slot as u32 + 1;
    match slot % 4 {
        0 => Record::Line { context: 0, file: 1, line: number },
        1 => Record::Arc { context: 0, file: 1, from: -1, to: number as i32 },
        2 => Record::ContextStart { context: number, thread: 0, time_ns: 9, inherited: false },
        _ => Record::Name {
            space: NameSpace::Context,
            id: number,
            index: 0,
            last: true,
            chunk: NameChunk::new(b"a test"),
        },
    }
}

/// Damages a log as `instructions` say, and compares each slot with what was there.
pub fn run(instructions: &[u8]) {
    let place_of = |slot: usize| place(&LOG_ID, slot as u32);
    let whole: Vec<[u8; 32]> =
        (0..SLOTS).map(|slot| slot_bytes(seal(record(slot).words(), place_of(slot)))).collect();
    let mut log = whole.clone();
    for instruction in instructions.chunks_exact(4) {
        let [what, first, second, bit] = [0, 1, 2, 3].map(|index| instruction[index]);
        let [first, second] = [first, second].map(|slot| usize::from(slot) % SLOTS);
        match what % 4 {
            0 => log[first][usize::from(bit) % 32] ^= 1 << (bit >> 5),
            1 => log[first] = [0; 32],
            2 => log.swap(first, second),
            _ => log[first] = log[second],
        }
    }
    for (slot, bytes) in log.iter().enumerate() {
        let found = classify(slot_words(bytes), place_of(slot));
        match found {
            _ if *bytes == whole[slot] => assert_eq!(found, Slot::Valid(record(slot))),
            Slot::Valid(_) => panic!("slot {slot} was changed and is accepted"),
            Slot::Foreign { .. } => assert!(whole.contains(bytes), "slot {slot} is nobody's record"),
            Slot::Blank { .. } => assert_eq!(bytes[24..], [0; 8]),
            Slot::Damaged(damage) => assert_eq!(damage, SlotDamage::Checksum),
        }
    }
}
