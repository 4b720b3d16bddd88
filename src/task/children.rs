//! Tasks that are cancelled when the task that owns them exits.

use std::{
    collections::BTreeMap,
    fmt,
    panic::Location,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::{Spawner, TaskRef};
use crate::{
    ExitReason,
    universe::{Resident, Resides},
};

/// The tasks of an owner, by id. Dropping it cancels them.
///
/// Nothing is allocated before the first task.
#[derive(Default)]
pub(crate) struct Children(OnceLock<Arc<Running>>);

#[derive(Default)]
struct Running(Mutex<BTreeMap<u64, TaskRef>>);

impl Children {
    /// Starts a task that inherits the current universe. If it panics, the owner exits with that reason.
    pub(crate) fn start(
        &self,
        owner: &TaskRef,
        spawner: &Spawner,
        at: &'static Location<'static>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> TaskHandle {
        let what = format_args!("a task spawned by task {}", owner.id());
        let task = spawner.made_at(at).start(what, |_| async {
            future.await;
            ExitReason::Normal
        });
        owner.take_along(&task);
        let running = self.0.get_or_init(Arc::default);
        running.tasks().insert(task.id(), task.clone());
        let (weak, owner, id) = (Arc::downgrade(running), owner.clone(), task.id());
        task.on_exit(move |reason| {
            if let Some(running) = weak.upgrade() {
                let removed = running.tasks().remove(&id);
                drop(removed);
            }
            if let ExitReason::Panic(_) = reason {
                owner.linked_exited(id, reason);
            }
        });
        TaskHandle(task)
    }

    /// Cancels all tasks, and waits until they have exited.
    pub(crate) async fn cancel(&self) {
        for task in self.kill() {
            task.exited().await;
        }
    }

    fn kill(&self) -> Vec<TaskRef> {
        let Some(running) = self.0.get() else {
            return Vec::new();
        };
        let tasks = std::mem::take(&mut *running.tasks());
        let tasks: Vec<_> = tasks.into_values().collect();
        for task in &tasks {
            task.kill();
        }
        tasks
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Running {
    fn tasks(&self) -> MutexGuard<'_, BTreeMap<u64, TaskRef>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle to a task that a server or a client's handler has spawned. Returned by
/// [`Context::spawn`](crate::Context::spawn).
///
/// Clones are handles to the same task. Dropping one has no effect: the task runs until it is done, is
/// [cancelled](Self::cancel), or the server exits.
#[derive(Clone, Debug)]
pub struct TaskHandle(TaskRef);

impl TaskHandle {
    /// Cancels the task at its next await. Does not wait, and has no effect on a task that has exited.
    ///
    /// A message that the task has sent before is still handled.
    pub fn cancel(&self) {
        self.0.kill();
    }

    /// Returns whether the task has exited, for whatever reason.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !self.0.is_alive()
    }
}

impl AsRef<TaskRef> for TaskHandle {
    fn as_ref(&self) -> &TaskRef {
        &self.0
    }
}

impl Resides for TaskHandle {
    fn resident(&self) -> &Resident {
        self.0.resident()
    }
}

impl fmt::Debug for Children {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.0.get().map_or(0, |it| it.tasks().len());
        f.debug_tuple("Children").field(&running).finish()
    }
}
