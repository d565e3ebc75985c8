//! What is told of each log and each process: the tables `hitlog_log`, `hitlog_context`,
//! `hitlog_sample`, `hitlog_file` and `hitlog_log_file`, and the same in the report; and what pytest told of
//! its tests.

use super::discover::{Command, Tests};
use super::merge::Merged;
use super::names::Texts;
use super::report::{LogReport, NotEnded, Processes};
use super::scan::{Ids, Log};
use super::wording::utc;
use crate::format::{EndReason, LogId, ZERO_ID};
use crate::reader::{State, escaped};
use rusqlite::types::Value;
use rusqlite::{Connection, Result, params};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The logs of one process, by segment.
struct Process {
    /// Positions in the list of logs.
    segments: Vec<usize>,
}

impl Process {
    fn last(&self) -> usize {
        self.segments[self.segments.len() - 1]
    }

    /// That of the last segment; but a process that went on to a segment which is not there did not end.
    fn state(&self, logs: &[Log]) -> State {
        let last = &logs[self.last()];
        match last.contents.end {
            Some(end) if end.reason == EndReason::Continued => State::Cut,
            _ => last.state(),
        }
    }
}

fn processes(logs: &[Log]) -> Vec<Process> {
    let mut by_first: BTreeMap<LogId, Process> = BTreeMap::new();
    for (position, log) in logs.iter().enumerate() {
        let process = by_first.entry(log.first_log_id()).or_insert(Process { segments: Vec::new() });
        process.segments.push(position);
    }
    let mut processes: Vec<Process> = by_first.into_values().collect();
    processes.iter_mut().for_each(|process| process.segments.sort_by_key(|at| logs[*at].segment()));
    processes
}

/// A row for each log of `merged`, and how its processes ended.
pub(super) fn describe(merged: &Merged, commands: &[Command]) -> (Vec<LogReport>, Processes) {
    let logs = &merged.logs;
    let mut reports: Vec<LogReport> = logs
        .iter()
        .zip(&merged.ids)
        .map(|(log, ids)| report_of(log, ids, &merged.contexts.texts))
        .collect();
    let processes = processes(logs);
    for command in commands {
        if let Some(process) = process_of(command, &processes, logs) {
            let report = &mut reports[process.last()];
            report.exit_code = command.exit_code.or(report.exit_code);
            report.signal = command.signal.or(report.signal);
            report.name = command.name.clone().or_else(|| report.name.take());
        }
    }
    let mut all = Processes { started: processes.len() as u64, ..Processes::default() };
    for process in &processes {
        let state = process.state(logs);
        match state {
            State::Clean => all.clean += 1,
            State::Cut => all.cut += 1,
            State::Running => all.running += 1,
        }
        if state != State::Clean {
            all.not_ended.push(not_ended(&reports[process.last()], state));
        }
    }
    all.not_ended.sort_by_key(|process| process.pid);
    (reports, all)
}

fn not_ended(report: &LogReport, state: State) -> NotEnded {
    NotEnded {
        pid: report.pid,
        name: report.name.clone(),
        state: state.as_str(),
        signal: report.signal,
        context: report.last_context.clone(),
    }
}

/// The process that `command` became. Several have its pid and start if it replaced itself by `exec`: the
/// one that began last, then.
fn process_of<'a>(command: &Command, processes: &'a [Process], logs: &[Log]) -> Option<&'a Process> {
    let began = |process: &&Process| {
        let header = logs[process.last()].header.as_ref();
        header.map(|header| (header.monotonic_start_ns, header.log_id))
    };
    let is_it = |process: &&Process| {
        logs[process.last()].header.as_ref().is_some_and(|header| {
            header.pid == command.pid && header.process_start_ticks == command.process_start_ticks
        })
    };
    processes.iter().filter(is_it).max_by_key(began)
}

fn report_of(log: &Log, ids: &Ids, contexts: &Texts) -> LogReport {
    let header = log.header.as_ref();
    let end = log.contents.end;
    let last_context = log.contents.open_context.and_then(|open| ids.contexts.get(open.context));
    LogReport {
        log_id: hex(&log.log_id),
        parent_log_id: header
            .map(|header| header.parent_log_id)
            .filter(|id| *id != ZERO_ID)
            .map(|id| hex(&id)),
        first_log_id: hex(&log.first_log_id()),
        segment: log.segment(),
        path: path_text(&log.path.given),
        host: header.map(|header| text(&header.host)),
        pid: log.pid,
        ppid: header.map(|header| header.ppid),
        argv: header.map_or_else(Vec::new, |header| arguments(&header.argv)),
        started_at: header.map(|header| utc(header.wall_start_ns)),
        ended_at: end.and_then(|end| log.wall_ns(end.time_ns)).map(utc),
        state: log.state().as_str(),
        exit_code: end.and_then(|end| end.exit_code).map(i64::from),
        signal: None,
        name: None,
        last_context: last_context.map(|id| contexts[id as usize - 1].to_owned()),
        records: log.contents.records(&log.counts),
        damaged: log.counts.damaged,
        lost: log.contents.lost,
        foreign: log.counts.foreign,
        missing: log.contents.missing(&log.counts),
        is_whole: log.is_whole,
    }
}

pub(super) fn path_text(path: &Path) -> String {
    text(path.as_os_str().as_bytes())
}

/// `bytes` as text that every reader of SQLite can show.
fn text(bytes: &[u8]) -> String {
    escaped(bytes).replace('\0', r"\x00")
}

fn arguments(argv: &[u8]) -> Vec<String> {
    let words = argv.split_inclusive(|byte| *byte == 0);
    words.map(|word| text(word.strip_suffix(&[0]).unwrap_or(word))).collect()
}

pub(super) fn hex(id: &LogId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the rows of all logs.
pub(super) fn write(connection: &Connection, merged: &Merged, reports: &[LogReport]) -> Result<()> {
    for ((log, ids), report) in merged.logs.iter().zip(&merged.ids).zip(reports) {
        write_log(connection, report)?;
        write_contexts(connection, log, ids, &report.log_id)?;
        write_samples(connection, log, ids, &report.log_id)?;
    }
    Ok(())
}

/// Files and the ids of the logs that name them, sorted. The logs are by their ids.
pub(super) fn files_of_logs<'a>(
    merged: &Merged,
    reports: &'a [LogReport],
) -> impl Iterator<Item = (u32, &'a str)> {
    let of_log = |(log, ids): (u32, &Ids)| {
        // A log may give one name several numbers.
        let files: BTreeSet<u32> = ids.files.mapped().collect();
        files.into_iter().map(move |file| (file, log))
    };
    let mut rows: Vec<(u32, u32)> = (0..).zip(&merged.ids).flat_map(of_log).collect();
    rows.sort_unstable();
    rows.into_iter().map(|(file, log)| (file, &*reports[log as usize].log_id))
}

/// Writes what pytest told of the tests of these runs. Of a test that ran in several, the worst end counts.
pub(super) fn write_tests(connection: &Connection, runs: &[Tests]) -> Result<()> {
    let ends = runs.iter().flat_map(|run| &run.outcomes);
    let outcomes = worst_outcomes(ends.map(|(test, outcome)| (test.as_str(), outcome.as_str())));
    let mut statement = connection.prepare("insert into hitlog_test values (?,?)")?;
    for (test, outcome) in outcomes {
        statement.execute([test, outcome])?;
    }
    let mut statement = connection.prepare("insert into hitlog_surroundings values (?)")?;
    let surroundings = runs.iter().map(|run| &run.surroundings).filter(|value| value.is_object());
    surroundings.map(ToString::to_string).try_for_each(|text| statement.execute([text]).map(|_| ()))
}

/// For each test the worst of its ends, in whatever order they come. What is none of pytest's good ends has
/// to run again, so that none of these hides it.
pub(super) fn worst_outcomes<'a>(
    ends: impl Iterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<&'a str, &'a str> {
    let badness = |outcome: &str| match outcome {
        "passed" => 0,
        "skipped" | "xfailed" | "xpassed" => 1,
        "failed" => 3,
        _ => 2,
    };
    let mut worst: BTreeMap<&str, &str> = BTreeMap::new();
    for (test, outcome) in ends {
        let known = worst.entry(test).or_insert(outcome);
        if (badness(outcome), outcome) > (badness(known), *known) {
            *known = outcome;
        }
    }
    worst
}

fn write_log(connection: &Connection, report: &LogReport) -> Result<()> {
    let sql = "insert into hitlog_log values (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
    let argv = serde_json::Value::from(report.argv.clone()).to_string();
    let row = params![
        report.log_id,
        report.parent_log_id,
        report.path,
        report.host,
        report.pid,
        report.ppid,
        argv,
        report.started_at,
        report.ended_at,
        report.state,
        report.exit_code,
        report.signal,
        report.last_context,
        saturating(report.records),
        saturating(report.damaged),
        saturating(report.lost),
        report.first_log_id,
        report.segment,
        report.name,
    ];
    connection.prepare_cached(sql)?.execute(row).map(|_| ())
}

fn write_contexts(connection: &Connection, log: &Log, ids: &Ids, log_id: &str) -> Result<()> {
    let mut statement = connection.prepare_cached("insert into hitlog_context values (?,?,?,?)")?;
    for span in &log.contents.spans {
        let started_at = log.wall_ns(span.start_ns).map(utc);
        let duration = span.duration_ns.map(saturating);
        statement.execute(params![ids.contexts.get(span.context), log_id, started_at, duration])?;
    }
    Ok(())
}

fn write_samples(connection: &Connection, log: &Log, ids: &Ids, log_id: &str) -> Result<()> {
    let mut statement = connection.prepare_cached("insert into hitlog_sample values (?,?,?,?,?)")?;
    for sample in &log.contents.samples {
        let name = log.contents.sample_names.get(u32::from(sample.name)).map(text);
        let value = match i64::try_from(sample.value) {
            Ok(value) => Value::Integer(value),
            Err(_) => Value::Real(sample.value as f64),
        };
        let context = ids.contexts.get(sample.context);
        statement.execute(params![log_id, name, context, log.wall_ns(sample.time_ns), value])?;
    }
    Ok(())
}

/// A file as it was when it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileState {
    /// Nanoseconds since 1970 UTC.
    pub(super) mtime_ns: i64,
    /// In bytes.
    pub(super) size: u64,
}

/// Writes size and modification time of each file as it was when it ran; a note for each file of which
/// logs tell differently. Of several states the one modified last is written. Returns the states by the
/// files' ids; `None` where they differ.
pub(super) fn write_files(
    connection: &Connection,
    merged: &Merged,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<u32, Option<FileState>>> {
    let mut states: BTreeMap<u32, (FileState, bool)> = BTreeMap::new();
    for (log, ids) in merged.logs.iter().zip(&merged.ids) {
        for facts in &log.contents.file_facts {
            let Some(file) = ids.files.get(facts.file) else { continue };
            let state = FileState { mtime_ns: facts.mtime_ns, size: facts.size };
            let known = states.entry(file).or_insert((state, false));
            *known = (known.0.max(state), known.1 || known.0 != state);
        }
    }
    let mut statement = connection.prepare("insert into hitlog_file values (?,?,?)")?;
    for (file, (state, is_changed)) in &states {
        statement.execute(params![file, saturating(state.size), state.mtime_ns])?;
        if *is_changed {
            let path = &merged.files.texts[*file as usize - 1];
            notes.push(format!(
                "{path}: changed while it was recorded; lines may be those of either version"
            ));
        }
    }
    let states = states.into_iter();
    Ok(states.map(|(file, (state, is_changed))| (file, (!is_changed).then_some(state))).collect())
}

/// SQLite has no unsigned integers. Only an invented count is this large.
fn saturating(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
