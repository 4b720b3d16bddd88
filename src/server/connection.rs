//! The server's side of a connection: reading, deadlines, and (in `send`) writing.
//!
//! ```text
//! handling packets --> reading --> waiting for bytes or a deadline --> handling packets
//!       |                 |
//!       |                 +--> drained: nothing more is read
//!       +--> paused: a callback runs, a packet is being decoded, or the send queue is full
//! ```

mod send;
#[cfg(test)]
mod tests;

use std::{
    ops::Deref,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use super::{
    ConnectionRef, ServerOptions,
    drain::DrainPhase,
    receive::{Decoding, Incoming, ProtocolError, Receiver, send_error},
};
use crate::{
    ExitReason, Protocol,
    link::{Link, ReceivedPacket, WRITE_CHUNK},
    reply::Ends,
    send_queue::SendQueue,
    task::{self, Alarm, Budget},
    transport::BoxedStream,
    wire::packet::Acceptance,
};

/// How long a reply may be delayed to be sent together with others.
const MAX_REPLY_DELAY: Duration = Duration::from_millis(1);

/// The maximum number of bytes read at the end of a drain's reading phase.
pub(super) const MAX_FINAL_READ: u64 = 256 * 1024;

/// The maximum number of reads for that.
const MAX_FINAL_READS: usize = 32;

/// How many chunks are sent before the task yields.
const SENDS: usize = 8;

/// How long the send queue is flushed when the server exits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    link: Link,
    send_queue: OpenSendQueue,
    receiver: Arc<Receiver>,
    first_packet_timeout: Option<Duration>,
    packet_timeout: Duration,
    write_timeout: Duration,
    max_outgoing: usize,
    error_details: bool,
    /// The time between two packets, for a peer that cannot receive them in one read.
    pause: Option<Duration>,
    next_send: Option<Instant>,
    /// When the wait for the first packet began.
    silent: Option<Instant>,
    /// The connection waits for bytes: the first-packet timeout applies.
    listening: bool,
    /// When a packet began to arrive that is incomplete.
    midway: Option<Instant>,
    /// When writes stalled, and how many bytes had been written by then.
    stalled: Option<(Instant, u64)>,
    /// A packet was handed to the link: a pause follows once it is written.
    pause_due: bool,
    /// When something was last sent or read.
    unsent_since: Instant,
    alarm: Alarm,
    drain: DrainPhase,
    /// `handle_drain` has been called.
    drain_announced: bool,
    /// The socket cannot be written to any more.
    dead: bool,
    /// Set when nothing more is read. The send queue may still be flushed.
    ended: Option<ExitReason>,
}

/// The send queue of a connection. Closed and emptied when the connection is dropped, even if that was
/// killed and handles of its server still exist.
struct OpenSendQueue(Arc<SendQueue>);

impl Deref for OpenSendQueue {
    type Target = SendQueue;

    fn deref(&self) -> &SendQueue {
        &self.0
    }
}

impl Drop for OpenSendQueue {
    fn drop(&mut self) {
        self.0.close_and_clear();
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
        let send_queue = Arc::new(SendQueue::new(codec.clone(), options.send_queue_limits()));
        let receiver = Receiver {
            acceptance,
            codec,
            send_queue: Arc::clone(&send_queue),
            ends,
        };
        Self {
            link,
            send_queue: OpenSendQueue(send_queue),
            receiver: Arc::new(receiver),
            first_packet_timeout: options.first_packet_timeout,
            packet_timeout: options.packet_timeout,
            write_timeout: options.write_timeout,
            max_outgoing: options.max_outgoing.max(WRITE_CHUNK),
            error_details: options.error_details,
            pause: options.peer.pause(),
            next_send: None,
            silent: None,
            listening: false,
            midway: None,
            stalled: None,
            pause_due: false,
            unsent_since: task::now(),
            alarm: Alarm::default(),
            drain: DrainPhase::Idle,
            drain_announced: false,
            dead: false,
            ended: None,
        }
    }

    pub(super) fn send_queue(&self) -> &Arc<SendQueue> {
        &self.send_queue.0
    }

    /// Returns a handle.
    pub(super) fn handle(&self) -> ConnectionRef {
        ConnectionRef::new(
            Arc::clone(&self.send_queue.0),
            Arc::clone(self.link.stats()),
        )
    }

    /// Notes that the server's `init` has succeeded.
    pub(super) fn set_served(&self) {
        self.link.stats().set_served();
    }

    /// Notes that the server has failed: its unanswered calls fail with [`CallError::Failed`](crate::CallError::Failed).
    pub(super) fn server_failed(&self, reason: &ExitReason) {
        let message = self.error_details.then(|| reason.to_string());
        self.send_queue.set_failure(message);
    }

    /// Suspends the read deadlines: nothing is read until the next poll.
    pub(super) fn stop_reading(&mut self) {
        self.midway = None;
        self.listening = false;
    }

    /// Returns whether a drain is complete: nothing more is read, all calls are answered, and the server is not busy.
    pub(super) fn is_drained(&self) -> bool {
        self.drain.is_closed() && self.send_queue.is_idle()
    }

    /// Returns by when the server has to finish, once, if a drain was requested.
    pub(super) fn take_drain_request(&mut self) -> Option<Instant> {
        if self.drain_announced {
            return None;
        }
        let finish_by = self.send_queue.finish_by()?;
        self.drain_announced = true;
        Some(finish_by)
    }

    /// Ready with the next call or cast. Everything that was queued meanwhile is sent before this waits.
    ///
    /// Also pending when the budget is spent: the caller must wake its task then.
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
                    ready!(self.poll_paused(cx));
                    continue;
                }
            }
            if !ready!(self.poll_may_handle(cx, budget)) {
                continue;
            }
            match self.link.next_packet() {
                Ok(Some(arrived)) => {
                    self.midway = None;
                    self.first_packet_timeout = None;
                    self.drain.took_packet();
                    match arrived {
                        ReceivedPacket::Large(packet) => decoding.start(&self.receiver, packet),
                        ReceivedPacket::Small(packet, cost) => {
                            budget.count_packet(cost);
                            let received = self.receiver.try_receive(&packet);
                            if let Some(incoming) = self.received(received) {
                                return Poll::Ready(incoming);
                            }
                        }
                    }
                }
                Ok(None) => ready!(self.poll_read(cx, budget)),
                Err(error) => self.break_off(error.into()),
            }
        }
    }

    /// Sends while a packet is being decoded. Ready once nothing more is read.
    fn poll_paused(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stop_reading();
        self.poll_send(cx);
        match self.ended {
            Some(_) => Poll::Ready(()),
            None => Poll::Pending,
        }
    }

    /// Ready with true when the next packet may be handled, and with false when the state has changed and
    /// is to be checked again.
    fn poll_may_handle(&mut self, cx: &mut Context<'_>, budget: &Budget) -> Poll<bool> {
        if !self.may_read(cx) {
            self.stop_reading();
            self.poll_send(cx);
            if self.ended.is_some() || self.may_read(cx) {
                return Poll::Ready(false);
            }
            return Poll::Pending;
        }
        if budget.is_spent() {
            self.poll_send(cx);
            return Poll::Pending;
        }
        // Replies to several packets are sent together, unless handling them takes long.
        if !self.send_queue.is_empty() && task::now() - self.unsent_since > MAX_REPLY_DELAY {
            self.poll_send(cx);
        }
        Poll::Ready(true)
    }

    /// Sends, then reads once. Ready when something was read or a deadline has passed.
    fn poll_read(&mut self, cx: &mut Context<'_>, budget: &mut Budget) -> Poll<()> {
        self.poll_send(cx);
        if self.ended.is_some() {
            return Poll::Ready(());
        }
        if !self.drain.may_read(self.link.has_partial_packet()) {
            self.stop_reading();
            return self.poll_deadlines(cx);
        }
        match self.link.poll_read(cx) {
            Poll::Ready(Ok(bytes @ 1..)) => {
                budget.count_read(bytes);
                self.unsent_since = task::now();
                self.link.stats().set_last_read(self.unsent_since);
            }
            Poll::Ready(Ok(0) | Err(_)) => self.ended = Some(ExitReason::Disconnected),
            Poll::Pending => {
                self.listening = true;
                if self.first_packet_timeout.is_some() {
                    self.silent.get_or_insert_with(task::now);
                }
                if self.link.has_partial_packet() {
                    self.midway.get_or_insert_with(task::now);
                }
                return self.poll_deadlines(cx);
            }
        }
        Poll::Ready(())
    }

    /// Returns whether further packets may be handled: not while the send queue is full, or a packet is
    /// being encoded.
    fn may_read(&mut self, cx: &mut Context<'_>) -> bool {
        self.send_queue.poll_may_read(cx).is_ready()
            && self.link.unwritten() < self.max_outgoing
            && !self.link.is_encoding()
    }

    /// Returns the call or cast of a received packet, if the server has to handle one.
    fn received<P: Protocol>(
        &mut self,
        received: Result<Result<Option<Incoming<P>>, ProtocolError>, ExitReason>,
    ) -> Option<Incoming<P>> {
        match received {
            Ok(Ok(incoming)) => return incoming,
            Ok(Err(error)) => self.break_off(error),
            // `terminate` still runs.
            Err(panic) => self.ended = Some(panic),
        }
        None
    }

    /// Ready once a deadline has passed and was handled; there may be more.
    fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let packet = self.midway;
        let packet = packet.and_then(|since| since.checked_add(self.packet_timeout));
        let write = self.stalled;
        let write = write.and_then(|(since, _)| since.checked_add(self.write_timeout));
        let drain = self.drain.deadline();
        let deadlines = [
            packet,
            write,
            drain,
            self.next_send,
            self.first_packet_deadline(),
        ];
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
        } else if next == drain {
            self.drain.stop_reading();
            self.read_arrived(cx);
            cx.waker().wake_by_ref();
        } else if next == self.next_send {
            self.next_send = None;
            cx.waker().wake_by_ref();
        } else if let Some(limit) = self.first_packet_timeout.take() {
            self.break_off(ProtocolError::FirstPacketTimeout(limit));
        }
        Poll::Ready(())
    }

    /// Reads what has arrived, also while a callback runs.
    fn read_arrived(&mut self, cx: &mut Context<'_>) {
        let enough = self.link.stats().read() + MAX_FINAL_READ;
        for _ in 0..MAX_FINAL_READS {
            if self.link.stats().read() >= enough
                || !matches!(self.link.poll_read(cx), Poll::Ready(Ok(1..)))
            {
                return;
            }
        }
    }

    /// Returns the deadline of the first packet, if it applies.
    fn first_packet_deadline(&self) -> Option<Instant> {
        let since = self.silent.filter(|_| self.listening)?;
        since.checked_add(self.first_packet_timeout?)
    }

    /// Gives up the socket. The first reason is kept.
    fn die(&mut self, reason: ExitReason) {
        self.send_queue.close_and_clear();
        self.dead = true;
        self.ended.get_or_insert(reason);
    }

    /// Stops reading after a protocol error, and sends it to the peer.
    fn break_off(&mut self, error: ProtocolError) {
        send_error(&self.send_queue, &error.to_string());
        self.ended = Some(ExitReason::error(error));
    }
}
