//! Pushes to the peer of a server's connection.

use serde::Serialize;

use super::{Context, Server, ServerRef};
use crate::{
    Protocol,
    send_queue::{EnqueueError, PacketClass, SendQueue},
    task::{self, BUDGET},
    wire::{
        codec::{PacketError, UNLIMITED},
        packet::Kind,
    },
};

impl<S: Server> ServerRef<S> {
    /// Sends the peer of the server's connection a push.
    ///
    /// Waits while the send queue is full because the peer does not read. To push to many peers, use a
    /// [`Group`](crate::Group) or [`try_push`](Self::try_push), so that the slowest does not delay the others.
    ///
    /// A push of more than 64 KiB is encoded, and compressed, off the executor's threads.
    ///
    /// # Errors
    ///
    /// As [`Context::push`](crate::Context::push).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is sent.
    pub async fn push(&self, mut push: <S::Protocol as Protocol>::Push) -> Result<(), PushError> {
        let send_queue = self.send_queue().ok_or(PushError::Disconnected)?;
        // Borrowed mutably, because a push need not be `Sync`.
        let borrowed = &mut push;
        let send = || {
            let push = &mut *borrowed;
            send_push(send_queue, push, BUDGET)
        };
        if when_below_limit(send_queue, send).await? {
            return Ok(());
        }
        let codec = send_queue.codec().clone();
        let encode = move || {
            let mut packet = Vec::new();
            let encoded = codec.term(&mut packet, Kind::Push, &push, UNLIMITED);
            encoded.map(|_| packet)
        };
        let encoded = task::offload(encode).await;
        let encoded = encoded.unwrap_or_else(|panic| panic.resume());
        let mut packet = encoded.map_err(unsendable)?;
        when_below_limit(send_queue, || {
            send_queue
                .append(PacketClass::Push, &mut packet)
                .map_err(push_error)
        })
        .await
    }

    /// As [`push`](Self::push), without waiting. The push is encoded by the caller, whatever its size.
    ///
    /// # Errors
    ///
    /// - [`PushError::Full`]: the send queue is above
    ///   [`max_outgoing`](crate::ServerOptions::max_outgoing) because the peer does not read. Nothing was
    ///   sent; consider to [`disconnect`](Self::disconnect) the peer.
    /// - otherwise as [`push`](Self::push).
    pub fn try_push(&self, push: &<S::Protocol as Protocol>::Push) -> Result<(), PushError> {
        let send_queue = self.send_queue().ok_or(PushError::Disconnected)?;
        if !send_queue.is_below_limit() {
            return Err(PushError::Full);
        }
        send_push(send_queue, push, UNLIMITED).map(|_| ())
    }
}

impl<S: Server> Context<S> {
    /// Sends the peer a push.
    ///
    /// Waits while the send queue is above [`max_outgoing`](crate::ServerOptions::max_outgoing) because the
    /// peer does not read. When it returns, the peer may not have received the push yet.
    ///
    /// # Errors
    ///
    /// - [`PushError::Disconnected`]: there is no connection, or it is closed.
    /// - [`PushError::Unsendable`]: the value cannot be encoded as a packet. Nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is sent.
    pub async fn push(&self, push: <S::Protocol as Protocol>::Push) -> Result<(), PushError> {
        self.this().push(push).await
    }
}

/// What sends the pushes of a protocol: a [`Context`] or a [`ServerRef`], to the peer of a server, or a
/// [`Group`](crate::Group), to the peers of its members.
///
/// The trait of pushes that [`erps::protocol`](macro@crate::protocol) writes has a method for each push, and is
/// implemented for every `Pusher` of the protocol.
pub trait Pusher<P: Protocol> {
    /// What is returned for a push that was sent: nothing, or for a group the number of members that it was sent to.
    type Sent;

    /// Sends a push.
    ///
    /// # Errors
    ///
    /// As [`Context::push`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is sent.
    fn push(&self, push: P::Push) -> impl Future<Output = Result<Self::Sent, PushError>> + Send;
}

impl<S: Server> Pusher<S::Protocol> for Context<S> {
    type Sent = ();

    fn push(
        &self,
        push: <S::Protocol as Protocol>::Push,
    ) -> impl Future<Output = Result<(), PushError>> + Send {
        self.push(push)
    }
}

impl<S: Server> Pusher<S::Protocol> for ServerRef<S> {
    type Sent = ();

    fn push(
        &self,
        push: <S::Protocol as Protocol>::Push,
    ) -> impl Future<Output = Result<(), PushError>> + Send {
        self.push(push)
    }
}

/// Sends a push as soon as the send queue is below its limit.
async fn when_below_limit<T>(
    send_queue: &SendQueue,
    mut send: impl FnMut() -> Result<T, PushError>,
) -> Result<T, PushError> {
    loop {
        let Ok(waited) = send_queue.wait_below_limit().await else {
            return Err(PushError::Disconnected);
        };
        let _notify = waited.then(|| NotifyNext(send_queue));
        match send() {
            // Another push may have been faster.
            Err(PushError::Full) => {}
            sent => return sent,
        }
    }
}

/// Returns whether the push could be encoded within this many bytes. If not, nothing was sent.
fn send_push(
    send_queue: &SendQueue,
    push: &impl Serialize,
    within: usize,
) -> Result<bool, PushError> {
    send_queue
        .send(PacketClass::Push, |codec, out| {
            codec.term(out, Kind::Push, push, within)
        })
        .map_err(unsendable)?
        .map_err(push_error)
}

pub(super) fn unsendable(error: PacketError) -> PushError {
    PushError::Unsendable(Box::new(error))
}

pub(super) fn push_error(why: EnqueueError) -> PushError {
    match why {
        EnqueueError::Closed => PushError::Disconnected,
        EnqueueError::Full => PushError::Full,
    }
}

/// Notifies the next waiting push when dropped, even if a user's `Serialize` panics.
struct NotifyNext<'a>(&'a SendQueue);

impl Drop for NotifyNext<'_> {
    fn drop(&mut self) {
        self.0.notify_next();
    }
}

/// Why a push was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The server has no connection, or it is closed.
    #[error("not connected")]
    Disconnected,
    /// The send queue is full. Returned only by [`ServerRef::try_push`].
    #[error("the send queue is full because the peer does not read; see `max_outgoing`")]
    Full,
    /// The value cannot be encoded as a packet: it cannot be represented as a term, or is over the limit.
    #[error("the push cannot be sent: {0}")]
    Unsendable(#[source] Box<PacketError>),
}
