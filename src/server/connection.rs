//! The server's side of a connection: what it takes, what it refuses, what it sends.

mod send;
#[cfg(test)]
mod tests;

use std::{
    ops::Deref,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    ConnectionRef, ServerOptions,
    leave::Leave,
    receive::{Decoding, Incoming, ProtocolError, Receiver, tell},
};
use crate::{
    ExitReason, Protocol,
    link::{Arrived, Link, WRITE_CHUNK},
    outbox::Outbox,
    reply::Ends,
    task::{self, Alarm, Budget},
    transport::BoxedStream,
    wire::packet::Acceptance,
};

/// How long a reply may wait for those of the packets behind it.
const PATIENCE: Duration = Duration::from_millis(1);

/// The most that is read at once of what has arrived when a connection stops listening.
pub(super) const LAST_GULP: u64 = 256 * 1024;

/// How many reads that may take at most.
const LAST_READS: usize = 32;

/// How many chunks are sent before other tasks of the thread run.
const SENDS: usize = 8;

/// How long a server that ends tries to get rid of what it has still to send.
const FAREWELL: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    link: Link,
    outbox: OpenOutbox,
    receiver: Arc<Receiver>,
    first_packet_timeout: Option<Duration>,
    packet_timeout: Duration,
    write_timeout: Duration,
    max_outgoing: usize,
    /// For a peer that cannot take two packets at once: the time between them.
    pause: Option<Duration>,
    next_send: Option<Instant>,
    /// Since when the peer is listened to and has not sent a packet.
    silent: Option<Instant>,
    /// There is nothing to be read: the peer may be late.
    listening: bool,
    /// Since when a packet is incomplete.
    midway: Option<Instant>,
    /// Since when the peer has taken nothing, and how much it had taken by then.
    stalled: Option<(Instant, u64)>,
    /// A packet has been handed to the link: once it is gone, a pause is due.
    pause_due: bool,
    /// Since when packets are handled without anything having been sent.
    unsent_since: Instant,
    alarm: Alarm,
    leave: Leave,
    /// The socket takes nothing any more.
    dead: bool,
    /// Nothing more is read. What is queued may still be sent.
    ended: Option<ExitReason>,
}

/// The outbox of a connection, which takes and keeps nothing more when that is gone: also if it was
/// killed, and handles of its server live on.
struct OpenOutbox(Arc<Outbox>);

impl Deref for OpenOutbox {
    type Target = Outbox;

    fn deref(&self) -> &Outbox {
        &self.0
    }
}

impl Drop for OpenOutbox {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Connection {
    pub(super) fn new(
        stream: BoxedStream,
        acceptance: Acceptance,
        options: &ServerOptions,
        ends: Ends,
    ) -> Self {
        let codec = options.codec();
        let link = Link::new(stream, codec.max_payload);
        let outbox = Arc::new(Outbox::new(codec.clone(), options.outbox_limits()));
        let receiver = Receiver {
            acceptance,
            codec,
            outbox: Arc::clone(&outbox),
            ends,
        };
        Self {
            link,
            outbox: OpenOutbox(outbox),
            receiver: Arc::new(receiver),
            first_packet_timeout: options.first_packet_timeout,
            packet_timeout: options.packet_timeout,
            write_timeout: options.write_timeout,
            max_outgoing: options.max_outgoing.max(WRITE_CHUNK),
            pause: options.peer.pause(),
            next_send: None,
            silent: None,
            listening: false,
            midway: None,
            stalled: None,
            pause_due: false,
            unsent_since: task::now(),
            alarm: Alarm::default(),
            leave: Leave::Unasked,
            dead: false,
            ended: None,
        }
    }

    pub(super) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox.0
    }

    /// A handle, for those who look on from outside.
    pub(super) fn handle(&self) -> ConnectionRef {
        ConnectionRef::new(Arc::clone(&self.outbox.0), Arc::clone(self.link.meter()))
    }

    /// The server has got through its `init`.
    pub(super) fn meet(&self) {
        self.link.meter().meet();
    }

    /// A callback runs now: nothing is read meanwhile, so that the peer cannot be late.
    pub(super) fn stop_reading(&mut self) {
        self.midway = None;
        self.listening = false;
    }

    /// Whether it was to take leave of its peer, and has heard all and answered all.
    pub(super) fn is_over(&self) -> bool {
        self.leave.is_deaf() && self.outbox.in_flight() == 0
    }

    /// The next call or cast. Everything that was sent meanwhile leaves before this waits.
    ///
    /// It also returns `Pending` when the budget is spent; whoever asked has to be woken then.
    pub(super) fn poll_incoming<P: Protocol>(
        &mut self,
        cx: &mut Context<'_>,
        budget: &mut Budget,
        decoding: &mut Decoding<P>,
    ) -> Poll<Incoming<P>> {
        loop {
            if let Some(reason) = &self.ended {
                return Poll::Ready(Incoming::Ended(reason.clone()));
            }
            match decoding.poll(cx) {
                Poll::Ready(None) => {}
                Poll::Ready(Some(received)) => {
                    if let Some(incoming) = self.received(received) {
                        return Poll::Ready(incoming);
                    }
                    continue;
                }
                Poll::Pending => {
                    self.stop_reading();
                    self.poll_send(cx);
                    if self.ended.is_some() {
                        continue;
                    }
                    return Poll::Pending;
                }
            }
            if !self.may_read(cx) {
                self.stop_reading();
                self.poll_send(cx);
                if self.ended.is_some() || self.may_read(cx) {
                    continue;
                }
                return Poll::Pending;
            }
            if budget.is_spent() {
                self.poll_send(cx);
                return Poll::Pending;
            }
            // Replies to several packets leave together, unless it takes long to handle them.
            if !self.outbox.is_empty() && task::now() - self.unsent_since > PATIENCE {
                self.poll_send(cx);
            }
            match self.link.next_packet() {
                Ok(Some(arrived)) => {
                    self.midway = None;
                    self.first_packet_timeout = None;
                    self.leave.took_packet();
                    match arrived {
                        Arrived::Large(packet) => decoding.start(&self.receiver, packet),
                        Arrived::Small(packet, cost) => {
                            budget.count_packet(cost);
                            let received = self.receiver.try_receive(&packet);
                            if let Some(incoming) = self.received(received) {
                                return Poll::Ready(incoming);
                            }
                        }
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    self.break_off(error.into());
                    continue;
                }
            }
            self.poll_send(cx);
            if self.ended.is_some() {
                continue;
            }
            if !self.leave.may_read(self.link.is_midway()) {
                self.stop_reading();
                if self.poll_deadlines(cx).is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            match self.link.poll_read(cx) {
                Poll::Ready(Ok(bytes @ 1..)) => {
                    budget.count_read(bytes);
                    self.unsent_since = task::now();
                    self.link.meter().heard(self.unsent_since);
                }
                Poll::Ready(Ok(0) | Err(_)) => self.ended = Some(ExitReason::Disconnected),
                Poll::Pending => {
                    self.listening = true;
                    if self.first_packet_timeout.is_some() {
                        self.silent.get_or_insert_with(task::now);
                    }
                    if self.link.is_midway() {
                        self.midway.get_or_insert_with(task::now);
                    }
                    if self.poll_deadlines(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Whether further packets may be handled: not while too much waits to be sent, or is being encoded.
    fn may_read(&mut self, cx: &mut Context<'_>) -> bool {
        self.outbox.poll_may_read(cx).is_ready()
            && self.link.unwritten() < self.max_outgoing
            && !self.link.is_encoding()
    }

    /// What came of a packet, if the server has to handle it.
    fn received<P: Protocol>(
        &mut self,
        received: Result<Result<Option<Incoming<P>>, ProtocolError>, ExitReason>,
    ) -> Option<Incoming<P>> {
        match received {
            Ok(Ok(incoming)) => return incoming,
            Ok(Err(error)) => self.break_off(error),
            // The server still runs its `terminate`.
            Err(panic) => self.ended = Some(panic),
        }
        None
    }

    /// Ready once a deadline has passed and was dealt with; there may be more.
    fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let packet = self.midway;
        let packet = packet.and_then(|since| since.checked_add(self.packet_timeout));
        let write = self.stalled;
        let write = write.and_then(|(since, _)| since.checked_add(self.write_timeout));
        let leave = self.leave.deadline();
        let deadlines = [packet, write, leave, self.next_send, self.first()];
        let next = deadlines.into_iter().flatten().min();
        if self.alarm.poll(cx, next).is_pending() {
            return Poll::Pending;
        }
        if next == packet {
            self.midway = None;
            self.break_off(ProtocolError::PacketTimeout(self.packet_timeout));
        } else if next == write {
            let error = ProtocolError::WriteTimeout(self.write_timeout);
            self.die(ExitReason::error(error));
        } else if next == leave {
            self.leave.stop_listening();
            self.gulp(cx);
            cx.waker().wake_by_ref();
        } else if next == self.next_send {
            self.next_send = None;
            cx.waker().wake_by_ref();
        } else if let Some(limit) = self.first_packet_timeout.take() {
            self.break_off(ProtocolError::FirstPacketTimeout(limit));
        }
        Poll::Ready(())
    }

    /// Reads what has arrived. A callback may be at work, and for long.
    fn gulp(&mut self, cx: &mut Context<'_>) {
        let enough = self.link.meter().read() + LAST_GULP;
        for _ in 0..LAST_READS {
            if self.link.meter().read() >= enough
                || !matches!(self.link.poll_read(cx), Poll::Ready(Ok(1..)))
            {
                return;
            }
        }
    }

    /// When the peer is late with its first packet, if it can be.
    fn first(&self) -> Option<Instant> {
        let since = self.silent.filter(|_| self.listening)?;
        since.checked_add(self.first_packet_timeout?)
    }

    /// The socket is of no use any more. The first reason stays.
    fn die(&mut self, reason: ExitReason) {
        self.outbox.abandon();
        self.dead = true;
        self.ended.get_or_insert(reason);
    }

    /// The stream makes no sense from here on: the peer is told why, and that was it.
    fn break_off(&mut self, error: ProtocolError) {
        tell(&self.outbox, &error.to_string());
        self.ended = Some(ExitReason::error(error));
    }
}
