//! The state of one listening port.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use event_listener::Event;

/// The state of a listener.
pub(super) struct Backlog {
    pub(super) host: usize,
    pub(super) address: SocketAddr,
    pub(super) backlog: usize,
    /// How many slots are reserved for pending connects.
    pub(super) reserved: usize,
    pub(super) waiting: VecDeque<u64>,
    pub(super) event: Arc<Event>,
}
