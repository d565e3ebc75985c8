//! The database that a report is made from: a data file of coverage.py's form, with or without hitlog's
//! own tables. It is read in one transaction and never written.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row};

use super::Error;

pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
}

impl Database {
    /// Opens `path`, if it is a data file.
    pub(super) fn open(path: &Path) -> Result<Database, Error> {
        let metadata = fs::metadata(path).map_err(|_| Error::Missing { path: path.to_path_buf() })?;
        if metadata.is_dir() {
            return Err(Error::NotRecorded { path: path.to_path_buf(), found: "a folder" });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failing = |source| Error::Database { path: path.to_path_buf(), source };
        let connection = Connection::open_with_flags(path, flags).map_err(failing)?;
        let database = Database { connection, path: path.to_path_buf() };
        match database.read(|connection| has_table(connection, "coverage_schema")) {
            Ok(true) => {}
            Ok(false) => return Err(database.not_recorded("a database of another program")),
            Err(Error::Database { source, .. }) if is_no_database(&source) => {
                return Err(database.not_recorded("no database"));
            }
            Err(error) => return Err(error),
        }
        database.read(|connection| connection.execute_batch("begin"))?;
        Ok(database)
    }

    /// What `question` finds in the database.
    pub(super) fn read<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let failing = |source| Error::Database { path: self.path.clone(), source };
        question(&self.connection).map_err(failing)
    }

    fn not_recorded(&self, found: &'static str) -> Error {
        Error::NotRecorded { path: self.path.clone(), found }
    }
}

fn is_no_database(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase)
}

/// Whether there is a table or view `name`.
pub(super) fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql =
        "select exists (select 1 from sqlite_master where name = ? and type in ('table', 'view'))";
    connection.query_row(sql, [name], |row| row.get(0))
}

/// All rows of `sql`, where `table` is there; none otherwise.
pub(super) fn rows_of<T>(
    connection: &Connection,
    table: &str,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    if !has_table(connection, table)? {
        return Ok(Vec::new());
    }
    connection.prepare(sql)?.query_map([], read)?.collect()
}

/// The text in column `index`; what is not UTF-8 in it is replaced, NULL is empty.
pub(super) fn text(row: &Row<'_>, index: usize) -> rusqlite::Result<String> {
    let bytes = row.get_ref(index)?.as_bytes_or_null();
    Ok(bytes
        .ok()
        .flatten()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .unwrap_or_default())
}
