//! The stream of pushes.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_lite::Stream;

use super::{
    Client,
    message::typed,
    subscriber::{ClientEvent, Subscriber},
};
use crate::{
    Protocol,
    mailbox::{Receiver, mailbox},
};

/// The pushes of a server, in order. Returned by [`Client::pushes`].
///
/// The stream ends when the client does. While it is full, the client reads nothing from its connection.
pub struct Pushes<P: Protocol> {
    events: Receiver<ClientEvent>,
    _client: Client<P>,
}

impl<P: Protocol> Client<P> {
    /// Returns the stream of the server's pushes.
    ///
    /// The stream starts empty: earlier pushes are dropped. A client has one stream at a time; a second call ends the
    /// first stream. If the client has a [handler](crate::ClientBuilder::handler), the handler receives the pushes
    /// and the stream ends at once.
    #[must_use]
    pub fn pushes(&self) -> Pushes<P> {
        let (sender, events) = mailbox(self.max_pushes);
        self.shared.subscribe(Subscriber::Stream(sender));
        Pushes {
            events,
            _client: self.clone(),
        }
    }
}

impl<P: Protocol> Pushes<P> {
    /// Waits for the next push; returns `None` when the client has ended or another stream has replaced this one.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, no push is lost.
    pub async fn next(&mut self) -> Option<P::Push> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<P: Protocol> Stream for Pushes<P> {
    type Item = P::Push;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<P::Push>> {
        loop {
            match std::task::ready!(self.events.poll_recv(cx)) {
                Some(ClientEvent::Push(push)) => return Poll::Ready(Some(typed(push))),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<P: Protocol> fmt::Debug for Pushes<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushes")
            .field("waiting", &self.events.len())
            .finish_non_exhaustive()
    }
}
