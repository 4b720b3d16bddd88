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
//! - *No session is resumed* unless that is asked for. Resumption skips the verification of the
//!   peer's certificate, so that one which has expired since would still be let in. Without it a
//!   reconnect costs half a millisecond of computing more.
//! - *A client is connected only when the server has accepted its certificate.* Under TLS 1.3 a
//!   client has finished its handshake before the server has seen its certificate. A refusal
//!   would reach the first reader of the connection, long after `connect` has reported success.
//!   [`TlsStream::connect`] tells how it is waited for.

mod buffer;
mod credentials;
mod error;
mod expiry;
mod fault;
mod files;
mod pem;
mod provider;
mod reason;
mod revocation;
mod settings;
mod source;
mod stream;
mod verify;

use std::{
    fmt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

pub use error::TlsError;
pub(super) use provider::sha256;

use self::{
    credentials::Credentials,
    settings::{Options, Settings},
    source::{Source, Sources},
    stream::TlsStream,
    verify::Check,
};
use super::{
    BoxedStream, Handshake, HandshakeError, PeerIdentity, Secured, Transport,
    text::without_password,
};
use crate::{BoxError, Endpoint};

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

impl Tls {
    /// Reads PEM files: the CA certificates that vouch for peers, this end's own certificate
    /// followed by its intermediates, and its private key (PKCS #8, PKCS #1 or SEC 1).
    ///
    /// A certificate that peers are likely to reject is accepted, and an event of the target `erps`
    /// warns of it: one that is [out of date](Self::expiry_warning), that is the certificate of a CA
    /// (basic constraints CA:TRUE), or that a server presents without alternative names.
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
        Self::with(Sources {
            ca: Source::file("CA", ca.as_ref())?,
            certificate: Source::file("certificate", certificate.as_ref())?,
            key: Source::file("private key", key.as_ref())?,
            lists: None,
        })
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
        Self::with(Sources {
            ca: Source::given("CA", ca.as_ref()),
            certificate: Source::given("certificate", certificate.as_ref()),
            key: Source::given("private key", key.as_ref()),
            lists: None,
        })
    }

    fn with(sources: Sources) -> Result<Self, TlsError> {
        let settings = Settings::new(Credentials::new(sources)?, Options::default())?;
        settings.warn();
        Ok(Self::of(settings))
    }

    fn of(settings: Settings) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(settings))))
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Options)) -> Self {
        let settings = self.settings();
        let mut options = settings.options.clone();
        change(&mut options);
        let settings = Settings::new(settings.credentials.clone(), options);
        Self::of(settings.expect("the system has random numbers"))
    }

    /// Puts `new` in the place of what is there, as the next generation, if that is what is asked for.
    fn replace(&self, new: Settings, only_if: impl FnOnce(&Arc<Settings>) -> bool) -> bool {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !only_if(&place) {
            return false;
        }
        let generation = place.generation + 1;
        let new = Arc::new(Settings { generation, ..new });
        *place = Arc::clone(&new);
        drop(place);
        tracing::info!(target: "erps", generation, "new certificates are in use");
        new.warn();
        true
    }

    /// Turns away peers whose certificates were taken back, by the lists in this PEM text
    /// (`-----BEGIN X509 CRL-----`). Replaces the lists there were. Default: none are asked.
    ///
    /// The peer's certificate and all those between it and the CA are looked up, each in the list of
    /// its issuer. Who is found there is [`Untrusted::Revoked`](crate::Untrusted::Revoked) here, and
    /// is told `certificate_revoked`. Where there is no telling, nobody is let in: without a list of
    /// the issuer ([`Untrusted::RevocationUnknown`](crate::Untrusted::RevocationUnknown)), and with
    /// one whose time is up
    /// ([`Untrusted::RevocationListExpired`](crate::Untrusted::RevocationListExpired)). The peer is
    /// told `bad_certificate_status_response` then, and a client of this library tries again.
    /// Connections that there are live on. Lists are part of what [`rotate`](Self::rotate) replaces.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn revocation_lists(self, pem: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        self.with_lists(Source::given("revocation list", pem.as_ref()))
    }

    /// As [`revocation_lists`](Self::revocation_lists), from a file, which is one of those that
    /// [`reload`](Self::reload) reads again.
    ///
    /// It blocks on the file.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]; it names the file.
    pub fn revocation_file(self, path: impl AsRef<Path>) -> Result<Self, TlsError> {
        self.with_lists(Source::file("revocation list", path.as_ref())?)
    }

    fn with_lists(&self, lists: Source) -> Result<Self, TlsError> {
        let old = self.settings();
        let sources = Sources {
            lists: Some(lists),
            ..Sources::clone(&old.credentials.sources)
        };
        let settings = Settings::new(Credentials::new(sources)?, old.options.clone())?;
        settings.warn();
        Ok(Self::of(settings))
    }

    /// The name a client verifies the server's certificate against: a DNS name or an IP address.
    /// Default: the host it connects to.
    ///
    /// The name must be among the certificate's alternative names; its common name does not
    /// count. It is also what the server is told (SNI), if it is a DNS name. A daemon ignores it.
    #[must_use]
    pub fn server_name(self, name: impl Into<String>) -> Self {
        self.change(|options| options.server_name = Some(name.into()))
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
        self.change(|options| options.check = Some(check))
    }

    /// How long a client waits for a sign that the server has accepted its certificate, where the
    /// server gives none. Default: 250 milliseconds.
    ///
    /// The time that the handshake took is added. Few servers need it: this library's, Erlang's,
    /// and all that send session tickets show at once that they are content. When the time is up
    /// the client counts as accepted; a refusal that comes later ends the connection.
    #[must_use]
    pub fn settle_time(self, time: Duration) -> Self {
        self.change(|options| options.settle_time = time)
    }

    /// Lets a client and a server that meet again take up their last session. Default: no.
    ///
    /// It spares both ends about half a millisecond of computing per reconnect. *It skips everything
    /// that would be asked of the peer's certificate*: whether it is still valid, whether it was
    /// revoked, what [`check_peer`](Self::check_peer) says; the peer is taken for who it was.
    /// Both ends must allow it. A session can be taken up for twelve hours at most, and not after a
    /// [rotation](Self::rotate) of either end.
    #[must_use]
    pub fn resumption(self, allowed: bool) -> Self {
        self.change(|options| options.resumption = allowed)
    }

    /// Replaces certificates and options by those of `new`, here and in all clones.
    ///
    /// Handshakes that begin from now on use them; those under way, and connections, do not
    /// notice. `new` has been verified when it was made, so nothing can go wrong here: where
    /// reading the new files fails, the old ones stay in use. The
    /// [generation](Self::generation) goes up by one.
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
        self.replace(Settings::clone(&new.settings()), |_| true);
    }

    /// How many sets of certificates these and their clones have had: 1 at first, one more with each
    /// rotation. [`PeerInfo::generation`](crate::PeerInfo::generation) says which of them a
    /// connection was made with.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.settings().generation
    }

    async fn shake_as_server(&self, stream: BoxedStream) -> Result<Secured, HandshakeError> {
        let settings = self.settings();
        settings.warn_as_server();
        let config = Arc::clone(&settings.server);
        secured(
            TlsStream::accept(config, stream).await?,
            settings.generation,
        )
    }

    async fn shake_as_client(
        &self,
        stream: BoxedStream,
        host: &str,
    ) -> Result<Secured, HandshakeError> {
        let settings = self.settings();
        let name = settings.name_of(host)?;
        let config = Arc::clone(&settings.client);
        let settle_time = settings.options.settle_time;
        secured(
            TlsStream::connect(config, name, stream, settle_time).await?,
            settings.generation,
        )
    }
}

fn secured(stream: TlsStream, generation: u64) -> Result<Secured, HandshakeError> {
    let identity = stream.identity()?;
    Ok(Secured {
        generation: Some(generation),
        ..Secured::new(Box::new(stream)).with_identity(identity)
    })
}

impl Transport for Tls {
    fn accept<'a>(&'a self, stream: BoxedStream, _peer: Endpoint) -> Handshake<'a> {
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
        let options = &settings.options;
        f.debug_struct("Tls")
            .field("generation", &settings.generation)
            .field(
                "server_name",
                &options.server_name.as_deref().map(without_password),
            )
            .field("check_peer", &options.check.is_some())
            .field("revocation_lists", &!settings.credentials.lists.is_empty())
            .field("settle_time", &options.settle_time)
            .field("resumption", &options.resumption)
            .finish_non_exhaustive()
    }
}
