//! The options of a server and its connection.

use std::time::Duration;

use crate::{
    link::Peer,
    send_queue,
    task::SLOW_CALLBACK,
    wire::{
        codec::Codec,
        decoder, etf,
        identity::{Identifier, Version},
    },
};

/// The limits and settings of a server, and of its connection if it has one.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use erps::ServerOptions;
///
/// let options = ServerOptions::new()
///     .max_payload(1024 * 1024)
///     .packet_timeout(Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub(super) mailbox: usize,
    pub(super) max_payload: usize,
    pub(super) limits: etf::Limits,
    compression: Option<u8>,
    pub(super) max_in_flight: usize,
    pub(super) max_outgoing: usize,
    pub(super) max_unsent: usize,
    pub(super) first_packet_timeout: Option<Duration>,
    pub(super) packet_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) peer: Peer,
    pub(super) error_details: bool,
    pub(super) slow_callback: Option<Duration>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            mailbox: 1024,
            max_payload: decoder::MAX_PAYLOAD,
            limits: etf::Limits::default(),
            compression: None,
            max_in_flight: 1024,
            max_outgoing: 1024 * 1024,
            max_unsent: 64 * 1024 * 1024,
            first_packet_timeout: Some(Duration::from_secs(150)),
            packet_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            peer: Peer::default(),
            error_details: false,
            slow_callback: Some(SLOW_CALLBACK),
        }
    }
}

impl ServerOptions {
    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the capacity of the mailbox for messages of local callers. Default: 1024. At the limit senders
    /// wait.
    #[must_use]
    pub fn mailbox(mut self, messages: usize) -> Self {
        self.mailbox = messages.max(1);
        self
    }

    /// Sets the maximum payload of a packet in bytes, in both directions, and the maximum size that a
    /// compressed payload may inflate to. Default: 16 MiB.
    ///
    /// A peer that sends more receives an error packet, and its connection is closed.
    #[must_use]
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }

    /// Sets the maximum nesting of a term from the peer. Default: 512 levels. A deeper one is rejected; the
    /// connection stays open. See [`etf::Limits::depth`].
    #[must_use]
    pub fn term_depth(mut self, levels: usize) -> Self {
        self.limits = self.limits.depth(levels);
        self
    }

    /// Sets the maximum number of elements of a term from the peer. Default: 2 097 152 (2 Mi). A larger one is
    /// rejected; the connection stays open. See [`etf::Limits::elements`].
    #[must_use]
    pub fn term_elements(mut self, count: usize) -> Self {
        self.limits = self.limits.elements(count);
        self
    }

    /// Sets the maximum memory, in bytes, of the [`Term`](crate::Term)s decoded from one packet. Default:
    /// 32 MiB. A packet that needs more is rejected; the connection stays open. See [`etf::Limits::term_memory`].
    #[must_use]
    pub fn term_memory(mut self, bytes: usize) -> Self {
        self.limits = self.limits.term_memory(bytes);
        self
    }

    /// Sets the maximum ratio by which a compressed payload may inflate, beyond 1 MiB. Default: 256. A payload
    /// that announces more is rejected before it is inflated; the connection stays open. See [`etf::Limits::ratio`].
    #[must_use]
    pub fn max_ratio(mut self, ratio: usize) -> Self {
        self.limits = self.limits.ratio(ratio);
        self
    }

    /// Sets whether terms with functions or ports are rejected, and stop the server that receives one.
    /// Default: true, as in erps.
    #[must_use]
    pub fn safe(mut self, safe: bool) -> Self {
        self.limits = self.limits.safe(safe);
        self
    }

    /// Sets the compression level, 0 to 9, of sent packets that become smaller by it. A level above 9 counts
    /// as 9. Default: no compression.
    #[must_use]
    pub fn compressed(mut self, level: u8) -> Self {
        self.compression = Some(level.min(9));
        self
    }

    /// Sets the maximum number of unanswered calls of the peer. Default: 1024. At the limit nothing more is
    /// read from the connection.
    #[must_use]
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls.max(1);
        self
    }

    /// Sets the size of the send queue, in bytes, at which pushes wait and nothing more is read from the
    /// connection. Default: 1 MiB.
    #[must_use]
    pub fn max_outgoing(mut self, bytes: usize) -> Self {
        self.max_outgoing = bytes.max(1);
        self
    }

    /// Sets the maximum size of the send queue in bytes. Default: 64 MiB.
    ///
    /// Between [`max_outgoing`](Self::max_outgoing) and this limit are the replies to calls that had been
    /// read before: they do not wait, as [`ReplyTo::reply`](crate::ReplyTo::reply) does not. At the limit a
    /// call fails with a message that says so instead of being answered. A reply that is larger than the
    /// limit is sent if the queue is not above `max_outgoing`.
    #[must_use]
    pub fn max_unsent(mut self, bytes: usize) -> Self {
        self.max_unsent = bytes;
        self
    }

    /// Sets the time limit for the peer's first packet, from when its server reads. `None`: no limit.
    /// Default: 150 seconds. A peer that sends nothing receives an error packet, and its connection is
    /// closed.
    ///
    /// A client that only receives pushes sends a keepalive every minute, unless that is turned off, as does
    /// one of the original. It counts as a packet; the default allows for two of them.
    #[must_use]
    pub fn first_packet_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.first_packet_timeout = limit.into();
        self
    }

    /// Sets the time limit for completing a packet that has begun to arrive. Default: 30 seconds. A slower
    /// peer receives an error packet, and its connection is closed.
    #[must_use]
    pub fn packet_timeout(mut self, limit: Duration) -> Self {
        self.packet_timeout = limit;
        self
    }

    /// Sets how long a write may make no progress because the peer does not read. Default: 30 seconds. Then
    /// the connection is closed.
    #[must_use]
    pub fn write_timeout(mut self, limit: Duration) -> Self {
        self.write_timeout = limit;
        self
    }

    /// Sets the kind of the peer. Default: [`Peer::Erps`]. An Elixir client that makes one call at a time
    /// and receives no pushes needs no setting.
    #[must_use]
    pub fn peer(mut self, peer: Peer) -> Self {
        self.peer = peer;
        self
    }

    /// Sets whether remote callers receive the text of the error or panic with which the server failed. Default:
    /// false. They receive only that it has failed, as [`CallError::Failed`](crate::CallError::Failed) without a
    /// message: the text may contain internals, such as an SQL statement.
    ///
    /// This applies to the unanswered calls of a server whose callback returns an error or panics. A message for
    /// remote callers that does not stop the server is sent by [`ReplyTo::refuse`](crate::ReplyTo::refuse).
    #[must_use]
    pub fn error_details(mut self, send: bool) -> Self {
        self.error_details = send;
        self
    }

    /// Sets how long a single poll of a callback may take before a warning is logged. `None`: no warnings. Default:
    /// 100 milliseconds.
    ///
    /// A callback that computes or blocks between two awaits occupies its thread: every other task of the thread waits,
    /// of other connections too. The warning names the server's type and the callback, at most once in ten seconds for
    /// each. The time is real, in simulated universes too. Blocking work belongs into [`erps::unblock`](crate::unblock).
    #[must_use]
    pub fn slow_callback(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.slow_callback = limit.into();
        self
    }

    /// Returns the codec of the server's packets, whose version and identifier are empty, as in the
    /// original.
    pub(super) fn codec(&self) -> Codec {
        Codec {
            identifier: Identifier::EMPTY,
            version: Version::new(0, 0, 0),
            max_payload: self.max_payload,
            limits: self.limits.clone().inflated(self.max_payload),
            compression: self.compression,
        }
    }

    pub(super) fn send_queue_limits(&self) -> send_queue::Limits {
        send_queue::Limits {
            bytes: self.max_outgoing,
            replies: self.max_unsent,
            in_flight: self.max_in_flight,
            one_by_one: self.peer != Peer::Erps,
        }
    }
}
