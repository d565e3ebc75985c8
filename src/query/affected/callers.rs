//! Tests that can see the results of a function without running it.
//!
//! What a function returned may have been kept: by `functools.cache`, by a fixture of a wider scope, in a
//! table of the module. The test that came first ran the function, those behind it ran only what asks for
//! the result. So beside the tests that ran a function there are those which
//! * began after it had run for the first time in their process, or in one that it was forked from, and
//! * ran something that names it, or names what names it, and so on.
//!
//! A test that passes alone would run the function, had nobody kept its result. So on the way to the result it
//! runs something that leads to the function, by name. Names are compared as words, so too many functions are
//! taken for callers, not too few: a function goes by its own name, by the names of the tables it is entered
//! into, by those in its decorators, and by the beginning of a name of which the rest is computed. A function
//! inside of another one goes by that one's. Results that reach a test without any name on the way are not
//! seen.

use super::Error;
use super::python::{Block, LAMBDA, MODULE, Shape, Table};
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

/// Words in decorators that give a function no other name, and words of the language.
const PLAIN: [&str; 41] = [
    "abstractmethod",
    "args",
    "asyncio",
    "autouse",
    "cache",
    "cached_property",
    "class",
    "classmethod",
    "cls",
    "contextlib",
    "contextmanager",
    "deleter",
    "False",
    "fixture",
    "for",
    "functools",
    "getter",
    "if",
    "in",
    "indirect",
    "ids",
    "is",
    "kwargs",
    "lambda",
    "lru_cache",
    "mark",
    "maxsize",
    "module",
    "None",
    "not",
    "overload",
    "package",
    "parametrize",
    "params",
    "property",
    "pytest",
    "scope",
    "self",
    "session",
    "setter",
    "True",
];

/// How long the known beginning of a computed name must be, in bytes, to say anything.
const PREFIX_BYTES_MIN: usize = 3;

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
    /// Words that end with an underscore: other names may begin so.
    prefixes: BTreeSet<String>,
    classes: Vec<(String, BTreeSet<String>)>,
    /// The files in which each word stands.
    files_by_word: HashMap<String, Vec<PathBuf>>,
    /// The statements that mention a word and may give it another name.
    tables_by_word: HashMap<String, Vec<Vec<String>>>,
    /// Names of modules' own variables that are mentioned in the functions of a name: decorators keep
    /// functions there.
    variables_of: HashMap<String, BTreeSet<String>>,
    /// The words of files that are not measured, each with what ran them.
    unmeasured: HashMap<String, Unmeasured>,
}

/// Who runs files of which it is not known what of them ran.
#[derive(Clone, Debug, Default)]
struct Unmeasured {
    /// The tests in them.
    tests: BTreeSet<usize>,
    /// Whether one of them holds no tests: anybody may run it.
    is_for_all: bool,
}

impl Callers {
    /// Reads all sources of `recording`, and of the files `unmeasured` that belong to it but of which no line
    /// was recorded, each with the tests in it.
    pub(super) fn read(
        recording: &Recording,
        unmeasured: Vec<(PathBuf, BTreeSet<usize>)>,
    ) -> Result<Callers, Error> {
        let mut all = Callers::default();
        for file in &recording.files {
            let Some(shape) = recording.shape(file)? else { continue };
            let runners = recording.runners(file, &shape)?;
            all.add_words(&file.path, &shape);
            all.add_functions(shape, runners);
        }
        for (path, tests) in unmeasured {
            // What cannot be read, or is no Python, may name anything.
            let shape = std::fs::read(&path).ok().and_then(|source| Shape::of(&source));
            let Some(shape) = shape else { continue };
            all.add_words(&path, &shape);
            for word in shape.blocks.into_iter().flat_map(|block| block.words) {
                let runners = all.unmeasured.entry(word).or_default();
                runners.is_for_all |= tests.is_empty();
                runners.tests.extend(&tests);
            }
        }
        Ok(all)
    }

    fn add_words(&mut self, path: &Path, shape: &Shape) {
        let words: BTreeSet<&String> = shape.blocks.iter().flat_map(|block| &block.words).collect();
        for word in words {
            if word.ends_with('_') && word.len() >= PREFIX_BYTES_MIN && !word.ends_with("__") {
                self.prefixes.insert(word.clone());
            }
            self.files_by_word.entry(word.clone()).or_default().push(path.to_owned());
        }
    }

    fn add_functions(&mut self, shape: Shape, runners: Vec<Runners>) {
        self.add_tables(&shape);
        self.classes.extend(shape.classes);
        let functions = shape.blocks.into_iter().zip(runners).skip(MODULE + 1);
        for (block, runners) in functions.filter(|(_, runners)| !runners.contexts.is_empty()) {
            for word in &block.words {
                self.by_word.entry(word.clone()).or_default().push(self.functions.len());
            }
            self.functions.push(Function { block, runners });
        }
    }

    fn add_tables(&mut self, shape: &Shape) {
        let targets = shape.tables.iter().filter(|table| table.target_count > 0);
        let variables: BTreeSet<&String> = targets.flat_map(Table::names).collect();
        for block in shape.blocks.iter().skip(MODULE + 1) {
            let mentioned = block.words.iter().filter(|word| variables.contains(word)).cloned();
            let name = block.enclosing.as_ref().unwrap_or(&block.name);
            self.variables_of.entry(name.clone()).or_default().extend(mentioned);
        }
        for table in &shape.tables {
            let names: Vec<String> =
                table.names().iter().filter(|name| !is_plain(name)).cloned().collect();
            for word in table.words.iter().collect::<BTreeSet<_>>() {
                self.tables_by_word.entry(word.clone()).or_default().push(names.clone());
            }
        }
    }

    /// Whether the module in the file `path` is named in any other file: it may be imported there.
    pub(super) fn is_named_outside(&self, path: &Path) -> bool {
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        self.files_naming(stem).iter().any(|file| file != path)
    }

    /// The files in which `word` stands.
    pub(super) fn files_naming(&self, word: &str) -> &[PathBuf] {
        self.files_by_word.get(word).map_or(&[], Vec::as_slice)
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
        let Some(tests) = self.tests_leading_to(recording, block) else { return after };
        tests.intersection(&after).copied().collect()
    }

    /// The tests that ran something which leads to `block` by names; `None` if that may be any.
    fn tests_leading_to(&self, recording: &Recording, block: &Block) -> Option<BTreeSet<usize>> {
        let mut tests = BTreeSet::new();
        let (mut seen_names, mut seen_functions) = (BTreeSet::new(), BTreeSet::new());
        let mut names = self.names_of(block)?;
        while let Some(name) = names.pop() {
            if !seen_names.insert(name.clone()) {
                continue;
            }
            if let Some(unmeasured) = self.unmeasured.get(&name) {
                if unmeasured.is_for_all {
                    return None;
                }
                tests.extend(&unmeasured.tests);
            }
            names.extend(self.tables_by_word.get(&name).into_iter().flatten().flatten().cloned());
            for place in self.functions_with(&name) {
                if seen_functions.insert(place) {
                    let caller = &self.functions[place];
                    tests.extend(recording.tests_of(&caller.runners.contexts));
                    names.extend(self.names_of(&caller.block)?);
                }
            }
        }
        Some(tests)
    }

    /// The functions in which `name` stands, or how it begins.
    fn functions_with<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        let prefixes = self.prefixes.iter().filter(|prefix| name.starts_with(prefix.as_str()));
        let words = prefixes.map(String::as_str).chain([name]);
        words.flat_map(|word| self.by_word.get(word).into_iter().flatten().copied())
    }

    /// The names by which code refers to `block`; `None` if it runs for tests that do not name it.
    fn names_of(&self, block: &Block) -> Option<Vec<String>> {
        let name = block.name.as_str();
        let is_for_all = FOR_ALL.contains(&name) || name.starts_with("pytest_");
        if is_for_all || block.decorators.contains("autouse") {
            return None;
        }
        let is_special = name.starts_with("__") && name.ends_with("__");
        let mut names = match (&block.class, &block.enclosing) {
            (Some(class), _) if is_special => self.subclasses(class),
            (_, Some(enclosing)) => vec![enclosing.clone()],
            _ if name == LAMBDA => block.words.iter().filter(|word| !is_plain(word)).cloned().collect(),
            _ => vec![name.to_owned()],
        };
        for word in block.decorators.iter().filter(|word| !is_plain(word)) {
            names.push(word.clone());
            names.extend(self.variables_of.get(word).into_iter().flatten().cloned());
        }
        Some(names)
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

/// Whether a word says nothing about which function is meant.
fn is_plain(word: &str) -> bool {
    PLAIN.contains(&word) || word.len() < 2 || word.starts_with(|first: char| first.is_ascii_digit())
}
