//! A compactor that is killed at any moment leaves the old output whole, or the new one.
//!
//! `HITLOG_COMPACT_KILLS` sets how often. Every system call is the matter of tests/compact_system_calls.rs.

#[path = "common/process_log.rs"]
mod process_log;
#[path = "common/random.rs"]
mod random;

use process_log::ProcessLog;
use random::{Random, figure};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn compactor(run: &Path, output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hitlog"));
    command.arg("compact").arg(run).arg("-o").arg(output).stderr(Stdio::null());
    command
}

#[test]
fn the_output_is_the_old_one_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (run, output) = (folder.path().join("run"), folder.path().join("out.db"));
    std::fs::create_dir(&run).unwrap();
    let mut log = ProcessLog::new(1);
    let record = |log: &mut ProcessLog, contexts: std::ops::Range<u32>| {
        for number in contexts {
            log.line(&format!("context {number}"), &format!("/f{}.py", number % 50), 1 + number % 700);
        }
    };
    record(&mut log, 0..5000);
    log.write(&run);
    assert!(compactor(&run, &output).status().unwrap().success());
    let old = std::fs::read(&output).unwrap();
    record(&mut log, 5000..10_000);
    log.write(&run);
    let started = Instant::now();
    assert!(compactor(&run, &output).status().unwrap().success());
    let whole = started.elapsed();
    let new = std::fs::read(&output).unwrap();
    assert!(old != new);

    let mut random = Random(random::seed());
    for round in 0..figure("HITLOG_COMPACT_KILLS", 40) {
        std::fs::write(&output, &old).unwrap();
        let mut child = compactor(&run, &output).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(whole.as_micros() as usize) as u64));
        let _ = child.kill();
        child.wait().unwrap();
        let found = std::fs::read(&output).unwrap();
        assert!(found == old || found == new, "round {round}");
    }
    assert!(compactor(&run, &output).status().unwrap().success());
    assert!(std::fs::read(&output).unwrap() == new, "whatever was left behind does not matter");
}
