//! What happened on a network, for those who compare or print it.

use std::{collections::VecDeque, fmt, net::SocketAddr, sync::Arc, time::Duration};

/// How many events a network remembers: the last ones.
pub const MAX_EVENTS: usize = 10_000;

/// Something that happened on a [`Network`](crate::Network), and when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// How long the universe had lasted.
    pub at: Duration,
    /// What happened.
    pub what: What,
}

/// What happened. Of two addresses, the first is of the end that did it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A port is listened on.
    Listening(SocketAddr),
    /// A port is not listened on any more.
    Unbound(SocketAddr),
    /// Somebody asks for a connection.
    Dialled(SocketAddr, SocketAddr),
    /// It was refused.
    Refused(SocketAddr, SocketAddr),
    /// The backlog of the listener is full, so it got no answer.
    Unanswered(SocketAddr, SocketAddr),
    /// The dialling end has its connection.
    Connected(SocketAddr, SocketAddr),
    /// The listening end has it too.
    Accepted(SocketAddr, SocketAddr),
    /// An accept failed on demand, with this code of the system.
    AcceptFailed(SocketAddr, i32),
    /// So many bytes were written.
    Sent(SocketAddr, SocketAddr, usize),
    /// So many bytes were read.
    Received(SocketAddr, SocketAddr, usize),
    /// An end will send nothing more.
    Closed(SocketAddr, SocketAddr),
    /// An end reset its connection, or lost it to [`Network::reset`](crate::Network::reset).
    Reset(SocketAddr, SocketAddr),
    /// From now on, nothing of a connection arrives.
    Lost(SocketAddr, SocketAddr),
    /// Two hosts were parted.
    Parted(Arc<str>, Arc<str>),
    /// Two hosts were brought together again.
    Healed(Arc<str>, Arc<str>),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>14.6} {}", self.at.as_secs_f64(), self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening(at) => write!(f, "{at} listens"),
            Self::Unbound(at) => write!(f, "{at} listens no more"),
            Self::Dialled(from, to) => write!(f, "{from} dials {to}"),
            Self::Refused(from, to) => write!(f, "{from} refuses {to}"),
            Self::Unanswered(from, to) => write!(f, "{from} has no room for {to}"),
            Self::Connected(from, to) => write!(f, "{from} is connected to {to}"),
            Self::Accepted(from, to) => write!(f, "{from} accepts {to}"),
            Self::AcceptFailed(at, code) => write!(f, "{at} fails to accept: error {code}"),
            Self::Sent(from, to, bytes) => write!(f, "{from} sends {to} {bytes} bytes"),
            Self::Received(at, from, bytes) => write!(f, "{at} has {bytes} bytes from {from}"),
            Self::Closed(from, to) => write!(f, "{from} closes to {to}"),
            Self::Reset(from, to) => write!(f, "{from} resets {to}"),
            Self::Lost(from, to) => write!(f, "{from} and {to} have lost each other"),
            Self::Parted(a, b) => write!(f, "{a} and {b} are parted"),
            Self::Healed(a, b) => write!(f, "{a} and {b} are healed"),
        }
    }
}

#[derive(Default)]
pub(super) struct Log(VecDeque<Event>);

impl Log {
    pub(super) fn push(&mut self, at: Duration, what: What) {
        if self.0.len() == MAX_EVENTS {
            self.0.pop_front();
        }
        self.0.push_back(Event { at, what });
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.0.iter().cloned().collect()
    }
}
