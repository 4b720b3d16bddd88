#![no_main]

#[path = "../../tests/it/fuzz/term.rs"]
mod term;

libfuzzer_sys::fuzz_target!(|data: &[u8]| term::run(data));
