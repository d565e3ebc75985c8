//! What is fuzzed, and why: see the module.

#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../targets/operations.rs"]
mod operations;
#[path = "../targets/roundtrip.rs"]
mod roundtrip;

libfuzzer_sys::fuzz_target!(|input: &[u8]| roundtrip::run(input));
