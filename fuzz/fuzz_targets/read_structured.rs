//! What is fuzzed, and why: see the module.

#![no_main]

#[path = "../targets/read_structured.rs"]
mod read_structured;

libfuzzer_sys::fuzz_target!(|input: &[u8]| read_structured::run(input));
