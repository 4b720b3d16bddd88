//! Running one callback, while the connection continues to send.

use std::{future::poll_fn, pin::Pin, task::Poll};

use super::connection::Connection;
use crate::{
    ExitReason,
    reply::{Unanswered, withhold},
    task::{Stopwatch, catch},
};

/// Runs the callbacks of a server.
pub(super) struct Driver {
    pub(super) connection: Option<Box<Connection>>,
    pub(super) stopwatch: Stopwatch,
    /// The type of the server.
    pub(super) server: &'static str,
}

impl Driver {
    /// Runs a callback to its end, and sends whenever it awaits. A panic becomes an exit reason.
    ///
    /// The callback is pinned by the caller, so that the caller's future stores it once and not twice. It is a
    /// trait object, so that this is compiled once per output type. The second value is to be dropped once it
    /// is known whether the server exits.
    pub(super) async fn drive<T>(
        &mut self,
        name: &'static str,
        mut callback: Pin<&mut (dyn Future<Output = T> + Send + '_)>,
    ) -> (Result<T, ExitReason>, Vec<Unanswered>) {
        if let Some(connection) = &mut self.connection {
            connection.stop_reading();
        }
        poll_fn(|cx| {
            self.stopwatch.start();
            let poll = || catch(|| callback.as_mut().poll(cx));
            let (polled, unanswered) = withhold(poll);
            self.stopwatch.stop(self.server, name);
            match polled {
                Ok(Poll::Ready(output)) => Poll::Ready((Ok(output), unanswered)),
                Ok(Poll::Pending) => {
                    drop(unanswered);
                    self.stopwatch.reset();
                    if let Some(connection) = &mut self.connection {
                        connection.poll_send(cx);
                    }
                    Poll::Pending
                }
                Err(panic) => Poll::Ready((Err(panic), unanswered)),
            }
        })
        .await
    }
}
