//! The machine loses power: which slots may be blank, and that nothing wrong is ever accepted.
//!
//! The model keeps, for each page of 4096 bytes, every version it had since the last `sync` (a page cache
//! may have written any of them). A crash picks a version for each page by itself, for a quarter of the
//! pages each sector of 512 bytes by itself, and a length between the synced and the present one;
//! sometimes two pages are swapped. `HITLOG_POWER_STATES` sets the number of crashes, `HITLOG_SEED` the
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

const PAGE: usize = 4096;
const SECTOR: usize = 512;
/// Crashes at each of the twelve moments of a recording.
const CRASHES: u64 = 40;
const SLOTS: usize = (192 * 1024 - HEADER_SIZE) / RECORD_SIZE;

/// A file with the versions of its pages since the last sync.
struct History {
    synced: Vec<u8>,
    versions: Vec<Vec<u8>>,
}

impl History {
    fn note(&mut self, now: Vec<u8>) {
        self.versions.push(now);
    }

    fn sync(&mut self, now: Vec<u8>) {
        self.synced.clone_from(&now);
        self.versions = vec![now];
    }

    fn now(&self) -> &[u8] {
        self.versions.last().expect("at least one version")
    }

    /// Bytes `at..at + length` of a version picked at random; zeros where it was shorter.
    fn pick(&self, random: &mut Random, at: usize, length: usize) -> Vec<u8> {
        let version = &self.versions[random.below(self.versions.len())];
        let mut bytes = vec![0; length];
        let there = version.get(at..).unwrap_or_default();
        let there = &there[..there.len().min(length)];
        bytes[..there.len()].copy_from_slice(there);
        bytes
    }

    /// What may be on the medium after a crash, and which pages were swapped.
    fn crash(&self, random: &mut Random) -> (Vec<u8>, Option<[usize; 2]>) {
        let grown = self.now().len() - self.synced.len();
        let length = self.synced.len() + random.below(grown + 1);
        let mut image = Vec::with_capacity(length);
        for at in (0..length).step_by(PAGE) {
            let by_sector = random.one_in(4);
            let piece = if by_sector { SECTOR } else { PAGE };
            for at in (at..at + PAGE).step_by(piece) {
                image.extend(self.pick(random, at, piece));
            }
        }
        image.truncate(length);
        let pages = length / PAGE;
        let swapped =
            (random.one_in(8) && pages > 3).then(|| [0; 2].map(|_| 2 + random.below(pages - 2)));
        if let Some([first, second]) = swapped {
            for offset in 0..PAGE {
                image.swap(first * PAGE + offset, second * PAGE + offset);
            }
        }
        (image, swapped)
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
    let states = figure("HITLOG_POWER_STATES", 20_000);
    let seed = random::seed();
    println!("HITLOG_SEED={seed} HITLOG_POWER_STATES={states}");
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
    let mut history = History { synced: Vec::new(), versions: vec![bench.disk.memory.to_bytes()] };
    let mut line = 0;
    for _ in 0..12 {
        for _ in 0..random.below(200) {
            line += 1;
            if random.one_in(20) {
                bench.recorder.switch_context(format!("tests/test_power.py::test_{line}|run"));
            }
            let file = bench.recorder.file(format!("src/module_{}.py", random.below(9)));
            bench.recorder.line(file, line);
        }
        if random.one_in(4) {
            bench.recorder.sync().unwrap();
            history.sync(bench.disk.synced.lock().unwrap().clone());
            // What returned from an append before a sync that returned is on the medium.
            assert_eq!(history.now(), bench.disk.memory.to_bytes(), "seed {seed}");
        } else {
            history.note(bench.disk.memory.to_bytes());
        }
        for _ in 0..CRASHES {
            let (image, swapped) = history.crash(random);
            check(&image, &history, &bench.log_id, swapped, seed);
        }
    }
    12 * CRASHES
}

fn slots_of(image: &[u8]) -> impl Iterator<Item = (usize, [u64; 4])> {
    let slots = image.get(HEADER_SIZE..).unwrap_or_default().chunks_exact(RECORD_SIZE);
    slots.map(slot_words).enumerate()
}

fn slot_at(file: &[u8], slot: usize) -> [u64; 4] {
    let at = HEADER_SIZE + slot * RECORD_SIZE;
    file.get(at..at + RECORD_SIZE).map_or([0; 4], slot_words)
}

fn check(image: &[u8], history: &History, log_id: &LogId, swapped: Option<[usize; 2]>, seed: u64) {
    let page_of = |slot: usize| (HEADER_SIZE + slot * RECORD_SIZE) / PAGE;
    for (slot, words) in slots_of(image) {
        let moved = swapped.is_some_and(|[a, b]| a != b && [a, b].contains(&page_of(slot)));
        let synced = slot_at(&history.synced, slot);
        match classify(words, place(log_id, slot as u32)) {
            Slot::Valid(_) => {
                assert!(!moved, "seed {seed}: slot {slot} of a swapped page was accepted");
                let written = slot_at(history.now(), slot);
                assert_eq!(words, written, "seed {seed}: slot {slot} was never written so");
            }
            Slot::Blank { unfinished } => {
                assert!(!unfinished, "seed {seed}: slot {slot} is torn");
                assert!(moved || synced == [0; 4], "seed {seed}: slot {slot} was synced and is gone");
            }
            Slot::Foreign { .. } => assert!(moved, "seed {seed}: slot {slot} is called foreign"),
            Slot::Damaged(damage) => panic!("seed {seed}: slot {slot} is {damage:?}"),
        }
    }
    let lost =
        slots_of(&history.synced).skip(slots_of(image).count()).filter(|(_, words)| *words != [0; 4]);
    assert_eq!(lost.count(), 0, "seed {seed}: synced slots behind the end of the file");
}
