//! What a strict static says to code that is in no universe.

use std::{error::Error, fmt, panic::Location, thread};

use crate::{
    place::{self, Trail},
    universe::title,
};

/// Something strict was asked for in no universe.
///
/// It tells what was asked for and where, who asked as far as that is known, and what to do.
///
/// ```text
/// the strict `Sharded<u32>` made at src/limits.rs:12 was asked for in no universe
///   at src/limits.rs:20, on thread `smol-1`
///   in a future made at src/poll.rs:40
///   by the server of 127.0.0.1:50312 made at tests/shop.rs:9
///   from the universe `shop::is_full` entered at tests/shop.rs:7
///   to fix it, wrap what was spawned in `universe::inherit(..)`, a closure in `universe::inherit_fn(..)`, or make the test an `#[test_universe::test]`
/// ```
///
/// Who spawned whom is known of what was made with [`inherit`](crate::inherit), or spawned by this library,
/// in a process that has made a universe before. A thread or a task that others spawned without it has
/// left no trace: what it does is `in code of unknown origin`, and the line that asked, and the thread, are
/// all there is to go by.
#[derive(Clone)]
pub struct NoUniverse(Box<Access>);

#[derive(Clone)]
struct Access {
    what: String,
    made: &'static Location<'static>,
    asked: &'static Location<'static>,
    thread: String,
    trail: Trail,
}

impl NoUniverse {
    pub(crate) fn new(
        what: String,
        made: &'static Location<'static>,
        asked: &'static Location<'static>,
    ) -> Self {
        place::keep_trails();
        Self(Box::new(Access {
            what,
            made,
            asked,
            thread: thread::current().name().unwrap_or("unnamed").to_owned(),
            trail: place::trail(),
        }))
    }

    /// The panic of those who cannot return it.
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
            made,
            asked,
            thread,
            trail,
        } = &*self.0;
        let (file, line) = (made.file(), made.line());
        writeln!(
            f,
            "the strict `{what}` made at {file}:{line} was asked for in no universe"
        )?;
        let (file, line) = (asked.file(), asked.line());
        writeln!(f, "  at {file}:{line}, on thread `{thread}`")?;
        let trail = trail.as_deref();
        let mut by = "in";
        for hop in trail.iter().flat_map(|path| &path.hops) {
            writeln!(f, "  {by} {hop}")?;
            by = "by";
        }
        if trail.is_some_and(|path| path.cut) {
            writeln!(f, "  by more than is kept")?;
        }
        match trail.and_then(|path| path.origin.as_ref()) {
            Some(origin) => {
                let universe = title(origin.universe, origin.name.as_deref());
                let (file, line) = (origin.at.file(), origin.at.line());
                writeln!(f, "  from {universe} entered at {file}:{line}")?;
            }
            None if trail.is_some_and(|path| path.cut) => {}
            None => writeln!(f, "  {by} code of unknown origin")?,
        }
        f.write_str(
            "  to fix it, wrap what was spawned in `universe::inherit(..)`, a closure in \
             `universe::inherit_fn(..)`, or make the test an `#[erps::test]`",
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
