//! How much a test does: a short form by default, a long form with `ERPS_TEST_ALL=1`, which `just test-all`
//! and CI set.

use std::env;

/// Returns `short` by default and `long` with `ERPS_TEST_ALL=1`: the number of seeds, rounds or children.
pub(crate) fn short_or_long<T>(short: T, long: T) -> T {
    match env::var("ERPS_TEST_ALL").as_deref() {
        Err(env::VarError::NotPresent) => short,
        Ok("1") => long,
        other => panic!("ERPS_TEST_ALL is {other:?}, but has to be 1 or not set"),
    }
}
