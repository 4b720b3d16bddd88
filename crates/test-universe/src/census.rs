//! What lives in a universe: what was begun in it, has not ended, and who began it.

use std::{
    collections::BTreeMap,
    fmt,
    panic::Location,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

use event_listener::{Event, EventListener};

/// Something that was made: what it is, and the line that made it.
///
/// The line is one of the program, not of this library, wherever that is known: a client is made
/// where its builder is.
///
/// # Example
///
/// ```
/// use test_universe::{Registry, Universe};
///
/// static SHOPS: Registry<&str, u16> = Registry::unique();
///
/// let universe = Universe::new();
/// let (_corner, line) = (universe.enter(|| SHOPS.register("corner", 4747)), line!());
/// let living = universe.living();
/// assert_eq!(living[0].what(), r#"the name "corner""#);
/// assert_eq!(living[0].at().line(), line);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Made {
    what: Arc<str>,
    at: &'static Location<'static>,
}

impl Made {
    pub(crate) fn new(what: fmt::Arguments<'_>, at: &'static Location<'static>) -> Self {
        let what = what.to_string().into();
        Self { what, at }
    }

    /// What it is.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Where it was made.
    #[must_use]
    pub fn at(&self) -> &'static Location<'static> {
        self.at
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, file, line) = (&self.what, self.at.file(), self.at.line());
        write!(f, "{what} made at {file}:{line}")
    }
}

/// The same text: lists of it are printed by tests that fail.
impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// All that lives in one universe.
///
/// It holds nothing of what it lists, so that an [`Entry`] may hold it.
#[derive(Default)]
pub(crate) struct Census {
    book: Mutex<Book>,
    /// What is being polled, on which thread; the main future has no name.
    running: Mutex<Vec<(ThreadId, Option<Made>)>>,
    /// Notified when something ends.
    ended: Event,
}

#[derive(Default)]
struct Book {
    last: u64,
    living: BTreeMap<u64, Made>,
}

impl Census {
    /// Lists something until the entry is dropped.
    pub(crate) fn enter(self: &Arc<Self>, made: Made) -> Entry {
        let mut book = self.book();
        book.last += 1;
        let id = book.last;
        book.living.insert(id, made);
        drop(book);
        Entry(Some(Box::new((Arc::clone(self), id))))
    }

    /// The number of the last that was entered.
    pub(crate) fn last(&self) -> u64 {
        self.book().last
    }

    /// Those that live and were entered after this number, in the order they were.
    pub(crate) fn living_since(&self, number: u64) -> BTreeMap<u64, Made> {
        let book = self.book();
        let living = book.living.range(number + 1..);
        living.map(|(id, made)| (*id, made.clone())).collect()
    }

    pub(crate) fn is_empty_since(&self, number: u64) -> bool {
        self.book().living.range(number + 1..).next().is_none()
    }

    pub(crate) fn ended(&self) -> EventListener {
        self.ended.listen()
    }

    pub(crate) fn runs(&self, made: Option<Made>) -> Running<'_> {
        let here = thread::current().id();
        self.running_ones().push((here, made));
        Running(self)
    }

    /// What is being polled: the first of those that are, and it is the outermost.
    pub(crate) fn running(&self) -> Option<String> {
        let running = self.running_ones();
        running.first().map(|(_, made)| title(made.as_ref()))
    }

    fn running_ones(&self) -> MutexGuard<'_, Vec<(ThreadId, Option<Made>)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, id: u64) {
        self.book().living.remove(&id);
        self.ended.notify(usize::MAX);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As long as something is polled.
pub(crate) struct Running<'a>(&'a Census);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let here = thread::current().id();
        let mut running = self.0.running_ones();
        if let Some(last) = running.iter().rposition(|(thread, _)| *thread == here) {
            running.remove(last);
        }
    }
}

/// What a task is called that has been spawned; the main future has not.
pub(crate) fn title(made: Option<&Made>) -> String {
    made.map_or_else(|| "the main future".to_owned(), ToString::to_string)
}

/// What something holds for as long as it lives; it is in the census of its universe meanwhile.
#[derive(Default)]
pub struct Entry(Option<Box<(Arc<Census>, u64)>>);

impl Entry {
    pub(crate) fn is_listed(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            let (census, id) = &*entry;
            census.leave(*id);
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entry").field(&self.0.is_some()).finish()
    }
}
