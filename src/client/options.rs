//! How a client is made.

use std::{fmt, sync::Arc, time::Duration};

use futures_channel::oneshot;

use super::{
    Address, Client, ClientHandler, ConnectError, Reconnect,
    connection::{Healer, LastRites},
    handler::{self, ClientEvent},
    session::Habits,
    shared::{Limits, Listener, Shared, Waiters},
};
use crate::{
    Backoff, Linked, Peer, Protocol,
    mailbox::{Receiver, mailbox},
    protocol::Checked,
    task::Spawner,
    transport::{Sockets, Tcp, TcpOptions, Transport},
    wire::{
        codec::Codec,
        decoder, etf,
        identity::{Identifier, Version},
    },
};

/// More often is of no use, and would keep the executor busy with nothing else.
const SHORTEST_KEEPALIVE: Duration = Duration::from_millis(10);

type StartHandler<P> =
    dyn Fn(Client<P>, Receiver<ClientEvent<P>>, usize, &Spawner) -> handler::Owned + Send + Sync;

type OnStart<P> = dyn Fn(&Client<P>) + Send + Sync;

/// Prepares a client, or any number of them. Made by [`Client::builder`].
#[must_use = "a builder does nothing until started"]
pub struct ClientBuilder<P: Protocol> {
    address: Address,
    transport: Arc<dyn Transport>,
    tcp: TcpOptions,
    spawner: Spawner,
    identifier: Identifier,
    version: Version,
    compression: Option<u8>,
    max_payload: usize,
    term_limits: etf::Limits,
    limits: Limits,
    reply_timeout: Duration,
    connect_timeout: Duration,
    handshake_timeout: Duration,
    backoff: Backoff,
    slow_backoff: Backoff,
    stable_after: Duration,
    reconnect: Reconnect,
    habits: Habits,
    pushes: usize,
    handler: Option<Arc<StartHandler<P>>>,
    on_start: Option<Arc<OnStart<P>>>,
}

impl<P: Protocol> ClientBuilder<P> {
    #[track_caller]
    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            transport: Arc::new(Tcp),
            tcp: TcpOptions::new(),
            spawner: Spawner::new(),
            identifier: Checked::<P>::IDENTIFIER,
            version: Checked::<P>::VERSION,
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
            habits: Habits {
                keepalive: Some(Duration::from_secs(60)),
                packet_timeout: Duration::from_secs(30),
                write_timeout: Duration::from_secs(30),
                pause: None,
            },
            pushes: 1024,
            handler: None,
            on_start: None,
        }
    }

    /// How connections are secured. Default: [`Tcp`], which does nothing.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Arc::new(transport);
        self
    }

    /// Options of the socket. Default: [`TcpOptions::new`].
    pub fn tcp(mut self, options: TcpOptions) -> Self {
        self.tcp = options;
        self
    }

    /// The executor that runs the client; whoever gives one has to run it, and to keep it. Default: smol's global
    /// one, which runs itself.
    pub fn executor(mut self, executor: Arc<smol::Executor<'static>>) -> Self {
        self.spawner = self.spawner.on(&executor);
        self
    }

    /// The service to ask for. Default: [`Protocol::IDENTIFIER`].
    pub fn identifier(mut self, identifier: Identifier) -> Self {
        self.identifier = identifier;
        self
    }

    /// The version to speak. Default: [`Protocol::VERSION`].
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Compress what is sent, at a level from 0 to 9, where that makes it smaller. A level above
    /// 9 is taken for 9. Default: no compression.
    pub fn compressed(mut self, level: u8) -> Self {
        self.compression = Some(level.min(9));
        self
    }

    /// How large the payload of a packet may be, in bytes, in both directions. Default: 16 MiB.
    ///
    /// A call above it is not sent; a server that sends more is disconnected.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }

    /// The limits of the terms that the server sends. Default: [`etf::Limits::default`].
    ///
    /// What is over one of them is dropped; if it is a reply, its call ends with
    /// [`CallError::Undecodable`](crate::CallError::Undecodable). What a term may inflate to is
    /// [`max_payload`](Self::max_payload), whatever is said here.
    pub fn term_limits(mut self, limits: etf::Limits) -> Self {
        self.term_limits = limits;
        self
    }

    /// How many calls may be with the server at a time. Default: 1024. Further ones wait in the
    /// queue.
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.limits.in_flight = calls.max(1);
        self
    }

    /// How many calls and casts may wait to be sent. Default: 16 384, and 64 MiB of them. At the
    /// limit calls fail with [`CallError::QueueFull`](crate::CallError::QueueFull) and casts wait.
    pub fn max_queued(mut self, packets: usize) -> Self {
        self.limits.queued = packets.max(1);
        self
    }

    /// How many pushes may wait for the handler or the stream that takes them. Default: 1024. At
    /// the limit nothing more is read from the connection.
    pub fn max_pushes(mut self, pushes: usize) -> Self {
        self.pushes = pushes.max(1);
        self
    }

    /// How long [`Client::call`] waits for a reply. Default: 5 seconds.
    pub fn reply_timeout(mut self, limit: Duration) -> Self {
        self.reply_timeout = limit;
        self
    }

    /// How often the client sends a keepalive packet. Default: 60 seconds; `None` or zero: never. At least
    /// 10 milliseconds.
    pub fn keepalive(mut self, every: impl Into<Option<Duration>>) -> Self {
        let every = every.into().filter(|every| !every.is_zero());
        self.habits.keepalive = every.map(|every| every.max(SHORTEST_KEEPALIVE));
        self
    }

    /// How long each address of the server may take to answer. Default: 10 seconds.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long the server may take over its TLS handshake. Default: 10 seconds.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// How long the server may take to complete a packet it has begun, and how long it may take
    /// nothing of what is sent. Default: 30 seconds each. Then the connection is given up.
    pub fn stall_timeout(mut self, limit: Duration) -> Self {
        self.habits.packet_timeout = limit;
        self.habits.write_timeout = limit;
        self
    }

    /// The delays between attempts to connect. Default: [`Backoff::default`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// The delays after an error that [is likely permanent](ConnectError::is_likely_permanent), as when the
    /// server refuses this client's certificate. Default: up to a second after the first, doubling up to 60
    /// seconds.
    ///
    /// Each is drawn from the upper half of its bound, and not shorter than one of the usual
    /// [`backoff`](Self::backoff). Meanwhile calls fail at once, and the status is
    /// [`Status::RetryingSlowly`](crate::Status::RetryingSlowly). [`Client::connect`] does not wait, and
    /// begins anew.
    pub fn slow_backoff(mut self, backoff: Backoff) -> Self {
        self.slow_backoff = backoff;
        self
    }

    /// How long a connection must have lived for the delays to start from the first again.
    /// Default: 10 seconds.
    pub fn stable_after(mut self, time: Duration) -> Self {
        self.stable_after = time;
        self
    }

    /// What happens when the connection is lost. Default: [`Reconnect::Always`].
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Who is at the other end. Default: [`Peer::Erps`].
    ///
    /// With [`Peer::Elixir`] one call is in flight at a time, whatever
    /// [`max_in_flight`](Self::max_in_flight) says.
    pub fn peer(mut self, peer: Peer) -> Self {
        self.habits.pause = peer.pause();
        self
    }

    /// The callbacks of the client, made anew for every start.
    ///
    /// A client with a handler is alive by itself: it does not end with its last handle.
    pub fn handler<H>(mut self, make: impl Fn() -> H + Send + Sync + 'static) -> Self
    where
        H: ClientHandler<Protocol = P>,
    {
        self.handler = Some(Arc::new(move |client, events, capacity, spawner| {
            handler::start(make(), client, events, capacity, spawner)
        }));
        self
    }

    /// Is called with a handle each time the client has started: how others learn of one that runs
    /// as somebody's child.
    pub fn on_start(mut self, callback: impl Fn(&Client<P>) + Send + Sync + 'static) -> Self {
        self.on_start = Some(Arc::new(callback));
        self
    }

    /// Starts the client and does not wait for a connection: it heals from the beginning.
    ///
    /// The client ends when its last handle is dropped, for nobody could use it any more.
    #[must_use = "a client ends when its last handle is dropped"]
    pub fn start(&self) -> Client<P> {
        self.launch(Vec::new())
    }

    /// `waiters` are told of the first attempt to connect.
    fn launch(&self, waiters: Waiters) -> Client<P> {
        let codec = Codec {
            identifier: self.identifier,
            version: self.version,
            max_payload: self.max_payload,
            limits: self.term_limits.clone().inflated(self.max_payload),
            compression: self.compression,
        };
        let mut limits = self.limits;
        if self.habits.pause.is_some() {
            limits.in_flight = 1;
            limits.one_at_a_time = true;
        }
        let shared = Arc::new(Shared::new(codec, limits, waiters));
        let healer = Healer {
            shared: Arc::clone(&shared),
            address: self.address.clone(),
            transport: Arc::clone(&self.transport),
            tcp: Sockets::new(self.tcp.clone()),
            connect_timeout: self.connect_timeout,
            handshake_timeout: self.handshake_timeout,
            backoff: self.backoff,
            slow_backoff: self.slow_backoff,
            stable_after: self.stable_after,
            reconnect: self.reconnect,
            habits: self.habits,
        };
        let (handler_task, handler_gone) = oneshot::channel::<handler::Owned>();
        let last_rites = LastRites::new(&shared);
        let what = format_args!("the client of {}", self.address);
        let task = self.spawner.start(what, |task| async move {
            let handler = handler_gone.await;
            let reason = healer.run(&task, last_rites).await;
            if let Ok(handler) = handler {
                handler.gone().await;
            }
            reason
        });
        let client = Client::new(task, shared, self.reply_timeout, self.pushes);
        if let Some(start) = &self.handler {
            let (sender, events) = mailbox(self.pushes);
            client.listen(Listener::Handler(sender));
            let handler = start(client.clone(), events, self.pushes, &self.spawner);
            let _ = handler_task.send(handler);
        }
        if let Some(on_start) = &self.on_start {
            on_start(&client);
        }
        client
    }

    /// As [`start`](Self::start), and the client ends when what is returned is dropped, whoever
    /// else has a handle.
    pub fn start_link(&self) -> Linked<Client<P>> {
        Linked::new(self.start())
    }

    /// Starts the client and waits for its first connection. Later it heals by itself.
    ///
    /// A server that does not let this client in, see [`Disconnect::Refused`](crate::Disconnect::Refused), says
    /// so over a connection: that one counts as made for the moment until its word has arrived.
    ///
    /// # Errors
    ///
    /// The [`ConnectError`] of the first attempt; there is no client then.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, there is no client.
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
            address: self.address.clone(),
            transport: Arc::clone(&self.transport),
            tcp: self.tcp.clone(),
            spawner: self.spawner.clone(),
            handler: self.handler.clone(),
            on_start: self.on_start.clone(),
            term_limits: self.term_limits.clone(),
            ..*self
        }
    }
}

impl<P: Protocol> fmt::Debug for ClientBuilder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("address", &self.address)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}
