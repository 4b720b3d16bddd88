//! Tasks owned by a supervisor.

use crate::{ExitReason, Shutdown, TaskRef};

/// A task and how to shut it down. Its drop shuts the task down, if it is alive.
///
/// So a child never outlives its supervisor, even if that is killed or panics while the child is in a
/// message and not in the table.
#[derive(Debug)]
pub(super) struct Owned {
    task: TaskRef,
    how: Shutdown,
}

impl Owned {
    pub(super) fn new(task: TaskRef, how: Shutdown) -> Self {
        Self { task, how }
    }

    pub(super) fn task(&self) -> &TaskRef {
        &self.task
    }

    /// Calls `report` when the task exits, or now if it has exited.
    pub(super) fn watch(&self, report: impl FnOnce(&ExitReason) + Send + 'static) {
        self.task.on_exit(report);
    }

    /// Begins the shutdown of the task and does not wait.
    pub(super) fn shut_down(&self) {
        self.task.begin_shutdown(self.how);
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.shut_down();
    }
}
