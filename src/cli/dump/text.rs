//! `hitlog dump` for people: ids are replaced by names, times count from the start of the log.

use super::super::wording::{counted, damage_word, grouped, label, utc};
use crate::format::{Header, KIND_SKIPPABLE, NameSpace, Record, Slot, ZERO_ID};
use crate::reader::{Contents, LogReader, Names, SlotCounts, State, escaped};
use std::io::{self, Write};

/// What the log is, who wrote it, how it ended, and what state its slots are in.
pub(super) fn header(
    log: &LogReader,
    counts: &SlotCounts,
    contents: &Contents,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "log      {}", escaped(log.path().as_os_str().as_encoded_bytes()))?;
    writeln!(out, "state    {}", state(log, contents))?;
    match log.header() {
        Some(header) => process(header, out)?,
        None => writeln!(out, "process  not known: both copies of the header are lost")?,
    }
    for (index, copy) in log.header_copies().into_iter().enumerate() {
        if let Err(damage) = copy {
            writeln!(out, "header   copy {}: {damage}", index + 1)?;
        }
    }
    let SlotCounts { slots, valid, blank, unfinished, damaged, foreign } = *counts;
    let [valid, blank, damaged, foreign] = [valid, blank, damaged, foreign].map(grouped);
    write!(out, "slots    {}: {valid} valid, {blank} blank", grouped(slots))?;
    if unfinished > 0 {
        write!(out, " ({} of them unfinished)", grouped(unfinished))?;
    }
    writeln!(out, ", {damaged} damaged, {foreign} foreign")?;
    if contents.missing(counts) > 0 {
        writeln!(out, "missing  {} by the trailer", counted(contents.missing(counts), "record"))?;
    }
    if log.trailing_bytes() > 0 {
        writeln!(out, "rest     {} after the last slot", counted(log.trailing_bytes(), "byte"))?;
    }
    writeln!(out)
}

fn state(log: &LogReader, contents: &Contents) -> String {
    let state = contents.state(log.is_writer_alive());
    let mut text = state.as_str().to_string();
    if let Some(code) = contents.end.and_then(|end| end.exit_code) {
        text += &format!(", exit code {code}");
    }
    if let Some(open) = contents.open_context.filter(|_| state != State::Clean) {
        text += &format!(", in {}", context(contents, open.context));
    }
    if contents.lost > 0 {
        text += &format!(", {} lost", counted(contents.lost, "record"));
    }
    text
}

fn process(header: &Header, out: &mut dyn Write) -> io::Result<()> {
    let host = escaped(&header.host);
    writeln!(out, "process  {}, parent {}, on {host}", header.pid, header.ppid)?;
    if header.parent_log_id != ZERO_ID {
        writeln!(out, "forked   from log {:032x}", u128::from_be_bytes(header.parent_log_id))?;
    }
    if header.segment > 0 {
        let first = u128::from_be_bytes(header.first_log_id);
        writeln!(out, "segment  {} of log {first:032x}", header.segment)?;
    }
    writeln!(out, "command  {}", label(header))?;
    writeln!(out, "started  {}", utc(header.wall_start_ns))
}

/// One line for a slot that is not simply blank.
pub(super) fn slot(
    log: &LogReader,
    contents: &Contents,
    number: u32,
    slot: &Slot,
    out: &mut dyn Write,
) -> io::Result<()> {
    write!(out, "{number:>9}  ")?;
    match slot {
        Slot::Valid(record) => writeln!(out, "{}", record_text(log, contents, record)),
        Slot::Blank { .. } => writeln!(out, "unfinished"),
        Slot::Damaged(damage) => writeln!(out, "DAMAGED        {}", damage_word(*damage)),
        Slot::Foreign { place } => {
            writeln!(out, "FOREIGN        a record of another place ({place:#010x})")
        }
    }
}

fn record_text(log: &LogReader, contents: &Contents, record: &Record) -> String {
    let at = |time_ns| since_start(log, time_ns);
    let name = |id| context(contents, id);
    match *record {
        Record::Line { context, file, line } => {
            format!("line           {}:{line}{}", path(contents, file), within(contents, context))
        }
        Record::Arc { context, file, from, to } => {
            let place = path(contents, file);
            format!("arc            {place}:{from} -> {to}{}", within(contents, context))
        }
        Record::Name { space, id, index, last, chunk } => {
            let end = if last { "" } else { " ..." };
            let kind = match space {
                NameSpace::File => "file name     ",
                NameSpace::Context => "context name  ",
                NameSpace::Sample => "sample name   ",
            };
            format!("{kind} {id}[{index}] {}{end}", shown(chunk.as_bytes()))
        }
        Record::FileFacts { file, size, mtime_ns } => {
            let size = counted(size, "byte");
            format!("file facts     {}: {size}, {}", path(contents, file), utc(mtime_ns))
        }
        Record::ContextStart { context, thread, time_ns, inherited } => {
            let inherited = if inherited { " (inherited)" } else { "" };
            format!("context start  {} {} thread {thread}{inherited}", at(time_ns), name(context))
        }
        Record::ContextStop { context, thread, time_ns } => {
            format!("context stop   {} {} thread {thread}", at(time_ns), name(context))
        }
        Record::Sample { name, context, time_ns, value } => {
            let series = named(&contents.sample_names, u32::from(name), "sample");
            format!("sample         {} {series} = {value}{}", at(time_ns), within(contents, context))
        }
        Record::Trailer { exit_code, time_ns, records, lost, reason } => {
            let code = exit_code.map_or(String::new(), |code| format!(", exit code {code}"));
            let records = counted(records, "record");
            format!("trailer        {} {reason:?}{code}, {records}, {lost} lost", at(time_ns))
        }
        Record::Resumed { time_ns } => format!("resumed        {}", at(time_ns)),
        Record::Loss { lost, errno, time_ns } => {
            let reason = io::Error::from_raw_os_error(i32::from(errno));
            format!("loss           {} {} ({reason})", at(time_ns), counted(lost, "record"))
        }
        Record::Unknown { kind } => {
            let skip = if kind & KIND_SKIPPABLE == 0 { "must not" } else { "may" };
            format!("unknown        kind {kind:#04x}, which {skip} be skipped")
        }
    }
}

fn since_start(log: &LogReader, time_ns: u64) -> String {
    let start = log.header().map_or(0, |header| header.monotonic_start_ns);
    let difference = i128::from(time_ns) - i128::from(start);
    let sign = if difference < 0 { '-' } else { '+' };
    let ns = difference.unsigned_abs();
    format!("{sign}{}.{:09} s", ns / 1_000_000_000, ns % 1_000_000_000)
}

fn path(contents: &Contents, file: u32) -> String {
    named(&contents.files, file, "file")
}

fn context(contents: &Contents, id: u32) -> String {
    if id == 0 { "(no context)".to_string() } else { named(&contents.contexts, id, "context") }
}

fn within(contents: &Contents, id: u32) -> String {
    if id == 0 { String::new() } else { format!("  in {}", context(contents, id)) }
}

fn named(names: &Names, id: u32, what: &str) -> String {
    names.get(id).map_or_else(|| format!("<{what} {id}: name lost>"), shown)
}

/// A name on one line, without control characters that a terminal would obey.
fn shown(name: &[u8]) -> String {
    escaped(name)
        .chars()
        .map(|character| match character {
            character if character.is_control() => character.escape_default().to_string(),
            character => character.to_string(),
        })
        .collect()
}
