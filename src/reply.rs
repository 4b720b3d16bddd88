//! Replies to calls.

mod any;
mod into;
mod local;
mod remote;
mod unanswered;

use std::{fmt, panic::Location};

use futures_channel::oneshot;
use serde::Serialize;

use crate::{Endpoint, Message, Term, universe, wire::etf::Element};
use local::LocalCaller;
use unanswered::drop_later;

pub use any::AnyReply;
pub use into::IntoReply;
pub(crate) use local::Refused;
pub(crate) use remote::{FAILED, RemoteCaller, SHORT_MESSAGE, UNANSWERED};
pub(crate) use unanswered::{Unanswered, withhold};

/// The caller of one call, to be answered once.
///
/// Passed to [`handle_call`](crate::Server::handle_call). The call can be answered there, or later from any task or
/// thread. Dropping it unanswered fails the call at once. OTP's and erps' `from`.
#[must_use = "dropping it fails the call"]
pub struct ReplyTo<R> {
    caller: Option<Caller<R>>,
    /// `None` once the caller has moved to another `ReplyTo`.
    entry: Option<universe::integration::Entry>,
}

enum Caller<R> {
    Local(LocalCaller<R>, oneshot::Sender<()>),
    Remote(RemoteCaller),
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

impl<R> ReplyTo<R> {
    /// Creates it for a caller in this process, at this line.
    pub(crate) fn local(
        sender: oneshot::Sender<Result<R, Refused>>,
        unanswered: oneshot::Sender<()>,
        at: &'static Location<'static>,
    ) -> Self {
        Self {
            caller: Some(Caller::Local(LocalCaller::new(sender), unanswered)),
            entry: Some(universe::integration::enlist(
                format_args!("an unanswered call"),
                at,
            )),
        }
    }

    /// Creates it for a caller at the other end of the connection.
    pub(crate) fn remote(caller: RemoteCaller, request: &Element<'_>, ends: &Ends) -> Self {
        let Ends { peer, server, made } = ends;
        let request = Request(request);
        let what = format_args!("an unanswered call{request} of {peer} to `{server}`");
        Self {
            caller: Some(Caller::Remote(caller)),
            entry: Some(universe::integration::enlist(what, made)),
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
            Some(Caller::Local(caller, _)) => caller.is_cancelled(),
            Some(Caller::Remote(caller)) => caller.is_closed(),
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
            Some(Caller::Local(caller, _)) => caller.cancelled().await,
            Some(Caller::Remote(caller)) => caller.closed().await,
            None => {}
        }
    }

    /// Fails the call with a message, which the caller sees as
    /// [`CallError::Remote`](crate::CallError::Remote) or, in this process, as
    /// [`ServerError::Refused`](crate::ServerError::Refused).
    pub fn refuse(mut self, message: impl Into<String>) {
        let message = message.into();
        match self.caller.take() {
            Some(Caller::Local(caller, _)) => caller.refuse(message),
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
    /// still be lost with the connection, and a remote caller may have timed out. A server that gives something away, such
    /// as a job, therefore remembers to whom, gives the same again when that peer asks again, and takes it back when the
    /// connection ends ([`monitor`](crate::ServerRef::monitor)).
    ///
    /// # Errors
    ///
    /// The reply, if [`is_cancelled`](Self::is_cancelled).
    pub fn try_reply(mut self, reply: R) -> Result<(), R> {
        match self.caller.take() {
            Some(Caller::Local(caller, _)) => caller.reply(reply),
            Some(Caller::Remote(caller)) => caller.reply(reply),
            None => Err(reply),
        }
    }
}

impl ReplyTo<AnyReply> {
    /// Sets the type of the reply. For a server whose calls have different reply types.
    ///
    /// The type must be the one that the caller waits for: another one fails its call.
    ///
    /// # Example
    ///
    /// ```
    /// use erps::{AnyReply, BoxError, ReplyTo};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// enum Call {
    ///     Total,
    ///     Name,
    /// }
    ///
    /// fn answer(call: Call, from: ReplyTo<AnyReply>) {
    ///     match call {
    ///         Call::Total => from.typed::<u64>().reply(7),
    ///         Call::Name => from.typed::<String>().reply("seven".into()),
    ///     }
    /// }
    /// ```
    pub fn typed<T: Message>(mut self) -> ReplyTo<T> {
        let caller = self.caller.take().map(|caller| match caller {
            Caller::Local(caller, unanswered) => Caller::Local(caller.typed(), unanswered),
            Caller::Remote(caller) => Caller::Remote(caller),
        });
        ReplyTo {
            caller,
            entry: self.entry.take(),
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

impl<R> fmt::Debug for ReplyTo<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyTo")
            .field("is_remote", &self.is_remote())
            .finish()
    }
}
