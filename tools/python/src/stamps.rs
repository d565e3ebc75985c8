//! What was seen in the current context: one number per line of each measured file.
//!
//! ```text
//! stamp = generation << 5 | how often the line ran in that generation (at most 31)
//! ```
//!
//! A line whose reports are dear counts as if it had run more often (`session::MeasuredFile`).
//!
//! Each context has a generation of its own, so that a switch of contexts costs one addition, however
//! many lines there are. The stamps lie in memory that a forked child finds zeroed: it sees every line
//! as unseen, also after a raw `fork` that Python knows nothing of. (`interpreter::forks` arms again what its
//! parent had disabled, on CPython 3.12 and later.) Generations begin again after 2^27 switches; a line would have to be last seen exactly that long ago to be missed.

#[cfg(Py_3_12)]
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hitlog::limits::LINE_MAX;
use memmap2::{MmapMut, MmapOptions};

/// Bits of a stamp that count.
pub const COUNT_BITS: u32 = 5;
/// The largest count; also the bits of a stamp that hold it.
pub const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;

/// Stamps that are taken from the system at once, 256 KiB; a longer file gets a piece of its own.
const PIECE_STAMPS: usize = 64 * 1024;
/// Stamps of a file of which no longer line was seen yet.
const FIRST_STAMPS: usize = 256;

/// The stamps of one file; grows with the lines that are seen.
///
/// Only changed by a thread that holds the interpreter's lock.
#[derive(Default)]
pub struct Stamps {
    first: AtomicPtr<AtomicU32>,
    length: AtomicU32,
}

impl Stamps {
    /// The stamp of `line`; `None` if there is no memory or no such line.
    #[inline(always)]
    pub fn get(&self, line: u32) -> Option<&AtomicU32> {
        if line < self.length.load(Ordering::Relaxed) {
            // SAFETY: `first` points to `length` stamps, which are never given back (see `grow`).
            return Some(unsafe { &*self.first.load(Ordering::Relaxed).add(line as usize) });
        }
        self.grow(line)
    }

    #[cold]
    fn grow(&self, line: u32) -> Option<&AtomicU32> {
        if line > LINE_MAX {
            return None;
        }
        let length = (line as usize + 1).next_power_of_two().max(FIRST_STAMPS);
        let stamps = take(length).ok()?;
        for known in 0..self.length.load(Ordering::Relaxed) {
            let stamp = self.get(known)?.load(Ordering::Relaxed);
            stamps[known as usize].store(stamp, Ordering::Relaxed);
        }
        self.first.store(stamps.as_ptr().cast_mut(), Ordering::Relaxed);
        self.length.store(length as u32, Ordering::Relaxed);
        stamps.get(line as usize)
    }
}

/// What is left of the piece that was taken last.
static REST: Mutex<&'static [AtomicU32]> = Mutex::new(&[]);

/// Stamps that were given back, by their number.
#[cfg(Py_3_12)]
static GIVEN_BACK: Mutex<BTreeMap<usize, Vec<&'static [AtomicU32]>>> = Mutex::new(BTreeMap::new());

/// Stamps of one owner, given back at its end.
#[cfg(Py_3_12)]
pub struct Piece(&'static [AtomicU32]);

#[cfg(Py_3_12)]
impl Piece {
    /// `length` stamps or more, none of them seen; `None` if there is no memory.
    pub fn take(length: usize) -> Option<Piece> {
        let length = length.next_power_of_two();
        let used = lock(&GIVEN_BACK).get_mut(&length).and_then(Vec::pop);
        let stamps = used.map_or_else(|| take(length), Ok).ok()?;
        stamps.iter().for_each(|stamp| stamp.store(0, Ordering::Relaxed));
        Some(Piece(stamps))
    }

    /// The stamp at `place`.
    #[inline(always)]
    pub fn get(&self, place: usize) -> Option<&AtomicU32> {
        self.0.get(place)
    }
}

#[cfg(Py_3_12)]
impl Drop for Piece {
    fn drop(&mut self) {
        lock(&GIVEN_BACK).entry(self.0.len()).or_default().push(self.0);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes `length` stamps, for ever.
pub fn take(length: usize) -> io::Result<&'static [AtomicU32]> {
    if length > PIECE_STAMPS / 4 {
        return piece(length);
    }
    let mut rest = lock(&REST);
    if rest.len() < length {
        *rest = piece(PIECE_STAMPS)?;
    }
    let (taken, left) = rest.split_at(length);
    *rest = left;
    Ok(taken)
}

/// `length` zeros from the system, zero again in each forked child.
fn piece(length: usize) -> io::Result<&'static [AtomicU32]> {
    let pages: &'static MmapMut =
        Box::leak(Box::new(MmapOptions::new().len(length * size_of::<AtomicU32>()).map_anon()?));
    let start = pages.as_ptr();
    // SAFETY: the range is exactly the private anonymous mapping just made; the advice changes what
    // forked children see of it, nothing in this process.
    let result = unsafe { libc::madvise(start.cast_mut().cast(), pages.len(), libc::MADV_WIPEONFORK) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping holds `length` zeroed and aligned numbers, is never unmapped, and is only
    // reached through atomics.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU32>(), length) })
}
