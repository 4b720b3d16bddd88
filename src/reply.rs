//! The one way to answer a call.

use std::{cell::RefCell, fmt, panic::Location, sync::Arc};

use futures_channel::oneshot;
use serde::Serialize;

use crate::{
    Endpoint, Term,
    outbox::{Outbox, Sort, Untaken},
    task::TURN,
    universe,
    wire::{
        codec::{Codec, PacketError, UNLIMITED},
        etf::Element,
        packet::Kind,
    },
};

/// The right, and the duty, to answer one call.
///
/// Handed to [`handle_call`](crate::Server::handle_call). It may be answered there, or kept, sent
/// to another task or thread, and answered later. Dropped unanswered, it fails the call at once.
/// What erps calls `from`.
#[must_use = "dropping it fails the call"]
pub struct ReplyTo<R> {
    caller: Option<Caller<R>>,
    _entry: universe::integration::Entry,
}

enum Caller<R> {
    Local(oneshot::Sender<Result<R, Refused>>, oneshot::Sender<()>),
    Remote(RemoteCaller),
}

/// A call that came over the wire. Dropped, it fails: also if a `Serialize` panics in between.
pub(crate) struct RemoteCaller {
    outbox: Arc<Outbox>,
    answered: bool,
    /// The term the caller knows its call by, kept as it came.
    reference: Reference,
}

/// Who talks to whom over a connection, for those who read of a call that nobody has answered.
pub(crate) struct Ends {
    pub(crate) peer: Endpoint,
    pub(crate) server: &'static str,
    /// Where the server was made, or its daemon.
    pub(crate) made: &'static Location<'static>,
}

/// What a call asks for, as Elixir prints it, with a space before it; nothing if that is long.
struct Request<'a>(&'a Element<'a>);

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONG: usize = 100;
        if self.0.as_bytes().len() > LONG {
            return Ok(());
        }
        match self.0.decode::<Term>() {
            Ok(request) => write!(f, " {request}"),
            Err(_) => Ok(()),
        }
    }
}

/// The message that a local caller gets instead of a reply.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

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

impl<R> ReplyTo<R> {
    /// Made for a caller at this line.
    pub(crate) fn local(
        sender: oneshot::Sender<Result<R, Refused>>,
        unanswered: oneshot::Sender<()>,
        at: &'static Location<'static>,
    ) -> Self {
        Self {
            caller: Some(Caller::Local(sender, unanswered)),
            _entry: universe::integration::enlist(format_args!("an unanswered call"), at),
        }
    }

    /// For a caller at the other end of a connection, who asks for this.
    pub(crate) fn remote(caller: RemoteCaller, request: &Element<'_>, ends: &Ends) -> Self {
        let Ends { peer, server, made } = ends;
        let request = Request(request);
        let what = format_args!("an unanswered call{request} of {peer} to `{server}`");
        Self {
            caller: Some(Caller::Remote(caller)),
            _entry: universe::integration::enlist(what, made),
        }
    }

    /// Tells whether the caller is at the other end of the connection. erps' `is_remote/1`.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self.caller, Some(Caller::Remote(_)))
    }

    /// Returns true if it is known that no caller waits for the reply any more.
    ///
    /// - A caller in this process: its future was dropped, or its call has timed out.
    /// - A remote caller: the connection is closed.
    ///
    /// The protocol of erps 0.7 has no packet for a call that was abandoned: that a remote caller has timed out, or
    /// has dropped its future, is not known here.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        match &self.caller {
            Some(Caller::Local(sender, _)) => sender.is_canceled(),
            Some(Caller::Remote(caller)) => caller.outbox.is_closed(),
            None => true,
        }
    }

    /// Waits until [`is_cancelled`](Self::is_cancelled) returns true.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn cancelled(&mut self) {
        match &mut self.caller {
            Some(Caller::Local(sender, _)) => sender.cancellation().await,
            Some(Caller::Remote(caller)) => caller.outbox.until_closed().await,
            None => {}
        }
    }

    /// Fails the call with a message, which the caller sees as
    /// [`CallError::Remote`](crate::CallError::Remote) or, in this process, as
    /// [`ServerError::Refused`](crate::ServerError::Refused).
    pub fn refuse(mut self, message: impl Into<String>) {
        let message = message.into();
        match self.caller.take() {
            Some(Caller::Local(sender, _)) => drop(sender.send(Err(Refused(message)))),
            Some(Caller::Remote(caller)) => caller.refuse(&message),
            None => {}
        }
    }
}

impl<R: Serialize + Send + 'static> ReplyTo<R> {
    /// Answers the call. If no caller waits for it any more, the reply is dropped: use [`try_reply`](Self::try_reply)
    /// for a reply that must not be lost, such as a job taken from a queue.
    ///
    /// A remote caller's reply is sent when the handler that called this next awaits, or within a millisecond of its
    /// return. A reply that cannot be encoded as an Erlang term, or is over the limit of a packet, fails the call with
    /// a message that says so; so does one that finds the send queue full because the peer does not read
    /// ([`max_unsent`](crate::ServerOptions::max_unsent)).
    ///
    /// A reply of more than 64 KiB is encoded, and compressed, off the executor's threads when everything that
    /// was sent before it has left. Its `Serialize` is run from the start there, after it was stopped here.
    pub fn reply(self, reply: R) {
        let _ = self.try_reply(reply);
    }

    /// Answers the call as [`reply`](Self::reply) does, unless it is known that no caller waits for the reply.
    ///
    /// `Ok` means that the reply was handed to the caller's future in this process, or to the connection. It may
    /// still be lost with the connection, and a remote caller may have timed out.
    ///
    /// # Errors
    ///
    /// The reply, if [`is_cancelled`](Self::is_cancelled).
    pub fn try_reply(mut self, reply: R) -> Result<(), R> {
        match self.caller.take() {
            Some(Caller::Local(sender, _)) => match sender.send(Ok(reply)) {
                Err(Ok(reply)) => Err(reply),
                _ => Ok(()),
            },
            Some(Caller::Remote(caller)) => caller.reply(reply),
            None => Err(reply),
        }
    }
}

impl<R> Drop for ReplyTo<R> {
    fn drop(&mut self) {
        match self.caller.take() {
            Some(Caller::Local(_, unanswered)) => drop_later(Unanswered::Local(unanswered)),
            Some(Caller::Remote(caller)) => drop_later(Unanswered::Remote(caller)),
            None => {}
        }
    }
}

/// The caller of a call whose `ReplyTo` was dropped. Dropping this fails the call.
///
/// A callback that fails drops its `ReplyTo` before it returns the error. The call fails once it is known whether the
/// server has failed or has only dropped the call.
pub(crate) enum Unanswered {
    Local(#[expect(dead_code, reason = "dropping it wakes the caller")] oneshot::Sender<()>),
    Remote(#[expect(dead_code, reason = "dropping it sends an error packet")] RemoteCaller),
}

thread_local! {
    /// The callers whose `ReplyTo` was dropped by the callback that runs on this thread.
    static DROPPED: RefCell<Option<Vec<Unanswered>>> = const { RefCell::new(None) };
}

fn drop_later(unanswered: Unanswered) {
    let mut unanswered = Some(unanswered);
    // Outside of callbacks, and in a thread that ends, it is dropped now.
    let _ = DROPPED.try_with(|dropped| {
        if let Some(dropped) = &mut *dropped.borrow_mut() {
            dropped.extend(unanswered.take());
        }
    });
}

/// Runs part of a callback, and returns the callers whose `ReplyTo` it dropped.
pub(crate) fn withhold<T>(callback: impl FnOnce() -> T) -> (T, Vec<Unanswered>) {
    let outer = DROPPED.replace(Some(Vec::new()));
    let result = callback();
    let dropped = DROPPED.replace(outer).unwrap_or_default();
    (result, dropped)
}

impl<R> fmt::Debug for ReplyTo<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyTo")
            .field("is_remote", &self.is_remote())
            .finish()
    }
}

impl RemoteCaller {
    pub(crate) fn new(outbox: Arc<Outbox>, reference: &[u8]) -> Self {
        outbox.call_began();
        Self {
            outbox,
            answered: false,
            reference: Reference::new(reference),
        }
    }

    /// Returns the reply if the connection is closed.
    fn reply<R: Serialize + Send + 'static>(mut self, reply: R) -> Result<(), R> {
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
