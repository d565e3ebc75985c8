//! `cargo xtask demo`: a real suite recorded from many processes, one of them killed on the way.
//!
//! The demo checks what it shows: the killed process is named with its test, its lines are there, and
//! coverage.py reads the file.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::pythons;
use crate::shell::{Failure, Result, announce, capture, command, run, say, script, timed, watch};
use crate::suite::JINJA2;
use crate::venv::Venv;

/// pytest's exit code when tests failed: the killed worker's test counts as failed.
const TESTS_FAILED: i32 = 1;

/// The worker that was killed.
struct Victim {
    pid: String,
    test: String,
}

/// Runs the demo; fails if anything of it is not as promised.
pub fn run_demo(venv: &Venv) -> Result {
    announce("jinja2's own test suite");
    let suite = JINJA2.unpack(venv, &format!("demo-{}", venv.version))?;
    say(suite.display());

    announce("recorded under pytest -n 4; one worker will be killed in the middle of a test");
    let victim = timed("recorded and compacted", || record(venv, &suite))?;

    announce("coverage.py's report from the same file");
    let mut report = venv.program("coverage");
    run(report.args(["report", "--data-file=hitlog.db", "--include=src/*"]).current_dir(&suite))?;

    announce("questions in plain SQL");
    let database = suite.join("hitlog.db");
    let mut questions = venv.program("python");
    questions.arg(script("demo_questions.py")).arg(&database).arg(&suite);
    run(questions.args([&victim.pid, &victim.test]))?;

    say(format!("All of it is in {}.", database.display()));
    Ok(())
}

/// The demo on the Python that is there.
pub fn run_usual() -> Result {
    let venv = Venv::with_hitlog(&pythons::usual()?)?;
    timed("the demo without builds", || run_demo(&venv))
}

/// Records the suite and kills a worker; checks what pytest and the summary say about it.
fn record(venv: &Venv, suite: &Path) -> Result<Victim> {
    let victim_file = suite.join("victim");
    let mut pytest = JINJA2.pytest(venv, suite);
    pytest.args(["-q", "-n", "4", "-p", "demo_victim", "--hitlog"]);
    pytest.env("HITLOG_DEMO_VICTIM", &victim_file);

    let mut killed = Err(Failure("the suite ended before a worker was killed.".into()));
    let seen = watch(&mut pytest, |ended| killed = kill_victim(&victim_file, ended))?;
    let victim = killed?;
    if seen.code != Some(TESTS_FAILED) {
        let code = seen.code;
        return Err(Failure(format!(
            "pytest should report the killed worker's test as failed: exit code {code:?}."
        )));
    }
    let Victim { pid, test } = &victim;
    // As in "6 processes: 5 ended clean, 1 cut short (gw1, SIGKILL, in tests/test_api.py::test_it)".
    let ending = format!(", SIGKILL, in {test})");
    let is_named = |line: &str| line.contains("1 cut short (gw") && line.contains(&ending);
    if !seen.stdout.lines().any(is_named) {
        return Err(Failure(format!("the summary does not name process {pid}, killed in {test}.")));
    }
    Ok(victim)
}

/// Waits for the worker that offers itself, and kills it. The suite's end ends the waiting.
fn kill_victim(file: &Path, ended: &AtomicBool) -> Result<Victim> {
    while !file.exists() {
        if ended.load(Ordering::Relaxed) {
            return Err(Failure("no worker came to the test in which it is to be killed.".into()));
        }
        sleep(Duration::from_millis(20));
    }
    let text = fs::read_to_string(file)?;
    let mut lines = text.lines().map(str::to_owned);
    let (Some(pid), Some(test)) = (lines.next(), lines.next()) else {
        return Err(Failure(format!("{} does not say who is to be killed.", file.display())));
    };
    say(format!("\nkill -KILL {pid}   (in {test})"));
    capture(command("sh").args(["-c", "kill -KILL \"$1\"", "sh", &pid]))?;
    Ok(Victim { pid, test })
}
