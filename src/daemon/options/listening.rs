//! Options of where a daemon listens.

#[cfg(unix)]
use std::path::Path;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::DaemonBuilder;
#[cfg(unix)]
use super::settings::UNIX_MODE;
use crate::{
    Server,
    transport::{HandedIn, Place},
};

impl<S: Server> DaemonBuilder<S> {
    /// The port to listen on. Default: 0, which is any free one; [`Daemon::port`](crate::Daemon::port) tells which.
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
    /// these. [`Daemon::local_addrs`](crate::Daemon::local_addrs) tells where it listens. If one of them cannot be had, it does not
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
    /// that no other user may write to. A socket file at which no process listens is replaced;
    /// any other file is an error. When the daemon ends it removes the file, if it is still its own. Peers
    /// have no IP address, and [`PeerInfo::credentials`](crate::PeerInfo::credentials) instead. The network of a simulated universe has no
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

    /// Sets the permissions of Unix socket files: write permission allows connecting. Default: 0o600,
    /// the daemon's own user.
    #[cfg(unix)]
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.settings.unix_mode = mode;
        self
    }

    /// Accepts also from an existing listener: one from systemd's socket activation, or one passed on by the
    /// process that this one replaces. As with [`listen`](Self::listen), any number of them.
    ///
    /// The listener is shared with its other owners and with later starts of the daemon. It is closed
    /// only when the last owner has dropped it, this builder and its [`child_spec`](Self::child_spec)
    /// included. So a builder that is kept for restarts, as every `child_spec` keeps one, keeps the port open when
    /// the daemon has ended or is drained, and new connections wait for the next daemon. It is made non-blocking. Options that are set before a socket listens are left as they are.
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
    /// ([`reuse_port`](crate::TcpOptions::reuse_port)): for executors with several threads, and thousands of new
    /// connections a second. Where the system does not have it, and in a simulated universe, there is one; so
    /// there is at a Unix socket, and for a listener that is [handed in](Self::listener).
    ///
    /// A port that is shared by several loops is shared with everybody of the same user who asks for it: the
    /// same service can be started twice at one port, which without this is
    /// [`StartDaemonError::Bind`](crate::StartDaemonError::Bind), and each gets some of the connections.
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
}
