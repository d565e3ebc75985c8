//! Three appending threads and a scanning one, with several appends each, in a hundred thousand random orders,
//! by shuttle: loom does not come to an end with as many.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test --release --test slot_schedules` - without the flag there is nothing
//! here to run. `HITLOG_SCHEDULES` sets how many orders are tried.

#![cfg(shuttle)]

#[path = "common/random.rs"]
mod random;
#[path = "common/slots.rs"]
mod slots;

use shuttle::sync::Arc;
use shuttle::thread;
use slots::Slots;

const WRITERS: u32 = 3;
const APPENDS: u32 = 3;

fn append_and_scan() {
    let slots = Arc::new(Slots::blank(WRITERS * APPENDS));
    let writer = |number: u32| {
        let slots = Arc::clone(&slots);
        thread::spawn(move || {
            for slot in number * APPENDS..(number + 1) * APPENDS {
                slots.append(slot);
                assert!(slots.holds(slot), "whoever appended sees it from then on");
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS).map(writer).collect();
    let reader = {
        let slots = Arc::clone(&slots);
        thread::spawn(move || {
            let first = slots.scan();
            assert!(slots.scan() >= first, "what was there is gone");
        })
    };
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    reader.join().unwrap();
    assert_eq!(slots.scan(), WRITERS * APPENDS, "all that was appended is there");
}

#[test]
fn a_scan_sees_whole_records_or_none_whatever_the_order() {
    let schedules = random::figure("HITLOG_SCHEDULES", 100_000) as usize;
    shuttle::check_random(append_and_scan, schedules);
}
