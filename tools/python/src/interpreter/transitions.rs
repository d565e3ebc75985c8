//! From which line to which a thread went, in each of its frames (CPython 3.9 to 3.11).
//!
//! A frame's last line is kept by the frame's address, not on a stack: frames of greenlets and of
//! generators come and go in any order. Entries are made when a frame begins and go when it ends.

use std::cell::RefCell;
use std::collections::HashMap;

use super::frame::{self, Frame};
use crate::session::MeasuredFile;

/// The last line of the frame that was reported last, and of the others. 0: not known.
#[derive(Default)]
struct Places {
    frame: usize,
    line: i32,
    others: HashMap<usize, i32>,
}

thread_local! {
    static PLACES: RefCell<Places> = RefCell::default();
}

impl Places {
    /// The last line of `frame`.
    fn of(&mut self, frame: usize) -> &mut i32 {
        if self.frame != frame {
            if self.frame != 0 {
                self.others.insert(self.frame, self.line);
            }
            self.line = self.others.remove(&frame).unwrap_or(0);
            self.frame = frame;
        }
        &mut self.line
    }

    fn forget(&mut self) {
        (self.frame, self.line) = (0, 0);
    }
}

fn with_places(work: impl FnOnce(&mut Places)) {
    // Not there any more while a thread ends, and never used twice at once.
    let _ = PLACES.try_with(|places| places.try_borrow_mut().map(|mut places| work(&mut places)));
}

/// A frame begins, or goes on where it was left.
///
/// # Safety
/// `frame` is a frame of the running interpreter.
pub unsafe fn begin(frame: *mut Frame) {
    // SAFETY: as the caller promises.
    let (again, first, line) =
        unsafe { (frame::is_entered_again(frame), frame::first_line(frame), (*frame).f_lineno) };
    with_places(|places| *places.of(frame.addr()) = if again { line } else { -first });
}

/// A line of a frame of `file` runs.
///
/// # Safety
/// As [`begin`].
pub unsafe fn line(frame: *mut Frame, file: &MeasuredFile, line: i32) {
    with_places(|places| {
        let before = std::mem::replace(places.of(frame.addr()), line);
        // A frame that ran before the recording began: at least its line is known.
        file.transition(if before == 0 { line } else { before }, line);
    });
}

/// A frame of `file` ends or is left for a while.
///
/// # Safety
/// As [`begin`].
pub unsafe fn end(frame: *mut Frame, file: &MeasuredFile) {
    // SAFETY: as the caller promises.
    let (suspended, first) = unsafe { (frame::is_suspended(frame), frame::first_line(frame)) };
    with_places(|places| {
        let before = *places.of(frame.addr());
        if !suspended && before != 0 {
            file.transition(before, -first);
        }
        places.forget();
    });
}
