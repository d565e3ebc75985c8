//! Recordings to look at: a small one in which everything is known, and a large one.

use std::fs;
use std::path::{Path, PathBuf};

use hitlog::compactor::{Options, compact};
use hitlog::format::EndReason;
use rusqlite::{Connection, params};

use crate::process_log::ProcessLog;

/// A name that would run a script, turn the direction of text and leave its element, if it could.
pub const HOSTILE: &str =
    "</script><img src=x onerror=\"window.pwned=1\">'\"`\\\u{202e}\u{1b}[31m\u{2028}&lt;%3Cb%3E";

pub const CART: &str = "import os\n\n\ndef total(prices, discount=0):\n    \"\"\"The sum of prices.\"\"\"\n    result = sum(\n        prices,\n    )\n    if discount:\n        result -= discount\n    return result\n\n\ndef unused():\n    return '</script>'\n";

/// Files and tests of the large recording, how many files a test runs, and how many lines of each.
pub const FILES: u32 = 1000;
pub const TESTS: u32 = 5000;
pub const FILES_OF_TEST: u32 = 100;
pub const LINES_OF_FILE: u32 = 80;

/// Writes the report on `database` beside it.
fn report(database: &Path) -> PathBuf {
    let report = database.with_extension("report");
    hitlog::html::write(database, &report).expect("a report");
    report
}

/// Three tests of `shop/cart.py` in two processes, of which the second was started in the second test and cut
/// short in the third one.
pub fn small(folder: &Path) -> PathBuf {
    let folder = folder.canonicalize().expect("it exists");
    let cart = folder.join("shop/cart.py");
    fs::create_dir_all(folder.join("shop")).expect("writable");
    fs::write(&cart, CART).expect("writable");
    let cart = cart.to_str().expect("UTF-8");
    let mut first = ProcessLog::new(4711);
    for line in [1, 4, 14] {
        first.line("", cart, line);
    }
    let tests = [
        ("tests/test_cart.py::test_total", [6, 9, 11]),
        ("tests/test_cart.py::test_discount", [6, 9, 10]),
    ];
    for ((test, lines), at) in tests.into_iter().zip([100_000_000, 500_000_000]) {
        let context = format!("{test}|run");
        first.start(&context, at);
        for line in lines {
            first.line(&context, cart, line);
        }
        first.arc(&context, cart, 9, lines[2] as i32);
        first.stop(&context, at + 300_000_000);
    }
    first.end(EndReason::Closed, Some(0));
    let mut second = ProcessLog::new(4712);
    second.header.parent_log_id = first.header.log_id;
    second.header.ppid = 4711;
    let context = "tests/test_cart.py::test_discount|run";
    second.inherit(context).line(context, cart, 10).line(context, cart, 11).stop(context, 300_000_000);
    let hostile = format!("{HOSTILE}|run");
    second.start(&hostile, 400_000_000);
    second.line(&hostile, cart, 6).line(&hostile, &format!("{}/{HOSTILE}.py", folder.display()), 3);
    let logs = [first, second].map(|log| log.write(&folder));
    let database = folder.join("small.db");
    compact(&logs, &Options::new(&database), &()).expect("compacted");
    report(&database)
}

/// 40 million hits, by 5,000 tests in 1,000 files.
pub fn large(folder: &Path) -> PathBuf {
    let database = folder.join("large.db");
    let mut log = ProcessLog::new(1);
    log.line("", "/src/unused.py", 1).end(EndReason::Closed, Some(0));
    compact(&[log.write(folder)], &Options::new(&database), &()).expect("compacted");
    let mut connection = Connection::open(&database).expect("a database");
    connection.execute_batch("pragma synchronous = off; pragma foreign_keys = off").expect("it obeys");
    fill(&mut connection).expect("rows");
    report(&database)
}

fn fill(connection: &mut Connection) -> rusqlite::Result<()> {
    let log: String = connection.query_row("select log_id from hitlog_log", [], |row| row.get(0))?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(
        "drop index hitlog_line_bits_context; delete from line_bits; delete from file",
    )?;
    for file in 0..FILES {
        let path = format!("/src/package_{:02}/module_{file:03}.py", file / 50);
        transaction
            .prepare_cached("insert into file values (?, ?)")?
            .execute(params![file + 1, path])?;
    }
    for test in 0..TESTS {
        let name = format!("tests/test_module_{:02}.py::test_case_{test:04}|run", test / 100);
        transaction
            .prepare_cached("insert into context values (?, ?)")?
            .execute(params![test + 10, name])?;
        let span = params![test + 10, log, "2026-11-20T10:15:02.000000Z", test * 1000 + 5];
        transaction.prepare_cached("insert into hitlog_context values (?, ?, ?, ?)")?.execute(span)?;
    }
    for file in 0..FILES {
        for step in 0..TESTS * FILES_OF_TEST / FILES {
            let test = (file * 7 + step * 10) % TESTS;
            let row = params![file + 1, test + 10, numbits(test, step)];
            transaction.prepare_cached("insert into line_bits values (?, ?, ?)")?.execute(row)?;
        }
    }
    transaction.commit()
}

/// Every fourth line from one on, which depends on the test.
fn numbits(test: u32, step: u32) -> Vec<u8> {
    let first = 1 + (test * 3 + step) % 50;
    let lines = (0..LINES_OF_FILE).map(|line| first + line * 4);
    let mut numbits = vec![0_u8; (first + LINES_OF_FILE * 4) as usize / 8 + 1];
    lines.for_each(|line| numbits[line as usize / 8] |= 1 << (line % 8));
    numbits
}
