//! Options that set where a daemon listens.

#[cfg(unix)]
use std::path::Path;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::DaemonBuilder;
#[cfg(unix)]
use crate::daemon::settings::UNIX_MODE;
use crate::{
    Server,
    transport::{ExternalListener, ListenAddress},
};

impl<S: Server> DaemonBuilder<S> {
    /// Sets the port to listen on. Default: 0, any free port; [`Daemon::port`](crate::Daemon::port) returns
    /// it.
    pub fn port(mut self, port: u16) -> Self {
        self.settings.address_mut().set_port(port);
        self
    }

    /// Sets the address to listen on. Default: 127.0.0.1, which only this machine reaches. *erps* listens
    /// on all addresses.
    ///
    /// Beyond loopback a secure [`transport`](Self::transport) is required, unless
    /// [`plaintext_anywhere`](Self::plaintext_anywhere) is set.
    pub fn bind(mut self, address: impl Into<IpAddr>) -> Self {
        self.settings.address_mut().set_ip(address.into());
        self
    }

    /// Adds an address to listen on. May be repeated. Port 0 is any free port.
    ///
    /// If neither [`bind`](Self::bind) nor [`port`](Self::port) is called, the daemon listens only on added
    /// addresses. [`Daemon::local_addrs`](crate::Daemon::local_addrs) returns them. If one of them cannot be
    /// bound, the daemon does not start.
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
        self.settings.also.push(ListenAddress::Inet(address.into()));
        self
    }

    /// Adds a Unix socket to listen on, at this path. May be repeated. Only the daemon's own user may
    /// connect, unless [`unix_mode`](Self::unix_mode) is set.
    ///
    /// Plaintext is allowed, because access is controlled by the file. It must be in a directory that no
    /// other user may write to. A socket file on which no process listens is replaced; any other file is an
    /// error. The daemon removes the file when it exits, if the file is still its own. Peers have no IP
    /// address, but [`PeerInfo::credentials`](crate::PeerInfo::credentials). The network of a simulated
    /// universe has no Unix sockets.
    ///
    /// If several daemons start at one path at the same time, one of them binds it. The socket is created
    /// in the same directory, under a name like `.erps0`, and renamed once it listens: so tools like `ss`
    /// show that name, and the path of the directory must leave space for it (about 100 bytes in total). A
    /// process that crashes in between leaves that file or a `.name.erps-lock` behind; both may be removed.
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
        let place = ListenAddress::Unix(path.as_ref().into(), UNIX_MODE);
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

    /// Adds an existing listener: one from systemd's socket activation, or one passed on by the process that
    /// this one replaces. May be repeated.
    ///
    /// The listener is shared with its other owners and with later starts of the daemon. It is closed only
    /// when the last owner has dropped it, including this builder and its
    /// [`child_spec`](Self::child_spec). So a builder that is kept for restarts, as every `child_spec` keeps
    /// one, keeps the port open after the daemon has exited or was drained, and new connections wait for
    /// the next daemon.
    ///
    /// It is made non-blocking. Options that are set before a socket listens are not changed. Plaintext
    /// beyond loopback is rejected as with [`bind`](Self::bind). If it fails, the daemon retries with the
    /// same listener. It has one accept loop. The file of a Unix socket is not removed.
    ///
    /// # Example
    ///
    /// With systemd, by the crate `listenfd`:
    ///
    /// ```ignore
    /// let mut listeners = listenfd::ListenFd::from_env();
    /// if let Some(listener) = listeners.take_tcp_listener(0)? {
    ///     builder = builder.listener(listener);
    /// }
    /// ```
    pub fn listener(mut self, listener: impl Into<ExternalListener>) -> Self {
        self.settings.also.push(listener.into().into_address());
        self
    }

    /// Sets how many tasks accept connections on each TCP address. Default: 1.
    ///
    /// With more, each has a listener of its own, and the system distributes connections over them
    /// ([`reuse_port`](crate::TcpOptions::reuse_port)): for executors with several threads, and thousands of
    /// new connections per second. There is one on systems without that option, in a simulated universe, on
    /// a Unix socket, and for an [existing listener](Self::listener).
    ///
    /// A port shared by several loops is also shared with other processes of the same user: starting the
    /// same service twice on one port then succeeds, and each gets some of the connections; with one loop it
    /// fails with [`StartDaemonError::Bind`](crate::StartDaemonError::Bind).
    pub fn accept_loops(mut self, loops: usize) -> Self {
        self.settings.accept_loops = loops.max(1);
        self
    }

    /// Sets how often a failed listener is rebound within a period. Default: ten times within 60 seconds.
    ///
    /// The daemon waits 10 milliseconds before the first rebind, and twice as long before each that follows,
    /// up to a second; open connections are not affected. At one failure more the daemon exits with the error of the
    /// listener. Running out of descriptors or memory is not a failure: the daemon pauses and retries.
    pub fn max_listener_rebinds(mut self, count: usize, within: Duration) -> Self {
        self.settings.listener_rebinds = (count, within);
        self
    }
}
