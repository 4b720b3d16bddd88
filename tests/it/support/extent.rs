//! How much a test does: by default enough to see the behaviour, and more with `ERPS_TEST_ALL=1`, as
//! `just test-all` and CI set it.

use std::env;

/// Returns the first by default, the second if all is to be tested: how many seeds, rounds, children.
pub(crate) fn short_or_long<T>(short: T, long: T) -> T {
    match env::var("ERPS_TEST_ALL").as_deref() {
        Err(env::VarError::NotPresent) => short,
        Ok("1") => long,
        other => panic!("ERPS_TEST_ALL is {other:?}, but has to be 1 or not set"),
    }
}
