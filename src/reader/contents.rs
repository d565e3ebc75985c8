//! What the records of a log say, taken together: names, durations of contexts, how the log ended.

use super::digest::{At, DamagedSlot, Digest, FileFacts, ForeignSlot, IdSet};
use super::names::{ChunkAt, Names};
use super::{LogReader, SlotCounts};
use crate::format::{EndReason, KIND_SKIPPABLE, NameSpace};
use crate::limits::DAMAGE_LISTED_MAX;

/// A start or a stop of a context.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContextEvent {
    pub(super) time_ns: u64,
    pub(super) context: u32,
    pub(super) thread: u32,
    pub(super) start: bool,
    pub(super) inherited: bool,
}

/// A measurement. Times are nanoseconds of the monotonic clock of the log's boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub time_ns: u64,
    /// What was measured, in the unit that its name tells.
    pub value: u64,
    /// Id of the context it was taken in.
    pub context: u32,
    /// Id of the sample's name.
    pub name: u16,
}

/// One time that a thread spent in one context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Number of the thread within the log.
    pub thread: u32,
    /// Id of the context.
    pub context: u32,
    /// Begin, in nanoseconds of the monotonic clock.
    pub start_ns: u64,
    /// How long, in nanoseconds; `None` if it had not ended when the log did.
    pub duration_ns: Option<u64>,
    /// Whether it was begun by the parent process.
    pub inherited: bool,
}

/// The context that was open when the log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenContext {
    /// Id of the context.
    pub context: u32,
    /// Number of the thread within the log.
    pub thread: u32,
    /// Begin, in nanoseconds of the monotonic clock.
    pub start_ns: u64,
}

/// A trailer: the log was ended by its own process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// The process's exit code, if it was known.
    pub exit_code: Option<u16>,
    /// When, in nanoseconds of the monotonic clock.
    pub time_ns: u64,
    /// How many records were appended, without trailers.
    pub records: u64,
    /// How many appends found no room, saturating.
    pub lost: u32,
}

/// How a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// By its own process, which wrote a trailer.
    Clean,
    /// Without one: the process was killed, crashed, or the machine stopped.
    Cut,
    /// Not yet: the process is still there.
    Running,
}

impl State {
    /// The word that people and databases are shown: `clean`, `cut` or `running`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Clean => "clean",
            State::Cut => "cut",
            State::Running => "running",
        }
    }
}

/// Ids that records use, but whose name is not whole. A name that was begun and never used is not
/// missed: the process died while it wrote the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unnamed {
    /// How many.
    pub count: u64,
    /// The first of them, at most [`DAMAGE_LISTED_MAX`].
    pub ids: Vec<u32>,
}

/// Everything of a log but its hits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contents {
    /// Paths of files.
    pub files: Names,
    /// Names of contexts. Id 0 is the empty context and has no entry.
    pub contexts: Names,
    /// Names of series of samples.
    pub sample_names: Names,
    /// Files with hits but without a whole path.
    pub unnamed_files: Unnamed,
    /// Contexts in use without a whole name.
    pub unnamed_contexts: Unnamed,
    /// Series of samples in use without a whole name.
    pub unnamed_samples: Unnamed,
    /// Sizes and times of files, in the order of their ids.
    pub file_facts: Vec<FileFacts>,
    /// Times spent in contexts, by thread, then by begin.
    pub spans: Vec<Span>,
    /// The context that was open at the end; of several threads', the one begun last.
    pub open_context: Option<OpenContext>,
    /// Measurements, in the order of their slots.
    pub samples: Vec<Sample>,
    /// The trailer, if the log ended with one.
    pub end: Option<End>,
    /// How many records could not be written.
    pub lost: u64,
    /// Why: an error number of the operating system, 0 if nothing was lost or the reason is not known.
    pub lost_errno: u16,
    /// How many trailers were read.
    pub trailers: u64,
    /// How many records the trailers say were appended, without trailers; 0 without a trailer.
    pub records_promised: u64,
    /// How many records of lines were passed.
    pub lines: u64,
    /// How many records of arcs were passed.
    pub arcs: u64,
    /// How many lines and arcs each file has that has any, by its id; files with large ids have no entry.
    pub hits_by_file: Vec<(u32, u64)>,
    /// Kinds that this version does not know, and how many records of each.
    pub unknown_kinds: Vec<(u8, u64)>,
    /// The first damaged slots.
    pub damaged: Vec<DamagedSlot>,
    /// The first foreign slots.
    pub foreign: Vec<ForeignSlot>,
    /// Whether the log holds more names, contexts' starts and stops, samples or files than
    /// [`limits`](crate::limits) lets a reader keep.
    pub is_over_limits: bool,
}

impl Contents {
    pub(super) fn of(digest: Digest) -> Contents {
        let (chunks, chunks_over) = digest.chunks.finish();
        let (file_facts, facts_over) = digest.facts.finish();
        let (events, events_over) = digest.events.finish();
        let (samples, samples_over) = digest.samples.finish();
        let files = names_of(&chunks, NameSpace::File);
        let contexts = names_of(&chunks, NameSpace::Context);
        let sample_names = names_of(&chunks, NameSpace::Sample);
        let spans = spans_of(events);
        let damaged = digest.damaged.finish().0.into_iter();
        let foreign = digest.foreign.finish().0.into_iter();
        Contents {
            unnamed_files: unnamed(&files, &digest.files_used),
            unnamed_contexts: unnamed(&contexts, &digest.contexts_used),
            unnamed_samples: unnamed(&sample_names, &digest.sample_names_used),
            files,
            contexts,
            sample_names,
            file_facts,
            open_context: open_context(&spans),
            spans,
            samples: samples.into_iter().map(|sample| sample.what).collect(),
            end: digest.latest_end.and_then(|(_, end)| end),
            lost: digest.loss.0,
            lost_errno: digest.loss.1,
            trailers: digest.trailers,
            records_promised: digest.records_promised,
            lines: digest.lines,
            arcs: digest.arcs,
            hits_by_file: (0..).zip(digest.hits_by_file).filter(|(_, hits)| *hits > 0).collect(),
            unknown_kinds: digest.unknown_kinds.into_iter().collect(),
            damaged: damaged.map(|at| DamagedSlot { slot: at.slot, damage: at.what }).collect(),
            foreign: foreign.map(|at| ForeignSlot { slot: at.slot, place: at.what }).collect(),
            is_over_limits: chunks_over || facts_over || events_over || samples_over,
        }
    }

    /// How the log ended. A log whose last word is a trailer is clean, whoever is alive.
    #[must_use]
    pub fn state(&self, is_writer_alive: bool) -> State {
        match (self.end, is_writer_alive) {
            (Some(_), _) => State::Clean,
            (None, true) => State::Running,
            (None, false) => State::Cut,
        }
    }

    /// How many records of this log were read, without trailers.
    #[must_use]
    pub fn records(&self, counts: &SlotCounts) -> u64 {
        counts.valid.saturating_sub(self.trailers)
    }

    /// The name of context `id`, if it is whole; the empty name for 0.
    #[must_use]
    pub fn context_name(&self, id: u32) -> Option<&[u8]> {
        if id == 0 { Some(b"") } else { self.contexts.get(id) }
    }

    /// How many records the trailer says were appended but that were not read; 0 without a trailer.
    #[must_use]
    pub fn missing(&self, counts: &SlotCounts) -> u64 {
        self.records_promised.saturating_sub(self.records(counts))
    }

    /// How many names are in use but not whole.
    #[must_use]
    pub fn names_lost(&self) -> u64 {
        self.unnamed_files.count + self.unnamed_contexts.count + self.unnamed_samples.count
    }

    /// Whether records of a kind were read that this version must not skip.
    #[must_use]
    pub fn has_critical_unknown_kinds(&self) -> bool {
        self.unknown_kinds.iter().any(|(kind, _)| kind & KIND_SKIPPABLE == 0)
    }

    /// Whether `log`, with these contents and `counts`, is as its writer left it and lost nothing. A log
    /// of a killed process is.
    #[must_use]
    pub fn is_whole(&self, log: &LogReader, counts: &SlotCounts) -> bool {
        let never_begun = log.header_was_never_written() && counts.blank == counts.slots;
        let header_whole = never_begun || log.header_copies().iter().all(|copy| copy.is_ok());
        header_whole
            && log.trailing_bytes() == 0
            && [counts.damaged, counts.foreign, self.lost, self.missing(counts)] == [0; 4]
            && self.names_lost() == 0
            && !self.has_critical_unknown_kinds()
            && !self.is_over_limits
    }
}

fn names_of(chunks: &[ChunkAt], space: NameSpace) -> Names {
    let start = chunks.partition_point(|chunk| chunk.is_before(space));
    let end = start + chunks[start..].partition_point(|chunk| chunk.is_of(space));
    Names::join(&chunks[start..end])
}

fn unnamed(names: &Names, used: &IdSet) -> Unnamed {
    let mut unnamed = Unnamed::default();
    for id in used.iter().filter(|id| *id != 0 && names.get(*id).is_none()) {
        unnamed.count += 1;
        if unnamed.ids.len() < DAMAGE_LISTED_MAX {
            unnamed.ids.push(id);
        }
    }
    unnamed
}

/// The times between starts and stops. A thread is in one context at a time: a start ends what was open,
/// if the stop in between was lost. A stop without a start is dropped.
fn spans_of(mut events: Vec<At<ContextEvent>>) -> Vec<Span> {
    // At one time, the stop of one context stands before the start of the next.
    events.sort_by_key(|at| (at.what.thread, at.what.time_ns, at.what.start, at.slot));
    let mut spans: Vec<Span> = Vec::new();
    for event in events.iter().map(|at| at.what) {
        let open =
            spans.last_mut().filter(|span| span.thread == event.thread && span.duration_ns.is_none());
        if let Some(span) = open
            && (event.start || span.context == event.context)
        {
            span.duration_ns = Some(event.time_ns - span.start_ns);
        }
        if event.start {
            spans.push(Span {
                thread: event.thread,
                context: event.context,
                start_ns: event.time_ns,
                duration_ns: None,
                inherited: event.inherited,
            });
        }
    }
    spans
}

/// The open span that began last; of several that began at one time, the lowest thread's.
fn open_context(spans: &[Span]) -> Option<OpenContext> {
    let open = spans.iter().rev().filter(|span| span.duration_ns.is_none());
    let latest = open.max_by_key(|span| span.start_ns)?;
    Some(OpenContext { context: latest.context, thread: latest.thread, start_ns: latest.start_ns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{NameChunk, Record, Slot};

    fn start(context: u32, thread: u32, time_ns: u64) -> Record {
        Record::ContextStart { context, thread, time_ns, inherited: false }
    }

    fn stop(context: u32, thread: u32, time_ns: u64) -> Record {
        Record::ContextStop { context, thread, time_ns }
    }

    fn trailer(time_ns: u64, records: u64) -> Record {
        let (reason, exit_code) = (EndReason::Closed, Some(3));
        Record::Trailer { reason, exit_code, time_ns, records, lost: 2 }
    }

    fn contents(records: &[Record]) -> Contents {
        let mut digest = Digest::default();
        for (slot, record) in records.iter().enumerate().rev() {
            digest.add(slot as u32, &Slot::Valid(*record));
        }
        digest.finish()
    }

    fn durations(records: &[Record]) -> Vec<(u32, u64, Option<u64>)> {
        let spans = contents(records).spans;
        spans.iter().map(|span| (span.context, span.start_ns, span.duration_ns)).collect()
    }

    #[test]
    fn starts_and_stops_make_spans_per_thread() {
        let records = [
            start(1, 0, 10),
            start(2, 1, 11),
            stop(1, 0, 20),
            start(3, 0, 20),
            stop(2, 1, 31),
            stop(3, 0, 30),
        ];
        let expected = [(1, 10, Some(10)), (3, 20, Some(10)), (2, 11, Some(20))];
        assert_eq!(durations(&records), expected);
    }

    #[test]
    fn a_lost_stop_ends_at_the_next_start_and_a_lost_start_costs_its_span() {
        assert_eq!(durations(&[start(1, 0, 10), start(2, 0, 15)]), [(1, 10, Some(5)), (2, 15, None)]);
        assert_eq!(durations(&[start(1, 0, 10), stop(2, 0, 15)]), [(1, 10, None)]);
        assert_eq!(durations(&[stop(2, 0, 15)]), []);
    }

    #[test]
    fn more_of_anything_than_a_reader_keeps_is_told() {
        use crate::limits::{
            CONTEXT_EVENTS_KEPT_MAX, FILES_KEPT_MAX, NAME_CHUNKS_KEPT_MAX, SAMPLES_KEPT_MAX,
        };
        let (space, chunk) = (NameSpace::Context, NameChunk::new(b"t"));
        let name = |id| Record::Name { space, id, index: 0, last: true, chunk };
        let facts = |file| Record::FileFacts { file, size: 1, mtime_ns: 1 };
        let event = |context| start(context, 0, 1);
        let sample = |time: u32| Record::Sample { name: 1, context: 0, time_ns: time.into(), value: 1 };
        let kinds: [(&dyn Fn(u32) -> Record, usize); 4] = [
            (&name, NAME_CHUNKS_KEPT_MAX),
            (&facts, FILES_KEPT_MAX),
            (&event, CONTEXT_EVENTS_KEPT_MAX),
            (&sample, SAMPLES_KEPT_MAX),
        ];
        for (record, limit) in kinds {
            let is_over = |count: u32| {
                let mut digest = Digest::default();
                (1..=count).for_each(|number| digest.add(number, &Slot::Valid(record(number))));
                digest.finish().is_over_limits
            };
            let limit = limit as u32;
            assert_eq!([is_over(limit), is_over(limit + 1)], [false, true], "{:?}", record(1));
        }
    }

    #[test]
    fn ids_without_a_name_are_listed_up_to_a_limit_and_counted_beyond() {
        let line = |file| Record::Line { context: 0, file, line: 1 };
        let count = DAMAGE_LISTED_MAX as u32 + 1;
        let unnamed = contents(&(1..=count).map(line).collect::<Vec<_>>()).unnamed_files;
        assert_eq!((unnamed.count, unnamed.ids.len()), (count.into(), DAMAGE_LISTED_MAX));
    }

    #[test]
    fn context_0_has_the_empty_name() {
        let (space, chunk) = (NameSpace::Context, NameChunk::new(b"t.py::a"));
        let contents = contents(&[Record::Name { space, id: 1, index: 0, last: true, chunk }]);
        let names = [0, 1, 2].map(|id| contents.context_name(id));
        assert_eq!(names, [Some(&b""[..]), Some(b"t.py::a"), None]);
    }

    #[test]
    fn the_open_context_is_the_one_begun_last() {
        let records = [start(1, 0, 10), start(2, 1, 12), start(3, 2, 15), stop(3, 2, 16)];
        let open = contents(&records).open_context;
        assert_eq!(open, Some(OpenContext { context: 2, thread: 1, start_ns: 12 }));
        assert_eq!(contents(&[start(1, 0, 1), stop(1, 0, 2)]).open_context, None);
        let tie = contents(&[start(1, 1, 5), start(2, 0, 5)]).open_context.unwrap();
        assert_eq!((tie.context, tie.thread), (2, 0));
        let switched = contents(&[start(1, 0, 1), stop(1, 0, 5), start(2, 0, 5)]).open_context;
        assert_eq!(switched.map(|open| open.context), Some(2), "a start wins over a stop");
    }

    #[test]
    fn the_latest_of_trailer_and_resumption_decides() {
        let resumed = Record::Resumed { time_ns: 20 };
        let clean = contents(&[resumed, trailer(30, 9), trailer(30, 9)]);
        assert_eq!((clean.state(true), clean.state(false)), (State::Clean, State::Clean));
        assert_eq!(clean.end.unwrap().exit_code, Some(3));
        let counts = SlotCounts { slots: 9, valid: 9, ..SlotCounts::default() };
        assert_eq!((clean.missing(&counts), clean.lost, clean.trailers), (2, 2, 2));
        let going_on = contents(&[trailer(10, 9), resumed]);
        assert_eq!((going_on.state(true), going_on.state(false)), (State::Running, State::Cut));
        assert_eq!(contents(&[]).state(false), State::Cut);
    }

    #[test]
    fn each_state_has_a_word() {
        let words = [State::Clean, State::Cut, State::Running].map(State::as_str);
        assert_eq!(words, ["clean", "cut", "running"]);
    }

    #[test]
    fn a_name_begun_but_not_used_is_not_missed() {
        let chunk = crate::format::NameChunk::new(&[b'x'; 16]);
        let space = NameSpace::File;
        let begun = Record::Name { space, id: 7, index: 0, last: false, chunk };
        assert_eq!(contents(&[begun]).names_lost(), 0);
        let sample = Record::Sample { name: 9, context: 4, time_ns: 1, value: 0 };
        let used = contents(&[begun, Record::Line { context: 4, file: 7, line: 1 }, sample]);
        assert_eq!((&used.unnamed_files.ids[..], &used.unnamed_contexts.ids[..]), (&[7][..], &[4][..]));
        assert_eq!((used.names_lost(), &used.hits_by_file[..]), (3, &[(7, 1)][..]));
    }

    #[test]
    fn loss_is_the_largest_number_that_was_told() {
        let loss = |lost, errno| Record::Loss { lost, errno, time_ns: 1 };
        let lossy = contents(&[loss(5, 28), loss(3, 27), trailer(9, 0)]);
        assert_eq!((lossy.lost, lossy.lost_errno), (5, 28));
    }

    #[test]
    fn unknown_kinds_are_counted_and_critical_ones_matter() {
        let skippable = contents(&[Record::Unknown { kind: 0xF0 }, Record::Unknown { kind: 0xF0 }]);
        assert_eq!(skippable.unknown_kinds, [(0xF0, 2)]);
        assert!(!skippable.has_critical_unknown_kinds());
        assert!(contents(&[Record::Unknown { kind: 0x70 }]).has_critical_unknown_kinds());
    }
}
