//! The client's task: connects, runs a session, and reconnects.
//!
//! ```text
//!            +------------- wait: the back-off <----------------+
//!            v                                                  |
//! start --> dial --> session --> the connection is lost --------+
//!            |          |                                       |
//!            |          +---> disconnect() --> idle             |
//!            +---> failed --------------------------------------+      idle --> connect() --> dial
//! ```
//!
//! The client reconnects whatever the cause. After an error that is likely permanent, such as a rejected
//! certificate, it uses the slow back-off.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use futures_lite::FutureExt as _;

use super::{
    Address, ConnectError, Disconnect, Status,
    retry::{Failures, Retry},
    session::{End, Session, Timing},
    state::{CloseOnDrop, Shared, State},
    subscriber::ClientEvent,
};
use crate::{
    ExitReason, PeerInfo, TaskRef,
    backoff::Backoff,
    link::Link,
    task,
    text::Chain,
    transport::{self, SocketOptions, Transport},
};

/// What a client does when its connection is lost or an attempt to connect fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reconnect {
    /// The client reconnects, after a [back-off](crate::ClientBuilder::backoff), without a limit.
    #[default]
    Always,
    /// The client exits, and its supervisor restarts it. This is what erps does.
    Never,
}

/// The longest `retry_after` that is honoured if the transport is not secure: anything on the path may have sent it.
const MAX_INSECURE_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Establishes a client's connections, one after another.
pub(super) struct Connector {
    pub(super) shared: Arc<Shared>,
    pub(super) address: Address,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) tcp: SocketOptions,
    pub(super) connect_timeout: Duration,
    pub(super) handshake_timeout: Duration,
    pub(super) backoff: Backoff,
    pub(super) slow_backoff: Backoff,
    pub(super) stable_after: Duration,
    pub(super) reconnect: Reconnect,
    pub(super) timing: Timing,
}

/// What follows a failed attempt, or a session.
enum Next {
    /// The client exits.
    Exit(ExitReason),
    /// Another attempt, after a pause.
    Retry(Retry),
    /// Nothing, until `connect` is called.
    Idle,
}

impl Connector {
    /// Runs until the client has to exit, and returns why.
    pub(super) async fn run(self, task: &TaskRef, mut close: CloseOnDrop) -> ExitReason {
        close.reason = self.run_until_exit(task).await;
        close.reason.clone()
    }

    async fn run_until_exit(&self, task: &TaskRef) -> ExitReason {
        let mut failures = Failures::new();
        loop {
            self.shared.state().connect_now = false;
            self.shared.set_status(Status::Connecting);
            let next = match self.dial_unless_cancelled(task).await {
                Ok((link, peer)) => {
                    let since = task::now();
                    let next = self.run_session(task, link, peer).await;
                    if task::now() - since >= self.stable_after {
                        failures = Failures::new();
                    }
                    next
                }
                Err(next) => next,
            };
            let exit = match next {
                Next::Exit(reason) => Some(reason),
                Next::Idle => None,
                Next::Retry(retry) => self.pause(task, retry, &mut failures).await,
            };
            if let Some(reason) = exit {
                return reason;
            }
            let (connection_wanted, connect_now) = {
                let state = self.shared.state();
                (state.connection_wanted, state.connect_now)
            };
            if connect_now {
                failures.likely_permanent = 0;
            }
            if !connection_wanted {
                failures = Failures::new();
                if let Some(reason) = self.idle(task).await {
                    return reason;
                }
            }
        }
    }

    /// Waits for the back-off, or until `connect` or `disconnect` is called. Returns `Some` if the client has to exit.
    async fn pause(
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
                state.answer_connect_waiters(&Err(error));
            }
        }
        self.shared.notify();
        let requested = self.requested(task, |state| state.connect_now || !state.connection_wanted);
        let elapsed = async {
            task::sleep(pause).await;
            None
        };
        requested.or(elapsed).await
    }

    async fn run_session(&self, task: &TaskRef, link: Link, peer: PeerInfo) -> Next {
        {
            let mut state = self.shared.state();
            state.status = Status::Connected(peer.clone());
            state.last_connect_error = None;
            state.answer_connect_waiters(&Ok(()));
        }
        self.shared.notify();
        tracing::debug!(target: "erps", peer = %peer.address, "connected");
        self.shared.notify_handler(ClientEvent::Connected(peer));
        let mut session = Session::new(link, &self.shared, task, self.timing);
        let end = session.run().await;
        self.shared.warnings.flush();
        tracing::debug!(target: "erps", address = %self.address, why = %end, "disconnected");
        {
            let mut state = self.shared.state();
            state.status = Status::Connecting;
            // Before the calls fail: their callers may ask for it.
            state.last_disconnect = Some(Disconnect::from(&end));
            let why = state.not_connected();
            state.pending.fail(end.may_have_served(), &why);
        }
        self.shared.notify();
        match &end {
            End::Exit(_) | End::Disconnected => session.drain().await,
            End::Closed | End::Rejected(_) | End::Reported(_) => session.close().await,
            End::Failed(_) | End::Broken(_) | End::NoPacket(_) => drop(session),
        }
        self.shared.clear_queue();
        let disconnected = Disconnect::from(&end);
        let next = self.after_session(end);
        self.shared
            .notify_handler(ClientEvent::Disconnected(disconnected));
        next
    }

    fn after_session(&self, end: End) -> Next {
        match end {
            End::Exit(reason) => Next::Exit(reason),
            End::Disconnected => Next::Idle,
            _ if self.reconnect == Reconnect::Never => Next::Exit(ExitReason::Disconnected),
            End::Rejected(refusal) => {
                let mut at_least = refusal.retry_after.unwrap_or_default();
                if !self.transport.is_secure() {
                    at_least = at_least.min(MAX_INSECURE_RETRY_AFTER);
                }
                Next::Retry(Retry {
                    at_least,
                    failed: None,
                })
            }
            End::Closed | End::Reported(_) | End::Failed(_) | End::Broken(_) | End::NoPacket(_) => {
                Next::Retry(Retry {
                    failed: end.rejection().map(ConnectError::from),
                    ..Retry::default()
                })
            }
        }
    }

    async fn dial_unless_cancelled(&self, task: &TaskRef) -> Result<(Link, PeerInfo), Next> {
        let cancelled = async { Err(self.requested(task, |it| !it.connection_wanted).await) };
        let error = match cancelled.or(async { Ok(self.dial().await) }).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => error,
            Err(Some(reason)) => return Err(Next::Exit(reason)),
            Err(None) => {
                let disconnected = Err(ConnectError::Disconnected);
                self.shared.state().answer_connect_waiters(&disconnected);
                return Err(Next::Idle);
            }
        };
        if self.reconnect == Reconnect::Never {
            tracing::warn!(target: "erps", address = %self.address, error = %Chain(&error), "cannot connect");
            let reason = ExitReason::error(error.clone());
            let mut state = self.shared.state();
            state.last_connect_error = Some(error.clone());
            state.answer_connect_waiters(&Err(error));
            return Err(Next::Exit(reason));
        }
        Err(Next::Retry(Retry::failed(error)))
    }

    /// Waits for `connect`. Returns `Some` if the client has to exit.
    async fn idle(&self, task: &TaskRef) -> Option<ExitReason> {
        {
            let mut state = self.shared.state();
            state.status = Status::Disconnected;
            state.disconnect_waiters.clear();
        }
        self.shared.notify();
        self.requested(task, |state| state.connection_wanted).await
    }

    /// Waits until `condition` is true for the state. Returns `Some` if the client has to exit.
    async fn requested(
        &self,
        task: &TaskRef,
        condition: impl Fn(&State) -> bool,
    ) -> Option<ExitReason> {
        poll_fn(|cx| {
            if let Poll::Ready(reason) = task.poll_exit_request(cx) {
                return Poll::Ready(Some(reason));
            }
            let mut state = self.shared.state();
            if condition(&state) {
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
