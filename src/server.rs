//! Servers: one task, one state, one message at a time.
//!
//! ```text
//! ServerRef::call, cast, info --> mailbox --+
//!                                           +--> handler --> ReplyTo --> caller
//! socket --> link --> call, cast -----------+                   |
//!   ^                                                           |
//!   +---------------------- outbox <----------------------------+-- push
//! ```
//!
//! Local callers and the peer at the other end of the connection reach the same handlers. One
//! task does all of it: it reads, runs the handlers, and writes; while a handler awaits, it goes
//! on writing. A server without a connection is a plain GenServer.

mod connection;
mod context;
mod handle;
mod leave;
mod options;
mod receive;
mod refuse;
mod run;
mod start;
mod watched;

use crate::{BoxError, ExitReason, Protocol, ReplyTo};

pub use context::Context;
pub use handle::{PushError, ServerError, ServerRef};
pub use options::ServerOptions;
pub use receive::ProtocolError;
pub(crate) use refuse::refuse;
pub(crate) use start::{Connected, start};
pub use start::{ServerBuilder, StartError};
pub(crate) use watched::ConnectionRef;

/// The callbacks of a server. OTP's `gen_server`, typed.
///
/// Every callback may be a plain `async fn`. They run one at a time, each to its end, so `self`
/// needs no lock. An `Err`, where a callback may return one, ends the server with
/// [`ExitReason::Error`]; a panic ends it with [`ExitReason::Panic`] and touches nobody else. In
/// both cases [`terminate`](Self::terminate) runs.
///
/// # Example
///
/// ```
/// use erps::{BoxError, Context, InitError, Protocol, ReplyTo, Server, ServerRef};
///
/// struct Adder;
/// impl Protocol for Adder {
///     type Call = (i64, i64);
///     type Reply = i64;
///     type Cast = ();
///     type Push = ();
/// }
///
/// struct AdderServer;
/// impl Server for AdderServer {
///     type Protocol = Adder;
///     type Seed = ();
///     type Info = ();
///
///     async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
///         Ok(Self)
///     }
///
///     async fn handle_call(
///         &mut self,
///         (a, b): (i64, i64),
///         from: ReplyTo<i64>,
///         _: &mut Context<Self>,
///     ) -> Result<(), BoxError> {
///         from.reply(a + b);
///         Ok(())
///     }
/// }
///
/// smol::block_on(async {
///     let server = ServerRef::<AdderServer>::builder(()).start_link().await?;
///     assert_eq!(server.call((2, 3)).await?, 5);
///     Ok::<_, BoxError>(())
/// }).unwrap();
/// ```
pub trait Server: Sized + Send + 'static {
    /// What it understands, and what it answers.
    type Protocol: Protocol;
    /// What every server of a daemon is made from.
    type Seed: Clone + Send + 'static;
    /// What it may be told from inside the process, besides calls and casts.
    type Info: Send + 'static;

    /// Makes the state.
    ///
    /// Runs in the server's own task, after the peer has been authenticated: [`Context::peer`]
    /// tells who it is. Nothing is handled before it has returned. OTP's `init/1`.
    fn init(
        seed: Self::Seed,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<Self, InitError>> + Send;

    /// Handles a call, of the peer or of a [`ServerRef`]; [`ReplyTo::is_remote`] tells which.
    ///
    /// `from.reply(..)` may be called here or later from anywhere. What follows it here is OTP's
    /// `handle_continue`: the reply leaves at the next await, while the handler goes on. A
    /// handler that computes or blocks for long without awaiting holds up its own reply, and
    /// whatever else runs on its thread: such work belongs into `smol::unblock`. The thread is of
    /// smol's executor, or of the one given to the builder; tokio's own timers and sockets work in a
    /// callback only if a tokio runtime is entered there.
    fn handle_call(
        &mut self,
        call: <Self::Protocol as Protocol>::Call,
        from: ReplyTo<<Self::Protocol as Protocol>::Reply>,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Handles a cast, which nobody waits for. Default: ignores it.
    fn handle_cast(
        &mut self,
        cast: <Self::Protocol as Protocol>::Cast,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (cast, cx);
        async { Ok(()) }
    }

    /// Handles what [`ServerRef::info`] sent. Default: ignores it.
    fn handle_info(
        &mut self,
        info: Self::Info,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = (info, cx);
        async { Ok(()) }
    }

    /// Runs when the time set by [`Context::timeout`] passed without a message. Default: nothing.
    fn handle_timeout(
        &mut self,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = cx;
        async { Ok(()) }
    }

    /// Runs last, whatever the reason, unless the server is killed. Default: nothing.
    ///
    /// What is sent here still reaches the peer if its connection lives.
    fn terminate(
        &mut self,
        reason: &ExitReason,
        cx: &mut Context<Self>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (reason, cx);
        async {}
    }
}

/// Why [`Server::init`] makes no server. `?` turns any error into a [`Stop`](Self::Stop).
#[derive(Debug)]
#[non_exhaustive]
pub enum InitError {
    /// There is nothing to do: the server ends normally and nobody is alarmed. OTP's `:ignore`.
    Ignore,
    /// It cannot start, for this reason. OTP's `{:stop, reason}`.
    Stop(BoxError),
}

/// `InitError` itself is no [`Error`](std::error::Error), as it could not have this conversion.
impl<E: Into<BoxError>> From<E> for InitError {
    fn from(error: E) -> Self {
        Self::Stop(error.into())
    }
}

/// What is sent to a server from inside the process.
enum Message<S: Server> {
    Call(
        <S::Protocol as Protocol>::Call,
        ReplyTo<<S::Protocol as Protocol>::Reply>,
    ),
    Cast(<S::Protocol as Protocol>::Cast),
    Info(S::Info),
}
