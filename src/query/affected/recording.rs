//! What a compacted file says about tests: which there are, what they ran, in which order and processes.

use super::Error;
use super::python::Shape;
use super::surroundings::Surroundings;
use flate2::read::ZlibDecoder;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// How the contexts of a test end, one for each of its phases.
const PHASES: [&str; 3] = ["|setup", "|run", "|teardown"];

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
    database: Connection,
    path: PathBuf,
    pub(super) tests: Vec<Test>,
    /// The test of each context that belongs to one.
    test_of: HashMap<i64, usize>,
    pub(super) files: Vec<RecordedFile>,
    /// For each log, the contexts in the order in which they began.
    spans: BTreeMap<String, Vec<i64>>,
    logs_of_file: HashMap<i64, BTreeSet<String>>,
    /// What the tests of each run depend on beside what ran.
    pub(super) surroundings: Vec<Surroundings>,
}

impl Recording {
    pub(super) fn open(path: &Path) -> Result<Recording, Error> {
        let failed = |source| Error::Database { path: path.to_owned(), source };
        if !path.exists() {
            return Err(Error::Missing { path: path.to_owned() });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(path, flags).map_err(failed)?;
        let has_sources = "select count(*) from sqlite_schema where name = 'hitlog_source'";
        let count: u32 = database.query_row(has_sources, [], |row| row.get(0)).map_err(failed)?;
        if count == 0 {
            return Err(Error::NoSources { path: path.to_owned() });
        }
        let mut recording = Recording {
            database,
            path: path.to_owned(),
            tests: Vec::new(),
            test_of: HashMap::new(),
            files: Vec::new(),
            spans: BTreeMap::new(),
            logs_of_file: HashMap::new(),
            surroundings: Vec::new(),
        };
        recording.read().map_err(failed)?;
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
              where context_id is not null order by log_id, started_at, rowid",
            |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?)),
        )?;
        for (log, context, duration_ns) in spans {
            self.spans.entry(log).or_default().push(context);
            if let Some(test) = self.test_of.get(&context) {
                let total = &mut self.tests[*test].duration_ns;
                *total = total.saturating_add(duration_ns.unsigned_abs());
            }
        }
        for (file, log) in self.rows("select file_id, log_id from hitlog_log_file", pair)? {
            self.logs_of_file.entry(file).or_default().insert(log);
        }
        let texts: Vec<String> = self.rows("select value from hitlog_surroundings", |row| row.get(0))?;
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
        let contexts: Vec<(i64, String)> = self.rows("select id, context from context", pair)?;
        for (id, context) in contexts.into_iter().filter(|(_, context)| !context.is_empty()) {
            let of_phase = PHASES.iter().find_map(|phase| context.strip_suffix(phase));
            let Some(name) = of_phase.or((!has_tests).then_some(&context)) else { continue };
            // The context of a whole run stands in front of all others.
            let behind = name.split_once('|').map(|(_, behind)| behind);
            let behind = behind.filter(|behind| !places.contains_key(name) && places.contains_key(*behind));
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

    fn rows<T>(&self, sql: &str, read: impl Fn(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<Vec<T>> {
        self.database.prepare(sql)?.query_map([], |row| read(row))?.collect()
    }

    fn failed(&self, source: rusqlite::Error) -> Error {
        Error::Database { path: self.path.clone(), source }
    }

    /// The source of `file` as it was; `None` if it was not kept.
    pub(super) fn source(&self, file: &RecordedFile) -> Result<Option<Vec<u8>>, Error> {
        let sql = "select source from hitlog_source where file_id = ? and source is not null";
        let mut statement = self.database.prepare_cached(sql).map_err(|error| self.failed(error))?;
        let mut rows = statement.query([file.id]).map_err(|error| self.failed(error))?;
        let Some(row) = rows.next().map_err(|error| self.failed(error))? else { return Ok(None) };
        let Ok(ValueRef::Blob(blob)) = row.get_ref(0) else { return Ok(None) };
        let mut source = Vec::new();
        Ok(ZlibDecoder::new(blob).read_to_end(&mut source).is_ok().then_some(source))
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
        self.for_each_hit(file, |line, context| {
            let of_block = &mut runners[block_of.get(&line).copied().unwrap_or(0)];
            match context {
                Some(context) => {
                    of_block.contexts.insert(context);
                }
                None => of_block.outside = true,
            }
        })?;
        Ok(runners)
    }

    /// Whether anything of `file` ran. Files that nothing ran are in the recording, too.
    pub(super) fn has_run(&self, file: &RecordedFile) -> Result<bool, Error> {
        let sql = "select exists (select * from hitlog_line where path = ?)";
        let path = file.path.to_string_lossy();
        self.database.query_row(sql, [path], |row| row.get(0)).map_err(|error| self.failed(error))
    }

    /// Calls `visit` with each line of `file` and the context that ran it: `None` outside of tests.
    fn for_each_hit(
        &self,
        file: &RecordedFile,
        mut visit: impl FnMut(u32, Option<i64>),
    ) -> Result<(), Error> {
        let sql = "select hitlog_line.line, context.id from hitlog_line
                     join context on context.context = hitlog_line.context where path = ?";
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.database.prepare_cached(sql)?;
            let mut rows = statement.query([file.path.to_string_lossy()])?;
            while let Some(row) = rows.next()? {
                let context = row.get(1)?;
                visit(row.get(0)?, self.test_of.contains_key(&context).then_some(context));
            }
            Ok(())
        };
        read().map_err(|error| self.failed(error))
    }

    /// The tests of `contexts`.
    pub(super) fn tests_of<'a>(
        &'a self,
        contexts: impl IntoIterator<Item = &'a i64> + 'a,
    ) -> impl Iterator<Item = usize> + 'a {
        contexts.into_iter().filter_map(|context| self.test_of.get(context).copied())
    }

    /// The tests of all processes in which something of `file` ran.
    pub(super) fn tests_beside(&self, file: &RecordedFile) -> BTreeSet<usize> {
        let logs = self.logs_of_file.get(&file.id).into_iter().flatten();
        let spans = logs.filter_map(|log| self.spans.get(log));
        spans.flat_map(|contexts| self.tests_of(contexts)).collect()
    }

    /// The tests that were begun, in any process that ran `file`, after one of `contexts` was.
    pub(super) fn tests_after(&self, file: &RecordedFile, contexts: &BTreeSet<i64>) -> BTreeSet<usize> {
        let logs = self.logs_of_file.get(&file.id).into_iter().flatten();
        let spans = logs.filter_map(|log| self.spans.get(log));
        let after = spans.flat_map(|order| order.iter().skip_while(|id| !contexts.contains(id)));
        self.tests_of(after).collect()
    }
}

/// The two columns of a row.
fn pair<A: rusqlite::types::FromSql, B: rusqlite::types::FromSql>(row: &Row<'_>) -> rusqlite::Result<(A, B)> {
    Ok((row.get(0)?, row.get(1)?))
}
