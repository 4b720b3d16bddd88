//! The server's side of a connection: what it takes, what it refuses, what it sends.

use std::{
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{ConnectionRef, ServerOptions, leave::Leave};
use crate::{
    ExitReason, Protocol, ReplyTo,
    link::{Link, WRITE_CHUNK},
    outbox::{Outbox, Sort},
    reply::{Ends, RemoteCaller},
    task::{self, Alarm},
    transport::BoxedStream,
    wire::{
        codec::Codec,
        decoder::FrameError,
        etf::{self, DecodeError},
        packet::{Acceptance, Kind, Packet},
    },
};

/// How many packets a connection may handle before other tasks of its thread get a turn.
const BURST: usize = 256;

/// The longest reference of a call that is kept, in bytes. Those of Erlang nodes have up to some
/// three hundred.
pub(super) const MAX_REFERENCE: usize = 1024;

/// How long a reply may wait for those of the packets behind it.
const PATIENCE: Duration = Duration::from_millis(1);

/// The most that is read at once of what has arrived when a connection stops listening.
pub(super) const LAST_GULP: u64 = 256 * 1024;

/// How long a server that ends tries to get rid of what it has still to send.
const FAREWELL: Duration = Duration::from_secs(5);

pub(super) struct Connection {
    link: Link,
    outbox: OpenOutbox,
    codec: Codec,
    acceptance: Acceptance,
    ends: Ends,
    first_packet_timeout: Option<Duration>,
    packet_timeout: Duration,
    write_timeout: Duration,
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
    handled: usize,
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

/// What the peer wants.
pub(super) enum Incoming<P: Protocol> {
    Call(P::Call, ReplyTo<P::Reply>),
    Cast(P::Cast),
    /// Nothing more, ever.
    Ended(ExitReason),
}

impl Connection {
    pub(super) fn new(
        stream: BoxedStream,
        acceptance: Acceptance,
        options: &ServerOptions,
        ends: Ends,
    ) -> Self {
        let codec = options.codec();
        Self {
            link: Link::new(stream, codec.max_payload),
            outbox: OpenOutbox(Arc::new(Outbox::new(
                codec.clone(),
                options.outbox_limits(),
            ))),
            codec,
            acceptance,
            ends,
            first_packet_timeout: options.first_packet_timeout,
            packet_timeout: options.packet_timeout,
            write_timeout: options.write_timeout,
            pause: options.peer.pause(),
            next_send: None,
            silent: None,
            listening: false,
            midway: None,
            stalled: None,
            pause_due: false,
            unsent_since: task::now(),
            alarm: Alarm::default(),
            handled: 0,
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
    pub(super) fn poll_incoming<P: Protocol>(&mut self, cx: &mut Context<'_>) -> Poll<Incoming<P>> {
        loop {
            if let Some(reason) = &self.ended {
                return Poll::Ready(Incoming::Ended(reason.clone()));
            }
            if self.outbox.poll_may_read(cx).is_pending() {
                self.stop_reading();
                self.poll_send(cx);
                if self.ended.is_some() || self.outbox.poll_may_read(cx).is_ready() {
                    continue;
                }
                return Poll::Pending;
            }
            if self.handled == BURST {
                self.handled = 0;
                self.poll_send(cx);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Replies to a burst leave together, unless it takes long to handle.
            if !self.outbox.is_empty() && task::now() - self.unsent_since > PATIENCE {
                self.poll_send(cx);
            }
            match self.link.next_packet() {
                Ok(Some(packet)) => {
                    self.midway = None;
                    self.handled += 1;
                    self.first_packet_timeout = None;
                    self.leave.took_packet();
                    let receive = || {
                        let (codec, outbox) = (&self.codec, &self.outbox.0);
                        receive(&packet, codec, &self.acceptance, outbox, &self.ends)
                    };
                    // A user's `Deserialize` may panic; the server still takes leave.
                    match catch_unwind(AssertUnwindSafe(receive)) {
                        Ok(Ok(Some(incoming))) => return Poll::Ready(incoming),
                        Ok(Ok(None)) => {}
                        Ok(Err(error)) => self.break_off(error),
                        Err(panic) => self.ended = Some(ExitReason::panic(&*panic)),
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
                Poll::Ready(Ok(1..)) => {
                    self.unsent_since = task::now();
                    self.link.meter().heard(self.unsent_since);
                }
                Poll::Ready(Ok(0) | Err(_)) => self.ended = Some(ExitReason::Disconnected),
                Poll::Pending => {
                    self.handled = 0;
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

    /// Sends what can be sent now, and sees to it that the task is woken when more can be.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) {
        if self.dead {
            return;
        }
        loop {
            let may_take = self.may_take();
            let took = may_take && self.outbox.poll_take(cx, self.link.out()).is_ready();
            self.pause_due |= took;
            match self.link.poll_write(cx) {
                Poll::Ready(Ok(())) => {
                    self.stalled = None;
                    self.unsent_since = task::now();
                    if std::mem::take(&mut self.pause_due) {
                        self.next_send = self.pause.map(|pause| self.unsent_since + pause);
                    }
                    // Either there is nothing more, or it is not its time yet. If the link was
                    // merely full, it no longer is.
                    if !took && (may_take || self.next_send.is_some()) {
                        break;
                    }
                }
                Poll::Ready(Err(_)) => {
                    self.die(ExitReason::Disconnected);
                    return;
                }
                Poll::Pending => {
                    let taken = self.link.taken();
                    if self.stalled.is_none_or(|(_, before)| before != taken) {
                        self.stalled = Some((task::now(), taken));
                    }
                    break;
                }
            }
        }
        self.leave.ask(self.outbox.leaves());
        let _ = self.poll_deadlines(cx);
    }

    /// Sends what is left, with the connection's habits, and closes it.
    pub(super) async fn close(mut self: Box<Self>) {
        self.outbox.close();
        let rest = std::future::poll_fn(|cx| {
            self.poll_send(cx);
            if self.dead || (self.outbox.is_empty() && self.link.is_flushed()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let sent = task::timeout(FAREWELL, rest).await;
        if !self.dead {
            if sent.is_ok() {
                self.link.meter().part();
            }
            self.link.close().await;
        }
    }

    /// Whether packets may be moved from the outbox to the link.
    fn may_take(&mut self) -> bool {
        match self.pause {
            None => self.link.unwritten() < WRITE_CHUNK,
            Some(_) if !self.link.is_flushed() => false,
            Some(_) => {
                if self.next_send.is_some_and(|at| at <= task::now()) {
                    self.next_send = None;
                }
                self.next_send.is_none()
            }
        }
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
        while self.link.meter().read() < enough {
            let Poll::Ready(Ok(1..)) = self.link.poll_read(cx) else {
                return;
            };
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

/// Sorts a packet: what it asks for, `None` if it was dealt with here, an error if the
/// connection cannot go on.
fn receive<P: Protocol>(
    packet: &Packet<'_>,
    codec: &Codec,
    acceptance: &Acceptance,
    outbox: &Arc<Outbox>,
    ends: &Ends,
) -> Result<Option<Incoming<P>>, ProtocolError> {
    match packet.header.kind {
        Kind::Keepalive => return Ok(None),
        Kind::Call | Kind::Cast => {}
        kind => return Err(ProtocolError::UnexpectedKind(kind)),
    }
    let refusal = acceptance.check(&packet.header).err();
    if let Some(refusal) = &refusal {
        let (identifier, version) = (&packet.header.identifier, packet.header.version);
        tracing::debug!(target: "erps", %refusal, %identifier, %version, "a packet was refused");
    }
    let checked = match (etf::check(packet.payload, &codec.limits), refusal) {
        (Ok(checked), _) => checked,
        (Err(_), Some(refusal)) => {
            tell(outbox, &refusal.to_string());
            return Ok(None);
        }
        (Err(error), None) if error.is_executable() => {
            return Err(ProtocolError::Executable(error));
        }
        (Err(error), None) => {
            tell(
                outbox,
                &format!("the payload is not a term that is taken here: {error}"),
            );
            return Ok(None);
        }
    };
    if packet.header.kind == Kind::Cast {
        match (refusal, checked.decode()) {
            (Some(refusal), _) => tell(outbox, &refusal.to_string()),
            (None, Ok(cast)) => return Ok(Some(Incoming::Cast(cast))),
            (None, Err(error)) => tell(outbox, &format!("cast not understood: {error}")),
        }
        return Ok(None);
    }
    let Some((reference, request)) = checked.pair() else {
        let refusal = refusal.map(|refusal| refusal.to_string());
        let not_a_pair = || "the payload of a call is a pair {reference, request}".to_owned();
        tell(outbox, &refusal.unwrap_or_else(not_a_pair));
        return Ok(None);
    };
    if reference.as_bytes().len() > MAX_REFERENCE {
        tell(
            outbox,
            &format!("the reference of a call may have up to {MAX_REFERENCE} bytes"),
        );
        return Ok(None);
    }
    let caller = RemoteCaller::new(Arc::clone(outbox), reference.as_bytes());
    match (refusal, request.decode()) {
        (Some(refusal), _) => caller.refuse(&refusal.to_string()),
        (None, Ok(call)) => {
            let from = ReplyTo::remote(caller, &request, ends);
            return Ok(Some(Incoming::Call(call, from)));
        }
        (None, Err(error)) => caller.refuse(&format!("call not understood: {error}")),
    }
    Ok(None)
}

/// Sends an error packet that belongs to no call.
fn tell(outbox: &Outbox, message: &str) {
    let encode = |codec: &Codec, out: &mut Vec<u8>| codec.term(out, Kind::Error, message);
    if let Err(error) = outbox.send(Sort::Error, encode) {
        tracing::warn!(target: "erps", %error, "an error packet could not be sent");
    }
}

/// What a peer did that its connection could not go on after. The peer was told.
///
/// Found in [`ExitReason::Error`] of the server that had the connection.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// It sent bytes that are no packet, or a packet over the limit.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// It sent a kind of packet that only servers send.
    #[error("a server takes calls, casts and keepalives, not packets of kind {0:?}")]
    UnexpectedKind(Kind),
    /// It sent a function or a port, or a term with one in it.
    #[error("{0}")]
    Executable(DecodeError),
    /// It sent no packet within this time.
    #[error("no packet was sent within {0:?}")]
    FirstPacketTimeout(Duration),
    /// It began a packet and did not complete it within this time.
    #[error("a packet was not completed within {0:?}")]
    PacketTimeout(Duration),
    /// It took nothing of what was sent to it for this time.
    #[error("nothing of what was sent was taken within {0:?}")]
    WriteTimeout(Duration),
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io, panic::Location, pin::Pin};

    use futures_lite::{AsyncRead, AsyncWrite};

    use super::*;
    use crate::{Endpoint, Universe};

    /// A peer that neither says nor takes anything.
    struct Stuck;

    impl AsyncRead for Stuck {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Stuck {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    /// A connection that has a lot to send, and its outbox, which somebody keeps.
    fn stuck() -> (Connection, Arc<Outbox>) {
        let ends = Ends {
            peer: Endpoint::Inet(([127, 0, 0, 1], 1).into()),
            server: "stuck",
            made: Location::caller(),
        };
        let acceptance = Acceptance {
            identifier: None,
            versions: None,
        };
        let options = ServerOptions::new();
        let connection = Connection::new(Box::new(Stuck), acceptance, &options, ends);
        let kept = Arc::clone(connection.outbox());
        for _ in 0..10 {
            let encode = |_: &Codec, out: &mut Vec<u8>| {
                out.resize(WRITE_CHUNK, 0);
                Ok(())
            };
            let sent = kept.send(Sort::Push, encode);
            assert!(matches!(sent, Ok(Ok(()))), "{sent:?}");
        }
        (connection, kept)
    }

    #[test]
    fn a_connection_that_is_gone_keeps_nothing_whoever_keeps_its_outbox() {
        Universe::simulated(1).run(async {
            let (connection, kept) = stuck();
            // What is queued at a graceful end is still to be sent.
            kept.close();
            assert_eq!(kept.bytes(), 10 * WRITE_CHUNK);
            drop(connection);
            assert_eq!(kept.bytes(), 0);
            assert!(kept.room().await.is_err());
        });
    }

    #[test]
    fn a_connection_whose_peer_is_given_up_keeps_nothing() {
        Universe::simulated(1).run(async {
            let (mut connection, kept) = stuck();
            poll_fn(|cx| {
                connection.poll_send(cx);
                match connection.dead {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
            assert_eq!(kept.bytes(), 0);
        });
    }
}
