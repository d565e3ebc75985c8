//! What is fuzzed, and why: see the module.

#![no_main]

#[path = "../targets/read_raw.rs"]
mod read_raw;

libfuzzer_sys::fuzz_target!(|input: &[u8]| read_raw::run(input));
