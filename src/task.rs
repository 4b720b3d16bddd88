//! The one door to executor, clock and randomness.
//!
//! Nothing else in the library spawns, sleeps, reads a clock or draws a random number. What is
//! spawned here inherits the universe of the caller, and what it panics with becomes an
//! [`ExitReason`](crate::ExitReason).
//!
//! Timers are polled by tasks of the library only, never by a public future: a caller may sit in
//! any runtime, or in none.

mod budget;
mod caught;
mod handle;
mod life;
mod linked;
mod offload;

use std::{
    fmt,
    panic::Location,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_channel::oneshot;

use crate::{
    ExitReason, Universe,
    universe::{
        InUniverse, Resides as _,
        integration::{is_simulated, spawned},
    },
};
pub(crate) use crate::{
    time::{Elapsed, now},
    universe::integration::{
        Alarm, Clock, Contained, FOR_EVER, Foreign, Panic, deadline, random_below, sleep, timeout,
        wall_clock,
    },
};
pub(crate) use budget::{Budget, TURN};
pub(crate) use caught::{Caught, catch, panicked};
pub(crate) use handle::Facts;
pub use handle::TaskRef;
pub use linked::{Linked, Shutdown};
pub(crate) use offload::offload;

/// Where tasks are spawned: on the executor of a universe that is being run, else on smol's global
/// one; or on one that the user runs. And who has them spawned: each is told apart by what it is and
/// by the line of the user's code that it goes back to.
///
/// A user's executor is held weakly. Its tasks hold spawners, so that it would otherwise keep itself
/// alive, and with it every socket they own.
#[derive(Clone)]
pub(crate) struct Spawner {
    executor: Option<Weak<smol::Executor<'static>>>,
    made: &'static Location<'static>,
}

impl Spawner {
    /// For what is made at the caller's line.
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self {
            executor: None,
            made: Location::caller(),
        }
    }

    pub(crate) fn on(self, executor: &Arc<smol::Executor<'static>>) -> Self {
        Self {
            executor: Some(Arc::downgrade(executor)),
            ..self
        }
    }

    /// As this one, for what was made at another line.
    pub(crate) fn made_at(&self, made: &'static Location<'static>) -> Self {
        Self {
            made,
            executor: self.executor.clone(),
        }
    }

    /// The line that what it spawns goes back to.
    pub(crate) fn made(&self) -> &'static Location<'static> {
        self.made
    }

    /// Spawns a helper nobody asks after. It inherits the universe current at this call.
    pub(crate) fn spawn(
        &self,
        what: fmt::Arguments<'_>,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        if let Some(task) = self.spawn_task(what, future) {
            task.detach();
        }
    }

    /// A timer that anybody may wait for: it is polled by a task of ours, which goes when the
    /// waiter does.
    pub(crate) fn after(&self, limit: Duration) -> impl Future<Output = ()> + Send + use<> {
        let (rings, rung) = oneshot::channel();
        // It tells of its end from within: who waits is awake before it is gone.
        let timer = self.spawn_task(format_args!("a timer"), async move {
            sleep(limit).await;
            let _ = rings.send(());
        });
        async move {
            let _ends_with_this = timer;
            if rung.await.is_err() {
                // Whatever this was to limit is on an executor that is gone.
                std::future::pending().await
            }
        }
    }

    /// Spawns a task that can be named, watched, asked to end, and killed.
    ///
    /// `body` is given its own handle, by which it learns that it is to end. A panic in it ends
    /// the task with [`ExitReason::Panic`] and reaches nobody else. One in what a killed task leaves
    /// to be dropped does not even end it: it has ended as killed.
    pub(crate) fn start<F>(
        &self,
        what: fmt::Arguments<'_>,
        body: impl FnOnce(TaskRef) -> F,
    ) -> TaskRef
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        let handle = TaskRef::new(self.clone());
        let future = Caught::new(body(handle.clone()));
        let guard = handle.guard();
        let body = async move {
            // A killed task is reported gone only when all that it owned has been dropped. Named in
            // this order, the future is dropped before the guard, whether it was ever polled or not.
            let future = future;
            let guard = guard;
            let reason = future.await.unwrap_or_else(|panic| panic);
            guard.ended(reason);
        };
        let task = self.spawn_future(spawned(what, self.made, body).residing(handle.resident()));
        if let Some(task) = task {
            handle.keep(task);
        }
        handle
    }

    /// `None` if the executor is gone: the future is dropped then, and who holds its handle is told
    /// that it was killed.
    fn spawn_task(
        &self,
        what: fmt::Arguments<'_>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Option<smol::Task<()>> {
        self.spawn_future(spawned(what, self.made, Contained::new(future)))
    }

    fn spawn_future<F>(&self, future: InUniverse<F>) -> Option<smol::Task<()>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let own = self.executor.clone();
        let own = own.or_else(|| Universe::current()?.executor());
        Some(match own {
            Some(executor) => executor.upgrade()?.spawn(future),
            None => smol::spawn(future),
        })
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.executor {
            Some(_) => "Spawner(own)",
            None => "Spawner(global)",
        })
    }
}

/// Runs what waits for files, where it holds up no other task.
///
/// In a simulated universe nobody waits: its clock would leap meanwhile.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if is_simulated() {
        work()
    } else {
        smol::unblock(work).await
    }
}

/// A number no other task of this process has.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
