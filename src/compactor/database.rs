//! What SQLite does for the output, in a file that nobody else knows yet: the schema and everything small, and
//! a check of the whole. The large tables are filled in between, by [`HitRows`](super::rows::HitRows).

use super::Error;
use super::publish::Output;
use super::rows::{Distinct, HitRows, Left};
use super::schema::{self, Form};
use super::tables::{self, Roots};
use crate::query::pages::PAGE_BYTES;
use rusqlite::{Connection, OpenFlags, params};
use std::path::Path;

/// Largest output, in bytes, that SQLite checks in full, every row against every index: that takes less time than
/// whatever else is done for an output of that size.
const CHECKED_IN_FULL_BYTES_MAX: u64 = 4 << 20;

/// Memory of SQLite's page cache, and of its sorting for the indexes, in KiB.
const CACHE_KIB: u32 = 64 * 1024;

/// Opens the empty file `path` and makes the tables and indexes, in a transaction that [`finish`] ends.
pub(super) fn create(path: &Path, form: Form) -> rusqlite::Result<Connection> {
    let connection = open(path)?;
    connection.execute_batch(&schema::tables(form))?;
    Ok(connection)
}

/// Opens the file `path` and begins a transaction.
///
/// There is no journal and nothing is synced: a file that is not finished is never published.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch(&format!(
        "pragma page_size = {PAGE_BYTES}; pragma auto_vacuum = none; pragma locking_mode = exclusive; pragma journal_mode = off; pragma synchronous = off;
         pragma foreign_keys = off; pragma cache_size = -{CACHE_KIB}; begin;"
    ))?;
    Ok(connection)
}

/// Ends the transaction, fills the large tables by `fill`, and checks the whole.
pub(super) fn finish(
    connection: Connection,
    form: Form,
    output: &Output,
    fill: impl FnOnce(&mut HitRows<'_>) -> Result<(), Error>,
) -> Result<Distinct, Error> {
    let roots = close(connection).map_err(|source| output.database_error(source))?;
    let mut rows = HitRows::new(output, &roots, form)?;
    fill(&mut rows)?;
    let mut left = rows.finish()?;
    let written = std::mem::take(&mut left.written);
    let (distinct, finding) =
        complete(output.temporary(), form, &left).map_err(|source| output.database_error(source))?;
    let damaged = written.first_damaged(output.temporary());
    match (finding, damaged.map_err(|source| output.write_error(source))?) {
        (None, None) => Ok(distinct),
        (Some(finding), _) => Err(output.inconsistent(finding)),
        (None, Some(page)) => {
            Err(output.inconsistent(format!("page {page} was not read back as written")))
        }
    }
}

/// Closes the file. Where the large tables are, which are still empty.
fn close(connection: Connection) -> rusqlite::Result<Roots> {
    connection.execute_batch("commit")?;
    let roots = Roots::read(&connection)?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(roots)
}

/// Does what is left for SQLite when the large tables are full. The first thing that is wrong with what SQLite
/// wrote, if any.
fn complete(path: &Path, form: Form, left: &Left) -> rusqlite::Result<(Distinct, Option<String>)> {
    let connection = open(path)?;
    for index in &left.indexes {
        connection.execute_batch(&format!("reindex {index}"))?;
    }
    let mut distinct = left.distinct;
    if left.arcs_not_counted {
        let sql = "select count(*) from (select distinct file_id, fromno, tono from arc
                    where fromno <> tono or fromno <= 0)";
        distinct.arcs = connection.query_row(sql, [], |row| row.get(0).map(i64::unsigned_abs))?;
    }
    connection.execute_batch(schema::statistics(form))?;
    connection.execute_batch("commit")?;
    let is_small = path.metadata().is_ok_and(|file| file.len() <= CHECKED_IN_FULL_BYTES_MAX);
    let finding = first_finding(&connection, left.indexes.is_empty(), is_small)?;
    connection.close().map_err(|(_, error)| error)?;
    Ok((distinct, finding))
}

/// What SQLite finds wrong, first. In a large output the large tables have checksums only, which tell whether they
/// are what was written and take a tenth of the time; that what is written is right is shown in small outputs and
/// where the compactor itself is under test.
fn first_finding(
    connection: &Connection,
    has_checksums: bool,
    is_small: bool,
) -> rusqlite::Result<Option<String>> {
    let check = |what: &str| {
        let sql = format!("pragma {what}");
        connection.query_row(&sql, [], |row| row.get::<_, String>(0))
    };
    let mut findings = Vec::new();
    if is_small || cfg!(debug_assertions) {
        findings.push(check("integrity_check(1)")?);
    } else if !has_checksums {
        findings.push(check("quick_check(1)")?);
    }
    let sql = "select name from sqlite_schema where type = 'table'";
    let mut names = connection.prepare(sql)?;
    for name in names.query_map([], |row| row.get::<_, String>(0))? {
        let name = name?;
        if !tables::LARGE.contains(&&*name) {
            findings.push(check(&format!("integrity_check({name})"))?);
        }
    }
    Ok(findings.into_iter().find(|finding| finding != "ok"))
}

/// Writes the names of `table` (`file` or `context`), whose ids count from 1.
pub(super) fn write_names(
    connection: &Connection,
    table: &str,
    names: impl IntoIterator<Item = impl AsRef<str>>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("insert into {table} values (?, ?)"))?;
    for (id, name) in (1_u32..).zip(names) {
        statement.execute(params![id, name.as_ref()])?;
    }
    Ok(())
}

/// Writes what tells coverage.py how to read the file.
pub(super) fn write_meta(connection: &Connection, has_arcs: Option<bool>) -> rusqlite::Result<()> {
    connection.execute("insert into coverage_schema values (7)", [])?;
    let version = concat!("hitlog ", env!("CARGO_PKG_VERSION"));
    connection.execute("insert into meta values ('version', ?)", [version])?;
    if let Some(has_arcs) = has_arcs {
        let value = if has_arcs { "1" } else { "0" };
        connection.execute("insert into meta values ('has_arcs', ?)", [value])?;
    }
    Ok(())
}
