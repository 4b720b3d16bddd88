//! A session: one connection, from its handshake to its end.
//!
//! One task polls it: [`poll`](Session::poll) reads and decodes packets, matches replies to calls, and sends what is
//! queued.
//!
//! ```text
//!             +--------------------- deadline handled, bytes read ----------------------+
//!             v                                                                         |
//! exit requested? -> decode what was read -> send what is queued -> read from the socket -> wait
//!             |           |   ^                       |                       |              for the socket,
//!             v           v   | done                  v                       v              the queue,
//!            End         busy: a large packet        End                     End             a deadline
//!                        or a full mailbox
//! ```
//!
//! While the session is *busy* it decodes and reads nothing, but sends. When its budget is spent it yields to other
//! tasks before it reads. Every arrow to `End` carries the reason.

mod deadlines;
mod end;
mod receive;
mod send;

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use super::{
    message::Decoded,
    state::Shared,
    subscriber::{ClientEvent, Subscriber},
};
use crate::{
    TaskRef,
    link::{Link, ReceivedPacket},
    mailbox::{Sender, TrySendError},
    task::{self, Alarm, Budget},
    wire::{decoder::FrameError, rejection::Rejection},
};
pub(super) use end::End;
use receive::{Received, receive};

/// How long `disconnect` and an exit wait until the queued casts are sent.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// How many chunks are sent before other tasks of the thread run.
const SENDS: usize = 8;

/// How often a session reads after a write has failed, for the reason that the server may have sent.
const LAST_READS: usize = 4;

/// The intervals and timeouts of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) keepalive: Option<Duration>,
    pub(super) packet_timeout: Duration,
    pub(super) write_timeout: Duration,
    /// The pause after a packet without a reply, for a server that takes one packet at a time.
    pub(super) pause: Option<Duration>,
}

/// A decoded packet, or what its decoder has panicked with.
type Offloaded = Result<Result<Received, String>, task::Panic>;

/// What has to finish before anything more is read: a packet that is decoded on another thread, or a push that waits
/// for space in its subscriber's mailbox, which yields `None`.
type Busy = Pin<Box<dyn Future<Output = Option<Offloaded>> + Send>>;

pub(super) struct Session<'a> {
    link: Link,
    shared: &'a Arc<Shared>,
    task: &'a TaskRef,
    timing: Timing,
    next_keepalive: Option<Instant>,
    next_send: Option<Instant>,
    /// Since when a packet is incomplete.
    incomplete_since: Option<Instant>,
    /// When writes stalled, and how many bytes had been written by then.
    stalled: Option<(Instant, u64)>,
    /// A packet without a reply is in the link: once it is written, a pause is due.
    pause_due: bool,
    /// The connection is closed as soon as the queued casts are written.
    draining: bool,
    alarm: Alarm,
    /// As `pause_due`, for the packet that the link encodes.
    encoding_pause: bool,
    busy: Option<Busy>,
    budget: Budget,
    /// The error in the last packet of the server, if that belongs to no call.
    last_error: Option<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        link: Link,
        shared: &'a Arc<Shared>,
        task: &'a TaskRef,
        timing: Timing,
    ) -> Self {
        Self {
            link,
            shared,
            task,
            next_keepalive: timing.keepalive.and_then(|it| task::now().checked_add(it)),
            timing,
            next_send: None,
            incomplete_since: None,
            stalled: None,
            pause_due: false,
            draining: false,
            alarm: Alarm::default(),
            encoding_pause: false,
            busy: None,
            budget: Budget::default(),
            last_error: None,
        }
    }

    /// Runs until the session ends.
    pub(super) async fn run(&mut self) -> End {
        let end = poll_fn(|cx| {
            // A panic of the user's `Deserialize` exits the client with that reason.
            task::catch(|| self.poll(cx)).unwrap_or_else(|panic| Poll::Ready(End::Exit(panic)))
        });
        match (end.await, self.last_error.take()) {
            (End::Closed | End::Failed(_), Some(error)) => self.closed_with(error),
            (end, _) => end,
        }
    }

    /// The server sent an error and closed the connection. If that was its only packet, it may be a rejection.
    fn closed_with(&self, error: String) -> End {
        let rejection = self.rejection(&error);
        rejection.map_or(End::Reported(error), End::Rejected)
    }

    /// Returns the rejection in an error packet, if it is the only packet.
    fn rejection(&self, error: &str) -> Option<Rejection> {
        let is_only = self.link.stats().packets() == 1;
        is_only.then(|| Rejection::read(error)).flatten()
    }

    /// Sends the casts that are queued, and closes the connection.
    pub(super) async fn drain(mut self) {
        self.draining = true;
        let rest = poll_fn(|cx| {
            loop {
                let has_ended = self.send(cx).is_some();
                let is_empty = || self.shared.state().queue.len() == 0;
                if has_ended || (self.link.is_flushed() && is_empty()) {
                    return Poll::Ready(());
                }
                match self.poll_deadlines(cx) {
                    Poll::Ready(None) => {}
                    Poll::Ready(Some(_)) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        let _ = task::timeout(DRAIN_TIMEOUT, rest).await;
        self.close().await;
    }

    pub(super) async fn close(self) {
        self.link.close().await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if let Poll::Ready(reason) = self.task.poll_exit_request(cx) {
                return Poll::Ready(End::Exit(reason));
            }
            if let Some(busy) = &mut self.busy
                && let Poll::Ready(received) = busy.as_mut().poll(cx)
            {
                self.busy = None;
                if let Some(end) = received.and_then(|it| self.received_offloaded(it)) {
                    return Poll::Ready(end);
                }
            }
            let was_busy = self.busy.is_some();
            if let Some(end) = self.receive_all() {
                return Poll::Ready(end);
            }
            // After the replies: each lets another call be sent.
            if let Some(end) = self.send(cx) {
                return Poll::Ready(end);
            }
            if was_busy {
                self.incomplete_since = None;
                match self.poll_deadlines(cx) {
                    Poll::Ready(Some(end)) => return Poll::Ready(end),
                    Poll::Ready(None) => continue,
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.busy.is_some() {
                continue;
            }
            if self.budget.is_spent() {
                // Calls time out even if the server never stops sending.
                if let Poll::Ready(Some(end)) = self.poll_deadlines(cx) {
                    return Poll::Ready(end);
                }
                ready!(self.budget.poll_proceed(cx));
            }
            match self.link.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(End::Closed),
                Poll::Ready(Ok(bytes)) => self.budget.count_read(bytes),
                Poll::Ready(Err(error)) => return Poll::Ready(End::Failed(error.into())),
                Poll::Pending => {
                    self.budget.refill();
                    if self.link.has_partial_packet() {
                        self.incomplete_since.get_or_insert_with(task::now);
                    }
                    match self.poll_deadlines(cx) {
                        Poll::Ready(Some(end)) => return Poll::Ready(end),
                        Poll::Ready(None) => {}
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
        }
    }

    /// Returns why writing has failed. A server that rejects a client sends the reason and closes the connection; a
    /// write may fail before the reason is read.
    fn write_failed(&mut self, cx: &mut Context<'_>, error: io::Error) -> End {
        // A session that drains reads nothing.
        let reads = if self.draining { 0 } else { LAST_READS };
        for _ in 0..reads {
            match self.link.poll_read(cx) {
                Poll::Ready(Ok(1..)) => {
                    self.budget.refill();
                    if let Some(end) = self.receive_all() {
                        return end;
                    }
                }
                Poll::Ready(Err(reason)) => return End::Failed(reason.into()),
                Poll::Ready(Ok(0)) | Poll::Pending => break,
            }
        }
        End::Failed(error.into())
    }

    /// Handles the packets that have been read, until the budget is spent.
    fn receive_all(&mut self) -> Option<End> {
        while self.busy.is_none() && !self.budget.is_spent() {
            let received = match self.link.next_packet() {
                Ok(None) => return None,
                Ok(Some(ReceivedPacket::Small(packet, cost))) => {
                    self.budget.count_packet(cost);
                    receive(&packet, self.shared)
                }
                Ok(Some(ReceivedPacket::Large(packet))) => {
                    let shared = Arc::clone(self.shared);
                    let decoded =
                        task::offload(move || receive(&packet.join().as_packet(), &shared));
                    self.busy = Some(Box::pin(async { Some(decoded.await) }));
                    self.incomplete_since = None;
                    return None;
                }
                Err(error) => return Some(self.no_packet(&error)),
            };
            self.incomplete_since = None;
            if let Some(end) = self.received(received) {
                return Some(end);
            }
        }
        None
    }

    fn no_packet(&self, error: &FrameError) -> End {
        let why = error.to_string();
        match error {
            FrameError::BadCookie { .. } if self.link.stats().packets() == 0 => End::NoPacket(why),
            _ => End::Broken(why),
        }
    }

    fn received_offloaded(&mut self, received: Offloaded) -> Option<End> {
        match received {
            Ok(received) => self.received(received),
            Err(panic) => Some(End::Exit(task::panicked(panic))),
        }
    }

    fn received(&mut self, received: Result<Received, String>) -> Option<End> {
        self.last_error = None;
        match received {
            Ok(Received::Handled) => {}
            Ok(Received::Push(push)) => self.busy = deliver(self.shared, push),
            Ok(Received::Error { error, of_call }) => {
                // A rejection is the reason why the connection is closed next.
                if !of_call && self.rejection(&error).is_none() {
                    self.busy = report(self.shared, &error);
                }
                self.last_error = Some(error);
            }
            Err(why) => return Some(End::Broken(why)),
        }
        None
    }
}

/// Delivers a push to the subscriber. If its mailbox is full, returns a future that waits for space.
fn deliver(shared: &Shared, push: Decoded) -> Option<Busy> {
    let sender = shared
        .state()
        .subscriber
        .as_ref()
        .map(|it| it.sender().clone());
    let Some(sender) = sender else {
        tracing::debug!(target: "erps", "push dropped: the client has neither a stream nor a handler");
        return None;
    };
    send(sender, ClientEvent::Push(push))
}

/// Counts and logs an error that belongs to no call, and delivers it to the handler, if there is one.
fn report(shared: &Shared, error: &str) -> Option<Busy> {
    shared.count_unmatched_error();
    let what = "the server sent an error that belongs to no call";
    shared.warnings.add(what, &error);
    let sender = match &shared.state().subscriber {
        Some(Subscriber::Handler(sender)) => sender.clone(),
        _ => return None,
    };
    send(sender, ClientEvent::Error(error.to_owned()))
}

/// Sends an event. If the mailbox is full, returns a future that waits for space.
fn send(sender: Sender<ClientEvent>, event: ClientEvent) -> Option<Busy> {
    match sender.try_send(event) {
        Ok(()) | Err(TrySendError::Closed(_)) => None,
        Err(TrySendError::Full(event)) => Some(Box::pin(async move {
            let _ = sender.send(event).await;
            None
        })),
    }
}
