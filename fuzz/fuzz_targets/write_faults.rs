//! What is fuzzed, and why: see the module.

#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/common/faulty.rs"]
mod faulty;
#[path = "../targets/operations.rs"]
mod operations;
#[path = "../targets/write_faults.rs"]
mod write_faults;

libfuzzer_sys::fuzz_target!(|input: &[u8]| write_faults::run(input));
