//! The timers of a server.

use std::time::Duration;

use super::{Context, Server};
use crate::Timer;

impl<S: Server> Context<S> {
    /// Delivers `info` to [`handle_info`](Server::handle_info) after a delay. OTP's `Process.send_after/3`.
    ///
    /// Measured by the clock of the server's universe, from now. The timer is dropped with the server. It may fire late,
    /// because callbacks run one at a time, and never early. A delay of a century or more never ends.
    ///
    /// Unlike messages of [`ServerRef::info`](crate::ServerRef::info), those of timers do not pass through the mailbox: they
    /// are handled in turn with other messages, however full it is.
    ///
    /// # Example
    ///
    /// A server that closes a connection whose user has not logged in within ten seconds:
    ///
    /// ```
    /// use std::time::Duration;
    /// use erps::{Context, InitError, Timer};
    ///
    /// #[erps::protocol]
    /// trait Login {
    ///     async fn log_in(user: String);
    /// }
    ///
    /// struct LoginServer {
    ///     deadline: Timer,
    /// }
    ///
    /// enum Info {
    ///     TooLate,
    /// }
    ///
    /// #[erps::server]
    /// impl Login for LoginServer {
    ///     type Info = Info;
    ///
    ///     async fn init(cx: &mut Context<Self>) -> Result<Self, InitError> {
    ///         let deadline = cx.send_after(Duration::from_secs(10), Info::TooLate);
    ///         Ok(Self { deadline })
    ///     }
    ///
    ///     async fn log_in(&mut self, _user: String) {
    ///         self.deadline.cancel();
    ///     }
    ///
    ///     async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<(), erps::BoxError> {
    ///         match info {
    ///             Info::TooLate => cx.disconnect(),
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn send_after(&self, delay: Duration, info: S::Info) -> Timer {
        self.timers.once(delay, info)
    }

    /// Delivers a message to [`handle_info`](Server::handle_info) after each period. OTP's `:timer.send_interval`.
    ///
    /// The first tick comes after one period. `make_info` is called when the tick is about to be handled, so that there is
    /// at most one at a time: ticks that are missed while a callback runs are skipped, and later ones come at the same
    /// multiples of the period. A period of less than a millisecond counts as one. If `make_info` panics, the server
    /// exits with that reason.
    ///
    /// Otherwise as [`send_after`](Self::send_after).
    ///
    /// # Example
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use erps::{Context, InitError};
    /// # #[erps::protocol]
    /// # trait Cache { async fn len() -> u64; }
    /// # struct CacheServer;
    /// # enum Info { Sweep }
    /// # #[erps::server]
    /// # impl Cache for CacheServer {
    /// #     type Info = Info;
    /// #     async fn len(&mut self) -> u64 { 0 }
    /// async fn init(cx: &mut Context<Self>) -> Result<Self, InitError> {
    ///     cx.interval(Duration::from_secs(60), || Info::Sweep);
    ///     Ok(Self)
    /// }
    /// # }
    /// ```
    pub fn interval(
        &self,
        period: Duration,
        make_info: impl FnMut() -> S::Info + Send + 'static,
    ) -> Timer {
        self.timers.every(period, make_info)
    }
}
