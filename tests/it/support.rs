//! Helpers shared by the tests.

pub(crate) mod cores;
pub(crate) mod events;
pub(crate) mod examples;
pub(crate) mod panics;
pub(crate) mod pem;
pub(crate) mod raw;
pub(crate) mod scale;
pub(crate) mod subprocess;
pub(crate) mod test_server;
pub(crate) mod time;
