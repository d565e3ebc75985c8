//! Real full disks: small tmpfs and ext4 file systems, and limits of file sizes, with several writers at
//! once. Mounting needs root, and a test that may not says so.
//!
//! `HITLOG_DISK_SIZES` sets how many sizes between 256 KiB and 4 MiB are tried of each.

#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod common;
#[path = "common/mounts.rs"]
mod mounts;
#[path = "common/processes.rs"]
mod processes;
#[path = "common/random.rs"]
mod random;

use std::path::Path;

use common::{Content, logs};
use hitlog::Recorder;
use hitlog::format::Record;
use mounts::{Mounted, alone, make_image, on_mounted};
use processes::{fork, wait};

const WRITERS: u32 = 8;
const LINES: u32 = 30_000;

/// What a writer's exit status tells: everything was recorded, something was lost, or there was not even
/// room for a log.
const WHOLE: i32 = 0;
const LOSSY: i32 = 1;
const NO_LOG: i32 = 2;

/// The sizes to try, in KiB.
fn sizes() -> impl Iterator<Item = usize> {
    let count = random::figure("HITLOG_DISK_SIZES", 50) as usize;
    (0..count).map(move |number| 256 + number * (4096 - 256) / count)
}

/// Records in a child, after `limit` was set there.
fn write_in_child(run: &Path, limit: impl FnOnce()) -> libc::pid_t {
    fork(|| {
        limit();
        let status = Recorder::open(run).map_or(NO_LOG, |recorder| {
            let file = recorder.file("a");
            (1..=LINES).for_each(|line| recorder.line(file, line));
            if recorder.lost() > 0 { LOSSY } else { WHOLE }
        });
        // SAFETY: ends the child without the harness's exit handlers.
        unsafe { libc::_exit(status) }
    })
}

fn exit_status(pid: libc::pid_t) -> i32 {
    let status = wait(pid);
    assert!(libc::WIFEXITED(status), "a writer was killed: status {status:#x}");
    libc::WEXITSTATUS(status)
}

/// Fills `disk` by several writers at once, and fails unless each told what it lost.
fn fill(disk: &Path, what: &str, limit: impl Fn() + Copy) {
    let run = disk.join("run");
    std::fs::create_dir(&run).unwrap();
    let writers: Vec<_> = (0..WRITERS).map(|_| write_in_child(&run, limit)).collect();
    let statuses: Vec<i32> = writers.into_iter().map(exit_status).collect();
    // One alone may find room for everything, and leave none for the logs of the others.
    assert!(statuses.iter().any(|status| *status != WHOLE), "{what} hold less than is recorded");
    assert!(statuses.iter().all(|status| *status <= NO_LOG), "{what}: {statuses:?}");
    let mut lossy = 0;
    for path in logs(&run) {
        lossy += check(&Content::read(&path), what);
        let size = path.metadata().unwrap().len();
        assert_eq!(size % (64 * 1024), 0, "{what}: what did not fit as a block is given back");
    }
    let ended = |wanted: i32| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!(lossy, ended(LOSSY), "{what}: each loss is told in its log");
    assert_eq!(logs(&run).len(), ended(WHOLE) + ended(LOSSY), "{what}: no log, no file");
}

/// Whether the log tells of a loss; fails unless what it tells is exact.
fn check(content: &Content, what: &str) -> usize {
    content.assert_whole();
    let Record::Trailer { lost, records, .. } = content.trailers()[0] else { panic!("{what}") };
    assert_eq!(content.lines().len() as u32 + lost, LINES, "{what}");
    assert_eq!(records as usize, content.records.len() - content.trailers().len(), "{what}");
    usize::from(lost > 0)
}

#[test]
fn a_full_tmpfs_stops_the_recording_and_nothing_else() {
    on_mounted("tmpfs", || {
        for kib in sizes() {
            let disk = Mounted::tmpfs(kib)?;
            fill(disk.path(), &format!("{kib} KiB of tmpfs"), || {});
        }
        Ok(())
    });
}

#[test]
fn a_full_ext4_stops_the_recording_and_nothing_else() {
    on_mounted("ext4", || {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        for kib in sizes() {
            make_image(&image, kib as u64, &["mkfs.ext4", "-q", "-F", "-b", "1024"])?;
            let disk = Mounted::new(&image, &["-o", "loop"])?;
            fill(disk.path(), &format!("{kib} KiB of ext4"), || {});
        }
        Ok(())
    });
}

#[test]
fn a_limit_of_file_sizes_stops_the_recording_and_nothing_else() {
    let _alone = alone();
    for kib in sizes().map(|kib| kib / 5) {
        let folder = tempfile::tempdir().unwrap();
        let bytes = (kib * 1024) as u64;
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        fill(folder.path(), &format!("{kib} KiB of a file"), || {
            // SAFETY: a valid limit, for this child only.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) }, 0);
        });
    }
}
