//! Real full disks: small tmpfs mounts, several writers at once. Needs the right to mount, and says so
//! where it is missing.
//!
//! `HITLOG_DISK_SIZES` sets how many sizes between 256 KiB and 4 MiB are tried.

#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Content, logs};
use hitlog::Recorder;
use hitlog::format::Record;

/// A mounted tmpfs.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where this user may not mount.
    fn mount(kib: usize) -> Option<Disk> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "hitlog-test"]).arg(directory.path());
        mount.output().ok()?.status.success().then_some(Disk(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

const WRITERS: u32 = 4;
const LINES: u32 = 60_000;

/// Records in a child, which reports what was lost by its exit status: 0 nothing, 1 something.
fn write_in_child(run: &Path) -> libc::pid_t {
    // SAFETY: the child only uses memory, system calls and the recorder, and never returns.
    match unsafe { libc::fork() } {
        0 => {
            let status = Recorder::open(run).map_or(2, |recorder| {
                let file = recorder.file("a");
                (1..=LINES).for_each(|line| recorder.line(file, line));
                i32::from(recorder.lost() > 0)
            });
            // SAFETY: ends the child without the harness's exit handlers.
            unsafe { libc::_exit(status) }
        }
        pid => pid,
    }
}

fn exit_status(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the result.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status), "a writer was killed: status {status:#x}");
    libc::WEXITSTATUS(status)
}

#[test]
fn a_full_disk_stops_the_recording_and_nothing_else() {
    let sizes = std::env::var("HITLOG_DISK_SIZES").ok().and_then(|n| n.parse().ok()).unwrap_or(50);
    for number in 0..sizes {
        let kib = 256 + number * (4096 - 256) / sizes;
        let Some(disk) = Disk::mount(kib) else {
            println!("skipped: mounting a tmpfs needs root");
            return;
        };
        let writers: Vec<_> = (0..WRITERS).map(|_| write_in_child(disk.path())).collect();
        let statuses: Vec<i32> = writers.into_iter().map(exit_status).collect();
        // One alone may find room for everything, and leave none for the logs of the others.
        assert!(
            statuses.iter().any(|status| *status != 0),
            "{kib} KiB hold less than {WRITERS} x {LINES}"
        );
        let mut lossy = 0;
        for path in logs(disk.path()) {
            lossy += check(&Content::read(&path), kib);
            let size = path.metadata().unwrap().len();
            assert_eq!(size % (64 * 1024), 0, "{kib} KiB: what did not fit as a block is given back");
        }
        let told = statuses.iter().filter(|status| **status == 1).count();
        assert_eq!(lossy, told, "{kib} KiB: each loss is told in its log");
    }
}

/// Whether the log tells of a loss; fails unless what it tells is exact.
fn check(content: &Content, kib: usize) -> usize {
    content.assert_whole();
    let Record::Trailer { lost, records, .. } = content.trailers()[0] else { panic!("{kib} KiB") };
    assert_eq!(content.lines().len() as u32 + lost, LINES, "{kib} KiB");
    assert_eq!(records as usize, content.records.len() - content.trailers().len(), "{kib} KiB");
    usize::from(lost > 0)
}
