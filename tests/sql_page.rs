//! docs/sql.md keeps its word: every question has the answer that stands below it, in each form in which hits
//! can be kept, and every column is there.

#[path = "common/process_log.rs"]
mod process_log;

use hitlog::compactor::{Options, compact};
use hitlog::format::{EndReason, Record};
use process_log::{ProcessLog, WALL_START_NS};
use rusqlite::Connection;
use rusqlite::types::Value;

const PAGE: &str = include_str!("../docs/sql.md");
const MS: u64 = 1_000_000;

/// The recording of the page.
fn logs(has_arcs: bool) -> [ProcessLog; 2] {
    let (cart, stock) = ("/src/shop/cart.py", "/src/shop/stock.py");
    let mut first = ProcessLog::new(4711);
    first.line("", cart, 1).line("", stock, 1);
    let file = first.file(cart);
    first.push(Record::FileFacts { file, size: 2048, mtime_ns: WALL_START_NS });
    let (setup, run) =
        ("tests/test_cart.py::test_discount|setup", "tests/test_cart.py::test_discount|run");
    first.start(setup, 0).stop(setup, 3 * MS).line(setup, cart, 86);
    first.start(run, 4 * MS).stop(run, 16 * MS);
    first.line(run, cart, 86).line(run, cart, 87).line(run, cart, 88);
    let mut second = ProcessLog::new(4712);
    let full = "tests/test_cart.py::test_full|run";
    second.start(full, 5 * MS).line(full, stock, 7);
    for line in [86, 87, 88, 90] {
        second.line(full, cart, line);
    }
    if has_arcs {
        first.arc(run, cart, 88, -86);
        second.arc(full, cart, 88, 90);
    }
    first.end(EndReason::Closed, Some(0));
    [first, second]
}

fn recorded(has_arcs: bool, plain_tables: bool) -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let paths = logs(has_arcs).map(|log| log.write(folder.path()));
    let output = folder.path().join("hitlog.db");
    compact(&paths, &Options { plain_tables, ..Options::new(&output) }, &()).unwrap();
    let connection = Connection::open(output).unwrap();
    (folder, connection)
}

/// Title, statement and answer of each question.
fn questions() -> Vec<(&'static str, &'static str, &'static str)> {
    let block = |text: &'static str, kind: &str| {
        let (_, rest) = text.split_once(&format!("```{kind}\n")).expect("a block");
        rest.split_once("```").expect("its end").0
    };
    let (_, page) = PAGE.split_once("## Ten questions").expect("a chapter");
    let (page, _) = page.split_once("\n## Views").expect("the next chapter");
    let parts = page.split("\n### ").skip(1);
    parts
        .map(|part| (part.lines().next().expect("a title"), block(part, "sql"), block(part, "text")))
        .collect()
}

/// As sqlite3(1) prints it.
fn answer(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(sql).expect(sql);
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut text = String::new();
    while let Some(row) = rows.next().unwrap() {
        let values: Vec<String> = (0..columns).map(|at| shown(row.get(at).unwrap())).collect();
        text += &(values.join("|") + "\n");
    }
    text
}

fn shown(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text,
        value => panic!("no column of the page holds {value:?}"),
    }
}

#[test]
fn every_question_has_the_answer_below_it() {
    let questions = questions();
    assert_eq!(questions.len(), 10);
    for (has_arcs, plain_tables) in [(true, false), (true, true), (false, false)] {
        let (_folder, connection) = recorded(has_arcs, plain_tables);
        for (title, sql, expected) in &questions {
            assert_eq!(sql.lines().count(), 1, "{title}: one line");
            let expected = if sql.contains("hitlog_arc") && !has_arcs { "" } else { expected };
            assert_eq!(answer(&connection, sql), expected, "{title}");
        }
    }
}

#[test]
fn every_column_of_the_page_is_there_and_none_is_missing_on_it() {
    let (_, page) = PAGE.split_once("\n## Views").expect("a chapter");
    let parts: Vec<&str> = page.split("\n### `").skip(1).collect();
    assert_eq!(parts.len(), 7);
    for has_arcs in [false, true] {
        let (_folder, connection) = recorded(has_arcs, false);
        for part in &parts {
            let (name, rest) = part.split_once('`').expect("a name");
            let cells = rest.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
            let told: Vec<&str> = cells
                .flat_map(|(cell, _)| cell.split(", "))
                .map(|column| column.trim_matches('`'))
                .collect();
            let sql = format!("select name from pragma_table_info('{name}')");
            let found = answer(&connection, &sql);
            assert_eq!(found.lines().collect::<Vec<_>>(), told, "{name}");
        }
    }
}
