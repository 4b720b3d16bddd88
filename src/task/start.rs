//! Starting a task that has a handle.

use std::fmt;

use super::{Caught, Spawner, TaskRef};
use crate::{
    ExitReason,
    universe::{Resides as _, integration::spawned},
};

impl Spawner {
    /// Spawns a task with a handle: it can be monitored, shut down and killed.
    ///
    /// `body` receives the task's own handle, through which it sees requests to exit. A panic in it
    /// becomes [`ExitReason::Panic`] and affects no other task. When a killed task's destructors
    /// panic, its exit reason is still [`ExitReason::Killed`].
    pub(crate) fn start<F>(
        &self,
        what: fmt::Arguments<'_>,
        body: impl FnOnce(TaskRef) -> F,
    ) -> TaskRef
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        let handle = TaskRef::new(self.clone());
        let future = Caught::new(self.runtime().run(body(handle.clone())));
        let guard = handle.guard();
        let body = async move {
            // A killed task has exited only when everything it owned is dropped. Moved in this order,
            // the future is dropped before the guard, whether or not it was ever polled.
            let future = future;
            let guard = guard;
            let reason = future.await.unwrap_or_else(|panic| panic);
            guard.exited(reason);
        };
        let future = spawned(what, self.made(), body).residing(handle.resident());
        if let Some(task) = self.spawn_future(future) {
            handle.keep(task);
        }
        handle
    }
}
