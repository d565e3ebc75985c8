//! From which line each line of a code object is reached, where that is always the same one.
//!
//! ```text
//! 1  for x in xs:      2 is only reached from 1, and so is 4: when they run, the branch on line 1 has
//! 2      if x:         gone that way. 3 is only reached from 2; but 1 is reached from outside, from 2
//! 3          y = x     and from 3, so that only the branch on line 2 itself tells when it goes there.
//! 4  return y
//! ```
//!
//! What the report of a line tells need not be told by the report of a branch: those would come each
//! time, as long as the other way was not taken.

use super::instructions::{Instructions, Next};

/// More lines than this one code object has only if it was made to have.
const LINES_MAX: usize = 1 << 16;
/// It is reached from more than one place, or from nowhere.
const SEVERAL: i32 = -1;

/// The lines of a code object, each with the line from which it is reached.
pub struct Origins {
    first: i32,
    /// By line, from `first` on; not positive: not known.
    from: Box<[i32]>,
}

impl Origins {
    /// Finds the origins of the lines of `instructions`; of those only that a branch leads to.
    pub fn find(instructions: &Instructions) -> Origins {
        let mut origins = Origins::of_no_line(instructions);
        let mut arcs = Vec::new();
        origins.add(instructions.line_at(0), SEVERAL);
        for handler in instructions.handlers() {
            origins.add(instructions.line_at(handler), SEVERAL);
        }
        for at in instructions.each_unit() {
            let line = instructions.line_at(at);
            for next in instructions.successors(at).into_iter().flatten() {
                origins.add_step(line, instructions.line_at(next), next <= at);
                if instructions.is_branch(at)
                    && let Some(Next::Line(next)) = instructions.next_line(line, next)
                {
                    arcs.push((line, next));
                }
            }
        }
        origins.keep_only(&mut arcs);
        origins
    }

    fn of_no_line(instructions: &Instructions) -> Origins {
        let lines =
            || instructions.each_unit().map(|at| instructions.line_at(at)).filter(|line| *line > 0);
        let (first, last) = (lines().min().unwrap_or(0), lines().max().unwrap_or(-1));
        let count = (i64::from(last) - i64::from(first) + 1) as usize;
        let from = if count <= LINES_MAX { vec![0; count] } else { Vec::new() };
        Origins { first, from: from.into() }
    }

    /// A unit of line `line` may be followed by one of line `next`.
    fn add_step(&mut self, line: i32, next: i32, is_backward: bool) {
        if line != next {
            self.add(next, if line > 0 { line } else { SEVERAL });
        } else if is_backward {
            // The line is reported again each time.
            self.add(next, SEVERAL);
        }
    }

    fn add(&mut self, line: i32, from: i32) {
        let place = self.place(line);
        if let Some(known) = place.and_then(|place| self.from.get_mut(place)) {
            *known = if *known == 0 || *known == from { from } else { SEVERAL };
        }
    }

    fn keep_only(&mut self, arcs: &mut [(i32, i32)]) {
        arcs.sort_unstable();
        for (line, from) in (self.first..).zip(&mut self.from) {
            if arcs.binary_search(&(*from, line)).is_err() {
                *from = 0;
            }
        }
    }

    /// The place of `line` among all lines of the code object.
    #[inline(always)]
    pub fn place(&self, line: i32) -> Option<usize> {
        usize::try_from(line.checked_sub(self.first)?).ok().filter(|place| *place < self.from.len())
    }

    /// The line before the one at `place`, if that is always the same one.
    pub fn of(&self, place: usize) -> Option<i32> {
        self.from.get(place).copied().filter(|line| *line > 0)
    }

    /// How many places there are.
    pub fn count(&self) -> usize {
        self.from.len()
    }

    /// Whether the report of another event says that it went from `line` to `next`.
    pub fn tell(&self, instructions: &Instructions, line: i32, next: Next) -> bool {
        match next {
            Next::Line(next) => self.place(next).and_then(|place| self.of(place)) == Some(line),
            Next::Return(at) => instructions.line_at(at) == line,
            Next::Raise => false,
        }
    }
}
