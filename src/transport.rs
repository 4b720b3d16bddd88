//! The one door to sockets: how a connection is made, secured, and who is at its other end.
//!
//! ```text
//! listen, dial      bytes over a socket, and its options               `tcp`
//!       |
//!   Transport       a handshake, or none: Tcp, Tls, or a user's own    `tls`
//!       |
//!    Secured        a stream of bytes, and the identity of the peer    `identity`
//! ```
//!
//! The layers above see streams only: what is beneath one, they cannot tell.

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
pub use listen::HandedIn;
pub(crate) use listen::{Listener, Place};
pub(crate) use tcp::Sockets;
pub use tcp::{Tcp, TcpOptions};
#[cfg(feature = "test-ca")]
pub use test_ca::{TestCa, TestCertificate, TestRequest};
pub use tls::{Tls, TlsError};
pub use untrusted::Untrusted;

/// A stream of bytes in both directions: a socket, or whatever a [`Transport`] makes of one.
///
/// Closing it ends the sending half and tells the peer so; dropping it ends both.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A connection as the system makes it, and what the system says of its other end.
pub(crate) struct Socketed {
    pub(crate) stream: BoxedStream,
    pub(crate) peer: Endpoint,
    pub(crate) credentials: Option<PeerCredentials>,
}

impl Socketed {
    /// One that says nothing of the process at the other end.
    pub(crate) fn new(stream: BoxedStream, peer: Endpoint) -> Self {
        Self {
            stream,
            peer,
            credentials: None,
        }
    }
}

/// A [`ByteStream`] whose type does not matter.
pub type BoxedStream = Box<dyn ByteStream>;

/// What [`Transport`]'s methods return: a handshake under way.
pub type Handshake<'a> = Pin<Box<dyn Future<Output = Result<Secured, HandshakeError>> + Send + 'a>>;

/// What happens between a connection of the system and the first packet on it.
///
/// [`Tcp`] does nothing and [`Tls`] shakes hands; others may be written. Both handshakes run in a
/// task that belongs to the connection, under a time limit, and end without harm when dropped.
///
/// # Example
///
/// A transport that wants to hear a word before it lets anybody in:
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
///             let mut word = [0; 6];
///             stream.read_exact(&mut word).await?;
///             if &word != b"sesame" {
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
    /// Secures a connection that was accepted from `peer`.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`]. The connection is dropped; no server is started for it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    fn accept<'a>(&'a self, stream: BoxedStream, peer: Endpoint) -> Handshake<'a>;

    /// Secures a connection to `server_name`, the host the user asked for: a name or an address.
    ///
    /// Completes only when the server has let this client in.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`]. The server has seen no packet of this client.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    fn connect<'a>(&'a self, stream: BoxedStream, server_name: &'a str) -> Handshake<'a>;

    /// Tells whether strangers are kept out and nobody on the way can read along.
    ///
    /// A daemon refuses to listen beyond loopback with a transport that is not secure, unless
    /// that is asked for by name.
    fn is_secure(&self) -> bool;
}

/// A connection after its handshake.
#[non_exhaustive]
pub struct Secured {
    /// What packets are read from and written to.
    pub stream: BoxedStream,
    /// Who is at the other end, where the transport has proved it.
    pub identity: Option<PeerIdentity>,
    /// Which of this end's certificates it was made with, where they have a
    /// [generation](Tls::generation).
    pub generation: Option<u64>,
}

impl Secured {
    /// A connection whose peer is not known.
    #[must_use]
    pub fn new(stream: BoxedStream) -> Self {
        Self {
            stream,
            identity: None,
            generation: None,
        }
    }

    /// Adds who is at the other end.
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
