//! What is reported for mistakes, and where. To accept new messages: `ERPS_TEST_ALL=1 TRYBUILD=overwrite cargo test -p erps-macros`.
//!
//! The first run builds erps once more, for trybuild: so it belongs to the long form, `ERPS_TEST_ALL=1`.

use std::process::Command;

/// The compiler whose messages are in `tests/ui/rustc`.
const RUSTC: &str = "rustc 1.95.";

#[test]
fn mistakes_are_reported_where_they_are_with_what_to_write() {
    if std::env::var_os("ERPS_TEST_ALL").is_none() {
        eprintln!("left out: it is part of the long form, `ERPS_TEST_ALL=1`");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/own/*.rs");
    // Messages of the compiler itself change from version to version.
    let version = Command::new("rustc").arg("--version").output();
    match String::from_utf8(version.expect("a compiler").stdout) {
        Ok(version) if version.starts_with(RUSTC) => cases.compile_fail("tests/ui/rustc/*.rs"),
        _ => eprintln!("left out: the messages of {RUSTC}"),
    }
}
