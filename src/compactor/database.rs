//! Writes the output's rows, sorted and in one transaction, into a file that nobody else knows yet.

use super::keys::{Block, Ends, Pair};
use super::numbits::numbits;
use super::schema::{self, Form};
use rusqlite::{Connection, OpenFlags, Result, Statement, ToSql, params};
use std::path::Path;

/// Rows that one statement inserts. More gain nothing.
const BATCH_ROWS: usize = 64;

/// Memory of SQLite's page cache, and of its sorting for the indexes, in KiB.
const CACHE_KIB: u32 = 64 * 1024;

/// Up to this size, in bytes, the finished file is checked in full: every row against every index. Above
/// it, where that would take longer than the compaction (12 s for 260 MB), only the structure of each
/// page is (0.5 s).
const FULL_CHECK_BYTES_MAX: u64 = 16 << 20;

/// Opens the empty file `path` and makes the tables, in a transaction that [`finish`] ends.
///
/// There is no journal and nothing is synced: a file that is not finished is never published.
pub(super) fn create(path: &Path, form: Form) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch(&format!(
        "pragma locking_mode = exclusive; pragma journal_mode = off; pragma synchronous = off;
         pragma foreign_keys = off; pragma cache_size = -{CACHE_KIB}; begin;"
    ))?;
    connection.execute_batch(&schema::tables_and_views(form))?;
    Ok(connection)
}

/// Makes the indexes and ends the transaction. Sorting for them afterwards takes an eighth of the time that
/// it would take to keep them in order with each row, since rows come by file and they are by context. The first thing that is wrong with the file, if any.
pub(super) fn finish(connection: Connection, path: &Path, form: Form) -> Result<Option<String>> {
    connection.execute_batch(&schema::indexes(form))?;
    connection.execute_batch("commit")?;
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let check = if size <= FULL_CHECK_BYTES_MAX { "integrity_check(1)" } else { "quick_check(1)" };
    let finding: String = connection.query_row(&format!("pragma {check}"), [], |row| row.get(0))?;
    connection.close().map_err(|(_, error)| error)?;
    Ok((finding != "ok").then_some(finding))
}

/// A row of a large table.
pub(super) trait Row {
    /// The table.
    const TABLE: &str;
    /// How many columns it has.
    const COLUMNS: usize;
    /// Binds the columns, in their order, through `bind`.
    fn bind(&self, bind: impl FnMut(&dyn ToSql) -> Result<()>) -> Result<()>;
}

/// A row of `line_bits`.
pub(super) struct LineRow {
    pair: Pair,
    pub(super) numbits: Vec<u8>,
}

impl LineRow {
    /// The lines in `blocks`, of one file and context.
    pub(super) fn new(blocks: &[Block]) -> LineRow {
        LineRow { pair: blocks[0].pair(), numbits: numbits(blocks) }
    }
}

impl Row for LineRow {
    const TABLE: &str = "line_bits";
    const COLUMNS: usize = 3;
    fn bind(&self, mut bind: impl FnMut(&dyn ToSql) -> Result<()>) -> Result<()> {
        bind(&self.pair.file())?;
        bind(&self.pair.context())?;
        bind(&self.numbits)
    }
}

/// A row of `hitlog_child_lines`.
pub(super) struct ChildRow {
    pub(super) pair: Pair,
    pub(super) first: u32,
    pub(super) last: u32,
}

impl Row for ChildRow {
    const TABLE: &str = "hitlog_child_lines";
    const COLUMNS: usize = 4;
    fn bind(&self, mut bind: impl FnMut(&dyn ToSql) -> Result<()>) -> Result<()> {
        bind(&self.pair.file())?;
        bind(&self.pair.context())?;
        bind(&self.first)?;
        bind(&self.last)
    }
}

/// A row of `arc`.
pub(super) struct ArcRow {
    pub(super) pair: Pair,
    pub(super) ends: Ends,
}

impl Row for ArcRow {
    const TABLE: &str = "arc";
    const COLUMNS: usize = 4;
    fn bind(&self, mut bind: impl FnMut(&dyn ToSql) -> Result<()>) -> Result<()> {
        bind(&self.pair.file())?;
        bind(&self.pair.context())?;
        bind(&self.ends.from())?;
        bind(&self.ends.to())
    }
}

/// A row of `hitlog_other_arc`.
pub(super) struct OtherRow(pub(super) ArcRow);

impl Row for OtherRow {
    const TABLE: &str = "hitlog_other_arc";
    const COLUMNS: usize = ArcRow::COLUMNS;
    fn bind(&self, bind: impl FnMut(&dyn ToSql) -> Result<()>) -> Result<()> {
        self.0.bind(bind)
    }
}

/// A row of `hitlog_known_arc`.
pub(super) struct KnownRow {
    pub(super) file: u32,
    pub(super) number: u32,
    pub(super) ends: Ends,
}

impl Row for KnownRow {
    const TABLE: &str = "hitlog_known_arc";
    const COLUMNS: usize = 4;
    fn bind(&self, mut bind: impl FnMut(&dyn ToSql) -> Result<()>) -> Result<()> {
        bind(&self.file)?;
        bind(&self.number)?;
        bind(&self.ends.from())?;
        bind(&self.ends.to())
    }
}

/// A row of `hitlog_arc_bits`.
pub(super) struct BitsRow {
    pub(super) pair: Pair,
    pub(super) block: u32,
    pub(super) bits: u64,
}

impl Row for BitsRow {
    const TABLE: &str = "hitlog_arc_bits";
    const COLUMNS: usize = 4;
    fn bind(&self, mut bind: impl FnMut(&dyn ToSql) -> Result<()>) -> Result<()> {
        bind(&self.pair.file())?;
        bind(&self.pair.context())?;
        bind(&self.block)?;
        bind(&self.bits.cast_signed())
    }
}

/// A row of `hitlog_number`.
pub(super) struct NumberRow(pub(super) u32);

impl Row for NumberRow {
    const TABLE: &str = "hitlog_number";
    const COLUMNS: usize = 1;
    fn bind(&self, mut bind: impl FnMut(&dyn ToSql) -> Result<()>) -> Result<()> {
        bind(&self.0)
    }
}

/// Inserts rows, [`BATCH_ROWS`] with each statement.
pub(super) struct Batch<'connection, R> {
    connection: &'connection Connection,
    statement: Statement<'connection>,
    rows: Vec<R>,
}

impl<R: Row> Batch<'_, R> {
    pub(super) fn new(connection: &Connection) -> Result<Batch<'_, R>> {
        let statement = connection.prepare(&insert_sql::<R>(BATCH_ROWS))?;
        Ok(Batch { connection, statement, rows: Vec::with_capacity(BATCH_ROWS) })
    }

    pub(super) fn push(&mut self, row: R) -> Result<()> {
        self.rows.push(row);
        if self.rows.len() == BATCH_ROWS {
            insert(&mut self.statement, &self.rows)?;
            self.rows.clear();
        }
        Ok(())
    }

    /// Inserts the last rows.
    pub(super) fn finish(self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        insert(&mut self.connection.prepare(&insert_sql::<R>(self.rows.len()))?, &self.rows)
    }
}

fn insert_sql<R: Row>(rows: usize) -> String {
    let row = format!("({})", vec!["?"; R::COLUMNS].join(","));
    format!("insert into {} values {}", R::TABLE, vec![row; rows].join(","))
}

fn insert<R: Row>(statement: &mut Statement<'_>, rows: &[R]) -> Result<()> {
    let mut column = 0;
    for row in rows {
        row.bind(|value| {
            column += 1;
            statement.raw_bind_parameter(column, value)
        })?;
    }
    statement.raw_execute().map(|_| ())
}

/// Writes the names of `table` (`file` or `context`), whose ids count from 1.
pub(super) fn write_names(connection: &Connection, table: &str, names: &[String]) -> Result<()> {
    let mut statement = connection.prepare(&format!("insert into {table} values (?, ?)"))?;
    for (id, name) in (1_u32..).zip(names) {
        statement.execute(params![id, name])?;
    }
    Ok(())
}

/// Writes what tells coverage.py how to read the file.
pub(super) fn write_meta(connection: &Connection, has_arcs: Option<bool>) -> Result<()> {
    connection.execute("insert into coverage_schema values (7)", [])?;
    let version = concat!("hitlog ", env!("CARGO_PKG_VERSION"));
    connection.execute("insert into meta values ('version', ?)", [version])?;
    if let Some(has_arcs) = has_arcs {
        let value = if has_arcs { "1" } else { "0" };
        connection.execute("insert into meta values ('has_arcs', ?)", [value])?;
    }
    Ok(())
}
