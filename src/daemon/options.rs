//! How a daemon is made.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{AtLimit, Daemon, DaemonLimits, ServerSupervisor, StartDaemonError, limits::Hook, run};
use crate::{
    BoxError, ChildSpec, Endpoint, Linked, PeerInfo, Restart, Server, ServerOptions, Shutdown,
    Started,
    task::Spawner,
    transport::{HandedIn, Place, Tcp, TcpOptions, Transport},
    universe::Here,
    wire::identity::{Identifier, VersionReq},
};

/// What is the same for every start of a daemon.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The one that [`DaemonBuilder::bind`] and [`DaemonBuilder::port`] speak of.
    address: Option<SocketAddr>,
    also: Vec<Place>,
    #[cfg(unix)]
    unix_mode: u32,
    pub(super) accept_loops: usize,
    pub(super) listener_restarts: (usize, Duration),
    pub(super) transport: Arc<dyn Transport>,
    pub(super) plaintext_anywhere: bool,
    pub(super) tcp: TcpOptions,
    pub(super) server: ServerOptions,
    pub(super) restart: Restart,
    pub(super) shutdown: Shutdown,
    pub(super) drain_timeout: Duration,
    pub(super) start_timeout: Duration,
    pub(super) limits: DaemonLimits,
    pub(super) proxies: Option<Hook<Endpoint>>,
    pub(super) admit_address: Option<Hook<Endpoint>>,
    pub(super) admit: Option<Hook<PeerInfo>>,
}

impl Settings {
    fn address_mut(&mut self) -> &mut SocketAddr {
        self.address.get_or_insert(ANY_PORT)
    }

    /// Where to listen, at least at one place.
    ///
    /// They are taken out: a listener that was handed in would be open as long as these settings are kept.
    pub(super) fn take_places(&mut self) -> Vec<Place> {
        let named = self.address.map(Place::Inet);
        let also = std::mem::take(&mut self.also);
        let mut places: Vec<_> = named.into_iter().chain(also).collect();
        #[cfg(unix)]
        for place in &mut places {
            if let Place::Unix(_, mode) = place {
                *mode = self.unix_mode;
            }
        }
        if places.is_empty() {
            places.push(Place::Inet(ANY_PORT));
        }
        places
    }
}

#[cfg(unix)]
const UNIX_MODE: u32 = 0o600;

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Prepares a daemon. Made by [`Daemon::builder`].
#[must_use = "a builder does nothing until started"]
pub struct DaemonBuilder<S: Server> {
    pub(super) seed: S::Seed,
    pub(super) settings: Settings,
    pub(super) spawner: Spawner,
    pub(super) supervisor: Option<ServerSupervisor>,
    pub(super) forward_callers: bool,
    pub(super) identifier: Option<Identifier>,
    pub(super) versions: Option<VersionReq>,
    pub(super) on_start: Option<OnStart<S>>,
}

pub(super) type OnStart<S> = Arc<dyn Fn(&Daemon<S>) + Send + Sync>;

impl<S: Server> DaemonBuilder<S> {
    #[track_caller]
    pub(super) fn new(seed: S::Seed) -> Self {
        Self {
            seed,
            settings: Settings {
                address: None,
                also: Vec::new(),
                #[cfg(unix)]
                unix_mode: UNIX_MODE,
                accept_loops: 1,
                listener_restarts: (10, Duration::from_secs(60)),
                transport: Arc::new(Tcp),
                plaintext_anywhere: false,
                tcp: TcpOptions::new(),
                server: ServerOptions::new(),
                restart: Restart::Temporary,
                shutdown: Shutdown::default(),
                drain_timeout: Duration::from_secs(3),
                start_timeout: Duration::from_secs(60),
                limits: DaemonLimits::default(),
                proxies: None,
                admit_address: None,
                admit: None,
            },
            spawner: Spawner::new(),
            supervisor: None,
            forward_callers: true,
            identifier: None,
            versions: None,
            on_start: None,
        }
    }

    /// The port to listen on. Default: 0, which is any free one; [`Daemon::port`] tells which.
    pub fn port(mut self, port: u16) -> Self {
        self.settings.address_mut().set_port(port);
        self
    }

    /// The address to listen on. Default: 127.0.0.1, which only this machine reaches. *erps*
    /// listens on all addresses.
    ///
    /// Beyond loopback a [`transport`](Self::transport) that is secure is required, unless
    /// [`plaintext_anywhere`](Self::plaintext_anywhere) is asked for.
    pub fn bind(mut self, address: impl Into<IpAddr>) -> Self {
        self.settings.address_mut().set_ip(address.into());
        self
    }

    /// Listens at this address, too: repeated, at any number of them. Port 0 is any free one.
    ///
    /// Where neither [`bind`](Self::bind) nor [`port`](Self::port) is called, the daemon listens only at
    /// these. [`Daemon::local_addrs`] tells where it listens. If one of them cannot be had, it does not
    /// start.
    ///
    /// # Example
    ///
    /// ```
    /// # use erps::{BoxError, Context, Daemon, InitError, Protocol, ReplyTo, Server};
    /// # struct Shop;
    /// # impl Protocol for Shop {
    /// #     type Call = ();
    /// #     type Reply = ();
    /// #     type Cast = ();
    /// #     type Push = ();
    /// # }
    /// # struct ShopServer;
    /// # impl Server for ShopServer {
    /// #     type Protocol = Shop;
    /// #     type Seed = ();
    /// #     type Info = ();
    /// #     async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Self) }
    /// #     async fn handle_call(&mut self, _: (), from: ReplyTo<()>, _: &mut Context<Self>) -> Result<(), BoxError> {
    /// #         from.reply(());
    /// #         Ok(())
    /// #     }
    /// # }
    /// # smol::block_on(async {
    /// let daemon = Daemon::<ShopServer>::builder(())
    ///     .listen(([127, 0, 0, 1], 0))
    ///     .listen(([127, 0, 0, 2], 0))
    ///     .start_link()
    ///     .await?;
    /// assert_eq!(daemon.local_addrs().len(), 2);
    /// # Ok::<_, BoxError>(()) }).unwrap();
    /// ```
    pub fn listen(mut self, address: impl Into<SocketAddr>) -> Self {
        self.settings.also.push(Place::Inet(address.into()));
        self
    }

    /// Listens at a Unix socket, too: at this path, which only the daemon's own user may connect to unless
    /// [`unix_mode`](Self::unix_mode) says otherwise. As with [`listen`](Self::listen), any number of them.
    ///
    /// Plaintext is not refused there: nobody reaches it but through the file. It has to be in a directory
    /// that no stranger may write to. If there is a socket already and nobody listens at it, it makes way;
    /// any other file is an error. When the daemon ends it removes the file, if it is still its own. Peers
    /// have no IP address, and [`PeerInfo::credentials`] instead. The network of a simulated universe has no
    /// Unix sockets.
    ///
    /// Of several daemons that start at one path at the same moment, one has it. The socket is made in the
    /// same directory, by a name like `.erps0`, and is at its path only from when it listens: so tools
    /// like `ss` show that name, and the path of the directory has to leave room for it (about 100 bytes in
    /// all). A process that crashes in between leaves it behind, or a `.name.erps-lock`; both may be removed.
    ///
    /// # Example
    ///
    /// ```
    /// # use erps::{Address, BoxError, Client, Context, Daemon, InitError, PeerInfo, Protocol, ReplyTo, Server};
    /// # struct Shop;
    /// # impl Protocol for Shop {
    /// #     type Call = ();
    /// #     type Reply = ();
    /// #     type Cast = ();
    /// #     type Push = ();
    /// # }
    /// # struct ShopServer;
    /// # impl Server for ShopServer {
    /// #     type Protocol = Shop;
    /// #     type Seed = ();
    /// #     type Info = ();
    /// #     async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> { Ok(Self) }
    /// #     async fn handle_call(&mut self, _: (), from: ReplyTo<()>, _: &mut Context<Self>) -> Result<(), BoxError> {
    /// #         from.reply(());
    /// #         Ok(())
    /// #     }
    /// # }
    /// # smol::block_on(async {
    /// # let path = std::env::temp_dir().join(format!("erps-doc-{}.sock", std::process::id()));
    /// let daemon = Daemon::<ShopServer>::builder(())
    ///     .listen_unix(&path)
    ///     .unix_mode(0o660)
    ///     .start_link()
    ///     .await?;
    /// let client = Client::<Shop>::builder(Address::unix(&path)).connect().await?;
    /// client.call(()).await?;
    /// # Ok::<_, BoxError>(()) }).unwrap();
    /// ```
    #[cfg(unix)]
    pub fn listen_unix(mut self, path: impl AsRef<Path>) -> Self {
        let place = Place::Unix(path.as_ref().into(), UNIX_MODE);
        self.settings.also.push(place);
        self
    }

    /// The permissions of the files of Unix sockets: whoever may write to one may connect. Default: 0o600,
    /// the daemon's own user.
    #[cfg(unix)]
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.settings.unix_mode = mode;
        self
    }

    /// Accepts from a listener that somebody else has made, too: one of systemd's socket activation, or of a
    /// process that hands it on when it is replaced. As with [`listen`](Self::listen), any number of them.
    ///
    /// Whoever else has it, and whoever starts the daemon anew, may go on with it: it is shared, and closed
    /// only when the last of them has dropped it, this builder and its [`child_spec`](Self::child_spec)
    /// included. So a builder that is kept for restarts, as every `child_spec` keeps one, keeps the port open when
    /// the daemon has ended or is drained, and whoever connects waits for the next daemon. It is made non-blocking. Options that are set before a socket listens are left as they are.
    /// Plaintext beyond loopback is refused as with [`bind`](Self::bind). If it fails, the daemon tries
    /// again with the same, as there is no other. There is one accept loop for each. The file of a Unix socket is left to whoever has made it.
    ///
    /// # Example
    ///
    /// With systemd, by the crate `listenfd`:
    ///
    /// ```ignore
    /// let mut handed = listenfd::ListenFd::from_env();
    /// if let Some(listener) = handed.take_tcp_listener(0)? {
    ///     builder = builder.listener(listener);
    /// }
    /// ```
    pub fn listener(mut self, listener: impl Into<HandedIn>) -> Self {
        self.settings.also.push(listener.into().into_place());
        self
    }

    /// How many tasks accept connections at each TCP address. Default: 1.
    ///
    /// With more, each has a listener of its own, and the system spreads the connections over them
    /// ([`reuse_port`](TcpOptions::reuse_port)): for executors with several threads, and thousands of new
    /// connections a second. Where the system does not have it, and in a simulated universe, there is one; so
    /// there is at a Unix socket, and for a listener that is [handed in](Self::listener).
    ///
    /// A port that is shared by several loops is shared with everybody of the same user who asks for it: the
    /// same service can be started twice at one port, which without this is
    /// [`StartDaemonError::Bind`], and each gets some of the connections.
    pub fn accept_loops(mut self, loops: usize) -> Self {
        self.settings.accept_loops = loops.max(1);
        self
    }

    /// How often a listener that fails is made anew, within how much time. Default: ten times within 60
    /// seconds.
    ///
    /// It waits 10 milliseconds before the first time, and twice as long before each that follows, up to a
    /// second; the connections that there are do not notice. Once more, and the daemon ends with the error of
    /// the listener. Being short of descriptors or memory is no failure: the daemon pauses, and goes on.
    pub fn max_listener_restarts(mut self, count: usize, within: Duration) -> Self {
        self.settings.listener_restarts = (count, within);
        self
    }

    /// How connections are secured. Default: [`Tcp`], which does nothing.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.settings.transport = Arc::new(transport);
        self
    }

    /// Accepts plaintext from other machines: whoever reaches the port reaches the servers, and
    /// whoever is on the way reads and changes what is said.
    pub fn plaintext_anywhere(mut self) -> Self {
        self.settings.plaintext_anywhere = true;
        self
    }

    /// Options of the listener and its connections. Default: [`TcpOptions::new`].
    pub fn tcp(mut self, options: TcpOptions) -> Self {
        self.settings.tcp = options;
        self
    }

    /// The executor that runs the daemon and its servers; whoever gives one has to run it, and to keep it.
    /// Default: smol's global one, which runs itself.
    pub fn executor(mut self, executor: Arc<smol::Executor<'static>>) -> Self {
        self.spawner = self.spawner.on(&executor);
        self
    }

    /// Limits and habits of every server. Default: [`ServerOptions::new`].
    pub fn server_options(mut self, options: ServerOptions) -> Self {
        self.settings.server = options;
        self
    }

    /// Who supervises the servers: a [`DynamicSupervisor`](crate::DynamicSupervisor), or a
    /// [`ServerSupervisor`]. Default: a dynamic supervisor of the daemon's own.
    pub fn server_supervisor(mut self, supervisor: impl Into<ServerSupervisor>) -> Self {
        self.supervisor = Some(supervisor.into());
        self
    }

    /// The restart type of the servers. Default: [`Restart::Temporary`].
    ///
    /// A server whose connection is gone has nothing to come back to: restarted, it is ignored.
    pub fn server_restart(mut self, restart: Restart) -> Self {
        self.settings.restart = restart;
        self
    }

    /// How servers are made to end. Default: [`Shutdown::default`], 5 seconds.
    pub fn server_shutdown(mut self, shutdown: Shutdown) -> Self {
        self.settings.shutdown = shutdown;
        self
    }

    /// How long a daemon that is told to end lets its servers answer the calls that have arrived, before
    /// it makes them end. Default: 3 seconds.
    ///
    /// Told by its supervisor, by [`request_shutdown`](crate::TaskRef::request_shutdown), or by the drop of
    /// what [`start_link`](Self::start_link) returns. What its peers send from then on is not read, and a
    /// server that has answered all its calls ends at once. So no reply is lost when a tree is taken
    /// down; [`Daemon::drain`] is for those who want more: a time of listening, one limit over all, and a
    /// report. Zero: a server finishes the message it is at.
    ///
    /// It is part of the time that servers have by their [shutdown](Self::server_shutdown), and three quarters of
    /// that at most, so that `terminate` has the rest. With [`Shutdown::BrutalKill`] there is none.
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.settings.drain_timeout = limit;
        self
    }

    /// Whether the daemon and its servers live in the [`Universe`](crate::Universe) of whoever starts the daemon,
    /// whoever's supervisor starts the servers. Default: true.
    ///
    /// If not, the daemon lives in no universe, and its servers in that of their supervisor.
    /// *erps* has it off by default; but where nobody makes universes, it has no effect.
    pub fn forward_callers(mut self, forward: bool) -> Self {
        self.forward_callers = forward;
        self
    }

    /// The name that packets must carry. Default: [`Protocol::IDENTIFIER`](crate::Protocol).
    pub fn identifier(mut self, identifier: Identifier) -> Self {
        self.identifier = Some(identifier);
        self
    }

    /// The versions that are accepted. Default: [`Protocol::ACCEPTS`](crate::Protocol).
    pub fn versions(mut self, versions: VersionReq) -> Self {
        self.versions = Some(versions);
        self
    }

    /// How many connections there may be. Default: 16 384. At the limit newcomers wait in the
    /// system's backlog, unless [`at_limit`](Self::at_limit) says otherwise.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.settings.limits.connections = connections.max(1);
        self
    }

    /// What becomes of newcomers at the limit. Default: [`AtLimit::Queue`].
    pub fn at_limit(mut self, at_limit: AtLimit) -> Self {
        self.settings.limits.at_limit = at_limit;
        self
    }

    /// How many connections there may be from one address. Default: any number. See
    /// [`DaemonLimits::per_address`].
    pub fn max_connections_per_address(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.settings.limits.per_address = connections.into();
        self
    }

    /// How many leading bits make an address: of IPv4, and of IPv6. Default: 32 and 64.
    pub fn address_prefix(mut self, v4: u8, v6: u8) -> Self {
        self.settings.limits.prefix_v4 = v4;
        self.settings.limits.prefix_v6 = v6;
        self
    }

    /// How many connections there may be with one certificate. Default: any number. See
    /// [`DaemonLimits::per_identity`].
    pub fn max_connections_per_identity(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.settings.limits.per_identity = connections.into();
        self
    }

    /// Takes connections from proxies, which say whom they come from: PROXY protocol, version 1 or 2.
    /// Default: no.
    ///
    /// `is_trusted` is asked of every connection's own address. Others may not connect at all: whoever
    /// is believed may claim any address. The header is read before the handshake and within
    /// [its time](Self::handshake_timeout). From then on the announced address is the peer's, for hooks,
    /// limits and events, and [`PeerInfo::proxy`] is that of the proxy. Where a proxy does not say, or looks
    /// whether the daemon lives, the peer is the proxy. Without a header a connection is closed; one that
    /// is longer than 4096 bytes is none.
    ///
    /// # Example
    ///
    /// ```
    /// # use erps::{Daemon, DaemonBuilder, Server};
    /// # fn example<S: Server>(builder: DaemonBuilder<S>) -> DaemonBuilder<S> {
    /// builder.proxy_protocol(|peer| peer.is_within([10, 1, 0, 0], 16))
    /// # }
    /// ```
    pub fn proxy_protocol(
        mut self,
        is_trusted: impl Fn(&Endpoint) -> bool + Send + Sync + 'static,
    ) -> Self {
        let trusted = move |peer: &Endpoint| is_trusted(peer).then_some(()).ok_or("not trusted");
        self.settings.proxies = Some(Hook::new(trusted));
        self
    }

    /// Says by its address who is let in, before the handshake. Default: everybody.
    ///
    /// The reason that the closure gives is in the daemon's [events](Daemon::events), and the peer is
    /// told, unless the transport is secure: nothing can be said there without a handshake. The closure
    /// runs in the connection's own task and must not block. If it panics, the peer is not let in.
    pub fn admit_address<E: Into<BoxError>>(
        mut self,
        admit: impl Fn(&Endpoint) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.settings.admit_address = Some(Hook::new(admit));
        self
    }

    /// Says who is let in once the handshake is done, by address and identity. Default: everybody.
    ///
    /// The peer is told the reason that the closure gives, by an error packet. Else as
    /// [`admit_address`](Self::admit_address). To have strangers fail their handshake, see
    /// [`Tls::check_peer`](crate::Tls::check_peer).
    pub fn admit<E: Into<BoxError>>(
        mut self,
        admit: impl Fn(&PeerInfo) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.settings.admit = Some(Hook::new(admit));
        self
    }

    /// How many handshakes may be pending. Default: 256. At the limit the one that has taken
    /// longest is dropped for a newcomer.
    pub fn max_pending_handshakes(mut self, handshakes: usize) -> Self {
        self.settings.limits.pending_handshakes = handshakes.max(1);
        self
    }

    /// How long a peer may take over its TLS handshake. Default: 10 seconds.
    ///
    /// A peer that takes longer is dropped; no server is started for it.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.settings.limits.handshake_timeout = limit;
        self
    }

    /// How long the start of a server may take: its supervisor's answer, and its `init`. OTP's
    /// `timeout` of a start. Default: 60 seconds.
    ///
    /// Then the connection is closed, whatever the supervisor does. A server that is at its `init` is
    /// killed, one that is beyond is [shut down](Self::server_shutdown), and none comes later.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.settings.start_timeout = limit;
        self
    }

    /// Called whenever the daemon has started: also when a supervisor restarts it, which is how
    /// to learn of the new handle and, if none was given, the new port.
    pub fn on_start(mut self, callback: impl Fn(&Daemon<S>) + Send + Sync + 'static) -> Self {
        self.on_start = Some(Arc::new(callback));
        self
    }

    /// Starts the daemon, in the universe of whoever awaits this, and is ready once it listens.
    ///
    /// It lives until it is told to end, or is killed, or a listener fails
    /// [too often](Self::max_listener_restarts); handles do not keep it alive.
    ///
    /// # Errors
    ///
    /// A [`StartDaemonError`] that says what to change. Nothing is left listening.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing is left listening.
    pub async fn start(self) -> Result<Daemon<S>, StartDaemonError> {
        run::start(self).await
    }

    /// As [`start`](Self::start), and the daemon ends when what is returned is dropped.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// As [`start`](Self::start).
    pub async fn start_link(self) -> Result<Linked<Daemon<S>>, StartDaemonError> {
        self.start().await.map(Linked::new)
    }

    /// The daemon as a child of a supervisor. It keeps the universe current at this call through
    /// every restart, and its port if one was given.
    ///
    /// Its shutdown is [`Shutdown::Infinity`], as it waits for its servers, who have their own
    /// time limits: the calls that have arrived are answered
    /// ([`drain_timeout`](Self::drain_timeout)), then `terminate` runs
    /// ([`server_shutdown`](Self::server_shutdown)).
    #[track_caller]
    pub fn child_spec(self, id: impl Into<String>) -> ChildSpec {
        let here = Here::capture();
        let builder = Mutex::new(self);
        let start = move || {
            let builder = builder
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            here.scope(async move {
                let daemon = builder.start().await?;
                Ok(Started::Running(daemon.task().clone()))
            })
        };
        ChildSpec::new(id, start).shutdown(Shutdown::Infinity)
    }
}

impl<S: Server> Clone for DaemonBuilder<S> {
    fn clone(&self) -> Self {
        Self {
            seed: self.seed.clone(),
            settings: self.settings.clone(),
            spawner: self.spawner.clone(),
            supervisor: self.supervisor.clone(),
            forward_callers: self.forward_callers,
            identifier: self.identifier,
            versions: self.versions.clone(),
            on_start: self.on_start.clone(),
        }
    }
}

impl<S: Server> fmt::Debug for DaemonBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaemonBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
