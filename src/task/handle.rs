//! Handles of tasks: identity, exit requests, and waiting for the exit.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use event_listener::Event;

use super::{Facts, Shutdown, Spawner, timeout};
use crate::{
    ExitReason, Universe,
    universe::{Resident, Resides},
};

/// A handle to a running task of any kind: a server, a client, a daemon, a supervisor.
///
/// It monitors, links, shuts down and kills the task, as a pid does in OTP. Clones are handles to the same task;
/// dropping one has no effect on it.
#[derive(Clone)]
pub struct TaskRef {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    id: u64,
    spawner: Spawner,
    /// The number of the universe it was spawned in.
    universe: Option<u64>,
    facts: OnceLock<Box<dyn Facts>>,
    pub(super) resident: Resident,
    /// True once `life` holds an exit request: the task checks it at every poll, without the lock.
    exit_requested: AtomicBool,
    /// True if it has children of its own, each with its own time limit.
    has_children: AtomicBool,
    /// True if its supervisor is not to restart it.
    is_last_run: AtomicBool,
    life: Mutex<Life>,
    /// True once the watchers have run: only then does [`TaskRef::exited`] return.
    pub(super) reported: AtomicBool,
    /// Notified of an exit request, and of the exit.
    pub(super) changed: Event,
}

pub(super) enum Life {
    Running {
        /// Dropping it kills the task. `None` until the executor has returned it.
        task: Option<smol::Task<()>>,
        /// The task was killed, perhaps before `task` was set.
        killed: bool,
        request: Option<ExitReason>,
        /// The waker of the task itself, while it waits for an exit request.
        waiter: Option<Waker>,
        watchers: Vec<Watcher>,
        /// The tasks it is linked to, by id.
        links: BTreeMap<u64, Weak<Shared>>,
    },
    Exited(ExitReason),
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
                exit_requested: AtomicBool::new(false),
                has_children: AtomicBool::new(false),
                is_last_run: AtomicBool::new(false),
                life: Mutex::new(Life::Running {
                    task: None,
                    killed: false,
                    request: None,
                    waiter: None,
                    watchers: Vec::new(),
                    links: BTreeMap::new(),
                }),
                reported: AtomicBool::new(false),
                changed: Event::new(),
            }),
        }
    }

    /// Returns the task's id, which is unique in this process and never reused.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// Returns why the task exited; `None` while it runs.
    #[must_use]
    pub fn exit_reason(&self) -> Option<ExitReason> {
        match &*self.life() {
            Life::Running { .. } => None,
            Life::Exited(reason) => Some(reason.clone()),
        }
    }

    /// Returns whether the task is running.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(&*self.life(), Life::Running { .. })
    }

    /// Waits until the task has exited and everything it owned is dropped; returns the exit reason.
    ///
    /// The equivalent of a monitor. It may be called any number of times, also long after the exit.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn exited(&self) -> ExitReason {
        loop {
            let listener = self.shared.changed.listen();
            if self.shared.reported.load(Ordering::Acquire)
                && let Some(reason) = self.exit_reason()
            {
                return reason;
            }
            listener.await;
        }
    }

    /// Returns [`exited`](Self::exited) as a future that borrows nothing. OTP's monitor.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn monitor(&self) -> impl Future<Output = ExitReason> + Send + use<> {
        let this = self.clone();
        async move { this.exited().await }
    }

    /// Waits until the task is asked to exit, or has exited; returns the requested exit reason.
    ///
    /// For the task itself, which runs until it chooses to return:
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
                | Life::Exited(reason) => return reason.clone(),
                Life::Running { .. } => {}
            }
            listener.await;
        }
    }

    /// Asks the task to exit with [`ExitReason::Shutdown`] and does not wait.
    ///
    /// A server finishes its current message and runs `terminate`.
    pub fn request_shutdown(&self) {
        self.request_exit(ExitReason::Shutdown);
    }

    /// Asks the task to exit with `reason`. The first request counts. A killed task ignores it: it
    /// might still be running, and must not begin an orderly exit.
    pub(crate) fn request_exit(&self, reason: ExitReason) {
        let waiter = match &mut *self.life() {
            Life::Running {
                request: request @ None,
                killed: false,
                waiter,
                ..
            } => {
                *request = Some(reason);
                self.shared.exit_requested.store(true, Ordering::Release);
                waiter.take()
            }
            _ => None,
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        self.shared.changed.notify(usize::MAX);
    }

    /// For the task itself: ready, at every poll, once it has been asked to exit.
    pub(crate) fn poll_exit_request(&self, cx: &mut Context<'_>) -> Poll<ExitReason> {
        match &mut *self.life() {
            Life::Running {
                request: Some(reason),
                ..
            }
            | Life::Exited(reason) => Poll::Ready(reason.clone()),
            Life::Running { waiter, .. } => {
                match waiter {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waiter = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    /// Returns whether [`poll_exit_request`](Self::poll_exit_request) would be ready, without a lock.
    pub(crate) fn exit_requested(&self) -> bool {
        self.shared.exit_requested.load(Ordering::Acquire)
    }

    /// Kills the task at its next await; after that only its destructors run.
    ///
    /// A destructor that panics affects no other task, and everything else the task owned is still
    /// dropped. A second panic during the first aborts the process, as everywhere in Rust.
    ///
    /// A task that computes and never awaits cannot be killed.
    pub fn kill(&self) {
        let task = match &mut *self.life() {
            Life::Running { task, killed, .. } => {
                *killed = true;
                task.take()
            }
            Life::Exited(_) => None,
        };
        drop(task);
    }

    /// Returns whether the task was killed or has exited: what it owns is being dropped, or was.
    pub(crate) fn is_killed_or_exited(&self) -> bool {
        match &*self.life() {
            Life::Running { killed, .. } => *killed,
            Life::Exited(_) => true,
        }
    }

    /// Shuts the task down in the given way, and waits until it has exited.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the task is shut down whether or not the future is dropped; a time limit still
    /// holds.
    pub async fn shutdown(&self, how: Shutdown) -> ExitReason {
        self.begin_shutdown(how);
        self.exited().await
    }

    /// Begins a [`shutdown`](Self::shutdown) without waiting. No effect on a task that has exited.
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
                let what = format_args!("the shutdown of task {}", self.id());
                self.shared.spawner.spawn(what, async move {
                    if timeout(limit, this.exited()).await.is_err() {
                        this.kill();
                    }
                });
            }
        }
    }

    /// Notes that the task has children of its own, so that its default shutdown has no time limit:
    /// each child has a limit of its own.
    pub(crate) fn set_has_children(&self) {
        self.shared.has_children.store(true, Ordering::Relaxed);
    }

    /// Notes that the task ends at the user's request: its supervisor is not to restart it.
    pub(crate) fn set_last_run(&self) {
        self.shared.is_last_run.store(true, Ordering::Relaxed);
    }

    /// Returns whether its supervisor is not to restart it.
    pub(crate) fn is_last_run(&self) -> bool {
        self.shared.is_last_run.load(Ordering::Relaxed)
    }

    /// Returns how it is shut down where the caller does not say.
    pub(super) fn default_shutdown(&self) -> Shutdown {
        match self.shared.has_children.load(Ordering::Relaxed) {
            true => Shutdown::Infinity,
            false => Shutdown::default(),
        }
    }

    /// Sets what the task reports about itself. Only the first call has an effect.
    pub(crate) fn set_facts(&self, facts: impl Facts) {
        let _ = self.shared.facts.set(Box::new(facts));
    }

    pub(crate) fn facts(&self) -> Option<&dyn Facts> {
        self.shared.facts.get().map(|facts| &**facts)
    }

    pub(crate) fn universe_id(&self) -> Option<u64> {
        self.shared.universe
    }

    /// Gives the other task access to every universe that this one is allowed into from now on.
    pub(crate) fn take_along(&self, other: &Self) {
        self.shared.resident.take_along(&other.shared.resident);
    }

    pub(super) fn life(&self) -> MutexGuard<'_, Life> {
        self.shared
            .life
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns an id that is unique in this process.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
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
