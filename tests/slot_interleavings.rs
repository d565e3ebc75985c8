//! Every interleaving of two appending threads and a scan, by loom, and of three those in which at most two
//! threads are interrupted: what a scan accepts was appended whole, and what it does not accept yet is blank.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --test slot_interleavings` - without the flag there is
//! nothing here to run. `LOOM_MAX_PREEMPTIONS` sets how many interruptions there may be.

#![cfg(loom)]

#[path = "common/slots.rs"]
mod slots;

use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;
use slots::Slots;

/// An append in each of `writers` threads, and a scan meanwhile.
fn append_and_scan(writers: u32) {
    let slots = Arc::new(Slots::blank(writers));
    let writer = |slot: u32| {
        let slots = Arc::clone(&slots);
        thread::spawn(move || slots.append(slot))
    };
    let threads: Vec<_> = (0..writers).map(writer).collect();
    slots.scan();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(slots.scan(), writers, "all that was appended is there");
}

#[test]
fn a_scan_sees_whole_records_or_none() {
    loom::model(|| append_and_scan(2));
}

#[test]
fn a_scan_beside_three_writers_sees_whole_records_or_none() {
    let mut model = Builder::new();
    // One takes 0.01 s, two 5 s; three are not through after 20 s.
    model.preemption_bound = model.preemption_bound.or(Some(2));
    model.check(|| append_and_scan(3));
}
