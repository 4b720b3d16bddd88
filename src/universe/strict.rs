//! What a strict static says to code that is in no universe.

use std::{error::Error, fmt, panic::Location, thread};

use super::place::{self, TRAIL_LIMIT, Trail};

/// Something strict was asked for in no universe.
///
/// It tells what was asked for, who asked as far as that is known, and what to do. Where a future
/// was made with [`inherit`](super::inherit), or spawned by this library, is known in a process
/// that has made a universe before.
///
/// ```text
/// the strict `Sharded<u32>` made at src/limits.rs:12 was asked for in no universe
///   on thread `smol-1`
///   in what was spawned at src/poll.rs:40
///   by what was spawned at src/main.rs:9
///   by code of unknown origin
///   to fix it, wrap what was spawned in `universe::inherit(..)`, or the test in `Universe::scope(..)`
/// ```
#[derive(Clone)]
pub struct NoUniverse(Box<Access>);

#[derive(Clone)]
struct Access {
    what: String,
    made: &'static Location<'static>,
    thread: String,
    trail: Trail,
}

impl NoUniverse {
    pub(super) fn new(what: String, made: &'static Location<'static>) -> Self {
        place::keep_trails();
        Self(Box::new(Access {
            what,
            made,
            thread: thread::current().name().unwrap_or("unnamed").to_owned(),
            trail: place::trail(),
        }))
    }

    /// The panic of those who cannot return it.
    #[track_caller]
    #[expect(clippy::panic, reason = "documented: it is what strict mode is for")]
    pub(super) fn raise(self) -> ! {
        panic!("{self}")
    }
}

impl fmt::Display for NoUniverse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Access {
            what,
            made,
            thread,
            trail,
        } = &*self.0;
        let (file, line) = (made.file(), made.line());
        writeln!(
            f,
            "the strict `{what}` made at {file}:{line} was asked for in no universe"
        )?;
        writeln!(f, "  on thread `{thread}`")?;
        let hops = trail.as_deref().unwrap_or_default();
        let mut by = "in";
        for hop in hops {
            writeln!(
                f,
                "  {by} what was spawned at {}:{}",
                hop.file(),
                hop.line()
            )?;
            by = "by";
        }
        if hops.len() < TRAIL_LIMIT {
            writeln!(f, "  {by} code of unknown origin")?;
        } else {
            writeln!(f, "  by more than is kept")?;
        }
        f.write_str(
            "  to fix it, wrap what was spawned in `universe::inherit(..)`, or the test in `Universe::scope(..)`",
        )
    }
}

/// The same text: `unwrap` prints it.
impl fmt::Debug for NoUniverse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for NoUniverse {}
