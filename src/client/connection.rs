//! The state machine that heals.
//!
//! ```text
//!            +---------------- wait, longer each time <---------+
//!            v                                                  |
//! start --> dial --> up --> the connection is lost -------------+
//!            |        |                                         |
//!            |        +---> disconnect() --> idle               |
//!            +---> failed, may pass ----------------------------+
//!            +---> failed for good --> refused      idle, refused --> connect() --> dial
//! ```
//!
//! Every cause heals but one: a server that refuses this client's certificate will refuse it
//! again, so only `connect` makes another attempt.

use std::{fmt, future::poll_fn, io, sync::Arc, task::Poll, time::Duration};

use futures_lite::FutureExt as _;

use super::{
    Address, Status,
    handler::ClientEvent,
    session::{End, Habits, Session, notify_handler},
    shared::{Shared, State},
};
use crate::{
    Endpoint, ExitReason, PeerInfo, Protocol, TaskRef,
    backoff::Backoff,
    link::Link,
    task,
    transport::{self, DialError, HandshakeError, Sockets, Transport},
};

/// What a client does when its connection is lost, or cannot be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reconnect {
    /// It makes another, for as long as it takes.
    #[default]
    Always,
    /// It ends, and whoever supervises it starts another. What erps does.
    Never,
}

/// How a client gets, and keeps, its connection.
pub(super) struct Healer<P: Protocol> {
    pub(super) shared: Arc<Shared<P>>,
    pub(super) address: Address,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) tcp: Sockets,
    pub(super) connect_timeout: Duration,
    pub(super) handshake_timeout: Duration,
    pub(super) backoff: Backoff,
    pub(super) stable_after: Duration,
    pub(super) reconnect: Reconnect,
    pub(super) habits: Habits,
}

/// What comes after an attempt, or after a connection.
enum Next {
    /// The client ends.
    Exit(ExitReason),
    /// Another attempt, after a while, which is not shorter than this.
    Again(Duration),
    /// Nothing, until `connect` is called.
    Idle,
}

impl<P: Protocol> Healer<P> {
    /// Runs until the client is told to end, or may not heal.
    pub(super) async fn run(self, task: &TaskRef, mut last_rites: LastRites<P>) -> ExitReason {
        last_rites.reason = self.heal(task).await;
        last_rites.reason.clone()
    }

    async fn heal(&self, task: &TaskRef) -> ExitReason {
        let mut failures = 0;
        let mut warned = false;
        loop {
            self.shared.state().hurry = false;
            self.shared.set_status(Status::Connecting);
            let next = match self.dial_unless_asked(task, &mut warned).await {
                Ok((link, peer)) => {
                    warned = false;
                    let since = task::now();
                    let next = self.stay_connected(task, link, peer).await;
                    if task::now() - since >= self.stable_after {
                        failures = 0;
                    }
                    next
                }
                Err(next) => next,
            };
            let interrupted = match next {
                Next::Exit(reason) => return reason,
                Next::Idle => None,
                Next::Again(at_least) => {
                    self.shared.set_status(Status::Waiting);
                    // Those who were sent away together do not come back together.
                    let pause = task::random_below(self.backoff.bound(failures));
                    let pause = at_least.saturating_add(pause);
                    failures = failures.saturating_add(1);
                    let asked = self.asked(task, |state| state.hurry || !state.wanted);
                    let rested = async {
                        task::sleep(pause).await;
                        None
                    };
                    asked.or(rested).await
                }
            };
            if let Some(reason) = interrupted {
                return reason;
            }
            if !self.shared.state().wanted {
                failures = 0;
                if let Some(reason) = self.idle(task).await {
                    return reason;
                }
            }
        }
    }

    async fn stay_connected(&self, task: &TaskRef, link: Link, peer: PeerInfo) -> Next {
        {
            let mut state = self.shared.state();
            state.status = Status::Connected(peer.clone());
            state.last_connect_error = None;
            state.answer_waiters(&Ok(()));
        }
        self.shared.notify();
        tracing::debug!(target: "erps", peer = %peer.address, "connected");
        notify_handler(&self.shared, ClientEvent::Connected(peer));
        let mut session = Session::new(link, &self.shared, task, self.habits);
        let end = session.run().await;
        tracing::debug!(target: "erps", address = %self.address, why = %end, "disconnected");
        {
            let mut state = self.shared.state();
            state.status = Status::Connecting;
            // Before the callers are told, who may want to know why.
            state.last_disconnect = Some(Disconnect::from(&end));
            let served = !matches!(end, End::Refused(_));
            state.pending.fail(served);
        }
        self.shared.notify();
        match &end {
            End::Exit(_) | End::Asked => session.leave().await,
            End::Closed | End::Refused(_) | End::Reported(_) => session.close().await,
            End::Failed(_) | End::Broken(_) => drop(session),
        }
        self.shared.clear_queue();
        let refusal = end.refusal();
        let next = match &end {
            End::Exit(reason) => Next::Exit(reason.clone()),
            End::Asked => Next::Idle,
            _ if self.reconnect == Reconnect::Never => Next::Exit(ExitReason::Disconnected),
            End::Refused(refusal) => Next::Again(refusal.retry_after.unwrap_or_default()),
            End::Closed | End::Reported(_) | End::Failed(_) | End::Broken(_) => {
                Next::Again(Duration::ZERO)
            }
        };
        notify_handler(&self.shared, ClientEvent::Disconnected((&end).into()));
        match (next, refusal) {
            (Next::Again(_), Some(error)) => self.refused(error.into()),
            (next, _) => next,
        }
    }

    async fn dial_unless_asked(
        &self,
        task: &TaskRef,
        warned: &mut bool,
    ) -> Result<(Link, PeerInfo), Next> {
        let stopped = async { Err(self.asked(task, |state| !state.wanted).await) };
        let error = match stopped.or(async { Ok(self.dial().await) }).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => error,
            Err(Some(reason)) => return Err(Next::Exit(reason)),
            Err(None) => {
                let disconnected = Err(ConnectError::Disconnected);
                self.shared.state().answer_waiters(&disconnected);
                return Err(Next::Idle);
            }
        };
        self.shared.state().last_connect_error = Some(error.clone());
        // Once, until there has been a connection.
        if !std::mem::replace(warned, true) {
            tracing::warn!(target: "erps", address = %self.address, %error, "cannot connect");
        } else {
            tracing::debug!(target: "erps", address = %self.address, %error, "still cannot connect");
        }
        if self.reconnect == Reconnect::Never {
            let reason = ExitReason::error(error.clone());
            self.shared.state().answer_waiters(&Err(error));
            return Err(Next::Exit(reason));
        }
        if error.is_permanent() {
            return Err(self.refused(error));
        }
        self.shared.state().answer_waiters(&Err(error));
        Err(Next::Again(Duration::ZERO))
    }

    /// There is no point in trying again until somebody has changed something.
    fn refused(&self, error: ConnectError) -> Next {
        tracing::warn!(target: "erps", address = %self.address, %error, "refused, not trying again");
        let mut state = self.shared.state();
        state.wanted = false;
        state.answer_waiters(&Err(error.clone()));
        state.status = Status::Refused(error);
        Next::Idle
    }

    /// Waits for `connect`. Returns why the client ends, if it is told to.
    async fn idle(&self, task: &TaskRef) -> Option<ExitReason> {
        {
            let mut state = self.shared.state();
            if !matches!(state.status, Status::Refused(_)) {
                state.status = Status::Disconnected;
            }
            state.leavers.clear();
        }
        self.shared.notify();
        self.asked(task, |state| state.wanted).await
    }

    /// Waits until what the callers want is `awaited`. Returns why the client ends, if it is told
    /// to.
    async fn asked(
        &self,
        task: &TaskRef,
        awaited: impl Fn(&State<P>) -> bool,
    ) -> Option<ExitReason> {
        poll_fn(|cx| {
            if let Poll::Ready(reason) = task.poll_exit_request(cx) {
                return Poll::Ready(Some(reason));
            }
            let mut state = self.shared.state();
            if awaited(&state) {
                return Poll::Ready(None);
            }
            state.wait(cx);
            Poll::Pending
        })
        .await
    }

    async fn dial(&self) -> Result<(Link, PeerInfo), ConnectError> {
        let target = &self.address.0;
        let socket = transport::dial(target, &self.tcp, self.connect_timeout).await?;
        let handshake = self.transport.connect(socket.stream, target.host());
        let secured = match task::timeout(self.handshake_timeout, handshake).await {
            Ok(secured) => secured?,
            Err(task::Elapsed) => {
                return Err(ConnectError::HandshakeTimeout(self.handshake_timeout));
            }
        };
        let peer = PeerInfo {
            address: socket.peer,
            proxy: None,
            credentials: socket.credentials,
            identity: secured.identity,
            generation: secured.generation,
        };
        Ok((
            Link::new(secured.stream, self.shared.codec.max_payload),
            peer,
        ))
    }
}

/// Leaves nobody waiting, whether the client ends, panics or is killed, even before it has begun.
pub(super) struct LastRites<P: Protocol> {
    shared: Arc<Shared<P>>,
    reason: ExitReason,
}

impl<P: Protocol> LastRites<P> {
    pub(super) fn new(shared: &Arc<Shared<P>>) -> Self {
        Self {
            shared: Arc::clone(shared),
            reason: ExitReason::Killed,
        }
    }
}

impl<P: Protocol> Drop for LastRites<P> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.status = Status::Ended(self.reason.clone());
        state.pending.fail(true);
        state.waiters.clear();
        state.leavers.clear();
        state.listener = None;
        drop(state);
        self.shared.clear_queue();
        self.shared.notify();
    }
}

/// Why there is no connection. No call was sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The host's name leads to no address.
    #[error("cannot resolve {host:?}: {source}")]
    Unresolved {
        /// The host that was asked for.
        host: Arc<str>,
        /// What the system's resolver says.
        source: Arc<io::Error>,
    },
    /// The host does not answer, or refuses connections. Of several addresses, the last.
    #[error("cannot connect to {address}: {source}")]
    Unreachable {
        /// The address that was tried.
        address: Endpoint,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The host did not answer in time.
    #[error("cannot connect to {address}: no answer within {limit:?}")]
    TimedOut {
        /// The address that was tried.
        address: Endpoint,
        /// The time limit.
        limit: Duration,
    },
    /// The transport did not secure the connection.
    #[error("no secure connection: {0}")]
    Handshake(#[from] HandshakeError),
    /// The server did not complete the handshake in this time.
    #[error("no secure connection: the server did not complete its handshake within {0:?}")]
    HandshakeTimeout(Duration),
    /// `disconnect` was called meanwhile.
    #[error("the client was told to disconnect")]
    Disconnected,
    /// The client has ended.
    #[error("the client has ended: {0}")]
    Ended(ExitReason),
}

impl ConnectError {
    /// Tells whether another attempt is pointless until somebody has changed this end's settings.
    ///
    /// The client makes none then until [`connect`](crate::Client::connect) is called.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Handshake(error) if error.is_permanent())
    }
}

impl From<DialError> for ConnectError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Unresolved { host, source } => Self::Unresolved {
                host: host.into(),
                source: Arc::new(source),
            },
            DialError::NoAddress(host) => Self::Unresolved {
                host: host.into(),
                source: Arc::new(io::ErrorKind::NotFound.into()),
            },
            DialError::Failed { address, source } => Self::Unreachable {
                address,
                source: Arc::new(source),
            },
            DialError::TimedOut { address, limit } => Self::TimedOut { address, limit },
        }
    }
}

/// Why a client lost its connection.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnect {
    /// It was told to disconnect, or to end.
    #[error("as it was told")]
    Asked,
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server did not let this client in, and said why. A client that heals waits at least as long
    /// as it was told, a day at most, unless [`connect`](crate::Client::connect) is called.
    #[error("the server does not let this client in: {why}")]
    Refused {
        /// What the server says.
        why: String,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
    },
    /// The server reported this error as its last word, and closed the connection: what it was sent last was
    /// over a limit of its, for instance, or no packet.
    #[error("the server closed the connection: {0}")]
    Reported(String),
    /// The connection failed.
    #[error("{0}")]
    Failed(Arc<io::Error>),
    /// The server sent what is no packet, or did not go on in time.
    #[error("{0}")]
    Broken(String),
}

impl From<&End> for Disconnect {
    fn from(end: &End) -> Self {
        match end {
            End::Exit(_) | End::Asked => Self::Asked,
            End::Closed => Self::Closed,
            End::Refused(refusal) => Self::Refused {
                why: refusal.why.clone(),
                retry_after: refusal.retry_after,
            },
            End::Reported(why) => Self::Reported(why.clone()),
            End::Failed(error) => Self::Failed(Arc::clone(error)),
            End::Broken(why) => Self::Broken(why.clone()),
        }
    }
}

impl End {
    /// The server's word that it does not take this client, if that was the end.
    fn refusal(&self) -> Option<HandshakeError> {
        match self {
            Self::Failed(error) => transport::refusal(error),
            _ => None,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(reason) => write!(f, "the client ends: {reason}"),
            Self::Asked => f.write_str("as it was told"),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Reported(why) => write!(f, "the server closed the connection: {why}"),
            Self::Failed(error) => error.fmt(f),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BoxError, BoxedStream, CallError, Client, Context, Daemon, Handshake, InitError, ReplyTo,
        Secured, Server, Transport, Universe, time,
    };

    struct Shop;

    impl Protocol for Shop {
        type Call = ();
        type Reply = ();
        type Cast = ();
        type Push = ();
    }

    impl Server for Shop {
        type Protocol = Self;
        type Seed = ();
        type Info = ();

        async fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
            Ok(Self)
        }

        async fn handle_call(
            &mut self,
            (): (),
            from: ReplyTo<()>,
            _: &mut Context<Self>,
        ) -> Result<(), BoxError> {
            from.reply(());
            Ok(())
        }
    }

    /// Takes its time to accept somebody who is done at once.
    #[derive(Debug)]
    struct Slow;

    impl Transport for Slow {
        fn accept<'a>(&'a self, stream: BoxedStream, _: Endpoint) -> Handshake<'a> {
            Box::pin(async {
                time::sleep(Duration::from_secs(1)).await;
                Ok(Secured::new(stream))
            })
        }

        fn connect<'a>(&'a self, stream: BoxedStream, _: &'a str) -> Handshake<'a> {
            Box::pin(async { Ok(Secured::new(stream)) })
        }

        fn is_secure(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_call_that_left_before_the_refusal_came_was_seen_by_nobody() {
        Universe::simulated(1).run(async {
            let daemon = Daemon::<Shop>::builder(())
                .transport(Slow)
                .admit(|_: &PeerInfo| Err("closed on Sundays"))
                .start_link()
                .await
                .expect("a daemon");
            let client = Client::<Shop>::builder(daemon.local_addr());
            let client = client.connect().await.expect("a connection, so far");
            let outcome = client.call(()).await;
            let why = client.last_disconnect();
            assert!(matches!(why, Some(Disconnect::Refused { .. })), "{why:?}");
            let error = outcome.expect_err("nobody is there to answer");
            assert!(matches!(error, CallError::Disconnected), "{error:?}");
        });
    }
}
