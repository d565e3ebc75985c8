//! The machine loses power: which slots may be blank, and that nothing wrong is ever accepted.
//!
//! The model keeps, for each page of 4096 bytes, every version it had since the last `sync` (a page cache
//! may have written any of them). A crash picks a version for each page by itself, for a quarter of the
//! pages each sector of 512 bytes by itself, and a length between the synced and the present one, in whole
//! slots, since nobody reads half of one; sometimes two pages are swapped. `HITLOG_POWER_STATES` sets the number of crashes, `HITLOG_SEED` the
//! seed, which every failure prints.
#![allow(clippy::print_stdout, reason = "the seed")]

#[path = "common/random.rs"]
mod random;

use std::sync::{Arc, Mutex};

use hitlog::Recorder;
use hitlog::format::{HEADER_SIZE, LogId, RECORD_SIZE, Slot, classify, place, slot_words};
use hitlog::storage::memory::Memory;
use hitlog::storage::{SlotCell, Storage};
use random::{Random, figure};

/// Of slots, as which the header counts too.
const PAGE: usize = 4096 / RECORD_SIZE;
const SECTOR: usize = 512 / RECORD_SIZE;
const HEADER: usize = HEADER_SIZE / RECORD_SIZE;
/// Crashes at each of the twelve moments of a recording.
const CRASHES: u64 = 80;
const SLOTS: usize = (128 * 1024 - HEADER_SIZE) / RECORD_SIZE;

/// A file, slot by slot.
type Image = Vec<[u64; 4]>;

fn image_of(bytes: &[u8]) -> Image {
    bytes.chunks_exact(RECORD_SIZE).map(slot_words).collect()
}

/// A file with the versions of its pages since the last sync.
struct History {
    synced: Image,
    versions: Vec<Image>,
}

impl History {
    fn note(&mut self, now: Image) {
        self.versions.push(now);
    }

    fn sync(&mut self, now: Image) {
        self.synced.clone_from(&now);
        self.versions = vec![now];
    }

    fn now(&self) -> &Image {
        self.versions.last().expect("at least one version")
    }

    /// Fills `piece`, which lies at `at`, from a version picked at random; with zeros where it was shorter.
    fn pick(&self, random: &mut Random, at: usize, piece: &mut [[u64; 4]]) {
        let version = &self.versions[random.below(self.versions.len())];
        let there = version.get(at..).unwrap_or_default();
        let (old, beyond) = piece.split_at_mut(there.len().min(piece.len()));
        old.copy_from_slice(&there[..old.len()]);
        beyond.fill([0; 4]);
    }

    /// Puts into `image` what may be on the medium after a crash; which pages were swapped.
    fn crash(&self, random: &mut Random, image: &mut Image) -> Option<[usize; 2]> {
        let grown = self.now().len() - self.synced.len();
        image.resize(self.synced.len() + random.below(grown + 1), [0; 4]);
        for (number, page) in image.chunks_mut(PAGE).enumerate() {
            let piece = if random.one_in(4) { SECTOR } else { PAGE };
            for (offset, piece) in (0..).step_by(piece).zip(page.chunks_mut(piece)) {
                self.pick(random, number * PAGE + offset, piece);
            }
        }
        let pages = image.len() / PAGE;
        let swapped =
            (random.one_in(8) && pages > 3).then(|| [0; 2].map(|_| 2 + random.below(pages - 2)));
        if let Some([first, second]) = swapped {
            (0..PAGE).for_each(|slot| image.swap(first * PAGE + slot, second * PAGE + slot));
        }
        swapped
    }
}

/// A recorder at work on a log in memory.
struct Bench {
    recorder: Recorder,
    disk: Arc<Disk>,
    log_id: LogId,
}

/// A log in memory that remembers what it was when it was last synced.
struct Disk {
    memory: Memory,
    synced: Mutex<Vec<u8>>,
}

impl Storage for Disk {
    fn capacity(&self) -> u64 {
        self.memory.capacity()
    }

    fn extend(&self, from: u64, to: u64) -> std::io::Result<()> {
        self.memory.extend(from, to)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.memory.write(offset, bytes)
    }

    fn store(&self, slot: u32, sealed: [u64; 4]) -> std::io::Result<()> {
        self.memory.store(slot, sealed)
    }

    fn cells(&self) -> Option<std::ptr::NonNull<SlotCell>> {
        self.memory.cells()
    }

    fn sync(&self, length: u64) -> std::io::Result<()> {
        let mut synced = self.memory.to_bytes();
        synced.truncate(length as usize);
        *self.synced.lock().unwrap() = synced;
        Ok(())
    }

    fn discard(&self) {
        self.memory.discard();
    }
}

/// A log in memory and its identity.
type Made = (Arc<Disk>, LogId);

fn bench() -> Bench {
    let made: Arc<Mutex<Option<Made>>> = Arc::default();
    let place_of = Arc::clone(&made);
    let open = move |_pid: u32, log_id: &LogId| -> std::io::Result<Box<dyn Storage>> {
        let disk = Disk { memory: Memory::new(SLOTS, u64::MAX), synced: Mutex::default() };
        let disk = Arc::new(disk);
        *place_of.lock().unwrap() = Some((Arc::clone(&disk), *log_id));
        Ok(Box::new(disk))
    };
    let recorder = Recorder::with_storage(Box::new(open), b"run".to_vec(), "memory".into()).unwrap();
    let (disk, log_id) = made.lock().unwrap().take().unwrap();
    Bench { recorder, disk, log_id }
}

#[test]
fn nothing_wrong_is_accepted_and_what_was_synced_is_there() {
    let states = figure("HITLOG_POWER_STATES", 1_000_000);
    let seed = random::seed();
    println!("HITLOG_SEED={seed} HITLOG_POWER_STATES={states}");
    assert_eq!(classify([0; 4], 7), Slot::Blank { unfinished: false });
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let mut random = Random(seed.wrapping_add(thread));
                let mut checked = 0;
                while checked < states.div_ceil(threads) {
                    checked += crash_one_recording(&mut random, seed);
                }
            });
        }
    });
}

/// Records something, and cuts the power again and again meanwhile; how often.
fn crash_one_recording(random: &mut Random, seed: u64) -> u64 {
    let bench = bench();
    let now = || image_of(&bench.disk.memory.to_bytes());
    let mut history = History { synced: Vec::new(), versions: vec![now()] };
    let (mut line, mut image) = (0, Vec::new());
    for _ in 0..12 {
        for _ in 0..random.below(120) {
            line += 1;
            if random.one_in(20) {
                bench.recorder.switch_context(format!("tests/test_power.py::test_{line}|run"));
            }
            let file = bench.recorder.file(format!("src/module_{}.py", random.below(9)));
            bench.recorder.line(file, line);
        }
        if random.one_in(4) {
            bench.recorder.sync().unwrap();
            history.sync(image_of(&bench.disk.synced.lock().unwrap()));
            // What returned from an append before a sync that returned is on the medium.
            let is_there = *history.now() == now();
            assert!(is_there, "seed {seed}: a sync that returned left something behind");
        } else {
            history.note(now());
        }
        for _ in 0..CRASHES {
            let swapped = history.crash(random, &mut image);
            check(&image, &history, &bench.log_id, swapped, seed);
        }
    }
    12 * CRASHES
}

fn check(image: &Image, history: &History, log_id: &LogId, swapped: Option<[usize; 2]>, seed: u64) {
    let at = |file: &Image, index: usize| file.get(index).copied().unwrap_or_default();
    for (index, words) in image.iter().copied().enumerate().skip(HEADER) {
        let slot = index - HEADER;
        let moved = swapped.is_some_and(|[a, b]| a != b && [a, b].contains(&(index / PAGE)));
        // Most slots are blank, and there are millions: that classify says so is asserted once.
        if words == [0; 4] {
            let is_fine = moved || at(&history.synced, index) == [0; 4];
            assert!(is_fine, "seed {seed}: slot {slot} was synced and is gone");
            continue;
        }
        match classify(words, place(log_id, slot as u32)) {
            Slot::Valid(_) => {
                assert!(!moved, "seed {seed}: slot {slot} of a swapped page was accepted");
                let written = at(history.now(), index);
                assert_eq!(words, written, "seed {seed}: slot {slot} was never written so");
            }
            Slot::Blank { .. } => panic!("seed {seed}: slot {slot} is torn"),
            Slot::Foreign { .. } => assert!(moved, "seed {seed}: slot {slot} is called foreign"),
            Slot::Damaged(damage) => panic!("seed {seed}: slot {slot} is {damage:?}"),
        }
    }
    let mut lost = history.synced.iter().skip(image.len().max(HEADER));
    let is_lost = lost.any(|words| *words != [0; 4]);
    assert!(!is_lost, "seed {seed}: synced slots behind the end of the file");
}
