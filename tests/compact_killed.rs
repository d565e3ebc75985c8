//! A compactor that is killed at any moment leaves the old output whole, or the new one.
//!
//! `HITLOG_COMPACT_KILLS` sets how often. Every system call is the matter of tests/compact_system_calls.rs.

#[path = "common/process_log.rs"]
mod process_log;
#[path = "common/random.rs"]
mod random;

use process_log::ProcessLog;
use random::{Random, figure};
use rusqlite::Connection;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const WORKERS: u64 = 2;

/// A run, its output of before, and what the output is to become.
struct Bench {
    folder: tempfile::TempDir,
    old: Vec<u8>,
    new: Vec<u8>,
    /// How long a compaction takes that nobody kills.
    whole: Duration,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let (old, new, whole) = (Vec::new(), Vec::new(), Duration::ZERO);
        let mut bench = Bench { folder, old, new, whole };
        fs::create_dir(bench.run()).unwrap();
        let mut log = ProcessLog::new(1);
        let mut compact = |contexts: std::ops::Range<u32>| {
            for number in contexts {
                let (context, file) = (format!("context {number}"), format!("/f{}.py", number % 50));
                log.line(&context, &file, 1 + number % 700);
            }
            log.write(&bench.run());
            let started = Instant::now();
            assert!(bench.compactor().status().unwrap().success());
            (fs::read(bench.output()).unwrap(), started.elapsed())
        };
        let (old, _) = compact(0..500);
        let (new, whole) = compact(500..1000);
        assert!(old != new);
        (bench.old, bench.new, bench.whole) = (old, new, whole);
        bench
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("out.db")
    }

    fn compactor(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hitlog"));
        command.arg("compact").arg(self.run()).arg("-o").arg(self.output());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Puts the old output in its place, by renaming: who reads the one before keeps it. What the compactor
    /// before left stays for the next one; what those before it left would fill the disk.
    fn reset(&self) {
        let entries = fs::read_dir(self.folder.path()).unwrap().flatten().map(|entry| entry.path());
        let is_left = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "tmp");
        entries.filter(is_left).skip(1).for_each(|path| fs::remove_file(path).unwrap());
        let unfinished = self.folder.path().join("old.db");
        fs::write(&unfinished, &self.old).unwrap();
        fs::rename(unfinished, self.output()).unwrap();
    }

    /// Kills a compactor, whose previous output somebody reads; whether it was still at work.
    fn kill_one(&self, random: &mut Random, round: u64) -> bool {
        self.reset();
        let reader = Connection::open(self.output()).unwrap();
        reader.execute_batch("begin; select * from context").unwrap();
        let mut child = self.compactor().spawn().unwrap();
        let moment = random.below(self.whole.as_micros() as usize + 2000);
        std::thread::sleep(Duration::from_micros(moment as u64));
        let _ = child.kill();
        let status = child.wait().unwrap();
        let found = fs::read(self.output()).unwrap();
        assert!(found == self.old || found == self.new, "round {round}");
        let rows = "select count(*) from context";
        let rows: u32 = reader.query_row(rows, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 500, "round {round}: its reader keeps the old one");
        status.signal() == Some(libc::SIGKILL)
    }
}

#[test]
fn the_output_is_the_old_one_or_the_new_one() {
    let kills = figure("HITLOG_COMPACT_KILLS", 2000);
    let seed = random::seed();
    let work = |worker: u64| {
        let (bench, mut random) = (Bench::new(), Random(seed.wrapping_add(worker)));
        let rounds = 0..kills.div_ceil(WORKERS);
        let killed = rounds.filter(|round| bench.kill_one(&mut random, *round)).count();
        assert!(bench.compactor().status().unwrap().success());
        let found = fs::read(bench.output()).unwrap();
        assert!(found == bench.new, "whatever was left behind does not matter");
        killed
    };
    let killed: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert!(killed > 0, "every compactor was faster than its killer");
}
