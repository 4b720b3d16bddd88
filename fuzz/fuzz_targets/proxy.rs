#![no_main]
#![allow(dead_code, reason = "the others have programs of their own")]

#[path = "../../tests/it/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::proxy::run(data));
