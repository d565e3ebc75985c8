//! Contexts as the tests that they are phases of.
//!
//! ```text
//! nightly|tests/test_cart.py::test_total|run
//!    |         |                          `- phase, as pytest-cov names it: setup, run or teardown
//!    |         `- the test
//!    `- a static context or label, if any; a part of the test's name here
//! ```
//!
//! A context without a phase is a test of that name. What ran in the empty context, or in one that other
//! tests' names begin with (`nightly`), ran outside of tests: at import, or between them.

use std::collections::BTreeMap;

/// The phases of a test.
const PHASES: [&str; 3] = ["setup", "run", "teardown"];

/// A test, and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Test {
    /// Its contexts' common name, without a phase.
    pub name: String,
    /// The ids of its contexts.
    pub contexts: Vec<i64>,
    /// Whether this is no test, but what ran outside of tests.
    pub is_outside: bool,
}

/// All tests of a recording, by name.
///
/// ```
/// use hitlog::query::Tests;
///
/// let contexts = [(1, ""), (2, "t.py::a|run"), (3, "t.py::a|setup"), (4, "t.py::b|run")];
/// let tests = Tests::new(contexts.map(|(id, name)| (id, name.to_owned())));
/// let names: Vec<_> = tests.iter().map(|test| test.name.as_str()).collect();
/// assert_eq!(names, ["t.py::a", "t.py::b"]);
/// assert_eq!(tests.of_context(3).map(|test| test.contexts.len()), Some(2));
/// assert!(tests.of_context(1).is_some_and(|test| test.is_outside));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tests {
    /// Sorted by name.
    tests: Vec<Test>,
    /// Each context and the position of its test, by context.
    positions: Vec<(i64, usize)>,
}

impl Tests {
    /// Sorts contexts, each with its id, by their tests.
    #[must_use]
    pub fn new(contexts: impl IntoIterator<Item = (i64, String)>) -> Tests {
        let mut by_name: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (id, context) in contexts {
            by_name.entry(test_name(&context).to_owned()).or_default().push(id);
        }
        let names: Vec<&String> = by_name.keys().collect();
        let outside: Vec<bool> = names.iter().map(|name| is_outside(name, &names)).collect();
        let tests: Vec<Test> = by_name
            .into_iter()
            .zip(outside)
            .map(|((name, contexts), is_outside)| Test { name, contexts, is_outside })
            .collect();
        let positions = tests
            .iter()
            .enumerate()
            .flat_map(|(position, test)| test.contexts.iter().map(move |context| (*context, position)));
        let mut positions: Vec<_> = positions.collect();
        positions.sort_unstable();
        Tests { positions, tests }
    }

    /// The tests, by name, without what is none.
    pub fn iter(&self) -> impl Iterator<Item = &Test> {
        self.tests.iter().filter(|test| !test.is_outside)
    }

    /// The test of a context.
    #[must_use]
    pub fn of_context(&self, context: i64) -> Option<&Test> {
        Some(&self.tests[self.position(context)?])
    }

    /// The number of a context's test, by which [`Tests::at`] gives it; below [`Tests::numbers`].
    pub(super) fn position(&self, context: i64) -> Option<usize> {
        let known = &self.positions;
        // Mostly, there is a context for each number.
        let expected = context.checked_sub(known.first()?.0).and_then(|at| usize::try_from(at).ok());
        if let Some((_, position)) =
            expected.and_then(|at| known.get(at)).filter(|(id, _)| *id == context)
        {
            return Some(*position);
        }
        known.binary_search_by_key(&context, |(id, _)| *id).ok().map(|at| known[at].1)
    }

    pub(super) fn at(&self, position: usize) -> &Test {
        &self.tests[position]
    }

    pub(super) fn numbers(&self) -> usize {
        self.tests.len()
    }

    pub(super) fn named(&self, name: &str) -> Option<&Test> {
        let found = self.tests.binary_search_by(|test| test.name.as_str().cmp(name));
        found.ok().map(|position| &self.tests[position])
    }
}

/// The name of the test that `context` is a phase of; the context itself if it is none.
pub(super) fn test_name(context: &str) -> &str {
    test_of_phase(context).unwrap_or(context)
}

/// The name of the test, if `context` is a phase of one.
pub(super) fn test_of_phase(context: &str) -> Option<&str> {
    let (name, phase) = context.rsplit_once('|')?;
    PHASES.contains(&phase).then_some(name)
}

/// Whether other `names`, which are sorted, begin with `name` and go on with a test.
fn is_outside(name: &str, names: &[&String]) -> bool {
    let beginning = format!("{name}|");
    let next = names.partition_point(|other| ***other < *beginning);
    name.is_empty() || names.get(next).is_some_and(|other| other.starts_with(&beginning))
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn only_phases_are_cut_off() {
        let names =
            ["t.py::a|run", "t.py::a", "n|t.py::a|setup", "a|b", "|run", "t.py::a[x|y]|teardown"];
        let expected = ["t.py::a", "t.py::a", "n|t.py::a", "a|b", "", "t.py::a[x|y]"];
        assert_eq!(names.map(test_name), expected);
    }

    #[test]
    fn what_other_names_begin_with_is_no_test() {
        let contexts = ["nightly", "nightly|t.py::a|run", "nightly-2", "t.py::b", "t.py::b|run"];
        let tests = Tests::new((1..).zip(contexts.map(str::to_owned)));
        let names: Vec<_> = tests.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["nightly-2", "nightly|t.py::a", "t.py::b"]);
        assert_eq!(
            tests.named("t.py::b").map(|test| test.contexts.as_slice()),
            Some([4, 5].as_slice())
        );
        assert!(tests.named("nightly").is_some_and(|test| test.is_outside));
    }
}
