//! `hitlog who`, `what`, `show` and `diff`: what they print, and how they end.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use hitlog::Recorder;
use rusqlite::Connection;
use serde_json::Value;

use crate::folder::{Ended, Folder};

const SOURCE: &str = "def total(cart):\n    total = 0\n    for item in cart:\n        total += item\n";

/// A folder with a program and a recording of it, `hitlog.db`.
fn recorded() -> Folder {
    let folder = Folder::new();
    record(
        &folder,
        "hitlog.db",
        &[("tests/test_cart.py::test_total[a, b]", &[2, 3, 4]), ("t::empty", &[2])],
    );
    folder
}

fn record(folder: &Folder, output: &str, tests: &[(&str, &[u32])]) {
    let path = fs::canonicalize(folder.path()).expect("it is there").join("cart.py");
    fs::write(&path, format!("{SOURCE}# {output}\n")).expect("writable");
    let run = folder.path().join(format!(".hitlog/{output}"));
    fs::create_dir_all(run.parent().expect("above")).expect("writable");
    let recorder = Recorder::open(&run).expect("a log");
    let file = recorder.file(&path);
    recorder.line(file, 1);
    for (test, lines) in tests {
        let _context = recorder.context(format!("{test}|run"));
        lines.iter().for_each(|line| recorder.line(file, *line));
    }
    drop(recorder);
    let compacted = folder.hitlog(["compact", &format!(".hitlog/{output}"), "-o", output]);
    assert_eq!(compacted.code, Some(0), "{compacted:?}");
}

fn json(ended: &Ended) -> Value {
    assert_eq!(ended.stderr, "");
    serde_json::from_str(&ended.stdout).expect("JSON")
}

#[test]
fn who_shows_the_line_its_tests_and_their_time() {
    let folder = recorded();
    let ended = folder.hitlog(["who", "cart.py:3"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines[0], "cart.py:3    for item in cart:");
    assert!(
        lines[1].starts_with("  tests/test_cart.py::test_total[a, b]  ") && lines[1].ends_with(" ms")
    );
    assert!(lines[2].starts_with("1 test, ") && lines.len() == 3, "{lines:?}");
    assert!(folder.hitlog(["who", "cart.py:2-9"]).stdout.contains("\n2 tests, "));
    let names = folder.hitlog(["who", "cart.py:2", "--format=names"]).stdout;
    assert_eq!(names, "t::empty\ntests/test_cart.py::test_total[a, b]\n");

    fs::write(folder.path().join("cart.py"), "changed\n".repeat(9)).expect("writable");
    let changed = folder.hitlog(["who", "cart.py:3"]).stdout;
    let remembered = "cart.py:3    for item in cart:   (the file changed since)\n";
    assert!(changed.starts_with(remembered), "{changed}");
    fs::remove_file(folder.path().join("cart.py")).expect("it is there");
    let gone = folder.hitlog(["who", "cart.py:3"]).stdout;
    assert!(gone.starts_with("cart.py:3    for item in cart:\n"), "{gone}");
}

#[test]
fn who_has_a_sentence_for_each_way_of_knowing_nothing() {
    let folder = recorded();
    fs::write(folder.path().join("other.py"), "").expect("writable");
    for (place, code, words) in [
        ("cart.py:1", 1, "ran outside of tests only"),
        ("cart.py:5", 1, "never ran: no test reaches this"),
        ("cart.py:77", 1, "the file has no such line: it ends with line 5\n"),
        ("cart.py:99999999999", 1, "the file has no such line: it ends with line 5\n"),
        (".hitlog", 2, "hitlog: .hitlog: this is a folder."),
        (":3", 2, "hitlog: FILE:LINE ':3': name a file"),
        ("other.py:1", 2, "hitlog: other.py: not measured"),
        (
            "crat.py:1",
            2,
            "hitlog: crat.py: no such file, neither in hitlog.db nor on disk. Is it cart.py?",
        ),
        ("cart.py:3-1", 2, "the second line comes before the first"),
    ] {
        let ended = folder.hitlog(["who", place]);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let said = if code == 2 { &ended.stderr } else { &ended.stdout };
        assert!(said.contains(words), "{ended:?}");
    }
}

/// In write-ahead mode SQLite wants to make files beside the database, even to read it.
#[test]
fn a_database_is_read_where_nothing_may_be_written() {
    let folder = recorded();
    let database = folder.path().join("hitlog.db");
    let connection = Connection::open(&database).expect("a database");
    connection
        .execute_batch("pragma journal_mode = wal; update meta set value = value")
        .expect("writable");
    connection.close().expect("nobody else has it open");
    for (path, mode) in [(database.as_path(), 0o444), (folder.path(), 0o555)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }
    let mut command = folder.command(["show"]);
    if rustix::process::geteuid().is_root() {
        const NOBODY: u32 = 65534;
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let output = match output {
        Ok(output) => Ended::from(output),
        Err(error) => return println!("skipped: nobody cannot start hitlog here: {error}"),
    };
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
    assert!(output.stdout.starts_with("2 tests  1 file  4 lines"), "{output:?}");
}

#[test]
fn who_speaks_json_and_to_editors_and_to_github() {
    let folder = recorded();
    let answer = json(&folder.hitlog(["who", "cart.py:2-3", "--json"]));
    assert_eq!(answer["tests"][1]["test"], "tests/test_cart.py::test_total[a, b]");
    assert_eq!(answer["tests"][1]["lines"], serde_json::json!([[2, 3]]));

    let lenses = json(&folder.hitlog(["who", "cart.py", "--format=lsp"]));
    assert_eq!(lenses.as_array().map(Vec::len), Some(4));
    let lens = &lenses[1];
    let position = |line, character| serde_json::json!({"line": line, "character": character});
    assert_eq!(lens["range"]["start"], position(1, 0));
    assert_eq!(lens["range"]["end"], position(1, 13));
    assert!(lens["command"]["title"].as_str().is_some_and(|title| title.starts_with("2 tests, ")));
    let argument = &lens["command"]["arguments"][0];
    let uri = argument["uri"].as_str().expect("text");
    assert!(uri.starts_with("file:///") && uri.ends_with("/cart.py"), "{uri}");
    assert_eq!(argument["tests"][0]["test"], "t::empty");

    let notices = folder.hitlog(["who", "cart.py:2-4", "--format=github"]).stdout;
    let lines: Vec<&str> = notices.lines().collect();
    assert_eq!(lines.len(), 2, "lines 3 and 4 have the same tests: {notices}");
    assert!(
        lines[0].starts_with("::notice file=cart.py,line=2,endLine=2,title=2 tests%2C "),
        "{notices}"
    );
    assert!(
        lines[0].contains(" ms::t::empty (") && lines[0].contains("%0Atests/test_cart.py"),
        "{notices}"
    );
    assert!(
        lines[1].starts_with("::notice file=cart.py,line=3,endLine=4,title=1 test%2C "),
        "{notices}"
    );
    let none = folder.hitlog(["who", "cart.py:50-60", "--format=github"]);
    assert_eq!(none.code, Some(1));
    assert_eq!(
        none.stdout,
        "::warning file=cart.py,line=50,endLine=60,title=no tests::No test ran this.\n"
    );
}

#[test]
fn what_shows_lines_and_those_of_nobody_else() {
    let folder = recorded();
    let ended = folder.hitlog(["what", "test_total"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("\n  cart.py  2-4\n3 lines, in 1 file\n"), "{ended:?}");
    let only = folder.hitlog(["what", "test_total", "--only"]).stdout;
    assert!(only.contains("\n  cart.py  3-4\n2 lines that nothing else runs, in 1 file\n"), "{only}");
    assert_eq!(folder.hitlog(["what", "t::empty", "--only"]).code, Some(1));
    let answer = json(&folder.hitlog(["what", "empty", "--json"]));
    assert_eq!(
        (&answer["test"], &answer["files"][0]["lines"]),
        (&"t::empty".into(), &serde_json::json!([[2, 2]]))
    );
    let unknown = folder.hitlog(["what", "test_totla"]);
    assert_eq!(unknown.code, Some(2));
    assert!(
        unknown.stderr.contains("no such test in hitlog.db. Is it test_total[a, b]?"),
        "{unknown:?}"
    );
}

#[test]
fn names_that_are_no_text_are_found_and_shown_on_one_line() {
    let folder = Folder::new();
    let run = folder.path().join("run");
    let recorder = Recorder::open(&run).expect("a log");
    let file = OsStr::from_bytes(b"/src/caf\xe9\x1b[31m.py");
    {
        let _context = recorder.context(b"t.py::test_a[\xe9\n]|run");
        recorder.line(recorder.file(file), 7);
    }
    drop(recorder);
    folder.hitlog(["compact", "run"]);
    let who = folder.hitlog([OsStr::new("who"), OsStr::from_bytes(b"caf\xe9\x1b[31m.py:7")]);
    assert_eq!((who.code, who.stderr.as_str()), (Some(0), ""));
    assert!(who.stdout.starts_with("/src/caf\\xe9 [31m.py:7\n  t.py::test_a[\\xe9 ]  "), "{who:?}");
    let what = folder.hitlog([OsStr::new("what"), OsStr::from_bytes(b"test_a[\xe9\n]")]);
    assert!(what.stdout.starts_with("t.py::test_a[\\xe9 ]  "), "{what:?}");
    let nameless = folder.hitlog(["what", ""]);
    assert_eq!(nameless.code, Some(2));
    assert!(nameless.stderr.starts_with("hitlog: TEST '': name a test"), "{nameless:?}");
}

#[test]
fn show_sums_the_recording_up() {
    let folder = recorded();
    let shown = folder.hitlog(["show"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    assert!(
        shown.stdout.starts_with("2 tests  1 file  4 lines, 3 of them run by tests\n"),
        "{shown:?}"
    );
    for part in [
        "\n1 process, 1 ended clean\n",
        "\nslowest tests (",
        "\nleast tested files\n",
        "  1  cart.py\n",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    let glance = json(&folder.hitlog(["show", "--json"]));
    assert_eq!(glance["processes"][0]["state"], "clean");
    assert_eq!(glance["files"][0]["tests"], 2);
}

#[test]
fn diff_ends_as_diff_does() {
    let folder = recorded();
    record(
        &folder,
        "after.db",
        &[("tests/test_cart.py::test_total[a, b]", &[2, 3]), ("t::more", &[2])],
    );
    let same = folder.hitlog(["diff", "hitlog.db", "hitlog.db"]);
    assert_eq!((same.code, same.stdout.as_str(), same.stderr.as_str()), (Some(0), "", ""));
    let differ = folder.hitlog(["diff", "hitlog.db", "after.db"]);
    assert_eq!(differ.code, Some(1), "{differ:?}");
    let expected = "\
1 test only in hitlog.db:
  t::empty
1 test only in after.db:
  t::more
1 file with other lines:
  cart.py  - 4   (the file itself changed)
1 test that ran other lines:
  tests/test_cart.py::test_total[a, b]
    cart.py  - 4   (the file itself changed)
";
    assert_eq!(differ.stdout, expected);
    let brief = folder.hitlog(["diff", "-q", "hitlog.db", "after.db"]);
    assert_eq!((brief.code, brief.stdout.as_str()), (Some(1), "hitlog.db and after.db differ\n"));
    let answer = json(&folder.hitlog(["diff", "hitlog.db", "after.db", "--json"]));
    assert_eq!(answer["files"][0]["lost"], serde_json::json!([[4, 4]]));
    let trouble = folder.hitlog(["diff", "hitlog.db", "none.db"]);
    assert_eq!(trouble.code, Some(2));
    assert!(trouble.stderr.starts_with("hitlog: none.db: no such file."), "{trouble:?}");
}

#[test]
fn merge_maps_labels_and_says_what_came_of_it() {
    let folder = recorded();
    record(&folder, "other.db", &[("t::more", &[9])]);
    let ended = folder.hitlog(["merge", "hitlog.db", "--label", "ci=other.db", "-o", "all.db"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
    assert!(
        ended.stderr.starts_with("2 recordings: 2 logs  4 contexts  1 file  5 lines -> all.db ("),
        "{ended:?}"
    );
    let names = folder.hitlog(["who", "cart.py:9", "--db", "all.db", "--format=names"]).stdout;
    assert_eq!(names, "ci|t::more\n");
    let here = fs::canonicalize(folder.path()).expect("it is there");
    let map = format!("{}=/elsewhere", here.display());
    let ended = folder.hitlog(["merge", "hitlog.db", "-o", "mapped.db", "--map", &map, "--json"]);
    assert_eq!(json(&ended)["mapped"], 1);
    fs::write(folder.path().join(".coveragerc"), "[paths]\nsource =\n    .\n    /elsewhere\n")
        .expect("writable");
    folder.hitlog(["merge", "mapped.db", "-o", "back.db"]);
    assert_eq!(folder.hitlog(["diff", "hitlog.db", "back.db"]).code, Some(0));
    let wrong = folder.hitlog(["merge", "hitlog.db", "none.db", "-o", "all.db"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.starts_with("hitlog: none.db: no such file."), "{wrong:?}");
    assert_eq!(folder.hitlog(["merge", "-o", "all.db"]).code, Some(2));
    assert_eq!(folder.hitlog(["merge", "a.db", "-o", "all.db", "--map", "x"]).code, Some(2));
}
