//! A connection that is up: one task reads, matches replies to calls, and writes.

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
    handler::ClientEvent,
    shared::{Listener, Shared},
};
use crate::{
    ExitReason, Protocol, TaskRef,
    link::{Arrived, Link},
    mailbox::TrySendError,
    task::{self, Alarm, Budget},
    wire::{packet::KEEPALIVE, rejection::Rejection},
};
use receive::{Received, receive};

/// How long a client that leaves tries to get rid of the casts that are queued.
const FAREWELL: Duration = Duration::from_secs(3);

/// How many chunks are sent before other tasks of the thread run.
const SENDS: usize = 8;

/// How often a client that can write no more reads what was said to it before.
const LAST_READS: usize = 4;

/// Why a connection is over.
pub(super) enum End {
    /// The client is to end.
    Exit(ExitReason),
    /// `disconnect` was called.
    Asked,
    /// The peer closed it.
    Closed,
    /// The peer said that it does not let this client in, and closed it.
    Refused(Rejection),
    /// The peer reported this error, and closed it.
    Reported(String),
    /// It failed.
    Failed(Arc<io::Error>),
    /// The peer sent what makes no sense, or nothing for too long in the middle of a packet.
    Broken(String),
}

/// What a connection of a client does by the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    pub(super) keepalive: Option<Duration>,
    pub(super) packet_timeout: Duration,
    pub(super) write_timeout: Duration,
    /// For a peer that takes one packet at a time: how long to wait after one without an answer.
    pub(super) pause: Option<Duration>,
}

/// A packet that is being decoded elsewhere, or a push that the listener has no room for, of which nothing comes.
type Busy<P> = dyn Future<Output = Option<Result<Result<Received<P>, String>, task::Panic>>> + Send;

pub(super) struct Session<'a, P: Protocol> {
    link: Link,
    shared: &'a Arc<Shared<P>>,
    task: &'a TaskRef,
    habits: Habits,
    next_keepalive: Option<Instant>,
    next_send: Option<Instant>,
    /// Since when a packet is incomplete.
    midway: Option<Instant>,
    /// Since when the peer has taken nothing, and how much it had taken by then.
    stalled: Option<(Instant, u64)>,
    /// A packet without an answer has been handed to the link: once it is gone, a pause is due.
    pause_due: bool,
    /// The connection is to be closed as soon as the casts that are queued have left.
    leaving: bool,
    alarm: Alarm,
    /// As `pause_due`, for the packet that is being encoded.
    encoding_pause: bool,
    /// What is to be done before anything more is read.
    busy: Option<Pin<Box<Busy<P>>>>,
    budget: Budget,
    /// The error that the server's last packet was, if it belonged to no call.
    last_word: Option<String>,
}

impl<'a, P: Protocol> Session<'a, P> {
    pub(super) fn new(
        link: Link,
        shared: &'a Arc<Shared<P>>,
        task: &'a TaskRef,
        habits: Habits,
    ) -> Self {
        Self {
            link,
            shared,
            task,
            next_keepalive: habits.keepalive.and_then(|it| task::now().checked_add(it)),
            habits,
            next_send: None,
            midway: None,
            stalled: None,
            pause_due: false,
            leaving: false,
            alarm: Alarm::default(),
            encoding_pause: false,
            busy: None,
            budget: Budget::default(),
            last_word: None,
        }
    }

    /// Runs until the connection is over.
    pub(super) async fn run(&mut self) -> End {
        let end = poll_fn(|cx| {
            // A user's `Deserialize` may panic, which must not be taken for a kill.
            task::catch(|| self.poll(cx)).unwrap_or_else(|panic| Poll::Ready(End::Exit(panic)))
        });
        match (end.await, self.last_word.take()) {
            (End::Closed | End::Failed(_), Some(word)) => self.closed_with(word),
            (end, _) => end,
        }
    }

    /// The server says why, and closes. If that is all that it has said, it may be that nobody was let in.
    fn closed_with(&self, word: String) -> End {
        let only = self.link.meter().packets() == 1;
        let refusal = only.then(|| Rejection::read(&word)).flatten();
        refusal.map_or(End::Reported(word), End::Refused)
    }

    /// Sends the casts that are queued, and closes the connection.
    pub(super) async fn leave(mut self) {
        self.leaving = true;
        let rest = poll_fn(|cx| {
            loop {
                let is_over = self.send(cx).is_some();
                let is_empty = || self.shared.state().queue.len() == 0;
                if is_over || (self.link.is_flushed() && is_empty()) {
                    return Poll::Ready(());
                }
                match self.poll_deadlines(cx) {
                    Poll::Ready(None) => {}
                    Poll::Ready(Some(_)) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        let _ = task::timeout(FAREWELL, rest).await;
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
                if let Some(end) = received.and_then(|it| self.received_elsewhere(it)) {
                    return Poll::Ready(end);
                }
            }
            let was_busy = self.busy.is_some();
            if let Some(end) = self.receive_all() {
                return Poll::Ready(end);
            }
            // After the answers, for they let calls leave that waited for them.
            if let Some(end) = self.send(cx) {
                return Poll::Ready(end);
            }
            if was_busy {
                self.midway = None;
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
                // Time passes for calls even if the server never stops sending.
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
                    if self.link.is_midway() {
                        self.midway.get_or_insert_with(task::now);
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

    /// A peer that refuses a client says so and closes; the client may meet the closed door
    /// first. What was said is still there to be read.
    fn why_unwritable(&mut self, cx: &mut Context<'_>, error: io::Error) -> End {
        // One that leaves listens to nobody any more.
        let reads = if self.leaving { 0 } else { LAST_READS };
        for _ in 0..reads {
            match self.link.poll_read(cx) {
                Poll::Ready(Ok(1..)) => {
                    self.budget.refill();
                    if let Some(end) = self.receive_all() {
                        return end;
                    }
                }
                Poll::Ready(Err(said)) => return End::Failed(said.into()),
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
                Ok(Some(Arrived::Small(packet, cost))) => {
                    self.budget.count_packet(cost);
                    receive(&packet, self.shared)
                }
                Ok(Some(Arrived::Large(packet))) => {
                    let shared = Arc::clone(self.shared);
                    let decoded =
                        task::offload(move || receive(&packet.join().as_packet(), &shared));
                    self.busy = Some(Box::pin(async { Some(decoded.await) }));
                    self.midway = None;
                    return None;
                }
                Err(error) => return Some(End::Broken(error.to_string())),
            };
            self.midway = None;
            if let Some(end) = self.received(received) {
                return Some(end);
            }
        }
        None
    }

    /// A user's `Deserialize` may have panicked.
    fn received_elsewhere(
        &mut self,
        received: Result<Result<Received<P>, String>, task::Panic>,
    ) -> Option<End> {
        match received {
            Ok(received) => self.received(received),
            Err(panic) => Some(End::Exit(task::panicked(panic))),
        }
    }

    fn received(&mut self, received: Result<Received<P>, String>) -> Option<End> {
        self.last_word = None;
        match received {
            Ok(Received::Sorted) => {}
            Ok(Received::Push(push)) => self.busy = hand_over(self.shared, push),
            Ok(Received::Error(word)) => self.last_word = Some(word),
            Err(why) => return Some(End::Broken(why)),
        }
        None
    }

    /// Ready once a deadline has passed and was dealt with: with an end, if it was the last.
    fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let packet = self.midway;
        let packet = packet.and_then(|since| since.checked_add(self.habits.packet_timeout));
        let write = self.stalled;
        let write = write.and_then(|(since, _)| since.checked_add(self.habits.write_timeout));
        let call = self.shared.state().pending.next_deadline();
        let next = [packet, write, call, self.next_keepalive, self.next_send]
            .into_iter()
            .flatten()
            .min();
        if self.alarm.poll(cx, next).is_pending() {
            return Poll::Pending;
        }
        let now = task::now();
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|it| it <= now);
        if is_over(packet) {
            let why = "the server did not complete a packet in time";
            return Poll::Ready(Some(End::Broken(why.to_owned())));
        }
        if is_over(write) {
            let why = "the server took nothing of what was sent in time";
            return Poll::Ready(Some(End::Broken(why.to_owned())));
        }
        if is_over(self.next_send) {
            self.next_send = None;
        }
        let mut state = self.shared.state();
        if is_over(call) && !state.pending.expire(now, self.shared.limits.one_at_a_time) {
            let why = "the server takes one packet at a time and does not answer";
            return Poll::Ready(Some(End::Broken(why.to_owned())));
        }
        if is_over(self.next_keepalive) {
            // What waits to be sent shows as well that the client lives.
            if state.queue.len() == 0 {
                state.queue.push(&mut KEEPALIVE.to_vec(), None);
            }
            self.next_keepalive = self.habits.keepalive.and_then(|it| now.checked_add(it));
        }
        Poll::Ready(None)
    }
}

/// Gives a push to whoever listens. If there is no room, what is returned waits for some.
fn hand_over<P: Protocol>(shared: &Shared<P>, push: P::Push) -> Option<Pin<Box<Busy<P>>>> {
    let sender = shared
        .state()
        .listener
        .as_ref()
        .map(|it| it.sender().clone());
    let Some(sender) = sender else {
        tracing::debug!(target: "erps", "a push found nobody who listens");
        return None;
    };
    match sender.try_send(ClientEvent::Push(push)) {
        Ok(()) | Err(TrySendError::Closed(_)) => None,
        Err(TrySendError::Full(event)) => Some(Box::pin(async move {
            let _ = sender.send(event).await;
            None
        })),
    }
}

/// Tells a handler, which hears of more than pushes. It need not have room for it: a handler
/// that is busy may be waiting for this very connection.
pub(super) fn notify_handler<P: Protocol>(shared: &Shared<P>, event: ClientEvent<P>) {
    if let Some(Listener::Handler(sender)) = &shared.state().listener {
        sender.send_beyond(event);
    }
}
