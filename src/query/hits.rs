//! Reads hits, in whichever form a file keeps them: lines, arcs in coverage.py's table, or arcs as bits.
//!
//! Only this module and the one below it know the form. A line ran if it is one of the lines that were recorded,
//! or an end of an arc.

mod arc_bits;

use super::database::{Database, File};
use super::pages::{LINE_BITS, Locked, PageReader, damaged};
use super::{Error, Lines};
use crate::limits::LINE_MAX;
use rusqlite::{Connection, Result, Row, Rows};
use std::ops::RangeInclusive;
use std::result;

/// How a file keeps its hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As numbits.
    Lines,
    /// As rows of coverage.py's own table, or of something that looks like it.
    Arcs,
    /// As bits behind a view in that table's place.
    ArcBits,
}

/// What a question for hits begins with: the id of what is grouped by comes first, so that the rows of one
/// group follow each other.
struct Question {
    lines: &'static str,
    arcs: &'static str,
}

const OF_FILE: Question = Question {
    lines: "select context_id, numbits from line_bits where file_id = ? order by context_id",
    arcs: "select context_id, fromno, tono from arc where file_id = ? order by context_id",
};

const OF_CONTEXT: Question = Question {
    lines: "select file_id, numbits from line_bits where context_id = ? order by file_id",
    arcs: "select file_id, fromno, tono from arc where context_id = ? order by file_id",
};

impl Database {
    /// Calls `visit` with each context that ran something of `file`, and the lines it ran.
    ///
    /// # Errors
    /// If SQLite cannot read.
    pub fn hits_of_file(
        &self,
        file: &File,
        mut visit: impl FnMut(i64, &Lines),
    ) -> result::Result<(), Error> {
        self.asking(|connection| match self.form {
            Form::ArcBits => arc_bits::of_file(&self.pages, connection, file.id, visit),
            Form::Lines => lines_of_file(&self.pages, connection, file.id, &mut visit),
            Form::Arcs => grouped(connection, &OF_FILE, Form::Arcs, file.id, &mut visit),
        })
    }

    /// Calls `visit` with each file of which `context` ran something, and the lines it ran.
    ///
    /// # Errors
    /// If SQLite cannot read.
    pub fn hits_of_context(
        &self,
        context: i64,
        mut visit: impl FnMut(i64, &Lines),
    ) -> result::Result<(), Error> {
        self.asking(|connection| match self.form {
            Form::ArcBits => arc_bits::of_context(connection, context, visit),
            form => grouped(connection, &OF_CONTEXT, form, context, &mut visit),
        })
    }

    /// Calls `visit` with each context and the lines of `file` that ran in it in children only: processes that
    /// were started in the context, and did not begin it. A file of an earlier hitlog tells of none.
    ///
    /// # Errors
    /// If SQLite cannot read.
    pub fn child_lines_of_file(
        &self,
        file: &File,
        mut visit: impl FnMut(i64, &Lines),
    ) -> result::Result<(), Error> {
        if !self.has_child_lines {
            return Ok(());
        }
        let sql = "select context_id, first_line, last_line from hitlog_child_lines where file_id = ?
                    order by context_id";
        self.asking(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            for_each_group(statement.query([file.id])?, add_range, &mut visit)
        })
    }

    /// Calls `visit` with each context, line left and line reached of the arcs of `file`, in no order. Where
    /// lines were recorded, there are none.
    ///
    /// # Errors
    /// If SQLite cannot read.
    pub fn arcs_of_file(
        &self,
        file: &File,
        mut visit: impl FnMut(i64, i32, i32),
    ) -> result::Result<(), Error> {
        self.asking(|connection| match self.form {
            Form::Lines => Ok(()),
            Form::ArcBits => arc_bits::arcs_of_file(&self.pages, connection, file.id, visit),
            Form::Arcs => {
                let mut statement = connection.prepare_cached(OF_FILE.arcs)?;
                let mut rows = statement.query([file.id])?;
                while let Some(row) = rows.next()? {
                    if let Some((from, to)) = ends(row, 1)? {
                        visit(row.get(0)?, from, to);
                    }
                }
                Ok(())
            }
        })
    }
}

/// The rows of a file stand together where a compactor wrote them, and are then read by their place.
fn lines_of_file(
    pages: &PageReader,
    connection: &Connection,
    file: i64,
    visit: &mut impl FnMut(i64, &Lines),
) -> Result<()> {
    let is_read = pages.locked(connection, |locked| {
        let Some(tree) = locked.table(&LINE_BITS)? else { return Ok(false) };
        let Some(rowids) = rowids_of_file(locked, file)? else { return Ok(false) };
        let (mut lines, mut left) = (Lines::default(), rowids.clone());
        tree.rows(rowids, |mut row| {
            let [of_file, context] = row.integers()?;
            if of_file != file || left.next().is_none() {
                return Err(damaged());
            }
            lines.clear();
            lines.unite_numbits(row.blob()?);
            visit(context, &lines);
            Ok(())
        })?;
        if left.next().is_some() { Err(damaged()) } else { Ok(true) }
    })?;
    if is_read == Some(true) {
        return Ok(());
    }
    grouped(connection, &OF_FILE, Form::Lines, file, visit)
}

/// Where the rows of `file` stand, if there are any and no others stand among them.
fn rowids_of_file(locked: &Locked<'_>, file: i64) -> Result<Option<RangeInclusive<i64>>> {
    let Some(index) = locked.unique_index(&LINE_BITS)? else { return Ok(None) };
    let (mut count, mut first, mut last) = (0, i64::MAX, i64::MIN);
    index.rows(file..=file, |mut entry| {
        let [_file, _context, rowid] = entry.integers()?;
        (count, first, last) = (count + 1, first.min(rowid), last.max(rowid));
        Ok(())
    })?;
    let is_together = count > 0 && last.checked_sub(first) == Some(count - 1);
    Ok(is_together.then_some(first..=last))
}

fn grouped(
    connection: &Connection,
    question: &Question,
    form: Form,
    id: i64,
    visit: &mut impl FnMut(i64, &Lines),
) -> Result<()> {
    let (sql, add): (_, fn(&mut Lines, &Row<'_>) -> Result<()>) = match form {
        Form::Lines => (question.lines, add_numbits),
        Form::Arcs | Form::ArcBits => (question.arcs, add_arc),
    };
    let mut statement = connection.prepare_cached(sql)?;
    for_each_group(statement.query([id])?, add, visit)
}

fn for_each_group(
    mut rows: Rows<'_>,
    add: fn(&mut Lines, &Row<'_>) -> Result<()>,
    visit: &mut impl FnMut(i64, &Lines),
) -> Result<()> {
    let (mut group, mut lines) = (None, Lines::default());
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        if let Some(before) = group.replace(id).filter(|before| *before != id) {
            visit(before, &lines);
            lines.clear();
        }
        add(&mut lines, row)?;
    }
    if let Some(last) = group {
        visit(last, &lines);
    }
    Ok(())
}

fn add_numbits(lines: &mut Lines, row: &Row<'_>) -> Result<()> {
    lines.unite_numbits(row.get_ref(1)?.as_blob()?);
    Ok(())
}

/// An end beyond all lines would cost memory, and is none.
fn add_range(lines: &mut Lines, row: &Row<'_>) -> Result<()> {
    let (first, last): (u32, u32) = (row.get(1)?, row.get(2)?);
    (first..=last.min(LINE_MAX)).for_each(|line| lines.insert(line));
    Ok(())
}

fn add_arc(lines: &mut Lines, row: &Row<'_>) -> Result<()> {
    if let Some((from, to)) = ends(row, 1)? {
        [from, to]
            .into_iter()
            .filter(|end| *end > 0)
            .for_each(|line| lines.insert(line.unsigned_abs()));
    }
    Ok(())
}

/// Line left and line reached, in the columns from `first` on; a negative end is an entry or an exit. `None`
/// if no file has such lines.
fn ends(row: &Row<'_>, first: usize) -> Result<Option<(i32, i32)>> {
    let end = |column| row.get::<_, i64>(column).map(line_or_exit);
    Ok(end(first)?.zip(end(first + 1)?))
}

fn line_or_exit(end: i64) -> Option<i32> {
    i32::try_from(end).ok().filter(|end| end.unsigned_abs() <= LINE_MAX)
}

#[cfg(all(test, feature = "recorder", feature = "compactor"))]
mod tests {
    use super::*;
    use crate::Recorder;
    use crate::compactor::{Options, compact};
    use std::path::{Path, PathBuf};

    /// A recording of nine tests that each ran lines, and perhaps arcs, of three files.
    fn recording(folder: &Path, has_arcs: bool) -> PathBuf {
        let run = folder.join("run");
        let recorder = Recorder::open(&run).unwrap();
        for test in 1..10 {
            let _context = recorder.context(format!("test {test}"));
            for name in ["a.py", "b.py", "c.py"] {
                let file = recorder.file(name);
                { 1..=test }.for_each(|line| recorder.line(file, line * test));
                if has_arcs {
                    { 1..=test }.for_each(|line| recorder.arc(file, line as i32, 100 + line as i32));
                }
            }
        }
        drop(recorder);
        let output = folder.join("hitlog.db");
        compact(&[run], &Options::new(&output), &()).unwrap();
        output
    }

    fn hits(path: &Path) -> Vec<(i64, i64, Lines)> {
        let database = Database::open(path).unwrap();
        let mut found = Vec::new();
        for file in database.files() {
            let visit = |context, lines: &Lines| found.push((file.id, context, lines.clone()));
            database.hits_of_file(file, visit).unwrap();
        }
        found.sort_by_key(|(file, context, _)| (*file, *context));
        found
    }

    /// The same, with SQL alone.
    fn hits_by_context(path: &Path) -> Vec<(i64, i64, Lines)> {
        let database = Database::open(path).unwrap();
        let mut found = Vec::new();
        for (context, _) in database.contexts().unwrap() {
            let visit = |file, lines: &Lines| found.push((file, context, lines.clone()));
            database.hits_of_context(context, visit).unwrap();
        }
        found.sort_by_key(|(file, context, _)| (*file, *context));
        found
    }

    /// Whether the rows of each file are read from pages.
    fn is_together(path: &Path) -> Vec<bool> {
        let database = Database::open(path).unwrap();
        let together = |file: &File| {
            let is_together = |locked: &Locked<'_>| {
                let has_rows = locked.table(&LINE_BITS)?.is_some();
                Ok(has_rows && rowids_of_file(locked, file.id)?.is_some())
            };
            database.pages.locked(&database.connection, is_together).unwrap().unwrap()
        };
        database.files().iter().map(together).collect()
    }

    #[test]
    fn a_row_that_was_replaced_is_read_where_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = recording(folder.path(), false);
        assert_eq!((hits(&path).len(), is_together(&path)), (27, vec![true; 3]));
        assert_eq!(hits(&path), hits_by_context(&path));
        // As coverage.py adds lines: the row gets a place behind all others. A vacuum closes its gap.
        let sql = "insert or replace into line_bits
                   select file_id, context_id, x'ff' from line_bits where rowid in (5, 14); vacuum";
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        assert_eq!((hits(&path).len(), is_together(&path)), (27, vec![false, false, true]));
        assert_eq!(hits(&path), hits_by_context(&path));
        assert_eq!(hits(&path).iter().filter(|(_, _, lines)| lines.to_string() == "0-7").count(), 2);
    }

    /// What a table of another program's is like does not matter, as long as it has the columns.
    #[test]
    fn a_table_that_is_made_otherwise_gives_the_same_hits() {
        let lines = "file_id integer, context_id integer, numbits blob";
        let arcs = "file_id integer, context_id integer, block integer, bits integer";
        let definitions = [
            ("line_bits", format!("({lines}, unique (file_id desc, context_id))")),
            ("line_bits", format!("({lines}, unique (context_id, file_id))")),
            ("line_bits", format!("({lines})")),
            ("line_bits", format!("({lines}, primary key (file_id, context_id)) without rowid")),
            ("line_bits", "(numbits blob, context_id, file_id, unique (file_id, context_id))".into()),
            ("line_bits", format!("(id integer primary key, {lines}, unique (file_id, context_id))")),
            ("hitlog_arc_bits", format!("({arcs})")),
            ("hitlog_arc_bits", format!("({arcs}, primary key (file_id, block, context_id))")),
            (
                "hitlog_arc_bits",
                format!("({arcs}, primary key (file_id, context_id, block)) without rowid"),
            ),
            (
                "hitlog_arc_bits",
                format!("({arcs}, primary key (file_id desc, block, context_id)) without rowid"),
            ),
        ];
        for (table, definition) in definitions {
            let folder = tempfile::tempdir().unwrap();
            let path = recording(folder.path(), table == "hitlog_arc_bits");
            let before = hits(&path);
            assert_eq!(before.len(), 27);
            assert_eq!(before, hits_by_context(&path));
            let columns = if table == "line_bits" { "numbits" } else { "block, bits" };
            let columns = format!("file_id, context_id, {columns}");
            let sql = format!(
                "create table before as select {columns} from {table};
                 drop table {table}; create table {table} {definition};
                 insert into {table} ({columns}) select {columns} from before order by context_id;
                 drop table before;"
            );
            Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
            assert_eq!(hits(&path), before, "{table} {definition}");
        }
    }
}
