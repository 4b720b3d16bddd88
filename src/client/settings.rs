//! The settings of a client that do not depend on its protocol.

use std::{fmt, sync::Arc, time::Duration};

use futures_channel::oneshot;

use super::{
    Address, Reconnect,
    connection::Connector,
    session::Timing,
    state::{CloseOnDrop, Limits, Shared},
};
use crate::{
    Backoff, ExitReason, TaskRef,
    task::{SLOW_CALLBACK, Spawner},
    transport::{SocketOptions, Tcp, TcpOptions, Transport},
    wire::{
        codec::Codec,
        decoder, etf,
        identity::{Identifier, Version},
    },
};

/// The settings of a client; [`ClientBuilder`](super::ClientBuilder) documents each.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) address: Address,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) tcp: TcpOptions,
    pub(super) spawner: Spawner,
    pub(super) identifier: Identifier,
    pub(super) version: Version,
    pub(super) compression: Option<u8>,
    pub(super) max_payload: usize,
    pub(super) term_limits: etf::Limits,
    pub(super) limits: Limits,
    pub(super) reply_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) handshake_timeout: Duration,
    pub(super) backoff: Backoff,
    pub(super) slow_backoff: Backoff,
    pub(super) stable_after: Duration,
    pub(super) reconnect: Reconnect,
    pub(super) timing: Timing,
    pub(super) max_pushes: usize,
    pub(super) slow_callback: Option<Duration>,
}

impl Settings {
    #[track_caller]
    pub(super) fn new(address: Address, identifier: Identifier, version: Version) -> Self {
        Self {
            address,
            transport: Arc::new(Tcp),
            tcp: TcpOptions::new(),
            spawner: Spawner::new(),
            identifier,
            version,
            compression: None,
            max_payload: decoder::MAX_PAYLOAD,
            term_limits: etf::Limits::default(),
            limits: Limits {
                in_flight: 1024,
                queued: 16 * 1024,
                queued_bytes: 64 * 1024 * 1024,
                one_at_a_time: false,
            },
            reply_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            backoff: Backoff::default(),
            slow_backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            stable_after: Duration::from_secs(10),
            reconnect: Reconnect::default(),
            timing: Timing {
                keepalive: Some(Duration::from_secs(60)),
                packet_timeout: Duration::from_secs(30),
                write_timeout: Duration::from_secs(30),
                pause: None,
            },
            max_pushes: 1024,
            slow_callback: Some(SLOW_CALLBACK),
        }
    }

    pub(super) fn codec(&self) -> Codec {
        Codec {
            identifier: self.identifier,
            version: self.version,
            max_payload: self.max_payload,
            limits: self.term_limits.clone().inflated(self.max_payload),
            compression: self.compression,
        }
    }

    /// Returns the limits; a server that takes one packet at a time overrides those of the user.
    pub(super) fn limits(&self) -> Limits {
        let mut limits = self.limits;
        if self.timing.pause.is_some() {
            limits.in_flight = 1;
            limits.one_at_a_time = true;
        }
        limits
    }

    /// Starts the client's task. The sender passes it the handler's task; dropped, there is no handler.
    pub(super) fn start(&self, shared: &Arc<Shared>) -> (TaskRef, oneshot::Sender<HandlerTask>) {
        let connector = Connector {
            shared: Arc::clone(shared),
            address: self.address.clone(),
            transport: Arc::clone(&self.transport),
            tcp: SocketOptions::new(self.tcp.clone()),
            connect_timeout: self.connect_timeout,
            handshake_timeout: self.handshake_timeout,
            backoff: self.backoff,
            slow_backoff: self.slow_backoff,
            stable_after: self.stable_after,
            reconnect: self.reconnect,
            timing: self.timing,
        };
        let (sender, handler) = oneshot::channel();
        let close = CloseOnDrop::new(shared);
        let what = format_args!("the client of {}", self.address);
        let task = self
            .spawner
            .start(what, |task| run(connector, close, handler, task));
        (task, sender)
    }
}

async fn run(
    connector: Connector,
    close: CloseOnDrop,
    handler: oneshot::Receiver<HandlerTask>,
    task: TaskRef,
) -> ExitReason {
    let handler = handler.await;
    let reason = connector.run(&task, close).await;
    if let Ok(handler) = handler {
        handler.0.exited().await;
    }
    reason
}

/// The task of a client's handler. The client's task owns it: dropping it kills the handler.
pub(super) struct HandlerTask(pub(super) TaskRef);

impl Drop for HandlerTask {
    fn drop(&mut self) {
        self.0.kill();
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("address", &self.address)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}
