//! Tests that can see the results of a function without running it.
//!
//! What a function returned may have been kept: by `functools.cache`, by a fixture of a wider scope, in a
//! table of the module. The test that came first ran the function, those behind it ran only what asks for
//! the result. So beside the tests that ran a function there are those which
//! * began after it had run for the first time in their process, and
//! * ran something that names it, or names what names it, and so on.
//!
//! Names are compared as words, so too many functions are taken for callers, not too few. Results that
//! reach a test without any name on the way (through a computed name, or a table of functions that nobody
//! names) are not seen.

use super::Error;
use super::python::{Block, MODULE};
use super::recording::{RecordedFile, Recording, Runners};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Functions that run for tests which do not name them.
const FOR_ALL: [&str; 8] = [
    "setup_module",
    "setUpModule",
    "setup_class",
    "setUpClass",
    "teardown_module",
    "tearDownModule",
    "teardown_class",
    "tearDownClass",
];

/// A function of the recording.
struct Function {
    block: Block,
    runners: Runners,
}

/// All functions that ran, by the words in them.
#[derive(Default)]
pub(super) struct Callers {
    functions: Vec<Function>,
    by_word: HashMap<String, Vec<usize>>,
    classes: Vec<(String, BTreeSet<String>)>,
    /// The files in which each word stands.
    files_by_word: HashMap<String, Vec<PathBuf>>,
}

impl Callers {
    /// Reads all sources of `recording`.
    pub(super) fn read(recording: &Recording) -> Result<Callers, Error> {
        let mut all = Callers::default();
        for file in &recording.files {
            let Some(shape) = recording.shape(file)? else { continue };
            let runners = recording.runners(file, &shape)?;
            all.classes.extend(shape.classes);
            let words: BTreeSet<&String> = shape.blocks.iter().flat_map(|block| &block.words).collect();
            for word in words {
                all.files_by_word.entry(word.clone()).or_default().push(file.path.clone());
            }
            let functions = shape.blocks.into_iter().zip(runners).skip(MODULE + 1);
            for (block, runners) in functions.filter(|(_, runners)| !runners.contexts.is_empty()) {
                all.add(Function { block, runners });
            }
        }
        Ok(all)
    }

    /// Whether the module in the file `path` is named in any other file: it may be imported there.
    pub(super) fn is_named_outside(&self, path: &Path) -> bool {
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        self.files_by_word.get(stem).into_iter().flatten().any(|file| file != path)
    }

    fn add(&mut self, function: Function) {
        for word in &function.block.words {
            self.by_word.entry(word.clone()).or_default().push(self.functions.len());
        }
        self.functions.push(function);
    }

    /// The tests that may see results of `block`, a function in `file` that `runners` ran.
    pub(super) fn tests_behind(
        &self,
        recording: &Recording,
        file: &RecordedFile,
        block: &Block,
        runners: &Runners,
    ) -> BTreeSet<usize> {
        let after = recording.tests_after(file, &runners.contexts);
        if after.iter().all(|test| recording.tests_of(&runners.contexts).any(|runner| runner == *test))
        {
            return BTreeSet::new();
        }
        let Some(contexts) = self.contexts_naming(block) else { return after };
        recording.tests_of(&contexts).filter(|test| after.contains(test)).collect()
    }

    /// The contexts in which something ran that leads to `block` by names; `None` if that is all.
    fn contexts_naming(&self, block: &Block) -> Option<BTreeSet<i64>> {
        let mut contexts = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut names = self.names_of(block)?;
        while let Some(name) = names.pop() {
            for place in self.by_word.get(&name).into_iter().flatten() {
                if seen.insert(*place) {
                    let caller = &self.functions[*place];
                    contexts.extend(&caller.runners.contexts);
                    names.extend(self.names_of(&caller.block)?);
                }
            }
        }
        Some(contexts)
    }

    /// The names by which code refers to `block`; `None` if it runs for tests that do not name it.
    fn names_of(&self, block: &Block) -> Option<Vec<String>> {
        let name = block.name.as_str();
        let is_for_all = FOR_ALL.contains(&name) || name.starts_with("pytest_");
        if is_for_all || block.decorators.contains("autouse") {
            return None;
        }
        let is_special = name.starts_with("__") && name.ends_with("__");
        match &block.class {
            Some(class) if is_special => Some(self.subclasses(class)),
            _ => Some(vec![name.to_owned()]),
        }
    }

    /// `class` and all classes that are made from it, by their names.
    fn subclasses(&self, class: &str) -> Vec<String> {
        let mut found = vec![class.to_owned()];
        let mut next = 0;
        while next < found.len() {
            let base = found[next].clone();
            for (name, words) in &self.classes {
                if words.contains(&base) && !found.contains(name) {
                    found.push(name.clone());
                }
            }
            next += 1;
        }
        found
    }
}
