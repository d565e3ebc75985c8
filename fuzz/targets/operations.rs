//! What a host does with its recorder, as bytes tell it, and what must come of it.
//!
//! Four bytes are an operation: what, and three numbers. The model is a set of what was recorded, by name.
#![allow(dead_code, reason = "not every target uses everything")]

use std::collections::{BTreeMap, BTreeSet};

use hitlog::Recorder;
use hitlog::format::{EndReason, Record};

use crate::common::Content;

/// What a host recorded, or tried to.
#[derive(Clone, Debug, Default)]
pub struct Model {
    context: String,
    /// Context, file and line.
    pub lines: BTreeSet<(String, String, u32)>,
    /// Context, file, from and to.
    pub arcs: BTreeSet<(String, String, i32, i32)>,
    /// How often each value was measured.
    pub samples: BTreeMap<u64, usize>,
}

impl Model {
    /// Does what `bytes` say, to `recorder` and to the model.
    pub fn work(&mut self, recorder: &Recorder, bytes: &[u8]) {
        for operation in bytes.chunks_exact(4) {
            let [what, first, second, third] = [0, 1, 2, 3].map(|index| operation[index]);
            let file = file_name(first);
            let line = 1 + u32::from(second) + 256 * u32::from(third);
            match what % 8 {
                0..4 => {
                    recorder.line(recorder.file(&file), line);
                    self.lines.insert((self.context.clone(), file, line));
                }
                4 => {
                    let (from, to) = (line as i32, i32::from(third) - 128);
                    recorder.arc(recorder.file(&file), from, to);
                    self.arcs.insert((self.context.clone(), file, from, to));
                }
                5 => {
                    self.context = context_name(second);
                    recorder.switch_context(&self.context);
                }
                6 => {
                    let value = u64::from(line) << (first % 32);
                    recorder.sample(file_name(third % 4), value);
                    *self.samples.entry(value).or_default() += 1;
                }
                _ if first % 2 == 0 => drop(recorder.sync()),
                _ => recorder.end(EndReason::Closed, Some(second.into())),
            }
        }
    }

    /// How many of the model's records a log does not have; fails if it has others.
    pub fn missing(&self, content: &Content) -> usize {
        let lines = content.lines();
        let arcs = arcs_of(content);
        let samples = samples_of(content);
        assert!(lines.is_subset(&self.lines), "lines that nobody recorded");
        assert!(arcs.is_subset(&self.arcs), "arcs that nobody recorded");
        let unknown =
            samples.iter().any(|(value, count)| self.samples.get(value).is_none_or(|n| n < count));
        assert!(!unknown, "samples that nobody took");
        let measured = |samples: &BTreeMap<u64, usize>| samples.values().sum::<usize>();
        (self.lines.len() - lines.len())
            + (self.arcs.len() - arcs.len())
            + (measured(&self.samples) - measured(&samples))
    }
}

/// Short ones, and ones of many chunks.
fn file_name(number: u8) -> String {
    let number = number % 24;
    format!("/src/{}{number}.py", "x".repeat(usize::from(number) * 9 % 70))
}

fn context_name(number: u8) -> String {
    match number % 12 {
        0 => String::new(),
        number => format!("tests/test_{}.py::test|run", "y".repeat(usize::from(number) * 5)),
    }
}

fn arcs_of(content: &Content) -> BTreeSet<(String, String, i32, i32)> {
    use hitlog::format::NameSpace;
    let files = content.whole_names(NameSpace::File);
    let mut contexts = content.whole_names(NameSpace::Context);
    contexts.insert(0, String::new());
    let arcs = content.records.iter().filter_map(|record| match record {
        Record::Arc { context, file, from, to } => {
            Some((contexts[context].clone(), files[file].clone(), *from, *to))
        }
        _ => None,
    });
    arcs.collect()
}

fn samples_of(content: &Content) -> BTreeMap<u64, usize> {
    let mut samples = BTreeMap::new();
    for record in &content.records {
        if let Record::Sample { value, .. } = record {
            *samples.entry(*value).or_default() += 1;
        }
    }
    samples
}
