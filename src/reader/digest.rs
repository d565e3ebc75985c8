//! Collects everything of a log but its hits.
//!
//! Digests of ranges can be merged in any order with the same result, so that ranges of one log can be
//! read in parallel. Each list in it is bounded; what was left out is admitted, and counts stay exact.

use super::Visitor;
use super::bounded::{Bounded, Keyed};
use super::contents::{Contents, ContextEvent, End, Sample};
use super::names::ChunkAt;
use crate::format::{HitRun, Record, Slot, SlotDamage};
use crate::limits::{
    CONTEXT_EVENTS_KEPT_MAX, DAMAGE_LISTED_MAX, FILES_KEPT_MAX, NAME_CHUNKS_KEPT_MAX, SAMPLES_KEPT_MAX,
};
use std::collections::BTreeMap;

/// Size and modification time of a file when it was first recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileFacts {
    /// Id of the file.
    pub file: u32,
    /// Slot of the record.
    pub slot: u32,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, in nanoseconds since 1970-01-01 UTC.
    pub mtime_ns: i64,
}

/// A slot that holds no record any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedSlot {
    /// Its number.
    pub slot: u32,
    /// What is wrong with it.
    pub damage: SlotDamage,
}

/// A slot with somebody else's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignSlot {
    /// Its number.
    pub slot: u32,
    /// The place that the record was written for.
    pub place: u32,
}

impl Keyed for FileFacts {
    type Key = u32;
    fn key(&self) -> u32 {
        self.file
    }

    fn slot(&self) -> u32 {
        self.slot
    }
}

/// A slot's number and what is to be kept of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    pub(super) slot: u32,
    pub(super) what: T,
}

impl<T: Copy> Keyed for At<T> {
    type Key = u32;
    fn key(&self) -> u32 {
        self.slot
    }

    fn slot(&self) -> u32 {
        self.slot
    }
}

/// A set of ids up to [`NAME_ID_MAX`](crate::limits::NAME_ID_MAX): at most 2 MiB.
#[derive(Clone, Debug, Default)]
pub(super) struct IdSet {
    words: Vec<u64>,
}

impl IdSet {
    #[inline]
    pub(super) fn insert(&mut self, id: u32) {
        let index = id as usize / 64;
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        self.words[index] |= 1 << (id % 64);
    }

    fn merge(&mut self, other: &IdSet) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let ids_of = |(index, word): (usize, &u64)| {
            let word = *word;
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index as u32 * 64 + bit)
        };
        self.words.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(ids_of)
    }
}

/// Everything of a log, or of a range of it, but its hits, of which it only counts how many each file has.
///
/// ```
/// use hitlog::format::{NameChunk, NameSpace, Record, Slot};
/// use hitlog::reader::Digest;
/// let name = Record::Name {
///     space: NameSpace::Context, id: 1, index: 0, last: true, chunk: NameChunk::new(b"test_a"),
/// };
/// let mut left = Digest::default();
/// left.add(40, &Slot::Valid(name));
/// let mut right = Digest::default();
/// right.add(7, &Slot::Valid(Record::Line { context: 1, file: 2, line: 3 }));
/// right.merge(left);
/// let contents = right.finish();
/// assert_eq!(contents.contexts.get(1), Some(&b"test_a"[..]));
/// assert_eq!(contents.unnamed_files.ids, [2]);
/// ```
#[derive(Clone, Debug)]
pub struct Digest {
    pub(super) chunks: Bounded<ChunkAt>,
    pub(super) facts: Bounded<FileFacts>,
    pub(super) events: Bounded<At<ContextEvent>>,
    pub(super) samples: Bounded<At<Sample>>,
    pub(super) damaged: Bounded<At<SlotDamage>>,
    pub(super) foreign: Bounded<At<u32>>,
    pub(super) unknown_kinds: BTreeMap<u8, u64>,
    /// The latest trailer (`Some`) or resumption (`None`), by time, then resumption, then slot.
    pub(super) latest_end: Option<((u64, bool, u32), Option<End>)>,
    /// The largest count of lost records and its error number.
    pub(super) loss: (u64, u16),
    pub(super) trailers: u64,
    pub(super) records_promised: u64,
    pub(super) lines: u64,
    pub(super) arcs: u64,
    pub(super) hits_by_file: Vec<u64>,
    pub(super) files_used: IdSet,
    pub(super) contexts_used: IdSet,
    pub(super) sample_names_used: IdSet,
}

impl Default for Digest {
    fn default() -> Digest {
        Digest {
            chunks: Bounded::new(NAME_CHUNKS_KEPT_MAX),
            facts: Bounded::new(FILES_KEPT_MAX),
            events: Bounded::new(CONTEXT_EVENTS_KEPT_MAX),
            samples: Bounded::new(SAMPLES_KEPT_MAX),
            damaged: Bounded::new(DAMAGE_LISTED_MAX),
            foreign: Bounded::new(DAMAGE_LISTED_MAX),
            unknown_kinds: BTreeMap::new(),
            latest_end: None,
            loss: (0, 0),
            trailers: 0,
            records_promised: 0,
            lines: 0,
            arcs: 0,
            hits_by_file: Vec::new(),
            files_used: IdSet::default(),
            contexts_used: IdSet::default(),
            sample_names_used: IdSet::default(),
        }
    }
}

impl Digest {
    /// Takes note of what slot `number` holds.
    pub fn add(&mut self, number: u32, slot: &Slot) {
        match slot {
            Slot::Valid(record) => self.record(number, record),
            Slot::Blank { .. } => {}
            Slot::Damaged(damage) => self.damaged.push(At { slot: number, what: *damage }),
            Slot::Foreign { place } => self.foreign.push(At { slot: number, what: *place }),
        }
    }

    fn count_hits(&mut self, context: u32, file: u32, lines: u64, arcs: u64) {
        self.lines += lines;
        self.arcs += arcs;
        self.files_used.insert(file);
        self.contexts_used.insert(context);
        let file = file as usize;
        if file < FILES_KEPT_MAX {
            if file >= self.hits_by_file.len() {
                self.hits_by_file.resize(file + 1, 0);
            }
            self.hits_by_file[file] += lines + arcs;
        }
    }

    fn record(&mut self, slot: u32, record: &Record) {
        match *record {
            Record::Line { context, file, .. } => self.count_hits(context, file, 1, 0),
            Record::Arc { context, file, .. } => self.count_hits(context, file, 0, 1),
            Record::Name { space, id, index, last, chunk } => {
                self.chunks.push(ChunkAt::new(space, id, index, last, chunk, slot));
            }
            Record::FileFacts { file, size, mtime_ns } => {
                self.facts.push(FileFacts { file, slot, size, mtime_ns });
            }
            Record::ContextStart { context, thread, time_ns, inherited } => {
                self.event(slot, ContextEvent { time_ns, context, thread, start: true, inherited });
            }
            Record::ContextStop { context, thread, time_ns } => {
                let event = ContextEvent { time_ns, context, thread, start: false, inherited: false };
                self.event(slot, event);
            }
            Record::Sample { name, context, time_ns, value } => {
                self.contexts_used.insert(context);
                self.sample_names_used.insert(u32::from(name));
                let sample = Sample { time_ns, value, context, name };
                self.samples.push(At { slot, what: sample });
            }
            Record::Trailer { reason, exit_code, time_ns, records, lost } => {
                let end = End { reason, exit_code, time_ns, records, lost };
                self.trailers += 1;
                self.records_promised = self.records_promised.max(records);
                self.loss = self.loss.max((u64::from(lost), 0));
                self.end((time_ns, false, slot), Some(end));
            }
            Record::Resumed { time_ns } => self.end((time_ns, true, slot), None),
            Record::Loss { lost, errno, .. } => self.loss = self.loss.max((lost, errno)),
            Record::Unknown { kind } => *self.unknown_kinds.entry(kind).or_default() += 1,
        }
    }

    fn event(&mut self, slot: u32, event: ContextEvent) {
        self.contexts_used.insert(event.context);
        self.events.push(At { slot, what: event });
    }

    fn end(&mut self, order: (u64, bool, u32), end: Option<End>) {
        if self.latest_end.as_ref().is_none_or(|latest| latest.0 < order) {
            self.latest_end = Some((order, end));
        }
    }

    /// Adds what `other`, the digest of other slots of the same log, found.
    pub fn merge(&mut self, other: Digest) {
        self.chunks.merge(other.chunks);
        self.facts.merge(other.facts);
        self.events.merge(other.events);
        self.samples.merge(other.samples);
        self.damaged.merge(other.damaged);
        self.foreign.merge(other.foreign);
        for (kind, count) in other.unknown_kinds {
            *self.unknown_kinds.entry(kind).or_default() += count;
        }
        if let Some((order, end)) = other.latest_end {
            self.end(order, end);
        }
        self.loss = self.loss.max(other.loss);
        self.trailers += other.trailers;
        self.records_promised = self.records_promised.max(other.records_promised);
        self.lines += other.lines;
        self.arcs += other.arcs;
        if self.hits_by_file.len() < other.hits_by_file.len() {
            self.hits_by_file.resize(other.hits_by_file.len(), 0);
        }
        for (hits, more) in self.hits_by_file.iter_mut().zip(other.hits_by_file) {
            *hits += more;
        }
        self.files_used.merge(&other.files_used);
        self.contexts_used.merge(&other.contexts_used);
        self.sample_names_used.merge(&other.sample_names_used);
    }

    /// What all slots together say.
    #[must_use]
    pub fn finish(self) -> Contents {
        Contents::of(self)
    }
}

/// Takes note of all that a scan finds.
impl Visitor for Digest {
    fn hits(&mut self, _: u32, hits: HitRun<'_>) {
        let (lines, arcs) = (hits.lines().len() as u64, hits.arcs().len() as u64);
        self.count_hits(hits.context, hits.file, lines, arcs);
    }

    fn slot(&mut self, number: u32, slot: Slot) {
        self.add(number, &slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{EndReason, NameChunk, NameSpace};

    fn name(space: NameSpace, id: u32) -> Record {
        Record::Name {
            space,
            id,
            index: 0,
            last: true,
            chunk: NameChunk::new(format!("{id}").as_bytes()),
        }
    }

    fn some_of_each() -> Vec<Slot> {
        let facts = |file, size| Record::FileFacts { file, size, mtime_ns: 5 };
        let sample = |value| Record::Sample { name: 2, context: 1, time_ns: 7, value };
        let trailer = |records| {
            let reason = EndReason::Closed;
            Record::Trailer { reason, exit_code: None, time_ns: 40, records, lost: 0 }
        };
        let records = [
            name(NameSpace::File, 1),
            name(NameSpace::File, 2),
            name(NameSpace::Context, 1),
            name(NameSpace::Sample, 2),
            facts(1, 10),
            facts(2, 20),
            facts(1, 99),
            Record::ContextStart { context: 1, thread: 0, time_ns: 3, inherited: false },
            Record::Line { context: 1, file: 1, line: 1 },
            Record::Line { context: 1, file: 1, line: 2 },
            Record::Arc { context: 1, file: 2, from: 1, to: 2 },
            Record::Arc { context: 0, file: 2, from: 2, to: 3 },
            Record::Arc { context: 0, file: 2, from: 3, to: 4 },
            Record::Line { context: 0, file: 5, line: 3 },
            sample(8),
            sample(9),
            Record::ContextStop { context: 1, thread: 0, time_ns: 9 },
            Record::Loss { lost: 3, errno: 28, time_ns: 8 },
            Record::Unknown { kind: 0xF0 },
            Record::Unknown { kind: 0xF0 },
            Record::Resumed { time_ns: 30 },
            trailer(20),
            trailer(22),
        ];
        let others = [
            Slot::Damaged(SlotDamage::Checksum),
            Slot::Foreign { place: 77 },
            Slot::Blank { unfinished: true },
        ];
        records.map(Slot::Valid).into_iter().chain(others).collect()
    }

    fn digest(slots: &[Slot], first: u32) -> Digest {
        let mut digest = Digest::default();
        (first..).zip(slots).for_each(|(number, slot)| digest.add(number, slot));
        digest
    }

    #[test]
    fn everything_but_the_hits_is_kept_and_hits_are_counted() {
        let contents = digest(&some_of_each(), 0).finish();
        assert_eq!((contents.lines, contents.arcs), (3, 3));
        assert_eq!(contents.hits_by_file, [(1, 2), (2, 3), (5, 1)]);
        assert_eq!(contents.unnamed_files.ids, [5]);
        let ids = [&contents.files, &contents.contexts, &contents.sample_names]
            .map(|names| names.iter().map(|(id, _)| id).collect::<Vec<_>>());
        assert_eq!(ids, [vec![1, 2], vec![1], vec![2]]);
        let facts = contents.file_facts.iter().map(|facts| (facts.file, facts.size));
        assert_eq!(facts.collect::<Vec<_>>(), [(1, 10), (2, 20)], "the first of each file");
        assert_eq!(contents.samples.iter().map(|sample| sample.value).collect::<Vec<_>>(), [8, 9]);
        assert_eq!((contents.trailers, contents.records_promised), (2, 22));
        assert_eq!((contents.lost, contents.lost_errno), (3, 28));
        assert_eq!(contents.unknown_kinds, [(0xF0, 2)]);
        let slots = (contents.damaged[0].slot, contents.foreign[0].slot, contents.foreign[0].place);
        assert_eq!(slots, (23, 24, 77));
    }

    #[test]
    fn hits_are_counted_by_file_up_to_the_last_file_that_is_kept() {
        let line = |file| Slot::Valid(Record::Line { context: 0, file, line: 1 });
        let last = FILES_KEPT_MAX as u32 - 1;
        let contents = digest(&[line(last), line(last + 1)], 0).finish();
        assert_eq!((contents.lines, &contents.hits_by_file[..]), (2, &[(last, 1)][..]));
    }

    #[test]
    fn ranges_in_any_order_say_what_the_whole_says() {
        let slots = some_of_each();
        let whole = digest(&slots, 0).finish();
        for cut in 0..=slots.len() {
            let (left, right) = slots.split_at(cut);
            let (left, right) = (digest(left, 0), digest(right, cut as u32));
            for (mut first, second) in [(left.clone(), right.clone()), (right, left)] {
                first.merge(second);
                assert_eq!(first.finish(), whole, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_merged_set_has_the_ids_of_both_whichever_is_longer() {
        let set = |ids: &[u32]| {
            let mut set = IdSet::default();
            ids.iter().for_each(|id| set.insert(*id));
            set
        };
        for (ours, theirs) in [(&[1][..], &[2, 1000][..]), (&[2, 1000], &[1]), (&[], &[1, 2, 1000])] {
            let mut merged = set(ours);
            merged.merge(&set(theirs));
            assert_eq!(merged.iter().collect::<Vec<_>>(), [1, 2, 1000]);
        }
    }
}
