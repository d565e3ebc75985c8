//! Reads rows of one file from SQLite's pages, where asking SQLite for each row would take most of an answer's time.
//!
//! SQLite finds the tree and holds the lock under which nobody writes meanwhile. Only a file and a table that are as a
//! compactor writes them are read here; all others are asked in SQL. The format is that of
//! <https://www.sqlite.org/fileformat2.html>.

use rusqlite::{Connection, Error, OptionalExtension as _, Result, ffi};
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = 4096;

/// What a file's header says from its 17th byte on: the size of pages, no write-ahead log, nothing reserved on
/// any page, and three constants of SQLite's.
const HEADER_AT: u64 = 16;
const HEADER: [u8; 8] = [0x10, 0, 1, 1, 0, 64, 32, 32];

/// Deeper than a tree of SQLite's largest file.
const DEPTH_MAX: usize = 20;

/// Largest payload that SQLite itself reads.
const PAYLOAD_BYTES_MAX: usize = 1_000_000_000;

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

/// A table or an index of SQLite's. Its rows stand in the order of their keys: of rowids or, in an index and
/// `without rowid`, of their first columns.
pub(super) struct Tree<'file> {
    file: &'file File,
    root: u32,
    has_rowids: bool,
    /// How many the file has.
    pages: u64,
}

impl Tree<'_> {
    /// Calls `visit` with each row whose key is in `keys`, in their order.
    ///
    /// # Errors
    /// If a page cannot be read or is damaged, and those of `visit`.
    pub(super) fn rows(
        &self,
        keys: RangeInclusive<i64>,
        mut visit: impl FnMut(Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut walk = Walk { tree: self, left: self.pages, pages: Vec::new(), payload: Vec::new() };
        walk.page(self.root, 0, &keys, &mut visit).map(drop)
    }
}

/// One way through a tree.
struct Walk<'tree> {
    tree: &'tree Tree<'tree>,
    /// How many pages it may read: those of a damaged file can lead back to each other.
    left: u64,
    /// Space for pages, and for a payload that stands on several.
    pages: Vec<Box<[u8; PAGE_BYTES]>>,
    payload: Vec<u8>,
}

impl Walk<'_> {
    fn spare_page(&mut self) -> Box<[u8; PAGE_BYTES]> {
        self.pages.pop().unwrap_or_else(|| Box::new([0; PAGE_BYTES]))
    }

    fn read(&mut self, number: u32, page: &mut [u8; PAGE_BYTES]) -> Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(damaged)?;
        let before = number.checked_sub(1).ok_or_else(damaged)?;
        let at = u64::from(before) * PAGE_BYTES as u64;
        self.tree.file.read_exact_at(page, at).map_err(failed)
    }

    /// Visits the rows of the page `number` and of those below it. Whether rows behind them may have a key in `keys`.
    fn page(
        &mut self,
        number: u32,
        depth: usize,
        keys: &RangeInclusive<i64>,
        visit: &mut impl FnMut(Record<'_>) -> Result<()>,
    ) -> Result<bool> {
        if depth > DEPTH_MAX {
            return Err(damaged());
        }
        let mut page = self.spare_page();
        self.read(number, &mut page)?;
        let goes_on = self.cells(&page, depth, keys, visit)?;
        self.pages.push(page);
        Ok(goes_on)
    }

    fn cells(
        &mut self,
        page: &[u8; PAGE_BYTES],
        depth: usize,
        keys: &RangeInclusive<i64>,
        visit: &mut impl FnMut(Record<'_>) -> Result<()>,
    ) -> Result<bool> {
        let kind = Kind::of(page[0]).ok_or_else(damaged)?;
        let cells = usize::from(u16::from_be_bytes([page[3], page[4]]));
        // As SQLite has it: only the root of an empty tree is without a cell.
        let is_empty_tree = depth == 0 && kind.is_leaf;
        if kind.has_rowids != self.tree.has_rowids || (cells == 0 && !is_empty_tree) {
            return Err(damaged());
        }
        let list_at = if kind.is_leaf { 8 } else { 12 };
        let list = page.get(list_at..list_at + 2 * cells).ok_or_else(damaged)?;
        for at in list.chunks_exact(2) {
            let at = usize::from(u16::from_be_bytes([at[0], at[1]]));
            let mut cell = Bytes(page.get(at..).ok_or_else(damaged)?);
            let child = if kind.is_leaf { None } else { Some(cell.u32()?) };
            let length = if kind.has_rows() { cell.varint()? } else { 0 };
            let key = if kind.has_rowids {
                cell.varint()?.cast_signed()
            } else {
                Record::new(cell.0)?.integer()?
            };
            if key < *keys.start() {
                continue;
            }
            if let Some(child) = child
                && !self.page(child, depth + 1, keys, visit)?
            {
                return Ok(false);
            }
            if key > *keys.end() {
                return Ok(false);
            }
            if kind.has_rows() {
                let mut payload = std::mem::take(&mut self.payload);
                visit(Record::new(self.whole(cell, length, kind, &mut payload)?)?)?;
                self.payload = payload;
            }
        }
        if kind.is_leaf {
            return Ok(true);
        }
        self.page(Bytes(&page[8..12]).u32()?, depth + 1, keys, visit)
    }

    /// The `length` bytes that begin with `cell`, and go on from page to page if they are many.
    fn whole<'bytes>(
        &mut self,
        cell: Bytes<'bytes>,
        length: u64,
        kind: Kind,
        payload: &'bytes mut Vec<u8>,
    ) -> Result<&'bytes [u8]> {
        let length = usize::try_from(length).ok().filter(|length| *length <= PAYLOAD_BYTES_MAX);
        let length = length.ok_or_else(damaged)?;
        let local = local_bytes(length, if kind.has_rowids { ROW_BYTES_MAX } else { ENTRY_BYTES_MAX });
        let (local, rest) = cell.0.split_at_checked(local).ok_or_else(damaged)?;
        if local.len() == length {
            return Ok(local);
        }
        payload.clear();
        payload.extend_from_slice(local);
        let mut next = Bytes(rest).u32()?;
        let mut page = self.spare_page();
        while payload.len() < length {
            self.read(next, &mut page)?;
            next = Bytes(&page[..4]).u32()?;
            payload.extend_from_slice(&page[4..]);
        }
        self.pages.push(page);
        payload.truncate(length);
        Ok(payload)
    }
}

/// What stands in a page.
#[derive(Clone, Copy)]
struct Kind {
    is_leaf: bool,
    has_rowids: bool,
}

impl Kind {
    fn of(page_type: u8) -> Option<Kind> {
        let (is_leaf, has_rowids) = match page_type {
            2 => (false, false),
            5 => (false, true),
            10 => (true, false),
            13 => (true, true),
            _ => return None,
        };
        Some(Kind { is_leaf, has_rowids })
    }

    /// Whether its cells hold rows: those between children by rowid are only keys.
    fn has_rows(self) -> bool {
        self.is_leaf || !self.has_rowids
    }
}

/// Bytes that are taken from their beginning.
#[derive(Clone, Copy)]
struct Bytes<'bytes>(&'bytes [u8]);

impl<'bytes> Bytes<'bytes> {
    fn take(&mut self, length: usize) -> Result<&'bytes [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32> {
        let taken = self.take(4)?;
        Ok(u32::from_be_bytes([taken[0], taken[1], taken[2], taken[3]]))
    }

    /// Seven bits of each byte but the ninth, which is the last one and has eight.
    #[inline]
    fn varint(&mut self) -> Result<u64> {
        match self.0.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for (position, byte) in self.0.iter().enumerate().take(9) {
            let is_ninth = position == 8;
            number = if is_ninth {
                number << 8 | u64::from(*byte)
            } else {
                number << 7 | u64::from(byte & 0x7f)
            };
            if is_ninth || *byte < 0x80 {
                self.0 = &self.0[position + 1..];
                return Ok(number);
            }
        }
        Err(damaged())
    }
}

/// The columns of a row, which are taken in their order.
pub(super) struct Record<'row> {
    types: Bytes<'row>,
    values: Bytes<'row>,
}

impl<'row> Record<'row> {
    fn new(record: &'row [u8]) -> Result<Record<'row>> {
        let mut types = Bytes(record);
        let length = usize::try_from(types.varint()?).map_err(|_| damaged())?;
        let (head, values) = record.split_at_checked(length).ok_or_else(damaged)?;
        let taken = record.len() - types.0.len();
        Ok(Record { types: Bytes(head.get(taken..).ok_or_else(damaged)?), values: Bytes(values) })
    }

    /// The next column, if it is an integer.
    #[inline]
    pub(super) fn integer(&mut self) -> Result<i64> {
        let length = match self.types.varint()? {
            length @ 1..=4 => length as usize,
            5 => 6,
            6 => 8,
            8 => return Ok(0),
            9 => return Ok(1),
            _ => return Err(damaged()),
        };
        Ok(match *self.values.take(length)? {
            [a] => i64::from(i8::from_be_bytes([a])),
            [a, b] => i64::from(i16::from_be_bytes([a, b])),
            [a, b, c] => i64::from(i32::from_be_bytes([a, b, c, 0]) >> 8),
            [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
            [a, b, c, d, e, f] => i64::from_be_bytes([a, b, c, d, e, f, 0, 0]) >> 16,
            [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            _ => return Err(damaged()),
        })
    }

    /// The next columns, if they are integers.
    #[inline]
    pub(super) fn integers<const COLUMNS: usize>(&mut self) -> Result<[i64; COLUMNS]> {
        let mut integers = [0; COLUMNS];
        for integer in &mut integers {
            *integer = self.integer()?;
        }
        Ok(integers)
    }

    /// The next column, if it is a blob.
    pub(super) fn blob(&mut self) -> Result<&'row [u8]> {
        match self.types.varint()? {
            length if length >= 12 && length % 2 == 0 => {
                self.values.take(usize::try_from((length - 12) / 2).map_err(|_| damaged())?)
            }
            _ => Err(damaged()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A row: its key, two more integers, and its blob.
    type Row = (i64, i64, i64, Vec<u8>);

    /// Integers of every length, and blobs of which some flow over to other pages.
    fn rows() -> Vec<Row> {
        let length = |number: usize| if number.is_multiple_of(97) { 7 * number } else { number % 60 };
        rows_with_blobs((0..3000).map(length))
    }

    fn rows_with_blobs(lengths: impl Iterator<Item = usize>) -> Vec<Row> {
        let row = |(number, length): (i64, usize)| {
            let sign = if number % 3 == 0 { -1 } else { 1 };
            let blob = (0..length).map(|at| (at as i64 + number) as u8).collect();
            (number / 7, number, sign << (number % 64), blob)
        };
        (0..).zip(lengths).map(row).collect()
    }

    fn database(folder: &Path, settings: &str) -> (PathBuf, Connection) {
        database_of(&rows(), folder, settings)
    }

    /// The same rows in a table by rowid, and in one without.
    fn database_of(rows: &[Row], folder: &Path, settings: &str) -> (PathBuf, Connection) {
        let path = folder.join("rows.db");
        let connection = Connection::open(&path).unwrap();
        let tables = "create table by_rowid (key integer, number integer, value integer, data blob);
                      create table by_key (key integer, number integer, value integer, data blob,
                                           primary key (key, number)) without rowid;
                      begin;";
        connection.execute_batch(&format!("{settings}; {tables}")).unwrap();
        for table in ["by_rowid", "by_key"] {
            let mut insert =
                connection.prepare(&format!("insert into {table} values (?, ?, ?, ?)")).unwrap();
            for (key, number, value, data) in rows {
                assert_eq!(insert.execute((key, number, value, data)), Ok(1));
            }
        }
        connection.execute_batch("commit").unwrap();
        (path, connection)
    }

    fn pages(path: &Path) -> PageReader {
        PageReader::of(Arc::new(File::open(path).unwrap()), path, true)
    }

    /// The tree of a table, whatever its definition.
    fn tree<T>(
        pages: &PageReader,
        connection: &Connection,
        name: &str,
        read: impl FnOnce(&Tree<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        pages.locked(connection, |locked| {
            let sql = "select rootpage from sqlite_master where name = ?";
            let root = connection.query_row(sql, [name], |row| row.get(0))?;
            read(&locked.tree(root, name != "by_key"))
        })
    }

    fn read(
        pages: &PageReader,
        connection: &Connection,
        table: &str,
        keys: RangeInclusive<i64>,
    ) -> Result<Option<Vec<Row>>> {
        tree(pages, connection, table, |tree| {
            let mut found = Vec::new();
            tree.rows(keys, |mut row| {
                let [key, number, value] = row.integers()?;
                found.push((key, number, value, row.blob()?.to_vec()));
                Ok(())
            })?;
            Ok(found)
        })
    }

    #[test]
    fn rows_are_those_that_sqlite_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let (path, connection) = database(folder.path(), "");
        let pages = pages(&path);
        let all = rows();
        for keys in [0..=428, 0..=0, 17..=17, 5..=300, 428..=428, -9..=3, 400..=900, 429..=900, -5..=-1]
        {
            let expected: Vec<Row> = all.iter().filter(|row| keys.contains(&row.0)).cloned().collect();
            assert_eq!(
                read(&pages, &connection, "by_key", keys.clone()),
                Ok(Some(expected)),
                "{keys:?}"
            );
        }
        for rowids in [1..=3000, 1..=1, 2999..=3000, 500..=1700, 3000..=9000, 3001..=9000, -4..=0] {
            let rows = (1..).zip(&all).filter(|(rowid, _)| rowids.contains(rowid));
            let expected: Vec<Row> = rows.map(|(_, row)| row.clone()).collect();
            let found = read(&pages, &connection, "by_rowid", rowids.clone());
            assert_eq!(found, Ok(Some(expected)), "{rowids:?}");
        }
    }

    /// From each of some lengths on, more pages are needed, or another part of the payload stands on the first one.
    #[test]
    fn payloads_around_all_limits_are_read_wholly() {
        let lengths = [0..4, 960..1030, 4020..4100, 4550..4620, 5040..5120, 8110..8190];
        let all = rows_with_blobs(lengths.into_iter().flatten());
        let folder = tempfile::tempdir().unwrap();
        let (path, connection) = database_of(&all, folder.path(), "");
        let pages = pages(&path);
        for table in ["by_key", "by_rowid"] {
            let found = read(&pages, &connection, table, 0..=i64::MAX).unwrap().unwrap();
            let differ = found.iter().zip(&all).find(|(found, row)| found != row);
            assert_eq!(differ.map(|(_, row)| (row.1, row.3.len())), None, "{table}");
            assert_eq!(found.len(), all.len(), "{table}");
        }
    }

    #[test]
    fn rowids_of_every_length_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("create table rows (rowid_again integer)").unwrap();
        let powers = (0..63).map(|bit| 1_i64 << bit);
        let mut rowids: Vec<i64> =
            powers.flat_map(|power| [power, power - 1, -power, !power]).collect();
        rowids.sort_unstable();
        rowids.dedup();
        let mut insert =
            connection.prepare("insert into rows (rowid, rowid_again) values (?1, ?1)").unwrap();
        for rowid in &rowids {
            assert_eq!(insert.execute([rowid]), Ok(1));
        }
        let pages = pages(&path);
        for keys in [i64::MIN..=i64::MAX, -(1 << 40)..=-1, 1 << 56..=1 << 60] {
            let mut found = Vec::new();
            let read = tree(&pages, &connection, "rows", |tree| {
                tree.rows(keys.clone(), |mut row| row.integer().map(|rowid| found.push(rowid)))
            });
            let expected: Vec<i64> =
                rowids.iter().copied().filter(|rowid| keys.contains(rowid)).collect();
            assert_eq!((read, found), (Ok(Some(())), expected), "{keys:?}");
        }
    }

    #[test]
    fn a_column_of_another_type_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.db");
        let connection = Connection::open(&path).unwrap();
        let values = ["null", "0", "1", "7", "1.5", "'seven'", "x'07'", "''", "x''"];
        let table = format!("create table rows as values ({})", values.join("), ("));
        connection.execute_batch(&table).unwrap();
        let (mut integers, mut blobs) = (Vec::new(), Vec::new());
        let read = tree(&pages(&path), &connection, "rows", |tree| {
            tree.rows(0..=9, |mut row| {
                integers.push(row.integer().ok());
                Ok(())
            })?;
            tree.rows(0..=9, |mut row| {
                blobs.push(row.blob().ok().map(<[u8]>::to_vec));
                Ok(())
            })
        });
        assert_eq!(read, Ok(Some(())));
        assert_eq!(integers, [None, Some(0), Some(1), Some(7), None, None, None, None, None]);
        let (seven, empty) = (Some(vec![7]), Some(Vec::new()));
        assert_eq!(blobs, [None, None, None, None, None, None, seven, None, empty]);
    }

    #[test]
    fn a_file_that_is_out_of_the_ordinary_is_left_to_sqlite() {
        for settings in
            ["pragma page_size = 8192", "pragma page_size = 65536", "pragma journal_mode = wal"]
        {
            let folder = tempfile::tempdir().unwrap();
            let (path, connection) = database(folder.path(), settings);
            assert_eq!(read(&pages(&path), &connection, "by_key", 0..=1), Ok(None), "{settings}");
        }
    }

    /// As when a file is copied over one that had a log: SQLite takes that for its own.
    #[test]
    fn a_log_that_is_left_beside_the_file_is_left_to_sqlite() {
        let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let (path, connection) = database(folder.path(), "");
        drop(connection);
        let (with_log, writer) = database(other.path(), "pragma journal_mode = wal");
        let log = |path: &Path| path.with_extension("db-wal");
        fs::copy(log(&with_log), log(&path)).unwrap();
        drop(writer);
        let connection = Connection::open(&path).unwrap();
        assert_eq!(read(&pages(&path), &connection, "by_key", 0..=1), Ok(None));
    }

    #[test]
    fn a_file_that_was_replaced_is_left_to_sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let (path, connection) = database(folder.path(), "");
        let file = Arc::new(File::open(&path).unwrap());
        std::fs::rename(&path, folder.path().join("before.db")).unwrap();
        drop(database(folder.path(), ""));
        assert_eq!(read(&PageReader::of(file, &path, true), &connection, "by_key", 0..=1), Ok(None));
    }

    /// Whether this process holds a lock on `path` by which nobody else may write.
    fn is_locked(path: &Path) -> bool {
        let place = format!(":{} ", fs::metadata(path).unwrap().ino());
        let own = format!(" {} ", std::process::id());
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|line| line.contains("READ") && line.contains(&own) && line.contains(&place))
    }

    #[test]
    fn nobody_can_write_while_pages_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (path, connection) = database(folder.path(), "");
        let first = pages(&path);
        let is_locked = tree(&first, &connection, "by_key", |tree| {
            let before = is_locked(&path);
            // Had this one a handle of its own, its end would be the end of the lock.
            drop(first.again(&path, true));
            tree.rows(0..=428, |_| Ok(()))?;
            Ok([before, is_locked(&path)])
        });
        assert_eq!(is_locked, Ok(Some([true, true])));
    }

    /// What SQLite makes of it.
    fn asked(connection: &Connection, table: &str) -> Result<Vec<Row>> {
        let order = if table == "by_key" { "key, number" } else { "rowid" };
        let sql = format!("select key, number, value, data from {table} order by {order}");
        let mut statement = connection.prepare(&sql)?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        statement.query_map([], row)?.collect()
    }

    #[test]
    fn damaged_pages_tell_no_more_and_no_less_than_sqlite_says() {
        let folder = tempfile::tempdir().unwrap();
        let (path, connection) = database(folder.path(), "");
        drop(connection);
        let whole = std::fs::read(&path).unwrap();
        let damaged_path = folder.path().join("damaged.db");
        let mut errors = 0;
        for round in 0..600_usize {
            let mut bytes = whole.clone();
            // Behind the schema: now the head of a page, where it says what stands where, now any byte.
            let page = PAGE_BYTES * (1 + round * 31 % (whole.len() / PAGE_BYTES - 1));
            let at = if round % 2 == 0 { page + round % 64 } else { page + round * 131 % PAGE_BYTES };
            bytes[at] = bytes[at].wrapping_add(1 + (round % 255) as u8);
            std::fs::write(&damaged_path, &bytes).unwrap();
            let connection = Connection::open(&damaged_path).unwrap();
            let pages = pages(&damaged_path);
            for table in ["by_key", "by_rowid"] {
                match read(&pages, &connection, table, i64::MIN..=i64::MAX) {
                    Err(error) => {
                        assert_eq!(
                            error.sqlite_error_code(),
                            Some(rusqlite::ErrorCode::DatabaseCorrupt)
                        );
                        errors += 1;
                    }
                    Ok(found) => assert_eq!(found, asked(&connection, table).ok(), "{table}, {at}"),
                }
            }
        }
        assert!(errors > 30, "{errors}");
    }

    /// A page of a table by rowid whose children, one more than `cells`, are all the page `child`.
    fn page_above(child: u32, cells: u16) -> Vec<u8> {
        let cell_at = 4000;
        let mut page = vec![0; PAGE_BYTES];
        page[0] = 5;
        page[3..5].copy_from_slice(&cells.to_be_bytes());
        page[8..12].copy_from_slice(&child.to_be_bytes());
        for cell in 0..usize::from(cells) {
            page[12 + 2 * cell..][..2].copy_from_slice(&(cell_at as u16).to_be_bytes());
        }
        page[cell_at..cell_at + 4].copy_from_slice(&child.to_be_bytes());
        page
    }

    /// The rows of a table in a file of `pages_count` pages, of which those are overwritten that `damage` gives: by
    /// their numbers, when it is told that of the table's root.
    fn read_damaged(
        pages_count: u64,
        damage: impl Fn(u32) -> Vec<(u32, Vec<u8>)>,
    ) -> Result<Option<Vec<Row>>> {
        let folder = tempfile::tempdir().unwrap();
        let (path, connection) = database(folder.path(), "");
        let root = "select rootpage from sqlite_master where name = 'by_rowid'";
        let root = connection.query_row(root, [], |row| row.get(0)).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        for (number, page) in damage(root) {
            file.write_all_at(&page, u64::from(number - 1) * PAGE_BYTES as u64).unwrap();
        }
        file.set_len(pages_count * PAGE_BYTES as u64).unwrap();
        read(&pages(&path), &connection, "by_rowid", i64::MIN..=i64::MAX)
    }

    /// A page of a table by rowid with one row.
    fn leaf() -> Vec<u8> {
        let mut page = vec![0; PAGE_BYTES];
        page[..10].copy_from_slice(&[13, 0, 0, 0, 1, 0, 0, 0, 0, 100]);
        page[100..107].copy_from_slice(&[5, 1, 5, 8, 8, 8, 12]);
        page
    }

    #[test]
    fn only_an_empty_table_has_a_page_without_cells() {
        let without_cells = || [&[13][..], &[0; PAGE_BYTES - 1]].concat();
        assert_eq!(read_damaged(1000, |root| vec![(root, without_cells())]), Ok(Some(Vec::new())));
        let child = read_damaged(1000, |root| {
            vec![(root, page_above(root + 1, 1)), (root + 1, without_cells())]
        });
        assert_eq!(child, Err(damaged()));
        let above =
            read_damaged(1000, |root| vec![(root, page_above(root + 1, 0)), (root + 1, leaf())]);
        assert_eq!(above, Err(damaged()));
    }

    #[test]
    fn a_page_of_an_index_is_none_of_a_table() {
        let mut of_index = leaf();
        of_index[0] = 10;
        assert_eq!(read_damaged(1000, |root| vec![(root, of_index.clone())]), Err(damaged()));
    }

    #[test]
    fn a_payload_beyond_all_that_sqlite_reads_is_damaged() {
        let mut large = leaf();
        // 2^34 bytes, which go on in the page itself.
        large[100..107].copy_from_slice(&[0xC0, 0x80, 0x80, 0x80, 0, 1, 5]);
        assert_eq!(read_damaged(1000, |root| vec![(root, large.clone())]), Err(damaged()));
    }

    /// The stack would not hold as many pages as the file has.
    #[test]
    fn a_page_that_is_its_own_child_is_damaged() {
        for cells in [0, 3] {
            let read = read_damaged(1 << 18, |root| vec![(root, page_above(root, cells))]);
            assert_eq!(read, Err(damaged()), "{cells} cells");
        }
    }

    #[test]
    fn a_page_behind_the_end_of_the_file_is_damaged() {
        assert_eq!(read_damaged(1000, |root| vec![(root, page_above(1001, 1))]), Err(damaged()));
    }

    #[test]
    fn no_more_pages_are_read_than_the_file_has() {
        let read = |cells| {
            read_damaged(1000, |root| {
                let above = (root..root + 3).map(|page| (page, page_above(page + 1, cells)));
                above.chain([(root + 3, leaf())]).collect()
            })
        };
        assert_eq!(read(2), Ok(Some(vec![(0, 0, 0, Vec::new()); 27])), "27 times the same page");
        assert_eq!(read(19), Err(damaged()), "8000 times the same page");
    }

    #[test]
    fn a_column_ends_with_its_payload_not_with_the_last_page_of_it() {
        let read = |blob_type: [u8; 2]| {
            read_damaged(1000, |root| {
                let page = |bytes: &[u8]| [bytes, &vec![0; PAGE_BYTES - bytes.len()]].concat();
                // One row of 8181 bytes, of which 489 stand here: three zeros, and a blob of the given length.
                let row = [&[0xBF, 0x75, 1, 6, 8, 8, 8][..], &blob_type].concat();
                let mut leaf = page(&[13, 0, 0, 0, 1, 0, 0, 0, 0, 100]);
                leaf[100..][..row.len()].copy_from_slice(&row);
                leaf[103 + local_bytes(8181, ROW_BYTES_MAX)..][..4]
                    .copy_from_slice(&(root + 1).to_be_bytes());
                vec![(root, leaf), (root + 1, page(&(root + 2).to_be_bytes())), (root + 2, page(&[]))]
            })
        };
        assert_eq!(read([0xFF, 0x6A]), Ok(Some(vec![(0, 0, 0, vec![0; 8175])])));
        assert_eq!(read([0xFF, 0x6C]), Err(damaged()), "one byte more");
    }
}
