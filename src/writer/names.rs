//! Names and their ids: files, contexts, series of samples.
//!
//! An id means the same name in every thread, in every segment and in every forked child, so that a
//! host may keep ids for ever; each log gets the names that its records use.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::table::Table;
use crate::format::NameSpace;
use crate::limits::{NAME_BYTES_MAX, NAME_ID_MAX, SAMPLE_NAME_ID_MAX};

/// A name, and in which log it stands.
pub(super) struct Name {
    pub(super) text: Box<[u8]>,
    /// Size in bytes and modification time in ns since 1970, of a file that could be looked at.
    pub(super) facts: Option<(u64, i64)>,
    /// Serial number of the segment that has this name; 0: none yet.
    written_in: AtomicU64,
}

impl Name {
    #[inline]
    pub(super) fn is_written_in(&self, segment_serial: u64) -> bool {
        self.written_in.load(Ordering::Acquire) == segment_serial
    }

    /// To be called after the name's records are stored.
    pub(super) fn set_written_in(&self, segment_serial: u64) {
        self.written_in.store(segment_serial, Ordering::Release);
    }
}

/// All names of a recorder.
pub(super) struct Names {
    files: Table<Name>,
    contexts: Table<Name>,
    samples: Table<Name>,
}

/// Ids by name, made for each space when a name of it is first asked for. Belongs to one process: its
/// lock may be held by a thread that a forked child lacks.
#[derive(Default)]
pub(super) struct NameIndex([Mutex<Option<Ids>>; 3]);

type Ids = HashMap<Box<[u8]>, u32>;

impl NameIndex {
    /// In a child: frees the parent's, as far as no thread of the parent was using it.
    pub(super) fn release_inherited(&self) {
        for ids in &self.0 {
            if let Ok(mut ids) = ids.try_lock() {
                *ids = None;
            }
        }
    }
}

fn number(space: NameSpace) -> usize {
    match space {
        NameSpace::File => 0,
        NameSpace::Context => 1,
        NameSpace::Sample => 2,
    }
}

impl Names {
    pub(super) fn new() -> Names {
        Names { files: Table::new(), contexts: Table::new(), samples: Table::new() }
    }

    fn table(&self, space: NameSpace) -> &Table<Name> {
        match space {
            NameSpace::File => &self.files,
            NameSpace::Context => &self.contexts,
            NameSpace::Sample => &self.samples,
        }
    }

    #[inline]
    pub(super) fn get(&self, space: NameSpace, id: u32) -> Option<&Name> {
        self.table(space).get(id)
    }

    /// The ids of all names of a space.
    fn ids(&self, space: NameSpace) -> Ids {
        let table = self.table(space);
        let ids = 1..table.next_id();
        ids.filter_map(|id| Some((table.get(id)?.text.clone(), id))).collect()
    }

    /// The id of `text`, which is cut at [`NAME_BYTES_MAX`]; `None` if there are too many names.
    pub(super) fn intern(&self, index: &NameIndex, space: NameSpace, text: &[u8]) -> Option<u32> {
        let text = &text[..text.len().min(NAME_BYTES_MAX)];
        let mut ids = index.0[number(space)].lock().unwrap_or_else(PoisonError::into_inner);
        let ids = ids.get_or_insert_with(|| self.ids(space));
        if let Some(id) = ids.get(text) {
            return Some(*id);
        }
        let facts = if space == NameSpace::File { facts_of(text) } else { None };
        let id_max = match space {
            NameSpace::Sample => u32::from(SAMPLE_NAME_ID_MAX),
            NameSpace::File | NameSpace::Context => NAME_ID_MAX,
        };
        let name = Name { text: text.into(), facts, written_in: AtomicU64::new(0) };
        let id = self.table(space).push(name, id_max)?;
        ids.insert(text.into(), id);
        Some(id)
    }
}

fn facts_of(path: &[u8]) -> Option<(u64, i64)> {
    let metadata = std::fs::metadata(Path::new(std::ffi::OsStr::from_bytes(path))).ok()?;
    let mtime_ns = metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec());
    Some((metadata.len(), mtime_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_the_same_in_a_fresh_index() {
        let names = Names::new();
        let index = NameIndex::default();
        let first = names.intern(&index, NameSpace::Context, b"a").unwrap();
        let second = names.intern(&index, NameSpace::Context, b"b").unwrap();
        let again = NameIndex::default();
        assert_eq!(names.intern(&again, NameSpace::Context, b"b"), Some(second));
        assert_eq!(names.intern(&again, NameSpace::Context, b"a"), Some(first));
        assert_eq!(names.intern(&again, NameSpace::File, b"a"), Some(1), "spaces are apart");
    }

    #[test]
    fn a_long_name_is_cut() {
        let names = Names::new();
        let index = NameIndex::default();
        let id = names.intern(&index, NameSpace::Context, &vec![b'x'; NAME_BYTES_MAX + 9]).unwrap();
        assert_eq!(names.get(NameSpace::Context, id).unwrap().text.len(), NAME_BYTES_MAX);
    }
}
