//! Processes that fork, exit at once and are killed: whatever ends them, what they appended is there.
//!
//! Each test forks for real. The oracle lies outside the log: a shared page in which each process counts
//! the appends that returned.
//!
//! `HITLOG_KILLS` and `HITLOG_FORKS` set how many, `HITLOG_SEED` the moments.
#![allow(clippy::print_stdout, reason = "the seed")]

mod common;
#[path = "common/processes.rs"]
mod processes;
#[path = "common/random.rs"]
mod random;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Content, logs, only_log};
use hitlog::Recorder;
use hitlog::format::{EndReason, HEADER_SIZE, NameSpace, Record, ZERO_ID};
use memmap2::MmapMut;
use processes::{Shared, fork, kill, wait};
use random::{Random, figure};

fn lines_of(content: &Content) -> BTreeSet<u32> {
    content.lines().into_iter().map(|(_, _, line)| line).collect()
}

#[test]
fn a_forked_child_writes_a_log_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(directory.path()).unwrap();
    let file = recorder.file("a");
    recorder.switch_context("test");
    (1..=10).for_each(|line| recorder.line(file, line));
    let child = fork(|| {
        // What the parent has seen is seen anew: the child's log stands alone.
        (6..=20).for_each(|line| recorder.line(file, line));
        recorder.line(recorder.file("b"), 1);
        recorder.end(EndReason::Closed, Some(0));
    });
    assert_eq!(wait(child), 0);
    recorder.line(file, 99);
    drop(recorder);

    let contents: Vec<Content> =
        logs(directory.path()).iter().map(|path| Content::read(path)).collect();
    assert_eq!(contents.len(), 2);
    contents.iter().for_each(Content::assert_whole);
    let of_pid = |pid: u32| contents.iter().find(|content| content.header.pid == pid).unwrap();
    let (parent, child) = (of_pid(std::process::id()), of_pid(child as u32));
    assert_eq!(child.header.parent_log_id, parent.header.log_id);
    assert_eq!((parent.header.parent_log_id, child.header.ppid), (ZERO_ID, parent.header.pid));
    assert_eq!(lines_of(parent), (1..=10).chain([99]).collect());
    let expected: BTreeSet<_> = (6..=20)
        .map(|line| ("test".to_owned(), "a".to_owned(), line))
        .chain([("test".to_owned(), "b".to_owned(), 1)])
        .collect();
    assert_eq!(child.lines(), expected);
    let inherited = |record: &Record| matches!(record, Record::ContextStart { inherited: true, .. });
    assert_eq!((parent.count(inherited), child.count(inherited)), (0, 1));
    assert!(matches!(child.trailers()[0], Record::Trailer { exit_code: Some(0), .. }));
}

#[test]
fn a_child_goes_on_in_the_own_context_of_the_thread_that_forked() {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(directory.path()).unwrap();
    let file = recorder.file("a");
    recorder.switch_context("process");
    let own = recorder.context("own");
    recorder.line(file, 1);
    let child = fork(|| {
        recorder.line(file, 1);
        recorder.switch_context("child");
        recorder.line(file, 2);
        drop(own);
        recorder.line(file, 3);
    });
    assert_eq!(wait(child), 0);
    let mut contents = logs(directory.path()).into_iter().map(|path| Content::read(&path));
    let content = contents.find(|content| content.header.pid == child as u32).unwrap();
    let expected = [("own", 1), ("own", 2), ("child", 3)];
    let expected = expected.map(|(context, line)| (context.to_owned(), "a".to_owned(), line));
    assert_eq!(content.lines(), BTreeSet::from(expected));
}

#[test]
fn a_child_that_records_nothing_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(directory.path()).unwrap();
    let moved = recorder.clone();
    let child = fork(move || {
        moved.end(EndReason::Closed, Some(0));
        drop(moved);
    });
    assert_eq!(wait(child), 0);
    drop(recorder);
    only_log(directory.path()).assert_whole();
}

#[test]
fn forks_of_forks_and_many_at_once_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(directory.path()).unwrap();
    let file = recorder.file("a");
    recorder.line(file, 1);
    let children: Vec<_> = (0..64u32)
        .map(|number| {
            let recorder = &recorder;
            fork(move || {
                let grandchild = fork(|| {
                    (1..=100).for_each(|line| recorder.line(file, 10_000 + number * 100 + line))
                });
                (1..=100).for_each(|line| recorder.line(file, 100 + number * 100 + line));
                assert_eq!(wait(grandchild), 0);
            })
        })
        .collect();
    children.into_iter().for_each(|child| assert_eq!(wait(child), 0));
    drop(recorder);
    let mut all = BTreeSet::new();
    let mut count = 0;
    for path in logs(directory.path()) {
        let content = Content::read(&path);
        content.assert_whole();
        count += content.lines().len();
        all.extend(lines_of(&content));
    }
    assert_eq!(logs(directory.path()).len(), 129);
    assert_eq!((all.len(), count), (1 + 2 * 6400, 1 + 2 * 6400));
}

#[test]
fn forks_while_other_threads_append_lose_nothing() {
    let forks = figure("HITLOG_FORKS", 1000);
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(directory.path()).unwrap();
    let stop = AtomicU64::new(0);
    let file = recorder.file("a");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (recorder, stop) = (&recorder, &stop);
            scope.spawn(move || {
                let mut line = 0;
                while stop.load(Ordering::Relaxed) == 0 {
                    line = line % 1_000_000 + 1;
                    recorder.line(file, line);
                    if line % 512 == 0 {
                        recorder.line(recorder.file(format!("file {}", line % 4096)), 1);
                        // Many forks fall into the appends before, and the log stays small.
                        std::thread::sleep(Duration::from_micros(20));
                    }
                }
            });
        }
        for number in 0..forks {
            let recorder = &recorder;
            let child = fork(move || {
                let other = recorder.file(format!("of child {number}"));
                (1..=50).for_each(|line| recorder.line(other, line));
            });
            assert_eq!(wait(child), 0);
        }
        stop.store(1, Ordering::Relaxed);
    });
    drop(recorder);
    let mut children = 0;
    for path in logs(directory.path()) {
        let content = Content::read(&path);
        content.assert_whole();
        if content.header.parent_log_id != ZERO_ID {
            assert_eq!(lines_of(&content), (1..=50).collect());
            children += 1;
        }
    }
    assert_eq!(children, forks);
}

#[test]
fn every_append_that_returned_survives_sigkill() {
    const WORKERS: u64 = 2;
    let kills = figure("HITLOG_KILLS", 10_000);
    let seed = random::seed();
    println!("HITLOG_SEED={seed} HITLOG_KILLS={kills}");
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            scope.spawn(move || {
                let mut random = Random(seed.wrapping_add(worker));
                let directory = tempfile::tempdir().unwrap();
                for round in (worker..kills).step_by(WORKERS as usize) {
                    let run = directory.path().join("run");
                    kill_one(&run, &mut random, round);
                    let _ = std::fs::remove_dir_all(&run);
                }
            });
        }
    });
}

/// Kills a process with one to three threads that append, and looks what is there.
fn kill_one(run: &Path, random: &mut Random, round: u64) {
    let shared = Shared::new();
    // Mostly early, where a log is made and grows; sometimes late.
    let latest = if random.one_in(20) { 50_000 } else { 2000 };
    let limit = random.below(latest) as u64;
    let pause = random.of(&[0, 100, 100, 100]);
    let threads = 1 + (round % 3) as usize;
    // Most of the time would go into reading what was appended before the signal came.
    let last = (limit + 3000) as u32;
    let child = fork(|| append_until_killed(run, &shared, threads, last, pause));
    while (0..threads).map(|thread| shared.count(thread).load(Ordering::Acquire)).sum::<u64>() < limit {
        std::thread::sleep(Duration::from_micros(50));
    }
    kill(child, libc::SIGKILL);
    assert!(libc::WIFSIGNALED(wait(child)));
    check_killed(run, &shared, threads, round);
}

/// Each thread appends lines 1, 2, 3 ... of a file of its own, and counts those that returned.
fn append_until_killed(run: &Path, shared: &Shared, threads: usize, last: u32, pause: u32) {
    let recorder = Recorder::open(run).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let recorder = &recorder;
            scope.spawn(move || {
                let name = format!("file of thread {thread}");
                for line in 1..=last {
                    recorder.line(recorder.file(&name), line);
                    shared.count(thread).store(u64::from(line), Ordering::Release);
                    (0..pause).for_each(|_| std::hint::spin_loop());
                }
                std::thread::sleep(Duration::MAX);
            });
        }
    });
}

fn check_killed(run: &Path, shared: &Shared, threads: usize, round: u64) {
    let acknowledged: Vec<u32> =
        (0..threads).map(|thread| shared.count(thread).load(Ordering::Acquire) as u32).collect();
    if acknowledged.iter().all(|count| *count == 0) && !has_whole_header(run) {
        return;
    }
    let content = only_log(run);
    assert_eq!((content.damaged, content.foreign), (0, 0), "round {round}");
    assert!(content.unfinished <= threads as u64, "round {round}: {}", content.unfinished);
    assert_eq!(content.trailers(), [], "round {round}: a killed log has no trailer");
    let files = content.names(NameSpace::File);
    for (thread, acknowledged) in acknowledged.into_iter().enumerate() {
        let name = format!("file of thread {thread}");
        let wanted = files.iter().find(|(_, path)| **path == name).map(|(id, _)| *id);
        let mut read: Vec<u32> = content
            .records
            .iter()
            .filter_map(|record| match record {
                Record::Line { file, line, .. } if Some(*file) == wanted => Some(*line),
                _ => None,
            })
            .collect();
        read.sort_unstable();
        let in_order: Vec<u32> = (1..=read.len() as u32).collect();
        assert_eq!(read, in_order, "round {round}: no gap, nothing twice");
        let read = read.len() as u32;
        assert!(
            read == acknowledged || read == acknowledged + 1,
            "round {round}: {acknowledged} returned, {read} read"
        );
    }
}

/// Whether the killed process came as far as a log with its header: before, no append can have returned.
fn has_whole_header(run: &Path) -> bool {
    let logs = if run.exists() { logs(run) } else { Vec::new() };
    logs.iter().any(|log| std::fs::read(log).unwrap().len() > HEADER_SIZE)
}

#[test]
fn a_host_that_closes_every_descriptor_is_not_written_into() {
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("run");
    let victim = directory.path().join("victim");
    let child = fork(|| {
        let recorder = Recorder::open(&run).unwrap();
        for descriptor in 3..100 {
            // SAFETY: only what this child owns and does not use any more; that is the point.
            unsafe { libc::close(descriptor) };
        }
        let files: Vec<_> = (0..20).map(|_| std::fs::File::create(&victim).unwrap()).collect();
        let file = recorder.file("a");
        (1..=20_000).for_each(|line| recorder.line(file, line));
        assert_eq!(recorder.lost(), 0);
        drop(recorder);
        std::mem::forget(files);
    });
    assert_eq!(wait(child), 0);
    assert_eq!(std::fs::metadata(&victim).unwrap().len(), 0, "nothing in the host's file");
    let content = only_log(&run);
    content.assert_whole();
    assert_eq!(content.lines().len(), 20_000);
}

#[test]
fn a_file_size_limit_raises_no_signal() {
    let directory = tempfile::tempdir().unwrap();
    let child = fork(|| {
        let recorder = Recorder::open(directory.path()).unwrap();
        let limit = libc::rlimit { rlim_cur: 200 * 1024, rlim_max: 200 * 1024 };
        // SAFETY: a valid limit, for this child only.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) }, 0);
        let file = recorder.file("a");
        (1..=50_000).for_each(|line| recorder.line(file, line));
        assert!(recorder.lost() > 0);
    });
    assert_eq!(wait(child), 0, "no SIGXFSZ");
    let content = only_log(directory.path());
    let told = content.count(|record| matches!(record, Record::Loss { .. }));
    assert!(content.lines().len() > 1000 && told > 0);
}

#[test]
fn a_host_without_stderr_does_not_write_into_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let child = fork(|| {
        // SAFETY: this child does without stdin, stdout and stderr; that is the point.
        (0..3).for_each(|descriptor| assert_eq!(unsafe { libc::close(descriptor) }, 0));
        let recorder = Recorder::open(directory.path()).unwrap();
        for descriptor in 0..3 {
            // SAFETY: a valid buffer; the descriptor is closed, so nothing may be written.
            unsafe { libc::write(descriptor, [b'!'; 9000].as_ptr().cast(), 9000) };
        }
        let file = recorder.file("a");
        (1..=1000).for_each(|line| recorder.line(file, line));
    });
    assert_eq!(wait(child), 0);
    let content = only_log(directory.path());
    content.assert_whole();
    assert_eq!(content.lines().len(), 1000);
}

#[test]
fn a_loss_is_told_also_where_nothing_can_be_written_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let child = fork(|| {
        let recorder = Recorder::open(directory.path()).unwrap();
        let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a valid limit, for this child only.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) }, 0);
        let file = recorder.file("a");
        (1..=50_000).for_each(|line| recorder.line(file, line));
        assert!(recorder.lost() > 40_000);
    });
    assert_eq!(wait(child), 0);
    let content = only_log(directory.path());
    content.assert_whole();
    let Some(Record::Trailer { lost, .. }) = content.trailers().first().copied() else {
        panic!("a clean end has a trailer")
    };
    assert_eq!(content.lines().len() + lost as usize, 50_000);
}

#[test]
fn a_limited_address_space_is_left_to_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let child = fork(|| {
        let limit = libc::rlimit { rlim_cur: 20 << 30, rlim_max: 20 << 30 };
        // SAFETY: a valid limit, for this child only.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        let recorder = Recorder::open(directory.path()).unwrap();
        (1..=10_000).for_each(|line| recorder.line(recorder.file("a"), line));
        assert_eq!(recorder.lost(), 0);
        // The host's own, which would not fit beside a reserve of 16 GiB.
        MmapMut::map_anon(8 << 30).unwrap();
    });
    assert_eq!(wait(child), 0);
    assert_eq!(only_log(directory.path()).lines().len(), 10_000);
}

#[test]
fn a_child_lets_go_of_its_parents_log() {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(directory.path()).unwrap();
    recorder.line(recorder.file("a"), 1);
    let log = logs(directory.path())[0].clone();
    let mapped = |log: &std::path::Path| {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.contains(log.to_str().unwrap())
    };
    let opened = |log: &std::path::Path| {
        let entries = std::fs::read_dir("/proc/self/fd").unwrap();
        entries.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to == log))
    };
    assert!(mapped(&log) && opened(&log), "the parent has it");
    let child = fork(|| {
        recorder.line(recorder.file("a"), 2);
        assert!(!mapped(&log) && !opened(&log));
    });
    assert_eq!(wait(child), 0);
}

#[test]
fn a_log_that_is_deleted_does_not_disturb_its_writer() {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(directory.path()).unwrap();
    let file = recorder.file("a");
    recorder.line(file, 1);
    std::fs::remove_file(&logs(directory.path())[0]).unwrap();
    (2..=50_000).for_each(|line| recorder.line(file, line));
    assert_eq!(recorder.lost(), 0);
}
