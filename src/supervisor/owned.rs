//! The tasks a supervisor answers for.

use crate::{ExitReason, Shutdown, TaskRef};

/// A task with the way it is to be ended. Dropped while the task is alive, it ends it that way.
///
/// So whatever becomes of a supervisor, killed or panicked, and wherever in it a child is at that
/// moment, in its table or in a message, the child does not live on.
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

    /// Has the end of the task reported, even if it has ended already.
    pub(super) fn watch(&self, report: impl FnOnce(&ExitReason) + Send + 'static) {
        self.task.on_exit(report);
    }

    /// Begins to end the task and does not wait for it.
    pub(super) fn end(&self) {
        self.task.begin_shutdown(self.how);
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.end();
    }
}
