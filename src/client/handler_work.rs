//! The tasks and timers that a handler's callbacks begin.

use std::{panic::Location, time::Duration};

use super::{ClientContext, ClientHandler};
use crate::{ExitReason, TaskHandle, TaskRef, Timer};

impl<H: ClientHandler> ClientContext<H> {
    /// Spawns work that is cancelled when the handler exits.
    ///
    /// As [`Context::spawn`](crate::Context::spawn) for a server: if the task panics, the client exits with that reason.
    #[track_caller]
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        self.work.start(Location::caller(), work)
    }

    /// As [`spawn`](Self::spawn), for work whose result is delivered to [`handle_info`](ClientHandler::handle_info).
    ///
    /// The message waits while the handler's mailbox is full.
    #[track_caller]
    pub fn spawn_info(&self, work: impl Future<Output = H::Info> + Send + 'static) -> TaskHandle {
        self.start_reporting(Location::caller(), work)
    }

    /// Monitors another task: when it exits, [`handle_info`](ClientHandler::handle_info) receives the message that
    /// `make_info` makes of the exit reason.
    ///
    /// As [`Context::monitor`](crate::Context::monitor) for a server.
    #[track_caller]
    pub fn monitor(
        &self,
        task: &impl AsRef<TaskRef>,
        make_info: impl FnOnce(ExitReason) -> H::Info + Send + 'static,
    ) -> TaskHandle {
        let exited = task.as_ref().monitor();
        self.start_reporting(Location::caller(), async { make_info(exited.await) })
    }

    fn start_reporting(
        &self,
        at: &'static Location<'static>,
        work: impl Future<Output = H::Info> + Send + 'static,
    ) -> TaskHandle {
        let this = self.this().clone();
        self.work.start(at, async move {
            // An error means that the client is exiting, and this task with it.
            let _ = this.info(work.await).await;
        })
    }

    /// Delivers `info` to [`handle_info`](ClientHandler::handle_info) after a delay.
    ///
    /// As [`Context::send_after`](crate::Context::send_after) for a server.
    pub fn send_after(&self, delay: Duration, info: H::Info) -> Timer {
        self.work.timers.once(delay, info)
    }

    /// Delivers a message to [`handle_info`](ClientHandler::handle_info) after each period.
    ///
    /// As [`Context::interval`](crate::Context::interval) for a server.
    pub fn interval(
        &self,
        period: Duration,
        make_info: impl FnMut() -> H::Info + Send + 'static,
    ) -> Timer {
        self.work.timers.every(period, make_info)
    }
}
