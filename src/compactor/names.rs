//! One id for each name in the output, whatever ids the logs gave it.
//!
//! Ids follow the order of the names, so that they depend on nothing else. A name that coverage.py
//! cannot digest - bytes that are not UTF-8, NUL - is escaped, and stays different from all others.

use super::Error;
use crate::reader::{Names, escaped};
use std::collections::{HashMap, HashSet};
use std::ops::Index;

/// Texts in one piece of memory: there may be millions of short ones.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// All of them, one after the other.
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|at| &self[at])
    }
}

impl Index<usize> for Texts {
    type Output = str;

    fn index(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[at]]
    }
}

/// The names of one space in the output. Ids count from 1.
#[derive(Debug, Default)]
pub(super) struct NameTable {
    /// By id, beginning with id 1; sorted.
    pub(super) texts: Texts,
    /// The names that had to be escaped, as they are in the output.
    pub(super) escaped: Vec<String>,
}

/// The output's id for each id of one log.
#[derive(Debug, Default)]
pub(super) struct IdMap {
    /// Sorted by the log's ids; mostly these are 1, 2, 3, ...
    ids: Vec<(u32, u32)>,
}

impl IdMap {
    /// All ids of the output that the log's ids lead to.
    pub(super) fn mapped(&self) -> impl Iterator<Item = u32> {
        self.ids.iter().map(|(_, mapped)| *mapped)
    }

    /// The output's id for `id`; `None` if that has no name.
    #[inline]
    pub(super) fn get(&self, id: u32) -> Option<u32> {
        let first = self.ids.first()?.0;
        match self.ids.get(id.wrapping_sub(first) as usize) {
            Some((found, mapped)) if *found == id => Some(*mapped),
            _ => self.ids.binary_search_by_key(&id, |entry| entry.0).ok().map(|at| self.ids[at].1),
        }
    }
}

/// The names of all logs, and for each log its ids. Where `uses_empty` says so of a log, its id 0 is
/// the empty name. `what` the names are, and how many of them there may be, is for the error.
pub(super) fn unite(
    logs: &[(&Names, bool)],
    what: &'static str,
    max: u32,
) -> Result<(NameTable, Vec<IdMap>), Error> {
    // Logs have mostly the same names: only what is left of them is sorted.
    let mut numbers: HashMap<&[u8], u32> = HashMap::new();
    let mut maps: Vec<IdMap> = Vec::with_capacity(logs.len());
    for (names, uses_empty) in logs {
        let empty = uses_empty.then_some((0, &b""[..]));
        let numbered = empty.into_iter().chain(names.iter()).map(|(id, name)| {
            let next = numbers.len() as u32;
            (id, *numbers.entry(name).or_insert(next))
        });
        maps.push(IdMap { ids: numbered.collect() });
    }
    let mut raw: Vec<(&[u8], u32)> = numbers.into_iter().collect();
    raw.sort_unstable();
    let (raw, numbers): (Vec<&[u8]>, Vec<u32>) = raw.into_iter().unzip();
    if raw.len() > max as usize {
        return Err(Error::TooManyNames { what, found: raw.len() as u64, max });
    }
    let (unsorted, escaped) = texts_of(&raw);
    let mut order: Vec<u32> = (0..raw.len() as u32).collect();
    order.sort_unstable_by_key(|at| &unsorted[*at as usize]);
    let mut ids = vec![0; raw.len()];
    let mut texts = Texts::default();
    for (at, id) in order.iter().map(|at| *at as usize).zip(1..) {
        ids[numbers[at] as usize] = id;
        texts.push(&unsorted[at]);
    }
    drop((unsorted, order));
    maps.iter_mut().flat_map(|map| &mut map.ids).for_each(|(_, id)| *id = ids[*id as usize]);
    Ok((NameTable { texts, escaped }, maps))
}

/// A text for each of the different names in `raw`, no two alike, and those that differ from their name.
fn texts_of(raw: &[&[u8]]) -> (Texts, Vec<String>) {
    let mut taken = HashSet::new();
    // Where the search for a free number goes on, so that many names with one text stay cheap.
    let mut next_numbers: HashMap<String, u64> = HashMap::new();
    let mut texts = Texts::default();
    for name in raw {
        let text = escaped(name).replace('\0', r"\x00");
        if text.as_bytes() == *name {
            texts.push(&text);
            continue;
        }
        let is_free =
            |text: &String| raw.binary_search(&text.as_bytes()).is_err() && !taken.contains(text);
        let next = next_numbers.entry(text.clone()).or_insert(1);
        let numbered = (*next..).map(|number| match number {
            1 => (2, text.clone()),
            number => (number + 1, format!("{text}~{number}")),
        });
        let found = { numbered }.find(|(_, text)| is_free(text));
        let (following, free) = found.unwrap_or_default();
        *next = following;
        texts.push(&free);
        taken.insert(free);
    }
    let mut escaped: Vec<String> = taken.into_iter().collect();
    escaped.sort_unstable();
    (texts, escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{NameChunk, NameSpace, Record, Slot};
    use crate::reader::Digest;

    fn names(entries: &[(u32, &[u8])]) -> Names {
        let mut digest = Digest::default();
        for (slot, (id, name)) in (0..).zip(entries) {
            let chunk = NameChunk::new(name);
            let record = Record::Name { space: NameSpace::File, id: *id, index: 0, last: true, chunk };
            digest.add(slot, &Slot::Valid(record));
        }
        digest.finish().files
    }

    #[test]
    fn ids_follow_the_names_and_not_the_logs() {
        let left = names(&[(1, b"c.py"), (2, b"a.py")]);
        let right = names(&[(7, b"b.py"), (9, b"c.py")]);
        let (table, maps) = unite(&[(&left, false), (&right, true)], "files", 100).unwrap();
        assert_eq!(table.texts.iter().collect::<Vec<_>>(), ["", "a.py", "b.py", "c.py"]);
        assert_eq!(
            [maps[0].get(0), maps[0].get(1), maps[0].get(2), maps[0].get(3)],
            [None, Some(4), Some(2), None]
        );
        assert_eq!(
            [maps[1].get(0), maps[1].get(7), maps[1].get(8), maps[1].get(9)],
            [Some(1), Some(3), None, Some(4)]
        );
        assert!(table.escaped.is_empty());
    }

    #[test]
    fn escaping_keeps_different_names_apart() {
        let log =
            names(&[(1, b"a\xff"), (2, br"a\xff"), (3, br"a\xff~2"), (4, b"a\0"), (5, "ü".as_bytes())]);
        let (table, maps) = unite(&[(&log, false)], "files", 100).unwrap();
        let texts: Vec<_> = table.texts.iter().collect();
        assert_eq!(texts, [r"a\x00", r"a\xff", r"a\xff~2", r"a\xff~3", "ü"]);
        assert_eq!(table.escaped, [r"a\x00", r"a\xff~3"]);
        let ids: Vec<_> = (1..=5).map(|id| maps[0].get(id)).collect();
        assert_eq!(ids, [Some(4), Some(2), Some(3), Some(1), Some(5)]);
    }

    #[test]
    fn more_names_than_a_key_can_hold_are_refused() {
        let log = names(&[(1, b"a"), (2, b"b"), (3, b"c")]);
        let error = unite(&[(&log, false)], "files", 2).unwrap_err().to_string();
        assert!(error.contains("3 files"), "{error}");
    }
}
