//! Opens a compacted file, and finds out what it can tell.

use super::hits::Form;
use super::pages::PageReader;
use super::paths::uri;
use super::{Error, Tests};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How an SQLite file begins.
pub(crate) const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";

/// The version of coverage.py's tables.
const SCHEMA_VERSION: i64 = 7;

/// How long to wait for a process that is just writing to the file.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// The columns that are read from hitlog's own tables. A file that lacks one is of another version.
const COLUMNS: &str = "
select log_id, parent_log_id, path, pid, ppid, argv, started_at, ended_at, state, exit_code, signal,
       last_context, records, damaged, lost, first_log_id, segment from hitlog_log
 union all select context_id, log_id, started_at, duration_ns, 0,0,0,0,0,0,0,0,0,0,0,0,0 from hitlog_context
 union all select file_id, size, mtime_ns, 0,0,0,0,0,0,0,0,0,0,0,0,0,0 from hitlog_file limit 0";

pub(super) const CONTEXTS: &str = "select id, context from context";

/// A recorded file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct File {
    /// Its id in the database.
    pub id: i64,
    /// Its path: absolute, unless it was recorded with coverage.py's `relative_files`.
    pub path: String,
}

/// A file of hitlog or coverage.py, opened for reading. One thread at a time may ask it.
///
/// ```
/// use hitlog::query::Database;
///
/// let error = Database::open("no/such.db").unwrap_err();
/// assert!(error.to_string().starts_with("no/such.db: no such file."));
/// ```
#[derive(Debug)]
pub struct Database {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    /// Behind the connection, which is closed first.
    pub(super) pages: PageReader,
    pub(super) form: Form,
    is_form_known: bool,
    pub(crate) has_own_tables: bool,
    pub(super) has_child_lines: bool,
    /// Sorted by path.
    pub(super) files: Vec<File>,
    pub(super) tests: Tests,
}

impl Database {
    /// Opens the file `path`, and reads the names in it. Another process may write to it meanwhile; it is
    /// never changed from here.
    ///
    /// # Errors
    /// If it is not there, cannot be read, is something else, or was written by a version whose tables
    /// this one does not know.
    pub fn open(path: impl AsRef<Path>) -> Result<Database, Error> {
        let path = path.as_ref();
        let file = Arc::new(open_file(path)?);
        let (connection, is_locking) = connect(path).map_err(|source| failed(path, source))?;
        Database::connected(path, connection, PageReader::of(file, path, is_locking))
    }

    fn connected(path: &Path, connection: Connection, pages: PageReader) -> Result<Database, Error> {
        let is_recorded = has(&connection, "coverage_schema").map_err(|source| failed(path, source))?;
        if !is_recorded {
            let found = "a database of another program";
            return Err(Error::NotRecorded { path: path.to_owned(), found });
        }
        check_version(&connection, path)?;
        Database::read(path, connection, pages).map_err(|source| failed(path, source))
    }

    /// The same recording once more, for another thread; `None` if it cannot be opened again, or names other files
    /// or tests by now.
    pub(super) fn again(&self) -> Option<Database> {
        let (connection, is_locking) = connect(&self.path).ok()?;
        let pages = self.pages.again(&self.path, is_locking);
        let again = Database::connected(&self.path, connection, pages).ok()?;
        let is_same = |again: &Database| {
            (again.form, &again.files, &again.tests) == (self.form, &self.files, &self.tests)
        };
        Some(again).filter(is_same)
    }

    /// Size of the file, in bytes.
    pub(super) fn size(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    fn read(path: &Path, connection: Connection, pages: PageReader) -> rusqlite::Result<Database> {
        let has_arcs = meta(&connection, "has_arcs")?;
        let form = match has_arcs.as_deref() {
            Some("1") if has(&connection, "hitlog_arc_bits")? => Form::ArcBits,
            Some("1") => Form::Arcs,
            _ => Form::Lines,
        };
        let has_own_tables = has(&connection, "hitlog_log")?;
        let has_child_lines = has(&connection, "hitlog_child_lines")?;
        let files = "select id, path from file order by path";
        let files = rows(&connection, files, |row| Ok(File { id: row.get(0)?, path: row.get(1)? }))?;
        let tests = Tests::new(rows(&connection, CONTEXTS, |row| Ok((row.get(0)?, row.get(1)?)))?);
        let (path, is_form_known) = (path.to_owned(), has_arcs.is_some());
        Ok(Database {
            path,
            connection,
            pages,
            form,
            is_form_known,
            has_own_tables,
            has_child_lines,
            files,
            tests,
        })
    }

    /// The path that was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether branches were recorded.
    #[must_use]
    pub fn has_arcs(&self) -> bool {
        self.form != Form::Lines
    }

    /// Whether lines or branches were recorded; otherwise nothing was.
    #[must_use]
    pub fn is_form_known(&self) -> bool {
        self.is_form_known
    }

    /// All contexts, each with its id, in no order.
    ///
    /// # Errors
    /// If SQLite cannot read.
    pub fn contexts(&self) -> Result<Vec<(i64, String)>, Error> {
        self.asking(|connection| rows(connection, CONTEXTS, |row| Ok((row.get(0)?, row.get(1)?))))
    }

    /// For questions that have no function of their own. Opened for reading only.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The recorded files, by path.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The recorded tests.
    #[must_use]
    pub fn tests(&self) -> &Tests {
        &self.tests
    }

    /// Size in bytes and modification time in nanoseconds since 1970 UTC of a file as it ran, if known.
    ///
    /// # Errors
    /// If SQLite cannot read.
    pub fn file_as_recorded(&self, file: &File) -> Result<Option<(u64, i64)>, Error> {
        if !self.has_own_tables {
            return Ok(None);
        }
        let sql = "select size, mtime_ns from hitlog_file where file_id = ?";
        let row = self.asking(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_row([file.id], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })?;
        Ok(row.map(|(size, mtime_ns): (i64, i64)| (size.unsigned_abs(), mtime_ns)))
    }

    /// Fails unless something says which test ran what.
    pub(super) fn check_contexts(&self) -> Result<(), Error> {
        match self.tests.iter().next() {
            Some(_) => Ok(()),
            None => Err(Error::NoContexts { path: self.path.clone() }),
        }
    }

    /// Runs `question`.
    pub(crate) fn asking<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        question(&self.connection).map_err(|source| failed(&self.path, source))
    }
}

fn failed(path: &Path, source: rusqlite::Error) -> Error {
    Error::Database { path: path.to_owned(), source }
}

/// All rows that `sql` gives.
pub(crate) fn rows<T>(
    connection: &Connection,
    sql: &str,
    row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], row)?.collect()
}

/// Opens `path`, if it is a file that begins as SQLite's do. Never waits, as opening a FIFO would.
fn open_file(path: &Path) -> Result<fs::File, Error> {
    let not_recorded = |found| Err(Error::NotRecorded { path: path.to_owned(), found });
    let opened = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let read = opened.and_then(|file| {
        let metadata = file.metadata()?;
        let mut magic = Vec::new();
        if metadata.is_file() {
            (&file).take(SQLITE_MAGIC.len() as u64).read_to_end(&mut magic)?;
        }
        Ok((file, metadata, magic))
    });
    match read {
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            Err(Error::Missing { path: path.to_owned() })
        }
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
        Ok((_, metadata, _)) if metadata.is_dir() => not_recorded("a directory"),
        Ok((_, metadata, _)) if !metadata.is_file() => not_recorded("no regular file"),
        Ok((_, _, magic)) if magic.is_empty() => not_recorded("an empty file"),
        Ok((_, _, magic)) if magic != SQLITE_MAGIC => not_recorded("no SQLite database"),
        Ok((file, ..)) => Ok(file),
    }
}

/// Opens without ever writing. Where SQLite cannot take its locks (a read-only folder with a database in
/// write-ahead mode), and nothing beside the file waits to be taken over, the file is read as it is. Whether SQLite locks
/// it.
fn connect(path: &Path) -> rusqlite::Result<(Connection, bool)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connect = |options: &str| {
        let connection = Connection::open_with_flags(uri(path, options), flags)?;
        connection.busy_timeout(BUSY_MAX)?;
        connection.query_row("select count(*) from sqlite_master", [], |_| Ok(()))?;
        Ok(connection)
    };
    let locking = connect("").map(|connection| (connection, true));
    locking.or_else(|error: rusqlite::Error| {
        let at_rest = ["-journal", "-wal"].iter().all(|suffix| is_empty_or_missing(path, suffix));
        let is_locking =
            matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly));
        if !at_rest || !is_locking {
            return Err(error);
        }
        connect("?immutable=1").map(|connection| (connection, false))
    })
}

fn is_empty_or_missing(path: &Path, suffix: &str) -> bool {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    fs::metadata(beside).map_or(true, |metadata| metadata.len() == 0)
}

/// Whether there is a table or view of this name.
pub(crate) fn has(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "select exists (select 1 from sqlite_master where name = ?)";
    connection.query_row(sql, [name], |row| row.get(0))
}

/// The column of `hitlog_log` that names a worker of pytest-xdist; files of hitlog 0.1 may lack it.
pub(crate) fn name_of_log(connection: &Connection) -> &'static str {
    if connection.prepare("select name from hitlog_log limit 0").is_ok() { "name" } else { "null" }
}

fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("select value from meta where key = ?", [key], |row| row.get(0)).optional()
}

fn check_version(connection: &Connection, path: &Path) -> Result<(), Error> {
    let version = "select version from coverage_schema";
    let version = connection.query_row(version, [], |row| row.get(0));
    let found: i64 = version.map_err(|source| failed(path, source))?;
    if found != SCHEMA_VERSION {
        return Err(Error::Schema { path: path.to_owned(), found });
    }
    let has_own_tables = has(connection, "hitlog_log").map_err(|source| failed(path, source))?;
    if has_own_tables && connection.prepare(COLUMNS).is_err() {
        let writer = meta(connection, "version").ok().flatten();
        let writer = writer.unwrap_or_else(|| "another hitlog".to_owned());
        return Err(Error::OtherVersion { path: path.to_owned(), writer });
    }
    Ok(())
}
