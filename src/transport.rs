//! The only module that opens sockets: listening, connecting, handshakes and peer identities.
//!
//! ```text
//! listen, dial      a socket and its options                           `tcp`, `unix`
//!       |
//!   Transport       a handshake, or none: Tcp, Tls, or a user's type   `tls`
//!       |
//!    Secured        a byte stream, and the identity of the peer        `identity`
//! ```
//!
//! The layers above see byte streams only, and do not depend on their type.

mod alert;
mod credentials;
mod dial;
mod error;
mod identity;
mod listen;
mod tcp;
#[cfg(feature = "test-ca")]
mod test_ca;
mod text;
mod tls;
#[cfg(unix)]
mod unix;
mod untrusted;

use std::{fmt, pin::Pin};

use futures_lite::{AsyncRead, AsyncWrite};

use crate::Endpoint;

pub use alert::Alert;
pub use credentials::PeerCredentials;
pub(crate) use dial::{DialError, Target, dial};
pub use error::HandshakeError;
pub(crate) use error::refusal;
pub use identity::{PeerIdentity, UnreadableCertificate};
pub use listen::ExternalListener;
pub(crate) use listen::{ListenAddress, Listener};
pub(crate) use tcp::SocketOptions;
pub use tcp::{Tcp, TcpOptions};
#[cfg(feature = "test-ca")]
pub use test_ca::{TestCa, TestCertificate, TestRequest};
pub use tls::{Tls, TlsError};
pub use untrusted::Untrusted;

/// A bidirectional byte stream: a socket, or a [`Transport`]'s wrapper around one.
///
/// `poll_close` closes the sending half and signals it to the peer; dropping the stream closes both halves.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A connection before its handshake, and what the operating system reports about the peer.
pub(crate) struct RawConnection {
    pub(crate) stream: BoxedStream,
    pub(crate) peer: Endpoint,
    pub(crate) credentials: Option<PeerCredentials>,
}

impl RawConnection {
    /// Returns a connection without peer credentials.
    pub(crate) fn new(stream: BoxedStream, peer: Endpoint) -> Self {
        Self {
            stream,
            peer,
            credentials: None,
        }
    }
}

/// A boxed [`ByteStream`].
pub type BoxedStream = Box<dyn ByteStream>;

/// The future of a handshake, as [`Transport`]'s methods return it.
pub type Handshake<'a> = Pin<Box<dyn Future<Output = Result<Secured, HandshakeError>> + Send + 'a>>;

/// The handshake of a connection, before its first packet.
///
/// [`Tcp`] has no handshake, [`Tls`] has that of TLS; you can implement others. A handshake runs in the task of
/// its connection, under a time limit, and may be dropped at any time.
///
/// # Example
///
/// A transport whose clients send a password first:
///
/// ```
/// use erps::{BoxedStream, Endpoint, Handshake, HandshakeError, Secured, Transport};
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
///
/// #[derive(Debug)]
/// struct Password;
///
/// impl Transport for Password {
///     fn accept<'a>(&'a self, mut stream: BoxedStream, _: Endpoint) -> Handshake<'a> {
///         Box::pin(async move {
///             let mut password = [0; 6];
///             stream.read_exact(&mut password).await?;
///             if &password != b"sesame" {
///                 return Err(HandshakeError::other("wrong password"));
///             }
///             Ok(Secured::new(stream))
///         })
///     }
///
///     fn connect<'a>(&'a self, mut stream: BoxedStream, _: &'a str) -> Handshake<'a> {
///         Box::pin(async move {
///             stream.write_all(b"sesame").await?;
///             stream.flush().await?;
///             Ok(Secured::new(stream))
///         })
///     }
///
///     fn is_secure(&self) -> bool {
///         false
///     }
/// }
/// ```
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Performs the server's handshake on a connection accepted from `peer`.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`]. The connection is dropped; no server is started for it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    fn accept<'a>(&'a self, stream: BoxedStream, peer: Endpoint) -> Handshake<'a>;

    /// Performs the client's handshake on a connection to `server_name`, the host of the client's address: a
    /// name or an IP address.
    ///
    /// Must complete only when the server has accepted this client.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`]. The client has sent no packet.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    fn connect<'a>(&'a self, stream: BoxedStream, server_name: &'a str) -> Handshake<'a>;

    /// Returns whether the transport authenticates peers and encrypts.
    ///
    /// A daemon whose transport does not can listen beyond loopback only with
    /// [`plaintext_anywhere`](crate::DaemonBuilder::plaintext_anywhere).
    fn is_secure(&self) -> bool;
}

/// A connection after its handshake.
#[non_exhaustive]
pub struct Secured {
    /// The stream that carries packets.
    pub stream: BoxedStream,
    /// The authenticated identity of the peer. `None` if the transport does not authenticate.
    pub identity: Option<PeerIdentity>,
    /// The [generation](Tls::generation) of the certificates that this end presented. `None` without TLS.
    pub generation: Option<u64>,
}

impl Secured {
    /// Returns a connection whose peer is not authenticated.
    #[must_use]
    pub fn new(stream: BoxedStream) -> Self {
        Self {
            stream,
            identity: None,
            generation: None,
        }
    }

    /// Sets the identity of the peer.
    #[must_use]
    pub fn with_identity(mut self, identity: PeerIdentity) -> Self {
        self.identity = Some(identity);
        self
    }
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured")
            .field("identity", &self.identity)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
