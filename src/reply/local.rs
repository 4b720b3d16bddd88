//! A caller in this process.

use futures_channel::oneshot;

use super::any::AnyReply;
use crate::Message;

/// The message that a local caller gets instead of a reply.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

/// The sending end towards a local caller.
pub(super) enum LocalCaller<R> {
    /// The caller waits for this type.
    Same(oneshot::Sender<Result<R, Refused>>),
    /// The caller waits for a reply of any type.
    Any(
        oneshot::Sender<Result<AnyReply, Refused>>,
        fn(R) -> AnyReply,
    ),
}

impl<R> LocalCaller<R> {
    pub(super) fn new(sender: oneshot::Sender<Result<R, Refused>>) -> Self {
        Self::Same(sender)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        match self {
            Self::Same(sender) => sender.is_canceled(),
            Self::Any(sender, _) => sender.is_canceled(),
        }
    }

    pub(super) async fn cancelled(&mut self) {
        match self {
            Self::Same(sender) => sender.cancellation().await,
            Self::Any(sender, _) => sender.cancellation().await,
        }
    }

    pub(super) fn refuse(self, message: String) {
        // If the caller no longer waits, the message is dropped.
        match self {
            Self::Same(sender) => drop(sender.send(Err(Refused(message)))),
            Self::Any(sender, _) => drop(sender.send(Err(Refused(message)))),
        }
    }
}

impl<R: 'static> LocalCaller<R> {
    /// Returns the reply if the caller no longer waits.
    pub(super) fn reply(self, reply: R) -> Result<(), R> {
        match self {
            Self::Same(sender) => match sender.send(Ok(reply)) {
                Err(Ok(reply)) => Err(reply),
                _ => Ok(()),
            },
            Self::Any(sender, wrap) => match sender.send(Ok(wrap(reply))) {
                Err(Ok(reply)) => reply.into_value().map_or(Ok(()), Err),
                _ => Ok(()),
            },
        }
    }
}

impl LocalCaller<AnyReply> {
    pub(super) fn typed<T: Message>(self) -> LocalCaller<T> {
        match self {
            Self::Same(sender) => LocalCaller::Any(sender, AnyReply::new),
            // It was typed as `AnyReply` before.
            Self::Any(sender, _) => LocalCaller::Any(sender, AnyReply::new),
        }
    }
}
