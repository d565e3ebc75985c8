//! What every peer records, and the page through which a child process and its parent see each other: a
//! small file mapped by both, which outlives the child.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

/// Lines of one file, before the next file's turn.
const LINES_PER_FILE: u32 = 1000;

/// One hit: line `line` of file `file`, both from 1. `number` counts all hits from 0.
#[derive(Clone, Copy)]
pub struct Hit {
    pub number: u32,
    pub file: u32,
    pub line: u32,
}

/// How many files `hits` hits name.
pub fn file_count(hits: u32) -> u32 {
    hits.div_ceil(LINES_PER_FILE)
}

/// Numbers shared with another process.
pub struct Page(MmapRaw);

impl Page {
    /// Maps the file at `path`, which is made if missing.
    pub fn open(path: &Path) -> io::Result<Page> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        file.set_len(4096)?;
        Ok(Page(MmapOptions::new().len(4096).map_raw(&file)?))
    }

    fn number(&self, index: usize) -> &AtomicU64 {
        assert!(index < 512);
        // SAFETY: inside the page, aligned, alive as long as `self`; every process uses atomics only.
        unsafe { &*self.0.as_mut_ptr().cast::<AtomicU64>().add(index) }
    }

    /// Appends that returned.
    pub fn handed_over(&self) -> &AtomicU64 {
        self.number(0)
    }

    /// Not 0: no more hits.
    pub fn stop(&self) -> &AtomicU64 {
        self.number(8)
    }

    /// How long it took to record what was handed over, in nanoseconds, opening and closing included.
    pub fn elapsed_ns(&self) -> &AtomicU64 {
        self.number(16)
    }
}

/// The hits of a run. Asking for the next one says that the append of the last one returned.
pub struct Hits<'a> {
    pub page: &'a Page,
    pub next: u32,
    pub end: u32,
    /// Whether the child is to be killed: it must not close its log then.
    pub to_be_killed: bool,
}

impl Iterator for Hits<'_> {
    type Item = Hit;

    #[inline]
    fn next(&mut self) -> Option<Hit> {
        let number = self.next;
        self.page.handed_over().store(u64::from(number), Ordering::Relaxed);
        if number == self.end || self.page.stop().load(Ordering::Relaxed) != 0 {
            if self.to_be_killed {
                loop {
                    std::thread::park();
                }
            }
            return None;
        }
        self.next += 1;
        Some(Hit { number, file: number / LINES_PER_FILE + 1, line: number % LINES_PER_FILE + 1 })
    }
}
