//! What is fuzzed, and why: see the module.

#![no_main]

#[path = "../targets/compact_raw.rs"]
mod compact_raw;

libfuzzer_sys::fuzz_target!(|input: &[u8]| compact_raw::run(input));
