//! The builder of clients.

use std::{fmt, sync::Arc, time::Duration};

use futures_channel::oneshot;

use super::{
    Address, Client, ClientHandler, ConnectError, Reconnect, handler,
    message::push_decoder,
    settings::{HandlerTask, Settings},
    state::{ConnectWaiter, Shared},
    subscriber::{ClientEvent, Subscriber},
};
use crate::{
    Backoff, Linked, Peer, Protocol,
    mailbox::{Receiver, mailbox},
    protocol::Checked,
    transport::{TcpOptions, Transport},
    wire::{
        etf,
        identity::{Identifier, Version},
    },
};

/// A shorter interval would keep the executor busy with keepalives.
const MIN_KEEPALIVE: Duration = Duration::from_millis(10);

type StartHandler<P> =
    dyn Fn(Client<P>, Receiver<ClientEvent>, &Settings) -> HandlerTask + Send + Sync;

type OnStart<P> = dyn Fn(&Client<P>) + Send + Sync;

/// Builds clients: one for each call of [`connect`](Self::connect) or [`start`](Self::start). Returned by
/// [`Client::builder`].
#[must_use = "a builder does nothing until started"]
pub struct ClientBuilder<P: Protocol> {
    settings: Settings,
    handler: Option<Arc<StartHandler<P>>>,
    on_start: Option<Arc<OnStart<P>>>,
}

impl<P: Protocol> Client<P> {
    /// Returns a builder for clients of the server at `address`.
    #[track_caller]
    pub fn builder(address: impl Into<Address>) -> ClientBuilder<P> {
        ClientBuilder {
            settings: Settings::new(
                address.into(),
                Checked::<P>::IDENTIFIER,
                Checked::<P>::VERSION,
            ),
            handler: None,
            on_start: None,
        }
    }
}

impl<P: Protocol> ClientBuilder<P> {
    /// Sets the transport that secures connections. Default: [`Tcp`](crate::Tcp), plaintext.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.settings.transport = Arc::new(transport);
        self
    }

    /// Sets the options of the socket. Default: [`TcpOptions::new`].
    pub fn tcp(mut self, options: TcpOptions) -> Self {
        self.settings.tcp = options;
        self
    }

    /// Sets how long a single poll of a callback of the handler may take before a warning is logged. `None`: no warnings.
    /// Default: 100 milliseconds. See [`ServerOptions::slow_callback`](crate::ServerOptions::slow_callback).
    pub fn slow_callback(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.slow_callback = limit.into();
        self
    }

    /// Sets the executor that runs the client. The caller has to run it and keep it alive. Default: smol's global
    /// executor, which runs by itself.
    pub fn executor(mut self, executor: Arc<smol::Executor<'static>>) -> Self {
        self.settings.spawner = self.settings.spawner.on(&executor);
        self
    }

    /// Sets the tokio runtime in which the client and its handler run. Default: the runtime in which this builder was made, if any.
    ///
    /// tokio's timers and sockets, `tokio::spawn`, and libraries built on them work there. The tasks themselves
    /// run on smol's executor, or on that of the builder; the runtime only has to be kept alive. In simulated time,
    /// tokio's timers and sockets do not hold the clock, so that timeouts strike while they are awaited: mock what uses
    /// them ([`Mock`](crate::Mock)), or await it in [`erps::unblock`](crate::unblock), which holds the clock.
    #[cfg(feature = "tokio")]
    pub fn tokio(mut self, runtime: tokio::runtime::Handle) -> Self {
        let runtime = crate::task::Runtime::of(runtime);
        self.settings.spawner = self.settings.spawner.in_runtime(runtime);
        self
    }

    /// Sets the identifier of the service. Default: [`Protocol::IDENTIFIER`].
    pub fn identifier(mut self, identifier: Identifier) -> Self {
        self.settings.identifier = identifier;
        self
    }

    /// Sets the version of the protocol. Default: [`Protocol::VERSION`].
    pub fn version(mut self, version: Version) -> Self {
        self.settings.version = version;
        self
    }

    /// Compresses packets that become smaller by it, at a level from 0 to 9. A level above 9 counts as 9. Default: no
    /// compression.
    pub fn compressed(mut self, level: u8) -> Self {
        self.settings.compression = Some(level.min(9));
        self
    }

    /// Sets the largest payload of a packet, in bytes, in both directions. Default: 16 MiB.
    ///
    /// A larger call fails and is not sent. A larger packet of the server closes the connection.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.settings.max_payload = bytes;
        self
    }

    /// Sets the limits of the terms that the server sends. Default: [`etf::Limits::default`].
    ///
    /// The client drops a term over a limit; if it is a reply, its call fails with
    /// [`CallError::Undecodable`](crate::CallError::Undecodable). The limit of a decompressed term is always
    /// [`max_payload`](Self::max_payload).
    pub fn term_limits(mut self, limits: etf::Limits) -> Self {
        self.settings.term_limits = limits;
        self
    }

    /// Sets how many calls may be in flight. Default: 1024. Further calls wait in the send queue.
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.settings.limits.in_flight = calls.max(1);
        self
    }

    /// Sets how many calls and casts the send queue holds. Default: 16 384, and 64 MiB of them. At the limit calls fail
    /// with [`CallError::QueueFull`](crate::CallError::QueueFull) and casts wait.
    pub fn max_queued(mut self, packets: usize) -> Self {
        self.settings.limits.queued = packets.max(1);
        self
    }

    /// Sets how many pushes may wait for the handler or the stream. Default: 1024. At the limit the client reads nothing
    /// more from its connection.
    pub fn max_pushes(mut self, pushes: usize) -> Self {
        self.settings.max_pushes = pushes.max(1);
        self
    }

    /// Sets how long [`Client::call`] waits for a reply. Default: 5 seconds.
    pub fn reply_timeout(mut self, limit: Duration) -> Self {
        self.settings.reply_timeout = limit;
        self
    }

    /// Sets how often the client sends a keepalive packet. Default: 60 seconds. Minimum: 10 milliseconds; `None` or zero:
    /// never.
    pub fn keepalive(mut self, every: impl Into<Option<Duration>>) -> Self {
        let every = every.into().filter(|every| !every.is_zero());
        self.settings.timing.keepalive = every.map(|every| every.max(MIN_KEEPALIVE));
        self
    }

    /// Sets the timeout of connecting to each address of the server. Default: 10 seconds.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.connect_timeout = limit;
        self
    }

    /// Sets the timeout of the TLS handshake. Default: 10 seconds.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.settings.handshake_timeout = limit;
        self
    }

    /// Sets how long the server may take to complete a packet, and how long it may read nothing while the client has
    /// bytes to send. Default: 30 seconds each. Then the client closes the connection.
    pub fn stall_timeout(mut self, limit: Duration) -> Self {
        self.settings.timing.packet_timeout = limit;
        self.settings.timing.write_timeout = limit;
        self
    }

    /// Sets the delays between attempts to connect. Default: [`Backoff::default`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.settings.backoff = backoff;
        self
    }

    /// Sets the delays after an error that [is likely permanent](ConnectError::is_likely_permanent), such as a rejected
    /// certificate. Default: up to a second after the first, doubling up to 60 seconds.
    ///
    /// Each delay is drawn from the upper half of its bound, and is no shorter than one of the usual
    /// [`backoff`](Self::backoff). Meanwhile calls fail at once, and the status is
    /// [`Status::RetryingSlowly`](crate::Status::RetryingSlowly). [`Client::connect`] retries at once and resets the
    /// delays.
    pub fn slow_backoff(mut self, backoff: Backoff) -> Self {
        self.settings.slow_backoff = backoff;
        self
    }

    /// Sets how long a connection has to last before the delays are reset. Default: 10 seconds.
    pub fn stable_after(mut self, time: Duration) -> Self {
        self.settings.stable_after = time;
        self
    }

    /// Sets whether the client reconnects. Default: [`Reconnect::Always`].
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.settings.reconnect = reconnect;
        self
    }

    /// Sets which library the server uses. Default: [`Peer::Erps`].
    ///
    /// With [`Peer::Elixir`] one call is in flight at a time, whatever
    /// [`max_in_flight`](Self::max_in_flight) says.
    pub fn peer(mut self, peer: Peer) -> Self {
        self.settings.timing.pause = peer.pause();
        self
    }

    /// Sets the handler of the client. `make` is called at every start.
    ///
    /// A client with a handler does not exit when its last handle is dropped.
    pub fn handler<H>(mut self, make: impl Fn() -> H + Send + Sync + 'static) -> Self
    where
        H: ClientHandler<Protocol = P>,
    {
        self.handler = Some(Arc::new(move |client, events, settings| {
            handler::start(make(), client, events, settings)
        }));
        self
    }

    /// Sets a callback that receives a handle each time a client has started: the way to a handle of a client that a
    /// supervisor starts.
    pub fn on_start(mut self, callback: impl Fn(&Client<P>) + Send + Sync + 'static) -> Self {
        self.on_start = Some(Arc::new(callback));
        self
    }

    /// Starts the client without waiting for a connection. The client retries if the first attempt fails.
    ///
    /// The client exits when its last handle is dropped.
    #[must_use = "a client exits when its last handle is dropped"]
    pub fn start(&self) -> Client<P> {
        self.launch(Vec::new())
    }

    /// Starts the client. The outcome of its first attempt to connect goes to `waiters`.
    fn launch(&self, waiters: Vec<ConnectWaiter>) -> Client<P> {
        let settings = &self.settings;
        let shared = Arc::new(Shared::new(
            settings.codec(),
            push_decoder::<P>(),
            settings.limits(),
            waiters,
        ));
        let (task, handler_task) = settings.start(&shared);
        let max_pushes = settings.max_pushes;
        let client = Client::new(task, shared, settings.reply_timeout, max_pushes);
        if let Some(start) = &self.handler {
            let (sender, events) = mailbox(max_pushes);
            client.shared.subscribe(Subscriber::Handler(sender));
            let handler = start(client.clone(), events, settings);
            let _ = handler_task.send(handler);
        }
        if let Some(on_start) = &self.on_start {
            on_start(&client);
        }
        client
    }

    /// Starts the client as [`start`](Self::start) does, and returns its owner: the client exits when the owner is
    /// dropped, even if there are other handles.
    pub fn start_link(&self) -> Linked<Client<P>> {
        Linked::new(self.start())
    }

    /// Starts the client and waits until its transport is connected, which does not mean that the server serves this
    /// client. Later the client reconnects by itself.
    ///
    /// The protocol of erps 0.7 has no packet by which a server accepts a client. One that rejects it, whose `init`
    /// fails, or that expects another transport closes the connection later. Calls then fail with
    /// [`CallError::Disconnected`](crate::CallError::Disconnected), which holds the reason.
    ///
    /// # Errors
    ///
    /// The [`ConnectError`] of the first attempt. The client exits then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the client exits.
    pub async fn connect(&self) -> Result<Client<P>, ConnectError> {
        let (first, outcome) = oneshot::channel();
        let client = Linked::new(self.launch(vec![first]));
        match outcome.await {
            Ok(outcome) => outcome?,
            Err(oneshot::Canceled) => return Err(ConnectError::Ended(client.exited().await)),
        }
        Ok(client.unlink())
    }
}

impl<P: Protocol> Clone for ClientBuilder<P> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            handler: self.handler.clone(),
            on_start: self.on_start.clone(),
        }
    }
}

impl<P: Protocol> fmt::Debug for ClientBuilder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}
