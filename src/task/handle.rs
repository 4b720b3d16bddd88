//! Handles of tasks.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use event_listener::Event;

use super::{Shutdown, Spawner, next_id, timeout};
use crate::{
    Endpoint, ExitReason, Universe,
    universe::{Resident, Resides},
};

/// A handle to a running task of any kind: a server, a client, a daemon, a supervisor.
///
/// What a pid is used for in OTP where only its life matters. Clones are handles to the same task;
/// dropping one has no effect on it.
#[derive(Clone)]
pub struct TaskRef {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) id: u64,
    pub(super) spawner: Spawner,
    /// The number of the universe it was born in.
    pub(super) universe: Option<u64>,
    pub(super) facts: OnceLock<Box<dyn Facts>>,
    pub(super) resident: Resident,
    /// True once `life` holds a request to end: the task asks at every poll, without the lock.
    pub(super) asked: AtomicBool,
    /// True if it has children of its own, each with its own time to end.
    pub(super) parent: AtomicBool,
    pub(super) life: Mutex<Life>,
    /// True once the watchers have run: only then does [`TaskRef::exited`] answer.
    pub(super) told: AtomicBool,
    /// Notified of a request to end, and of the end.
    pub(super) changed: Event,
}

pub(super) enum Life {
    Running {
        /// Dropping it kills the task. `None` until the executor has handed it over.
        task: Option<smol::Task<()>>,
        /// Killed before the executor's handle was there to be dropped.
        killed: bool,
        request: Option<ExitReason>,
        /// The task itself, where it waits for a request.
        waiter: Option<Waker>,
        watchers: Vec<Watcher>,
        /// Those it is linked to, by their ids.
        links: BTreeMap<u64, Weak<Shared>>,
    },
    Ended(ExitReason),
}

/// What a task tells of itself to those who look at it. It may not hold a handle to its own task.
pub(crate) trait Facts: Any + Send + Sync {
    /// How many messages wait for it.
    fn mailbox(&self) -> Option<usize> {
        None
    }

    /// Who is at the other end of the connection it serves.
    fn peer(&self) -> Option<Endpoint> {
        None
    }
}

impl dyn Facts {
    pub(crate) fn downcast_ref<T: Facts>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

pub(super) type Watcher = Box<dyn FnOnce(&ExitReason) + Send>;

impl TaskRef {
    pub(super) fn new(spawner: Spawner) -> Self {
        Self {
            shared: Arc::new(Shared {
                id: next_id(),
                spawner,
                universe: Universe::current().map(|universe| universe.id()),
                facts: OnceLock::new(),
                resident: Resident::default(),
                asked: AtomicBool::new(false),
                parent: AtomicBool::new(false),
                life: Mutex::new(Life::Running {
                    task: None,
                    killed: false,
                    request: None,
                    waiter: None,
                    watchers: Vec::new(),
                    links: BTreeMap::new(),
                }),
                told: AtomicBool::new(false),
                changed: Event::new(),
            }),
        }
    }

    /// A number that no other task of this process has or had.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// Why the task ended; `None` while it runs.
    #[must_use]
    pub fn exit_reason(&self) -> Option<ExitReason> {
        match &*self.life() {
            Life::Running { .. } => None,
            Life::Ended(reason) => Some(reason.clone()),
        }
    }

    /// Tells whether the task still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(&*self.life(), Life::Running { .. })
    }

    /// Waits until the task has ended and everything it owned is dropped; tells why it ended.
    ///
    /// The equivalent of a monitor. It answers as often as it is asked, also long after the end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn exited(&self) -> ExitReason {
        loop {
            let listener = self.shared.changed.listen();
            if self.shared.told.load(Ordering::Acquire)
                && let Some(reason) = self.exit_reason()
            {
                return reason;
            }
            listener.await;
        }
    }

    /// As [`exited`](Self::exited), for those who keep the future. OTP's monitor.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn monitor(&self) -> impl Future<Output = ExitReason> + Send + use<> {
        let this = self.clone();
        async move { this.exited().await }
    }

    /// Ties two tasks to each other: when one has ended, with whatever reason but
    /// [`Normal`](ExitReason::Normal), the other is asked to end with the same reason, and killed if it
    /// has not in five seconds; a supervisor or a daemon has the time that its children have. OTP's link.
    ///
    /// A second link between the same two has no effect. If one of them has ended already, it has just
    /// ended. Unlike in OTP nobody can trap it, and who ends has the time to take leave.
    pub fn link(&self, other: &Self) {
        if self == other {
            return;
        }
        for (one, of) in [(self, other), (other, self)] {
            let ended = match &mut *one.life() {
                Life::Running { links, .. } => {
                    links.insert(of.id(), Arc::downgrade(&of.shared));
                    continue;
                }
                Life::Ended(reason) => reason.clone(),
            };
            return of.struck(one.id(), &ended);
        }
    }

    /// Unties two tasks.
    pub fn unlink(&self, other: &Self) {
        for (one, of) in [(self, other), (other, self)] {
            if let Life::Running { links, .. } = &mut *one.life() {
                links.remove(&of.id());
            }
        }
    }

    /// The task of this id, to which it was linked, has ended.
    pub(super) fn struck(&self, id: u64, reason: &ExitReason) {
        if let Life::Running { links, .. } = &mut *self.life() {
            links.remove(&id);
        }
        if !matches!(reason, ExitReason::Normal) {
            self.request_exit(reason.clone());
            self.begin_shutdown(self.usual_shutdown());
        }
    }

    /// Waits until the task is asked to end, or has ended; tells the reason it is to end with.
    ///
    /// For the task itself, which goes on until it chooses to heed it:
    ///
    /// ```
    /// use erps::{ChildSpec, ExitReason};
    /// use smol::{future, io};
    ///
    /// async fn work() -> io::Result<()> {
    ///     future::pending().await
    /// }
    ///
    /// let spec = ChildSpec::task("worker", |me| async move {
    ///     let done = async {
    ///         match work().await {
    ///             Ok(()) => ExitReason::Normal,
    ///             Err(error) => ExitReason::error(error),
    ///         }
    ///     };
    ///     future::or(me.shutdown_requested(), done).await
    /// });
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn shutdown_requested(&self) -> ExitReason {
        loop {
            let listener = self.shared.changed.listen();
            match &*self.life() {
                Life::Running {
                    request: Some(reason),
                    ..
                }
                | Life::Ended(reason) => return reason.clone(),
                Life::Running { .. } => {}
            }
            listener.await;
        }
    }

    /// Asks the task to end with [`ExitReason::Shutdown`] and does not wait for it.
    ///
    /// A server finishes the message it is at and runs `terminate`.
    pub fn request_shutdown(&self) {
        self.request_exit(ExitReason::Shutdown);
    }

    /// Ends the task at its next await; nothing of it runs any more but destructors.
    ///
    /// A destructor that panics then harms nobody else, and what the task owned besides is dropped all
    /// the same. A second one that panics in the same breath ends the process, as anywhere in Rust.
    ///
    /// A task that is computing and never awaits cannot be killed.
    pub fn kill(&self) {
        let task = match &mut *self.life() {
            Life::Running { task, killed, .. } => {
                *killed = true;
                task.take()
            }
            Life::Ended(_) => None,
        };
        drop(task);
    }

    /// Makes the task end, in the given way, and waits until it has.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the task ends whether or not the future is dropped; a time limit is kept all
    /// the same.
    pub async fn shutdown(&self, how: Shutdown) -> ExitReason {
        self.begin_shutdown(how);
        self.exited().await
    }

    /// As [`shutdown`](Self::shutdown), without waiting. No effect on a task that has ended.
    pub(crate) fn begin_shutdown(&self, how: Shutdown) {
        if !self.is_alive() {
            return;
        }
        match how {
            Shutdown::BrutalKill => self.kill(),
            Shutdown::Infinity => self.request_shutdown(),
            Shutdown::Within(limit) => {
                self.request_shutdown();
                let this = self.clone();
                let end = format_args!("the end of task {}", self.id());
                self.shared.spawner.spawn(end, async move {
                    if timeout(limit, this.exited()).await.is_err() {
                        this.kill();
                    }
                });
            }
        }
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskRef")
            .field("id", &self.id())
            .field("exit_reason", &self.exit_reason())
            .finish()
    }
}

impl AsRef<Self> for TaskRef {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Resides for TaskRef {
    fn resident(&self) -> &Resident {
        &self.shared.resident
    }
}

/// Two handles are equal when they are handles to the same task.
impl PartialEq for TaskRef {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for TaskRef {}
