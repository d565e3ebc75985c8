//! Reads rows of one file from SQLite's pages, where asking SQLite for each row would take most of an answer's time.
//!
//! SQLite finds the tree and holds the lock under which nobody writes meanwhile. Only a file and a table that are as a
//! compactor writes them are read here; all others are asked in SQL. The format is that of
//! <https://www.sqlite.org/fileformat2.html>.

mod record;
mod tree;

use rusqlite::{Connection, Error, OptionalExtension as _, Result, ffi};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use tree::Tree;

/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = 4096;

/// What a file's header says from its 17th byte on: the size of pages, no write-ahead log, nothing reserved on
/// any page, and three constants of SQLite's.
const HEADER_AT: u64 = 16;
const HEADER: [u8; 8] = [0x10, 0, 1, 1, 0, 64, 32, 32];

/// Largest payload of a row, and of an entry of an index, that stands in its page wholly.
pub(crate) const ROW_BYTES_MAX: usize = PAGE_BYTES - 35;
pub(crate) const ENTRY_BYTES_MAX: usize = (PAGE_BYTES - 12) * 64 / 255 - 23;

/// Bytes of a payload on an overflow page, behind the number of the next one.
pub(crate) const OVERFLOW_BYTES: usize = PAGE_BYTES - 4;

/// How much of a payload of `length` bytes stands in its page, if at most `bytes_max` can.
pub(crate) fn local_bytes(length: usize, bytes_max: usize) -> usize {
    const BYTES_MIN: usize = (PAGE_BYTES - 12) * 32 / 255 - 23;
    if length <= bytes_max {
        return length;
    }
    let fitting = BYTES_MIN + (length - BYTES_MIN) % OVERFLOW_BYTES;
    if fitting <= bytes_max { fitting } else { BYTES_MIN }
}

/// A table that can be read here: no other of its name is.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) definition: &'static str,
    has_rowids: bool,
}

/// Coverage.py's numbits.
pub(crate) const LINE_BITS: Table = Table {
    name: "line_bits",
    definition: "create table line_bits (
    file_id integer, context_id integer, numbits blob,
    foreign key (file_id) references file (id),
    foreign key (context_id) references context (id),
    unique (file_id, context_id))",
    has_rowids: true,
};

/// Arcs that contexts took.
pub(crate) const ARC_BITS: Table = Table {
    name: "hitlog_arc_bits",
    definition: "create table hitlog_arc_bits (
    file_id integer, context_id integer, block integer, bits integer,
    primary key (file_id, block, context_id)) without rowid",
    has_rowids: false,
};

/// The pages of the file that a connection has open.
///
/// SQLite's locks belong to the process, and end when any handle of the file is closed: this one must stay open
/// for as long as a connection, of whichever [`Database`](super::Database).
#[derive(Debug)]
pub(super) struct PageReader {
    file: Arc<File>,
    /// Whether it is the file that the connection has open, and locks.
    is_connected: bool,
}

impl PageReader {
    /// Of `file`, which was opened as `path` before the connection was. It may be another file by now.
    pub(super) fn of(file: Arc<File>, path: &Path, is_locking: bool) -> PageReader {
        let place = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let opened = file.metadata().map(place).ok();
        let is_same = opened.is_some() && opened == fs::metadata(path).map(place).ok();
        PageReader { file, is_connected: is_locking && is_same }
    }

    /// The same for one more connection, of another thread.
    pub(super) fn again(&self, path: &Path, is_locking: bool) -> PageReader {
        PageReader::of(Arc::clone(&self.file), path, is_locking)
    }

    /// Calls `read` while nobody can change the file; `None` if it has pages of another kind.
    ///
    /// # Errors
    /// Those of `read`, and if SQLite cannot read.
    pub(super) fn locked<T>(
        &self,
        connection: &Connection,
        read: impl FnOnce(&Locked<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        if !self.is_connected {
            return Ok(None);
        }
        let mut statement = connection.prepare_cached("select 1 from sqlite_master")?;
        // Until the end of this statement, the connection has its lock.
        let mut rows = statement.query([])?;
        if rows.next()?.is_none() {
            return Ok(None);
        }
        // One that is left from another file counts as well.
        let mut mode = connection.prepare_cached("pragma journal_mode")?;
        let has_log =
            mode.query_row([], |row| Ok(row.get_ref(0)?.as_str()?.eq_ignore_ascii_case("wal")))?;
        let mut header = [0; HEADER.len()];
        let is_read = self.file.read_exact_at(&mut header, HEADER_AT).is_ok();
        if has_log || !is_read || header != HEADER {
            return Ok(None);
        }
        let pages = self.file.metadata().map_err(failed)?.len() / PAGE_BYTES as u64;
        read(&Locked { file: &self.file, connection, pages }).map(Some)
    }
}

/// What SQLite says of pages that are not as they should be.
pub(super) fn damaged() -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), None)
}

/// And of those that cannot be read.
fn failed(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(),
        _ => Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_READ), Some(error.to_string())),
    }
}

/// A file that nobody can change.
pub(super) struct Locked<'file> {
    file: &'file File,
    connection: &'file Connection,
    /// How many the file has.
    pages: u64,
}

impl<'file> Locked<'file> {
    /// The rows of `table`; `None` if the file has none, or another one of that name.
    pub(super) fn table(&self, table: &Table) -> Result<Option<Tree<'file>>> {
        let sql = "select rootpage, sql from sqlite_master where name = ? and type = 'table'";
        let mut statement = self.connection.prepare_cached(sql)?;
        let root = statement.query_row([table.name], |row| {
            let is_same = is_same_sql(row.get_ref(1)?.as_str()?, table.definition);
            Ok((row.get(0)?, is_same))
        });
        let root = root.optional()?.filter(|(_, is_same)| *is_same);
        Ok(root.map(|(root, _)| self.tree(root, table.has_rowids)))
    }

    /// The index that keeps the rows of `table` unique, which the file has.
    pub(super) fn unique_index(&self, table: &Table) -> Result<Option<Tree<'file>>> {
        let sql = "select rootpage from sqlite_master where name = ? and type = 'index'";
        let mut statement = self.connection.prepare_cached(sql)?;
        let name = format!("sqlite_autoindex_{}_1", table.name);
        let root = statement.query_row([name], |row| row.get(0)).optional()?;
        Ok(root.map(|root| self.tree(root, false)))
    }

    fn tree(&self, root: u32, has_rowids: bool) -> Tree<'file> {
        Tree { file: self.file, root, has_rowids, pages: self.pages }
    }
}

/// Whether both are the same but for spaces and case.
fn is_same_sql(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.split_ascii_whitespace(), right.split_ascii_whitespace());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(left), Some(right)) if left.eq_ignore_ascii_case(right) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
