//! The n-th operation on the log's file fails: n = 1, 2, 3 ... until none does, each with eight errors, once
//! and for ever. The host goes on, what was recorded before is whole, and every loss is counted.

mod common;
#[path = "common/faulty.rs"]
mod faulty;

use common::Content;
use faulty::{ERRORS, Plan};
use hitlog::Recorder;
use hitlog::format::Record;

const LINES: u32 = 12_000;

/// Records under `plan`; whether the fault was reached.
fn survive(plan: Plan) -> bool {
    let (recorder, faults) = faulty::open(plan);
    match recorder {
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("faulty") && text.contains("os error"), "{plan:?}: {text}");
        }
        Ok(recorder) => {
            let lost = record(recorder);
            check(&Content::parse(&faults.log().unwrap()), lost, plan);
        }
    }
    faults.was_reached()
}

/// What a host does; how many of its records were lost.
fn record(recorder: Recorder) -> u64 {
    let file = recorder.file("a.py");
    for line in 1..=LINES {
        if line % 100 == 0 {
            let _ = recorder.sync();
        }
        recorder.line(file, line);
    }
    let lost = recorder.lost();
    drop(recorder);
    lost
}

fn check(content: &Content, lost: u64, plan: Plan) {
    content.assert_whole();
    assert_eq!(content.lines().len() as u64 + lost, u64::from(LINES), "{plan:?}");
    for trailer in content.trailers() {
        let Record::Trailer { lost: told, records, .. } = trailer else { unreachable!() };
        assert_eq!(u64::from(told), lost, "{plan:?}");
        assert_eq!(records as usize, content.records.len() - content.trailers().len(), "{plan:?}");
    }
}

#[test]
fn the_host_survives_every_fault_and_every_loss_is_counted() {
    for errno in ERRORS {
        for for_ever in [false, true] {
            let mut nth = 1;
            while survive(Plan { in_memory: true, nth, errno, for_ever }) {
                nth += 1;
            }
            assert!(nth > 100, "only {nth} operations were there to fail");
        }
    }
}

#[test]
fn without_memory_the_same_holds_for_every_record() {
    for errno in [libc::ENOSPC, libc::EIO] {
        for for_ever in [false, true] {
            for nth in (1..60).chain((60..13_000).step_by(731)) {
                survive(Plan { in_memory: false, nth, errno, for_ever });
            }
        }
    }
}
