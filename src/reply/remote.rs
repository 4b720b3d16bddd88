//! A caller at the other end of a connection.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    Term,
    send_queue::{EnqueueError, PacketClass, SendQueue},
    task::BUDGET,
    wire::{
        codec::{Codec, PacketError, UNLIMITED},
        packet::Kind,
    },
};

/// The caller of a call received from the peer. Dropping it fails the call, also when a `Serialize` panics.
pub(crate) struct RemoteCaller {
    send_queue: Arc<SendQueue>,
    answered: bool,
    /// The caller's reference of the call, as an encoded term.
    reference: Reference,
}

/// The error packet of a call whose `ReplyTo` was dropped holds this atom: `:unanswered`.
pub(crate) const UNANSWERED: &str = "unanswered";

/// The error packet of a call whose server has failed holds this atom, alone or with a message: `:failed` or
/// `{:failed, message}`.
pub(crate) const FAILED: &str = "failed";

/// The longest message of an error packet that is sent even if the send queue is full.
pub(crate) const SHORT_MESSAGE: usize = 256;

/// The error message for a caller whose reply was rejected by the send queue.
const QUEUE_FULL: &str =
    "the server's reply could not be sent: the send queue is full because the client does not read";

impl RemoteCaller {
    pub(crate) fn new(send_queue: Arc<SendQueue>, reference: &[u8]) -> Self {
        send_queue.call_began();
        Self {
            send_queue,
            answered: false,
            reference: Reference::new(reference),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.send_queue.is_closed()
    }

    pub(super) async fn closed(&self) {
        self.send_queue.until_closed().await;
    }

    /// Returns the reply if the connection is closed.
    pub(super) fn reply<R: Serialize + Send + 'static>(mut self, reply: R) -> Result<(), R> {
        match self.send(Kind::Reply, PacketClass::Reply, &reply, BUDGET) {
            Ok(Sent::Finished) => {}
            Ok(Sent::Closed) => return Err(reply),
            Ok(Sent::TooLarge) if self.send_queue.is_closed() => return Err(reply),
            Ok(Sent::TooLarge) => self.reply_later(reply),
            Err(error) => self.refuse(&unsendable(&error)),
        }
        Ok(())
    }

    /// Queues a reply that is too large to be encoded here.
    fn reply_later<R: Serialize + Send + 'static>(mut self, reply: R) {
        let send_queue = Arc::clone(&self.send_queue);
        if !send_queue.accepts_reply(BUDGET) {
            return self.fail_full();
        }
        // If the connection was closed meanwhile, the reply is lost with it.
        let _ = send_queue.append_unencoded(Box::new(move || self.encode(&reply)));
    }

    /// Encodes the reply, or an error packet if the reply cannot be encoded.
    fn encode(mut self, reply: &impl Serialize) -> Option<Vec<u8>> {
        let codec = self.send_queue.codec();
        let reference = self.reference.as_bytes();
        let mut packet = Vec::new();
        if let Err(error) = codec.answer(&mut packet, Kind::Reply, reply, reference, UNLIMITED) {
            let message = unsendable(&error);
            codec
                .answer(&mut packet, Kind::Error, &message, reference, UNLIMITED)
                .ok()?;
        }
        self.answered = true;
        Some(packet)
    }

    pub(crate) fn refuse(mut self, message: &str) {
        self.fail(error_class(message), &message);
    }

    fn fail(&mut self, class: PacketClass, reason: &impl Serialize) {
        if let Err(error) = self.send(Kind::Error, class, reason, UNLIMITED) {
            tracing::warn!(target: "erps", %error, "an error packet could not be sent");
        }
    }

    /// Fails the call because the send queue is full.
    fn fail_full(&mut self) {
        self.send_queue.log_full();
        self.fail(PacketClass::Error, &QUEUE_FULL);
    }

    /// Sends the answer if it can be encoded within this many bytes.
    fn send(
        &mut self,
        kind: Kind,
        class: PacketClass,
        answer: &impl Serialize,
        within: usize,
    ) -> Result<Sent, PacketError> {
        let reference = self.reference.as_bytes();
        let encode =
            |codec: &Codec, out: &mut Vec<u8>| codec.answer(out, kind, answer, reference, within);
        match self.send_queue.send(class, encode)? {
            Ok(true) => {}
            Ok(false) => return Ok(Sent::TooLarge),
            Err(EnqueueError::Full) => self.fail_full(),
            Err(EnqueueError::Closed) => {
                self.answered = true;
                return Ok(Sent::Closed);
            }
        }
        self.answered = true;
        Ok(Sent::Finished)
    }

    /// Fails the call because no answer was given: the server has failed, or has dropped the call.
    fn fail_unanswered(&mut self) {
        let failed = Term::atom(FAILED);
        let (class, reason) = match self.send_queue.failure() {
            None => (PacketClass::Error, Term::atom(UNANSWERED)),
            Some(None) => (PacketClass::Error, failed),
            Some(Some(message)) => {
                let class = error_class(message);
                (class, Term::tuple([failed, Term::from(message)]))
            }
        };
        self.fail(class, &reason);
    }
}

/// The outcome of sending an answer.
enum Sent {
    /// The call has its answer: this one, or an error because the send queue is full.
    Finished,
    /// The answer is over the limit of bytes. Nothing was sent.
    TooLarge,
    /// The connection is closed.
    Closed,
}

/// Returns the class of an error packet: a long message counts against the limit of the send queue.
fn error_class(message: &str) -> PacketClass {
    if message.len() > SHORT_MESSAGE {
        PacketClass::Reply
    } else {
        PacketClass::Error
    }
}

/// Returns the error message for a caller whose reply cannot be encoded, and logs it.
fn unsendable(error: &PacketError) -> String {
    tracing::warn!(target: "erps", %error, "a reply could not be sent");
    format!("the server's reply could not be sent: {error}")
}

impl Drop for RemoteCaller {
    fn drop(&mut self) {
        if !self.answered {
            self.fail_unanswered();
        }
        self.send_queue.call_ended();
    }
}

/// The bytes of a reference. Those of nearly all callers fit without an allocation.
enum Reference {
    Short([u8; Self::SHORT], u8),
    Long(Box<[u8]>),
}

impl Reference {
    const SHORT: usize = 14;

    fn new(bytes: &[u8]) -> Self {
        if bytes.len() > Self::SHORT {
            return Self::Long(bytes.into());
        }
        let mut short = [0; Self::SHORT];
        short[..bytes.len()].copy_from_slice(bytes);
        Self::Short(short, bytes.len() as u8)
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(bytes, len) => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}
