//! What can be set about a server and its connection.

use std::time::Duration;

use super::{connection::LAST_GULP, receive::MAX_REFERENCE};
use crate::{
    link::{Peer, WRITE_CHUNK},
    outbox::{self, CHUNK},
    reply::SHORT_MESSAGE,
    wire::{
        codec::Codec,
        decoder::{self, READ_CHUNK},
        etf,
        identity::{Identifier, Version},
        packet::HEADER_LEN,
    },
};

/// What a refusal takes beside its message and its reference.
const OVERHEAD: usize = 64;

/// The limits and habits of a server, and of its connection if it has one.
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
    max_payload: usize,
    limits: etf::Limits,
    compression: Option<u8>,
    max_in_flight: usize,
    pub(super) max_outgoing: usize,
    max_unsent: usize,
    pub(super) first_packet_timeout: Option<Duration>,
    pub(super) packet_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) peer: Peer,
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
        }
    }
}

impl ServerOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages of local callers may wait. Default: 1024. At the limit senders wait.
    #[must_use]
    pub fn mailbox(mut self, messages: usize) -> Self {
        self.mailbox = messages.max(1);
        self
    }

    /// How large the payload of a packet may be, in bytes, in both directions, and what a
    /// compressed one may inflate to. Default: 16 MiB.
    ///
    /// A peer that sends more is told so, and its connection ends.
    #[must_use]
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }

    /// How deep a term of the peer may nest. Default: 512 levels. A deeper one is refused; the
    /// connection lives on. See [`etf::Limits::depth`].
    #[must_use]
    pub fn term_depth(mut self, levels: usize) -> Self {
        self.limits = self.limits.depth(levels);
        self
    }

    /// How many terms a term of the peer may consist of. Default: 2 097 152 (2 Mi). A larger one is refused; the
    /// connection lives on. See [`etf::Limits::elements`].
    #[must_use]
    pub fn term_elements(mut self, count: usize) -> Self {
        self.limits = self.limits.elements(count);
        self
    }

    /// How many bytes of memory the [`Term`](crate::Term)s that are decoded from one packet may take. Default:
    /// 32 MiB. A packet of more is refused; the connection lives on. See [`etf::Limits::term_memory`].
    #[must_use]
    pub fn term_memory(mut self, bytes: usize) -> Self {
        self.limits = self.limits.term_memory(bytes);
        self
    }

    /// How many times its size a compressed payload may inflate to, beyond 1 MiB. Default: 256. One that announces
    /// more is refused before it is inflated; the connection lives on. See [`etf::Limits::ratio`].
    #[must_use]
    pub fn max_ratio(mut self, ratio: usize) -> Self {
        self.limits = self.limits.ratio(ratio);
        self
    }

    /// Refuse terms that contain functions or ports, and end the server that was sent one.
    /// Default: true, as in erps.
    #[must_use]
    pub fn safe(mut self, safe: bool) -> Self {
        self.limits = self.limits.safe(safe);
        self
    }

    /// Compress what is sent, at a level from 0 to 9, where that makes it smaller. A level above
    /// 9 is taken for 9. Default: no compression.
    #[must_use]
    pub fn compressed(mut self, level: u8) -> Self {
        self.compression = Some(level.min(9));
        self
    }

    /// How many calls of the peer may be without an answer. Default: 1024. At the limit nothing
    /// more is read from the connection.
    #[must_use]
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls.max(1);
        self
    }

    /// How many bytes may wait to be sent before pushes wait and nothing more is read from the
    /// connection. Default: 1 MiB.
    #[must_use]
    pub fn max_outgoing(mut self, bytes: usize) -> Self {
        self.max_outgoing = bytes.max(1);
        self
    }

    /// How many bytes may wait to be sent at all. Default: 64 MiB.
    ///
    /// Between [`max_outgoing`](Self::max_outgoing) and this there is room for the replies to calls that
    /// had been read before: they do not wait, as [`ReplyTo::reply`](crate::ReplyTo::reply) does not.
    /// At the limit a call is failed instead of answered, with a message that says so. A reply that is
    /// larger than the limit is sent if no more than `max_outgoing` waits.
    #[must_use]
    pub fn max_unsent(mut self, bytes: usize) -> Self {
        self.max_unsent = bytes;
        self
    }

    /// How long a peer may take to send its first packet once its server listens. `None`: for ever.
    /// Default: 150 seconds. A peer that sends nothing is told so, and its connection ends.
    ///
    /// A client that only listens to pushes shows every minute that it lives, unless that was turned
    /// off, as does one of the original. That is a packet; the default has room for two of them.
    #[must_use]
    pub fn first_packet_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.first_packet_timeout = limit.into();
        self
    }

    /// How long a peer may take to complete a packet it has begun. Default: 30 seconds. A slower
    /// one is told so, and its connection ends.
    #[must_use]
    pub fn packet_timeout(mut self, limit: Duration) -> Self {
        self.packet_timeout = limit;
        self
    }

    /// How long a peer may take nothing of what is sent to it. Default: 30 seconds. Then its
    /// connection ends.
    #[must_use]
    pub fn write_timeout(mut self, limit: Duration) -> Self {
        self.write_timeout = limit;
        self
    }

    /// Who is at the other end. Default: [`Peer::Erps`]. An Elixir client that makes one call at
    /// a time and is sent no pushes needs no setting.
    #[must_use]
    pub fn peer(mut self, peer: Peer) -> Self {
        self.peer = peer;
        self
    }

    /// What a server says of itself is nothing: version and identifier of its packets are empty,
    /// as in the original.
    pub(super) fn codec(&self) -> Codec {
        Codec {
            identifier: Identifier::EMPTY,
            version: Version::new(0, 0, 0),
            max_payload: self.max_payload,
            limits: self.limits.clone().inflated(self.max_payload),
            compression: self.compression,
        }
    }

    /// The most memory that one connection may take beside the state of its server, in bytes: a packet that
    /// arrives, what it inflates to and what is decoded from it; what waits to be sent, what is being written, and
    /// for each call in flight its reference and a short refusal.
    pub(crate) fn worst_case(&self) -> u64 {
        let bytes = |it: usize| it as u64;
        let packet = bytes(self.max_payload).saturating_add(bytes(HEADER_LEN));
        let incoming = packet
            .saturating_mul(2)
            .saturating_add(bytes(READ_CHUNK) + LAST_GULP)
            .saturating_add(bytes(self.limits.max_term_memory()));
        // A packet that comes just below the limit crosses it.
        let crossed = packet.saturating_add(bytes(self.max_outgoing));
        // More calls than are in flight cannot be answered.
        let replies = packet.saturating_mul(bytes(self.max_in_flight));
        let replies = crossed.saturating_add(replies).min(bytes(self.max_unsent));
        let writing = packet.saturating_add(bytes(WRITE_CHUNK + 2 * CHUNK));
        let refusal = bytes(HEADER_LEN + SHORT_MESSAGE + 2 * MAX_REFERENCE + OVERHEAD);
        let refusals = bytes(self.max_in_flight).saturating_mul(refusal);
        [crossed.max(replies), writing, refusals]
            .into_iter()
            .fold(incoming, u64::saturating_add)
    }

    pub(super) fn outbox_limits(&self) -> outbox::Limits {
        outbox::Limits {
            bytes: self.max_outgoing,
            replies: self.max_unsent,
            in_flight: self.max_in_flight,
            one_by_one: self.peer != Peer::Erps,
        }
    }
}
