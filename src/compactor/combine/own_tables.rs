//! Combines the tables that tell of logs, and of files as they were: all that are not made of hits.
//!
//! Rows of a log are taken from the recording in which it is longest, rows of a file from the one that saw
//! its last change, and rows of neither from all, each once. Columns are taken by their names; a recording
//! without one leaves it NULL.

use super::names::{Names, labelled};
use crate::query::{Database, has};
use rusqlite::types::Value;
use rusqlite::{Connection, Result, params_from_iter};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Tables that are made of hits.
const OF_HITS: [&str; 4] = ["hitlog_number", "hitlog_known_arc", "hitlog_arc_bits", "hitlog_other_arc"];

/// For each log or file the position of the recording whose rows count.
type Winners<K> = HashMap<K, usize>;

/// Modification time and size: later states of a file are larger.
type FileState = (i64, i64);

/// A table of one recording.
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    /// Reads table `name`; nothing if the recording has none.
    fn read(database: &Database, name: &str) -> Result<Table> {
        let connection = database.connection();
        if !has(connection, name)? {
            return Ok(Table { columns: Vec::new(), rows: Vec::new() });
        }
        let mut statement = connection.prepare(&format!("select * from {name}"))?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let rows = statement.query_map([], |row| (0..columns.len()).map(|at| row.get(at)).collect())?;
        let rows = rows.collect::<Result<_>>()?;
        Ok(Table { columns, rows })
    }

    fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|name| name == column)
    }

    /// The number in a column of a row; -1 if there is none.
    fn number(&self, row: &[Value], column: &str) -> i64 {
        match self.position(column).map(|at| &row[at]) {
            Some(Value::Integer(number)) => *number,
            _ => -1,
        }
    }

    /// That of a file, if the table tells it.
    fn state(&self, row: &[Value]) -> FileState {
        (self.number(row, "mtime_ns"), self.number(row, "size"))
    }

    fn text<'row>(&self, row: &'row [Value], column: &str) -> &'row str {
        match self.position(column).map(|at| &row[at]) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// Gives the rows the output's ids and the label of the recording at `position`. Rows of a file that is
    /// in no table of files are dropped.
    fn translate(&mut self, names: &Names, position: usize) {
        let label = names.labels[position].as_deref();
        let columns = [("file_id", &names.file_ids), ("context_id", &names.context_ids)];
        for (at, ids) in columns.map(|(column, ids)| (self.position(column), &ids[position])) {
            let Some(at) = at else { continue };
            for row in &mut self.rows {
                if let Value::Integer(id) = row[at] {
                    row[at] = ids.get(&id).map_or(Value::Null, |id| Value::Integer(i64::from(*id)));
                }
            }
        }
        for at in ["last_context", "test"].map(|column| self.position(column)).into_iter().flatten() {
            for row in &mut self.rows {
                if let Value::Text(context) = &row[at] {
                    row[at] = Value::Text(labelled(label, context));
                }
            }
        }
    }
}

/// Writes all of it. How many logs there are.
pub(super) fn write(output: &Connection, databases: &[Database], names: &Names) -> Result<u64> {
    let logs = winners_of_logs(databases)?;
    let files = winners_of_files(databases, names)?;
    let sql =
        "select name from sqlite_master where type = 'table' and name like 'hitlog\\_%' escape '\\'";
    let tables: Vec<String> =
        output.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_>>()?;
    for name in tables.iter().filter(|name| !OF_HITS.contains(&name.as_str())) {
        let columns = columns_of(output, name)?;
        let is_of = |column: &str| columns.iter().any(|name| name == column);
        if is_of("log_id") {
            write_of_logs(output, databases, names, name, &logs)?;
        } else if is_of("file_id") {
            write_of_files(output, databases, names, name, &files)?;
        } else {
            write_others(output, databases, names, name)?;
        }
    }
    forget_what_differs(output, databases, names)?;
    // Whoever traced a file is told by coverage.py's own files only.
    write_of_files(output, databases, names, "tracer", &Winners::new())?;
    Ok(logs.len() as u64)
}

/// For each log the position of the recording in which it has the most records.
fn winners_of_logs(databases: &[Database]) -> Result<Winners<String>> {
    let mut longest: HashMap<String, (i64, usize)> = HashMap::new();
    for (position, database) in databases.iter().enumerate() {
        let logs = Table::read(database, "hitlog_log")?;
        for row in &logs.rows {
            let records = logs.number(row, "records");
            let known =
                longest.entry(logs.text(row, "log_id").to_owned()).or_insert((records, position));
            if records > known.0 {
                *known = (records, position);
            }
        }
    }
    Ok(longest.into_iter().map(|(log, (_, position))| (log, position)).collect())
}

/// By log, and then in the order in which they were.
fn write_of_logs(
    output: &Connection,
    databases: &[Database],
    names: &Names,
    name: &str,
    winners: &Winners<String>,
) -> Result<()> {
    let mut by_log: BTreeMap<String, (Vec<String>, Vec<Vec<Value>>)> = BTreeMap::new();
    for (position, database) in databases.iter().enumerate() {
        let mut table = Table::read(database, name)?;
        table.translate(names, position);
        for row in &table.rows {
            let log = table.text(row, "log_id");
            if winners.get(log) == Some(&position) {
                let rows =
                    by_log.entry(log.to_owned()).or_insert_with(|| (table.columns.clone(), Vec::new()));
                rows.1.push(row.clone());
            }
        }
    }
    by_log.values().try_for_each(|(columns, rows)| insert(output, name, columns, rows))
}

/// For each file of the output the recording in which it has the largest modification time and size.
fn winners_of_files(databases: &[Database], names: &Names) -> Result<Winners<i64>> {
    let mut latest: HashMap<i64, (FileState, usize)> = HashMap::new();
    for (position, database) in databases.iter().enumerate() {
        let mut table = Table::read(database, "hitlog_file")?;
        table.translate(names, position);
        for row in &table.rows {
            let state = table.state(row);
            let known = latest.entry(table.number(row, "file_id")).or_insert((state, position));
            if state > known.0 {
                *known = (state, position);
            }
        }
    }
    Ok(latest.into_iter().map(|(file, (_, position))| (file, position)).collect())
}

/// One row for each file: that of its winner, or the first one where there is none.
fn write_of_files(
    output: &Connection,
    databases: &[Database],
    names: &Names,
    name: &str,
    winners: &Winners<i64>,
) -> Result<()> {
    let mut by_file: BTreeMap<i64, (FileState, Vec<String>, Vec<Value>)> = BTreeMap::new();
    for (position, database) in databases.iter().enumerate() {
        let mut table = Table::read(database, name)?;
        table.translate(names, position);
        for row in &table.rows {
            let (file, state) = (table.number(row, "file_id"), table.state(row));
            let is_latest = by_file.get(&file).is_none_or(|(known, ..)| state > *known);
            if file > 0 && is_latest && winners.get(&file).is_none_or(|winner| *winner == position) {
                by_file.insert(file, (state, table.columns.clone(), row.clone()));
            }
        }
    }
    let mut rows = by_file.values();
    rows.try_for_each(|(_, columns, row)| insert(output, name, columns, std::slice::from_ref(row)))
}

/// Marks the source of a file as changed, as compacting all logs together does, unless the same text ran in all
/// recordings: by its hash, or by its modification time and size where there is none. Otherwise lines of
/// one text would be looked up in another.
fn forget_what_differs(output: &Connection, databases: &[Database], names: &Names) -> Result<()> {
    let mut known: HashMap<i64, Text> = HashMap::new();
    let mut differ = HashSet::new();
    for (position, database) in databases.iter().enumerate() {
        let [mut sources, mut files] =
            [Table::read(database, "hitlog_source")?, Table::read(database, "hitlog_file")?];
        sources.translate(names, position);
        files.translate(names, position);
        let states: HashMap<i64, FileState> =
            files.rows.iter().map(|row| (files.number(row, "file_id"), files.state(row))).collect();
        for row in &sources.rows {
            let file = sources.number(row, "file_id");
            let hash = sources.text(row, "sha256").to_owned();
            let is_changed = sources.text(row, "state") == "changed";
            let text = Text { hash, state: states.get(&file).copied() };
            if is_changed || known.get(&file).is_some_and(|other| !text.is_same(other)) {
                differ.insert(file);
            }
            known.entry(file).or_insert(text);
        }
    }
    let sql =
        "update hitlog_source set state = 'changed', sha256 = null, source = null where file_id = ?";
    let mut statement = output.prepare(sql)?;
    differ.iter().try_for_each(|file| statement.execute([file]).map(drop))
}

/// What is known of a text that ran.
struct Text {
    /// Empty if there is none.
    hash: String,
    state: Option<FileState>,
}

impl Text {
    fn is_same(&self, other: &Text) -> bool {
        match self.hash.is_empty() || other.hash.is_empty() {
            true => self.state == other.state,
            false => self.hash == other.hash,
        }
    }
}

/// All rows, of equal ones the first.
fn write_others(output: &Connection, databases: &[Database], names: &Names, name: &str) -> Result<()> {
    let mut seen = HashSet::new();
    for (position, database) in databases.iter().enumerate() {
        let mut table = Table::read(database, name)?;
        table.translate(names, position);
        table.rows.retain(|row| seen.insert(format!("{row:?}")));
        insert(output, name, &table.columns, &table.rows)?;
    }
    Ok(())
}

/// The columns of a table of the output.
fn columns_of(output: &Connection, table: &str) -> Result<Vec<String>> {
    let sql = format!("select name from pragma_table_info('{table}')");
    output.prepare_cached(&sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Inserts what columns the output has, too.
fn insert(output: &Connection, table: &str, columns: &[String], rows: &[Vec<Value>]) -> Result<()> {
    let known = columns_of(output, table)?;
    let taken: Vec<usize> = (0..columns.len()).filter(|at| known.contains(&columns[*at])).collect();
    let names: Vec<&str> = taken.iter().map(|at| columns[*at].as_str()).collect();
    let marks = vec!["?"; taken.len()].join(",");
    let sql = format!("insert or ignore into {table} ({}) values ({marks})", names.join(","));
    let mut statement = output.prepare_cached(&sql)?;
    for row in rows {
        statement.execute(params_from_iter(taken.iter().map(|at| &row[*at])))?;
    }
    Ok(())
}
