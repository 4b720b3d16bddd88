//! TCP: the one place where sockets are opened.
//!
//! In a simulated universe there are none: whoever listens or dials there is on its network.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use async_net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::{BoxedStream, Handshake, Secured, Transport};
use crate::{
    network::{self, Network},
    task,
};

/// The transport without a handshake: plaintext, and peers that nobody vouches for.
///
/// For tests, and for networks where something else keeps strangers out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Transport for Tcp {
    fn accept<'a>(&'a self, stream: BoxedStream, _peer: SocketAddr) -> Handshake<'a> {
        Box::pin(std::future::ready(Ok(Secured::new(stream))))
    }

    fn connect<'a>(&'a self, stream: BoxedStream, _server_name: &'a str) -> Handshake<'a> {
        Box::pin(std::future::ready(Ok(Secured::new(stream))))
    }

    fn is_secure(&self) -> bool {
        false
    }
}

/// The options of a TCP socket, a listening or a connected one.
///
/// An option that the system refuses for a listening socket is an error of binding; one that it
/// refuses for a single connection is left as it is.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use erps::TcpOptions;
///
/// let options = TcpOptions::new()
///     .keepalive(Duration::from_secs(60))
///     .backlog(64);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TcpOptions {
    nodelay: bool,
    keepalive: Option<Duration>,
    user_timeout: Option<Duration>,
    backlog: u32,
    reuse_address: bool,
    linger: Option<Duration>,
    send_buffer: Option<u32>,
    receive_buffer: Option<u32>,
}

impl TcpOptions {
    /// The defaults, as each method states them.
    pub fn new() -> Self {
        Self {
            nodelay: true,
            keepalive: Some(Duration::from_secs(60)),
            user_timeout: Some(Duration::from_secs(60)),
            backlog: 1024,
            reuse_address: true,
            linger: None,
            send_buffer: None,
            receive_buffer: None,
        }
    }

    /// Whether small packets leave at once (`TCP_NODELAY`). Default: true.
    ///
    /// Without it a packet may wait 40 milliseconds for the acknowledgement of the one before.
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// How long nothing has been heard of the peer before the system asks whether it is there
    /// (`SO_KEEPALIVE`). Default: 60 seconds.
    ///
    /// Whole seconds, at least one. It asks again every ten seconds, and gives the connection up when
    /// three questions, or the [`user_timeout`](Self::user_timeout), have gone by without an answer. So
    /// a peer that has vanished without a word is found out even by an end that has nothing to send.
    pub fn keepalive(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.keepalive = idle.into();
        self
    }

    /// How long what was sent may go unacknowledged before the system gives the connection up
    /// (`TCP_USER_TIMEOUT`). Default: 60 seconds; `None` is the system's own limit, a quarter of an hour
    /// on Linux.
    ///
    /// Reading and writing fail then with `TimedOut`. Linux, Android and Fuchsia have it; elsewhere it
    /// has no effect.
    pub fn user_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.user_timeout = limit.into();
        self
    }

    /// How many connections may wait to be accepted. Default: 1024.
    ///
    /// The system has a limit of its own; beyond either, a client waits and tries again. The
    /// original has 5.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Whether a port can be bound again while old connections of it linger (`SO_REUSEADDR`).
    /// Default: true.
    ///
    /// Two listeners on one port are refused all the same. It has no effect on Windows, where it
    /// would allow just that.
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// How long the system tries to deliver what is unsent when a connection is dropped
    /// (`SO_LINGER`). Default: as the system does, in the background.
    ///
    /// Zero discards it and resets the connection. Anything else makes the drop wait, and with it
    /// the thread.
    pub fn linger(mut self, linger: impl Into<Option<Duration>>) -> Self {
        self.linger = linger.into();
        self
    }

    /// The size of the system's send buffer, in bytes (`SO_SNDBUF`). Default: the system's, which
    /// grows by itself.
    pub fn send_buffer(mut self, bytes: impl Into<Option<u32>>) -> Self {
        self.send_buffer = bytes.into();
        self
    }

    /// The size of the system's receive buffer, in bytes (`SO_RCVBUF`). Default: the system's,
    /// which grows by itself.
    pub fn receive_buffer(mut self, bytes: impl Into<Option<u32>>) -> Self {
        self.receive_buffer = bytes.into();
        self
    }

    /// What has to be set before the socket listens: accepted sockets inherit the buffers.
    fn apply_to_listener(&self, socket: &Socket) -> io::Result<()> {
        if cfg!(not(windows)) {
            socket.set_reuse_address(self.reuse_address)?;
        }
        self.apply_buffers(socket)
    }

    fn apply_to_connection(&self, socket: &Socket) -> io::Result<()> {
        socket.set_tcp_nodelay(self.nodelay)?;
        if let Some(idle) = self.keepalive {
            socket.set_tcp_keepalive(&keepalive(idle))?;
        }
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "fuchsia"))]
        socket.set_tcp_user_timeout(self.user_timeout)?;
        if self.linger.is_some() {
            socket.set_linger(self.linger)?;
        }
        self.apply_buffers(socket)
    }

    fn apply_buffers(&self, socket: &Socket) -> io::Result<()> {
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes as usize)?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes as usize)?;
        }
        Ok(())
    }

    /// Sets up a connection and hides that it is TCP.
    ///
    /// A socket that is dead already refuses its options; its reader will find out.
    fn finish(&self, stream: TcpStream) -> BoxedStream {
        if let Err(error) = self.apply_to_connection(&SockRef::from(&stream)) {
            tracing::debug!(%error, "a socket option was refused");
        }
        Box::new(stream)
    }

    /// How long the system asks a peer that has been silent for `idle` whether it is there.
    fn probing(&self, idle: Duration) -> Duration {
        let probing = PROBE_INTERVAL * PROBES;
        match self.user_timeout {
            Some(limit) => limit.saturating_sub(idle).clamp(PROBE_INTERVAL, probing),
            None => probing,
        }
    }

    fn finish_simulated(&self, mut stream: network::Stream) -> BoxedStream {
        if self.linger == Some(Duration::ZERO) {
            stream.abort_on_drop();
        }
        stream.set_patience(network::Patience {
            unanswered: self.user_timeout,
            unheard: self
                .keepalive
                .map(|idle| idle.saturating_add(self.probing(idle))),
        });
        Box::new(stream)
    }
}

/// How often a peer is asked whether it is there, and how often in vain.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

fn keepalive(idle: Duration) -> TcpKeepalive {
    let keepalive = TcpKeepalive::new().with_time(idle.max(Duration::from_secs(1)));
    #[cfg(not(any(target_os = "openbsd", target_os = "redox", target_os = "solaris")))]
    let keepalive = keepalive.with_interval(PROBE_INTERVAL);
    #[cfg(not(any(
        windows,
        target_os = "openbsd",
        target_os = "redox",
        target_os = "solaris"
    )))]
    let keepalive = keepalive.with_retries(PROBES);
    keepalive
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A port that is listened on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: Kind,
    options: TcpOptions,
}

#[derive(Debug)]
enum Kind {
    Real(TcpListener),
    Simulated(network::Listener),
}

impl Listener {
    /// Opens a port; port 0 means any free one.
    pub(crate) fn bind(address: SocketAddr, options: &TcpOptions) -> io::Result<Self> {
        let listener = match Network::current() {
            Some(network) => Kind::Simulated(network.listen_with(address, options.backlog)?),
            None => Kind::Real(Self::bind_socket(address, options)?),
        };
        Ok(Self {
            listener,
            options: options.clone(),
        })
    }

    fn bind_socket(address: SocketAddr, options: &TcpOptions) -> io::Result<TcpListener> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        options.apply_to_listener(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        TcpListener::try_from(std::net::TcpListener::from(socket))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.listener {
            Kind::Real(listener) => listener.local_addr(),
            Kind::Simulated(listener) => Ok(listener.local_addr()),
        }
    }

    /// Waits for a connection. For tasks of the library only.
    ///
    /// An error concerns one connection or the whole process (`EMFILE`), and returns at once: the
    /// caller must know which, and pause before it asks again.
    ///
    /// Cancel safe: a connection is either returned or left to the next call.
    pub(crate) async fn accept(&self) -> io::Result<(BoxedStream, SocketAddr)> {
        match &self.listener {
            Kind::Real(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((self.options.finish(stream), peer))
            }
            Kind::Simulated(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((self.options.finish_simulated(stream), peer))
            }
        }
    }
}

/// Connects to the first address of `host` that answers, each within `limit`. For tasks of the
/// library only.
///
/// `host` is a name or an address; an IPv6 address may stand in brackets.
///
/// Cancel safe: a connection that is not returned is dropped.
pub(crate) async fn dial(
    host: &str,
    port: u16,
    options: &TcpOptions,
    limit: Duration,
) -> Result<(BoxedStream, SocketAddr), DialError> {
    let network = Network::current();
    let mut last = None;
    for address in resolve(host, port, network.as_ref()).await? {
        let connect = async {
            match &network {
                Some(network) => {
                    let stream = network.connect(address).await?;
                    Ok(options.finish_simulated(stream))
                }
                None => connect(address, options).await,
            }
        };
        match task::timeout(limit, connect).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(source)) => last = Some(DialError::Failed { address, source }),
            Err(task::Elapsed) => last = Some(DialError::TimedOut { address, limit }),
        }
    }
    Err(last.unwrap_or_else(|| DialError::NoAddress(host.to_owned())))
}

async fn connect(address: SocketAddr, options: &TcpOptions) -> io::Result<BoxedStream> {
    let stream = TcpStream::connect(address).await?;
    if is_its_own_peer(&stream) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(options.finish(stream))
}

/// Tells whether a socket was connected to itself, as TCP allows.
///
/// It happens to whoever dials a port of this machine on which nobody listens, once the system
/// picks that same port for the dialling end. A client that heals tries often enough to meet it,
/// and would then keep the server it waits for from listening there.
fn is_its_own_peer(stream: &TcpStream) -> bool {
    matches!(
        (stream.local_addr(), stream.peer_addr()),
        (Ok(local), Ok(peer)) if local == peer
    )
}

async fn resolve(
    host: &str,
    port: u16,
    network: Option<&Network>,
) -> Result<Vec<SocketAddr>, DialError> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let resolved = match network {
        Some(network) => network
            .resolve(bare)
            .map(|ip| vec![SocketAddr::new(ip, port)]),
        None => async_net::resolve((bare, port)).await,
    };
    resolved.map_err(|source| DialError::Unresolved {
        host: host.to_owned(),
        source,
    })
}

/// Why there is no TCP connection. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("cannot resolve {host:?}: {source}")]
    Unresolved { host: String, source: io::Error },
    #[error("{0:?} has no address")]
    NoAddress(String),
    #[error("cannot connect to {address}: {source}")]
    Failed {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot connect to {address}: no answer within {limit:?}")]
    TimedOut {
        address: SocketAddr,
        limit: Duration,
    },
}
