//! What a program that holds a `Recorder` finds in its log afterwards.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Content, logs, only_log};
use hitlog::Recorder;
use hitlog::format::{EndReason, NameSpace, Record};
use hitlog::storage::Storage;
use hitlog::storage::memory::Memory;

fn in_run(work: impl FnOnce(&Recorder)) -> (tempfile::TempDir, Content) {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(directory.path()).unwrap();
    work(&recorder);
    drop(recorder);
    let content = only_log(directory.path());
    content.assert_whole();
    (directory, content)
}

fn hit(context: &str, file: &str, line: u32) -> (String, String, u32) {
    (context.to_owned(), file.to_owned(), line)
}

#[test]
fn lines_arcs_contexts_and_samples_come_back() {
    let (_directory, content) = in_run(|recorder| {
        let file = recorder.file("src/a file with a name longer than one record.rs");
        recorder.line(file, 7);
        recorder.switch_context("tests/test_x.py::test_y|run");
        recorder.line(file, 7);
        recorder.arc(file, -1, 7);
        recorder.sample("bytes", 99);
        recorder.switch_context("");
    });
    let name = "src/a file with a name longer than one record.rs";
    let expected = [hit("", name, 7), hit("tests/test_x.py::test_y|run", name, 7)];
    assert_eq!(content.lines(), BTreeSet::from(expected));
    let arc = Record::Arc { context: 1, file: 1, from: -1, to: 7 };
    assert_eq!(content.count(|record| *record == arc), 1);
    assert_eq!(content.names(NameSpace::Sample)[&1], "bytes");
    let sample =
        |record: &Record| matches!(record, Record::Sample { name: 1, context: 1, value: 99, .. });
    assert_eq!(content.count(sample), 1);
    let starts = |record: &Record| matches!(record, Record::ContextStart { context: 1, .. });
    let stops = |record: &Record| matches!(record, Record::ContextStop { context: 1, .. });
    assert_eq!((content.count(starts), content.count(stops)), (1, 1));
}

#[test]
fn the_trailer_counts_every_record() {
    let (_directory, content) = in_run(|recorder| {
        let file = recorder.file("a");
        (1..=5000).for_each(|line| recorder.line(file, line));
    });
    let trailers = content.trailers();
    assert_eq!(trailers.len(), 2, "kept twice");
    assert_eq!(trailers[0], trailers[1]);
    let Record::Trailer { reason, exit_code, records, lost, .. } = trailers[0] else { panic!() };
    assert_eq!((reason, exit_code, lost), (EndReason::Closed, None, 0));
    assert_eq!(records as usize, content.records.len() - trailers.len());
}

#[test]
fn a_repeated_hit_is_recorded_once_per_context() {
    let (_directory, content) = in_run(|recorder| {
        let file = recorder.file("a");
        for context in ["one", "two"] {
            recorder.switch_context(context);
            (0..1000).for_each(|_| recorder.line(file, 1));
        }
    });
    assert_eq!(content.count(|record| matches!(record, Record::Line { .. })), 2);
}

#[test]
fn a_line_and_an_arc_with_the_same_numbers_differ() {
    let (_directory, content) = in_run(|recorder| {
        let file = recorder.file("a");
        recorder.arc(file, 5, 0);
        recorder.line(file, 5);
        recorder.arc(file, 5, 0);
    });
    assert_eq!(content.count(|record| matches!(record, Record::Line { line: 5, .. })), 1);
    assert_eq!(content.count(|record| matches!(record, Record::Arc { from: 5, to: 0, .. })), 1);
}

#[test]
fn many_files_in_turn_are_all_named() {
    let (_directory, content) = in_run(|recorder| {
        let files: Vec<_> = (0..500).map(|number| recorder.file(format!("file {number}"))).collect();
        for line in 1..20 {
            files.iter().for_each(|file| recorder.line(*file, line));
        }
    });
    assert_eq!(content.lines().len(), 500 * 19);
}

#[test]
fn a_name_of_64_kib_is_whole() {
    let long = "x".repeat(hitlog::limits::NAME_BYTES_MAX);
    let (_directory, content) = in_run(|recorder| {
        recorder.switch_context(&long);
        recorder.line(recorder.file("a"), 1);
    });
    assert_eq!(content.names(NameSpace::Context)[&1], long);
}

#[test]
fn both_copies_of_a_name_are_a_page_apart() {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(directory.path()).unwrap();
    for number in 0..200 {
        recorder.line(recorder.file(format!("a file with a longer name, number {number}")), 1);
    }
    drop(recorder);
    let bytes = std::fs::read(&logs(directory.path())[0]).unwrap();
    let whole = Content::parse(&bytes).names(NameSpace::File);
    assert_eq!(whole.len(), 200);
    for page in (hitlog::format::HEADER_SIZE..bytes.len()).step_by(4096) {
        let mut damaged = bytes.clone();
        damaged[page..page + 4096].fill(0);
        assert_eq!(Content::parse(&damaged).names(NameSpace::File), whole, "page at {page}");
    }
}

#[test]
fn threads_write_side_by_side() {
    let (_directory, content) = in_run(|recorder| {
        let file = recorder.file("a");
        std::thread::scope(|scope| {
            for thread in 0..8u32 {
                scope.spawn(move || {
                    for line in 1..=20_000 {
                        recorder.line(file, 8 * line + thread);
                    }
                });
            }
        });
    });
    assert_eq!(content.lines().len(), 8 * 20_000);
    let Record::Trailer { records, .. } = content.trailers()[0] else { panic!() };
    assert_eq!(records as usize, content.records.len() - 2);
}

#[test]
fn many_short_threads_share_blocks() {
    let (directory, content) = in_run(|recorder| {
        let file = recorder.file("a");
        for line in 1..=1000 {
            // Joined, not only left by its scope: a thread gives its block back at its very end.
            let recorder = recorder.clone();
            std::thread::spawn(move || recorder.line(file, line)).join().unwrap();
        }
    });
    assert_eq!(content.lines().len(), 1000);
    let size = std::fs::metadata(&logs(directory.path())[0]).unwrap().len();
    assert!(size <= 512 * 1024, "{size} bytes for 1000 records");
}

#[test]
fn contexts_of_threads_are_their_own() {
    let (_directory, content) = in_run(|recorder| {
        let file = recorder.file("a");
        recorder.switch_context("process");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                recorder.line(file, 1);
                let outer = recorder.context("outer");
                recorder.line(file, 2);
                let inner = recorder.context("inner");
                recorder.line(file, 3);
                drop(inner);
                recorder.line(file, 4);
                drop(outer);
                recorder.line(file, 5);
            });
        });
        recorder.line(file, 6);
    });
    let expected =
        [("process", 1), ("outer", 2), ("inner", 3), ("outer", 4), ("process", 5), ("process", 6)];
    let expected = expected.map(|(context, line)| hit(context, "a", line));
    assert_eq!(content.lines(), BTreeSet::from(expected));
}

#[test]
fn no_context_can_be_a_threads_own() {
    let (_directory, content) = in_run(|recorder| {
        let file = recorder.file("a");
        recorder.switch_context("process");
        let none = recorder.context("");
        recorder.line(file, 1);
        let inner = recorder.context("inner");
        recorder.line(file, 2);
        drop(inner);
        recorder.line(file, 3);
        recorder.switch_context("process, later");
        recorder.line(file, 4);
        drop(none);
        recorder.line(file, 5);
    });
    let expected = [("", 1), ("inner", 2), ("", 3), ("", 4), ("process, later", 5)];
    let expected = expected.map(|(context, line)| hit(context, "a", line));
    assert_eq!(content.lines(), BTreeSet::from(expected));
}

#[test]
fn a_context_of_the_process_is_that_of_another_threads_next_hit() {
    let (_directory, content) = in_run(|recorder| {
        let file = recorder.file("a");
        let (to_thread, of_main) = std::sync::mpsc::sync_channel(0);
        let (to_main, of_thread) = std::sync::mpsc::sync_channel(0);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for line in of_main {
                    recorder.line(file, line);
                    to_main.send(()).unwrap();
                }
            });
            for line in 1..=100 {
                recorder.switch_context(line.to_string());
                to_thread.send(line).unwrap();
                of_thread.recv().unwrap();
            }
            drop(to_thread);
        });
    });
    let expected = (1..=100).map(|line| hit(&line.to_string(), "a", line));
    assert_eq!(content.lines(), expected.collect());
}

/// A recorder that comes after another one may get its address, and a thread may have used both.
#[test]
fn a_thread_tells_recorders_apart() {
    let (lasting, of_lasting) = in_memory(100_000, u64::MAX);
    let file = lasting.file("lasting");
    for round in 1..=200 {
        let (recorder, made) = in_memory(10_000, u64::MAX);
        let name = format!("round {round}");
        let own = recorder.file(&name);
        let record = || {
            let _context = recorder.context(&name);
            recorder.line(own, 1);
            lasting.line(file, round);
            recorder.line(own, 2);
        };
        record();
        std::thread::scope(|scope| scope.spawn(record).join().unwrap());
        // Every other time this thread meets the next one without having used another since.
        if round % 2 == 0 {
            lasting.line(file, 1000 + round);
        }
        drop(recorder);
        let content = Content::parse(&made.lock().unwrap()[0].to_bytes());
        content.assert_whole();
        assert_eq!(content.lines(), BTreeSet::from([1, 2].map(|line| hit(&name, &name, line))));
    }
    drop(lasting);
    let content = Content::parse(&of_lasting.lock().unwrap()[0].to_bytes());
    content.assert_whole();
    let rounds = (1..=200).chain((1000..=1200).filter(|line| line % 2 == 0 && *line > 1000));
    assert_eq!(content.lines(), rounds.map(|line| hit("", "lasting", line)).collect());
}

#[test]
fn a_recording_that_goes_on_after_its_end_says_so() {
    let (_directory, content) = in_run(|recorder| {
        let file = recorder.file("a");
        recorder.line(file, 1);
        recorder.end(EndReason::Exec, None);
        recorder.end(EndReason::Exec, None);
        recorder.line(file, 2);
        recorder.end(EndReason::Closed, Some(3));
    });
    assert_eq!(content.lines().len(), 2);
    assert_eq!(content.count(|record| matches!(record, Record::Resumed { .. })), 1);
    let ends: Vec<(EndReason, Option<u16>, u64)> = content
        .trailers()
        .into_iter()
        .map(|trailer| match trailer {
            Record::Trailer { reason, exit_code, records, .. } => (reason, exit_code, records),
            other => panic!("{other:?}"),
        })
        .collect();
    let last = content.records.len() as u64 - 4;
    let exec = ends.iter().filter(|end| end.0 == EndReason::Exec).count();
    let closed = ends.iter().filter(|end| **end == (EndReason::Closed, Some(3), last)).count();
    assert_eq!((exec, closed), (2, 2), "{ends:?}");
}

#[test]
fn what_is_outside_the_limits_is_counted_as_lost() {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(directory.path()).unwrap();
    let file = recorder.file("a");
    recorder.line(file, 0);
    recorder.line(file, u32::MAX);
    recorder.arc(file, i32::MIN, 1);
    assert_eq!(recorder.lost(), 3);
    drop(recorder);
    let content = only_log(directory.path());
    content.assert_whole();
    assert_eq!(content.lines().len(), 0);
    assert!(matches!(content.trailers()[0], Record::Trailer { lost: 3, .. }));
}

fn in_memory(slots: usize, full_at: u64) -> (Recorder, Arc<std::sync::Mutex<Vec<Arc<Memory>>>>) {
    let made: Arc<std::sync::Mutex<Vec<Arc<Memory>>>> = Arc::default();
    let list = Arc::clone(&made);
    let open = move |_pid: u32, _log_id: &_| -> std::io::Result<Box<dyn Storage>> {
        let memory = Arc::new(Memory::new(slots, full_at));
        list.lock().unwrap().push(Arc::clone(&memory));
        Ok(Box::new(memory))
    };
    let recorder = Recorder::with_storage(Box::new(open), b"run".to_vec(), "memory".into()).unwrap();
    (recorder, made)
}

#[test]
fn a_full_disk_is_told_and_nothing_before_it_is_lost() {
    let (recorder, made) = in_memory(100_000, 128 * 1024);
    let file = recorder.file("a");
    (1..=10_000).for_each(|line| recorder.line(file, line));
    let lost = recorder.lost();
    assert!(lost > 0);
    let killed_here = Content::parse(&made.lock().unwrap()[0].to_bytes());
    drop(recorder);
    let content = Content::parse(&made.lock().unwrap()[0].to_bytes());
    content.assert_whole();
    assert_eq!(content.lines().len() as u64, 10_000 - lost);
    assert!(
        matches!(content.trailers()[0], Record::Trailer { lost: told, .. } if u64::from(told) == lost)
    );
    let told = killed_here.records.iter().filter_map(|record| match record {
        Record::Loss { lost, errno, .. } => Some((*lost, *errno)),
        _ => None,
    });
    let (told, errno) = told.max().unwrap();
    assert!(told <= lost && 2 * told > lost, "told {told} of {lost} before the end");
    assert_eq!(i32::from(errno), libc::ENOSPC);
}

#[test]
fn a_full_segment_is_followed_by_another() {
    let slots_of_three_blocks = (3 * 64 - 8) * 1024 / 32;
    let (recorder, made) = in_memory(slots_of_three_blocks, u64::MAX);
    recorder.switch_context("case");
    let file = recorder.file("a");
    std::thread::scope(|scope| {
        for thread in 0..3u32 {
            let recorder = &recorder;
            scope.spawn(move || {
                (1..=10_000).for_each(|line| recorder.line(file, 3 * line + thread));
            });
        }
    });
    drop(recorder);
    let logs: Vec<Content> =
        made.lock().unwrap().iter().map(|memory| Content::parse(&memory.to_bytes())).collect();
    assert!(logs.len() >= 5, "{} segments", logs.len());
    let mut lines = BTreeSet::new();
    for (number, log) in logs.iter().enumerate() {
        log.assert_whole();
        assert_eq!(log.header.segment as usize, number);
        assert_eq!(log.header.first_log_id, logs[0].header.log_id);
        let Record::Trailer { reason, records, .. } = log.trailers()[0] else { panic!() };
        let last = number + 1 == logs.len();
        assert_eq!(reason, if last { EndReason::Closed } else { EndReason::Continued });
        assert_eq!(records as usize, log.records.len() - 2);
        lines.extend(log.lines());
    }
    assert_eq!(lines.len(), 30_000);
}

#[test]
fn storage_without_memory_keeps_every_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let log = path.clone();
    let open = move |_pid: u32, _log_id: &_| -> std::io::Result<Box<dyn Storage>> {
        Ok(Box::new(hitlog::storage::buffered::Buffered::create(&log)?))
    };
    let recorder = Recorder::with_storage(Box::new(open), Vec::new(), path.clone()).unwrap();
    let file = recorder.file("a");
    (1..=5000).for_each(|line| recorder.line(file, line));
    assert_eq!(Content::read(&path).lines().len(), 5000, "before any end");
    drop(recorder);
    let content = Content::read(&path);
    content.assert_whole();
    let Record::Trailer { records, .. } = content.trailers()[0] else { panic!() };
    assert_eq!(records as usize, content.records.len() - 2);
}

#[test]
fn a_taken_id_is_replaced_by_another() {
    let tries = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let open = move |_pid: u32, _log_id: &_| -> std::io::Result<Box<dyn Storage>> {
        if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 900 {
            return Err(std::io::ErrorKind::AlreadyExists.into());
        }
        Ok(Box::new(Memory::new(10_000, u64::MAX)))
    };
    let recorder = Recorder::with_storage(Box::new(open), Vec::new(), "memory".into());
    assert!(recorder.is_ok());
    assert_eq!(tries.load(std::sync::atomic::Ordering::Relaxed), 901);
}

#[test]
fn a_place_that_cannot_hold_a_log_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Recorder::open(file.join("run")).err().unwrap().to_string();
    assert!(error.contains("file/run") && error.contains("choose"), "{error}");
}

#[test]
fn logs_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("deep/run");
    let _recorder = Recorder::open(&run).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&run), 0o700);
    assert_eq!(mode(&logs(&run)[0]), 0o600);
}

#[test]
fn an_end_after_another_threads_records_counts_them() {
    let (_directory, content) = in_run(|recorder| {
        let file = recorder.file("a");
        recorder.line(file, 1);
        let (to_thread, of_thread) = std::sync::mpsc::channel();
        let (to_main, of_main) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                recorder.line(file, 2);
                to_main.send(()).unwrap();
                of_thread.recv().unwrap();
                (3..1000).for_each(|line| recorder.line(file, line));
                to_main.send(()).unwrap();
                of_thread.recv().unwrap();
            });
            of_main.recv().unwrap();
            recorder.end(EndReason::Exec, None);
            to_thread.send(()).unwrap();
            of_main.recv().unwrap();
            recorder.end(EndReason::Closed, Some(3));
            to_thread.send(()).unwrap();
        });
    });
    let last = content.trailers().into_iter().max_by_key(|trailer| match trailer {
        Record::Trailer { time_ns, .. } => *time_ns,
        _ => 0,
    });
    let Some(Record::Trailer { reason, exit_code, records, .. }) = last else { panic!() };
    assert_eq!((reason, exit_code), (EndReason::Closed, Some(3)));
    assert_eq!(records as usize, content.records.len() - content.trailers().len());
}

#[test]
fn a_later_trailer_in_another_segment_counts_that_one() {
    let slots_of_two_blocks = (2 * 64 - 8) * 1024 / 32;
    for left_over in 1..140 {
        let (recorder, made) = in_memory(slots_of_two_blocks, u64::MAX);
        let file = recorder.file("a");
        recorder.end(EndReason::Exec, None);
        let room = slots_of_two_blocks as u32 - 36 - 2 - left_over;
        (1..=room).for_each(|line| recorder.line(file, line));
        drop(recorder);
        for memory in made.lock().unwrap().iter() {
            let content = Content::parse(&memory.to_bytes());
            content.assert_whole();
            let trailers = content.trailers();
            let promised = trailers.iter().map(|trailer| match trailer {
                Record::Trailer { records, .. } => *records as usize,
                _ => 0,
            });
            let found = content.records.len() - trailers.len();
            assert_eq!(promised.max(), Some(found), "{left_over} slots left over");
        }
    }
}

#[test]
fn an_arc_outside_the_limits_hides_no_line() {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(directory.path()).unwrap();
    let file = recorder.file("a");
    recorder.arc(file, 5, i32::MIN);
    recorder.line(file, 5);
    assert_eq!(recorder.lost(), 1);
    drop(recorder);
    assert_eq!(only_log(directory.path()).lines(), BTreeSet::from([hit("", "a", 5)]));
}

#[test]
fn a_files_size_and_time_are_taken_down() {
    let source = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(source.path(), "print(1)\n").unwrap();
    let (_directory, content) = in_run(|recorder| recorder.line(recorder.file(source.path()), 1));
    let metadata = source.path().metadata().unwrap();
    let modified = metadata.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    let facts = Record::FileFacts { file: 1, size: 9, mtime_ns: modified.as_nanos() as i64 };
    assert_eq!(content.count(|record| *record == facts), 2, "kept twice");
}

/// Records when its thread ends.
struct AtTheEnd(Recorder, u32);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        self.0.line(self.0.file("late"), self.1);
    }
}

thread_local! {
    static AT_THE_END: std::cell::RefCell<Option<AtTheEnd>> = const { std::cell::RefCell::new(None) };
}

#[test]
fn a_record_of_a_threads_last_moment_is_kept() {
    let (directory, content) = in_run(|recorder| {
        for line in 1..=300 {
            let recorder = recorder.clone();
            let thread = std::thread::spawn(move || {
                AT_THE_END.set(Some(AtTheEnd(recorder.clone(), line)));
                recorder.line(recorder.file("early"), line);
            });
            thread.join().unwrap();
        }
    });
    assert_eq!(content.lines().len(), 600);
    let size = std::fs::metadata(&logs(directory.path())[0]).unwrap().len();
    assert!(size <= 1024 * 1024, "{size} bytes for 600 records");
}

#[test]
fn a_segment_left_behind_is_told_the_contexts_again() {
    let slots_of_two_blocks = (2 * 64 - 8) * 1024 / 32;
    let (recorder, made) = in_memory(slots_of_two_blocks, u64::MAX);
    recorder.switch_context("process");
    let _own = recorder.context("own");
    let file = recorder.file("a");
    (1..=6000).for_each(|line| recorder.line(file, line));
    let second = Content::parse(&made.lock().unwrap()[1].to_bytes());
    let restated = second.records.iter().filter_map(|record| match record {
        Record::ContextStart { context, inherited: true, .. } => Some(*context),
        _ => None,
    });
    let names = second.names(NameSpace::Context);
    let restated: BTreeSet<_> = restated.map(|context| names[&context].as_str()).collect();
    assert_eq!(restated, BTreeSet::from(["own", "process"]));
}
