//! Owners of tasks.

use std::ops::Deref;

use super::TaskRef;
use crate::{
    ExitReason,
    universe::{Resident, Resides},
};

/// The owner of a task: dropping it shuts the task down. What `start_link` returns.
///
/// OTP's link in Rust's terms: the lifetime of the task is tied to a scope. The drop calls
/// [`request_shutdown`](TaskRef::request_shutdown) and does not wait; [`shutdown`](Self::shutdown)
/// waits.
#[must_use = "dropping the owner shuts the task down: bind it, as in `let _daemon = ...`"]
#[derive(Debug)]
pub struct Linked<T: AsRef<TaskRef>> {
    handle: T,
    linked: bool,
}

impl<T: AsRef<TaskRef>> Linked<T> {
    pub(crate) fn new(handle: T) -> Self {
        Self {
            handle,
            linked: true,
        }
    }

    /// Gives up ownership: the task runs until it exits by itself or is shut down through a handle.
    pub fn unlink(mut self) -> T
    where
        T: Clone,
    {
        self.linked = false;
        self.handle.clone()
    }

    /// Shuts the task down: requests its exit, kills it after five seconds, and waits until it has
    /// exited.
    ///
    /// A supervisor and a daemon are not killed: they wait for their children, each of which has a time
    /// limit of its own.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the task exits whether or not the future is dropped.
    pub async fn shutdown(self) -> ExitReason {
        let task = self.handle.as_ref();
        task.shutdown(task.default_shutdown()).await
    }
}

impl<T: AsRef<TaskRef>> Deref for Linked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.handle
    }
}

impl<T: AsRef<TaskRef>> Resides for Linked<T> {
    fn resident(&self) -> &Resident {
        AsRef::<TaskRef>::as_ref(self).resident()
    }
}

impl<T: AsRef<TaskRef>> AsRef<TaskRef> for Linked<T> {
    fn as_ref(&self) -> &TaskRef {
        self.handle.as_ref()
    }
}

impl<T: AsRef<TaskRef>> Drop for Linked<T> {
    fn drop(&mut self) {
        if self.linked {
            self.handle.as_ref().request_shutdown();
        }
    }
}
