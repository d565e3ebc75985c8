//! The questions that a compacted file answers, whether lines or arcs were recorded, and the mistakes that get
//! a sentence instead.

#[path = "common/process_log.rs"]
mod process_log;

use hitlog::compactor::{Options, compact};
use hitlog::query::{Database, Error, diff, show, what, who};
use process_log::ProcessLog;
use proptest::prelude::*;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const MS: u64 = 1_000_000;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn compact(&self, name: &str, logs: &[ProcessLog]) -> Database {
        let run = self.at(&format!("{name}.run"));
        std::fs::create_dir(&run).unwrap();
        logs.iter().for_each(|log| drop(log.write(&run)));
        std::fs::write(run.join("run.json"), "{}").unwrap();
        compact(&[run], &Options::new(self.at(name)), &()).unwrap();
        Database::open(self.at(name)).unwrap()
    }

    /// A database that these statements make.
    fn database(&self, name: &str, sql: &str) -> PathBuf {
        Connection::open(self.at(name)).unwrap().execute_batch(sql).unwrap();
        self.at(name)
    }
}

/// Two tests in three phases, a child of the second, and the lines that ran at import.
fn cart(has_arcs: bool) -> Vec<ProcessLog> {
    let (path, mut worker) = ("/src/shop/cart.py", ProcessLog::new(10));
    for line in 1..=9 {
        worker.line("", path, line);
    }
    let tests =
        [("tests/test_cart.py::test_discount", 88, 3), ("tests/test_cart.py::test_full", 90, 5)];
    for (start, (test, last, ms)) in (0..).zip(tests) {
        for (step, phase) in (0..).zip(["setup", "run", "teardown"]) {
            let context = format!("{test}|{phase}");
            worker.start(&context, (start * 100 + step * 10) * MS);
            worker.stop(&context, (start * 100 + step * 10 + ms) * MS);
            let lines = if phase == "run" { 86..=last } else { 5..=5 };
            for line in lines {
                worker.line(&context, path, line);
            }
        }
    }
    if has_arcs {
        worker.arc("tests/test_cart.py::test_full|run", path, 90, -86);
    }
    let mut child = ProcessLog::new(11);
    let context = "tests/test_cart.py::test_full|run";
    child.header.ppid = 10;
    child.inherit(context).stop(context, 112 * MS);
    child.line(context, path, 90).line(context, path, 93);
    vec![worker, child]
}

#[test]
fn who_tells_tests_and_not_their_phases() {
    for has_arcs in [false, true] {
        let folder = Folder::new();
        let database = folder.compact("out.db", &cart(has_arcs));
        assert_eq!(database.has_arcs(), has_arcs);
        let file = database.find_file("shop/cart.py").unwrap();
        let answer = who(&database, file, Some(88..=92)).unwrap();
        let tests: Vec<_> = answer
            .tests
            .iter()
            .map(|test| (test.test.as_str(), test.lines.to_string(), test.duration_ns))
            .collect();
        let expected = [
            ("tests/test_cart.py::test_discount", "88".to_owned(), Some(9 * MS)),
            ("tests/test_cart.py::test_full", "88-90".to_owned(), Some(15 * MS)),
        ];
        assert_eq!(tests, expected, "a child's time is in its parent's");
        assert_eq!(answer.duration_ns(), 24 * MS);
        assert!(answer.outside_tests.is_empty());

        let imported = who(&database, file, Some(1..=5)).unwrap();
        assert_eq!(imported.outside_tests.to_string(), "1-5");
        assert_eq!(imported.tests.len(), 2, "setup and teardown ran line 5");
        let never = who(&database, file, Some(91..=92)).unwrap();
        assert!(never.tests.is_empty() && never.lines.is_empty());
        let all = who(&database, file, None).unwrap();
        assert_eq!(all.lines.to_string(), "1-9, 86-90, 93");
    }
}

#[test]
fn who_tells_what_ran_in_children_only() {
    for has_arcs in [false, true] {
        let folder = Folder::new();
        let database = folder.compact("out.db", &cart(has_arcs));
        let file = database.find_file("shop/cart.py").unwrap();
        let in_children = |asked| {
            let answer = who(&database, file, asked).unwrap();
            answer.tests.iter().map(|test| test.in_children.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(in_children(Some(93..=93)), ["93"]);
        assert_eq!(in_children(Some(90..=90)), [""], "the test itself ran it, too");
        assert_eq!(in_children(None), ["", "93"]);
    }
}

#[test]
fn only_processes_that_were_started_in_a_context_are_its_children() {
    let (folder, context, path) = (Folder::new(), "t.py::a|run", "/a.py");
    // Its second segment goes on in a context that began before, as all segments do.
    let first = ProcessLog::new(20).start(context, 5).line(context, path, 1).clone();
    let mut second = ProcessLog::new(21);
    second.header.first_log_id = first.header.log_id;
    second.header.segment = 1;
    second.inherit(context).line(context, path, 2);
    // A child goes on in a second segment, too.
    let child = ProcessLog::new(22).inherit(context).line(context, path, 3).clone();
    let mut child_goes_on = ProcessLog::new(23);
    child_goes_on.header.first_log_id = child.header.log_id;
    child_goes_on.header.segment = 1;
    child_goes_on.inherit(context).line(context, path, 4).line("t.py::b|run", path, 5);
    let logs = [first, second, child, child_goes_on];
    for memory_bytes in [1, 1 << 30] {
        let run = folder.at(&format!("run{memory_bytes}"));
        std::fs::create_dir(&run).unwrap();
        let paths: Vec<_> = logs.iter().map(|log| log.write(&run)).collect();
        let output = folder.at("out.db");
        compact(&paths, &Options { memory_bytes, ..Options::new(&output) }, &()).unwrap();
        let database = Database::open(&output).unwrap();
        let answer = who(&database, database.find_file(path).unwrap(), None).unwrap();
        let [a, b] = &answer.tests[..] else { panic!("{answer:?}") };
        assert_eq!((a.lines.to_string(), a.in_children.to_string()), ("1-4".into(), "3-4".into()));
        assert_eq!((b.lines.to_string(), b.in_children.to_string()), ("5".into(), String::new()));
    }
}

#[test]
fn what_tells_lines_and_those_that_nothing_else_runs() {
    for has_arcs in [false, true] {
        let folder = Folder::new();
        let database = folder.compact("out.db", &cart(has_arcs));
        let test = database.find_test("test_full").unwrap();
        let all = what(&database, test, false).unwrap();
        assert_eq!(all.files[0].lines.to_string(), "5, 86-90, 93");
        let only = what(&database, test, true).unwrap();
        assert_eq!(only.files[0].lines.to_string(), "89-90, 93");
        let other = database.find_test("tests/test_cart.py::test_discount|run").unwrap();
        assert!(what(&database, other, true).unwrap().files.is_empty());
    }
}

#[test]
fn show_tells_processes_tests_and_files() {
    let folder = Folder::new();
    let mut logs = cart(false);
    logs[0].line("", "/src/shop/unused.py", 1).line("", "/src/tests/test_cart.py", 1);
    let glance = show(&folder.compact("out.db", &logs)).unwrap();
    let states = glance.processes.iter().map(|process| (process.pid, process.state.as_str()));
    assert_eq!(states.collect::<Vec<_>>(), [(Some(10), "cut"), (Some(11), "cut")]);
    let tests: Vec<_> =
        glance.tests.iter().map(|test| (test.test.as_str(), test.duration_ns)).collect();
    let full = ("tests/test_cart.py::test_full", Some(15 * MS));
    assert_eq!(tests, [full, ("tests/test_cart.py::test_discount", Some(9 * MS))]);
    let files =
        glance.files.iter().map(|file| (file.path.as_str(), file.tests, file.lines, file.has_tests));
    let expected = [
        ("/src/shop/unused.py", 0, 1, false),
        ("/src/tests/test_cart.py", 0, 1, true),
        ("/src/shop/cart.py", 2, 15, false),
    ];
    assert_eq!(files.collect::<Vec<_>>(), expected);
    assert_eq!((glance.lines, glance.lines_in_tests), (17, 7));
}

#[test]
fn diff_tells_what_is_not_in_both() {
    let folder = Folder::new();
    let before = folder.compact("before.db", &cart(false));
    assert!(
        diff(&before, &folder.compact("arcs.db", &cart(true))).unwrap().is_empty(),
        "the same lines"
    );
    let mut logs = cart(false);
    logs[0].line("tests/test_cart.py::test_full|run", "/src/shop/cart.py", 99);
    logs[0].line("tests/test_cart.py::test_extra|run", "/src/shop/extra.py", 1);
    let changes = diff(&before, &folder.compact("after.db", &logs)).unwrap();
    assert_eq!(changes.tests_added, ["tests/test_cart.py::test_extra"]);
    assert!(changes.tests_gone.is_empty() && changes.have_common_files);
    let files: Vec<_> = changes
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.gained.to_string(), file.lost.to_string()))
        .collect();
    let gained = |path, lines: &str| (path, lines.to_owned(), String::new());
    assert_eq!(files, [gained("/src/shop/cart.py", "99"), gained("/src/shop/extra.py", "1")]);
    assert_eq!(changes.tests.len(), 1, "a test of one recording only is told once: {changes:?}");
    assert_eq!(changes.tests[0].test, "tests/test_cart.py::test_full");
    let back = diff(&Database::open(folder.at("after.db")).unwrap(), &before).unwrap();
    assert_eq!(back.tests_gone, changes.tests_added);
    assert_eq!(back.files[0].lost, changes.files[0].gained);
}

#[test]
fn every_form_of_arcs_gives_the_same_answers() {
    let folder = Folder::new();
    let compact_form = folder.compact("compact.db", &cart(true));
    let run = folder.at("compact.db.run");
    let plain = Options { plain_tables: true, ..Options::new(folder.at("plain.db")) };
    compact(&[run], &plain, &()).unwrap();
    let plain = Database::open(folder.at("plain.db")).unwrap();
    assert!(diff(&compact_form, &plain).unwrap().is_empty());
    assert_eq!(show(&compact_form).unwrap(), show(&plain).unwrap());
    for database in [&compact_form, &plain] {
        // As `coverage combine --append` writes.
        let connection = Connection::open(database.path()).unwrap();
        let context = "select id from context where context like '%test_full|run'";
        let sql = format!("insert into arc select 1, id, 300, 301 from ({context}) as context");
        connection.execute(&sql, []).unwrap();
        let answer = who(database, database.find_file("cart.py").unwrap(), Some(100..=999)).unwrap();
        assert_eq!(answer.tests[0].lines.to_string(), "300-301");
        let test = database.find_test("test_full").unwrap();
        let lines = &what(database, test, false).unwrap().files[0].lines;
        assert_eq!(lines.to_string(), "5, 86-90, 93, 300-301");
        let mut arcs = BTreeSet::new();
        let file = database.find_file("cart.py").unwrap();
        database
            .arcs_of_file(file, |_, from, to| {
                arcs.insert((from, to));
            })
            .unwrap();
        assert!(arcs.contains(&(300, 301)) && arcs.contains(&(90, -86)), "{arcs:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn answers_are_those_of_the_records(
        hits in prop::collection::vec((0..5u32, 0..3u32, 1..40u32), 1..120),
        arcs in prop::collection::vec((0..5u32, 0..3u32, -9..40i32, -9..40i32), 0..40),
        has_arcs: bool,
    ) {
        let mut log = ProcessLog::new(1);
        let name = |test: u32| if test == 0 { String::new() } else { format!("t{test}") };
        let context = |test: u32, line: u32| match (test, line % 3) {
            (0, _) => String::new(),
            (_, 0) => format!("t{test}|setup"),
            _ => format!("t{test}|run"),
        };
        let mut ran: BTreeMap<(u32, u32), BTreeSet<u32>> = BTreeMap::new();
        for (test, file, line) in hits {
            log.line(&context(test, line), &format!("/f{file}.py"), line);
            ran.entry((file, test)).or_default().insert(line);
        }
        for (test, file, from, to) in arcs.into_iter().filter(|_| has_arcs) {
            log.arc(&context(test, 1), &format!("/f{file}.py"), from, to);
            let lines = [from, to].into_iter().filter_map(|end| u32::try_from(end).ok());
            ran.entry((file, test)).or_default().extend(lines.filter(|line| *line > 0));
        }
        let folder = Folder::new();
        let database = folder.compact("out.db", &[log]);
        for ((file, test), lines) in ran.iter().filter(|(_, lines)| !lines.is_empty()) {
            let path = format!("/f{file}.py");
            let answer = who(&database, database.find_file(&path).unwrap(), None).unwrap();
            let of_test = answer.tests.iter().find(|found| found.test == name(*test));
            let found = of_test.map_or(&answer.outside_tests, |test| &test.lines);
            prop_assert_eq!(&found.iter().collect::<BTreeSet<_>>(), lines);
            if *test > 0 {
                let mut own = lines.clone();
                let others = ran.iter().filter(|((of, by), _)| of == file && by != test);
                others.for_each(|(_, lines)| own = &own - lines);
                let test = database.find_test(&name(*test)).unwrap();
                for (only, expected) in [(false, lines), (true, &own)] {
                    let answer = what(&database, test, only).unwrap();
                    let lines = answer.files.iter().filter(|found| found.path == path);
                    let lines: BTreeSet<u32> = lines.flat_map(|found| found.lines.iter()).collect();
                    prop_assert_eq!(&lines, expected);
                }
            }
        }
        prop_assert!(diff(&database, &database).unwrap().is_empty());
    }
}

#[test]
fn a_name_may_be_given_in_part_but_not_in_doubt() {
    let folder = Folder::new();
    let mut log = ProcessLog::new(1);
    for (test, path) in [
        ("a.py::test_x", "/p/one/cart.py"),
        ("b.py::test_x", "/p/two/cart.py"),
        ("b.py::test_xy", "/p/b"),
    ] {
        log.line(&format!("{test}|run"), path, 1);
    }
    let database = folder.compact("out.db", &[log]);
    assert_eq!(database.find_file("two/cart.py").unwrap().path, "/p/two/cart.py");
    assert_eq!(database.find_file("/p/../p/./b").unwrap().path, "/p/b");
    let error = database.find_file("cart.py").unwrap_err();
    assert!(matches!(error, Error::Ambiguous { .. }), "{error}");
    assert!(error.to_string().contains("2 files go by that name"), "{error}");
    let error = database.find_file("two/crat.py").unwrap_err();
    assert!(error.to_string().contains("Is it two/cart.py"), "{error}");
    let program = std::env::current_exe().unwrap();
    let error = database.find_file(program.to_str().unwrap()).unwrap_err();
    assert!(matches!(error, Error::NotMeasured { .. }), "{error}");

    assert_eq!(database.find_test("b.py::test_x").unwrap().name, "b.py::test_x");
    assert_eq!(database.find_test("test_xy").unwrap().name, "b.py::test_xy");
    assert_eq!(database.find_test("a.py").unwrap().name, "a.py::test_x");
    let error = database.find_test("test_x").unwrap_err();
    assert!(error.to_string().contains("a.py::test_x, b.py::test_x."), "{error}");
    let error = database.find_test("b.py::tets_x").unwrap_err();
    assert!(error.to_string().contains("Is it b.py::test_x"), "{error}");
}

const COVERAGE_TABLES: &str = "
create table coverage_schema (version integer);
create table meta (key text, value text, unique (key));
create table file (id integer primary key, path text, unique (path));
create table context (id integer primary key, context text, unique (context));
create table line_bits (file_id integer, context_id integer, numbits blob, unique (file_id, context_id));
create table arc (file_id integer, context_id integer, fromno integer, tono integer);
create table tracer (file_id integer primary key, tracer text);
insert into coverage_schema values (7);
insert into meta values ('has_arcs', '0');
insert into file values (5, '/src/a.py');
insert into context values (3, ''), (9, 't.py::test_a|run');
insert into line_bits values (5, 3, x'06'), (5, 9, x'0C');
";

#[test]
fn a_file_of_coverage_py_answers_what_it_can() {
    let folder = Folder::new();
    let database = Database::open(folder.database("own.db", COVERAGE_TABLES)).unwrap();
    let answer = who(&database, database.find_file("a.py").unwrap(), Some(2..=9)).unwrap();
    assert_eq!(answer.tests[0].test, "t.py::test_a");
    assert_eq!(
        (answer.tests[0].lines.to_string(), answer.tests[0].duration_ns),
        ("2-3".to_owned(), None)
    );
    let glance = show(&database).unwrap();
    assert_eq!((glance.processes.len(), glance.lines, glance.lines_in_tests), (0, 3, 2));
    assert_eq!(what(&database, database.find_test("test_a").unwrap(), true).unwrap().files.len(), 1);
}

#[test]
fn what_is_no_recording_is_named_with_a_remedy() {
    let folder = Folder::new();
    let says = |path: PathBuf, words: &str| {
        let error = Database::open(&path).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert!(error.contains(words), "{error}");
    };
    says(folder.at("none.db"), "no such file. Make it with `pytest --hitlog`");
    says(folder.0.path().to_owned(), "a directory");
    says("/dev/null".into(), "no regular file");
    std::fs::write(folder.at("empty.db"), "").unwrap();
    says(folder.at("empty.db"), "an empty file");
    std::fs::write(folder.at("text.db"), "total = 1\n".repeat(20)).unwrap();
    says(folder.at("text.db"), "no SQLite database");
    says(folder.database("app.db", "create table t (x)"), "a database of another program");
    let newer = COVERAGE_TABLES.replace("values (7)", "values (8)");
    says(folder.database("newer.db", &newer), "schema 8; hitlog reads schema 7");
    let other = "insert into meta values ('version', 'hitlog 9.9.9');
        create table hitlog_log (id integer);";
    says(folder.database("other.db", &[COVERAGE_TABLES, other].concat()), "written by hitlog 9.9.9");
    let mut torn = std::fs::read(folder.database("own.db", COVERAGE_TABLES)).unwrap();
    torn[100..].fill(0x5A);
    std::fs::write(folder.at("torn.db"), torn).unwrap();
    says(folder.at("torn.db"), "It is damaged; compact the logs again");
}

#[test]
fn without_contexts_there_are_no_tests_to_name() {
    let folder = Folder::new();
    let mut log = ProcessLog::new(1);
    log.line("", "/a.py", 1);
    let database = folder.compact("out.db", &[log]);
    let error = database.find_test("test_a").unwrap_err().to_string();
    assert!(error.contains("nothing in it says which test ran what"), "{error}");
    let answer = who(&database, database.find_file("a.py").unwrap(), Some(1..=1)).unwrap();
    assert_eq!(answer.outside_tests.to_string(), "1");
}
