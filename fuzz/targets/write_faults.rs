//! Operations, and a fault in the middle of them: the host goes on, what is read was recorded, and what is
//! missing is counted as lost.
//!
//! The first five bytes say which operation on the storage fails, with which error, whether for ever, and
//! whether records are stored through memory.

use crate::common::Content;
use crate::faulty::{self, ERRORS, Plan};
use crate::operations::Model;
use hitlog::format::Record;

/// Records what `input` says, and compares.
pub fn run(input: &[u8]) {
    let [low, high, errno, for_ever, in_memory, operations @ ..] = input else { return };
    let plan = Plan {
        in_memory: in_memory % 2 == 0,
        nth: 1 + i64::from(u16::from_le_bytes([*low, *high]) % 2000),
        errno: ERRORS[usize::from(*errno) % ERRORS.len()],
        for_ever: for_ever % 2 == 0,
    };
    let (recorder, faults) = faulty::open(plan);
    let Ok(recorder) = recorder else { return };
    let mut model = Model::default();
    model.work(&recorder, operations);
    let lost = recorder.lost();
    drop(recorder);
    let Some(content) = faults.log().map(|bytes| Content::parse(&bytes)) else { return };
    content.assert_whole();
    let missing = model.missing(&content);
    assert!(missing as u64 <= lost, "{missing} are missing and {lost} were counted; {plan:?}");
    for trailer in content.trailers() {
        let Record::Trailer { lost: told, .. } = trailer else { unreachable!("a trailer") };
        assert!(u64::from(told) <= lost, "{plan:?}");
    }
    assert!(lost == 0 || faults.was_reached(), "lost without a fault: {plan:?}");
}
