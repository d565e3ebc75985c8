//! Reads logs, in parallel over logs and over the chunks of large ones.
//!
//! Chunks have a fixed size, so that what is found in them does not depend on the number of threads.

use super::Progress;
use super::discover::LogPath;
use super::hits::{Budget, Collector, Hits};
use super::keys::{Ends, Pair, Place};
use super::names::IdMap;
use crate::format::{HEADER_SIZE, Header, HitRun, LogId, RECORD_SIZE, Slot};
use crate::reader::{Contents, Digest, Error, LogReader, SlotCounts, State, Visitor};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Slots of one chunk: 32 MiB of a log, and a quarter of a second's work.
const CHUNK_SLOTS: u32 = 1 << 20;

/// A log that was read, without its hits.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) path: LogPath,
    pub(super) log_id: LogId,
    pub(super) header: Option<Header>,
    pub(super) pid: Option<u32>,
    /// How many slots the file had. Those that a living writer adds later belong to the next compaction.
    pub(super) slots: u32,
    /// Size of the file, in bytes.
    pub(super) size: u64,
    pub(super) trailing_bytes: u64,
    pub(super) is_writer_alive: bool,
    /// Whether the log is as its writer left it.
    pub(super) is_whole: bool,
    pub(super) counts: SlotCounts,
    pub(super) contents: Contents,
    /// Whether anything was recorded in the empty context, which needs no name.
    pub(super) uses_empty_context: bool,
}

impl Log {
    pub(super) fn state(&self) -> State {
        self.contents.state(self.is_writer_alive)
    }

    /// The log of the process's first segment: what all logs of one process have in common.
    pub(super) fn first_log_id(&self) -> LogId {
        self.header.as_ref().map_or(self.log_id, |header| header.first_log_id)
    }

    pub(super) fn segment(&self) -> u32 {
        self.header.as_ref().map_or(0, |header| header.segment)
    }

    /// Nanoseconds since 1970 UTC at `monotonic_ns` of the log's clock; `None` without a header.
    pub(super) fn wall_ns(&self, monotonic_ns: u64) -> Option<i64> {
        let header = self.header.as_ref()?;
        let since_start = i128::from(monotonic_ns) - i128::from(header.monotonic_start_ns);
        i64::try_from(i128::from(header.wall_start_ns) + since_start).ok()
    }

    fn open_again(&self) -> Result<LogReader, Error> {
        LogReader::open(&self.path.real)
    }
}

/// The ids that the output gives to the files and contexts of one log.
#[derive(Debug)]
pub(super) struct Ids {
    pub(super) files: IdMap,
    pub(super) contexts: IdMap,
    /// The output's ids of the contexts in which the process was started, sorted.
    pub(super) inherited: Arc<[u32]>,
}

impl Ids {
    pub(super) fn pair(&self, file: u32, context: u32) -> Option<Pair> {
        Some(Pair::new(self.files.get(file)?, self.contexts.get(context)?))
    }
}

/// A log and the hits of its chunks, with the log's own ids.
pub(super) type LogAndHits = (Log, Vec<Hits>);

/// Reads everything of `paths`: a log and its hits, or why it cannot be read. Over the budget, hits are
/// dropped.
pub(super) fn scan_all(
    paths: &[LogPath],
    budget: &Budget,
    progress: &dyn Progress,
) -> Vec<Result<LogAndHits, Error>> {
    paths.par_iter().map(|path| scan(path, budget, progress)).collect()
}

/// Takes everything of a chunk.
struct All<'budget> {
    digest: Digest,
    hits: Collector<'budget>,
    is_empty_used: bool,
}

impl Visitor for All<'_> {
    fn hits(&mut self, first: u32, hits: HitRun<'_>) {
        self.is_empty_used |= hits.context == 0;
        self.hits.add(Pair::new(hits.file, hits.context), hits.lines(), hits.arcs());
        self.digest.hits(first, hits);
    }

    fn slot(&mut self, number: u32, slot: Slot) {
        self.digest.slot(number, slot);
    }
}

/// Takes hits alone.
struct OnlyHits<Take>(Take);

impl<Take: FnMut(HitRun<'_>)> Visitor for OnlyHits<Take> {
    fn hits(&mut self, _: u32, hits: HitRun<'_>) {
        (self.0)(hits);
    }

    fn slot(&mut self, _: u32, _: Slot) {}
}

fn scan(path: &LogPath, budget: &Budget, progress: &dyn Progress) -> Result<LogAndHits, Error> {
    let reader = LogReader::open(&path.real)?;
    let chunks = chunks(reader.slot_count()).into_par_iter().map(|range| {
        let mut all =
            All { digest: Digest::default(), hits: Collector::new(budget), is_empty_used: false };
        let counts = reader.scan_with(range.clone(), &mut all)?;
        progress.advance(u64::from(range.end - range.start));
        Ok((counts, all.digest, vec![all.hits.finish()], all.is_empty_used))
    });
    // Merged as they come: a digest of each chunk at once would take memory by the length of the file.
    let nothing = || Ok((SlotCounts::default(), Digest::default(), Vec::new(), false));
    let (counts, digest, hits, is_empty_used) =
        chunks.try_reduce_with(merge_chunks).unwrap_or_else(nothing)?;
    Ok((log_of(path, &reader, counts, digest.finish(), is_empty_used), hits))
}

/// What a chunk holds; chunks merge in any order.
type Chunk = (SlotCounts, Digest, Vec<Hits>, bool);

fn merge_chunks(mut left: Chunk, right: Chunk) -> Result<Chunk, Error> {
    left.0 += right.0;
    left.1.merge(right.1);
    left.2.extend(right.2);
    left.3 |= right.3;
    Ok(left)
}

fn log_of(
    path: &LogPath,
    reader: &LogReader,
    counts: SlotCounts,
    contents: Contents,
    is_empty_used: bool,
) -> Log {
    let mut spans = contents.spans.iter().map(|span| span.context);
    let mut samples = contents.samples.iter().map(|sample| sample.context);
    let uses_empty_context =
        is_empty_used || spans.any(|context| context == 0) || samples.any(|context| context == 0);
    Log {
        uses_empty_context,
        path: path.clone(),
        log_id: reader.log_id(),
        header: reader.header().cloned(),
        pid: reader.pid(),
        slots: reader.slot_count(),
        size: reader.size(),
        trailing_bytes: reader.trailing_bytes(),
        is_writer_alive: reader.is_writer_alive(),
        is_whole: contents.is_whole(reader, &counts),
        counts,
        contents,
    }
}

/// Reads `log` again for the hits that lie in `wanted`, with the output's ids. `None` if the file is
/// not the one that was read before.
pub(super) fn scan_part(
    log: &Log,
    ids: &Ids,
    wanted: &Range<Place>,
    budget: &Budget,
    progress: &dyn Progress,
) -> Result<Option<Vec<Hits>>, Error> {
    let reader = log.open_again()?;
    if reader.log_id() != log.log_id || reader.slot_count() < log.slots {
        return Ok(None);
    }
    let chunks = chunks(log.slots).into_par_iter().map(|range| {
        let mut hits = Collector::new(budget);
        if !budget.is_exceeded() {
            let take = |found: HitRun<'_>| {
                if let Some(pair) = ids.pair(found.file, found.context) {
                    let is_wanted = |ends| wanted.contains(&Place { pair, ends });
                    let lines =
                        found.lines().filter(|line| is_wanted(Ends::new(*line as i32, *line as i32)));
                    let arcs = found.arcs().filter(|(from, to)| is_wanted(Ends::new(*from, *to)));
                    hits.add(pair, lines, arcs);
                }
            };
            reader.scan_with(range.clone(), &mut OnlyHits(take))?;
        }
        progress.advance(u64::from(range.end - range.start));
        let mut hits = hits.finish();
        hits.set_children_apart(&ids.inherited);
        Ok(hits)
    });
    chunks.collect::<Result<Vec<_>, Error>>().map(Some)
}

/// How many hits of `log` name a file or a context that has no name. Reads the log again; most logs
/// need not be asked.
pub(super) fn count_unnamed(log: &Log, ids: &Ids) -> Result<u64, Error> {
    let reader = log.open_again()?;
    let chunks = chunks(log.slots).into_par_iter().map(|range| {
        let mut unnamed = 0;
        let take = |hits: HitRun<'_>| {
            if ids.pair(hits.file, hits.context).is_none() {
                unnamed += u64::from(hits.count());
            }
        };
        reader.scan_with(range, &mut OnlyHits(take))?;
        Ok(unnamed)
    });
    chunks.sum()
}

fn chunks(slots: u32) -> Vec<Range<u32>> {
    let starts = (0..slots).step_by(CHUNK_SLOTS as usize);
    starts.map(|start| start..slots.min(start.saturating_add(CHUNK_SLOTS))).collect()
}

/// How many slots the files at `paths` seem to have, for showing progress.
pub(super) fn slots_of(paths: &[LogPath]) -> u64 {
    let sizes = paths.iter().filter_map(|path| Some(std::fs::symlink_metadata(&path.real).ok()?.len()));
    sizes.map(|size| size.saturating_sub(HEADER_SIZE as u64) / RECORD_SIZE as u64).sum()
}
