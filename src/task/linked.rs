//! Owners of tasks, and how they end them.

use std::{ops::Deref, time::Duration};

use super::TaskRef;
use crate::{
    ExitReason,
    universe::{Resident, Resides},
};

/// How a task is made to end. OTP's `shutdown` of a child specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// It is asked, and killed if it has not ended in this time.
    Within(Duration),
    /// It is asked, and waited for however long it takes.
    Infinity,
    /// It is killed without being asked: no `terminate` runs.
    BrutalKill,
}

/// Five seconds, as a worker's in OTP.
impl Default for Shutdown {
    fn default() -> Self {
        Self::Within(Duration::from_secs(5))
    }
}

/// The owner of a task: dropping it shuts the task down. What `start_link` returns.
///
/// OTP's link in Rust's terms: the life of the task is tied to a scope. The drop only asks, with
/// [`request_shutdown`](TaskRef::request_shutdown); [`shutdown`](Self::shutdown) also waits.
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

    /// Gives up the ownership: the task lives on until someone else ends it.
    pub fn unlink(mut self) -> T
    where
        T: Clone,
    {
        self.linked = false;
        self.handle.clone()
    }

    /// Asks the task to end, waits until it has, and kills it after five seconds.
    ///
    /// A supervisor and a daemon are not killed: they wait for their children, each of whom has a time
    /// limit of its own.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the task ends whether or not the future is dropped.
    pub async fn shutdown(self) -> ExitReason {
        let task = self.handle.as_ref();
        task.shutdown(task.usual_shutdown()).await
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
