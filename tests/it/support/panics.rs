//! Panics that a test expects in its tasks.

use erps::Universe;

const TEXT: &str = "as the test asks";

/// Runs a test in whose tasks a panic is expected.
pub(crate) async fn expected<T>(test: impl Future<Output = T>) -> T {
    Universe::current().unwrap().expect_panics(TEXT);
    test.await
}

/// Runs a test in whose tasks a panic is allowed.
pub(crate) async fn allowed<T>(test: impl Future<Output = T>) -> T {
    Universe::current().unwrap().allow_panics(TEXT);
    test.await
}
