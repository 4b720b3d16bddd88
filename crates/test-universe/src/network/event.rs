//! The events of a network, for tests that compare or print them.

use std::{collections::VecDeque, fmt, net::SocketAddr, sync::Arc, time::Duration};

/// How many events a network keeps: the newest ones.
pub const MAX_EVENTS: usize = 10_000;

/// Something that happened on a [`Network`](crate::Network), and when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The simulated time since the universe was created.
    pub at: Duration,
    /// What happened.
    pub kind: EventKind,
}

/// The kind of an [`Event`]. Of two addresses, the first is the end that acted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A listener was bound to an address.
    Listening(SocketAddr),
    /// A listener was dropped.
    Unbound(SocketAddr),
    /// A client has requested a connection.
    Connecting(SocketAddr, SocketAddr),
    /// A host has refused a connection.
    Refused(SocketAddr, SocketAddr),
    /// A host does not answer, because the backlog of the listener is full.
    BacklogFull(SocketAddr, SocketAddr),
    /// A client is connected.
    Connected(SocketAddr, SocketAddr),
    /// A listener has accepted a connection.
    Accepted(SocketAddr, SocketAddr),
    /// An accept has failed with this OS error, as
    /// [`Network::fail_accepts`](crate::Network::fail_accepts) asked for.
    AcceptFailed(SocketAddr, i32),
    /// An end has written so many bytes.
    Sent(SocketAddr, SocketAddr, usize),
    /// An end has read so many bytes.
    Received(SocketAddr, SocketAddr, usize),
    /// An end has closed its sending half.
    Closed(SocketAddr, SocketAddr),
    /// An end has reset its connection, or lost it to [`Network::reset`](crate::Network::reset).
    Reset(SocketAddr, SocketAddr),
    /// A connection has become a [black hole](crate::Network::black_hole).
    BlackHoled(SocketAddr, SocketAddr),
    /// Two hosts were [partitioned](crate::Network::partition).
    Partitioned(Arc<str>, Arc<str>),
    /// The partition of two hosts was [healed](crate::Network::heal).
    Healed(Arc<str>, Arc<str>),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>14.6} {}", self.at.as_secs_f64(), self.kind)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening(at) => write!(f, "{at} listens"),
            Self::Unbound(at) => write!(f, "{at} stops listening"),
            Self::Connecting(from, to) => write!(f, "{from} connects to {to}"),
            Self::Refused(from, to) => write!(f, "{from} refuses {to}"),
            Self::BacklogFull(from, to) => write!(f, "{from} has a full backlog for {to}"),
            Self::Connected(from, to) => write!(f, "{from} is connected to {to}"),
            Self::Accepted(from, to) => write!(f, "{from} accepts {to}"),
            Self::AcceptFailed(at, code) => write!(f, "{at} fails to accept: OS error {code}"),
            Self::Sent(from, to, bytes) => write!(f, "{from} sends {bytes} bytes to {to}"),
            Self::Received(at, from, bytes) => write!(f, "{at} reads {bytes} bytes from {from}"),
            Self::Closed(from, to) => write!(f, "{from} closes its half to {to}"),
            Self::Reset(from, to) => write!(f, "{from} resets its connection to {to}"),
            Self::BlackHoled(from, to) => write!(f, "{from} and {to} are a black hole"),
            Self::Partitioned(a, b) => write!(f, "{a} and {b} are partitioned"),
            Self::Healed(a, b) => write!(f, "{a} and {b} are healed"),
        }
    }
}

#[derive(Default)]
pub(super) struct Log(VecDeque<Event>);

impl Log {
    pub(super) fn push(&mut self, at: Duration, kind: EventKind) {
        if self.0.len() == MAX_EVENTS {
            self.0.pop_front();
        }
        self.0.push_back(Event { at, kind });
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.0.iter().cloned().collect()
    }
}
