//! The state machine that heals.
//!
//! ```text
//!            +---------------- wait, longer each time <---------+
//!            v                                                  |
//! start --> dial --> up --> the connection is lost -------------+
//!            |        |                                         |
//!            |        +---> disconnect() --> idle               |
//!            +---> failed --------------------------------------+      idle --> connect() --> dial
//! ```
//!
//! Every cause heals. Where another attempt most likely fails in the same way, because the server refuses
//! this client's certificate, say, the wait is that of the slow back-off.

use std::{fmt, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use futures_lite::FutureExt as _;

use super::{
    Address, ConnectError, Disconnect, Status,
    handler::ClientEvent,
    retry::{Failures, Retry},
    session::{End, Habits, Session, notify_handler},
    shared::{Shared, State},
};
use crate::{
    ExitReason, PeerInfo, Protocol, TaskRef,
    backoff::Backoff,
    link::Link,
    task,
    transport::{self, HandshakeError, Sockets, Transport},
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

/// The longest that a client waits because it was told to over a transport that is not secure. Anybody on the path may
/// have said it.
const PLAIN_RETRY: Duration = Duration::from_secs(60);

/// How a client gets, and keeps, its connection.
pub(super) struct Healer<P: Protocol> {
    pub(super) shared: Arc<Shared<P>>,
    pub(super) address: Address,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) tcp: Sockets,
    pub(super) connect_timeout: Duration,
    pub(super) handshake_timeout: Duration,
    pub(super) backoff: Backoff,
    pub(super) slow_backoff: Backoff,
    pub(super) stable_after: Duration,
    pub(super) reconnect: Reconnect,
    pub(super) habits: Habits,
}

/// What comes after an attempt, or after a connection.
enum Next {
    /// The client ends.
    Exit(ExitReason),
    /// Another attempt, after a while.
    Again(Retry),
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
        let mut failures = Failures::new();
        loop {
            self.shared.state().hurry = false;
            self.shared.set_status(Status::Connecting);
            let next = match self.dial_unless_asked(task).await {
                Ok((link, peer)) => {
                    let since = task::now();
                    let next = self.stay_connected(task, link, peer).await;
                    if task::now() - since >= self.stable_after {
                        failures = Failures::new();
                    }
                    next
                }
                Err(next) => next,
            };
            let interrupted = match next {
                Next::Exit(reason) => return reason,
                Next::Idle => None,
                Next::Again(retry) => self.wait(task, retry, &mut failures).await,
            };
            if let Some(reason) = interrupted {
                return reason;
            }
            let (wanted, hurry) = {
                let state = self.shared.state();
                (state.wanted, state.hurry)
            };
            if hurry {
                failures.likely_permanent = 0;
            }
            if !wanted {
                failures = Failures::new();
                if let Some(reason) = self.idle(task).await {
                    return reason;
                }
            }
        }
    }

    /// Waits before another attempt, unless a caller wants it now. Returns why the client ends, if it is told
    /// to.
    async fn wait(
        &self,
        task: &TaskRef,
        retry: Retry,
        failures: &mut Failures,
    ) -> Option<ExitReason> {
        let pause = failures.pause(&retry, self.backoff, self.slow_backoff);
        if let Some(error) = &retry.failed {
            failures.log(&self.address, error, pause);
        }
        {
            let mut state = self.shared.state();
            let is_slow = retry.is_slow();
            if let Some(error) = retry.failed.clone() {
                state.last_connect_error = Some(error);
            }
            state.status = match &retry.failed {
                Some(error) if is_slow => Status::RetryingSlowly {
                    error: error.clone(),
                    next_attempt: task::deadline(task::now(), pause),
                },
                _ => Status::Waiting,
            };
            if let Some(error) = retry.failed {
                state.answer_waiters(&Err(error));
            }
        }
        self.shared.notify();
        let asked = self.asked(task, |state| state.hurry || !state.wanted);
        let rested = async {
            task::sleep(pause).await;
            None
        };
        asked.or(rested).await
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
        self.shared.complaints.end();
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
        let next = match &end {
            End::Exit(reason) => Next::Exit(reason.clone()),
            End::Asked => Next::Idle,
            _ if self.reconnect == Reconnect::Never => Next::Exit(ExitReason::Disconnected),
            End::Refused(refusal) => {
                let told = refusal.retry_after.unwrap_or_default();
                let secure = self.transport.is_secure();
                Next::Again(Retry {
                    at_least: if secure { told } else { told.min(PLAIN_RETRY) },
                    failed: None,
                })
            }
            End::Closed | End::Reported(_) | End::Failed(_) | End::Broken(_) => {
                Next::Again(Retry {
                    failed: end.refusal().map(ConnectError::from),
                    ..Retry::default()
                })
            }
        };
        notify_handler(&self.shared, ClientEvent::Disconnected((&end).into()));
        next
    }

    async fn dial_unless_asked(&self, task: &TaskRef) -> Result<(Link, PeerInfo), Next> {
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
        if self.reconnect == Reconnect::Never {
            tracing::warn!(target: "erps", address = %self.address, %error, "cannot connect");
            let reason = ExitReason::error(error.clone());
            let mut state = self.shared.state();
            state.last_connect_error = Some(error.clone());
            state.answer_waiters(&Err(error));
            return Err(Next::Exit(reason));
        }
        Err(Next::Again(Retry::failed(error)))
    }

    /// Waits for `connect`. Returns why the client ends, if it is told to.
    async fn idle(&self, task: &TaskRef) -> Option<ExitReason> {
        {
            let mut state = self.shared.state();
            state.status = Status::Disconnected;
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

impl End {
    /// The refusal by the server's TLS, if that was the end.
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
