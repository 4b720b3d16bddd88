#![no_main]

#[path = "../../tests/it/fuzz/identity.rs"]
mod identity;

libfuzzer_sys::fuzz_target!(|data: &[u8]| identity::run(data));
