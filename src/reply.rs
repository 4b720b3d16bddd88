//! Replies to calls.

use std::{cell::RefCell, fmt, panic::Location, sync::Arc};

use futures_channel::oneshot;
use serde::Serialize;

use crate::{
    Endpoint, Term,
    send_queue::{EnqueueError, PacketClass, SendQueue},
    task::BUDGET,
    universe,
    wire::{
        codec::{Codec, PacketError, UNLIMITED},
        etf::Element,
        packet::Kind,
    },
};

/// The caller of one call, to be answered once.
///
/// Passed to [`handle_call`](crate::Server::handle_call). The call can be answered there, or later from any task or
/// thread. Dropping it unanswered fails the call at once. OTP's and erps' `from`.
#[must_use = "dropping it fails the call"]
pub struct ReplyTo<R> {
    caller: Option<Caller<R>>,
    _entry: universe::integration::Entry,
}

enum Caller<R> {
    Local(oneshot::Sender<Result<R, Refused>>, oneshot::Sender<()>),
    Remote(RemoteCaller),
}

/// The caller of a call received from the peer. Dropping it fails the call, also when a `Serialize` panics.
pub(crate) struct RemoteCaller {
    send_queue: Arc<SendQueue>,
    answered: bool,
    /// The caller's reference of the call, as an encoded term.
    reference: Reference,
}

/// The two ends of a connection, for reports of unanswered calls.
pub(crate) struct Ends {
    pub(crate) peer: Endpoint,
    pub(crate) server: &'static str,
    /// The line of the user's code that started the server or its daemon.
    pub(crate) made: &'static Location<'static>,
}

/// Displays the request of a call in Elixir's syntax, after a space. Displays nothing if it is long.
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

/// The longest message of an error packet that is sent even if the send queue is full.
pub(crate) const SHORT_MESSAGE: usize = 256;

/// The error message for a caller whose reply was rejected by the send queue.
const QUEUE_FULL: &str =
    "the server's reply could not be sent: the send queue is full because the client does not read";

impl<R> ReplyTo<R> {
    /// Creates it for a caller in this process, at this line.
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

    /// Creates it for a caller at the other end of the connection.
    pub(crate) fn remote(caller: RemoteCaller, request: &Element<'_>, ends: &Ends) -> Self {
        let Ends { peer, server, made } = ends;
        let request = Request(request);
        let what = format_args!("an unanswered call{request} of {peer} to `{server}`");
        Self {
            caller: Some(Caller::Remote(caller)),
            _entry: universe::integration::enlist(what, made),
        }
    }

    /// Returns whether the caller is at the other end of the connection. erps' `is_remote/1`.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self.caller, Some(Caller::Remote(_)))
    }

    /// Returns true if it is known that no caller waits for the reply any more.
    ///
    /// - A caller in this process: its future was dropped, or its call has timed out.
    /// - A remote caller: the connection is closed.
    ///
    /// The protocol of erps 0.7 has no packet for a cancelled call: it is not known here whether a remote caller has
    /// timed out or has dropped its future.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        match &self.caller {
            Some(Caller::Local(sender, _)) => sender.is_canceled(),
            Some(Caller::Remote(caller)) => caller.send_queue.is_closed(),
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
            Some(Caller::Remote(caller)) => caller.send_queue.until_closed().await,
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
    /// A reply of more than 64 KiB is encoded, and compressed, off the executor's threads when it reaches the front of
    /// the send queue. Its `Serialize` is then run again from the start.
    pub fn reply(self, reply: R) {
        let _ = self.try_reply(reply);
    }

    /// Answers the call as [`reply`](Self::reply) does, and returns the reply if it is known that no caller waits for it.
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
    pub(crate) fn new(send_queue: Arc<SendQueue>, reference: &[u8]) -> Self {
        send_queue.call_began();
        Self {
            send_queue,
            answered: false,
            reference: Reference::new(reference),
        }
    }

    /// Returns the reply if the connection is closed.
    fn reply<R: Serialize + Send + 'static>(mut self, reply: R) -> Result<(), R> {
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
