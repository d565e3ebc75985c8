//! An append-only table that is read without a lock, and that a forked child can go on using whatever
//! the other threads of its parent were doing at that moment: no step waits for another thread.

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Entries of the first chunk; each further chunk doubles.
const FIRST_CHUNK: usize = 64;
const CHUNK_COUNT: usize = 20;

/// Entries with ids from 1.
pub(super) struct Table<T> {
    next: AtomicU32,
    chunks: [AtomicPtr<AtomicPtr<T>>; CHUNK_COUNT],
}

fn position(id: u32) -> (usize, usize) {
    let index = id as usize - 1 + FIRST_CHUNK;
    let chunk = index.ilog2() - FIRST_CHUNK.ilog2();
    (chunk as usize, index - (FIRST_CHUNK << chunk))
}

impl<T> Table<T> {
    pub(super) fn new() -> Table<T> {
        let chunks = std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut()));
        Table { next: AtomicU32::new(1), chunks }
    }

    /// One more than the largest id in use.
    pub(super) fn next_id(&self) -> u32 {
        self.next.load(Ordering::Acquire)
    }

    /// Stores `value` for ever and returns its id; `None` when the table is full at `id_max`.
    pub(super) fn push(&self, value: T, id_max: u32) -> Option<u32> {
        let id = self.next.fetch_add(1, Ordering::AcqRel);
        let (chunk, index) = position(id);
        if id > id_max || chunk >= CHUNK_COUNT {
            self.next.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let entry = &self.chunk(chunk)[index];
        entry.store(Box::into_raw(Box::new(value)), Ordering::Release);
        Some(id)
    }

    /// The entry `id`; `None` if there is none, or if it was being stored when this process was forked.
    #[inline]
    pub(super) fn get(&self, id: u32) -> Option<&T> {
        if id == 0 {
            return None;
        }
        let (chunk, index) = position(id);
        let entries = self.chunks.get(chunk)?.load(Ordering::Acquire);
        if entries.is_null() {
            return None;
        }
        // SAFETY: a chunk that is published has FIRST_CHUNK << chunk entries (see `chunk`), `index` is
        // below that (see `position`), and neither chunks nor entries are freed before the table.
        unsafe { (*entries.add(index)).load(Ordering::Acquire).as_ref() }
    }

    fn chunk(&self, chunk: usize) -> &[AtomicPtr<T>] {
        let length = FIRST_CHUNK << chunk;
        let mut entries = self.chunks[chunk].load(Ordering::Acquire);
        if entries.is_null() {
            let empty: Box<[AtomicPtr<T>]> =
                (0..length).map(|_| AtomicPtr::new(std::ptr::null_mut())).collect();
            let ours = Box::into_raw(empty).cast::<AtomicPtr<T>>();
            let published = self.chunks[chunk].compare_exchange(
                std::ptr::null_mut(),
                ours,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            entries = match published {
                Ok(_) => ours,
                Err(theirs) => {
                    free_chunk(ours, length);
                    theirs
                }
            };
        }
        // SAFETY: published chunks have this length and live as long as the table.
        unsafe { std::slice::from_raw_parts(entries, length) }
    }
}

fn free_chunk<T>(entries: *mut AtomicPtr<T>, length: usize) {
    // SAFETY: `entries` came from a boxed slice of this length and is freed once: by the loser of the
    // race before anybody saw it, or by the table's drop.
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(entries, length)) });
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        for (chunk, entries) in self.chunks.iter_mut().enumerate() {
            let entries = *entries.get_mut();
            if entries.is_null() {
                continue;
            }
            let length = FIRST_CHUNK << chunk;
            for index in 0..length {
                // SAFETY: as in `get`; nobody else has the table any more.
                let entry = unsafe { *(*entries.add(index)).get_mut() };
                if !entry.is_null() {
                    // SAFETY: it came from a box in `push` and is freed here only.
                    drop(unsafe { Box::from_raw(entry) });
                }
            }
            free_chunk(entries, length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_across_chunks() {
        let table = Table::new();
        for number in 1..=1000u32 {
            assert_eq!(table.push(number.to_string(), 2000), Some(number));
        }
        for number in 1..=1000u32 {
            assert_eq!(table.get(number), Some(&number.to_string()));
        }
        assert_eq!((table.get(0), table.get(1001), table.get(u32::MAX)), (None, None, None));
    }

    #[test]
    fn a_full_table_refuses_and_stays_whole() {
        let table = Table::new();
        assert_eq!((table.push('a', 2), table.push('b', 2)), (Some(1), Some(2)));
        assert_eq!((table.push('c', 2), table.push('d', 2)), (None, None));
        assert_eq!((table.get(2), table.get(3), table.next_id()), (Some(&'b'), None, 3));
    }

    #[test]
    fn threads_never_share_an_id() {
        let table = Table::new();
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let table = &table;
                scope.spawn(move || {
                    for number in 0..500 {
                        let id = table.push((thread, number), 10_000).unwrap();
                        assert_eq!(table.get(id), Some(&(thread, number)));
                    }
                });
            }
        });
        assert_eq!(table.next_id(), 2001);
    }
}
