//! A caller at the other end of a connection.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    Term,
    outbox::{Outbox, Sort, Untaken},
    task::TURN,
    wire::{
        codec::{Codec, PacketError, UNLIMITED},
        packet::Kind,
    },
};

/// A call that came over the wire. Dropped, it fails: also if a `Serialize` panics in between.
pub(crate) struct RemoteCaller {
    outbox: Arc<Outbox>,
    answered: bool,
    /// The term the caller knows its call by, kept as it came.
    reference: Reference,
}
/// The error packet of a call whose `ReplyTo` was dropped holds this atom: `:unanswered`.
pub(crate) const UNANSWERED: &str = "unanswered";

/// The error packet of a call whose server has failed holds this atom, alone or with a message: `:failed` or
/// `{:failed, message}`.
pub(crate) const FAILED: &str = "failed";

/// The longest message of an error that is sent whatever waits.
pub(crate) const SHORT_MESSAGE: usize = 256;

/// What a caller is told whose reply had no room.
const NO_ROOM: &str =
    "the server's reply could not be sent: too much of what was sent before has not been read";
impl RemoteCaller {
    pub(crate) fn new(outbox: Arc<Outbox>, reference: &[u8]) -> Self {
        outbox.call_began();
        Self {
            outbox,
            answered: false,
            reference: Reference::new(reference),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.outbox.is_closed()
    }

    pub(super) async fn closed(&self) {
        self.outbox.until_closed().await;
    }

    /// Returns the reply if the connection is closed.
    pub(super) fn reply<R: Serialize + Send + 'static>(mut self, reply: R) -> Result<(), R> {
        match self.send(Kind::Reply, Sort::Reply, &reply, TURN) {
            Ok(Sent::Finished) => {}
            Ok(Sent::Closed) => return Err(reply),
            Ok(Sent::TooLarge) if self.outbox.is_closed() => return Err(reply),
            Ok(Sent::TooLarge) => self.reply_later(reply),
            Err(error) => self.refuse(&unsendable(&error)),
        }
        Ok(())
    }

    /// Queues a reply that is too large to be encoded here.
    fn reply_later<R: Serialize + Send + 'static>(mut self, reply: R) {
        let outbox = Arc::clone(&self.outbox);
        if !outbox.has_room_for_reply(TURN) {
            return self.fail_without_room();
        }
        // If the connection was closed meanwhile, the reply is lost with it.
        let _ = outbox.append_unencoded(Box::new(move || self.encode(&reply)));
    }

    /// The packet that answers the call with the reply, or else with why there is none.
    fn encode(mut self, reply: &impl Serialize) -> Option<Vec<u8>> {
        let codec = self.outbox.codec();
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
        self.fail(error_sort(message), &message);
    }

    fn fail(&mut self, sort: Sort, reason: &impl Serialize) {
        if let Err(error) = self.send(Kind::Error, sort, reason, UNLIMITED) {
            tracing::warn!(target: "erps", %error, "an error packet could not be sent");
        }
    }

    fn fail_without_room(&mut self) {
        self.outbox.log_full();
        self.fail(Sort::Error, &NO_ROOM);
    }

    /// Sends the answer if it can be encoded within this many bytes.
    fn send(
        &mut self,
        kind: Kind,
        sort: Sort,
        answer: &impl Serialize,
        within: usize,
    ) -> Result<Sent, PacketError> {
        let reference = self.reference.as_bytes();
        let encode =
            |codec: &Codec, out: &mut Vec<u8>| codec.answer(out, kind, answer, reference, within);
        match self.outbox.send(sort, encode)? {
            Ok(true) => {}
            Ok(false) => return Ok(Sent::TooLarge),
            Err(Untaken::Full) => self.fail_without_room(),
            Err(Untaken::Closed) => {
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
        let (sort, reason) = match self.outbox.failure() {
            None => (Sort::Error, Term::atom(UNANSWERED)),
            Some(None) => (Sort::Error, failed),
            Some(Some(message)) => {
                let sort = error_sort(message);
                (sort, Term::tuple([failed, Term::from(message)]))
            }
        };
        self.fail(sort, &reason);
    }
}

/// What became of an answer.
enum Sent {
    /// The call has its answer: this one, or an error because the send queue is full.
    Finished,
    /// It is larger than allowed here. Nothing was sent.
    TooLarge,
    /// The connection is closed.
    Closed,
}

/// Returns how a message of a server counts: long ones need space in the send queue.
fn error_sort(message: &str) -> Sort {
    if message.len() > SHORT_MESSAGE {
        Sort::Reply
    } else {
        Sort::Error
    }
}

/// What a caller is told whose reply is no packet.
fn unsendable(error: &PacketError) -> String {
    tracing::warn!(target: "erps", %error, "a reply could not be sent");
    format!("the server's reply could not be sent: {error}")
}

impl Drop for RemoteCaller {
    fn drop(&mut self) {
        if !self.answered {
            self.fail_unanswered();
        }
        self.outbox.call_ended();
    }
}

/// The bytes of a reference; those of nearly all callers fit without an allocation.
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
