//! The machine loses power, for real: images of ext4, xfs and btrfs, copied at one moment while processes
//! record on them, are mounted - the file system recovers as after a crash - and their logs are read.
//!
//! ```text
//! outer.img  xfs, whose files can be cloned at one moment
//!   disk.img     the file system on trial, mounted through a loop device; writers record and sync
//!   0.img ...    clones of disk.img: what had reached the medium when the power went
//! ```
//!
//! Only what the file system wrote back is in a clone; pieces of the logs are sent to the medium in any
//! order meanwhile, as a page cache may do. Needs root, loop devices and each file system's mkfs, and says so
//! where one is missing. `HITLOG_POWER_IMAGES` sets how many images of each file system are judged.
#![allow(clippy::print_stdout, reason = "the seed, and that a test is skipped")]

#[path = "common/mounts.rs"]
mod mounts;
#[path = "common/processes.rs"]
mod processes;
#[path = "common/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hitlog::Recorder;
use hitlog::format::{Record, Slot};
use hitlog::reader::{Digest, LogReader};
use mounts::{Mounted, make_image, on_mounted};
use processes::{Shared, fork, kill, wait};
use random::{Random, figure};

const WRITERS: usize = 4;
/// 3 MiB of a log.
const LINES: u32 = 100_000;
/// Images taken of one recording.
const IMAGES: u64 = 10;
/// The only file that the writers name.
const FILE: &str = "src/shop/cart.py";

/// A file system on trial.
struct Trial {
    /// What makes it, with its options.
    mkfs: &'static [&'static str],
    mib: u64,
    /// Options of mount(8).
    mount: &'static [&'static str],
}

/// What a writer had done when an image was taken.
#[derive(Clone, Debug)]
struct Progress {
    /// Lines 1 to this one had been appended before a sync that had returned.
    synced: u64,
    /// No line after the next one had been appended.
    appended: u64,
}

/// What was on the medium when the power went.
struct Image {
    path: PathBuf,
    /// By the pids of the writers.
    progress: BTreeMap<u32, Progress>,
}

/// Appends lines, counts those that returned, and syncs now and then, until it is killed.
fn write_until_killed(run: &Path, appended: &AtomicU64, synced: &AtomicU64, seed: u64) {
    let mut random = Random(seed);
    let recorder = Recorder::open(run).unwrap();
    let file = recorder.file(FILE);
    for line in 1..=LINES {
        recorder.line(file, line);
        appended.store(u64::from(line), Ordering::Release);
        if random.one_in(2000) {
            recorder.sync().unwrap();
            synced.store(u64::from(line), Ordering::Release);
        }
        (0..300).for_each(|_| std::hint::spin_loop());
    }
    std::thread::sleep(Duration::MAX);
}

/// Sends a random piece of a random log to the medium; the file system's own account of it stays behind.
fn write_back_a_piece(run: &Path, random: &mut Random) {
    let logs: Vec<PathBuf> = fs::read_dir(run).unwrap().flatten().map(|entry| entry.path()).collect();
    if logs.is_empty() {
        return;
    }
    let Ok(log) = File::open(&logs[random.below(logs.len())]) else { return };
    let pages = log.metadata().unwrap().len() as usize / 4096;
    let (from, pages) = (random.below(pages), 1 + random.below(16));
    // SAFETY: an open file and plain numbers.
    unsafe {
        let (from, bytes) = (4096 * from as i64, 4096 * pages as i64);
        libc::sync_file_range(log.as_raw_fd(), from, bytes, libc::SYNC_FILE_RANGE_WRITE);
    }
}

/// Makes `to` the same as `from`, at one moment.
fn clone(from: &Path, to: &Path) {
    let (from, to) = (File::open(from).unwrap(), File::create(to).unwrap());
    // SAFETY: two open files.
    let cloned = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) };
    assert_eq!(cloned, 0, "{}", std::io::Error::last_os_error());
}

/// Loses the power of a file system again and again; `Err` where it cannot be mounted.
fn lose_power(trial: &Trial) -> Result<(), String> {
    let images = figure("HITLOG_POWER_IMAGES", 20);
    let seed = random::seed();
    println!("HITLOG_SEED={seed} HITLOG_POWER_IMAGES={images}");
    let mut random = Random(seed);
    let folder = tempfile::tempdir().unwrap();
    let outer = folder.path().join("outer.img");
    make_image(&outer, 2 << 20, &["mkfs.xfs", "-q"])?;
    let outer = Mounted::new(&outer, &["-o", "loop"])?;
    let mut with_records = 0;
    for _ in 0..images.div_ceil(IMAGES) {
        let disk = outer.path().join("disk.img");
        make_image(&disk, trial.mib << 10, trial.mkfs)?;
        // The copies can only be mounted when the original is not: their identities are the same.
        for image in record_on(&disk, trial, &mut random)? {
            let mounted = Mounted::new(&image.path, trial.mount)?;
            with_records += u64::from(judge(&mounted.path().join("run"), &image, seed) > 0);
        }
    }
    assert!(with_records > images / 4, "only {with_records} of {images} images hold records");
    Ok(())
}

/// Images of a recording on `disk`, and what each writer had done when they were taken.
fn record_on(disk: &Path, trial: &Trial, random: &mut Random) -> Result<Vec<Image>, String> {
    let mounted = Mounted::new(disk, trial.mount)?;
    let run = mounted.path().join("run");
    fs::create_dir(&run).unwrap();
    File::open(mounted.path()).unwrap().sync_all().unwrap();
    let shared = Shared::new();
    let appended = |number: usize| shared.count(2 * number);
    let synced = |number: usize| shared.count(2 * number + 1);
    let writers: Vec<libc::pid_t> = (0..WRITERS)
        .map(|number| {
            let seed = random.next();
            fork(|| write_until_killed(&run, appended(number), synced(number), seed))
        })
        .collect();
    let mut images = Vec::new();
    for number in 0..IMAGES {
        for _ in 0..random.below(20) {
            write_back_a_piece(&run, random);
            std::thread::sleep(Duration::from_micros(random.below(2000) as u64));
        }
        let path = disk.with_file_name(format!("{number}.img"));
        let before: Vec<u64> =
            (0..WRITERS).map(|number| synced(number).load(Ordering::Acquire)).collect();
        clone(disk, &path);
        let progress_of = |number: usize| {
            let appended = appended(number).load(Ordering::Acquire);
            (writers[number] as u32, Progress { synced: before[number], appended })
        };
        images.push(Image { path, progress: (0..WRITERS).map(progress_of).collect() });
    }
    for writer in writers {
        kill(writer, libc::SIGKILL);
        assert!(libc::WIFSIGNALED(wait(writer)));
    }
    Ok(images)
}

/// How many records the logs in `run` hold; fails unless they are what `image` may hold.
fn judge(run: &Path, image: &Image, seed: u64) -> u64 {
    let mut records = 0;
    let mut progress = image.progress.clone();
    for entry in fs::read_dir(run).unwrap() {
        let path = entry.unwrap().path();
        let log = LogReader::open(&path).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let of_writer = progress.remove(&log.pid().unwrap()).expect("one log for each writer");
        records += judge_log(&log, &of_writer, seed);
    }
    for (pid, progress) in progress {
        assert_eq!(progress.synced, 0, "seed {seed}: the log of {pid} was synced and is gone");
    }
    records
}

fn judge_log(log: &LogReader, progress: &Progress, seed: u64) -> u64 {
    let what = format!("seed {seed}, {}, {progress:?}", log.path().display());
    let mut digest = Digest::default();
    let mut lines = BTreeSet::new();
    let counts = log.scan(0..log.slot_count(), |slot, found| {
        digest.add(slot, &found);
        if let Slot::Valid(Record::Line { line, .. }) = found {
            assert!(lines.insert(u64::from(line)), "{what}: line {line} twice");
        }
    });
    let counts = counts.unwrap();
    // The record that was just being stored may be there in part.
    assert!(counts.foreign == 0 && counts.damaged + counts.unfinished <= 1, "{what}: {counts:?}");
    let wrong = lines.range(progress.appended + 2..).next();
    assert_eq!(wrong, None, "{what}: a line that was not appended");
    let lost = (1..=progress.synced).find(|line| !lines.contains(line));
    assert_eq!(lost, None, "{what}: a line that was synced");
    if progress.synced > 0 {
        assert!(log.header_copies().iter().all(|copy| copy.is_ok()), "{what}: the header");
        assert_eq!(digest.finish().files.get(1), Some(FILE.as_bytes()), "{what}: a name");
    }
    counts.valid
}

fn trial(trial: &Trial) {
    on_mounted(trial.mkfs[0].trim_start_matches("mkfs."), || lose_power(trial));
}

#[test]
fn what_was_synced_on_ext4_is_there_and_nothing_wrong_is_accepted() {
    trial(&Trial { mkfs: &["mkfs.ext4", "-q", "-F"], mib: 64, mount: &["-o", "loop"] });
}

#[test]
fn what_was_synced_on_xfs_is_there_and_nothing_wrong_is_accepted() {
    trial(&Trial { mkfs: &["mkfs.xfs", "-q"], mib: 300, mount: &["-o", "loop"] });
}

#[test]
fn what_was_synced_on_btrfs_is_there_and_nothing_wrong_is_accepted() {
    trial(&Trial { mkfs: &["mkfs.btrfs", "-q"], mib: 128, mount: &["-o", "loop"] });
}
