//! Coverage.py reads the output as its own: every report, and `combine` in both directions.
//!
//! Needs a Python with coverage.py, named by HITLOG_TEST_PYTHON (`cargo xtask test` sets it).
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

#[path = "common/process_log.rs"]
mod process_log;

use hitlog::compactor::{Options, compact};
use hitlog::format::Record;
use process_log::ProcessLog;
use rusqlite::Connection;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = "\
import sys


def larger(a, b):
    if a > b:
        return a
    return b


def never(a):
    while a:
        a -= 1


for number in range(3):
    larger(number, 1)
if len(sys.argv) > 5:
    never(1)
";

/// A folder with a program in it that coverage.py may measure and report on.
struct Project {
    _folder: tempfile::TempDir,
    path: PathBuf,
    python: String,
}

impl Project {
    /// `None`, with a message, if there is no Python to test with.
    fn new() -> Option<Project> {
        let Ok(python) = std::env::var("HITLOG_TEST_PYTHON") else {
            println!("skipped: HITLOG_TEST_PYTHON names no Python with coverage.py");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(folder.path()).unwrap();
        fs::write(path.join("program.py"), PROGRAM).unwrap();
        Some(Project { _folder: folder, path, python })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn program(&self) -> String {
        self.at("program.py").to_str().unwrap().to_owned()
    }

    /// What Python prints when it runs with `arguments`; it must end with 0 and write nothing to stderr
    /// but warnings of coverage.py.
    fn python(&self, arguments: &[&str]) -> String {
        let output =
            Command::new(&self.python).current_dir(&self.path).args(arguments).output().unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {out}{err}");
        assert!(!err.contains("Traceback"), "{arguments:?}: {err}");
        out.into_owned()
    }

    fn coverage(&self, arguments: &str) -> String {
        let words: Vec<&str> = ["-m", "coverage"].into_iter().chain(arguments.split(' ')).collect();
        self.python(&words)
    }

    /// The JSON report on the data file `data`.
    fn json(&self, data: &str) -> Value {
        self.coverage(&format!("json -q --data-file={data} --show-contexts -o report.json"));
        let report: Value = serde_json::from_slice(&fs::read(self.at("report.json")).unwrap()).unwrap();
        report["files"]["program.py"].clone()
    }

    fn compact(&self, log: &ProcessLog, output: &str) {
        self.compact_as(log, output, false);
    }

    fn compact_as(&self, log: &ProcessLog, output: &str, plain_tables: bool) {
        let log = log.write(&self.path);
        compact(&[log], &Options { plain_tables, ..Options::new(self.at(output)) }, &()).unwrap();
    }

    /// (context, line) of the program in the data file `data`, as coverage.py's own interface tells them.
    fn lines_by_context(&self, data: &str) -> BTreeSet<(String, u64)> {
        let script = "\
import json, sys, coverage
data = coverage.CoverageData(sys.argv[1])
data.read()
lines = data.contexts_by_lineno(sys.argv[2])
print(json.dumps([[context, line] for line in lines for context in lines[line]]))";
        serde_json::from_str(&self.python(&["-c", script, data, &self.program()])).unwrap()
    }
}

/// The program as it runs: its lines, in the context in which they did.
fn program_log(project: &Project) -> ProcessLog {
    let mut log = ProcessLog::new(1);
    let program = project.program();
    for line in [1, 4, 10, 15, 16, 17] {
        log.line("", &program, line);
    }
    for (test, lines) in
        [("tests/t.py::small|run", [5, 7].as_slice()), ("tests/t.py::large|run", &[5, 6])]
    {
        lines.iter().for_each(|line| {
            log.line(test, &program, *line);
        });
    }
    log
}

#[test]
fn every_report_reads_the_output() {
    let Some(project) = Project::new() else { return };
    project.compact(&program_log(&project), "out.db");
    let before = fs::read(project.at("out.db")).unwrap();
    let report = project.coverage("report --data-file=out.db -m");
    assert!(report.contains("program.py      12      3    75%   11-12, 18"), "{report}");
    let json = project.json("out.db");
    assert_eq!(json["executed_lines"], serde_json::json!([1, 4, 5, 6, 7, 10, 15, 16, 17]));
    let mut contexts = json["contexts"]["5"].as_array().unwrap().clone();
    contexts.sort_by_key(|context| context.as_str().unwrap().to_owned());
    assert_eq!(contexts, ["tests/t.py::large|run", "tests/t.py::small|run"]);
    project.coverage("html -q --data-file=out.db --show-contexts -d html");
    assert!(fs::read_to_string(project.at("html/program_py.html")).unwrap().contains("small|run"));
    project.coverage("xml -q --data-file=out.db -o out.xml");
    assert!(fs::read_to_string(project.at("out.xml")).unwrap().contains("lines-covered=\"9\""));
    project.coverage("lcov -q --data-file=out.db -o out.lcov");
    assert!(fs::read_to_string(project.at("out.lcov")).unwrap().contains("LH:9\n"));
    let only_small = project.coverage("report --data-file=out.db -m --contexts=small");
    assert!(only_small.contains("1-4, 6"), "{only_small}");
    assert!(fs::read(project.at("out.db")).unwrap() == before, "reading changes nothing");
}

#[test]
fn branches_are_reported_as_coverage_py_reports_its_own() {
    let Some(project) = Project::new() else { return };
    project.coverage("run --branch --data-file=own.db program.py");
    let own = project.json("own.db");
    assert!(own["summary"]["num_partial_branches"].as_u64().unwrap() > 0);
    let mut log = ProcessLog::new(1);
    let (program, context) = (project.program(), "");
    for line in own["executed_lines"].as_array().unwrap() {
        log.line(context, &program, line.as_u64().unwrap() as u32);
    }
    for branch in own["executed_branches"].as_array().unwrap() {
        let ends = [0, 1].map(|end| branch[end].as_i64().unwrap() as i32);
        log.arc(context, &program, ends[0], ends[1]);
    }
    for plain_tables in [false, true] {
        project.compact_as(&log, "out.db", plain_tables);
        let before = fs::read(project.at("out.db")).unwrap();
        let ours = project.json("out.db");
        for part in
            ["executed_lines", "missing_lines", "executed_branches", "missing_branches", "summary"]
        {
            assert_eq!(ours[part], own[part], "{part}");
        }
        for command in [
            "report",
            "xml -o b.xml",
            "html --show-contexts -d html",
            "lcov -o b.lcov",
            "report --contexts=^$",
        ] {
            let report = |data: &str| {
                let (verb, rest) = command.split_once(' ').unwrap_or((command, "--skip-empty"));
                project.coverage(&format!("{verb} --data-file={data} {rest}"))
            };
            assert_eq!(report("out.db"), report("own.db"), "{command}");
        }
        assert!(fs::read(project.at("out.db")).unwrap() == before, "reading changes nothing");
    }
}

#[test]
fn combine_takes_the_output_and_adds_to_it() {
    for (branch, plain_tables) in [("", false), ("--branch ", false), ("--branch ", true)] {
        let Some(project) = Project::new() else { return };
        let mut log = program_log(&project);
        if !branch.is_empty() {
            log.arc("tests/t.py::large|run", &project.program(), 5, 6);
        }
        project.compact_as(&log, "out.db", plain_tables);
        project.coverage(&format!("run {branch}--data-file=own.db --context=theirs program.py"));
        let ours = project.lines_by_context("out.db");
        let both: BTreeSet<_> = ours.union(&project.lines_by_context("own.db")).cloned().collect();
        assert!(both.len() > ours.len());

        project.coverage("combine -q --keep --data-file=combined.db out.db own.db");
        assert_eq!(project.lines_by_context("combined.db"), both, "as input");
        assert_eq!(project.lines_by_context("out.db"), ours, "which stays as it was");

        project.coverage("combine -q --keep --append --data-file=out.db own.db");
        assert_eq!(project.lines_by_context("out.db"), both, "as the file that is added to");
        let connection = Connection::open(project.at("out.db")).unwrap();
        let sql = "select context, line from hitlog_line where path = ?";
        let mut statement = connection.prepare(sql).unwrap();
        let rows =
            statement.query_map([project.program()], |row| Ok((row.get(0)?, row.get::<_, u32>(1)?)));
        let seen: BTreeSet<(String, u64)> = rows
            .unwrap()
            .map(Result::unwrap)
            .map(|(context, line)| (context, u64::from(line)))
            .collect();
        assert_eq!(seen, both, "and the view tells what was added");
        let check: String =
            connection.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
    }
}

#[test]
fn an_empty_output_is_no_obstacle() {
    let Some(project) = Project::new() else { return };
    project.compact(&ProcessLog::new(1), "out.db");
    project.coverage("run --branch --data-file=own.db program.py");
    project.coverage("combine -q --keep --data-file=combined.db out.db own.db");
    assert_eq!(project.lines_by_context("combined.db"), project.lines_by_context("own.db"));
}

/// What SQLite says of the tables of coverage.py: columns, indexes, their columns, foreign keys.
fn structure(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut structure = Vec::new();
    for table in ["coverage_schema", "meta", "file", "context", "line_bits", "arc", "tracer"] {
        for pragma in ["table_info", "index_list", "foreign_key_list"] {
            structure.push(format!("{table} {pragma}"));
            let sql = format!(
                "select * from pragma_{pragma}('{table}') {}",
                if pragma == "index_list" { "where name not like 'hitlog_%'" } else { "" }
            );
            let mut statement = connection.prepare(&sql).unwrap();
            let columns = statement.column_count();
            let rows = statement.query_map([], |row| {
                // The number of an index depends on how many others there are.
                let first = usize::from(pragma == "index_list");
                (first..columns)
                    .map(|column| row.get::<_, rusqlite::types::Value>(column))
                    .collect::<Result<Vec<_>, _>>()
            });
            structure.extend(rows.unwrap().map(|row| format!("{:?}", row.unwrap())));
        }
    }
    let sql =
        "select m.name, i.name, i.seqno, i.cid from sqlite_master m join pragma_index_xinfo(m.name) i
        where m.type = 'index' and m.name like 'sqlite_%' order by 1, 3";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, Option<String>>(1)?,
            row.get::<_, i64>(2)?,
            row.get::<_, i64>(3)?,
        ))
    });
    structure.extend(
        rows.unwrap()
            .map(Result::unwrap)
            .filter(|row| !row.0.contains("hitlog"))
            .map(|row| format!("{row:?}")),
    );
    structure
}

#[test]
fn the_tables_are_those_of_coverage_py() {
    let Some(project) = Project::new() else { return };
    project.coverage("run --data-file=own.db program.py");
    let own = structure(&project.at("own.db"));
    assert!(own.len() > 40, "{own:?}");
    let mut log = program_log(&project);
    project.compact(&log, "out.db");
    assert_eq!(structure(&project.at("out.db")), own);
    log.arc("", &project.program(), 4, 10);
    project.compact_as(&log, "out.db", true);
    assert_eq!(structure(&project.at("out.db")), own);
}

#[test]
fn no_name_is_too_strange_for_a_report() {
    let Some(project) = Project::new() else { return };
    let mut log = program_log(&project);
    let long = vec![b'x'; 60_000];
    let names: [&[u8]; 12] = [
        b"",
        b"/a\xff\xfe.py",
        b"/b\0c.py",
        b"/new\nline.py",
        b"/\x01\x1b[0m.py",
        b"<template>",
        b"/../../etc/passwd",
        b"relative.py",
        "/s\u{fc}\u{df} \u{1f600}.py".as_bytes(),
        b"/\xed\xa0\x80.py",
        &long,
        b"/<&\"'>.py",
    ];
    for name in names {
        let (file, context) = (log.file(name), log.context(name));
        log.push(Record::Line { context, file, line: 1 });
    }
    project.compact(&log, "out.db");
    for command in [
        "report",
        "html --show-contexts -d html",
        "json --show-contexts -o o.json",
        "xml -o o.xml",
        "lcov -o o.lcov",
    ] {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, "-m"));
        project.coverage(&format!("{verb} -i --data-file=out.db {rest}"));
    }
}
