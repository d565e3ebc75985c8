//! Brings all logs together: one set of names, and all hits with the output's ids, in their order.
//!
//! If the hits take more memory than they may, they are dropped, and the logs are read again once for
//! each part of the output: a range of (file, context), whose hits fit. The parts follow each other in
//! the order of the rows, so that the output does not depend on how many there are.

use super::discover::LogPath;
use super::hits::{Budget, Hits, United};
use super::keys::{CONTEXT_ID_MAX, FILE_ID_MAX, Pair, Place};
use super::names::{self, IdMap, NameTable};
use super::scan::{self, Ids, Log, LogAndHits};
use super::{Error, Progress};
use crate::format::LogId;
use crate::reader;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// Bytes that a hit takes if some ten lines of a file run in a context, for a first guess at the size of
/// parts. A part that turns out larger is divided, and little is read in vain before that is known.
const HIT_BYTES: u64 = 8;

/// Joining the chunks' hits takes as much memory again, for a moment.
const COPIES: u64 = 2;

/// Arcs of one file and context are only divided where they take more than this, in bytes: each division
/// reads all logs once more.
const PAIR_BYTES_MIN: u64 = 4 << 20;

/// All logs, read.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// Each log once, sorted by identity.
    pub(super) logs: Vec<Log>,
    /// For each log.
    pub(super) ids: Vec<Ids>,
    /// Further files with the identity of a log, sorted. Their hits count, nothing else.
    pub(super) copies: Vec<Log>,
    pub(super) copies_ids: Vec<Ids>,
    pub(super) files: NameTable,
    pub(super) contexts: NameTable,
    /// The logs that cannot be read, and why.
    pub(super) unreadable: Vec<(LogPath, reader::Error)>,
    /// All hits, if they fit into memory.
    hits: Option<United>,
}

impl Merged {
    /// Reads `paths`. `memory_bytes` is what hits may take.
    pub(super) fn read(
        paths: &[LogPath],
        memory_bytes: u64,
        progress: &dyn Progress,
    ) -> Result<Merged, Error> {
        let budget = Budget::new(memory_bytes / COPIES);
        progress.total(scan::slots_of(paths));
        let mut unreadable = Vec::new();
        let mut read: Vec<LogAndHits> = Vec::new();
        for (path, result) in paths.iter().zip(scan::scan_all(paths, &budget, progress)) {
            match result {
                Ok(log_and_hits) => read.push(log_and_hits),
                Err(source) if path.is_named => return Err(Error::Log { source }),
                Err(source) => unreadable.push((path.clone(), source)),
            }
        }
        // Of copies, the one with the most records comes first, and counts.
        read.sort_by_cached_key(|(log, _)| (log.log_id, Reverse(log.counts.valid), log.path.clone()));
        let (logs, hits): (Vec<Log>, Vec<Vec<Hits>>) = read.into_iter().unzip();
        let (files, contexts, ids) = unite_names(&logs)?;
        let hits = if budget.is_exceeded() { None } else { translated(hits, &ids, &budget) };
        let mut merged = Merged { files, contexts, unreadable, hits, ..Merged::default() };
        for (mut log, ids) in logs.into_iter().zip(ids) {
            // They stand in the tables of all logs from here on.
            (log.contents.files, log.contents.contexts) = Default::default();
            let is_copy = merged.logs.last().is_some_and(|previous| previous.log_id == log.log_id);
            let (logs, all_ids) = match is_copy {
                true => (&mut merged.copies, &mut merged.copies_ids),
                false => (&mut merged.logs, &mut merged.ids),
            };
            logs.push(log);
            all_ids.push(ids);
        }
        Ok(merged)
    }

    /// Calls `write` with all hits, united and in their order, in one part or several.
    pub(super) fn for_each_part<W>(
        &mut self,
        memory_bytes: u64,
        progress: &dyn Progress,
        mut write: W,
    ) -> Result<(), Error>
    where
        W: FnMut(&United) -> Result<(), Error>,
    {
        if let Some(hits) = self.hits.take() {
            return write(&hits);
        }
        let limit = memory_bytes / COPIES;
        let weights = self.weights();
        let contexts = self.contexts.texts.len() as u32;
        let has_arcs = self.all_logs().any(|(log, _)| log.contents.arcs > 0);
        let mut parts = first_parts(&weights, contexts, limit / HIT_BYTES);
        parts.reverse();
        while let Some(part) = parts.pop() {
            // The lines of a file and context take little; its arcs may not.
            let (halves, limit) = match halves(&part, &weights, contexts) {
                None if has_arcs => (halves_of_pair(&part), limit.max(PAIR_BYTES_MIN)),
                halves => (halves, limit),
            };
            let budget = if halves.is_some() { Budget::new(limit) } else { Budget::unlimited() };
            let hits = self.scan_part(&part, &budget, progress)?;
            match (United::new(hits, &budget), halves) {
                (Some(hits), _) => write(&hits)?,
                (None, Some([first, second])) => parts.extend([second, first]),
                (None, None) => unreachable!("one arc has a number, and the budget no limit"),
            }
        }
        Ok(())
    }

    /// How many hits name a file or a context whose name was lost.
    pub(super) fn count_unnamed(&self) -> Result<u64, Error> {
        let mut unnamed = 0;
        for (log, ids) in self.logs.iter().zip(&self.ids) {
            if log.contents.unnamed_files.count + log.contents.unnamed_contexts.count > 0 {
                unnamed += scan::count_unnamed(log, ids).map_err(|source| Error::Log { source })?;
            }
        }
        Ok(unnamed)
    }

    fn all_logs(&self) -> impl Iterator<Item = (&Log, &Ids)> {
        self.logs.iter().chain(&self.copies).zip(self.ids.iter().chain(&self.copies_ids))
    }

    /// How many hits each file of the output has at most, indexed by its id.
    fn weights(&self) -> Vec<u64> {
        let mut weights = vec![0; self.files.texts.len() + 1];
        for (log, ids) in self.all_logs() {
            for (file, hits) in &log.contents.hits_by_file {
                if let Some(file) = ids.files.get(*file) {
                    weights[file as usize] += hits;
                }
            }
        }
        weights
    }

    fn scan_part(
        &self,
        part: &Range<Place>,
        budget: &Budget,
        progress: &dyn Progress,
    ) -> Result<Vec<Hits>, Error> {
        let logs: Vec<_> = self.all_logs().filter(|(log, ids)| may_have_hits(log, ids, part)).collect();
        progress.total(logs.iter().map(|(log, _)| u64::from(log.slots)).sum());
        let scan_log = |(log, ids): &(&Log, &Ids)| {
            let hits = scan::scan_part(log, ids, part, budget, progress);
            let hits = hits.map_err(|source| Error::Log { source })?;
            hits.ok_or_else(|| Error::Changed { path: log.path.given.clone() })
        };
        let hits = logs.par_iter().map(scan_log).collect::<Result<Vec<_>, Error>>()?;
        Ok(hits.into_iter().flatten().collect())
    }
}

fn unite_names(logs: &[Log]) -> Result<(NameTable, NameTable, Vec<Ids>), Error> {
    let files: Vec<_> = logs.iter().map(|log| (&log.contents.files, false)).collect();
    let contexts: Vec<_> =
        logs.iter().map(|log| (&log.contents.contexts, log.uses_empty_context)).collect();
    let (files, files_of_logs) = names::unite(&files, "files", FILE_ID_MAX)?;
    let (contexts, contexts_of_logs) = names::unite(&contexts, "contexts", CONTEXT_ID_MAX)?;
    let inherited = inherited(logs, &contexts_of_logs);
    let ids = files_of_logs.into_iter().zip(contexts_of_logs).zip(inherited);
    let ids = ids.map(|((files, contexts), inherited)| Ids { files, contexts, inherited }).collect();
    Ok((files, contexts, ids))
}

/// For each log the contexts in which its process was started. Its first segment tells: later ones say of
/// every context that it began before.
fn inherited(logs: &[Log], contexts: &[IdMap]) -> Vec<Arc<[u32]>> {
    let of_first = |(log, ids): (&Log, &IdMap)| {
        let spans = log.contents.spans.iter().filter(|span| span.inherited);
        let inherited: BTreeSet<u32> = spans.filter_map(|span| ids.get(span.context)).collect();
        let is_first = log.header.is_some() && log.segment() == 0 && !inherited.is_empty();
        is_first.then(|| (log.log_id, Arc::from_iter(inherited)))
    };
    let mut by_process: HashMap<LogId, Arc<[u32]>> = HashMap::new();
    for (log_id, inherited) in logs.iter().zip(contexts).filter_map(of_first) {
        // Of copies, that with the most records comes first.
        by_process.entry(log_id).or_insert(inherited);
    }
    let of_log = |log: &Log| by_process.get(&log.first_log_id()).cloned().unwrap_or_default();
    logs.iter().map(of_log).collect()
}

/// All hits with the output's ids, if they fit.
fn translated(hits: Vec<Vec<Hits>>, ids: &[Ids], budget: &Budget) -> Option<United> {
    let of_log = |(mut chunks, ids): (Vec<Hits>, &Ids)| {
        let pair = |pair: Pair| ids.pair(pair.file(), pair.context());
        chunks.par_iter_mut().for_each(|hits| {
            hits.translate(pair, |file| ids.files.get(file));
            hits.set_children_apart(&ids.inherited);
        });
        chunks
    };
    United::new(hits.into_par_iter().zip(ids).flat_map(of_log).collect(), budget)
}

/// Whether `log` may have hits in `part`. Files with very large ids are not counted one by one.
fn may_have_hits(log: &Log, ids: &Ids, part: &Range<Place>) -> bool {
    let files = part.start.pair.file()..=part.end.pair.file();
    let hits = &log.contents.hits_by_file;
    let counted: u64 = hits.iter().map(|(_, hits)| hits).sum();
    counted < log.contents.lines + log.contents.arcs
        || hits.iter().any(|(file, _)| ids.files.get(*file).is_some_and(|file| files.contains(&file)))
}

/// Ranges that cover all files and contexts, in their order, with some `hits_max` hits each.
fn first_parts(weights: &[u64], contexts: u32, hits_max: u64) -> Vec<Range<Place>> {
    let mut bounds = vec![Pair::new(1, 0)];
    let mut hits = 0;
    for (file, weight) in (0..).zip(weights).skip(1) {
        if hits > 0 && hits + weight > hits_max {
            bounds.push(Pair::new(file, 0));
            hits = 0;
        }
        hits += weight;
        let pieces = u32::try_from(weight / hits_max.max(1)).unwrap_or(u32::MAX).min(contexts);
        let step = (contexts / (pieces + 1)).max(1);
        let inner = (1..=pieces)
            .map(|piece| piece.saturating_mul(step))
            .take_while(|context| *context <= contexts);
        bounds.extend(inner.map(|context| Pair::new(file, context)));
    }
    bounds.push(Pair::new(weights.len() as u32, 0));
    bounds.windows(2).map(|bounds| between(bounds[0], bounds[1])).collect()
}

/// All hits from those of `start` to before those of `end`.
fn between(start: Pair, end: Pair) -> Range<Place> {
    Place::first_of(start)..Place::first_of(end)
}

/// `part` divided: between files, so that both halves have as many hits as can be, or else between
/// contexts. `None` if it is one file and context, or less.
fn halves(part: &Range<Place>, weights: &[u64], contexts: u32) -> Option<[Range<Place>; 2]> {
    let is_whole = |place: Place| place == Place::first_of(place.pair);
    if !is_whole(part.start) || !is_whole(part.end) {
        return None;
    }
    let (start, end) = (part.start.pair, part.end.pair);
    let (first, last) = (start.file(), last_file(end));
    let middle = if first < last {
        Pair::new(middle_file(first, last, weights), 0)
    } else {
        let end = if end.file() == first { end.context() } else { contexts + 1 };
        let middle = start.context().midpoint(end);
        (middle > start.context()).then(|| Pair::new(first, middle))?
    };
    Some([between(start, middle), between(middle, end)])
}

/// `part`, which lies in one file and context, divided by the lines at the ends of its arcs.
fn halves_of_pair(part: &Range<Place>) -> Option<[Range<Place>; 2]> {
    let middle = part.start.midpoint(part.end)?;
    Some([part.start..middle, middle..part.end])
}

fn last_file(end: Pair) -> u32 {
    if end.context() == 0 { end.file() - 1 } else { end.file() }
}

/// The file between `first` (exclusively) and `last` before which half of the hits lie.
fn middle_file(first: u32, last: u32, weights: &[u64]) -> u32 {
    let weight = |file: u32| weights[file as usize];
    let total: u64 = (first..=last).map(weight).sum();
    // Files with very large ids are not counted one by one: then the middle is that of the ids.
    if total == 0 {
        return first.midpoint(last) + 1;
    }
    let mut before = 0;
    for file in first..last {
        before += weight(file);
        if 2 * before >= total {
            return file + 1;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compactor::keys::Ends;

    const CONTEXTS: u32 = 10;

    fn assert_covering(parts: &[Range<Place>], files: u32) {
        assert_eq!(parts[0].start, Place::first_of(Pair::new(1, 0)));
        assert_eq!(parts[parts.len() - 1].end, Place::first_of(Pair::new(files + 1, 0)));
        assert!(parts.windows(2).all(|two| two[0].end == two[1].start), "{parts:?}");
        assert!(parts.iter().all(|part| part.start < part.end), "{parts:?}");
    }

    #[test]
    fn parts_cover_everything_once() {
        for weights in
            [vec![0, 5], vec![0, 5, 5, 5, 0, 0, 100, 1], vec![0, 1000, 0, 1000], vec![0, 0, 0]]
        {
            for hits_max in [0, 1, 7, 100, 10_000] {
                let files = weights.len() as u32 - 1;
                assert_covering(&first_parts(&weights, CONTEXTS, hits_max), files);
            }
        }
        assert_eq!(first_parts(&[0, 5, 5, 5, 5], CONTEXTS, 10).len(), 2);
        assert_eq!(
            first_parts(&[0, 50, 5], CONTEXTS, 10).len(),
            7,
            "a large file is divided by contexts"
        );
    }

    #[test]
    fn halving_ends_with_single_pairs() {
        let weights = [0, 5, 0, 500, 5];
        let mut parts = vec![between(Pair::new(1, 0), Pair::new(5, 0))];
        let mut single = Vec::new();
        while let Some(part) = parts.pop() {
            match halves(&part, &weights, CONTEXTS) {
                Some([first, second]) => parts.extend([second, first]),
                None => single.push(part),
            }
        }
        assert_covering(&single, 4);
        assert_eq!(single.len(), 4 * (CONTEXTS as usize + 1));
    }

    #[test]
    fn a_pair_is_divided_until_a_part_has_one_arc() {
        let pair = Pair::new(3, CONTEXTS);
        let wanted = Place { pair, ends: Ends::new(-7, 44) };
        for end in [Pair::new(3, CONTEXTS + 1), Pair::new(4, 0)] {
            let mut part = between(pair, end);
            assert!(halves(&part, &[0, 1, 1, 1], CONTEXTS).is_none());
            let mut divisions = 0;
            while let Some([first, second]) = halves_of_pair(&part) {
                assert_eq!((first.start, first.end, second.end), (part.start, second.start, part.end));
                part = if first.contains(&wanted) { first } else { second };
                assert!(halves(&part, &[0, 1, 1, 1], CONTEXTS).is_none() && part.contains(&wanted));
                divisions += 1;
            }
            assert!(divisions <= 48 && part.start == wanted, "{part:?}");
        }
    }
}
