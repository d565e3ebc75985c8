//! Reads hits, in whichever form a file keeps them: lines, arcs in coverage.py's table, or arcs as bits.
//!
//! Only this module and the one below it know the form. A line ran if it is one of the lines that were recorded,
//! or an end of an arc.

mod arc_bits;

use super::database::{Database, File};
use super::pages::Pages;
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
    pages: &Pages,
    connection: &Connection,
    file: i64,
    visit: &mut impl FnMut(i64, &Lines),
) -> Result<()> {
    let is_read = pages.tree(connection, "line_bits", |tree| {
        let Some(rowids) = rowids_of_file(pages, connection, file)? else { return Ok(false) };
        let mut lines = Lines::default();
        tree.rows(rowids, |mut row| {
            let [_file, context] = row.integers()?;
            lines.clear();
            lines.unite_numbits(row.blob()?);
            visit(context, &lines);
            Ok(())
        })?;
        Ok(true)
    })?;
    if is_read == Some(true) {
        return Ok(());
    }
    grouped(connection, &OF_FILE, Form::Lines, file, visit)
}

/// Where the rows of `file` stand, if no others stand among them.
fn rowids_of_file(
    pages: &Pages,
    connection: &Connection,
    file: i64,
) -> Result<Option<RangeInclusive<i64>>> {
    let (mut count, mut first, mut last) = (0, i64::MAX, i64::MIN);
    let is_read = pages.tree(connection, "sqlite_autoindex_line_bits_1", |tree| {
        tree.rows(file..=file, |mut entry| {
            let [_file, _context, rowid] = entry.integers()?;
            (count, first, last) = (count + 1, first.min(rowid), last.max(rowid));
            Ok(())
        })
    })?;
    let is_together = count == 0 || last.checked_sub(first) == Some(count - 1);
    Ok(is_read.filter(|()| is_together).map(|()| first..=last))
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

    /// A recording of nine tests that each ran lines of three files.
    fn recording(folder: &Path) -> PathBuf {
        let run = folder.join("run");
        let recorder = Recorder::open(&run).unwrap();
        for test in 1..10 {
            let _context = recorder.context(format!("test {test}"));
            for name in ["a.py", "b.py", "c.py"] {
                let file = recorder.file(name);
                { 1..=test }.for_each(|line| recorder.line(file, line * test));
            }
        }
        drop(recorder);
        let output = folder.join("hitlog.db");
        compact(&[run], &Options::new(&output), &()).unwrap();
        output
    }

    /// The hits of each file as they are read, and as SQL has them.
    fn hits(path: &Path) -> [Vec<(i64, i64, Lines)>; 2] {
        let database = Database::open(path).unwrap();
        let [mut read, mut asked] = [Vec::new(), Vec::new()];
        for file in database.files() {
            database
                .hits_of_file(file, |context, lines| read.push((file.id, context, lines.clone())))
                .unwrap();
            let visit = &mut |context, lines: &Lines| asked.push((file.id, context, lines.clone()));
            grouped(&database.connection, &OF_FILE, Form::Lines, file.id, visit).unwrap();
        }
        [read, asked]
    }

    fn is_together(path: &Path) -> Vec<bool> {
        let database = Database::open(path).unwrap();
        let together = |file: &File| {
            rowids_of_file(&database.pages, &database.connection, file.id).unwrap().is_some()
        };
        database.files().iter().map(together).collect()
    }

    #[test]
    fn a_row_that_was_replaced_is_read_where_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = recording(folder.path());
        let [read, asked] = hits(&path);
        assert_eq!((read.len(), is_together(&path)), (27, vec![true; 3]));
        assert_eq!(read, asked);
        // As coverage.py adds lines: the row gets a place behind all others. A vacuum closes its gap.
        let sql = "insert or replace into line_bits
                   select file_id, context_id, x'ff' from line_bits where rowid in (5, 14); vacuum";
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let [read, asked] = hits(&path);
        assert_eq!((read.len(), is_together(&path)), (27, vec![false, false, true]));
        assert_eq!(read, asked);
        assert_eq!(read.iter().filter(|(_, _, lines)| lines.to_string() == "0-7").count(), 2);
    }
}
