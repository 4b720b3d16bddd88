//! TLS in both directions: each end presents a certificate, and verifies the other's.
//!
//! ```text
//! packets  <-->  TlsStream  <-->  futures-rustls  <-->  Buffered  <-->  socket
//!                `stream`               |               `buffer`
//!                                   Verifier   chain, then name or `check_peer`   `verify`
//! ```
//!
//! This file and those below it are the only ones that name rustls. Two things differ from how
//! rustls comes out of the box:
//!
//! - *No session is ever resumed.* Resumption skips the verification of the client's certificate,
//!   so that one which has expired since would still be let in. It costs half a millisecond of
//!   computing per reconnect.
//! - *A client is connected only when the server has accepted its certificate.* Under TLS 1.3 a
//!   client has finished its handshake before the server has seen its certificate. A refusal
//!   would reach the first reader of the connection, long after `connect` has reported success.
//!   [`TlsStream::connect`] tells how it is waited for.

mod buffer;
mod credentials;
mod fault;
mod stream;
mod verify;

use std::{
    fmt,
    net::SocketAddr,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ClientConfig, ServerConfig, client::Resumption, pki_types::ServerName,
    server::NoServerSessionStorage,
};

pub use credentials::TlsError;
pub(super) use credentials::sha256;

use self::{
    credentials::{Credentials, Source},
    stream::TlsStream,
    verify::{Check, OnceTicket, Verifier},
};
use super::{BoxedStream, Handshake, HandshakeError, PeerIdentity, Secured, Transport};
use crate::BoxError;

/// The transport that lets in nobody without a certificate: two-way TLS, 1.2 and 1.3.
///
/// Both ends are configured alike, with the CA that vouches for the peer, and with a certificate
/// chain and its key to present to it. A client also verifies that the server's certificate is for
/// the host it asked for, or whatever [`check_peer`](Self::check_peer) says instead.
///
/// Clones share their settings, and [`rotate`](Self::rotate) changes those of all of them. Each
/// method that sets an option makes settings of its own.
///
/// # Example
///
/// ```no_run
/// use erps::Tls;
///
/// let tls = Tls::from_files("ca.pem", "server.pem", "server.key")?;
/// # Ok::<(), erps::TlsError>(())
/// ```
#[derive(Clone)]
pub struct Tls(Arc<RwLock<Arc<Settings>>>);

#[derive(Clone)]
struct Settings {
    credentials: Credentials,
    check: Option<Check>,
    server_name: Option<String>,
    settle_time: Duration,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// Enough for a server that refuses at once, on top of the round trips the handshake has shown.
/// It is spent only on servers that neither send a ticket nor answer a key update at once.
const SETTLE_TIME: Duration = Duration::from_millis(250);

impl Tls {
    /// Reads PEM files: the CA certificates that vouch for peers, this end's own certificate
    /// followed by its intermediates, and its private key (PKCS #8, PKCS #1 or SEC 1).
    ///
    /// It blocks on the files.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]; it names the file.
    pub fn from_files(
        ca: impl AsRef<Path>,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        Ok(Self::with(Credentials::new(
            &Source::file("CA", ca.as_ref())?,
            &Source::file("certificate", certificate.as_ref())?,
            &Source::file("private key", key.as_ref())?,
        )?))
    }

    /// Takes the contents of the files that [`from_files`](Self::from_files) reads.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn from_pem(
        ca: impl AsRef<[u8]>,
        certificate: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, TlsError> {
        Ok(Self::with(Credentials::new(
            &Source::given("CA", ca.as_ref()),
            &Source::given("certificate", certificate.as_ref()),
            &Source::given("private key", key.as_ref()),
        )?))
    }

    fn with(credentials: Credentials) -> Self {
        Self::of(Settings::new(credentials, None))
    }

    fn of(settings: Settings) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(settings))))
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::clone(&self.settings());
        change(&mut settings);
        Self::of(settings)
    }

    /// The name a client verifies the server's certificate against: a DNS name or an IP address.
    /// Default: the host it connects to.
    ///
    /// The name must be among the certificate's alternative names; its common name does not
    /// count. It is also what the server is told (SNI), if it is a DNS name. A daemon ignores it.
    #[must_use]
    pub fn server_name(self, name: impl Into<String>) -> Self {
        self.change(|settings| settings.server_name = Some(name.into()))
    }

    /// Decides who is let in, by what their certificates say. Default: a client verifies the
    /// server's name, a server lets in everybody the CA vouches for.
    ///
    /// It is asked after the certificate has proved valid: its chain, its time, its purpose. *On
    /// a client it replaces the check of the server's name*, on a server it comes on top. What it
    /// answers as an error becomes [`Untrusted::Check`](crate::Untrusted::Check) here and a refusal
    /// (`certificate_unknown`) there. It is called during the handshake and should not block.
    ///
    /// It is the original's `customize_hostname_check`.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # use erps::Tls;
    /// # let tls = Tls::from_files("ca.pem", "server.pem", "server.key")?;
    /// let tls = tls.check_peer(|peer| match peer.common_name() {
    ///     Some("billing") => Ok(()),
    ///     other => Err(format!("{other:?} is not billing")),
    /// });
    /// # Ok::<(), erps::TlsError>(())
    /// ```
    #[must_use]
    pub fn check_peer<E: Into<BoxError>>(
        self,
        check: impl Fn(&PeerIdentity) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        let check: Check = Arc::new(move |peer| check(peer).map_err(Into::into));
        self.change(|settings| {
            let fresh = Settings::new(settings.credentials.clone(), Some(check));
            settings.check = fresh.check;
            settings.client = fresh.client;
            settings.server = fresh.server;
        })
    }

    /// How long a client waits for a sign that the server has accepted its certificate, where the
    /// server gives none. Default: 250 milliseconds.
    ///
    /// The time that the handshake took is added. Few servers need it: this library's, Erlang's,
    /// and all that send session tickets show at once that they are content. When the time is up
    /// the client counts as accepted; a refusal that comes later ends the connection.
    #[must_use]
    pub fn settle_time(self, time: Duration) -> Self {
        self.change(|settings| settings.settle_time = time)
    }

    /// Replaces certificates and options by those of `new`, here and in all clones.
    ///
    /// Handshakes that begin from now on use them; those under way, and connections, do not
    /// notice. `new` has been verified when it was made, so nothing can go wrong here: where
    /// reading the new files fails, the old ones stay in use.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # use erps::{Tls, TlsError};
    /// # fn f(tls: &Tls) -> Result<(), TlsError> {
    /// tls.rotate(&Tls::from_files("ca.pem", "server.pem", "server.key")?);
    /// # Ok(()) }
    /// ```
    pub fn rotate(&self, new: &Self) {
        let settings = new.settings();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    async fn shake_as_server(&self, stream: BoxedStream) -> Result<Secured, HandshakeError> {
        let config = Arc::clone(&self.settings().server);
        secured(TlsStream::accept(config, stream).await?)
    }

    async fn shake_as_client(
        &self,
        stream: BoxedStream,
        host: &str,
    ) -> Result<Secured, HandshakeError> {
        let settings = self.settings();
        let name = settings.name_of(host)?;
        let config = Arc::clone(&settings.client);
        secured(TlsStream::connect(config, name, stream, settings.settle_time).await?)
    }
}

fn secured(stream: TlsStream) -> Result<Secured, HandshakeError> {
    let identity = stream.identity()?;
    Ok(Secured::new(Box::new(stream)).with_identity(identity))
}

impl Settings {
    fn new(credentials: Credentials, check: Option<Check>) -> Self {
        let verifier = Arc::new(Verifier::new(&credentials, check.clone()));
        let mut client = credentials
            .client
            .clone()
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_client_cert_resolver(Arc::clone(&credentials.own) as _);
        client.resumption = Resumption::disabled();
        let mut server = credentials
            .server
            .clone()
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&credentials.own) as _);
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.ticketer = Arc::new(OnceTicket);
        server.send_tls13_tickets = 1;
        Self {
            credentials,
            check,
            server_name: None,
            settle_time: SETTLE_TIME,
            client: Arc::new(client),
            server: Arc::new(server),
        }
    }

    fn name_of(&self, host: &str) -> Result<ServerName<'static>, HandshakeError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(bare.to_owned()).map_err(|_| HandshakeError::ServerName(name.into()))
    }
}

impl Transport for Tls {
    fn accept<'a>(&'a self, stream: BoxedStream, _peer: SocketAddr) -> Handshake<'a> {
        Box::pin(self.shake_as_server(stream))
    }

    fn connect<'a>(&'a self, stream: BoxedStream, server_name: &'a str) -> Handshake<'a> {
        Box::pin(self.shake_as_client(stream, server_name))
    }

    fn is_secure(&self) -> bool {
        true
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.settings();
        f.debug_struct("Tls")
            .field("server_name", &settings.server_name)
            .field("check_peer", &settings.check.is_some())
            .field("settle_time", &settings.settle_time)
            .finish_non_exhaustive()
    }
}
