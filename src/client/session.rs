//! A connection that is up: one task reads, matches replies to calls, and writes.

use std::{
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    CallError,
    handler::ClientEvent,
    shared::{Listener, Shared},
};
use crate::{
    ExitReason, Protocol, TaskRef, Term,
    link::{Link, WRITE_CHUNK},
    mailbox::TrySendError,
    reply::UNANSWERED,
    task::{self, Alarm},
    wire::{
        etf::{self, Checked},
        packet::{KEEPALIVE, Kind, Packet},
        refusal::Refusal,
    },
};

/// How long a client that leaves tries to get rid of the casts that are queued.
const FAREWELL: Duration = Duration::from_secs(3);

/// How many packets are handled before other tasks of the thread get a turn.
const BURST: usize = 256;

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
    Refused(Refusal),
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

pub(super) struct Session<'a, P: Protocol> {
    link: Link,
    shared: &'a Shared<P>,
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
    /// A push that the listener has no room for. Nothing is read until it has.
    held: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    handled: usize,
    /// The error that the server's last packet was, if it belonged to no call.
    last_word: Option<String>,
}

impl<'a, P: Protocol> Session<'a, P> {
    pub(super) fn new(
        link: Link,
        shared: &'a Shared<P>,
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
            held: None,
            handled: 0,
            last_word: None,
        }
    }

    /// Runs until the connection is over.
    pub(super) async fn run(&mut self) -> End {
        let end = poll_fn(|cx| {
            // A user's `Deserialize` may panic, which must not be taken for a kill.
            catch_unwind(AssertUnwindSafe(|| self.poll(cx)))
                .unwrap_or_else(|panic| Poll::Ready(End::Exit(ExitReason::panic(&*panic))))
        });
        match (end.await, self.last_word.take()) {
            (End::Closed | End::Failed(_), Some(word)) => self.closed_with(word),
            (end, _) => end,
        }
    }

    /// The server says why, and closes. If that is all that it has said, it may be that nobody was let in.
    fn closed_with(&self, word: String) -> End {
        let only = self.link.meter().packets() == 1;
        let refusal = only.then(|| Refusal::read(&word)).flatten();
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
            if let Some(held) = &mut self.held
                && held.as_mut().poll(cx).is_ready()
            {
                self.held = None;
            }
            let was_held = self.held.is_some();
            if let Some(end) = self.receive_all() {
                return Poll::Ready(end);
            }
            // After the answers, for they let calls leave that waited for them.
            if let Some(end) = self.send(cx) {
                return Poll::Ready(end);
            }
            if was_held {
                self.midway = None;
                match self.poll_deadlines(cx) {
                    Poll::Ready(Some(end)) => return Poll::Ready(end),
                    Poll::Ready(None) => continue,
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.held.is_some() {
                continue;
            }
            if self.handled >= BURST {
                self.handled = 0;
                // Time passes for calls even if the server never stops sending.
                if let Poll::Ready(Some(end)) = self.poll_deadlines(cx) {
                    return Poll::Ready(end);
                }
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.link.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(End::Closed),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(End::Failed(error.into())),
                Poll::Pending => {
                    self.handled = 0;
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

    /// Moves what is queued to the link and writes what can be written now.
    fn send(&mut self, cx: &mut Context<'_>) -> Option<End> {
        loop {
            let may_take = self.may_take();
            let took = match self.take(cx, may_take) {
                Ok(took) => took,
                Err(end) => return Some(end),
            };
            match self.link.poll_write(cx) {
                Poll::Ready(Ok(())) => {
                    self.stalled = None;
                    if std::mem::take(&mut self.pause_due) {
                        self.next_send = self.habits.pause.map(|pause| task::now() + pause);
                    }
                    // Either there is nothing more, or it is not its time yet. If the link was
                    // merely full, it no longer is.
                    if !took && (may_take || self.next_send.is_some()) {
                        return None;
                    }
                }
                Poll::Ready(Err(error)) => return Some(self.why_unwritable(cx, error)),
                Poll::Pending => {
                    let taken = self.link.taken();
                    if self.stalled.is_none_or(|(_, before)| before != taken) {
                        self.stalled = Some((task::now(), taken));
                    }
                    return None;
                }
            }
        }
    }

    /// Whether packets may be moved from the queue to the link.
    fn may_take(&self) -> bool {
        match self.habits.pause {
            None => self.link.unwritten() < WRITE_CHUNK,
            Some(_) => self.next_send.is_none() && self.link.is_flushed(),
        }
    }

    /// Moves packets from the queue to the link, if it may, and tells whether it did. The task is
    /// woken when there are more.
    fn take(&mut self, cx: &mut Context<'_>, may_take: bool) -> Result<bool, End> {
        let one_at_a_time = self.shared.limits.one_at_a_time;
        let mut state = self.shared.state();
        if !state.wanted && !self.leaving {
            return Err(End::Asked);
        }
        if !self.leaving {
            state.answer_waiters(&Ok(()));
        }
        state.clock.follow();
        state.wait(cx);
        let had_room = self.shared.has_room(&state);
        let mut took = false;
        while may_take
            && self.link.unwritten() < WRITE_CHUNK
            && let Some(next) = state.queue.front()
        {
            if one_at_a_time && (took || state.pending.sent() > 0) {
                break;
            }
            let wanted = match next.reference {
                Some(_) if state.pending.sent() >= self.shared.limits.in_flight => break,
                Some(reference) => state.pending.send(reference),
                None => true,
            };
            if let Some(packet) = state.queue.pop()
                && wanted
            {
                self.link.out().extend_from_slice(packet);
                self.pause_due |= next.reference.is_none();
                took = true;
            }
        }
        state.queue.tidy();
        let has_room = self.shared.has_room(&state);
        drop(state);
        if !had_room && has_room {
            self.shared.notify();
        }
        Ok(took)
    }

    /// A peer that refuses a client says so and closes; the client may meet the closed door
    /// first. What was said is still there to be read.
    fn why_unwritable(&mut self, cx: &mut Context<'_>, error: io::Error) -> End {
        // One that leaves listens to nobody any more.
        let reads = if self.leaving { 0 } else { LAST_READS };
        for _ in 0..reads {
            match self.link.poll_read(cx) {
                Poll::Ready(Ok(1..)) => {
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

    /// Handles the packets that have been read.
    fn receive_all(&mut self) -> Option<End> {
        while self.held.is_none() {
            match self.link.next_packet() {
                Ok(None) => return None,
                Ok(Some(packet)) => {
                    self.midway = None;
                    self.handled += 1;
                    self.last_word = None;
                    match receive(&packet, self.shared) {
                        Ok(Received::Sorted) => {}
                        Ok(Received::Push(push)) => self.held = hand_over(self.shared, push),
                        Ok(Received::Error(word)) => self.last_word = Some(word),
                        Err(why) => return Some(End::Broken(why)),
                    }
                }
                Err(error) => return Some(End::Broken(error.to_string())),
            }
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
                state.queue.push(&KEEPALIVE, None);
            }
            self.next_keepalive = self.habits.keepalive.and_then(|it| now.checked_add(it));
        }
        Poll::Ready(None)
    }
}

/// What a packet leaves to be done.
enum Received<P: Protocol> {
    /// Nothing: it has gone where it belongs.
    Sorted,
    Push(P::Push),
    /// To remember the error, which belongs to no call.
    Error(String),
}

/// Sorts a packet. An error is why the connection cannot go on.
fn receive<P: Protocol>(packet: &Packet<'_>, shared: &Shared<P>) -> Result<Received<P>, String> {
    match packet.header.kind {
        Kind::Keepalive => return Ok(Received::Sorted),
        Kind::Reply | Kind::Push | Kind::Error => {}
        kind => return Err(format!("a client takes no packets of kind {kind:?}")),
    }
    let checked = match etf::check(packet.payload, &shared.codec.limits) {
        Ok(checked) => checked,
        Err(error) if error.is_executable() => return Err(error.to_string()),
        Err(error) => {
            tracing::warn!(target: "erps", %error, "a packet of the server is no term");
            return Ok(Received::Sorted);
        }
    };
    match packet.header.kind {
        Kind::Reply => answer(shared, &checked),
        Kind::Error => return Ok(fail(shared, &checked).map_or(Received::Sorted, Received::Error)),
        _ => match checked.decode() {
            Ok(push) => return Ok(Received::Push(push)),
            Err(error) => tracing::warn!(target: "erps", %error, "a push was not understood"),
        },
    }
    Ok(Received::Sorted)
}

/// A reply goes to its caller; one that comes too late goes to nobody.
fn answer<P: Protocol>(shared: &Shared<P>, checked: &Checked<'_>) {
    let Some((reply, reference)) = checked.pair() else {
        tracing::warn!(target: "erps", "a reply is not a pair {{reply, reference}}");
        return;
    };
    let Ok(reference) = reference.decode() else {
        tracing::warn!(target: "erps", "a reply has a reference that was never sent");
        return;
    };
    let reply = reply
        .decode()
        .map_err(|error| CallError::Undecodable(error.to_string()));
    finish(shared, reference, reply);
}

/// An error is `{reason, reference}`, or a reason of its own, which belongs to no call and is returned.
fn fail<P: Protocol>(shared: &Shared<P>, checked: &Checked<'_>) -> Option<String> {
    if let Some((reason, reference)) = checked.pair()
        && let Ok(reference) = reference.decode()
    {
        let reason = match reason.decode::<Term>() {
            Ok(reason) if reason.as_atom() == Some(UNANSWERED) => CallError::Unanswered,
            Ok(reason) => CallError::Remote(message(&reason)),
            Err(error) => CallError::Undecodable(error.to_string()),
        };
        finish(shared, reference, Err(reason));
        return None;
    }
    let reason = match checked.decode::<Term>() {
        Ok(reason) => message(&reason),
        Err(error) => error.to_string(),
    };
    // Elixir's server names no call. It has one at a time only if it is treated so.
    let only = match shared.limits.one_at_a_time {
        true => shared.state().pending.only_sent(),
        false => None,
    };
    match only {
        Some(reference) => finish(shared, reference, Err(CallError::Remote(reason.clone()))),
        None => tracing::warn!(target: "erps", reason, "the server reports an error"),
    }
    Some(reason)
}

fn finish<P: Protocol>(shared: &Shared<P>, reference: u64, outcome: Result<P::Reply, CallError>) {
    let answer = shared.state().pending.take(reference);
    if let Some(answer) = answer {
        let _ = answer.send(outcome);
    }
}

/// A text as it is, anything else as Elixir would print it.
fn message(reason: &Term) -> String {
    reason
        .as_str()
        .map_or_else(|| reason.to_string(), str::to_owned)
}

/// Gives a push to whoever listens. If there is no room, what is returned waits for some.
fn hand_over<P: Protocol>(
    shared: &Shared<P>,
    push: P::Push,
) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
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
