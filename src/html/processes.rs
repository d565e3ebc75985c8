//! The processes of a recording: when they ran, from whom they came, how they ended, and which test each
//! was in at which time. coverage.py records nothing of it: then there are none.
//!
//! Times are microseconds after the first process began.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::Error;
use super::names::{Names, OUTSIDE, Owner};
use super::tests::Time;
use crate::query::{Database, name_of_log, rows};

/// A process, with all its logs.
#[derive(Clone, Debug, Default, Serialize)]
struct Process {
    /// What pytest-xdist calls it, if it is a worker.
    #[serde(skip)]
    name: Option<String>,
    pid: i64,
    ppid: i64,
    host: String,
    argv: Vec<String>,
    /// Position of the process it was forked from or started by.
    parent: Option<usize>,
    depth: u32,
    start: i64,
    /// When it ended; or the last time at which it is known to have run.
    end: i64,
    state: String,
    exit_code: Option<i64>,
    signal: Option<i64>,
    /// The test in which it was cut short, as far as it is known.
    last_context: String,
    records: i64,
    damaged: i64,
    lost: i64,
    /// Test (-1: outside of tests), phase, start and duration (-1: it did not end), one after the other.
    spans: Vec<i64>,
}

/// A time that a process spent in a context.
#[derive(Clone, Copy, Debug)]
struct Span {
    owner: Owner,
    process: usize,
    start: i64,
    duration: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Processes {
    list: Vec<Process>,
    /// By test, then by start.
    spans: Vec<Span>,
    started_at: String,
}

/// What the index tells of all processes.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    count: usize,
    /// What each is called.
    labels: Vec<String>,
    clean: usize,
    running: usize,
    /// Pid, signal and context of the processes that were cut short.
    cut: Vec<(i64, Option<i64>, String)>,
    /// The command of the first process, when it began, and how long all took in microseconds.
    command: Vec<String>,
    started_at: String,
    duration: i64,
    records: i64,
    damaged: i64,
    lost: i64,
}

/// The script of processes.
#[derive(Debug, Serialize)]
pub(super) struct Page<'a> {
    started_at: &'a str,
    processes: &'a [Process],
}

/// A log, as it is in the database.
struct Log {
    id: String,
    parent: Option<String>,
    first: String,
    process: Process,
    started_at: String,
}

/// Microseconds since 1970 of a time as hitlog writes it.
macro_rules! microseconds {
    ($column:literal) => {
        concat!("unixepoch(", $column, ") * 1000000 + cast(substr(", $column, ", 21, 6) as integer)")
    };
}

const LOGS: &str = concat!(
    "select log_id, parent_log_id, first_log_id, pid, ppid, host, argv, ",
    microseconds!("started_at"),
    ", ",
    microseconds!("ended_at"),
    ", state, exit_code, signal, last_context, records, damaged, lost, started_at, NAME
     from hitlog_log order by segment, started_at, log_id"
);

const SPANS: &str = concat!(
    "select context_id, log_id, ",
    microseconds!("started_at"),
    ", duration_ns / 1000 from hitlog_context where started_at is not null"
);

impl Processes {
    pub(super) fn read(database: &Database, names: &Names) -> Result<Processes, Error> {
        if !database.has_own_tables {
            return Ok(Processes::default());
        }
        let logs = database.asking(|connection| {
            rows(connection, &LOGS.replace("NAME", name_of_log(connection)), log)
        })?;
        let (mut processes, by_log) = gather(logs);
        let spans = database.asking(|connection| {
            rows(connection, SPANS, |row| {
                let owner = row.get::<_, Option<i64>>(0)?.map_or(OUTSIDE, |id| names.owner(id));
                Ok((owner, text(row, 1)?, row.get::<_, i64>(2)?, row.get::<_, Option<i64>>(3)?))
            })
        })?;
        let spans = spans.into_iter().filter_map(|(owner, log, start, duration)| {
            by_log.get(&log).map(|process| Span { owner, process: *process, start, duration })
        });
        processes.add_spans(spans.collect());
        Ok(processes)
    }
}

/// The text in column `index`; NULL is empty.
fn text(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<String> {
    row.get::<_, Option<String>>(index).map(Option::unwrap_or_default)
}

fn log(row: &rusqlite::Row<'_>) -> rusqlite::Result<Log> {
    let argv: Vec<String> = serde_json::from_str(&text(row, 6)?).unwrap_or_default();
    let start = row.get::<_, Option<i64>>(7)?.unwrap_or(0);
    let process = Process {
        name: row.get(17)?,
        pid: row.get::<_, Option<i64>>(3)?.unwrap_or(0),
        ppid: row.get::<_, Option<i64>>(4)?.unwrap_or(0),
        host: text(row, 5)?,
        argv,
        start,
        end: row.get::<_, Option<i64>>(8)?.unwrap_or(start),
        state: text(row, 9)?,
        exit_code: row.get(10)?,
        signal: row.get(11)?,
        last_context: text(row, 12)?,
        records: row.get::<_, Option<i64>>(13)?.unwrap_or(0),
        damaged: row.get::<_, Option<i64>>(14)?.unwrap_or(0),
        lost: row.get::<_, Option<i64>>(15)?.unwrap_or(0),
        ..Process::default()
    };
    let parent = row.get(1)?;
    Ok(Log { id: text(row, 0)?, parent, first: text(row, 2)?, process, started_at: text(row, 16)? })
}

/// Makes processes of logs, which come by segment; says in which process each log is.
fn gather(logs: Vec<Log>) -> (Processes, HashMap<String, usize>) {
    let mut processes = Processes::default();
    let mut by_log: HashMap<String, usize> = HashMap::new();
    let mut parents = Vec::new();
    for log in logs {
        let known = by_log.get(&log.first).copied();
        let position = known.unwrap_or(processes.list.len());
        by_log.insert(log.id, position);
        by_log.entry(log.first).or_insert(position);
        match known {
            Some(position) => processes.list[position].extend(log.process),
            None => {
                parents.push(log.parent);
                let is_first = processes.started_at.is_empty() || log.started_at < processes.started_at;
                if is_first {
                    processes.started_at = log.started_at;
                }
                processes.list.push(log.process);
            }
        }
    }
    let parents = parents.into_iter().map(|parent| parent.and_then(|log| by_log.get(&log).copied()));
    processes.add_parents(&parents.collect::<Vec<_>>());
    (processes, by_log)
}

impl Process {
    /// Goes on with the next log of the same process.
    fn extend(&mut self, next: Process) {
        self.end = self.end.max(next.end);
        self.records += next.records;
        self.damaged += next.damaged;
        self.lost += next.lost;
        (self.state, self.last_context) = (next.state, next.last_context);
        (self.exit_code, self.signal) = (next.exit_code, next.signal);
        self.name = next.name.or(self.name.take());
    }

    /// `gw3 4711`, or the pid alone.
    fn label(&self) -> String {
        self.name.as_ref().map_or_else(|| self.pid.to_string(), |name| format!("{name} {}", self.pid))
    }

    /// Whether a process that began at `start` as a child of `ppid` may come from this one.
    fn may_be_parent_of(&self, child: &Process) -> bool {
        self.pid == child.ppid && self.host == child.host && self.start <= child.start
    }
}

impl Processes {
    /// A fork names its parent's log. Others are found by their parent's pid: the one that began last.
    fn add_parents(&mut self, forked_from: &[Option<usize>]) {
        let mut by_pid: HashMap<i64, Vec<usize>> = HashMap::new();
        for (position, process) in self.list.iter().enumerate() {
            by_pid.entry(process.pid).or_default().push(position);
        }
        for (position, forked_from) in forked_from.iter().enumerate() {
            let child = &self.list[position];
            let others = by_pid.get(&child.ppid).into_iter().flatten().copied();
            let may_be =
                |other: &usize| *other != position && self.list[*other].may_be_parent_of(child);
            let started_by = others.filter(may_be).max_by_key(|other| self.list[*other].start);
            self.list[position].parent = forked_from.filter(|other| *other != position).or(started_by);
        }
        for position in 0..self.list.len() {
            self.list[position].depth = self.depth_of(position);
        }
    }

    /// How many processes are above this one. Damaged logs may name each other: then the way up is cut.
    fn depth_of(&mut self, position: usize) -> u32 {
        let (mut depth, mut at) = (0, position);
        while let Some(parent) = self.list[at].parent {
            depth += 1;
            at = parent;
            if depth as usize > self.list.len() {
                self.list[position].parent = None;
                return 0;
            }
        }
        depth
    }

    /// Takes over who was where when, and counts times from the first process's start.
    fn add_spans(&mut self, mut spans: Vec<Span>) {
        spans.sort_by_key(|span| (span.start, span.process));
        for span in &spans {
            let process = &mut self.list[span.process];
            process.end = process.end.max(span.start + span.duration.unwrap_or(0));
        }
        let origin = self.list.iter().map(|process| process.start).min().unwrap_or(0);
        for process in &mut self.list {
            process.start -= origin;
            process.end -= origin;
        }
        for span in &mut spans {
            span.start -= origin;
            let test = span.owner.test.map_or(-1, i64::from);
            let row = [test, span.owner.phase as i64, span.start, span.duration.unwrap_or(-1)];
            self.list[span.process].spans.extend(row);
        }
        spans.sort_by_key(|span| (span.owner.test, span.start));
        self.spans = spans;
    }

    /// How long test `number` ran, and in which processes; no time if none of them saw its end.
    pub(super) fn of_test(&self, number: u32) -> (Option<Time>, Vec<u32>) {
        let start = self.spans.partition_point(|span| span.owner.test < Some(number));
        let end = self.spans.partition_point(|span| span.owner.test <= Some(number));
        let spans = &self.spans[start..end];
        let processes: BTreeSet<u32> = spans.iter().map(|span| span.process as u32).collect();
        (time_of(spans), processes.into_iter().collect())
    }

    pub(super) fn count(&self) -> u64 {
        self.list.len() as u64
    }

    pub(super) fn page(&self) -> Page<'_> {
        Page { started_at: &self.started_at, processes: &self.list }
    }

    pub(super) fn summary(&self) -> Summary {
        let ended =
            |state: &'static str| self.list.iter().filter(move |process| process.state == state);
        let sum = |of: fn(&Process) -> i64| self.list.iter().map(of).fold(0, i64::saturating_add);
        let first = self.list.iter().min_by_key(|process| process.start);
        let cut =
            ended("cut").map(|process| (process.pid, process.signal, process.last_context.clone()));
        Summary {
            count: self.list.len(),
            labels: self.list.iter().map(Process::label).collect(),
            clean: ended("clean").count(),
            running: ended("running").count(),
            cut: cut.collect(),
            command: first.map(|process| process.argv.clone()).unwrap_or_default(),
            started_at: self.started_at.clone(),
            duration: self.list.iter().map(|process| process.end).max().unwrap_or(0),
            records: sum(|process| process.records),
            damaged: sum(|process| process.damaged),
            lost: sum(|process| process.lost),
        }
    }
}

/// The time of the process that is longest in `spans`.
fn time_of(spans: &[Span]) -> Option<Time> {
    let mut by_process: BTreeMap<usize, Time> = BTreeMap::new();
    for span in spans {
        let Some(duration) = span.duration else { continue };
        by_process.entry(span.process).or_default().add(span.owner.phase, duration);
    }
    by_process.into_values().max_by_key(|time| time.all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::names::Phase;

    fn log(id: &str, parent: Option<&str>, pid: i64, ppid: i64, start: i64) -> Log {
        let state = "clean".to_owned();
        let process = Process { pid, ppid, start, end: start + 100, state, ..Process::default() };
        let parent = parent.map(str::to_owned);
        Log { id: id.into(), parent, first: id.into(), process, started_at: format!("2026-{start:04}") }
    }

    #[test]
    fn segments_are_one_process_and_children_know_their_parents() {
        let mut second = log("a2", None, 10, 1, 90);
        second.first = "a".to_owned();
        (second.process.state, second.process.records) = ("cut".to_owned(), 5);
        second.process.name = Some("gw3".to_owned());
        let logs = vec![
            log("old", None, 10, 1, 0), // the same pid, earlier
            log("a", None, 10, 1, 50),
            log("fork", Some("a"), 11, 10, 60),
            log("started", None, 12, 10, 70),
            log("loop", Some("loop"), 13, 13, 80),
            second,
        ];
        let (processes, by_log) = gather(logs);
        assert_eq!((processes.count(), by_log["a2"]), (5, 1));
        assert_eq!((processes.list[1].state.as_str(), processes.list[1].end), ("cut", 190));
        let parents: Vec<_> = processes.list.iter().map(|process| process.parent).collect();
        assert_eq!(parents, [None, None, Some(1), Some(1), None]);
        assert_eq!(processes.list[2].depth, 1);
        assert_eq!(
            (processes.list[1].label(), processes.list[2].label()),
            ("gw3 10".into(), "11".into())
        );
    }

    #[test]
    fn logs_that_name_each_other_as_parents_do_not_hang() {
        let logs = vec![log("a", Some("b"), 1, 0, 0), log("b", Some("a"), 2, 0, 0)];
        let (processes, _) = gather(logs);
        assert!(processes.list.iter().any(|process| process.parent.is_none()));
    }

    #[test]
    fn a_test_takes_as_long_as_in_the_process_that_is_in_it_longest() {
        let span = |process, start, duration, phase| Span {
            owner: Owner { test: Some(3), phase },
            process,
            start,
            duration,
        };
        let mut processes = gather(vec![log("a", None, 1, 0, 1000), log("b", None, 2, 1, 1055)]).0;
        processes.add_spans(vec![
            span(0, 1050, Some(50), Phase::Run),
            span(0, 1000, Some(20), Phase::Setup),
            span(1, 1060, Some(20), Phase::Run),
            span(0, 1200, None, Phase::Run),
        ]);
        let (time, seen_in) = processes.of_test(3);
        assert_eq!(time, Some(Time { all: 70, phases: [0, 20, 50, 0] }));
        assert_eq!(seen_in, [0, 1]);
        assert_eq!(processes.of_test(2), (None, vec![]));
        assert_eq!(processes.list[0].spans[..4], [3, 1, 0, 20]);
        assert_eq!((processes.list[0].start, processes.list[0].end), (0, 200));
    }
}
