//! The instructions of a code object, as far as it takes to say where a branch leads to.
//!
//! The interpreter reports a branch as two offsets; a report of coverage speaks of lines. So the
//! instructions are followed from the destination to the first one of another line, or to the end of
//! the function. On the way there may be another branch: then that one will tell.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

/// The numbers of the instructions that matter; they differ from version to version.
struct Opcodes {
    extended_argument: u8,
    jumps_forward: Vec<u8>,
    jumps_backward: Vec<u8>,
    returns: Vec<u8>,
    make_function: u8,
    /// What gives a function its name, on the line of its `def`.
    stores: Vec<u8>,
    /// What raises an exception, always.
    raises: Vec<u8>,
    /// Branches.
    branches: Vec<u8>,
    end_async_for: u8,
    #[cfg(not(Py_3_14))]
    end_send: u8,
    #[cfg(not(Py_3_14))]
    end_for: u8,
}

static OPCODES: PyOnceLock<Opcodes> = PyOnceLock::new();

/// Takes the place of each instruction's inline data in `co_code`.
const CACHE: u8 = 0;

fn opcodes(py: Python<'_>) -> PyResult<&'static Opcodes> {
    OPCODES.get_or_try_init(py, || {
        // A dictionary, from 3.15 on one that cannot be changed.
        let numbers = py.import("opcode")?.getattr("opmap")?;
        let all = |names: &[&str]| -> PyResult<Vec<u8>> {
            let known = names.iter().filter_map(|name| numbers.get_item(name).ok());
            known.map(|number| number.extract()).collect()
        };
        let one = |name: &str| numbers.get_item(name)?.extract::<u8>();
        Ok(Opcodes {
            extended_argument: one("EXTENDED_ARG")?,
            jumps_forward: all(&["JUMP_FORWARD"])?,
            jumps_backward: all(&["JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"])?,
            returns: all(&["RETURN_VALUE", "RETURN_CONST"])?,
            make_function: one("MAKE_FUNCTION")?,
            stores: all(&["STORE_NAME", "STORE_FAST", "STORE_GLOBAL", "STORE_DEREF"])?,
            end_async_for: one("END_ASYNC_FOR")?,
            #[cfg(not(Py_3_14))]
            end_send: one("END_SEND")?,
            #[cfg(not(Py_3_14))]
            end_for: one("END_FOR")?,
            raises: all(&["RAISE_VARARGS", "RERAISE"])?,
            branches: all(&[
                "POP_JUMP_IF_FALSE",
                "POP_JUMP_IF_TRUE",
                "POP_JUMP_IF_NONE",
                "POP_JUMP_IF_NOT_NONE",
                "FOR_ITER",
                "END_ASYNC_FOR",
                "SEND",
            ])?,
        })
    })
}

/// Learns the numbers of the instructions, which fails where CPython has changed them beyond recognition.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    opcodes(py).map(drop)
}

/// How it goes on after a line.
#[derive(Clone, Copy)]
pub enum Next {
    /// On this line.
    Line(i32),
    /// The function returns, at this unit.
    Return(usize),
    /// An exception leaves the function.
    Raise,
}

/// The instructions of one code object, each with its line.
pub struct Instructions {
    opcodes: &'static Opcodes,
    /// Pairs of instruction and argument.
    units: Vec<[u8; 2]>,
    /// Line of each unit; 0: none.
    lines: Vec<i32>,
    /// Where exceptions go: units from, to (without it), and the unit that handles them.
    handlers: Vec<(usize, usize, usize)>,
    first_line: i32,
}

impl Instructions {
    /// Reads the instructions of `code`.
    pub fn read(code: &Bound<'_, PyAny>) -> PyResult<Instructions> {
        let py = code.py();
        let bytes = code.getattr(pyo3::intern!(py, "co_code"))?.cast_into::<PyBytes>()?;
        let units: Vec<[u8; 2]> = bytes.as_bytes().as_chunks().0.to_vec();
        let mut lines = vec![0; units.len()];
        for range in code.call_method0(pyo3::intern!(py, "co_lines"))?.try_iter()? {
            let (start, end, line): (usize, usize, Option<i32>) = range?.extract()?;
            if let Some(part) = lines.get_mut(start / 2..end / 2) {
                part.fill(line.unwrap_or(0));
            }
        }
        let first_line = code.getattr(pyo3::intern!(py, "co_firstlineno"))?.extract()?;
        let table = code.getattr(pyo3::intern!(py, "co_exceptiontable"))?.cast_into::<PyBytes>()?;
        let handlers = handlers(table.as_bytes());
        Ok(Instructions { opcodes: opcodes(py)?, units, lines, handlers, first_line })
    }

    /// What is recorded of going on from `line` at `next`: the two lines, where a negative one is the end
    /// of the function that begins there.
    pub fn transition(&self, line: i32, next: Next) -> (i32, i32) {
        match next {
            Next::Line(next) => (line, next),
            Next::Return(_) | Next::Raise => (line, -self.first_line),
        }
    }

    /// The transition that an end of the function at offset `from` is.
    pub fn exit(&self, from: u32) -> Option<(i32, i32)> {
        self.line(from).map(|line| (line, -self.first_line))
    }

    /// The transitions from each line that makes a function, a lambda or a class, to what follows it.
    /// No branch decides them, but where all of the function is on that line, reports take it for one.
    pub fn transitions_after_functions(&self) -> Vec<(i32, i32)> {
        let made = (0..self.units.len()).filter(|at| self.units[*at][0] == self.opcodes.make_function);
        let transition = |at: usize| {
            let line = self.lines[at];
            Some(self.transition(line, self.next_line(line, self.next(at))?))
        };
        let places = made.flat_map(|at| [Some(at), self.store_after(at)]).flatten();
        places.filter_map(transition).filter(|(line, _)| *line > 0).collect()
    }

    /// Where the function made at unit `at` gets its name, after its decorators were called.
    fn store_after(&self, at: usize) -> Option<usize> {
        let mut after = (at + 1..self.units.len()).map(|at| (at, self.units[at][0]));
        let codes = self.opcodes;
        let ends = |code: u8| codes.branches.contains(&code) || codes.returns.contains(&code);
        let found = after.find(|(_, code)| codes.stores.contains(code) || ends(*code));
        found.filter(|(_, code)| codes.stores.contains(code)).map(|(at, _)| at)
    }

    /// The line of the instruction at `offset`.
    pub fn line(&self, offset: u32) -> Option<i32> {
        self.lines.get(offset as usize / 2).copied().filter(|line| *line > 0)
    }

    /// How it goes on after `line` when unit `at` is run next; `None`: another branch decides.
    pub fn next_line(&self, line: i32, mut at: usize) -> Option<Next> {
        // Nothing is visited twice, but for a loop without end.
        for _ in 0..self.units.len() {
            let [instruction, _] = *self.units.get(at)?;
            let here = self.lines[at];
            if here > 0 && here != line {
                return Some(Next::Line(here));
            }
            let codes = self.opcodes;
            if codes.branches.contains(&instruction) {
                return None;
            }
            if codes.returns.contains(&instruction) {
                return Some(Next::Return(at));
            }
            if codes.raises.contains(&instruction) {
                match self.handler(at) {
                    Some(handler) => at = handler,
                    None => return Some(Next::Raise),
                }
                continue;
            }
            at = self.jump(at).unwrap_or_else(|| self.next(at));
        }
        None
    }

    /// Where the jump at unit `at` goes, if it is one without a condition.
    fn jump(&self, at: usize) -> Option<usize> {
        let instruction = self.units[at][0];
        if self.opcodes.jumps_forward.contains(&instruction) {
            return Some(self.next(at) + self.argument(at));
        }
        let is_backward = self.opcodes.jumps_backward.contains(&instruction);
        is_backward.then(|| self.next(at).saturating_sub(self.argument(at)))
    }

    /// The units that can run after unit `at`, exceptions aside; two after a branch.
    pub fn successors(&self, at: usize) -> [Option<usize>; 2] {
        let (codes, instruction) = (self.opcodes, self.units[at][0]);
        if codes.returns.contains(&instruction) || codes.raises.contains(&instruction) {
            return [None, None];
        }
        if self.is_branch(at) {
            let next = self.next(at);
            return [Some(next), Some(next + self.argument(at))];
        }
        [Some(self.jump(at).unwrap_or_else(|| self.next(at))), None]
    }

    /// Whether unit `at` goes one of two ways. The end of an `async for` raises, or else goes on.
    pub fn is_branch(&self, at: usize) -> bool {
        let instruction = self.units[at][0];
        self.opcodes.branches.contains(&instruction) && instruction != self.opcodes.end_async_for
    }

    /// Whether unit `at` ends a loop.
    #[cfg(not(Py_3_14))]
    pub fn is_end_for(&self, at: usize) -> bool {
        self.units.get(at).is_some_and(|unit| unit[0] == self.opcodes.end_for)
    }

    /// All units but inline data.
    pub fn each_unit(&self) -> impl Iterator<Item = usize> {
        (0..self.units.len()).filter(|at| self.units[*at][0] != CACHE)
    }

    /// The line of unit `at`; 0: none.
    pub fn line_at(&self, at: usize) -> i32 {
        self.lines.get(at).copied().unwrap_or(0)
    }

    /// The units at which exceptions are handled.
    pub fn handlers(&self) -> impl Iterator<Item = usize> {
        self.handlers.iter().map(|(_, _, handler)| *handler)
    }

    /// Whether there is an `async for` in it.
    #[cfg(not(Py_3_14))]
    pub fn has_async_for(&self) -> bool {
        self.units.iter().any(|[code, _]| *code == self.opcodes.end_async_for)
    }

    /// Where an `async for` goes on from the instruction at offset `from`, if that is where it got an
    /// element (the end of the waiting for it) or found that there are no more.
    #[cfg(not(Py_3_14))]
    pub fn way_of_async_for(&self, from: u32) -> Option<u32> {
        let at = from as usize / 2;
        let is_end = |at: usize| self.units[at][0] == self.opcodes.end_async_for;
        let [instruction, _] = *self.units.get(at)?;
        let is_element = instruction == self.opcodes.end_send && self.handler(at).is_some_and(is_end);
        (is_end(at) || is_element).then(|| 2 * self.next(at) as u32)
    }

    /// The unit at which an exception raised at unit `at` is handled, if it is in this function.
    fn handler(&self, at: usize) -> Option<usize> {
        let mut handlers = self.handlers.iter();
        let found = handlers.find(|(from, to, _)| (*from..*to).contains(&at));
        found.map(|(_, _, handler)| *handler).filter(|handler| *handler < self.units.len())
    }

    fn next(&self, at: usize) -> usize {
        let rest = self.units[at + 1..].iter();
        at + 1 + rest.take_while(|[instruction, _]| *instruction == CACHE).count()
    }

    /// The argument of the instruction at unit `at`, with those that extend it.
    fn argument(&self, at: usize) -> usize {
        let before = self.units[..at].iter().rev();
        let extended = before.take_while(|[code, _]| *code == self.opcodes.extended_argument);
        let low = usize::from(self.units[at][1]);
        extended.zip(1..).fold(low, |sum, ([_, part], place)| sum | usize::from(*part) << (8 * place))
    }
}

/// Reads an exception table (CPython's `Objects/exception_handling_notes.txt`): entries of four numbers -
/// start, length, handler, depth - in groups of six bits, the most significant group first. A group is
/// followed by another one if its bit 6 is set; bit 7 marks the first group of an entry.
fn handlers(table: &[u8]) -> Vec<(usize, usize, usize)> {
    let mut numbers = Vec::new();
    let mut number = 0;
    for byte in table {
        number = number << 6 | usize::from(byte & 0x3f);
        if byte & 0x40 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    let entries = numbers.chunks_exact(4);
    entries.map(|entry| (entry[0], entry[0] + entry[1], entry[2])).collect()
}
