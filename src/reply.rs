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
    Local(oneshot::Sender<Result<R, Refused>>, Unanswered),
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

/// How a call that was dropped is named on the wire: the atom `:unanswered`.
pub(crate) const UNANSWERED: &str = "unanswered";

/// The longest message of an error that is sent whatever waits.
pub(crate) const SHORT_MESSAGE: usize = 256;

/// What a caller is told whose reply had no room.
const NO_ROOM: &str =
    "the server's reply could not be sent: too much of what was sent before has not been read";

impl<R> ReplyTo<R> {
    /// Made for a caller at this line.
    pub(crate) fn local(
        sender: oneshot::Sender<Result<R, Refused>>,
        unanswered: Unanswered,
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
    /// Answers the call.
    ///
    /// The reply is on its way when the handler that called this next awaits, or within a
    /// millisecond of its return; nothing is lost if the caller has given up meanwhile. A reply that cannot be written, because it
    /// has no form as an Erlang term or is over the limit of a packet, fails the call with a
    /// message that says so; and so does one for which there is no room, because the caller's end
    /// does not read ([`max_unsent`](crate::ServerOptions::max_unsent)).
    ///
    /// A reply of more than 64 KiB is encoded, and compressed, off the executor's threads when everything that
    /// was sent before it has left. Its `Serialize` is run from the start there, after it was stopped here.
    pub fn reply(mut self, reply: R) {
        match self.caller.take() {
            Some(Caller::Local(sender, _)) => drop(sender.send(Ok(reply))),
            Some(Caller::Remote(caller)) => caller.reply(reply),
            None => {}
        }
    }
}

impl<R> Drop for ReplyTo<R> {
    fn drop(&mut self) {
        match self.caller.take() {
            Some(Caller::Local(_, unanswered)) => later(unanswered),
            Some(Caller::Remote(caller)) => drop(caller),
            None => {}
        }
    }
}

/// Dropped when it is certain that a local call gets no reply, and what that means.
///
/// A reply that is dropped in the middle of a callback may be the first that is seen of the
/// server's end. Its caller waits until it is known whether that is so, to hear of the end then,
/// and not of a reply that is missing.
pub(crate) type Unanswered = oneshot::Sender<()>;

thread_local! {
    /// Where the callback that runs on this thread leaves the replies it dropped.
    static DROPPED: RefCell<Option<Vec<Unanswered>>> = const { RefCell::new(None) };
}

fn later(unanswered: Unanswered) {
    // Outside of callbacks, and in a thread that ends, it is dropped here and now.
    let _ = DROPPED.try_with(|dropped| {
        if let Some(dropped) = &mut *dropped.borrow_mut() {
            dropped.push(unanswered);
        }
    });
}

/// Runs part of a callback, and keeps what it left of the replies it dropped.
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

    fn reply<R: Serialize + Send + 'static>(mut self, reply: R) {
        match self.send(Kind::Reply, Sort::Reply, &reply, TURN) {
            Ok(true) => {}
            Ok(false) => self.reply_later(reply),
            Err(error) => self.refuse(&unsendable(&error)),
        }
    }

    /// Queues a reply that is too large to be encoded here.
    fn reply_later<R: Serialize + Send + 'static>(mut self, reply: R) {
        let outbox = Arc::clone(&self.outbox);
        if !outbox.has_room_for_reply(TURN) {
            return self.fail_without_room();
        }
        // Nobody is told if the connection is closed: its peer is gone.
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
        // What it says is the server's, and may be long.
        let sort = if message.len() > SHORT_MESSAGE {
            Sort::Reply
        } else {
            Sort::Error
        };
        self.fail(sort, &message);
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

    /// Returns whether the answer could be encoded within so many bytes.
    fn send(
        &mut self,
        kind: Kind,
        sort: Sort,
        answer: &impl Serialize,
        within: usize,
    ) -> Result<bool, PacketError> {
        let reference = self.reference.as_bytes();
        let encode =
            |codec: &Codec, out: &mut Vec<u8>| codec.answer(out, kind, answer, reference, within);
        match self.outbox.send(sort, encode)? {
            Ok(encoded) => {
                self.answered = encoded;
                return Ok(encoded);
            }
            Err(Untaken::Full) => self.fail_without_room(),
            // If the connection is gone, so is the caller.
            Err(Untaken::Closed) => self.answered = true,
        }
        Ok(true)
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
            self.fail(Sort::Error, &Term::atom(UNANSWERED));
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
