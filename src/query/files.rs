//! Finds the file or test that a user means by a part of its name.

use super::database::{Database, File};
use super::paths::normalized;
use super::{Error, Test};
use std::path::Path;

/// How many similar names are suggested.
const SUGGESTIONS_MAX: usize = 3;

/// Names that are less similar than this (Jaro-Winkler) are not suggested.
const SIMILARITY_MIN: f64 = 0.8;

impl Database {
    /// The file that `given` means: a recorded path, a path of the current folder, or the end of exactly
    /// one recorded path.
    ///
    /// # Errors
    /// If there is none ([`Error::NotMeasured`] if the file exists all the same), or several.
    pub fn find_file(&self, given: &str) -> Result<&File, Error> {
        let at = |path: &str| self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok();
        let here = normalized(&std::path::absolute(given).unwrap_or_else(|_| given.into()));
        let real = std::fs::canonicalize(given).ok();
        let texts =
            [Some(here), real].into_iter().flatten().map(|path| path.to_string_lossy().into_owned());
        let mut candidates = std::iter::once(given.to_owned()).chain(texts);
        if let Some(position) = candidates.find_map(|path| at(&path)) {
            return Ok(&self.files[position]);
        }
        let end = normalized(Path::new(given)).to_string_lossy().into_owned();
        let ending: Vec<&File> =
            self.files.iter().filter(|file| ends_with(&file.path, &end, "/")).collect();
        match &ending[..] {
            [file] => Ok(file),
            [] if Path::new(given).is_file() => {
                Err(Error::NotMeasured { given: given.to_owned(), database: self.path.clone() })
            }
            [] if Path::new(given).is_dir() => Err(Error::Folder { given: given.to_owned() }),
            [] => Err(self.unknown_file(given)),
            several => Err(Error::Ambiguous {
                given: given.to_owned(),
                what: "files",
                found: several.iter().map(|file| file.path.clone()).collect(),
            }),
        }
    }

    fn unknown_file(&self, given: &str) -> Error {
        // As much of each path as was given of this one.
        let depth = Path::new(given).components().count();
        let nearest = nearest(given, self.files.iter().map(|file| tail(&file.path, depth)));
        Error::UnknownFile { given: given.to_owned(), database: self.path.clone(), nearest }
    }

    /// The test that `given` means: its name, one of its contexts, or the end or another part of exactly
    /// one test's name.
    ///
    /// # Errors
    /// If there is none, or several, or the file knows no tests.
    pub fn find_test(&self, given: &str) -> Result<&Test, Error> {
        self.check_contexts()?;
        let exact =
            self.tests.named(given).or_else(|| self.tests.named(super::tests::test_name(given)));
        if let Some(test) = exact.filter(|test| !test.is_outside) {
            return Ok(test);
        }
        let is_end =
            |test: &&Test| ["/", "::", "|"].iter().any(|mark| ends_with(&test.name, given, mark));
        let mut found: Vec<&Test> = self.tests.iter().filter(is_end).collect();
        if found.is_empty() {
            found = self.tests.iter().filter(|test| test.name.contains(given)).collect();
        }
        match &found[..] {
            [test] => Ok(test),
            [] => Err(Error::UnknownTest {
                given: given.to_owned(),
                database: self.path.clone(),
                nearest: nearest_tests(given, self.tests.iter()),
            }),
            several => Err(Error::Ambiguous {
                given: given.to_owned(),
                what: "tests",
                found: several.iter().map(|test| test.name.clone()).collect(),
            }),
        }
    }
}

/// Whether `name` ends with `end`, where one of its parts begins.
fn ends_with(name: &str, end: &str, mark: &str) -> bool {
    !end.is_empty() && name.strip_suffix(end).is_some_and(|front| front.ends_with(mark))
}

/// The last `parts` parts of `path`.
fn tail(path: &str, parts: usize) -> String {
    match path.rmatch_indices('/').nth(parts.saturating_sub(1)) {
        Some((at, _)) => path[at + 1..].to_owned(),
        None => path.to_owned(),
    }
}

/// The tests whose names, or the last parts of whose names, are most similar to `given`.
fn nearest_tests<'a>(given: &str, tests: impl Iterator<Item = &'a Test>) -> Vec<String> {
    let has_parts = given.contains("::");
    let short = |name: &'a str| match name.rsplit_once("::") {
        Some((_, last)) if !has_parts => last,
        _ => name,
    };
    nearest(given, tests.map(|test| short(&test.name).to_owned()))
}

fn nearest(given: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let scored = names.map(|name| (strsim::jaro_winkler(given, &name), name));
    let mut similar: Vec<(f64, String)> = scored.filter(|(score, _)| *score > SIMILARITY_MIN).collect();
    similar.sort_by(|left, right| right.0.total_cmp(&left.0).then_with(|| left.1.cmp(&right.1)));
    similar.dedup_by(|left, right| left.1 == right.1);
    similar.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn ends_are_ends_of_parts() {
        assert!(ends_with("/src/shop/cart.py", "shop/cart.py", "/"));
        assert!(!ends_with("/src/bishop/cart.py", "shop/cart.py", "/"));
        assert!(!ends_with("/src/cart.py", "", "/"));
        assert!(ends_with("t.py::test_a", "test_a", "::"));
    }

    #[test]
    fn similar_names_are_suggested_the_most_similar_first() {
        let names = ["cart.py", "chart.py", "setup.cfg"].map(str::to_owned);
        assert_eq!(nearest("crat.py", names.into_iter()), ["cart.py", "chart.py"]);
        assert_eq!(tail("/src/shop/cart.py", 2), "shop/cart.py");
        assert_eq!(tail("cart.py", 2), "cart.py");
    }
}
