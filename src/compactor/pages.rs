//! Writes large tables and indexes as pages of SQLite's file format, from rows that come in their order.
//!
//! ```text
//!                root                  the page that SQLite gave the empty table
//!              /      \
//!       interior       interior       child, divider, child, divider, .. child
//!       /   |   \        /   \
//!    leaf  leaf  leaf  leaf  leaf      rows, as many as a page holds
//! ```
//!
//! SQLite makes the schema and everything small, and closes the file. Each [`Tree`] then fills one table or
//! index that is still empty, from its leaves up; all of them share [`Pages`], which stand behind those of
//! SQLite. What a row costs is little more than its copying, while SQLite finds the place of each row
//! (`docs/speed.md` has the figures).
//!
//! The format is that of <https://www.sqlite.org/fileformat2.html>.

use super::record::{VARINT_BYTES_MAX, put_varint};
use crate::query::pages::{ENTRY_BYTES_MAX, OVERFLOW_BYTES, PAGE_BYTES, ROW_BYTES_MAX, local_bytes};
use rayon::prelude::*;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The page that holds the byte at 1 GiB, by which SQLite locks the file: it never holds anything.
const LOCK_PAGE: u32 = (1 << 30) / PAGE_BYTES as u32 + 1;

/// Pages that are written at once.
const WRITTEN_AT_ONCE: usize = 64;

/// Where the file's header tells how many pages there are.
const PAGE_COUNT_AT: u64 = 28;

/// Where it tells the bytes of a page, how many of these are reserved, and whether pages are listed for vacuuming.
const PAGE_BYTES_AT: usize = 16;
const RESERVED_AT: usize = 20;
const LARGEST_ROOT_AT: usize = 52;

/// A file of SQLite's that nobody has open, to which pages are added.
pub(super) struct Pages {
    file: File,
    /// How many SQLite wrote.
    first: u32,
    /// How many there are, with those that wait.
    count: u32,
    written: Written,
    /// The last pages, not yet written.
    waiting: Vec<u8>,
}

impl Pages {
    /// Opens the file `path`, which SQLite has closed. Fails if it has pages of another kind.
    pub(super) fn open(path: &Path) -> io::Result<Pages> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut header = [0; 100];
        file.read_exact_at(&mut header, 0)?;
        let page_bytes = u16::from_be_bytes([header[PAGE_BYTES_AT], header[PAGE_BYTES_AT + 1]]);
        let is_listed = header[LARGEST_ROOT_AT..LARGEST_ROOT_AT + 4] != [0; 4];
        if usize::from(page_bytes) != PAGE_BYTES || header[RESERVED_AT] != 0 || is_listed {
            let reason = "this SQLite makes pages of another kind than those that are to be added";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        let count = file.metadata()?.len() / PAGE_BYTES as u64;
        let count = u32::try_from(count).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let waiting = Vec::with_capacity(WRITTEN_AT_ONCE * PAGE_BYTES);
        Ok(Pages { file, first: count, count, written: Written::default(), waiting })
    }

    /// Adds a page and returns its number.
    fn append(&mut self, page: &[u8; PAGE_BYTES]) -> io::Result<u32> {
        if self.count + 1 == LOCK_PAGE {
            self.append_at(&[0; PAGE_BYTES])?;
        }
        self.append_at(page)
    }

    fn append_at(&mut self, page: &[u8; PAGE_BYTES]) -> io::Result<u32> {
        self.count = self.count.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        self.waiting.extend_from_slice(page);
        self.written.added.push(crc32fast::hash(page));
        if self.waiting.len() >= WRITTEN_AT_ONCE * PAGE_BYTES {
            self.flush()?;
        }
        Ok(self.count)
    }

    fn flush(&mut self) -> io::Result<()> {
        let first = u64::from(self.count) * PAGE_BYTES as u64 - self.waiting.len() as u64;
        self.file.write_all_at(&self.waiting, first)?;
        self.waiting.clear();
        Ok(())
    }

    /// Writes `rest`, what does not stand in the leaf, to overflow pages; returns the number of the first.
    fn append_overflow(&mut self, rest: &[u8]) -> io::Result<u32> {
        // From the last one on, each names the one behind it.
        let mut next = 0;
        let mut page = [0; PAGE_BYTES];
        for part in rest.chunks(OVERFLOW_BYTES).rev() {
            page[..4].copy_from_slice(&u32::to_be_bytes(next));
            page[4..4 + part.len()].copy_from_slice(part);
            page[4 + part.len()..].fill(0);
            next = self.append(&page)?;
        }
        Ok(next)
    }

    /// Writes the root of a tree, where SQLite made it.
    fn write_root(&mut self, root: u32, page: &[u8; PAGE_BYTES]) -> io::Result<()> {
        self.written.roots.push((root, crc32fast::hash(page)));
        self.file.write_all_at(page, offset_of(root))
    }

    /// Writes what waits. From here on, SQLite may open the file.
    pub(super) fn finish(mut self) -> io::Result<Written> {
        self.flush()?;
        self.file.write_all_at(&self.count.to_be_bytes(), PAGE_COUNT_AT)?;
        self.written.first = self.first + 1;
        Ok(self.written)
    }
}

fn offset_of(page: u32) -> u64 {
    u64::from(page - 1) * PAGE_BYTES as u64
}

/// Checksums of all pages that were written.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The first of those added behind what SQLite wrote, which follow each other.
    first: u32,
    added: Vec<u32>,
    /// With their numbers.
    roots: Vec<(u32, u32)>,
}

impl Written {
    /// Reads all of them back from the file `path`. The first page that is not as it was written, if any.
    pub(super) fn first_damaged(&self, path: &Path) -> io::Result<Option<u32>> {
        let file = File::open(path)?;
        let mut page = [0; PAGE_BYTES];
        for (root, checksum) in &self.roots {
            file.read_exact_at(&mut page, offset_of(*root))?;
            if crc32fast::hash(&page) != *checksum {
                return Ok(Some(*root));
            }
        }
        let first_of = |bytes: &mut Vec<u8>, (part, checksums): (usize, &[u32])| {
            let first = self.first + (part * WRITTEN_AT_ONCE) as u32;
            bytes.resize(checksums.len() * PAGE_BYTES, 0);
            file.read_exact_at(bytes, offset_of(first))?;
            let pages = bytes.chunks(PAGE_BYTES).map(crc32fast::hash);
            let damaged = pages.zip(checksums).position(|(found, written)| found != *written);
            Ok(damaged.map(|at| first + at as u32))
        };
        let parts = self.added.par_chunks(WRITTEN_AT_ONCE).enumerate();
        let found = parts.map_init(Vec::new, first_of).find_first(|found| !matches!(found, Ok(None)));
        found.unwrap_or(Ok(None))
    }
}

/// What a tree holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Rows by their rowid. The dividers of children are copies of rowids.
    Table,
    /// Entries by themselves: an index, or a table `without rowid`. Entries are dividers, too.
    Index,
}

impl Kind {
    fn page_type(self, is_leaf: bool) -> u8 {
        match (self, is_leaf) {
            (Kind::Table, true) => 13,
            (Kind::Table, false) => 5,
            (Kind::Index, true) => 10,
            (Kind::Index, false) => 2,
        }
    }
}

/// A page to which cells are added, in their order.
struct Page {
    bytes: Box<[u8; PAGE_BYTES]>,
    is_leaf: bool,
    cells: usize,
    /// Where the content of the last cell begins. Cells fill the page from its end.
    content_at: usize,
}

impl Page {
    fn new(kind: Kind, is_leaf: bool) -> Page {
        let mut bytes = Box::new([0; PAGE_BYTES]);
        bytes[0] = kind.page_type(is_leaf);
        Page { bytes, is_leaf, cells: 0, content_at: PAGE_BYTES }
    }

    /// Where the list of cells begins.
    fn list_at(&self) -> usize {
        if self.is_leaf { 8 } else { 12 }
    }

    /// Adds a cell of two pieces, if it fits.
    fn push(&mut self, head: &[u8], rest: &[u8]) -> bool {
        let entry_at = self.list_at() + 2 * self.cells;
        let length = head.len() + rest.len();
        if entry_at + 2 + length > self.content_at {
            return false;
        }
        let end = self.content_at;
        self.content_at -= length;
        let (first, second) = self.bytes[self.content_at..end].split_at_mut(head.len());
        first.copy_from_slice(head);
        second.copy_from_slice(rest);
        self.put_u16(entry_at, self.content_at);
        self.cells += 1;
        true
    }

    /// Takes the last cell back.
    fn pop(&mut self) -> Vec<u8> {
        self.cells -= 1;
        let entry_at = self.list_at() + 2 * self.cells;
        let end = match self.cells {
            0 => PAGE_BYTES,
            _ => usize::from(self.bytes[entry_at - 2]) << 8 | usize::from(self.bytes[entry_at - 1]),
        };
        let cell = self.bytes[self.content_at..end].to_vec();
        self.bytes[self.content_at..end].fill(0);
        self.bytes[entry_at..entry_at + 2].fill(0);
        self.content_at = end;
        cell
    }

    fn put_u16(&mut self, at: usize, value: usize) {
        self.bytes[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
    }

    /// The child behind the last divider.
    fn last_child(&mut self) -> &mut [u8] {
        &mut self.bytes[8..12]
    }

    /// The page's bytes, to be written.
    fn finished(&mut self) -> &[u8; PAGE_BYTES] {
        self.put_u16(3, self.cells);
        self.put_u16(5, self.content_at);
        &self.bytes
    }
}

/// The pages of one depth, of which only the last are held.
struct Level {
    page: Page,
    /// A full page, and what divides it from `page`. It is written when that has a cell: if it never gets
    /// one, it takes the last of this one.
    full: Option<(Page, Vec<u8>)>,
}

/// A table or an index that is being filled.
pub(super) struct Tree {
    kind: Kind,
    /// Number of the page that SQLite gave it.
    root: u32,
    /// From the leaves up.
    levels: Vec<Level>,
    last_rowid: u64,
}

impl Tree {
    /// The empty table or index whose root is page `root`.
    pub(super) fn new(kind: Kind, root: u32) -> Tree {
        let leaves = Level { page: Page::new(kind, true), full: None };
        Tree { kind, root, levels: vec![leaves], last_rowid: 0 }
    }

    /// Adds the row `rowid` to a table, behind all others.
    pub(super) fn push_row(&mut self, pages: &mut Pages, rowid: u64, record: &[u8]) -> io::Result<()> {
        let (mut head, mut length) = ([0; 2 * VARINT_BYTES_MAX], 0);
        put_varint(&mut head, &mut length, record.len() as u64);
        put_varint(&mut head, &mut length, rowid);
        let (local, rest) = record.split_at(local_bytes(record.len(), ROW_BYTES_MAX));
        if rest.is_empty() {
            return self.push_row_cell(pages, rowid, &head[..length], record);
        }
        let overflow = pages.append_overflow(rest)?.to_be_bytes();
        self.push_row_cell(pages, rowid, &head[..length], &[local, &overflow].concat())
    }

    fn push_row_cell(
        &mut self,
        pages: &mut Pages,
        rowid: u64,
        head: &[u8],
        rest: &[u8],
    ) -> io::Result<()> {
        let leaves = &mut self.levels[0];
        if !leaves.page.push(head, rest) {
            let mut full = mem::replace(&mut leaves.page, Page::new(self.kind, true));
            leaves.page.push(head, rest);
            let divider = varint(self.last_rowid);
            let number = pages.append(full.finished())?;
            self.push_child(pages, 1, number, divider)?;
        }
        self.last_rowid = rowid;
        Ok(())
    }

    /// Adds an entry to an index, behind all others. It is short: of numbers, or a name of fixed length.
    pub(super) fn push_entry(&mut self, pages: &mut Pages, record: &[u8]) -> io::Result<()> {
        if record.len() > ENTRY_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an entry is too long for a page"));
        }
        let (mut head, mut length) = ([0; VARINT_BYTES_MAX], 0);
        put_varint(&mut head, &mut length, record.len() as u64);
        if self.levels[0].page.push(&head[..length], record) {
            return self.write_full(pages, 0);
        }
        self.hold_full(0, [&head[..length], record].concat());
        Ok(())
    }

    /// Adds the child `number` and what divides it from the next one to the pages at `depth`.
    fn push_child(
        &mut self,
        pages: &mut Pages,
        depth: usize,
        number: u32,
        divider: Vec<u8>,
    ) -> io::Result<()> {
        if depth == self.levels.len() {
            self.levels.push(Level { page: Page::new(self.kind, false), full: None });
        }
        let page = &mut self.levels[depth].page;
        if page.push(&number.to_be_bytes(), &divider) {
            return self.write_full(pages, depth);
        }
        page.last_child().copy_from_slice(&number.to_be_bytes());
        self.hold_full(depth, divider);
        Ok(())
    }

    /// Begins a page at `depth`, behind `divider`.
    fn hold_full(&mut self, depth: usize, divider: Vec<u8>) {
        let level = &mut self.levels[depth];
        let full = mem::replace(&mut level.page, Page::new(self.kind, depth == 0));
        level.full = Some((full, divider));
    }

    /// Writes the full page that waits at `depth`, if any.
    fn write_full(&mut self, pages: &mut Pages, depth: usize) -> io::Result<()> {
        let Some((mut full, divider)) = self.levels[depth].full.take() else { return Ok(()) };
        let number = pages.append(full.finished())?;
        self.push_child(pages, depth + 1, number, divider)
    }

    /// Writes the last page of each depth, and the root where SQLite looks for it.
    pub(super) fn finish(mut self, pages: &mut Pages) -> io::Result<()> {
        let mut depth = 0;
        let mut last_child = None;
        loop {
            let level = &mut self.levels[depth];
            if let Some((full, divider)) = &mut level.full {
                // No page but the root of an empty tree is without a cell.
                let mut cell = full.pop();
                if depth > 0 {
                    let child = cell.drain(..4).collect::<Vec<u8>>();
                    level.page.push(full.last_child(), divider);
                    full.last_child().copy_from_slice(&child);
                } else {
                    level.page.push(&[], divider);
                }
                *divider = cell;
                self.write_full(pages, depth)?;
            }
            let is_root = depth + 1 == self.levels.len();
            let page = &mut self.levels[depth].page;
            if let Some(child) = last_child {
                page.last_child().copy_from_slice(&u32::to_be_bytes(child));
            }
            let bytes = page.finished();
            if is_root {
                return pages.write_root(self.root, bytes);
            }
            last_child = Some(pages.append(bytes)?);
            depth += 1;
        }
    }
}

fn varint(number: u64) -> Vec<u8> {
    let (mut bytes, mut length) = ([0; VARINT_BYTES_MAX], 0);
    put_varint(&mut bytes, &mut length, number);
    bytes[..length].to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::record::{Column, write_record};
    use super::super::tables::Roots;
    use super::*;
    use rusqlite::Connection;
    use std::path::PathBuf;

    /// A file of SQLite's with an empty table and an empty index of it.
    fn empty(folder: &Path) -> (PathBuf, Roots) {
        let path = folder.join("pages.db");
        let _ = std::fs::remove_file(&path);
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "pragma synchronous = off; pragma journal_mode = off;
                 create table t (text text, number integer); create index i on t (text, number);",
            )
            .unwrap();
        let roots = Roots::read(&connection).unwrap();
        (path, roots)
    }

    /// Fills both with `rows` rows of at least `length` bytes.
    fn fill(pages: &mut Pages, roots: &Roots, rows: u64, length: usize) {
        let [mut table, mut index] =
            [roots.table("t"), roots.index("i")].map(|at| Tree::new(at.kind, at.root));
        let mut record = Vec::new();
        for row in 1..=rows {
            let text = format!("{row:0length$}");
            let number = row.cast_signed().wrapping_mul(-1 << (row % 64));
            let columns = [Column::Text(&text), Column::Integer(number)];
            table.push_row(pages, row, write_record(&mut record, &columns)).unwrap();
            let entry = [columns[0], columns[1], row.into()];
            index.push_entry(pages, write_record(&mut record, &entry)).unwrap();
        }
        table.finish(pages).unwrap();
        index.finish(pages).unwrap();
    }

    /// SQLite's own check compares each row with its entry in the index, and the other way round.
    fn assert_rows(path: &Path, rows: u64) {
        let connection = Connection::open(path).unwrap();
        let text = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(text("pragma integrity_check"), "ok", "{rows} rows");
        let found = "select count(*) || ' ' || ifnull(max(cast(text as integer)), 0) from t";
        assert_eq!(text(found), format!("{rows} {rows}"));
        // And SQLite goes on from there.
        connection.execute("insert into t values ('z', 1)", []).unwrap();
        connection.execute("delete from t where rowid % 3 = 0", []).unwrap();
        assert_eq!(text("pragma integrity_check"), "ok", "{rows} rows, changed");
    }

    #[test]
    fn trees_of_any_size_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        // Four rows to a page: several levels, and each way in which their pages can end.
        let large = (0..130).map(|rows| (rows, 900)).chain([(5000, 900)]);
        for (rows, length) in large.chain([(1, 6), (100_000, 6)]) {
            let (path, roots) = empty(folder.path());
            let mut pages = Pages::open(&path).unwrap();
            fill(&mut pages, &roots, rows, length);
            pages.finish().unwrap();
            assert_rows(&path, rows);
        }
    }

    #[test]
    fn what_does_not_fit_a_page_flows_over() {
        let folder = tempfile::tempdir().unwrap();
        let lengths =
            [0, 1, 4000, 4050, 4051, 4052, 4055, 4060, 4065, 4070, 4100, 4550, 4580, 8150, 100_000];
        let texts: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
        let (path, roots) = empty(folder.path());
        let mut pages = Pages::open(&path).unwrap();
        let mut table = Tree::new(Kind::Table, roots.table("t").root);
        let mut record = Vec::new();
        for (rowid, text) in (1..).zip(&texts) {
            let record = write_record(&mut record, &[Column::Text(text), Column::Null]);
            table.push_row(&mut pages, rowid, record).unwrap();
        }
        table.finish(&mut pages).unwrap();
        pages.finish().unwrap();
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("reindex i").unwrap();
        let check: String =
            connection.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        let mut statement = connection.prepare("select text from t order by rowid").unwrap();
        let found = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        assert!(found.map(Result::unwrap).eq(texts));
    }

    #[test]
    fn a_page_that_is_not_as_it_was_written_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (path, roots) = empty(folder.path());
        let mut pages = Pages::open(&path).unwrap();
        fill(&mut pages, &roots, 1000, 400);
        let written = pages.finish().unwrap();
        assert_eq!(written.first_damaged(&path).unwrap(), None);
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let count = (file.metadata().unwrap().len() / PAGE_BYTES as u64) as u32;
        // The schema is SQLite's to look after.
        for page in 2..=count {
            let at = offset_of(page) + u64::from(page) * 31 % PAGE_BYTES as u64;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 4], at).unwrap();
            assert_eq!(written.first_damaged(&path).unwrap(), Some(page));
            file.write_all_at(&byte, at).unwrap();
        }
        file.set_len(offset_of(count)).unwrap();
        assert!(written.first_damaged(&path).is_err());
    }

    #[test]
    fn the_page_at_a_gibibyte_stays_empty() {
        let folder = tempfile::tempdir().unwrap();
        let (path, roots) = empty(folder.path());
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let before = LOCK_PAGE - 5;
        file.set_len(u64::from(before) * PAGE_BYTES as u64).unwrap();
        let mut pages = Pages::open(&path).unwrap();
        fill(&mut pages, &roots, 1000, 40);
        assert!(pages.count > LOCK_PAGE + 10);
        pages.finish().unwrap();
        let mut lock_page = vec![1; PAGE_BYTES];
        let file = File::open(&path).unwrap();
        file.read_exact_at(&mut lock_page, 1 << 30).unwrap();
        assert!(lock_page.iter().all(|byte| *byte == 0));
        let connection = Connection::open(&path).unwrap();
        for tree in ["t not indexed", "t indexed by i"] {
            let sql = format!("select sum(cast(text as integer)) from {tree} where text > ''");
            assert_eq!(connection.query_row(&sql, [], |row| row.get::<_, i64>(0)), Ok(500_500));
        }
    }
}
