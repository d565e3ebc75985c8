//! What a compacted file says about tests: which there are, what they ran, in which order and processes.

use super::Error;
use super::python::{MODULE, Shape};
use super::surroundings::Surroundings;
use crate::query::database::{CONTEXTS, has, rows};
use crate::query::source::remembered;
use crate::query::tests::test_of_phase;
use crate::query::{Database, File, Lines};
use rusqlite::{Connection, Row};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Outcomes after which a test need not run again.
const FINE: [&str; 4] = ["passed", "skipped", "xfailed", "xpassed"];

/// A test, or a context of any other kind where no test runner told of tests.
#[derive(Clone, Debug, Default)]
pub(super) struct Test {
    pub(super) name: String,
    /// In pytest's words; `None` if it did not tell.
    pub(super) outcome: Option<String>,
    /// Time in its contexts, in nanoseconds.
    pub(super) duration_ns: u64,
    /// Whether it is one of pytest's.
    pub(super) is_pytest: bool,
}

impl Test {
    /// Whether it has to run whatever changed.
    pub(super) fn must_run(&self) -> bool {
        let is_fine = |outcome: &String| FINE.contains(&outcome.as_str());
        self.is_pytest && !self.outcome.as_ref().is_some_and(is_fine)
    }
}

/// A file of the recording.
#[derive(Clone, Debug)]
pub(super) struct RecordedFile {
    pub(super) id: i64,
    pub(super) path: PathBuf,
    /// As in `hitlog_source`; `unknown` if the recorder told nothing of the file.
    pub(super) state: String,
    pub(super) sha256: Option<String>,
}

/// Who ran something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runners {
    /// Contexts of tests.
    pub(super) contexts: BTreeSet<i64>,
    /// Whether it also ran outside of tests: at import, in a hook, in a context of somebody's own.
    pub(super) outside: bool,
}

/// A compacted file, opened for reading.
pub(super) struct Recording {
    database: Database,
    pub(super) tests: Vec<Test>,
    /// The test of each context that belongs to one.
    test_of: HashMap<i64, usize>,
    pub(super) files: Vec<RecordedFile>,
    /// For each log, the contexts in the order in which they began.
    spans: BTreeMap<String, Vec<i64>>,
    /// The logs of which contexts are gone, since they ran again.
    thinned: HashSet<String>,
    logs_of_file: HashMap<i64, BTreeSet<String>>,
    /// The logs of the processes that each log's process started, and of those that started it.
    children: HashMap<String, Vec<String>>,
    parents: HashMap<String, Vec<String>>,
    /// What the tests of each run depend on beside what ran.
    pub(super) surroundings: Vec<Surroundings>,
}

impl Recording {
    pub(super) fn open(path: &Path) -> Result<Recording, Error> {
        let database = Database::open(path).map_err(|source| Error::Recording { source })?;
        let mut recording = Recording {
            database,
            tests: Vec::new(),
            test_of: HashMap::new(),
            files: Vec::new(),
            spans: BTreeMap::new(),
            thinned: HashSet::new(),
            logs_of_file: HashMap::new(),
            children: HashMap::new(),
            parents: HashMap::new(),
            surroundings: Vec::new(),
        };
        if !recording.asking(|connection| has(connection, "hitlog_source"))? {
            return Err(Error::NoSources { path: path.to_owned() });
        }
        let asked = recording.read();
        recording.asking(|_| asked)?;
        Ok(recording)
    }

    fn read(&mut self) -> rusqlite::Result<()> {
        self.read_tests()?;
        self.files = self.rows(
            "select file.id, file.path, coalesce(state, 'unknown'), sha256
               from file left join hitlog_source on file_id = file.id order by path",
            |row| {
                let path = PathBuf::from(row.get::<_, String>(1)?);
                Ok(RecordedFile { id: row.get(0)?, path, state: row.get(2)?, sha256: row.get(3)? })
            },
        )?;
        let spans = self.rows(
            "select log_id, context_id, coalesce(duration_ns, 0) from hitlog_context
              order by log_id, started_at, rowid",
            |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?)),
        )?;
        for (log, context, duration_ns) in spans {
            let Some(context): Option<i64> = context else {
                // What ran there before is not known any more: it may have left anything.
                self.thinned.insert(log);
                continue;
            };
            self.spans.entry(log).or_default().push(context);
            if let Some(test) = self.test_of.get(&context) {
                let total = &mut self.tests[*test].duration_ns;
                *total = total.saturating_add(duration_ns.unsigned_abs());
            }
        }
        for (file, log) in self.rows("select file_id, log_id from hitlog_log_file", pair)? {
            self.logs_of_file.entry(file).or_default().insert(log);
        }
        // All segments of a process are the child of what started it, and know all that the first knows.
        for (child, parent) in self.rows(
            "select log_id, parent_log_id from hitlog_log where parent_log_id is not null
              union select log_id, first_log_id from hitlog_log where log_id <> first_log_id",
            pair,
        )? {
            let (child, parent): (String, String) = (child, parent);
            self.children.entry(parent.clone()).or_default().push(child.clone());
            self.parents.entry(child).or_default().push(parent);
        }
        let texts: Vec<String> =
            self.rows("select value from hitlog_surroundings", |row| row.get(0))?;
        self.surroundings = texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        Ok(())
    }

    fn read_tests(&mut self) -> rusqlite::Result<()> {
        let outcomes: Vec<(String, String)> =
            self.rows("select test, outcome from hitlog_test", pair)?;
        let mut places = HashMap::new();
        for (name, outcome) in outcomes {
            places.insert(name.clone(), self.tests.len());
            self.tests.push(Test { name, outcome: Some(outcome), is_pytest: true, ..Test::default() });
        }
        let has_tests = !places.is_empty();
        let contexts: Vec<(i64, String)> = self.rows(CONTEXTS, pair)?;
        for (id, context) in contexts.into_iter().filter(|(_, context)| !context.is_empty()) {
            let of_phase = test_of_phase(&context);
            let Some(name) = of_phase.or((!has_tests).then_some(&context)) else { continue };
            // The context of a whole run stands in front of all others.
            let behind = name.split_once('|').map(|(_, behind)| behind);
            let behind =
                behind.filter(|behind| !places.contains_key(name) && places.contains_key(*behind));
            let name = behind.unwrap_or(name);
            let place = *places.entry(name.to_owned()).or_insert(self.tests.len());
            if place == self.tests.len() {
                let is_pytest = of_phase.is_some();
                self.tests.push(Test { name: name.to_owned(), is_pytest, ..Test::default() });
            }
            self.test_of.insert(id, place);
        }
        Ok(())
    }

    fn rows<T>(
        &self,
        sql: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        rows(&self.database.connection, sql, read)
    }

    fn asking<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        self.database.asking(question).map_err(|source| Error::Recording { source })
    }

    /// The source of `file` as it was; `None` if it was not kept.
    pub(super) fn source(&self, file: &RecordedFile) -> Result<Option<Vec<u8>>, Error> {
        remembered(&self.database, file.id).map_err(|source| Error::Recording { source })
    }

    /// The shape of `file` as it was; `None` if it was not kept or is not Python.
    pub(super) fn shape(&self, file: &RecordedFile) -> Result<Option<Shape>, Error> {
        Ok(self.source(file)?.and_then(|source| Shape::of(&source)))
    }

    /// Who ran each block of `file`, whose shape was `shape`; whatever is on no line of a block counts as
    /// the module's.
    pub(super) fn runners(&self, file: &RecordedFile, shape: &Shape) -> Result<Vec<Runners>, Error> {
        let block_of: HashMap<u32, usize> =
            shape.lines.iter().map(|line| (line.number, line.block)).collect();
        let mut runners = vec![Runners::default(); shape.blocks.len()];
        self.for_each_hit(file, |context, lines| {
            for line in lines.iter() {
                let of_block = &mut runners[block_of.get(&line).copied().unwrap_or(MODULE)];
                match self.test_of.contains_key(&context) {
                    true => drop(of_block.contexts.insert(context)),
                    false => of_block.outside = true,
                }
            }
        })?;
        Ok(runners)
    }

    /// Whether anything of `file` ran. Files that nothing ran are in the recording, too.
    pub(super) fn has_run(&self, file: &RecordedFile) -> Result<bool, Error> {
        let mut has_run = false;
        self.for_each_hit(file, |_, lines| has_run |= !lines.is_empty())?;
        Ok(has_run)
    }

    fn for_each_hit(&self, file: &RecordedFile, visit: impl FnMut(i64, &Lines)) -> Result<(), Error> {
        let file = File { id: file.id, path: file.path.to_string_lossy().into_owned() };
        self.database.hits_of_file(&file, visit).map_err(|source| Error::Recording { source })
    }

    /// The names of the contexts of those tests whose names `is_meant`.
    pub(super) fn contexts_of_tests(
        &self,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<HashSet<String>, Error> {
        let contexts: Vec<(i64, String)> =
            self.asking(|connection| rows(connection, CONTEXTS, pair))?;
        let test = |id: &i64| self.test_of.get(id).map(|test| self.tests[*test].name.as_str());
        let meant = contexts.into_iter().filter(|(id, _)| test(id).is_some_and(&is_meant));
        Ok(meant.map(|(_, name)| name).collect())
    }

    /// The tests of `contexts`.
    pub(super) fn tests_of<'a>(
        &'a self,
        contexts: impl IntoIterator<Item = &'a i64> + 'a,
    ) -> impl Iterator<Item = usize> + 'a {
        contexts.into_iter().filter_map(|context| self.test_of.get(context).copied())
    }

    /// Whether any process loaded `file`. Files that nothing imports are in the recording, too.
    pub(super) fn is_loaded(&self, file: &RecordedFile) -> bool {
        self.logs_of_file.contains_key(&file.id)
    }

    /// The tests of all processes in which something of `file` ran, and of all that were forked from these. A
    /// process without tests serves those of the one that started it.
    pub(super) fn tests_beside(&self, file: &RecordedFile) -> BTreeSet<usize> {
        let mut tests = BTreeSet::new();
        let mut next: Vec<&String> = self.logs_of_file.get(&file.id).into_iter().flatten().collect();
        let mut seen = BTreeSet::new();
        while let Some(log) = next.pop() {
            if !seen.insert(log) {
                continue;
            }
            let spans =
                with_all([log], &self.children).into_iter().filter_map(|log| self.spans.get(log));
            let own: BTreeSet<usize> = spans.flat_map(|contexts| self.tests_of(contexts)).collect();
            match self.parents.get(log) {
                Some(parents) if own.is_empty() => next.extend(parents),
                None if own.is_empty() => return (0..self.tests.len()).collect(),
                _ => tests.extend(own),
            }
        }
        tests
    }

    /// The tests that were begun after one of `contexts`, in which a function of `file` ran, in any process: this
    /// one, or a child that served it, may have kept what it left. And those of all processes forked from these.
    pub(super) fn tests_after(&self, file: &RecordedFile, contexts: &BTreeSet<i64>) -> BTreeSet<usize> {
        let logs_of_file = self.logs_of_file.get(&file.id);
        let may_have_run = |log| logs_of_file.is_some_and(|logs| logs.contains(log));
        let mut after = BTreeSet::new();
        let mut children: Vec<&String> = Vec::new();
        for (log, order) in &self.spans {
            let is_open = self.thinned.contains(log) && may_have_run(log);
            let mut order = order.iter().skip_while(|id| !is_open && !contexts.contains(id)).peekable();
            if order.peek().is_some() {
                children.extend(self.children.get(log).into_iter().flatten());
            }
            after.extend(self.tests_of(order));
        }
        for log in with_all(children, &self.children) {
            after.extend(self.tests_of(self.spans.get(log).into_iter().flatten()));
        }
        after
    }
}

/// `logs`, and all that are reached from them. When a child was forked is not looked at.
fn with_all<'a>(
    logs: impl IntoIterator<Item = &'a String>,
    reached: &'a HashMap<String, Vec<String>>,
) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&String> = logs.into_iter().collect();
    while let Some(log) = next.pop() {
        if found.insert(log) {
            next.extend(reached.get(log).into_iter().flatten());
        }
    }
    found
}

/// The two columns of a row.
fn pair<A: rusqlite::types::FromSql, B: rusqlite::types::FromSql>(
    row: &Row<'_>,
) -> rusqlite::Result<(A, B)> {
    Ok((row.get(0)?, row.get(1)?))
}
