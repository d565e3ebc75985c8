//! `hitlog html`: what is written, and what is refused. The pages themselves are tested in a browser, by
//! `tests/browser/`. With HITLOG_TEST_PYTHON (`cargo xtask test` sets it) statements are compared with
//! coverage.py's.
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

#[path = "common/process_log.rs"]
mod process_log;

use hitlog::compactor::{Options, compact};
use hitlog::format::EndReason;
use hitlog::html;
use process_log::ProcessLog;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A source with a statement of two lines, a branch, and a line that nothing runs.
const CART: &str = "import os\n\ndef total(\n        a):\n    if a:\n        return 1\n    return 2\n";

/// A recording of two processes in `folder`: one ended clean, its child was cut short in a test.
fn recorded(folder: &Path, has_arcs: bool) -> PathBuf {
    let cart = folder.join("shop/cart.py");
    fs::create_dir_all(folder.join("shop")).unwrap();
    fs::write(&cart, CART).unwrap();
    let cart = cart.to_str().unwrap();
    let mut parent = ProcessLog::new(10);
    parent.line("", cart, 1).line("", cart, 3);
    for (test, line) in
        [("tests/test_cart.py::test_one", 6), ("tests/test_cart.py::test_two[</script>]", 7)]
    {
        let run = format!("{test}|run");
        parent.start(&run, u64::from(line) * 1_000_000);
        parent.line(&format!("{test}|setup"), cart, 5).line(&run, cart, 5).line(&run, cart, line);
        parent.stop(&run, u64::from(line) * 1_000_000 + 5_000);
    }
    if has_arcs {
        parent.arc("tests/test_cart.py::test_one|run", cart, 5, 6);
    }
    parent.end(EndReason::Closed, Some(1));
    let mut child = ProcessLog::new(11);
    child.header.parent_log_id = parent.header.log_id;
    child.header.ppid = 10;
    child.start("tests/test_cart.py::test_one|run", 2_000_000);
    child.line("tests/test_cart.py::test_one|run", &folder.join("gone.py").display().to_string(), 4);
    let logs = [parent, child].map(|log| log.write(folder));
    let output = folder.join("hitlog.db");
    compact(&logs, &Options::new(&output), &()).unwrap();
    output
}

/// What the script `name` of the report delivers.
fn delivered(report: &Path, name: &str) -> Value {
    let data = fs::read_dir(report).unwrap().flatten().find(|entry| entry.path().is_dir()).unwrap();
    let script = fs::read_to_string(data.path().join(format!("data-{name}.js"))).unwrap();
    let start = format!("hitlog.deliver(\"{name}\", ");
    let json = script.strip_prefix(&start).and_then(|rest| rest.strip_suffix(");\n"));
    serde_json::from_str(json.unwrap()).unwrap()
}

#[test]
fn a_report_tells_lines_tests_and_processes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let report = root.join("report");
    let summary = html::write(&recorded(&root, false), &report).unwrap();
    assert_eq!((summary.files, summary.tests, summary.processes), (2, 2, 2));

    let index = delivered(&report, "index");
    assert_eq!(index["root"], format!("{}/", root.display()));
    assert_eq!(index["files"]["path"], json!(["gone.py", "shop/cart.py"]));
    assert_eq!(index["files"]["state"], json!(["missing", "unknown"]));
    assert_eq!(index["files"]["tested"], json!([1, 3]));
    assert_eq!(index["files"]["outside"], json!([0, 2]));
    assert_eq!(index["files"]["missing"], json!([-1, 0]));
    assert_eq!(index["tests"]["lines"], json!([3, 2]));
    assert_eq!(index["tests"]["only"], json!([2, 1]));
    assert_eq!(index["tests"]["time"], json!([5, 5]));
    assert_eq!(index["processes"]["cut"], json!([[11, null, "tests/test_cart.py::test_one|run"]]));

    let page = delivered(&report, "file-1");
    assert_eq!(page["source"], CART);
    assert_eq!(page["marks"], "o-oottt");
    assert_eq!(page["tests"], json!([0, 0, 0, 0, 2, 1, 1]));
    assert_eq!(page["spans"], json!([[3, 4]]));
    assert_eq!(page["sets"], json!(["Cg==", "YA==", "IA==", "oA=="]));
    assert_eq!(page["runs"], json!([-1, 0, 0, 0, 1, 2, 0, 2, 1, 1, 1, 2, 1, 2, 3]));

    let tests = delivered(&report, "tests-0");
    assert_eq!(tests[0]["files"], json!([[0, 1, 1], [1, 2, 1]]));
    assert_eq!(tests[0]["processes"], json!([0, 1]));
    let processes = &delivered(&report, "processes")["processes"];
    assert_eq!((&processes[1]["parent"], &processes[1]["state"]), (&json!(0), &json!("cut")));
    assert_eq!(processes[1]["spans"], json!([0, 2, 2000, -1]));
}

#[test]
fn branches_that_went_one_way_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    html::write(&recorded(folder.path(), true), &report).unwrap();
    let page = delivered(&report, "file-1");
    assert_eq!(page["partial"], json!([5]));
    assert_eq!(page["arcs"], json!([5, 6, 1]));
    assert_eq!(page["marks"], "o-oottt", "lines are those of a recording without arcs");
}

#[test]
fn the_same_recording_gives_the_same_report_and_nothing_of_another_stays() {
    let folder = tempfile::tempdir().unwrap();
    let database = recorded(folder.path(), false);
    let report = folder.path().join("report");
    let bytes = || {
        let mut files: Vec<_> =
            walk(&report).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
        files.sort();
        files
    };
    html::write(&database, &report).unwrap();
    let first = bytes();
    html::write(&database, &report).unwrap();
    assert!(first == bytes());
    Connection::open(&database).unwrap().execute("update file set path = path || 'x'", []).unwrap();
    html::write(&database, &report).unwrap();
    assert_eq!(bytes().len(), first.len());
    assert!(first != bytes());
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn hostile_names_stay_text() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = "</script><script>alert(1)</script>\u{1b}[31m\u{202e}\u{2028}\"'`\\<!--";
    let mut log = ProcessLog::new(1);
    log.line(&format!("{hostile}|run"), &format!("/src/{hostile}.py"), 1);
    log.header.argv = format!("python\0{hostile}\0").into_bytes();
    let log = log.write(folder.path());
    let database = folder.path().join("hitlog.db");
    compact(&[log], &Options::new(&database), &()).unwrap();
    let report = folder.path().join("report");
    html::write(&database, &report).unwrap();
    for path in walk(&report).iter().filter(|path| path.to_string_lossy().contains("data-")) {
        let text = fs::read_to_string(path).unwrap();
        let is_raw = |char: char| char.is_control() && char != '\n' || matches!(char, '<' | '\u{2028}');
        assert!(!text.contains(is_raw), "{}: {text}", path.display());
    }
    assert!(!fs::read_to_string(report.join("index.html")).unwrap().contains("alert"));
    let index = delivered(&report, "index");
    assert_eq!(index["tests"]["name"][0], hostile);
}

#[test]
fn a_file_of_coverage_py_gives_a_report_without_processes() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join(".coverage");
    let schema = "create table coverage_schema (version integer); insert into coverage_schema values (7);
        create table meta (key text, value text); insert into meta values ('version', '7.17.3'), ('has_arcs', '0');
        create table file (id integer primary key, path text); insert into file values (1, '/nosuch/a.py');
        create table context (id integer primary key, context text); insert into context values (1, ''), (2, 't');
        create table line_bits (file_id integer, context_id integer, numbits blob);
        insert into line_bits values (1, 1, x'06'), (1, 2, x'04'), (1, 99, x'10');
        create table arc (file_id integer, context_id integer, fromno integer, tono integer);
        create table tracer (file_id integer primary key, tracer text);";
    Connection::open(&database).unwrap().execute_batch(schema).unwrap();
    let report = folder.path().join("report");
    let summary = html::write(&database, &report).unwrap();
    assert_eq!((summary.files, summary.tests, summary.processes), (1, 1, 0));
    let index = delivered(&report, "index");
    assert_eq!(
        (&index["writer"], &index["tests"]["time"]),
        (&json!("coverage.py 7.17.3"), &json!([-1]))
    );
    assert_eq!(delivered(&report, "file-0")["marks"], "ot-o");
}

#[test]
fn what_cannot_be_read_or_written_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let database = recorded(folder.path(), false);
    let said = |database: &Path, output: &Path| html::write(database, output).unwrap_err().to_string();
    assert!(said(&at("no.db"), &at("out")).contains("no.db: no such file. Make it with"));
    assert!(said(folder.path(), &at("out")).contains("this is a directory"));
    assert!(said(&at("shop/cart.py"), &at("out")).contains("cart.py: this is no SQLite database"));
    Connection::open(at("app.db")).unwrap().execute_batch("create table t (x)").unwrap();
    assert!(said(&at("app.db"), &at("out")).contains("app.db: this is a database of another program"));
    let mut torn = fs::read(&database).unwrap();
    torn.truncate(torn.len() / 2);
    fs::write(at("torn.db"), torn).unwrap();
    assert!(said(&at("torn.db"), &at("out")).contains("torn.db: cannot be read ("));
    assert!(!at("out").join("index.html").exists());
    assert!(
        said(&database, &at("shop")).contains("shop: this is a folder with other files, and no report")
    );
    assert_eq!(walk(&at("shop")), [at("shop/cart.py")]);
    assert!(said(&database, &at("shop/cart.py/x")).contains("cannot make this folder"));
}

#[test]
fn a_folder_without_permission_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let database = recorded(folder.path(), false);
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(locked.join("probe"), "").is_ok() {
        return unwritable_for_root(&database);
    }
    let error = html::write(&database, &locked.join("report")).unwrap_err().to_string();
    assert!(
        error.contains("locked/report: cannot make this folder (") && error.contains("-o."),
        "{error}"
    );
}

/// A file size limit fails a write as a full disk does.
#[test]
fn a_report_that_could_not_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    recorded(folder.path(), false);
    let limited = "trap '' XFSZ; ulimit -f 4; exec \"$0\" html -o new/report";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_hitlog")]).current_dir(folder.path());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("style.css: cannot write this file (File too large"), "{said}");
    assert!(!folder.path().join("new").exists());
}

/// Permissions do not hold root off: `/proc` does.
fn unwritable_for_root(database: &Path) {
    let error = html::write(database, "/proc/hitlog-report".as_ref()).unwrap_err().to_string();
    assert!(error.starts_with("/proc/hitlog-report: cannot make this folder ("), "{error}");
}

#[test]
fn the_command_says_what_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    recorded(folder.path(), false);
    let hitlog = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hitlog"));
        let output = command.arg("html").args(arguments).current_dir(folder.path()).output().unwrap();
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), stdout, stderr)
    };
    let (code, stdout, stderr) = hitlog(&["-o", "report"]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert_eq!(stderr, "hitlog: 2 files, 2 tests -> report/index.html\n");
    let (code, stdout, _) = hitlog(&["--json", "-o", "report"]);
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    let size: u64 =
        walk(&folder.path().join("report")).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!((code, summary["bytes"].as_u64(), &summary["tests"]), (Some(0), Some(size), &json!(2)));
    let (code, _, stderr) = hitlog(&["--db", "nosuch.db"]);
    assert_eq!((code, stderr.lines().count()), (Some(2), 1));
    assert!(stderr.starts_with("hitlog: nosuch.db: no such file."), "{stderr}");
}

/// Makes a data file in which line 1 of each file of some packages of the standard library ran, and prints
/// which statements coverage.py misses in them.
const MISSED_BY_COVERAGE_PY: &str = "
import coverage, glob, json, os, sys
root = os.path.realpath(os.path.dirname(os.__file__))
packages = ['asyncio', 'email', 'json', 'logging', 'unittest', 'importlib', 'xml/dom']
files = [file for package in packages for file in glob.glob(f'{root}/{package}/*.py')]
data = coverage.CoverageData(basename=sys.argv[1])
data.add_lines({file: [1] for file in files})
data.write()
measured = coverage.Coverage(data_file=sys.argv[1], config_file=False)
measured.load()
json.dump({file: measured.analysis2(file)[3] for file in files}, sys.stdout)
";

/// The statements that the report says did not run are those of coverage.py, which compiles the source: but
/// for what a compiler leaves out, and annotations, of which only it knows whether code comes from them.
#[test]
fn statements_are_those_of_coverage_py() {
    let Ok(python) = std::env::var("HITLOG_TEST_PYTHON") else {
        println!("skipped: HITLOG_TEST_PYTHON names no Python with coverage.py");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let [database, report] = ["std.db", "report"].map(|name| folder.path().join(name));
    let mut command = Command::new(python);
    let output = command.args(["-c", MISSED_BY_COVERAGE_PY]).arg(&database).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let missed: BTreeMap<String, BTreeSet<u64>> = serde_json::from_slice(&output.stdout).unwrap();
    html::write(&database, &report).unwrap();
    let index = delivered(&report, "index");
    let root = index["root"].as_str().unwrap();
    let (mut same, mut different) = (0, Vec::new());
    for (number, path) in index["files"]["path"].as_array().unwrap().iter().enumerate() {
        let path = path.as_str().unwrap();
        let ours = not_run(&delivered(&report, &format!("file-{number}")));
        let theirs = &missed[&format!("{root}{path}")];
        same += ours.intersection(theirs).count();
        different.extend(ours.symmetric_difference(theirs).map(|line| format!("{path}:{line}")));
    }
    assert!(same > 10_000, "{same} statements");
    assert!(different.len() * 1000 < same, "{same} are the same, these differ: {different:?}");
}

/// The first lines of statements that did not run.
fn not_run(page: &Value) -> BTreeSet<u64> {
    let spans = page["spans"].as_array().unwrap().iter();
    let continued: BTreeSet<u64> =
        spans.flat_map(|span| span[0].as_u64().unwrap() + 1..=span[1].as_u64().unwrap()).collect();
    let marks = (1..).zip(page["marks"].as_str().unwrap().bytes());
    let missing = marks.filter(|(_, mark)| *mark == b'm').map(|(line, _)| line);
    missing.filter(|line| !continued.contains(line)).collect()
}
