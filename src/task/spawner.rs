//! Where tasks are spawned.

use std::{
    fmt,
    panic::Location,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_channel::oneshot;

use super::runtime::Runtime;
use crate::{
    Universe,
    time::sleep,
    universe::{
        InUniverse,
        integration::{Contained, spawned},
    },
};

/// Spawns tasks: on the user's executor if there is one, else on the executor of the universe that is
/// being run, else on smol's global one.
///
/// Tasks are polled in the tokio runtime that was current when the spawner was created, or in the one that was set.
///
/// Each task is labelled with a description and the line of the user's code that started it.
///
/// A user's executor is held weakly. Its tasks hold spawners, so that it would otherwise keep itself
/// alive, and with it every socket they own.
#[derive(Clone)]
pub(crate) struct Spawner {
    executor: Option<Weak<smol::Executor<'static>>>,
    runtime: Runtime,
    made: &'static Location<'static>,
}

impl Spawner {
    /// Labels tasks with the caller's line.
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self {
            executor: None,
            runtime: Runtime::current(),
            made: Location::caller(),
        }
    }

    /// Sets the executor.
    pub(crate) fn on(self, executor: &Arc<smol::Executor<'static>>) -> Self {
        Self {
            executor: Some(Arc::downgrade(executor)),
            ..self
        }
    }

    /// Sets the tokio runtime.
    #[cfg(feature = "tokio")]
    pub(crate) fn in_runtime(self, runtime: Runtime) -> Self {
        Self { runtime, ..self }
    }

    /// Returns the tokio runtime of its tasks.
    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Returns a spawner on the same executor that labels tasks with another line.
    pub(crate) fn made_at(&self, made: &'static Location<'static>) -> Self {
        Self {
            made,
            ..self.clone()
        }
    }

    /// Returns the line that tasks are labelled with.
    pub(crate) fn made(&self) -> &'static Location<'static> {
        self.made
    }

    /// Spawns a helper task that has no handle. It inherits the universe current at this call.
    pub(crate) fn spawn(
        &self,
        what: fmt::Arguments<'_>,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        if let Some(task) = self.spawn_task(what, future) {
            task.detach();
        }
    }

    /// Returns a timer that can be awaited in any runtime. A task of the library polls it, and is
    /// dropped with the returned future.
    pub(crate) fn after(&self, limit: Duration) -> impl Future<Output = ()> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        // The task sends before it exits: the receiver may run while the task still exists.
        let timer = self.spawn_task(format_args!("a timer"), async move {
            sleep(limit).await;
            let _ = sender.send(());
        });
        async move {
            let _dropped_with_this = timer;
            if receiver.await.is_err() {
                // The executor was dropped, and with it whatever this timer limits.
                std::future::pending().await
            }
        }
    }

    /// Returns `None` if the executor was dropped. The future is dropped then.
    fn spawn_task(
        &self,
        what: fmt::Arguments<'_>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Option<smol::Task<()>> {
        let future = Contained::new(self.runtime.run(future));
        self.spawn_future(spawned(what, self.made, future))
    }

    /// Returns `None` if the executor was dropped. The future is dropped then.
    pub(super) fn spawn_future<F>(&self, future: InUniverse<F>) -> Option<smol::Task<()>>
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
