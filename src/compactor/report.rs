//! What a compaction found, for people and for machines.

use super::wording::{counted, grouped, signal, size};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// How many processes that did not end clean are named, of each kind.
const NAMED_MAX: usize = 3;

/// How many notes, and how many logs that cannot be read, are shown to people.
const LISTED_MAX: usize = 10;

/// What a compaction found. Shown as text (`Display`), it is the summary for people; through serde, it
/// is the JSON of `hitlog compact --json`.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// How many processes recorded, and how they ended.
    pub processes: Processes,
    /// Each log that was read.
    pub logs: Vec<LogReport>,
    /// Each log that could not be read at all.
    pub unreadable: Vec<Unreadable>,
    /// Contexts, without the empty one.
    pub contexts: u64,
    /// Files that were recorded, or found where everything is to be measured.
    pub files: u64,
    /// Different lines of files that ran.
    pub lines: u64,
    /// Different arcs of files that were taken.
    pub arcs: u64,
    /// Whether the output holds arcs.
    pub has_arcs: bool,
    /// Records that were read.
    pub records: u64,
    /// Records that could not be written (disk full), as far as processes could count them.
    pub lost: u64,
    /// Slots that hold no record any more.
    pub damaged: u64,
    /// Slots that hold a record of another slot or log.
    pub foreign: u64,
    /// Records that processes say they wrote, and that were not found.
    pub missing: u64,
    /// Lines and arcs whose file or context has lost its name: counted, and left out.
    pub unnamed: u64,
    /// Lines whose rows would be out of all proportion to the logs (see limits.rs): counted, and left out.
    pub left_out: u64,
    /// What else is worth a sentence.
    pub notes: Vec<String>,
    /// The file that was written.
    pub output: String,
    /// Its size in bytes.
    pub output_bytes: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// How many processes recorded, and how they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Processes {
    /// All of them.
    pub started: u64,
    /// Ended by themselves.
    pub clean: u64,
    /// Killed, crashed, or their machine stopped.
    pub cut: u64,
    /// Still there when their log was read.
    pub running: u64,
    /// Those that were cut, and those that are running.
    pub not_ended: Vec<NotEnded>,
}

/// A process that did not end by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NotEnded {
    /// Its process id, if known.
    pub pid: Option<u32>,
    /// What whoever started it calls it, if that is known: `gw3`.
    pub name: Option<String>,
    /// `cut` or `running`.
    pub state: &'static str,
    /// The signal that ended it, if known.
    pub signal: Option<i32>,
    /// The context it was in, if any.
    pub context: Option<String>,
}

/// One log; also its row in the table `hitlog_log`, where units and forms are described.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogReport {
    /// Identity, in hexadecimal digits.
    pub log_id: String,
    /// The log of the process that this one was forked from.
    pub parent_log_id: Option<String>,
    /// The log of the process's first segment.
    pub first_log_id: String,
    /// Number of this segment, from 0.
    pub segment: u32,
    /// Its path.
    pub path: String,
    /// Where it was written.
    pub host: Option<String>,
    /// Process id.
    pub pid: Option<u32>,
    /// Process id of the parent.
    pub ppid: Option<u32>,
    /// The command line.
    pub argv: Vec<String>,
    /// ISO 8601, UTC.
    pub started_at: Option<String>,
    /// ISO 8601, UTC; `None` if the log did not end by itself.
    pub ended_at: Option<String>,
    /// `clean`, `cut` or `running`.
    pub state: &'static str,
    /// The process's exit code, if known.
    pub exit_code: Option<i64>,
    /// The signal that ended the process, if known.
    pub signal: Option<i32>,
    /// What whoever started the process calls it, if that is known: `gw3`, a worker of pytest-xdist.
    pub name: Option<String>,
    /// The context that was open at the end.
    pub last_context: Option<String>,
    /// Valid records.
    pub records: u64,
    /// Slots that hold no record any more.
    pub damaged: u64,
    /// Records that could not be written.
    pub lost: u64,
    /// Slots with a record of another slot or log.
    pub foreign: u64,
    /// Records that the process says it wrote, and that were not found.
    pub missing: u64,
    /// Whether the log is as its writer left it, and its writer lost nothing.
    pub is_whole: bool,
}

/// A log that could not be read at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Unreadable {
    /// Its path.
    pub path: String,
    /// Why, as a sentence that begins with the path.
    pub reason: String,
}

impl Report {
    /// Whether everything that was recorded is in the output: nothing damaged, lost or missing. A process
    /// that was killed is no loss.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let is_complete = self.unreadable.is_empty() && self.unnamed == 0 && self.left_out == 0;
        is_complete && self.logs.iter().all(|log| log.is_whole)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.processes)?;
        write!(f, "{}  {}", counted(self.contexts, "context"), counted(self.files, "file"))?;
        write!(f, "  {}", counted(self.lines, "line"))?;
        if self.has_arcs {
            write!(f, "  {}", counted(self.arcs, "arc"))?;
        }
        write!(f, "  {}", counted(self.records, "record"))?;
        write!(f, "  {} lost  {} damaged", grouped(self.lost), grouped(self.damaged))?;
        for (count, what) in [
            (self.foreign, "foreign"),
            (self.missing, "missing"),
            (self.unnamed, "unnamed"),
            (self.left_out, "left out"),
        ] {
            if count > 0 {
                write!(f, "  {} {what}", grouped(count))?;
            }
        }
        writeln!(f)?;
        let unreadable = self.unreadable.iter().map(|log| &log.reason);
        write_list(f, "not read", unreadable.collect())?;
        write_list(f, "note", self.notes.iter().collect())?;
        writeln!(
            f,
            "compacted in {:.1} s -> {} ({})   coverage report --data-file={}",
            self.seconds,
            self.output,
            size(self.output_bytes),
            quoted(&self.output)
        )
    }
}

/// Writes the first of `items`, each on a line, and how many there are besides.
fn write_list(f: &mut Formatter<'_>, what: &str, items: Vec<&String>) -> fmt::Result {
    for item in items.iter().take(LISTED_MAX) {
        // A path can hold what a terminal would obey.
        writeln!(f, "{what}: {}", item.replace(char::is_control, " "))?;
    }
    match items.len().saturating_sub(LISTED_MAX) as u64 {
        0 => Ok(()),
        others => writeln!(f, "{what}: and {} more, see --json", grouped(others)),
    }
}

impl Display for Processes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ended clean", counted(self.started, "process"), grouped(self.clean))?;
        for (count, words, state) in
            [(self.cut, "cut short", "cut"), (self.running, "still running", "running")]
        {
            if count > 0 {
                let processes = self.not_ended.iter().filter(|process| process.state == state);
                let mut named: Vec<String> =
                    processes.take(NAMED_MAX).map(NotEnded::to_string).collect();
                let others = count.saturating_sub(named.len() as u64);
                if others > 0 {
                    named.push(format!("and {} more", grouped(others)));
                }
                write!(f, ", {} {words} ({})", grouped(count), named.join("; "))?;
            }
        }
        Ok(())
    }
}

impl Display for NotEnded {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (&self.name, self.pid) {
            (Some(name), _) => write!(f, "{}", name.replace(char::is_control, " "))?,
            (None, Some(pid)) => write!(f, "pid {pid}")?,
            (None, None) => write!(f, "pid not known")?,
        }
        if let Some(number) = self.signal {
            write!(f, ", {}", signal(number))?;
        }
        match self.context.as_deref() {
            None | Some("") => Ok(()),
            Some(context) => {
                // A test is known by its name; that its own phase ran goes without saying.
                let test = context.strip_suffix("|run").unwrap_or(context);
                write!(f, ", in {}", test.replace(char::is_control, " "))
            }
        }
    }
}

/// `path` as a word of a shell's command line.
#[must_use]
pub fn quoted(path: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+,:@%".contains(character);
    if path.chars().all(is_plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let killed = NotEnded {
            pid: Some(4711),
            name: Some("gw3".into()),
            state: "cut",
            signal: Some(libc::SIGKILL),
            context: Some("tests/test_pool.py::test_oom|run".into()),
        };
        Report {
            processes: Processes { started: 9, clean: 8, cut: 1, running: 0, not_ended: vec![killed] },
            contexts: 5012,
            files: 412,
            lines: 38_114,
            records: 1_203_551,
            output: "hitlog.db".into(),
            output_bytes: 6_100_000,
            seconds: 0.41,
            ..Report::default()
        }
    }

    #[test]
    fn the_summary_of_a_run() {
        let expected = "\
9 processes: 8 ended clean, 1 cut short (gw3, SIGKILL, in tests/test_pool.py::test_oom)
5,012 contexts  412 files  38,114 lines  1,203,551 records  0 lost  0 damaged
compacted in 0.4 s -> hitlog.db (6.1 MB)   coverage report --data-file=hitlog.db
";
        assert_eq!(report().to_string(), expected);
        assert!(report().is_whole(), "a killed process is no loss");
    }

    #[test]
    fn what_is_unusual_is_said_and_nothing_else() {
        let mut report = report();
        report.processes.not_ended = (0..5).map(running).collect();
        (report.processes.cut, report.processes.running) = (0, 5);
        (report.arcs, report.has_arcs, report.missing, report.unnamed) = (7, true, 1000, 2);
        report.notes.push("a.py: something".into());
        report.output = "it's mine.db".into();
        let expected = "\
9 processes: 8 ended clean, 5 still running (pid 0; pid 1; pid 2; and 2 more)
5,012 contexts  412 files  38,114 lines  7 arcs  1,203,551 records  0 lost  0 damaged  1,000 missing  2 unnamed
note: a.py: something
compacted in 0.4 s -> it's mine.db (6.1 MB)   coverage report --data-file='it'\\''s mine.db'
";
        assert_eq!(report.to_string(), expected);
        assert!(!report.is_whole());
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let report = Report { notes: (0..1012).map(|n| format!("note {n}")).collect(), ..report() };
        let text = report.to_string();
        assert_eq!(text.matches("note: note").count(), LISTED_MAX);
        assert!(text.contains("note: note 9\nnote: and 1,002 more, see --json\n"), "{text}");
    }

    fn running(pid: u32) -> NotEnded {
        let context = Some(String::new());
        NotEnded { pid: Some(pid), name: None, state: "running", signal: None, context }
    }
}
