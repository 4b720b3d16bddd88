//! Panics of tasks: what of them is noted, what is expected, and what a run fails with.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::unwind::{self, Panic};
use crate::{Universe, census::title, place};

/// How many are listed. A server that is restarted and panics, again and again, does not grow a list.
const LISTED: usize = 20;

/// The panics of the tasks of one universe.
#[derive(Default)]
pub(crate) struct Panics(Mutex<Book>);

#[derive(Default)]
struct Book {
    /// Those that nobody expects.
    seen: Vec<Noted>,
    /// How many more there were.
    more: usize,
    expected: Vec<Expected>,
}

struct Noted {
    /// Which task.
    who: String,
    /// The line that panicked.
    at: Option<String>,
    text: String,
}

struct Expected {
    text: String,
    /// Whether there has to be one.
    is_needed: bool,
    has_come: bool,
}

impl Expected {
    /// Tells whether this is one of them, and remembers it.
    fn takes(&mut self, text: &str) -> bool {
        let takes = text.contains(&self.text);
        self.has_come |= takes;
        takes
    }
}

impl Universe {
    /// Expects a panic with this text, or with a longer one that contains it, in at least one task of this
    /// universe. Those that are expected do not fail the [run](Self::run), and the run fails if none comes.
    ///
    /// It is said before or after they come, as long as the run lasts. `#[test_universe::test(panics = "text")]` says
    /// the same of a whole test. A panic of the test itself is none of a task: that is for
    /// `#[should_panic]`.
    ///
    /// # Example
    ///
    /// ```
    /// use test_universe::{Universe, inherit};
    ///
    /// let universe = Universe::simulated(1);
    /// universe.expect_panics("the disk is full");
    /// universe.run(async {
    ///     let writer = inherit(async { panic!("the disk is full") });
    ///     let writer = std::thread::spawn(|| smol::block_on(writer));
    ///     assert!(writer.join().is_err());
    /// });
    /// ```
    pub fn expect_panics(&self, text: impl Into<String>) {
        self.expect(text.into(), true);
    }

    /// As [`expect_panics`](Self::expect_panics), for those that may come or not. With an empty text all
    /// may.
    pub fn allow_panics(&self, text: impl Into<String>) {
        self.expect(text.into(), false);
    }

    fn expect(&self, text: String, is_needed: bool) {
        let mut expected = Expected {
            text,
            is_needed,
            has_come: false,
        };
        let mut book = self.world.panics.book();
        book.seen.retain(|noted| !expected.takes(&noted.text));
        book.expected.push(expected);
    }
}

impl Panics {
    fn note(&self, noted: Noted) {
        let mut book = self.book();
        let mut is_expected = false;
        for expected in &mut book.expected {
            is_expected |= expected.takes(&noted.text);
        }
        if is_expected {
        } else if book.seen.len() < LISTED {
            book.seen.push(noted);
        } else {
            book.more += 1;
        }
    }

    /// What a run that is over fails with: panics that nobody has expected, and expected ones that have not
    /// come. Forgets all.
    pub(crate) fn take(&self) -> Option<String> {
        let book = std::mem::take(&mut *self.book());
        let missing = book.expected.iter();
        let missing = missing.filter(|it| it.is_needed && !it.has_come);
        let missing = missing.map(|it| format!("\n  no task has panicked with {:?}", it.text));
        let text = book.to_string() + &missing.collect::<String>();
        (!text.is_empty()).then_some(text)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that nobody has expected, a line each.
impl fmt::Display for Panics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.book().fmt(f)
    }
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Noted { who, at, text } in &self.seen {
            write!(f, "\n  {who} panicked")?;
            if let Some(at) = at {
                write!(f, " at {at}")?;
            }
            write!(f, ": {text}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more panics"),
        }
    }
}

/// Notes a panic that has ended the running task, or something in it, in the current universe.
pub fn note(panic: &Panic) {
    place::with_universe(|universe| {
        let Some(universe) = universe else { return };
        let trail = place::trail();
        let hop = trail.as_deref().and_then(|path| path.hops.first());
        universe.world.panics.note(Noted {
            who: title(hop),
            at: panic.at().map(ToOwned::to_owned),
            text: panic.text().to_owned(),
        });
    });
}

/// Runs something of a user's whose panic would end who has nothing to do with it: an executor, a
/// supervisor, or, where another panic unwinds, the process. It is noted, and logged as `what`.
pub fn contain(what: &'static str, f: impl FnOnce()) {
    if let Err(panic) = unwind::catch(f) {
        note(&panic);
        let log = || tracing::error!(target: "test_universe", reason = %panic.text(), "{what}");
        // A subscriber may panic, too.
        drop(unwind::catch(log));
    }
}
