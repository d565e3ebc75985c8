//! The views: right whether lines or arcs were recorded, and answered from indexes.
#![allow(clippy::print_stdout, reason = "the measurement at scale says what it found")]

#[path = "common/process_log.rs"]
mod process_log;

use hitlog::compactor::{Options, compact};
use hitlog::format::Record;
use hitlog::limits::{ARCS_NUMBERED_MAX, LINE_MAX, NUMBITS_BYTES_FREE};
use process_log::ProcessLog;
use proptest::prelude::*;
use rusqlite::{Connection, params};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

const TESTS_OF_LINE: &str = "select context from hitlog_line where path = ?1 and line = ?2";
const LINES_OF_TEST: &str = "select path, line from hitlog_line where context = ?1";
const ARCS_OF_TEST: &str = "select * from hitlog_arc where context = ?1";

fn compacted(logs: &[ProcessLog], plain_tables: bool) -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = logs.iter().map(|log| log.write(folder.path())).collect();
    let output = folder.path().join("out.db");
    compact(&paths, &Options { plain_tables, ..Options::new(&output) }, &()).unwrap();
    let connection = Connection::open(output).unwrap();
    let kind: String = connection
        .query_row("select type from sqlite_master where name = 'arc'", [], |row| row.get(0))
        .unwrap();
    let has_arcs =
        logs.iter().flat_map(|log| &log.records).any(|record| matches!(record, Record::Arc { .. }));
    assert_eq!(kind, if has_arcs && !plain_tables { "view" } else { "table" });
    (folder, connection)
}

fn rows<T: Ord + rusqlite::types::FromSql>(
    connection: &Connection,
    sql: &str,
) -> Vec<(String, T, T, String)> {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap();
    let mut rows: Vec<_> = rows.map(Result::unwrap).collect();
    rows.sort();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_views_tell_what_was_recorded(
        lines in prop::collection::vec((0..4u32, 0..3u32, 1..9000u32), 0..80),
        arcs in prop::collection::vec((0..4u32, 0..3u32, -20..20i32, -20..20i32), 0..80),
        has_arcs: bool,
    ) {
        let mut log = ProcessLog::new(1);
        let name = |context: u32| if context == 0 { String::new() } else { format!("t{context}") };
        let mut expected_lines = BTreeSet::new();
        let mut expected_arcs = BTreeSet::new();
        for (context, file, line) in lines {
            let (context, path) = (name(context), format!("/f{file}"));
            log.line(&context, &path, line);
            expected_lines.insert((path, line as i32, line as i32, context));
        }
        for (context, file, from, to) in arcs.into_iter().filter(|_| has_arcs) {
            let (context, path) = (name(context), format!("/f{file}"));
            log.arc(&context, &path, from, to);
            for line in [from, to].into_iter().filter(|line| *line > 0) {
                expected_lines.insert((path.clone(), line, line, context.clone()));
            }
            if from != to {
                expected_arcs.insert((path, from, to, context));
            }
        }
        let expected_lines: Vec<_> = expected_lines.into_iter().collect();
        let expected_arcs: Vec<_> = expected_arcs.into_iter().collect();
        let mut tables = Vec::new();
        for plain_tables in [false, true] {
            let (_folder, connection) = compacted(std::slice::from_ref(&log), plain_tables);
            let found = rows::<i32>(&connection, "select path, line, line, context from hitlog_line");
            prop_assert_eq!(&found, &expected_lines);
            let found = rows::<i32>(&connection, "select path, from_line, to_line, context from hitlog_arc");
            prop_assert_eq!(&found, &expected_arcs);
            tables.push(rows::<i32>(&connection, "select file_id || '', fromno, tono, context_id || '' from arc"));
        }
        prop_assert_eq!(&tables[0], &tables[1], "coverage.py sees the same in both forms");
    }
}

/// The plan of `sql`, one step to a line.
fn plan(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(&format!("explain query plan {sql}")).unwrap();
    let count = statement.parameter_count();
    let values = vec!["x"; count];
    let steps = statement
        .query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3))
        .unwrap()
        .map(Result::unwrap);
    steps.collect::<Vec<_>>().join("\n")
}

#[test]
fn both_questions_are_answered_from_indexes() {
    let plain = [
        (
            TESTS_OF_LINE,
            "sqlite_autoindex_line_bits_1 (file_id=?)",
            "sqlite_autoindex_arc_1 (file_id=?)",
        ),
        (LINES_OF_TEST, "hitlog_line_bits_context (context_id=?)", "hitlog_arc_context (context_id=?)"),
        (ARCS_OF_TEST, "", "hitlog_arc_context (context_id=?)"),
    ];
    let compact = [
        (
            TESTS_OF_LINE,
            "hitlog_known_arc_ends (file_id=? AND fromno=?)",
            "taken USING PRIMARY KEY (file_id=? AND block=?)",
        ),
        (
            LINES_OF_TEST,
            "hitlog_arc_bits_context (context_id=?)",
            "known USING PRIMARY KEY (file_id=? AND number>? AND number<?)",
        ),
        (ARCS_OF_TEST, "hitlog_arc_bits_context (context_id=?)", "known USING PRIMARY KEY"),
    ];
    for (has_arcs, plain_tables) in [(false, false), (true, true), (true, false)] {
        let mut log = ProcessLog::new(1);
        // Very small tables are walked, and rightly so.
        for number in 0..6000 {
            let (context, file) = (format!("t{}", number % 60), format!("/f{}.py", number % 7));
            log.line(&context, &file, 1 + number % 300);
            if has_arcs {
                log.arc(&context, &file, (number % 300) as i32, 400);
            }
        }
        let (_folder, connection) = compacted(&[log], plain_tables);
        for (question, first, second) in if has_arcs && !plain_tables { &compact } else { &plain } {
            let plan = plan(&connection, question);
            assert!(plan.contains(first) && plan.contains(second), "{plan}");
            for table in
                ["line_bits", "arc", "file", "context", "hitlog_number", "taken", "known", "other"]
            {
                assert!(!plan.contains(&format!("SCAN {table}\n")), "{table} is walked:\n{plan}");
            }
        }
    }
}

#[test]
fn lines_that_others_add_are_seen() {
    let mut log = ProcessLog::new(1);
    log.line("t", "/a.py", 3);
    let (_folder, connection) = compacted(&[log], false);
    // As `coverage combine --append` writes: line 8191 of the same file, in the same context.
    let mut numbits = vec![0_u8; 1024];
    numbits[1023] = 0x80;
    connection.execute("update line_bits set numbits = ?", params![numbits]).unwrap();
    let found = rows::<i32>(&connection, "select path, line, line, context from hitlog_line");
    assert_eq!(found, [("/a.py".into(), 8191, 8191, "t".into())]);
}

#[test]
fn the_file_is_sound_and_in_order() {
    let mut log = ProcessLog::new(1);
    for number in 0..3000_u32 {
        let (context, file) = (format!("t{}", number * 7 % 41), format!("/f{}", number * 11 % 13));
        log.arc(&context, &file, -((number % 90) as i32), (number * 31 % 70) as i32 - 35);
        log.line(&context, &file, 1 + number);
    }
    for plain_tables in [false, true] {
        let (_folder, connection) = compacted(std::slice::from_ref(&log), plain_tables);
        let check: String =
            connection.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        let foreign: Option<u32> = connection
            .query_row("select count(*) from pragma_foreign_key_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(foreign, Some(0));
        if plain_tables {
            let unsorted = "select count(*) from (select file_id * 1000 + context_id as now, rowid,
                lag(file_id * 1000 + context_id) over (order by rowid) as before from arc) where before > now";
            assert_eq!(connection.query_row(unsorted, [], |row| row.get::<_, u32>(0)).unwrap(), 0);
        }
    }
}

/// The statement with which `coverage combine --append` adds arcs.
#[test]
fn arcs_that_others_add_are_seen_once() {
    let mut log = ProcessLog::new(1);
    log.line("t", "/a.py", 3).arc("t", "/a.py", 3, 5).arc("u", "/a.py", 7, -1);
    let (_folder, connection) = compacted(&[log], false);
    let ids = "from file, context where path = '/a.py' and context = 't'";
    for (from, to) in [(3, 5), (3, 3), (5, 5), (7, -1), (5, 900), (900, -1), (5, 900)] {
        let sql = format!(
            "insert or ignore into main.arc (file_id, context_id, fromno, tono)
             select file.id, context.id, {from}, {to} {ids}"
        );
        connection.execute(&sql, []).unwrap();
    }
    let found = rows::<i32>(&connection, "select path, from_line, to_line, context from hitlog_arc");
    let arc = |from, to, context: &str| ("/a.py".to_owned(), from, to, context.to_owned());
    let expected =
        [arc(3, 5, "t"), arc(5, 900, "t"), arc(7, -1, "t"), arc(7, -1, "u"), arc(900, -1, "t")];
    assert_eq!(found, expected);
    let found = rows::<i32>(&connection, "select path, line, line, context from hitlog_line");
    let expected = [(3, "t"), (5, "t"), (7, "t"), (7, "u"), (900, "t")];
    assert_eq!(found, expected.map(|(line, context)| arc(line, line, context)));
    let added: u32 =
        connection.query_row("select count(*) from hitlog_other_arc", [], |row| row.get(0)).unwrap();
    assert_eq!(added, 4, "(5, 5), (7, -1), (5, 900) and (900, -1)");
}

/// A file with more arcs than are numbered: the rest is written, and counted, without numbers.
#[test]
fn arcs_beyond_the_numbered_ones_are_there_as_well() {
    let mut log = ProcessLog::new(1);
    let (file, contexts) = (log.file("/generated.py"), [log.context("t"), log.context("u")]);
    let arcs = ARCS_NUMBERED_MAX as i32 + 1000;
    for (from, context) in (1..=arcs).flat_map(|from| contexts.map(|context| (from, context))) {
        log.push(Record::Arc { context, file, from, to: -1 });
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, output) = (log.write(folder.path()), folder.path().join("out.db"));
    let report = compact(&[path], &Options::new(&output), &()).unwrap();
    assert_eq!((report.arcs, report.lines), (arcs as u64, arcs as u64));
    let connection = Connection::open(&output).unwrap();
    let count = |table: &str| {
        let sql = format!("select count(*) from (select distinct * from {table})");
        connection.query_row(&sql, [], |row| row.get::<_, i32>(0)).unwrap()
    };
    assert_eq!(["arc", "hitlog_arc", "hitlog_line"].map(count), [2 * arcs; 3]);
    assert_eq!(count("hitlog_known_arc"), ARCS_NUMBERED_MAX as i32);
    assert!(count("hitlog_other_arc") >= 2000);
}

/// A line far behind the last makes a long numbits in each context: a small log would become a huge file.
#[test]
fn numbits_stay_in_proportion_to_the_logs() {
    let mut log = ProcessLog::new(1);
    let file = log.file("/hostile.py");
    let contexts = 3 * NUMBITS_BYTES_FREE as u32 / (LINE_MAX / 8);
    for number in 0..contexts {
        let context = log.context(format!("t{number:03}"));
        log.push(Record::Line { context, file, line: LINE_MAX });
    }
    log.line("z", "/usual.py", 5);
    let folder = tempfile::tempdir().unwrap();
    let (path, output) = (log.write(folder.path()), folder.path().join("out.db"));
    let report = compact(&[path], &Options::new(&output), &()).unwrap();
    assert!(report.left_out > u64::from(contexts) / 2 && !report.is_whole(), "{report}");
    assert!(report.output_bytes < 5 * NUMBITS_BYTES_FREE / 4, "{report}");
    assert!(report.to_string().contains(&format!("  {} left out", report.left_out)), "{report}");
    let connection = Connection::open(&output).unwrap();
    let kept = rows::<u32>(&connection, "select path, line, line, context from hitlog_line");
    assert_eq!(kept.len() as u64, u64::from(contexts) + 1 - report.left_out);
    assert_eq!(kept[kept.len() - 1], ("/usual.py".into(), 5, 5, "z".into()));
}

/// 40 million hits, by 5,000 contexts in 1,000 files. Run it with
/// `cargo test --release --test sql -- --ignored --nocapture`.
#[test]
#[ignore = "takes a minute and 3 GB of disk"]
fn at_scale() {
    const LOGS: u32 = 8;
    let files_of_context: u32 =
        std::env::var("FILES_OF_CONTEXT").map_or(100, |number| number.parse().expect("a number"));
    let lines_of_file = 8000 / files_of_context;
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    std::fs::create_dir(&run).unwrap();
    for number in 0..LOGS {
        log_at_scale(number, LOGS, files_of_context, lines_of_file).write(&run);
    }
    let output = folder.path().join("out.db");
    let started = Instant::now();
    let report = compact(std::slice::from_ref(&run), &Options::new(&output), &()).unwrap();
    println!("{report}{:?} in all", started.elapsed());
    let started = Instant::now();
    let in_parts = Options { memory_bytes: 64 << 20, ..Options::new(folder.path().join("parts.db")) };
    compact(&[run], &in_parts, &()).unwrap();
    println!("{:?} with 64 MiB for hits", started.elapsed());
    assert!(std::fs::read(&output).unwrap() == std::fs::read(&in_parts.output).unwrap());
    assert_eq!(u64::from(5000 * files_of_context * lines_of_file), 40_000_000);
    ask_at_scale(&output);
}

fn log_at_scale(number: u32, logs: u32, files_of_context: u32, lines_of_file: u32) -> ProcessLog {
    let mut log = ProcessLog::new(1 + number);
    let files: Vec<u32> = (0..1000).map(|file| log.file(format!("/src/module_{file:03}.py"))).collect();
    for context in (number..5000).step_by(logs as usize) {
        let name = format!("tests/test_module_{:02}.py::test_case_{context:04}|run", context / 100);
        let context_id = log.context(name);
        for step in 0..files_of_context {
            let file = files[((context * 37 + step * (1000 / files_of_context)) % 1000) as usize];
            for line in 0..lines_of_file {
                let line = 1 + (context * 3 + step) % 50 + line * 4;
                log.push(Record::Line { context: context_id, file, line });
            }
        }
    }
    log
}

fn ask_at_scale(output: &Path) {
    let path = "/src/module_370.py";
    let some_line = "select line from hitlog_line where path = ?1 limit 1 offset 5";
    let line: u32 =
        Connection::open(output).unwrap().query_row(some_line, [path], |row| row.get(0)).unwrap();
    for (question, first, second) in [
        (TESTS_OF_LINE, path, Some(line)),
        (LINES_OF_TEST, "tests/test_module_12.py::test_case_1234|run", None),
    ] {
        let connection = Connection::open(output).unwrap();
        let mut statement = connection.prepare(question).unwrap();
        let mut times = Vec::new();
        let mut answers = 0;
        for _ in 0..5 {
            let started = Instant::now();
            let mut rows = match second {
                Some(line) => statement.query(params![first, line]).unwrap(),
                None => statement.query(params![first]).unwrap(),
            };
            answers = 0;
            while rows.next().unwrap().is_some() {
                answers += 1;
            }
            times.push(started.elapsed());
        }
        println!("{answers} answers in {times:?}: {question}");
        assert!(answers > 0);
    }
}
