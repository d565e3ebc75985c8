//! What recording costs: `cargo bench --bench append`. Times are per call; compare rows of one run only.
//!
//! `append instructions new|seen CALLS` only makes so many calls: the difference between two counts of
//! instructions is that of their calls (`cargo xtask bench append`, where valgrind is installed).

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use hitlog::Recorder;
use hitlog::format::{Words, names_checksum, seal, seal_hit};
use hitlog::storage::{Storage, memory::Memory};

/// Records of one measured batch: 512 KiB of log, so that growth and page faults are paid for.
const BATCH: u32 = 16_384;

fn in_memory() -> Recorder {
    let open = |_pid: u32, _log_id: &_| -> std::io::Result<Box<dyn Storage>> {
        Ok(Box::new(Memory::new(4 * BATCH as usize, u64::MAX)))
    };
    Recorder::with_storage(Box::new(open), Vec::new(), "memory".into()).expect("a log")
}

/// A recorder that has recorded other lines of its files before, so that its own memory is touched, too.
fn recorder_and_files(count: usize) -> (Recorder, Vec<hitlog::FileId>) {
    let recorder = in_memory();
    let files: Vec<_> = (0..count).map(|number| recorder.file(format!("{number}.py"))).collect();
    let others = (BATCH + 1)..(BATCH + 5000);
    files.iter().for_each(|file| others.clone().for_each(|line| recorder.line(*file, line)));
    (recorder, files)
}

/// Lines that change the file each time, if there are several: a function that calls those of others.
fn fill_in_turn((recorder, files): &mut (Recorder, Vec<hitlog::FileId>)) {
    let in_turn = files.iter().cycle();
    (1..=BATCH).zip(in_turn).for_each(|(line, file)| recorder.line(*file, black_box(line)));
}

fn fill(recorder: &mut Recorder) {
    let file = recorder.file("a.py");
    (1..=BATCH).for_each(|line| recorder.line(file, black_box(line)));
}

/// How long each of `count` threads takes for a batch of its own, all at once, with so many recorders in turn.
fn by_threads(count: usize, recorders: usize) -> Duration {
    let recorders: Vec<_> = (0..recorders).map(|_| in_memory()).collect();
    let start = Barrier::new(count);
    let fill = |number: usize| {
        let recorder = &recorders[number % recorders.len()];
        let file = recorder.file(format!("{number}.py"));
        // A thread's own memory is touched before.
        (BATCH + 1..BATCH + 5000).for_each(|line| recorder.line(file, line));
        start.wait();
        let begin = Instant::now();
        (1..=BATCH).for_each(|line| recorder.line(file, black_box(line)));
        begin.elapsed()
    };
    thread::scope(|scope| {
        let fill = &fill;
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || fill(number))).collect();
        let times = threads.into_iter().map(|thread| thread.join().expect("a batch"));
        times.sum::<Duration>() / count as u32
    })
}

fn append(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    group.bench_function("checksum only", |bencher| {
        bencher.iter(|| {
            (1..=BATCH).fold(0, |sum, line| sum ^ seal(Words::line(1, 1, black_box(line)), line)[3])
        });
    });
    group.bench_function("checksum of a hit only", |bencher| {
        let shared = names_checksum(Words::line(1, 1, 1).payload[0]);
        bencher.iter(|| {
            let sealed = |line| seal_hit(Words::line(1, 1, black_box(line)), line, shared);
            (1..=BATCH).fold(0, |sum, line| sum ^ sealed(line)[3])
        });
    });
    group.bench_function("line, into memory already touched", |bencher| {
        bencher.iter_batched_ref(|| recorder_and_files(1), fill_in_turn, BatchSize::PerIteration);
    });
    for (what, count, recorders) in [
        ("line, by a thread", 1, 1),
        ("line, by each of two threads at once", 2, 1),
        ("line, by each of two threads that share nothing", 2, 2),
    ] {
        group.bench_function(what, |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| by_threads(count, recorders)).sum());
        });
    }
    group.bench_function("line, eight files in turn", |bencher| {
        bencher.iter_batched_ref(|| recorder_and_files(8), fill_in_turn, BatchSize::PerIteration);
    });
    group.bench_function("line, growth and page faults included", |bencher| {
        let open = || {
            let run = tempfile::tempdir_in(&directory).expect("room");
            (Recorder::open(run.path()).expect("a log"), run)
        };
        bencher.iter_batched_ref(open, |(recorder, _run)| fill(recorder), BatchSize::PerIteration);
    });
    group.bench_function("write of the same bytes", |bencher| {
        use std::os::unix::fs::FileExt;
        let block = vec![1; 64 * 1024];
        bencher.iter_batched_ref(
            || tempfile::tempfile_in(&directory).expect("a file"),
            |file| {
                for at in (0..u64::from(BATCH) * 32).step_by(block.len()) {
                    file.write_all_at(&block, at).expect("written");
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn hot(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let recorder = Recorder::open(directory.path()).expect("a log");
    let file = recorder.file("a.py");
    let mut group = criterion.benchmark_group("hot");
    group.bench_function("line seen before", |bencher| {
        bencher.iter(|| recorder.line(file, black_box(7)));
    });
    let mut number = 0;
    group.bench_function("context switch", |bencher| {
        bencher.iter(|| {
            number = (number + 1) % 1000;
            recorder.switch_context(format!("tests/test_a.py::test_{number}|run"));
        });
    });
    group.finish();
}

fn session(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = directory.path().join("run");
    // Logs that stay would be memory that the machine never used before: they cost more than the session.
    let tidy = || {
        let _ = std::fs::remove_dir_all(&run);
        std::fs::create_dir(&run).expect("a run directory");
    };
    criterion.bench_function("session of 100 records", |bencher| {
        let session = |()| {
            let recorder = Recorder::open(&run).expect("a log");
            let file = recorder.file("a.py");
            (1..=100).for_each(|line| recorder.line(file, line));
        };
        bencher.iter_batched(tidy, session, BatchSize::PerIteration);
    });
}

criterion_group!(benches, append, hot, session);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["instructions", what, calls] => call(what, calls.parse().expect("a number")),
        _ => {
            benches();
            Criterion::default().configure_from_args().final_summary();
        }
    }
}

/// Records so many lines, all of them new or one that was seen before.
fn call(what: &str, calls: u32) {
    let recorder = in_memory();
    let file = recorder.file("a.py");
    match what {
        "seen" => (1..=calls).for_each(|_| recorder.line(file, black_box(7))),
        "new" => (1..=calls).for_each(|number| recorder.line(file, black_box(number))),
        _ => panic!("`{what}` is nothing that is counted"),
    }
}
