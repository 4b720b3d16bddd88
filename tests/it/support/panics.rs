//! Panics of tasks that belong to a test, as all of those that say so.

use erps::Universe;

const TEXT: &str = "as the test asks";

/// A test in whose tasks something panics.
pub(crate) async fn expected<T>(test: impl Future<Output = T>) -> T {
    Universe::current().unwrap().expect_panics(TEXT);
    test.await
}

/// A test in whose tasks something may panic.
pub(crate) async fn allowed<T>(test: impl Future<Output = T>) -> T {
    Universe::current().unwrap().allow_panics(TEXT);
    test.await
}
