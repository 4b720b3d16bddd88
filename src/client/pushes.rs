//! The stream of what the server sends unasked.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_lite::Stream;

use super::{Client, handler::ClientEvent};
use crate::{Protocol, mailbox::Receiver};

/// What a server sends unasked, in order. Made by [`Client::pushes`].
///
/// Ends when the client does. While it is full and nobody takes anything from it, nothing is read
/// from the connection.
pub struct Pushes<P: Protocol> {
    pub(super) events: Receiver<ClientEvent<P>>,
    pub(super) _client: Client<P>,
}

impl<P: Protocol> Pushes<P> {
    /// The next push; `None` when the client has ended, or another stream took over.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is lost.
    pub async fn next(&mut self) -> Option<P::Push> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<P: Protocol> Stream for Pushes<P> {
    type Item = P::Push;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<P::Push>> {
        loop {
            match std::task::ready!(self.events.poll_recv(cx)) {
                Some(ClientEvent::Push(push)) => return Poll::Ready(Some(push)),
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
