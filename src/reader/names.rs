//! Names, joined from their chunks.
//!
//! Every chunk of a name is written twice, far apart. One copy of each is enough, and the copies need
//! not be of one writing: chunk 0 may come from the first, chunk 1 from the second.

use super::bounded::Keyed;
use crate::format::{NameChunk, NameSpace};

/// A chunk and the slot it stood in.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkAt {
    /// Space, id and index: neighbouring chunks of a name are neighbours in the order.
    key: u64,
    slot: u32,
    last: bool,
    chunk: NameChunk,
}

impl ChunkAt {
    pub(super) fn new(
        space: NameSpace,
        id: u32,
        index: u16,
        last: bool,
        chunk: NameChunk,
        slot: u32,
    ) -> ChunkAt {
        let key = (space as u64) << 48 | u64::from(id) << 16 | u64::from(index);
        ChunkAt { key, slot, last, chunk }
    }

    fn index(&self) -> u64 {
        self.key & 0xFFFF
    }

    fn id(&self) -> u32 {
        (self.key >> 16) as u32
    }

    pub(super) fn is_before(&self, space: NameSpace) -> bool {
        self.key >> 48 < space as u64
    }

    pub(super) fn is_of(&self, space: NameSpace) -> bool {
        self.key >> 48 == space as u64
    }
}

impl Keyed for ChunkAt {
    type Key = u64;
    fn key(&self) -> u64 {
        self.key
    }

    fn slot(&self) -> u32 {
        self.slot
    }
}

/// The names of one space that are whole, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// All names, one after the other.
    text: Vec<u8>,
    /// Each name's id and the end of its bytes in `text`, which
    /// [`NAME_CHUNKS_KEPT_MAX`](crate::limits::NAME_CHUNKS_KEPT_MAX) keeps small.
    entries: Vec<(u32, u32)>,
    incomplete: Vec<u32>,
}

impl Names {
    /// Joins `chunks`, of one space, in their order and each only once.
    pub(super) fn join(chunks: &[ChunkAt]) -> Names {
        let mut names = Names::default();
        for of_one_name in chunks.chunk_by(|left, right| left.id() == right.id()) {
            names.add(of_one_name);
        }
        names
    }

    fn add(&mut self, chunks: &[ChunkAt]) {
        let start = self.text.len();
        let id = chunks[0].id();
        for (expected, chunk) in chunks.iter().enumerate() {
            if chunk.index() != expected as u64 {
                break;
            }
            self.text.extend_from_slice(chunk.chunk.as_bytes());
            if chunk.last {
                self.entries.push((id, self.text.len() as u32));
                return;
            }
        }
        self.text.truncate(start);
        self.incomplete.push(id);
    }

    /// The name of `id`, if it is whole.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&[u8]> {
        let index = self.entries.binary_search_by_key(&id, |entry| entry.0).ok()?;
        Some(self.name_at(index))
    }

    fn name_at(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.entries[index - 1].1 };
        &self.text[start as usize..self.entries[index].1 as usize]
    }

    /// Each id with its name, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (0..self.entries.len()).map(|index| (self.entries[index].0, self.name_at(index)))
    }

    /// How many names are whole.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no name is whole.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The ids of which some chunk is there, but not all, in their order.
    #[must_use]
    pub fn incomplete(&self) -> &[u32] {
        &self.incomplete
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::bounded::Bounded;

    fn chunks(id: u32, text: &[u8], first_slot: u32) -> Vec<ChunkAt> {
        let parts: Vec<_> = text.chunks(16).collect();
        let last = parts.len() - 1;
        let chunk = |(index, part): (usize, &&[u8])| {
            let slot = first_slot + index as u32;
            ChunkAt::new(NameSpace::File, id, index as u16, index == last, NameChunk::new(part), slot)
        };
        parts.iter().enumerate().map(chunk).collect()
    }

    fn joined(chunks: &[ChunkAt]) -> Names {
        let mut list = Bounded::new(1000);
        chunks.iter().for_each(|chunk| list.push(*chunk));
        Names::join(&list.finish().0)
    }

    #[test]
    fn a_name_is_joined_from_either_copy() {
        let text = b"src/a/rather/long/path/of/a/file.py";
        let copies = [chunks(3, text, 0), chunks(3, text, 100)].concat();
        for lost in 0..copies.len() {
            let mut rest = copies.clone();
            rest.remove(lost);
            rest.reverse();
            assert_eq!(joined(&rest).get(3), Some(&text[..]));
        }
    }

    #[test]
    fn of_two_names_with_one_id_the_one_in_the_lower_slots_counts() {
        let names = [chunks(3, b"a.py", 2), chunks(3, b"b.py", 9)];
        for given in [[&names[0], &names[1]], [&names[1], &names[0]]] {
            let all: Vec<_> = given.into_iter().flatten().copied().collect();
            assert_eq!(joined(&all).get(3), Some(&b"a.py"[..]));
        }
    }

    #[test]
    fn each_name_is_found_by_its_id() {
        let texts = [(1, &b"a.py"[..]), (2, b"src/a/rather/long/path.py"), (7, b"c.py")];
        let all: Vec<_> = texts.iter().flat_map(|(id, text)| chunks(*id, text, id * 10)).collect();
        let names = joined(&all);
        assert_eq!(names.iter().collect::<Vec<_>>(), texts);
        texts.iter().for_each(|(id, text)| assert_eq!(names.get(*id), Some(*text)));
        assert_eq!((names.get(3), names.len(), names.is_empty()), (None, 3, false));
    }

    #[test]
    fn a_name_with_a_gap_is_not_a_name() {
        let text = b"src/a/rather/long/path/of/a/file.py";
        for lost in 0..3 {
            let mut rest = [chunks(3, text, 0), chunks(4, b"b.py", 50)].concat();
            rest.remove(lost);
            let names = joined(&rest);
            assert_eq!((names.get(3), names.incomplete()), (None, &[3][..]));
            assert_eq!(names.iter().collect::<Vec<_>>(), [(4, &b"b.py"[..])]);
        }
    }
}
