#![no_main]

#[path = "../../tests/it/fuzz/proxy.rs"]
mod proxy;

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxy::run(data));
