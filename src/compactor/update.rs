//! Puts a recording of some tests into the recording of all.
//!
//! ```text
//! base      contexts that ran again are left out, lines move with their sources  -+-> output
//! recorded  everything                                                           -+
//! ```
//!
//! What the base tells of a file is brought to the version that ran last: a line that did not change is known
//! by its present number, so that one file of the output has one numbering. In a process of the base from
//! which contexts are left out, what stays is that something ran there.

use super::database;
use super::hits::{Budget, Collector, United};
use super::keys::Pair;
use super::publish::Output;
use super::rows::HitRows;
use super::schema::Form;
use super::{Error, database::write_names};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Result, Row, params_from_iter};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

/// What becomes of the base.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Contexts that are left out.
    pub replaced: HashSet<String>,
    /// Files that are left out.
    pub gone: HashSet<String>,
    /// For each file of which another version ran, its lines that are unchanged: their former and their
    /// present numbers. All other lines are left out.
    pub moved: HashMap<String, BTreeMap<u32, u32>>,
    /// How each test ended, in pytest's words.
    pub outcomes: BTreeMap<String, String>,
    /// What tests depend on beside the code that ran, as JSON.
    pub surroundings: Vec<String>,
}

/// One of the two recordings.
struct Side<'a> {
    connection: Connection,
    files: HashMap<i64, u32>,
    contexts: HashMap<i64, u32>,
    /// Logs of which nothing stays.
    dropped_logs: HashSet<String>,
    changes: Option<&'a Changes>,
}

/// Writes `output`, from the recording `base` with its `changes` and the recording `recorded`. It may be
/// either of them. No other process is kept from reading them; `output` is replaced at the end, as a whole.
/// Returns its size in bytes.
///
/// # Errors
/// If one of them cannot be read, or the output cannot be written. It is then what it was before.
pub fn update(
    base: &Path,
    recorded: &Path,
    changes: &Changes,
    output: &Path,
) -> std::result::Result<u64, Error> {
    let made = Output::begin(output)?;
    let failed = |source| Error::Database { path: output.to_path_buf(), source };
    let filled = write(base, recorded, changes, made.temporary()).map_err(failed)?;
    let Filled { connection, form, files, sides } = filled;
    database::finish(connection, form, &made, |rows| write_hits(rows, form, &sides, &files, failed))?;
    drop(sides);
    made.publish().map(|published| published.bytes)
}

/// An output that has everything but its hits.
struct Filled<'changes> {
    connection: Connection,
    form: Form,
    files: Vec<String>,
    /// Where the hits are.
    sides: [Side<'changes>; 2],
}

fn write<'changes>(
    base: &Path,
    recorded: &Path,
    changes: &'changes Changes,
    output: &Path,
) -> Result<Filled<'changes>> {
    let open = |path| Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let (base, recorded) = (open(base)?, open(recorded)?);
    let has_arcs = has_arcs(&base)? || has_arcs(&recorded)?;
    let form = if has_arcs { Form::CompactArcs } else { Form::Lines };
    let connection = database::create(output, form)?;
    database::write_meta(&connection, Some(has_arcs))?;

    let files = names(&[&base, &recorded], "file", "path", &changes.gone)?;
    let contexts = names(&[&base, &recorded], "context", "context", &changes.replaced)?;
    write_names(&connection, "file", &files)?;
    write_names(&connection, "context", &contexts)?;
    let base = Side::new(base, &files, &contexts, Some(changes))?;
    let recorded = Side::new(recorded, &files, &contexts, None)?;
    base.copy(&connection)?;
    recorded.copy(&connection)?;
    for (test, outcome) in &changes.outcomes {
        let sql = "insert into hitlog_test values (?,?)";
        connection.prepare_cached(sql)?.execute([test, outcome])?;
    }
    for surroundings in &changes.surroundings {
        connection.execute("insert into hitlog_surroundings values (?)", [surroundings])?;
    }
    Ok(Filled { connection, form, files, sides: [base, recorded] })
}

fn has_arcs(connection: &Connection) -> Result<bool> {
    let sql = "select count(*) from meta where key = 'has_arcs' and value = '1'";
    connection.query_row(sql, [], |row| row.get::<_, u32>(0)).map(|count| count > 0)
}

/// All names of a table but those left out, sorted. The empty context stays.
fn names(
    sides: &[&Connection; 2],
    table: &str,
    column: &str,
    left_out: &HashSet<String>,
) -> Result<Vec<String>> {
    let mut all = BTreeSet::new();
    for (side, left_out) in sides.iter().zip([Some(left_out), None]) {
        let mut statement = side.prepare(&format!("select {column} from {table}"))?;
        for name in statement.query_map([], |row| row.get::<_, String>(0))? {
            let name = name?;
            if !left_out.is_some_and(|left_out| left_out.contains(&name)) {
                all.insert(name);
            }
        }
    }
    Ok(all.into_iter().collect())
}

/// Writes the hits of both sides, file by file.
fn write_hits(
    rows: &mut HitRows<'_>,
    form: Form,
    sides: &[Side<'_>; 2],
    files: &[String],
    failed: impl Fn(rusqlite::Error) -> Error,
) -> std::result::Result<(), Error> {
    let budget = Budget::unlimited();
    for (file, path) in (1..).zip(files) {
        let mut hits = Collector::new(&budget);
        for side in sides {
            side.collect(path, file, form, &mut hits).map_err(&failed)?;
        }
        // Without a limit nothing is ever dropped.
        if let Some(united) = United::new(vec![hits.finish()], &budget) {
            rows.write(&united)?;
        }
    }
    Ok(())
}

impl<'a> Side<'a> {
    fn new(
        connection: Connection,
        files: &[String],
        contexts: &[String],
        changes: Option<&'a Changes>,
    ) -> Result<Side<'a>> {
        let files = ids(&connection, "select id, path from file", files)?;
        let mut contexts = ids(&connection, "select id, context from context", contexts)?;
        if let Some(changes) = changes {
            let sql = "select id, context from context";
            let replaced: HashSet<i64> = texts(&connection, sql)?
                .into_iter()
                .filter(|(_, name)| changes.replaced.contains(name))
                .map(|(id, _)| id)
                .collect();
            contexts.retain(|id, _| !replaced.contains(id));
        }
        let mut side = Side { connection, files, contexts, dropped_logs: HashSet::new(), changes };
        side.dropped_logs = side.logs_without_contexts()?;
        Ok(side)
    }

    /// The logs of the base of which no context stays but the empty one.
    fn logs_without_contexts(&self) -> Result<HashSet<String>> {
        if self.changes.is_none() {
            return Ok(HashSet::new());
        }
        let logs = texts(&self.connection, "select 0, log_id from hitlog_log")?;
        let mut dropped: HashSet<String> = logs.into_iter().map(|(_, log)| log).collect();
        let sql =
            "select context_id, log_id from hitlog_context join context on context.id = context_id
                    where context <> ''";
        for (context, log) in texts(&self.connection, sql)? {
            if self.contexts.contains_key(&context) {
                dropped.remove(&log);
            }
        }
        Ok(dropped)
    }

    /// Adds what ran of the file `path`, by the output's numbers.
    fn collect(&self, path: &str, file: u32, form: Form, hits: &mut Collector<'_>) -> Result<()> {
        let moved = self.changes.and_then(|changes| changes.moved.get(path));
        let line_of = |line: u32| match moved {
            Some(moved) => moved.get(&line).copied(),
            None => Some(line),
        };
        let end_of = |end: i32| {
            let line = line_of(end.unsigned_abs()).and_then(|line| i32::try_from(line).ok());
            line.map(|line| line * end.signum())
        };
        let sql = "select context.id, line from hitlog_line
                     join context on context.context = hitlog_line.context where path = ?";
        self.for_each_hit(sql, path, |context, row| {
            let line = line_of(row.get(1)?);
            line.into_iter().for_each(|line| hits.line(Pair::new(file, context), line));
            Ok(())
        })?;
        if form == Form::Lines {
            return Ok(());
        }
        let sql = "select context.id, from_line, to_line from hitlog_arc
                     join context on context.context = hitlog_arc.context where path = ?";
        self.for_each_hit(sql, path, |context, row| {
            if let (Some(from), Some(to)) = (end_of(row.get(1)?), end_of(row.get(2)?)) {
                hits.arc(Pair::new(file, context), from, to);
            }
            Ok(())
        })
    }

    fn for_each_hit(
        &self,
        sql: &str,
        path: &str,
        mut visit: impl FnMut(u32, &Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([path])?;
        while let Some(row) = rows.next()? {
            if let Some(context) = self.contexts.get(&row.get(0)?) {
                visit(*context, row)?;
            }
        }
        Ok(())
    }

    /// Copies the tables that tell of processes and files. What the first one to be copied tells of a file is
    /// replaced by the second.
    fn copy(&self, output: &Connection) -> Result<()> {
        let file = |row: &mut [Value]| renumber(&mut row[0], &self.files);
        let log = |value: &Value| !matches!(value, Value::Text(log) if self.dropped_logs.contains(log));
        self.copy_table(output, "hitlog_log", |row| log(&row[0]))?;
        self.copy_table(output, "hitlog_context", |row| {
            if !renumber(&mut row[0], &self.contexts) {
                row[0] = Value::Null;
            }
            log(&row[1])
        })?;
        self.copy_table(output, "hitlog_sample", |row| {
            log(&row[0]) && renumber(&mut row[2], &self.contexts)
        })?;
        self.copy_table(output, "hitlog_file", file)?;
        self.copy_table(output, "hitlog_source", file)?;
        self.copy_table(output, "hitlog_log_file", |row| file(row) && log(&row[1]))
    }

    fn copy_table(
        &self,
        output: &Connection,
        table: &str,
        mut change: impl FnMut(&mut [Value]) -> bool,
    ) -> Result<()> {
        let mut statement = self.connection.prepare(&format!("select * from {table}"))?;
        let columns = statement.column_count();
        let marks = vec!["?"; columns].join(",");
        let mut insert = output.prepare(&format!("insert or replace into {table} values ({marks})"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut values =
                (0..columns).map(|column| row.get(column)).collect::<Result<Vec<Value>>>()?;
            if change(&mut values) {
                insert.execute(params_from_iter(values))?;
            }
        }
        Ok(())
    }
}

fn texts(connection: &Connection, sql: &str) -> Result<Vec<(i64, String)>> {
    connection.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The output's id for each id of a table.
fn ids(connection: &Connection, sql: &str, names: &[String]) -> Result<HashMap<i64, u32>> {
    let place = |(id, name): (i64, String)| Some((id, names.binary_search(&name).ok()? as u32 + 1));
    Ok(texts(connection, sql)?.into_iter().filter_map(place).collect())
}

/// Replaces an id by the output's; whether there is one.
fn renumber(value: &mut Value, ids: &HashMap<i64, u32>) -> bool {
    let Value::Integer(id) = value else { return false };
    let Some(found) = ids.get(id) else { return false };
    *id = i64::from(*found);
    true
}
