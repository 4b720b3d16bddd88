//! The state of one listening port.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use event_listener::Event;

/// EventKind the network knows of a listener.
pub(super) struct Backlog {
    pub(super) host: usize,
    pub(super) address: SocketAddr,
    pub(super) backlog: usize,
    /// The places in the backlog of those who have been told that they are welcome.
    pub(super) expected: usize,
    pub(super) waiting: VecDeque<u64>,
    pub(super) event: Arc<Event>,
}
