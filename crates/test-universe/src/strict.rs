//! The error of a strict static that is used outside of all universes.

use std::{error::Error, fmt, panic::Location, thread};

use crate::{
    context,
    trace::{self, Trace},
    universe::title,
};

/// A strict static was used outside of all universes.
///
/// The message names the static, the line that used it, the spawns that led there as far as they are known, and the fix.
///
/// ```text
/// the strict `Sharded<u32>` created at src/limits.rs:12 was used outside of all universes
///   at src/limits.rs:20, on thread `smol-1`
///   in a future created at src/poll.rs:40
///   by the server of 127.0.0.1:50312 created at tests/shop.rs:9
///   from the universe `shop::is_full` entered at tests/shop.rs:7
///   to fix it, wrap what was spawned in `universe::inherit(..)`, a closure in `universe::inherit_fn(..)`, or use the test attribute
/// ```
///
/// Spawns are known of what was wrapped in [`inherit`](crate::inherit), or spawned by this crate or a library that is built
/// on it, in a process that has created a universe before. Code of other tasks and threads is reported as `code of unknown
/// origin`, with the line that used the static and the thread.
#[derive(Clone)]
pub struct NoUniverse(Box<Access>);

#[derive(Clone)]
struct Access {
    what: String,
    created: &'static Location<'static>,
    used: &'static Location<'static>,
    thread: String,
    trace: Trace,
}

impl NoUniverse {
    pub(crate) fn new(
        what: String,
        created: &'static Location<'static>,
        used: &'static Location<'static>,
    ) -> Self {
        trace::enable();
        Self(Box::new(Access {
            what,
            created,
            used,
            thread: thread::current().name().unwrap_or("unnamed").to_owned(),
            trace: context::trace(),
        }))
    }

    /// Panics with the message.
    #[track_caller]
    #[expect(clippy::panic, reason = "documented: it is what strict mode is for")]
    pub(crate) fn raise(self) -> ! {
        panic!("{self}")
    }
}

impl fmt::Display for NoUniverse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Access {
            what,
            created,
            used,
            thread,
            trace,
        } = &*self.0;
        let (file, line) = (created.file(), created.line());
        writeln!(
            f,
            "the strict `{what}` created at {file}:{line} was used outside of all universes"
        )?;
        let (file, line) = (used.file(), used.line());
        writeln!(f, "  at {file}:{line}, on thread `{thread}`")?;
        let trace = trace.as_deref();
        let mut preposition = "in";
        for spawn in trace.iter().flat_map(|trace| &trace.spawns) {
            writeln!(f, "  {preposition} {spawn}")?;
            preposition = "by";
        }
        if trace.is_some_and(|trace| trace.truncated) {
            writeln!(f, "  by more tasks than are kept")?;
        }
        match trace.and_then(|trace| trace.origin.as_ref()) {
            Some(origin) => {
                let universe = title(origin.universe, origin.name.as_deref());
                let (file, line) = (origin.at.file(), origin.at.line());
                writeln!(f, "  from {universe} entered at {file}:{line}")?;
            }
            None if trace.is_some_and(|trace| trace.truncated) => {}
            None => writeln!(f, "  {preposition} code of unknown origin")?,
        }
        f.write_str(
            "  to fix it, wrap what was spawned in `universe::inherit(..)`, a closure in \
             `universe::inherit_fn(..)`, or use the test attribute",
        )
    }
}

/// The same text as `Display`: `unwrap` prints it.
impl fmt::Debug for NoUniverse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for NoUniverse {}
