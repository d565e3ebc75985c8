//! Every input that once made a fuzz target fail, and many random ones, as ordinary tests.
//!
//! `HITLOG_FUZZ_FILE=crash-1234 cargo test --test fuzz_regressions TARGET` replays a file that the fuzzer left;
//! put it into `fuzz/regressions/TARGET/` and it stays. `HITLOG_CASES` sets how many random inputs each target
//! gets, `HITLOG_SEED` which.
#![allow(clippy::print_stdout, reason = "the seed")]

mod common;
#[path = "../fuzz/targets/compact_raw.rs"]
mod compact_raw;
#[path = "common/faulty.rs"]
mod faulty;
#[path = "../fuzz/targets/operations.rs"]
mod operations;
#[path = "common/random.rs"]
mod random;
#[path = "../fuzz/targets/read_raw.rs"]
mod read_raw;
#[path = "../fuzz/targets/read_structured.rs"]
mod read_structured;
#[path = "../fuzz/targets/roundtrip.rs"]
mod roundtrip;
#[path = "../fuzz/targets/write_faults.rs"]
mod write_faults;

use random::{Random, figure};
use std::path::{Path, PathBuf};

/// Runs `target` on its regressions, then on `cases` random inputs of up to `length` bytes.
fn replay(name: &str, target: fn(&[u8]), cases: u64, length: usize) {
    let regressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions").join(name);
    let entries = std::fs::read_dir(regressions).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.extend(std::env::var_os("HITLOG_FUZZ_FILE").map(PathBuf::from));
    assert!(!files.is_empty(), "fuzz/regressions/{name} holds at least the input that shows its form");
    for file in files {
        println!("{}", file.display());
        target(&std::fs::read(file).unwrap());
    }
    let seed = random::seed();
    let cases = figure("HITLOG_CASES", cases);
    println!("HITLOG_SEED={seed} HITLOG_CASES={cases}");
    let mut random = Random(seed);
    for _ in 0..cases {
        let length = random.below(length);
        target(&random.bytes(length));
    }
}

#[test]
fn read_raw_reads_any_bytes() {
    replay("read_raw", read_raw::run, 2000, 4000);
}

#[test]
fn read_structured_finds_what_was_touched_and_nothing_else() {
    replay("read_structured", read_structured::run, 3000, 200);
}

#[test]
fn compact_raw_makes_sound_outputs_of_any_logs() {
    replay("compact_raw", compact_raw::run, 20, 4000);
}

#[test]
fn write_faults_lose_nothing_that_is_not_counted() {
    replay("write_faults", write_faults::run, 1000, 2000);
}

#[test]
fn what_is_written_is_read() {
    // A recorder with its log takes 0.2 ms: 100,000, as when it soaks, would be 20 s.
    replay("roundtrip", roundtrip::run, 10_000, 200);
}
