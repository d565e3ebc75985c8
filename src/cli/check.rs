//! `hitlog check`: is every log whole? Reads every slot, changes nothing.
//!
//! A log is whole if it is as its writer left it and nothing was lost: no slot damaged or foreign, no
//! record missing, no name lost, both copies of the header whole. The log of a killed process is whole,
//! and so is one with unfinished slots: those appends never returned.

use super::wording::{arguments_of, counted, damage_word, grouped, label};
use crate::format::{FILE_EXTENSION, HeaderDamage};
use crate::reader::{Contents, Digest, Error, LogReader, SlotCounts, escaped};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::Serialize;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  hitlog check .hitlog/20261120-101502-7f3a      every log of a run
  hitlog check .hitlog/*                         every run
  hitlog check --json LOG | jq .damaged_slots    one log, for a program

Exit codes: 0 all whole; 1 something is damaged, foreign, missing or lost; 2 something is not readable.";

/// Say whether logs are whole, and what is damaged where.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Print one JSON object per log and one for all of them
    #[arg(long)]
    pub json: bool,
    /// Run directories or logs
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// Checks every log and prints the findings to `out`; what cannot be read, one sentence for each, to
/// `err`. Returns the exit code: 0 all whole, 1 not, 2 if something could not be read.
///
/// # Errors
/// If `out` or `err` cannot be written, for another reason than a closed pipe.
pub fn run(arguments: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let mut findings = Findings::default();
    for path in &arguments.paths {
        match logs_of(path) {
            Ok(logs) => findings.check(&logs),
            Err(sentence) => findings.unreadable.push(sentence),
        }
    }
    for sentence in &findings.unreadable {
        writeln!(err, "hitlog: {sentence}")?;
    }
    let mut out = io::BufWriter::new(out);
    let printed = if arguments.json { findings.json(&mut out) } else { findings.text(&mut out) };
    match printed.and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(findings.exit_code()),
    }
}

/// The logs that `path` means: those in it if it is a directory, else itself.
fn logs_of(path: &Path) -> Result<Vec<PathBuf>, String> {
    let shown = path.display();
    if !path.is_dir() {
        return match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(crate::compactor::missing(path).to_string())
            }
            _ => Ok(vec![path.to_path_buf()]),
        };
    }
    let remedy = "Read it as the user who recorded it.";
    let entries = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
        .map_err(|error| format!("{shown}: cannot be listed ({error}). {remedy}"))?;
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == FILE_EXTENSION);
    let mut logs: Vec<_> = entries.into_iter().filter(is_log).collect();
    logs.sort();
    match logs.is_empty() {
        true => Err(format!("{shown}: no logs here. Give a run directory, such as .hitlog/<run id>.")),
        false => Ok(logs),
    }
}

/// What was found in all logs.
#[derive(Default)]
struct Findings {
    logs: Vec<Finding>,
    unreadable: Vec<String>,
}

/// What was found in one log. Serialized, it is a line of `check --json`.
#[derive(Serialize)]
struct Finding {
    log: String,
    pid: Option<u32>,
    argv: Vec<String>,
    #[serde(skip)]
    label: String,
    state: &'static str,
    whole: bool,
    records: u64,
    slots: u64,
    blank: u64,
    unfinished: u64,
    damaged: u64,
    foreign: u64,
    missing: u64,
    lost: u64,
    lost_errno: u16,
    names_lost: u64,
    trailing_bytes: u64,
    header_damage: [Option<String>; 2],
    unknown_kinds: Vec<(u8, u64)>,
    over_limits: bool,
    damaged_slots: Vec<(u32, &'static str)>,
    foreign_slots: Vec<u32>,
}

/// The last line of `check --json`.
#[derive(Serialize)]
struct Total {
    logs: usize,
    logs_not_whole: usize,
    logs_not_readable: usize,
    records: u64,
    records_not_readable: u64,
    records_lost: u64,
}

impl Findings {
    fn check(&mut self, logs: &[PathBuf]) {
        let checked: Vec<_> = logs.par_iter().map(|path| Finding::of(path)).collect();
        for finding in checked {
            match finding {
                Ok(finding) => self.logs.push(finding),
                Err(error) => self.unreadable.push(error.to_string()),
            }
        }
    }

    fn exit_code(&self) -> u8 {
        match (self.unreadable.is_empty(), self.not_whole()) {
            (false, _) => 2,
            (true, 0) => 0,
            (true, _) => 1,
        }
    }

    fn not_whole(&self) -> usize {
        self.logs.iter().filter(|log| !log.whole).count()
    }

    fn total(&self) -> Total {
        Total {
            logs: self.logs.len() + self.unreadable.len(),
            logs_not_whole: self.not_whole(),
            logs_not_readable: self.unreadable.len(),
            records: self.sum(|log| log.records),
            records_not_readable: self.sum(Finding::not_readable),
            records_lost: self.sum(|log| log.lost),
        }
    }

    /// Numbers in a log may be anything, so their sum ends at the largest number.
    fn sum(&self, number: impl Fn(&Finding) -> u64) -> u64 {
        self.logs.iter().map(number).fold(0, u64::saturating_add)
    }

    fn json(&self, mut out: &mut dyn Write) -> io::Result<()> {
        for log in &self.logs {
            serde_json::to_writer(&mut out, log)?;
            writeln!(out)?;
        }
        serde_json::to_writer(&mut out, &self.total())?;
        writeln!(out)
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for log in self.logs.iter().filter(|log| !log.whole) {
            writeln!(out, "{}  {}", log.label, log.sentence())?;
        }
        let total = self.total();
        let records = counted(total.records.saturating_add(total.records_not_readable), "record");
        if total.logs_not_whole == 0 && !self.logs.is_empty() {
            let (logs, running) = (counted(self.logs.len() as u64, "log"), self.count("running"));
            let cut = self.count("cut");
            return writeln!(out, "{logs} whole, {records} ({cut} cut short, {running} still running)");
        }
        if self.logs.is_empty() {
            return Ok(());
        }
        let not_readable = counted(total.records_not_readable, "record");
        let of_all = records.trim_end_matches(" record").trim_end_matches(" records");
        let damaged = grouped(total.logs_not_whole as u64);
        let logs = counted(self.logs.len() as u64, "log");
        write!(out, "{damaged} of {logs} damaged, {not_readable} of {of_all} not readable")?;
        if total.records_lost > 0 {
            write!(out, ", {} never written", grouped(total.records_lost))?;
        }
        writeln!(out, "; everything else will be kept")
    }

    fn count(&self, state: &str) -> usize {
        self.logs.iter().filter(|log| log.state == state).count()
    }
}

impl Finding {
    fn of(path: &Path) -> Result<Finding, Error> {
        let log = LogReader::open(path)?;
        let mut digest = Digest::default();
        let counts = log.scan_with(0..log.slot_count(), &mut digest)?;
        Ok(Finding::from_parts(&log, &counts, &digest.finish()))
    }

    fn from_parts(log: &LogReader, counts: &SlotCounts, contents: &Contents) -> Finding {
        let sentence = |copy: Result<(), HeaderDamage>| copy.err().map(|damage| damage.to_string());
        let words = |header| arguments_of(header).map(|word| escaped(word).into_owned()).collect();
        let damaged = contents.damaged.iter().map(|slot| (slot.slot, damage_word(slot.damage)));
        Finding {
            log: escaped(log.path().as_os_str().as_encoded_bytes()).into_owned(),
            pid: log.pid(),
            argv: log.header().map(words).unwrap_or_default(),
            label: label_of(log),
            state: contents.state(log.is_writer_alive()).as_str(),
            whole: contents.is_whole(log, counts),
            records: contents.records(counts),
            slots: counts.slots,
            blank: counts.blank,
            unfinished: counts.unfinished,
            damaged: counts.damaged,
            foreign: counts.foreign,
            missing: contents.missing(counts),
            lost: contents.lost,
            lost_errno: contents.lost_errno,
            names_lost: contents.names_lost(),
            trailing_bytes: log.trailing_bytes(),
            header_damage: log.header_copies().map(sentence),
            unknown_kinds: contents.unknown_kinds.clone(),
            over_limits: contents.is_over_limits,
            damaged_slots: damaged.collect(),
            foreign_slots: contents.foreign.iter().map(|slot| slot.slot).collect(),
        }
    }

    /// Records that were there and cannot be read. A damaged slot may have held a trailer or nothing; if
    /// there is a trailer, it knows better.
    fn not_readable(&self) -> u64 {
        self.missing.max(self.damaged + self.foreign)
    }

    /// What is in this log and what is wrong with it.
    fn sentence(&self) -> String {
        let mut parts = vec![counted(self.records, "record")];
        let mut add = |number: u64, text: String| {
            if number > 0 {
                parts.push(format!("{} {text}", grouped(number)));
            }
        };
        add(self.damaged, format!("damaged ({})", first_damaged(&self.damaged_slots)));
        add(self.foreign, format!("foreign ({})", first_slot(&self.foreign_slots)));
        // A damaged slot's record is missing as well; it is not told twice.
        add(self.missing.saturating_sub(self.damaged + self.foreign), "missing".to_string());
        add(self.lost, format!("never written{}", reason(self.lost_errno)));
        add(self.trailing_bytes, "bytes after the last slot".to_string());
        for (kind, number) in self.unknown_kinds.iter().filter(|(kind, _)| kind & 0x80 == 0) {
            add(*number, format!("of unknown kind {kind}"));
        }
        for (index, damage) in self.header_damage.iter().enumerate() {
            if let Some(damage) = damage {
                parts.push(format!("header copy {}: {damage}", index + 1));
            }
        }
        if self.over_limits {
            parts.push("more names than a reader keeps".to_string());
        }
        parts.push(match self.names_lost {
            0 => "names whole".to_string(),
            number => format!("{} lost", counted(number, "name")),
        });
        parts.join(", ")
    }
}

fn first_damaged(slots: &[(u32, &'static str)]) -> String {
    let more = if slots.len() > 1 { " the first" } else { "" };
    slots.first().map_or_else(String::new, |(slot, damage)| {
        format!("slot {}{more}: {damage}", grouped(u64::from(*slot)))
    })
}

fn first_slot(slots: &[u32]) -> String {
    let more = if slots.len() > 1 { " the first" } else { "" };
    slots.first().map_or_else(String::new, |slot| format!("slot {}{more}", grouped(u64::from(*slot))))
}

fn reason(errno: u16) -> String {
    match errno {
        0 => String::new(),
        errno => format!(": {}", io::Error::from_raw_os_error(i32::from(errno))),
    }
}

/// What people know a log's process by.
fn label_of(log: &LogReader) -> String {
    const COMMAND_CHARACTERS_MAX: usize = 40;
    let pid = log.pid().map_or_else(|| "?".to_string(), |pid| pid.to_string());
    let command = log.header().map(label).unwrap_or_default();
    match command.char_indices().nth(COMMAND_CHARACTERS_MAX) {
        Some((cut, _)) => format!("{pid} {}...", &command[..cut]),
        None => format!("{pid} {command}").trim_end().to_string(),
    }
}
