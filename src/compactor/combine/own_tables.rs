//! Combines the tables that tell of logs, and of files as they were: all that are not made of hits.
//!
//! Rows of a log are taken from the recording in which it is longest, rows of a file from the one that saw
//! its last change, and rows of neither from all, each once. The source of a file is kept if all ran the same
//! one; of several ends of a test the worst counts. Columns are taken by their names; a recording without one
//! leaves it NULL.
//!
//! Where a recording has changes, the other one is believed instead, whatever is longer or later, and the changes
//! tell how tests ended.

use super::Input;
use super::names::{Ids, Names, labelled};
use crate::compactor::logs::worst_outcomes;
use crate::query::Database;
use crate::query::affected::Renewal;
use rusqlite::types::Value;
use rusqlite::{Connection, Result, params_from_iter};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Tables that are made of hits.
const OF_HITS: [&str; 5] =
    ["hitlog_child_lines", "hitlog_number", "hitlog_known_arc", "hitlog_arc_bits", "hitlog_other_arc"];

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
        let exists = "select exists (select 1 from sqlite_master where name = ?)";
        if !connection.query_row(exists, [name], |row| row.get(0))? {
            return Ok(Table { columns: Vec::new(), rows: Vec::new() });
        }
        let mut statement = connection.prepare(&format!("select * from {name}"))?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let rows = statement.query_map([], |row| (0..columns.len()).map(|at| row.get(at)).collect())?;
        let rows = rows.collect::<Result<_>>()?;
        Ok(Table { columns, rows })
    }

    /// The same, with the output's ids and labels.
    fn translated(input: &Input<'_>, name: &str, names: &Names, position: usize) -> Result<Table> {
        let mut table = Table::read(&input.database, name)?;
        if name == "hitlog_sample" {
            table.drop_samples(&names.context_ids[position]);
        }
        table.translate(input.label.as_deref(), names, position);
        Ok(table)
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

    /// Drops what was measured in a context that is left out.
    fn drop_samples(&mut self, contexts: &Ids) {
        if let Some(at) = self.position("context_id") {
            self.rows
                .retain(|row| !matches!(&row[at], Value::Integer(id) if !contexts.contains_key(id)));
        }
    }

    /// Gives the rows the output's ids and the label. What is left out becomes NULL, of which nothing is made
    /// where a row needs a file.
    fn translate(&mut self, label: Option<&str>, names: &Names, position: usize) {
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
pub(super) fn write(output: &Connection, inputs: &[Input<'_>], names: &Names) -> Result<u64> {
    let logs = winners_of_logs(inputs, names)?;
    let files = winners_of_files(inputs, names)?;
    let changes = inputs.iter().find_map(|input| input.changes);
    let sql =
        "select name from sqlite_master where type = 'table' and name like 'hitlog\\_%' escape '\\'";
    let tables: Vec<String> =
        output.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_>>()?;
    for name in tables.iter().filter(|name| !OF_HITS.contains(&name.as_str())) {
        let columns = columns_of(output, name)?;
        let has = |column: &str| columns.iter().any(|name| name == column);
        match (name.as_str(), changes) {
            ("hitlog_source", None) => write_sources(output, inputs, names)?,
            ("hitlog_test", None) => write_outcomes(output, inputs, names)?,
            ("hitlog_test", Some(changes)) => write_present_outcomes(output, changes)?,
            ("hitlog_surroundings", Some(changes)) => write_surroundings(output, changes)?,
            (name, _) if has("log_id") => write_of_logs(output, inputs, names, name, &logs)?,
            (name, _) if has("file_id") => write_of_files(output, inputs, names, name, &files)?,
            (name, _) => write_others(output, inputs, names, name)?,
        }
    }
    // Whoever traced a file is told by coverage.py's own files only.
    write_of_files(output, inputs, names, "tracer", &Winners::new())?;
    Ok(logs.len() as u64)
}

/// For each log that stays, the position of the recording in which it has the most records.
fn winners_of_logs(inputs: &[Input<'_>], names: &Names) -> Result<Winners<String>> {
    let mut longest: HashMap<String, ((bool, i64), usize)> = HashMap::new();
    for (position, input) in inputs.iter().enumerate() {
        let logs = Table::read(&input.database, "hitlog_log")?;
        let stays = logs_that_stay(input, &names.context_ids[position])?;
        for row in &logs.rows {
            let log = logs.text(row, "log_id");
            let rank = (input.changes.is_none(), logs.number(row, "records"));
            if stays.as_ref().is_none_or(|stays| stays.contains(log)) {
                let known = longest.entry(log.to_owned()).or_insert((rank, position));
                if rank > known.0 {
                    *known = (rank, position);
                }
            }
        }
    }
    Ok(longest.into_iter().map(|(log, (_, position))| (log, position)).collect())
}

/// The logs of a recording with changes in which a context stays that has a name; `None` if all stay.
fn logs_that_stay(input: &Input<'_>, contexts: &Ids) -> Result<Option<HashSet<String>>> {
    if input.changes.is_none() {
        return Ok(None);
    }
    let sql = "select context_id, log_id from hitlog_context join context on context.id = context_id
                where context <> ''";
    let mut statement = input.database.connection().prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut stays = HashSet::new();
    while let Some(row) = rows.next()? {
        if contexts.contains_key(&row.get(0)?) {
            stays.insert(row.get(1)?);
        }
    }
    add_ancestors(input.database.connection(), &mut stays)?;
    Ok(Some(stays))
}

/// Adds the logs of the processes from which those of `stays` were forked: what these had loaded, the others
/// have, too.
fn add_ancestors(connection: &Connection, stays: &mut HashSet<String>) -> Result<()> {
    let sql = "select log_id, parent_log_id from hitlog_log where parent_log_id is not null
                union all select log_id, first_log_id from hitlog_log where first_log_id <> log_id";
    let mut statement = connection.prepare(sql)?;
    let mut before: HashMap<String, Vec<String>> = HashMap::new();
    for row in statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))? {
        let (log, origin): (String, String) = row?;
        before.entry(log).or_default().push(origin);
    }
    let mut next: Vec<String> = stays.iter().cloned().collect();
    while let Some(log) = next.pop() {
        for origin in before.get(&log).into_iter().flatten() {
            if stays.insert(origin.clone()) {
                next.push(origin.clone());
            }
        }
    }
    Ok(())
}

/// By log, and then in the order in which they were.
fn write_of_logs(
    output: &Connection,
    inputs: &[Input<'_>],
    names: &Names,
    name: &str,
    winners: &Winners<String>,
) -> Result<()> {
    let mut by_log: BTreeMap<String, (Vec<String>, Vec<Vec<Value>>)> = BTreeMap::new();
    for (position, input) in inputs.iter().enumerate() {
        let table = Table::translated(input, name, names, position)?;
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
fn winners_of_files(inputs: &[Input<'_>], names: &Names) -> Result<Winners<i64>> {
    let mut latest: HashMap<i64, ((bool, FileState), usize)> = HashMap::new();
    for (position, input) in inputs.iter().enumerate() {
        let table = Table::translated(input, "hitlog_file", names, position)?;
        for row in &table.rows {
            let rank = (input.changes.is_none(), table.state(row));
            let known = latest.entry(table.number(row, "file_id")).or_insert((rank, position));
            if rank > known.0 {
                *known = (rank, position);
            }
        }
    }
    Ok(latest.into_iter().map(|(file, (_, position))| (file, position)).collect())
}

/// One row for each file: that of its winner, or the first one where there is none.
fn write_of_files(
    output: &Connection,
    inputs: &[Input<'_>],
    names: &Names,
    name: &str,
    winners: &Winners<i64>,
) -> Result<()> {
    let mut by_file: BTreeMap<i64, (FileState, Vec<String>, Vec<Value>)> = BTreeMap::new();
    for (position, input) in inputs.iter().enumerate() {
        let table = Table::translated(input, name, names, position)?;
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

/// What one recording remembers of a file.
struct Source {
    sha256: String,
    state: String,
    columns: Vec<String>,
    row: Vec<Value>,
}

/// For each file its source. One of which different versions ran is marked as changed, as the compactor does
/// it: its lines may be those of either.
fn write_sources(output: &Connection, inputs: &[Input<'_>], names: &Names) -> Result<()> {
    let mut states: HashMap<i64, Vec<FileState>> = HashMap::new();
    let mut sources: BTreeMap<i64, Vec<Source>> = BTreeMap::new();
    for (position, input) in inputs.iter().enumerate() {
        let files = Table::translated(input, "hitlog_file", names, position)?;
        for row in &files.rows {
            states.entry(files.number(row, "file_id")).or_default().push(files.state(row));
        }
        let mut table = Table::translated(input, "hitlog_source", names, position)?;
        for row in std::mem::take(&mut table.rows) {
            let text = |column| table.text(&row, column).to_owned();
            let (sha256, state, columns) = (text("sha256"), text("state"), table.columns.clone());
            let of_file = sources.entry(table.number(&row, "file_id")).or_default();
            of_file.push(Source { sha256, state, columns, row });
        }
    }
    for (file, of_file) in sources.iter().filter(|(file, _)| **file > 0) {
        if is_one_version(states.get(file).map_or(&[], Vec::as_slice), of_file) {
            let best = of_file.iter().max_by_key(|source| (&source.sha256, &source.state));
            best.map_or(Ok(()), |best| {
                insert(output, "hitlog_source", &best.columns, std::slice::from_ref(&best.row))
            })?;
        } else {
            let sql = "insert into hitlog_source (file_id, state) values (?, 'changed')";
            output.prepare_cached(sql)?.execute([file])?;
        }
    }
    Ok(())
}

/// Whether all ran the same text: by its hash, since copies of a tree differ in times; or as far as size and
/// time tell.
fn is_one_version(states: &[FileState], sources: &[Source]) -> bool {
    let known: HashSet<&str> = sources
        .iter()
        .map(|source| source.sha256.as_str())
        .filter(|sha256| !sha256.is_empty())
        .collect();
    let is_each_known =
        sources.len() >= states.len() && sources.iter().all(|source| !source.sha256.is_empty());
    let is_one_state = states.windows(2).all(|pair| pair[0] == pair[1]);
    let is_changed = sources.iter().any(|source| source.state == "changed");
    !is_changed && known.len() <= 1 && (is_each_known || is_one_state)
}

/// For each test its worst end.
fn write_outcomes(output: &Connection, inputs: &[Input<'_>], names: &Names) -> Result<()> {
    let mut ends: Vec<(String, String)> = Vec::new();
    for (position, input) in inputs.iter().enumerate() {
        let table = Table::translated(input, "hitlog_test", names, position)?;
        let text = |row, column| table.text(row, column).to_owned();
        ends.extend(table.rows.iter().map(|row| (text(row, "test"), text(row, "outcome"))));
    }
    let mut statement = output.prepare("insert into hitlog_test values (?,?)")?;
    worst_outcomes(ends.iter().map(|(test, outcome)| (test.as_str(), outcome.as_str())))
        .into_iter()
        .try_for_each(|(test, outcome)| statement.execute([test, outcome]).map(|_| ()))
}

fn write_present_outcomes(output: &Connection, changes: &Renewal) -> Result<()> {
    let mut statement = output.prepare("insert into hitlog_test values (?,?)")?;
    let mut outcomes = changes.outcomes.iter();
    outcomes.try_for_each(|(test, outcome)| statement.execute([test, outcome]).map(|_| ()))
}

fn write_surroundings(output: &Connection, changes: &Renewal) -> Result<()> {
    let mut statement = output.prepare("insert into hitlog_surroundings values (?)")?;
    changes.surroundings.iter().try_for_each(|value| statement.execute([value]).map(|_| ()))
}

/// All rows, of equal ones the first.
fn write_others(output: &Connection, inputs: &[Input<'_>], names: &Names, name: &str) -> Result<()> {
    let mut seen = HashSet::new();
    for (position, input) in inputs.iter().enumerate() {
        let mut table = Table::translated(input, name, names, position)?;
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

/// Inserts what columns the output has, too. A recording without the table, as one of coverage.py, has none.
fn insert(output: &Connection, table: &str, columns: &[String], rows: &[Vec<Value>]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
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
