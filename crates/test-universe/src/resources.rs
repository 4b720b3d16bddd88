//! The live resources of a universe: what was created in it, has not ended, and where it was created.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::Location,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

use event_listener::{Event, EventListener};

/// A task, timer, name, listener, connection or pending call of a universe: its description, and the line that created
/// it.
///
/// The line is one of the program rather than of a library wherever that is known.
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
/// let live = universe.live_resources();
/// assert_eq!(live[0].description(), r#"the name "corner""#);
/// assert_eq!(live[0].location().line(), line);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    description: Arc<str>,
    at: &'static Location<'static>,
}

impl Resource {
    pub(crate) fn new(description: fmt::Arguments<'_>, at: &'static Location<'static>) -> Self {
        let description = description.to_string().into();
        Self { description, at }
    }

    /// Returns what it is, such as `the name "corner"`.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns where it was created.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.at
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (description, file, line) = (&self.description, self.at.file(), self.at.line());
        write!(f, "{description} created at {file}:{line}")
    }
}

/// The same text as `Display`: failing tests print lists of resources.
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The live resources of one universe.
///
/// It owns nothing of what it lists, so that an [`Entry`] may own it.
#[derive(Default)]
pub(crate) struct ResourceList {
    entries: Mutex<Entries>,
    /// What is being polled, and on which thread; `None` is the main future.
    polled: Mutex<Vec<(ThreadId, Option<Resource>)>>,
    /// Notified when an entry is removed.
    removed: Event,
}

#[derive(Default)]
struct Entries {
    last_id: u64,
    live: BTreeMap<u64, Resource>,
    /// Those of `live` that the main future waits for.
    waits: BTreeSet<u64>,
}

impl ResourceList {
    /// Lists a resource until the entry is dropped.
    pub(crate) fn add(self: &Arc<Self>, resource: Resource) -> Entry {
        let mut entries = self.entries();
        entries.last_id += 1;
        let id = entries.last_id;
        entries.live.insert(id, resource);
        drop(entries);
        Entry(Some(Box::new((Arc::clone(self), id))))
    }

    /// Notes that the main future waits for the resource of this entry.
    pub(crate) fn is_awaited(&self, entry: &Entry) {
        if let Some(entry) = &entry.0 {
            self.entries().waits.insert(entry.1);
        }
    }

    /// The newest resource that the main future waits for.
    pub(crate) fn awaited(&self) -> Option<(u64, Resource)> {
        let entries = self.entries();
        let id = *entries.waits.last()?;
        Some((id, entries.live.get(&id)?.clone()))
    }

    /// The id of the newest entry.
    pub(crate) fn last_id(&self) -> u64 {
        self.entries().last_id
    }

    /// The live entries that are newer than this id, oldest first.
    pub(crate) fn since(&self, id: u64) -> BTreeMap<u64, Resource> {
        let entries = self.entries();
        let live = entries.live.range(id + 1..);
        live.map(|(id, resource)| (*id, resource.clone())).collect()
    }

    pub(crate) fn is_empty_since(&self, id: u64) -> bool {
        self.entries().live.range(id + 1..).next().is_none()
    }

    /// Returns a listener that is notified when an entry is removed.
    pub(crate) fn removed(&self) -> EventListener {
        self.removed.listen()
    }

    /// Notes that a task is being polled, until the guard is dropped.
    pub(crate) fn polls(&self, task: Option<Resource>) -> Polled<'_> {
        let thread = thread::current().id();
        self.polled().push((thread, task));
        Polled(self)
    }

    /// The name of the task that is being polled; of several, the outermost.
    pub(crate) fn polled_task(&self) -> Option<String> {
        let polled = self.polled();
        polled.first().map(|(_, task)| task_name(task.as_ref()))
    }

    fn polled(&self) -> MutexGuard<'_, Vec<(ThreadId, Option<Resource>)>> {
        self.polled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, id: u64) {
        let mut entries = self.entries();
        entries.waits.remove(&id);
        let removed = entries.live.remove(&id);
        drop(entries);
        drop(removed);
        self.removed.notify(usize::MAX);
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held while a task is polled.
pub(crate) struct Polled<'a>(&'a ResourceList);

impl Drop for Polled<'_> {
    fn drop(&mut self) {
        let current = thread::current().id();
        let mut polled = self.0.polled();
        if let Some(last) = polled.iter().rposition(|(thread, _)| *thread == current) {
            polled.remove(last);
        }
    }
}

/// The name of a task in a report; the main future was not spawned.
pub(crate) fn task_name(task: Option<&Resource>) -> String {
    task.map_or_else(|| "the main future".to_owned(), ToString::to_string)
}

/// An entry among the live resources of a universe, removed when dropped.
#[derive(Default)]
pub struct Entry(Option<Box<(Arc<ResourceList>, u64)>>);

impl Entry {
    pub(crate) fn is_listed(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            let (list, id) = &*entry;
            list.remove(*id);
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entry").field(&self.0.is_some()).finish()
    }
}
