//! From what changed to the tests that must run, with the reason for each.

use super::python::{MODULE, Shape};
use super::recording::{RecordedFile, Recording, Runners};
use super::surroundings::{PACKAGE, Surroundings};
use super::tree::Fate;
use super::words::Words;
use super::{Error, TEST_FILE};
use crate::query::paths::{from_here, normalized};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The file whose fixtures and hooks serve all tests below its folder.
const CONFTEST: &str = "conftest.py";

/// Tests that must run, and why.
pub(super) struct Selection<'a> {
    recording: &'a Recording,
    /// For each test, the file that it is in, if its name tells.
    test_files: Vec<Option<PathBuf>>,
    reasons: BTreeMap<usize, String>,
    words: Option<Words>,
}

impl<'a> Selection<'a> {
    /// Selects nothing yet. Names of tests begin at the folder `root`.
    pub(super) fn new(recording: &'a Recording, root: PathBuf) -> Selection<'a> {
        let file_of = |name: &str| name.split_once("::").map(|(file, _)| normalized(&root.join(file)));
        let test_files = recording.tests.iter().map(|test| file_of(&test.name)).collect();
        Selection { recording, test_files, reasons: BTreeMap::new(), words: None }
    }

    pub(super) fn into_reasons(self) -> BTreeMap<usize, String> {
        self.reasons
    }

    fn add(&mut self, tests: impl IntoIterator<Item = usize>, why: &str) {
        for test in tests {
            self.reasons.entry(test).or_insert_with(|| why.to_owned());
        }
    }

    /// Adds the tests that failed, or of which it is not known how they ended.
    pub(super) fn add_unfinished(&mut self) {
        for (place, test) in self.recording.tests.iter().enumerate().filter(|(_, test)| test.must_run())
        {
            let why = match test.outcome.as_deref() {
                Some("pending") => "has not run since what it depends on changed",
                Some("failed" | "error") => "failed last time",
                _ => "did not end last time",
            };
            self.add([place], why);
        }
    }

    /// Adds the tests that depend on `file`, of which `fate` became.
    pub(super) fn add_changed(&mut self, file: &RecordedFile, fate: &Fate) -> Result<(), Error> {
        let name = from_here(&file.path);
        match fate {
            Fate::Same => Ok(()),
            Fate::Other(note) => {
                // Without a source everything that ran is the module's.
                let shape = self.recording.shape(file)?.unwrap_or_else(Shape::of_nothing);
                let runners = self.recording.runners(file, &shape)?;
                self.add_dependents(file, &runners, &format!("{name} {note}"))
            }
            Fate::Edited(comparison) if comparison.changed.is_empty() => Ok(()),
            Fate::Edited(comparison) => {
                let Some(shape) = self.recording.shape(file)? else { return Ok(()) };
                let runners = self.recording.runners(file, &shape)?;
                let is_conftest = file.path.file_name() == Some(OsStr::new(CONFTEST));
                let runs_outside = |block: &usize| *block == MODULE || runners[*block].outside;
                if is_conftest || comparison.changed.iter().any(runs_outside) {
                    self.add_dependents(
                        file,
                        &runners,
                        &format!("what {name} does at import changed"),
                    )?;
                }
                for block in &comparison.changed {
                    self.add_users(file, &shape, *block, &runners[*block]);
                }
                Ok(())
            }
        }
    }

    /// Adds the tests that ran a function of `file`, or may use what it left behind.
    fn add_users(&mut self, file: &RecordedFile, shape: &Shape, block: usize, runners: &Runners) {
        if block == MODULE || runners.contexts.is_empty() {
            return;
        }
        let recording = self.recording;
        let block = &shape.blocks[block];
        let place = format!("{} in {}", block.name, from_here(&file.path));
        self.add(recording.tests_of(&runners.contexts), &format!("ran {place}"));
        let behind = recording.tests_after(file, &runners.contexts);
        self.add(behind, &format!("may use what {place} left"));
    }

    fn words(&mut self) -> Result<&Words, Error> {
        if self.words.is_none() {
            self.words = Some(Words::read(self.recording, self.unmeasured())?);
        }
        Ok(self.words.get_or_insert_with(Words::default))
    }

    /// Adds the tests that depend on what `file` does when it is imported.
    fn add_dependents(
        &mut self,
        file: &RecordedFile,
        runners: &[Runners],
        why: &str,
    ) -> Result<(), Error> {
        let recording = self.recording;
        let is_conftest = file.path.file_name() == Some(OsStr::new(CONFTEST));
        let has_run = runners.iter().any(|runners| runners.outside || !runners.contexts.is_empty());
        // An empty module runs no line, and an empty conftest.py makes its folder one that pytest knows.
        if !has_run && !is_conftest && !recording.is_loaded(file) {
            return Ok(());
        }
        let contexts: BTreeSet<i64> =
            runners.iter().flat_map(|runners| &runners.contexts).copied().collect();
        self.add(recording.tests_of(&contexts), why);
        let is_everywhere = !has_run || runners.iter().any(|runners| runners.outside);
        if !is_python(&file.path) && !is_everywhere {
            // Nobody imports it. What was touched in the recording is likely to be the same.
            let behind = (file.state != "changed").then(|| recording.tests_after(file, &contexts));
            self.add(behind.into_iter().flatten(), why);
            return Ok(());
        }
        let own = self.tests_in(&file.path);
        if is_conftest {
            let below = self.tests_below(&file.path);
            self.add(below, why);
        } else if !own.is_empty() && !self.words()?.is_named_outside(&file.path) {
            self.add(own, why);
        } else {
            self.add(recording.tests_beside(file), why);
        }
        Ok(())
    }

    fn tests_in(&self, path: &Path) -> Vec<usize> {
        let is_in = |file: &Option<PathBuf>| file.as_deref() == Some(path);
        self.test_files
            .iter()
            .enumerate()
            .filter(|(_, file)| is_in(file))
            .map(|(test, _)| test)
            .collect()
    }

    /// The tests below the folder that `path` lies in.
    fn tests_below(&self, path: &Path) -> Vec<usize> {
        let folder = path.parent().unwrap_or(path);
        let is_below =
            |file: &Option<PathBuf>| file.as_ref().is_none_or(|file| file.starts_with(folder));
        self.test_files
            .iter()
            .enumerate()
            .filter(|(_, file)| is_below(file))
            .map(|(test, _)| test)
            .collect()
    }

    /// Adds the tests that depend on what changed around them. Returns what that is, unless the recording
    /// tells of it itself.
    pub(super) fn add_surroundings(
        &mut self,
        python: Option<&str>,
    ) -> Result<Vec<(PathBuf, &'static str)>, Error> {
        let all = 0..self.recording.tests.len();
        let mut changed = Vec::new();
        for surroundings in &self.recording.surroundings {
            let difference = Surroundings::compare(surroundings, python);
            for why in difference.of_all {
                self.add(all.clone(), &why);
                changed.push((PathBuf::from(why), "concerns every test"));
            }
            for path in difference.files {
                if !self.is_remembered(&path) {
                    self.add_unmeasured(&path)?;
                    changed.push((path, "changed"));
                }
            }
        }
        Ok(changed)
    }

    /// Adds the tests that depend on the file `path`, of which it is only known that it changed.
    fn add_unmeasured(&mut self, path: &Path) -> Result<(), Error> {
        let why = format!("{} changed", from_here(path));
        let own = self.tests_in(path);
        if path.file_name() == Some(OsStr::new(CONFTEST)) {
            let below = self.tests_below(path);
            self.add(below, &why);
        } else if own.is_empty() || self.words()?.is_named_outside(path) {
            self.add(0..self.recording.tests.len(), &why);
        } else {
            self.add(own, &why);
        }
        Ok(())
    }

    /// The Python files of the project that were loaded and of which no line was recorded.
    fn unmeasured(&self) -> BTreeSet<&'a PathBuf> {
        let all = self.recording.surroundings.iter().flat_map(Surroundings::paths);
        all.filter(|path| is_python(path) && !self.is_remembered(path)).collect()
    }

    /// Adds the tests of which the files name a module that was added: it may take the place of another one, or
    /// of none. Returns these modules.
    pub(super) fn add_unknown_modules(&mut self) -> Result<Vec<(PathBuf, &'static str)>, Error> {
        let recording = self.recording;
        let mut found = Vec::new();
        for (path, names) in recording.surroundings.iter().flat_map(Surroundings::added_modules) {
            if self.is_known(&path) {
                continue;
            }
            let mut tests = self.tests_naming(&names)?;
            if path.file_stem() == Some(OsStr::new(PACKAGE)) {
                // It makes other modules of the tests below it.
                tests.extend(self.tests_below(&path));
            }
            if !tests.is_empty() {
                self.add(tests, &format!("{} was added", from_here(&path)));
                found.push((path, "was added"));
            }
        }
        Ok(found)
    }

    /// The tests that depend on files in which one of `names` stands.
    fn tests_naming(&mut self, names: &BTreeSet<String>) -> Result<BTreeSet<usize>, Error> {
        let words = self.words()?;
        let files: BTreeSet<PathBuf> =
            names.iter().flat_map(|name| words.files_naming(name)).cloned().collect();
        let mut tests = BTreeSet::new();
        for file in files {
            let own = self.tests_in(&file);
            match self.recording.files.iter().find(|known| known.path == file) {
                Some(file) => tests.extend(self.recording.tests_beside(file)),
                None if own.is_empty() => tests.extend(0..self.recording.tests.len()),
                None => tests.extend(own),
            }
        }
        Ok(tests)
    }

    /// Whether the recording can tell by itself whether the file `path` changed.
    fn is_remembered(&self, path: &Path) -> bool {
        self.recording.files.iter().any(|file| file.path == path && file.sha256.is_some())
    }

    /// Adds the tests for which a conftest.py was added. Returns these.
    pub(super) fn add_unknown_conftests(&mut self) -> Vec<(PathBuf, &'static str)> {
        let roots = self.recording.surroundings.iter().map(|found| &found.request.root);
        let roots: BTreeSet<PathBuf> = roots.map(|root| normalized(root)).collect();
        let files = self.test_files.iter().flatten();
        let folders: BTreeSet<&Path> = files.flat_map(|file| file.ancestors().skip(1)).collect();
        let is_inside = |folder: &&&Path| roots.iter().any(|root| folder.starts_with(root));
        let paths = folders.iter().filter(is_inside).map(|folder| folder.join(CONFTEST));
        let found: Vec<PathBuf> = paths.filter(|path| path.is_file() && !self.is_known(path)).collect();
        for path in &found {
            let below = self.tests_below(path);
            self.add(below, &format!("{} was added", from_here(path)));
        }
        found.into_iter().map(|path| (path, "was added")).collect()
    }

    fn is_known(&self, path: &Path) -> bool {
        let is_named = |found: &Surroundings| found.request.paths.contains(path);
        self.recording.files.iter().any(|file| file.path == path)
            || self.recording.surroundings.iter().any(is_named)
    }

    /// Files beside the recorded tests' that look as if they held tests, and are not in the recording.
    pub(super) fn new_test_files(&self) -> BTreeSet<PathBuf> {
        let known: BTreeSet<&Path> = self.test_files.iter().flatten().map(PathBuf::as_path).collect();
        let folders: BTreeSet<&Path> = known.iter().filter_map(|file| file.parent()).collect();
        let entries = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
        let is_test_file = |path: &PathBuf| {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let is_python = name.starts_with(TEST_FILE.0) && name.ends_with(".py");
            (is_python || name.ends_with(TEST_FILE.1)) && !known.contains(path.as_path())
        };
        let found = entries.map(|entry| entry.path()).filter(is_test_file);
        found.filter(|path| !self.is_known(path)).collect()
    }
}

/// Whether a file is a module that Python imports, or a script.
fn is_python(path: &Path) -> bool {
    path.extension().is_none_or(|extension| extension == "py" || extension == "pyw")
}
