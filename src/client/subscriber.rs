//! The receiver of a client's pushes and connection events: a stream or a handler.

use super::{Disconnect, message::Decoded};
use crate::{PeerInfo, mailbox::Sender};

/// An event of a client's connection.
pub(super) enum ClientEvent {
    Connected(PeerInfo),
    Push(Decoded),
    /// An error of the server that belongs to no call.
    Error(String),
    Disconnected(Disconnect),
}

/// The sending end towards the one receiver that a client has at a time.
pub(super) enum Subscriber {
    Stream(Sender<ClientEvent>),
    Handler(Sender<ClientEvent>),
}

impl Subscriber {
    pub(super) fn sender(&self) -> &Sender<ClientEvent> {
        match self {
            Self::Stream(sender) | Self::Handler(sender) => sender,
        }
    }
}
