//! `hitlog dump --json`, as `format-spec.md` defines it. The order of fields is part of the format.

use super::super::wording::{arguments_of, damage_word};
use crate::format::{
    BOOT_ID_UNKNOWN, EndReason, Header, HeaderDamage, KIND_SKIPPABLE, NameSpace, Record, Slot, ZERO_ID,
    place,
};
use crate::reader::{Contents, LogReader, Names, SlotCounts, Unnamed, escaped};
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, Write};

#[derive(Serialize)]
struct LogLine<'log> {
    log: Cow<'log, str>,
    log_id: String,
    size: u64,
    slots: u32,
    trailing_bytes: u64,
    header_copies: [&'static str; 2],
    header: Option<HeaderObject<'log>>,
}

#[derive(Serialize)]
struct HeaderObject<'log> {
    parent_log_id: Option<String>,
    first_log_id: String,
    segment: u32,
    pid: u32,
    ppid: u32,
    process_start_ticks: u64,
    pid_namespace: u64,
    boot_id: Option<String>,
    wall_start_ns: i64,
    monotonic_start_ns: u64,
    run_id: Cow<'log, str>,
    host: Cow<'log, str>,
    argv: Vec<Cow<'log, str>>,
    argv_cut: bool,
}

#[derive(Serialize)]
struct SlotLine<'record> {
    slot: u32,
    #[serde(flatten)]
    found: Found<'record>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Found<'record> {
    Record(RecordObject<'record>),
    Blank { blank: &'static str },
    Damaged { damaged: &'static str },
    Foreign { foreign: ForeignObject },
}

#[derive(Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum RecordObject<'record> {
    Line { context: u32, file: u32, line: u32 },
    Arc { context: u32, file: u32, from: i32, to: i32 },
    FileName(NameObject<'record>),
    ContextName(NameObject<'record>),
    SampleName(NameObject<'record>),
    FileFacts { file: u32, size: u64, mtime_ns: i64 },
    ContextStart { context: u32, thread: u32, time_ns: u64, inherited: bool },
    ContextStop { context: u32, thread: u32, time_ns: u64 },
    Sample { name: u16, context: u32, time_ns: u64, value: u64 },
    Trailer { reason: &'static str, exit_code: Option<u16>, time_ns: u64, records: u64, lost: u32 },
    Resumed { time_ns: u64 },
    Loss { lost: u64, errno: u16, time_ns: u64 },
    Unknown { kind: u8, skippable: bool },
}

#[derive(Serialize)]
struct NameObject<'record> {
    id: u32,
    index: u16,
    last: bool,
    text: Cow<'record, str>,
}

#[derive(Serialize)]
struct ForeignObject {
    place: u32,
    /// The slot of this log that the record would belong to, if there is such a slot.
    slot: Option<u32>,
}

#[derive(Serialize)]
struct NameLine<'log> {
    name: &'static str,
    id: u32,
    text: Option<Cow<'log, str>>,
}

#[derive(Serialize)]
struct SummaryLine<'log> {
    state: &'static str,
    exit_code: Option<u16>,
    slots: u64,
    valid: u64,
    blank: u64,
    unfinished: u64,
    damaged: u64,
    foreign: u64,
    records: u64,
    lines: u64,
    arcs: u64,
    missing: u64,
    lost: u64,
    lost_errno: u16,
    names_lost: u64,
    unknown_kinds: &'log [(u8, u64)],
    last_context: Option<ContextObject<'log>>,
    over_limits: bool,
    whole: bool,
}

#[derive(Serialize)]
struct ContextObject<'log> {
    id: u32,
    name: Option<Cow<'log, str>>,
    thread: u32,
    start_ns: u64,
}

/// The first line: which log this is, and who wrote it.
pub(super) fn header(log: &LogReader, out: &mut dyn Write) -> io::Result<()> {
    let name = log.path().file_name().unwrap_or_default();
    let line = LogLine {
        log: escaped(name.as_encoded_bytes()),
        log_id: hex(&log.log_id()),
        size: log.size(),
        slots: log.slot_count(),
        trailing_bytes: log.trailing_bytes(),
        header_copies: log.header_copies().map(copy_word),
        header: log.header().map(header_object),
    };
    write_line(&line, out)
}

fn header_object(header: &Header) -> HeaderObject<'_> {
    HeaderObject {
        parent_log_id: (header.parent_log_id != ZERO_ID).then(|| hex(&header.parent_log_id)),
        first_log_id: hex(&header.first_log_id),
        segment: header.segment,
        pid: header.pid,
        ppid: header.ppid,
        process_start_ticks: header.process_start_ticks,
        pid_namespace: header.pid_namespace,
        boot_id: (header.boot_id != BOOT_ID_UNKNOWN).then(|| hex(&header.boot_id)),
        wall_start_ns: header.wall_start_ns,
        monotonic_start_ns: header.monotonic_start_ns,
        run_id: escaped(&header.run_id),
        host: escaped(&header.host),
        argv: arguments_of(header).map(escaped).collect(),
        argv_cut: header.argv_cut,
    }
}

fn hex(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

fn copy_word(copy: Result<(), HeaderDamage>) -> &'static str {
    match copy {
        Ok(()) => "whole",
        Err(HeaderDamage::Short) => "short",
        Err(HeaderDamage::Magic) => "magic",
        Err(HeaderDamage::Checksum) => "checksum",
        Err(HeaderDamage::Version(_)) => "version",
        Err(HeaderDamage::Incompatible(_)) => "incompatible",
        Err(HeaderDamage::Content) => "content",
        Err(HeaderDamage::Different) => "different",
    }
}

/// One line for a slot that is not simply blank.
pub(super) fn slot(log: &LogReader, number: u32, slot: &Slot, out: &mut dyn Write) -> io::Result<()> {
    let found = match slot {
        Slot::Valid(record) => Found::Record(record_object(record)),
        Slot::Blank { .. } => Found::Blank { blank: "unfinished" },
        Slot::Damaged(damage) => Found::Damaged { damaged: damage_word(*damage) },
        Slot::Foreign { place } => Found::Foreign { foreign: foreign_object(log, *place) },
    };
    write_line(&SlotLine { slot: number, found }, out)
}

fn foreign_object(log: &LogReader, found: u32) -> ForeignObject {
    let slot = found.wrapping_sub(place(&log.log_id(), 0));
    ForeignObject { place: found, slot: (slot < log.slot_count()).then_some(slot) }
}

fn record_object(record: &Record) -> RecordObject<'_> {
    match *record {
        Record::Line { context, file, line } => RecordObject::Line { context, file, line },
        Record::Arc { context, file, from, to } => RecordObject::Arc { context, file, from, to },
        Record::Name { space, id, index, last, ref chunk } => {
            let name = NameObject { id, index, last, text: escaped(chunk.as_bytes()) };
            match space {
                NameSpace::File => RecordObject::FileName(name),
                NameSpace::Context => RecordObject::ContextName(name),
                NameSpace::Sample => RecordObject::SampleName(name),
            }
        }
        Record::FileFacts { file, size, mtime_ns } => RecordObject::FileFacts { file, size, mtime_ns },
        Record::ContextStart { context, thread, time_ns, inherited } => {
            RecordObject::ContextStart { context, thread, time_ns, inherited }
        }
        Record::ContextStop { context, thread, time_ns } => {
            RecordObject::ContextStop { context, thread, time_ns }
        }
        Record::Sample { name, context, time_ns, value } => {
            RecordObject::Sample { name, context, time_ns, value }
        }
        Record::Trailer { reason, exit_code, time_ns, records, lost } => {
            let reason = reason_word(reason);
            RecordObject::Trailer { reason, exit_code, time_ns, records, lost }
        }
        Record::Resumed { time_ns } => RecordObject::Resumed { time_ns },
        Record::Loss { lost, errno, time_ns } => RecordObject::Loss { lost, errno, time_ns },
        Record::Unknown { kind } => {
            RecordObject::Unknown { kind, skippable: kind & KIND_SKIPPABLE != 0 }
        }
    }
}

fn reason_word(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Closed => "closed",
        EndReason::Continued => "continued",
        EndReason::Exec => "exec",
    }
}

/// One line for each name: of each space the whole ones, then those in use that are not whole.
pub(super) fn names(contents: &Contents, out: &mut dyn Write) -> io::Result<()> {
    let spaces = [
        ("file", &contents.files, &contents.unnamed_files),
        ("context", &contents.contexts, &contents.unnamed_contexts),
        ("sample", &contents.sample_names, &contents.unnamed_samples),
    ];
    for (space, names, unnamed) in spaces {
        names_of_space(space, names, unnamed, out)?;
    }
    Ok(())
}

fn names_of_space(
    space: &'static str,
    names: &Names,
    unnamed: &Unnamed,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (id, name) in names.iter() {
        write_line(&NameLine { name: space, id, text: Some(escaped(name)) }, out)?;
    }
    for id in &unnamed.ids {
        write_line(&NameLine { name: space, id: *id, text: None }, out)?;
    }
    Ok(())
}

/// The last line: the counts, and how the log ended.
pub(super) fn summary(
    log: &LogReader,
    counts: &SlotCounts,
    contents: &Contents,
    out: &mut dyn Write,
) -> io::Result<()> {
    let line = SummaryLine {
        state: contents.state(log.is_writer_alive()).as_str(),
        exit_code: contents.end.and_then(|end| end.exit_code),
        slots: counts.slots,
        valid: counts.valid,
        blank: counts.blank,
        unfinished: counts.unfinished,
        damaged: counts.damaged,
        foreign: counts.foreign,
        records: contents.records(counts),
        lines: contents.lines,
        arcs: contents.arcs,
        missing: contents.missing(counts),
        lost: contents.lost,
        lost_errno: contents.lost_errno,
        names_lost: contents.names_lost(),
        unknown_kinds: &contents.unknown_kinds,
        last_context: contents.open_context.map(|open| ContextObject {
            id: open.context,
            name: contents.context_name(open.context).map(escaped),
            thread: open.thread,
            start_ns: open.start_ns,
        }),
        over_limits: contents.is_over_limits,
        whole: contents.is_whole(log, counts),
    };
    write_line(&line, out)
}

fn write_line(line: &impl Serialize, mut out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")
}
