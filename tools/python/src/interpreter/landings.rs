//! Instructions that only run when a certain branch went there (CPython 3.12 and 3.13).
//!
//! In these versions one event stands for both ways of a branch, and so would come each time as long as
//! one of them is not taken. Where the first instruction behind that way is reached from nowhere else,
//! its report, once, tells as much.

use super::instructions::Instructions;

/// The instructions of a code object that run only after one branch, with its unit.
pub struct Landings {
    /// By unit.
    from: Vec<Reached>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    No,
    FromBranch(usize),
    FromElsewhere,
}

impl Landings {
    /// Finds the landings of `instructions`.
    pub fn find(instructions: &Instructions) -> Landings {
        let mut landings = Landings { from: Vec::new() };
        for handler in instructions.handlers() {
            landings.add(handler, Reached::FromElsewhere);
        }
        for at in instructions.each_unit() {
            let is_branch = instructions.is_branch(at);
            let next =
                if is_branch { landings_of(instructions, at) } else { instructions.successors(at) };
            // The end of a loop belongs to the branch before.
            let how = if is_branch { Reached::FromBranch(at) } else { Reached::FromElsewhere };
            if !is_end_of_loop(instructions, at) {
                next.into_iter().flatten().for_each(|next| landings.add(next, how));
            }
        }
        landings
    }

    fn add(&mut self, at: usize, how: Reached) {
        if self.from.len() <= at {
            self.from.resize(at + 1, Reached::No);
        }
        self.from[at] = if self.from[at] == Reached::No { how } else { Reached::FromElsewhere };
    }

    /// The branch that unit `at` runs only after.
    pub fn branch_before(&self, at: usize) -> Option<usize> {
        match self.from.get(at) {
            Some(Reached::FromBranch(from)) => Some(*from),
            _ => None,
        }
    }
}

/// The units at which the branch at unit `at` is reported to go on: the end of a loop is passed over.
pub fn landings_of(instructions: &Instructions, at: usize) -> [Option<usize>; 2] {
    let pass = |at: usize| {
        let rest = (at..).take_while(|at| is_end_of_loop(instructions, *at));
        at + rest.count()
    };
    instructions.successors(at).map(|next| next.map(pass))
}

/// The instruction that takes an exhausted iterator away, in 3.13 the two of them.
fn is_end_of_loop(instructions: &Instructions, at: usize) -> bool {
    let is_first = instructions.is_end_for(at);
    is_first || cfg!(Py_3_13) && at > 0 && instructions.is_end_for(at - 1)
}
