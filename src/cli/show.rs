//! `hitlog show`: the recording at a glance.

use std::io::{self, Write};
use std::path::PathBuf;

use super::wording::{counted, duration, grouped, one_line, shown_path};
use super::{DONE, Error};
use crate::compactor::wording::signal;
use crate::query::{self, Database, FileFacts, Process, Show};

/// How many processes, tests and files people are shown, unless they ask for more.
const LISTED: usize = 10;

const EXAMPLES: &str = "\
Examples:
  hitlog show                        processes, slowest tests, least tested files of hitlog.db
  hitlog show --all | less           every process, test and file
  hitlog show --json | jq '.tests[0]'
  hitlog show --db nightly.db

Exit codes: 0 done; 2 not done: the file cannot be read.";

/// Show a recording at a glance
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The file to show
    #[arg(long, value_name = "FILE", default_value = "hitlog.db")]
    db: PathBuf,

    /// List every process, test and file
    #[arg(long)]
    all: bool,

    /// Answer in JSON, with every process, test and file
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Error> {
    let database = Database::open(&arguments.db).map_err(|source| Error::Query { source })?;
    let glance = query::show(&database).map_err(|source| Error::Query { source })?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let listed = if arguments.all { usize::MAX } else { LISTED };
    let printed = match arguments.json {
        true => super::write_json(&glance, &mut out),
        false => text(&glance, listed, &mut out),
    };
    printed.and_then(|()| out.flush()).map_err(|source| Error::Stdout { source })?;
    Ok(DONE)
}

fn text(glance: &Show, listed: usize, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{}  ", counted(glance.tests.len() as u64, "test"))?;
    write!(out, "{}  {}", counted(glance.files.len() as u64, "file"), counted(glance.lines, "line"))?;
    writeln!(out, ", {} of them run by tests", grouped(glance.lines_in_tests))?;
    processes(&glance.processes, listed, out)?;
    slowest(glance, listed, out)?;
    least_tested(&glance.files, listed, out)
}

/// Those that did not end clean come first.
fn processes(processes: &[Process], listed: usize, out: &mut dyn Write) -> io::Result<()> {
    if processes.is_empty() {
        return Ok(());
    }
    let is_clean = |process: &&Process| process.state == "clean";
    let clean = processes.iter().filter(is_clean).count();
    let count = counted(processes.len() as u64, "process");
    writeln!(out, "\n{count}, {} ended clean", grouped(clean as u64))?;
    let others = processes.iter().filter(|process| !is_clean(process));
    for process in others.chain(processes.iter().filter(is_clean)).take(listed) {
        let pid = process.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
        let pid = process.name.as_ref().map_or(pid.clone(), |name| format!("{name} {pid}"));
        let counts = format!("{} records", grouped(process.records));
        writeln!(out, "  {pid:>10}  {:<28}  {counts:>18}  {}", ended(process), label(&process.argv))?;
    }
    more(processes.len(), listed, out)
}

/// How a process ended, or where it was when it did not end by itself.
fn ended(process: &Process) -> String {
    let loss = [(process.damaged, "damaged"), (process.lost, "lost")];
    let loss = loss.iter().filter(|(count, _)| *count > 0);
    let loss: String = loss.map(|(count, what)| format!(", {} {what}", grouped(*count))).collect();
    let end = match (process.state.as_str(), process.exit_code, process.signal) {
        ("clean", Some(code), _) => format!("ended, status {code}"),
        ("clean", None, _) => "ended".to_owned(),
        ("cut", _, Some(number)) => format!("killed by {}", signal(number)),
        ("cut", ..) => "cut short".to_owned(),
        (state, ..) => format!("still {state}"),
    };
    let context = process.last_context.as_deref().filter(|context| !context.is_empty());
    let place = context
        .filter(|_| process.state != "clean")
        .map(|context| format!(" in {}", one_line(context)));
    end + &loss + &place.unwrap_or_default()
}

/// A command line, which is a JSON array, as words.
fn label(argv: &str) -> String {
    let words: Vec<String> = serde_json::from_str(argv).unwrap_or_default();
    one_line(words.join(" ")).chars().take(60).collect()
}

fn slowest(glance: &Show, listed: usize, out: &mut dyn Write) -> io::Result<()> {
    let timed = || glance.tests.iter().filter_map(|test| Some((test, test.duration_ns?)));
    if timed().next().is_none() {
        return Ok(());
    }
    let sum = timed().map(|(_, ns)| ns).fold(0, u64::saturating_add);
    writeln!(out, "\nslowest tests (all together {})", duration(sum))?;
    for (test, ns) in timed().take(listed) {
        writeln!(out, "  {:>9}  {}", duration(ns), one_line(&test.test))?;
    }
    more(timed().count(), listed, out)
}

/// Files of tests are not what is tested.
fn least_tested(files: &[FileFacts], listed: usize, out: &mut dyn Write) -> io::Result<()> {
    let tested = || files.iter().filter(|file| !file.has_tests);
    if tested().next().is_none() {
        return Ok(());
    }
    writeln!(out, "\nleast tested files\n  {:>7}  {:>7}  {:>9}", "tests", "lines", "untested")?;
    for file in tested().take(listed) {
        let untested = file.lines - file.lines_in_tests;
        let [tests, lines, untested] = [file.tests, file.lines, untested].map(grouped);
        writeln!(out, "  {tests:>7}  {lines:>7}  {untested:>9}  {}", shown_path(&file.path))?;
    }
    more(tested().count(), listed, out)
}

fn more(all: usize, listed: usize, out: &mut dyn Write) -> io::Result<()> {
    match all.saturating_sub(listed) as u64 {
        0 => Ok(()),
        others => writeln!(out, "  and {} more (--all)", grouped(others)),
    }
}
