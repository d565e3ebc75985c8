//! Reads hits, in whichever form a file keeps them: as lines or as arcs.
//!
//! This is the only place that knows the form. A line ran if it is one of the lines that were recorded, or an
//! end of an arc.

use super::database::{Database, File};
use super::{Error, Lines};
use rusqlite::{Connection, Row, Rows};

/// What a question for hits begins with, for files with lines and for files with arcs: the id of what is
/// grouped by comes first, so that the rows of one group follow each other.
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
    pub fn hits_of_file(&self, file: &File, visit: impl FnMut(i64, &Lines)) -> Result<(), Error> {
        self.asking(|connection| self.grouped(connection, &OF_FILE, file.id, visit))
    }

    /// Calls `visit` with each file of which `context` ran something, and the lines it ran.
    ///
    /// # Errors
    /// If SQLite cannot read.
    pub fn hits_of_context(&self, context: i64, visit: impl FnMut(i64, &Lines)) -> Result<(), Error> {
        self.asking(|connection| self.grouped(connection, &OF_CONTEXT, context, visit))
    }

    fn grouped(
        &self,
        connection: &Connection,
        question: &Question,
        id: i64,
        mut visit: impl FnMut(i64, &Lines),
    ) -> rusqlite::Result<()> {
        let (sql, add): (_, fn(&mut Lines, &Row<'_>) -> rusqlite::Result<()>) = match self.has_arcs {
            true => (question.arcs, add_arc),
            false => (question.lines, add_numbits),
        };
        let mut statement = connection.prepare_cached(sql)?;
        for_each_group(statement.query([id])?, add, &mut visit)
    }
}

fn for_each_group(
    mut rows: Rows<'_>,
    add: fn(&mut Lines, &Row<'_>) -> rusqlite::Result<()>,
    visit: &mut impl FnMut(i64, &Lines),
) -> rusqlite::Result<()> {
    let mut group: Option<(i64, Lines)> = None;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        match &mut group {
            Some((of, lines)) if *of == id => add(lines, row)?,
            _ => {
                let mut lines = Lines::default();
                add(&mut lines, row)?;
                if let Some((of, lines)) = group.replace((id, lines)) {
                    visit(of, &lines);
                }
            }
        }
    }
    if let Some((of, lines)) = group {
        visit(of, &lines);
    }
    Ok(())
}

fn add_numbits(lines: &mut Lines, row: &Row<'_>) -> rusqlite::Result<()> {
    lines.unite_numbits(row.get_ref(1)?.as_blob()?);
    Ok(())
}

/// A negative end is an entry or an exit. No file has more lines than the format holds.
fn add_arc(lines: &mut Lines, row: &Row<'_>) -> rusqlite::Result<()> {
    for end in [row.get::<_, i64>(1)?, row.get(2)?] {
        let line = u32::try_from(end).ok().filter(|line| (1..=crate::limits::LINE_MAX).contains(line));
        line.into_iter().for_each(|line| lines.insert(line));
    }
    Ok(())
}
