//! Helpers shared by the tests.

pub(crate) mod cores;
pub(crate) mod events;
pub(crate) mod examples;
pub(crate) mod extent;
pub(crate) mod fixture;
pub(crate) mod lab;
pub(crate) mod panics;
pub(crate) mod pem;
pub(crate) mod raw;
pub(crate) mod time;
