//! Mutual TLS: each end presents a certificate, and verifies the other's.
//!
//! ```text
//! packets  <-->  TlsStream  <-->  futures-rustls  <-->  Buffered  <-->  socket
//!                `stream`               |               `buffer`
//!                                   Verifier   chain, then name or `check_peer`   `verify`
//! ```
//!
//! Only this module names rustls. It differs from rustls' defaults in two ways:
//!
//! - *Session resumption is off* by default. Resumption skips the verification of the peer's certificate, so that
//!   an expired one would still be accepted. Without it a reconnect costs about half a millisecond more of CPU time.
//! - *A client's handshake completes when the server has accepted its certificate.* With TLS 1.3 a client finishes
//!   its handshake before the server has seen the client's certificate. The alert that rejects it would reach the
//!   first read, after `connect` has reported success. [`TlsStream::connect`] explains how the client waits.

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

/// The mutual TLS transport, with TLS 1.2 and 1.3: both ends present a certificate.
///
/// A server and a client are configured in the same way: with the CA certificates that they trust, and their own
/// certificate chain and private key. A client also verifies that the server's certificate is for the host it
/// connects to, unless [`check_peer`](Self::check_peer) replaces this check.
///
/// Clones share their settings, and [`rotate`](Self::rotate) changes those of all clones. Methods that set an option
/// return a value with separate settings.
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
    /// Reads PEM files: the trusted CA certificates, this end's certificate followed by its intermediates, and its
    /// private key (PKCS #8, PKCS #1 or SEC 1).
    ///
    /// Emits a warning (target `erps`) for a certificate that peers are likely to reject: one that is
    /// [out of date](Self::expiry_warning), that is the certificate of a CA (basic constraints CA:TRUE), or that a
    /// server presents without alternative names.
    ///
    /// Blocks while it reads the files.
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

    /// Parses PEM text: the contents of the files that [`from_files`](Self::from_files) reads.
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

    /// Replaces the settings by `new`, as the next generation, if `only_if` accepts the present ones. Returns
    /// whether it did.
    fn replace(&self, new: Settings, only_if: impl FnOnce(&Arc<Settings>) -> bool) -> bool {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !only_if(&current) {
            return false;
        }
        let generation = current.generation + 1;
        let new = Arc::new(Settings { generation, ..new });
        *current = Arc::clone(&new);
        drop(current);
        tracing::info!(target: "erps", generation, "new certificates are in use");
        new.warn();
        true
    }

    /// Rejects peers with revoked certificates, by the certificate revocation lists in this PEM text
    /// (`-----BEGIN X509 CRL-----`). Replaces all previous lists. Default: no lists, and no revocation check.
    ///
    /// The peer's certificate and its intermediates are each looked up in the list of their issuer. A revoked one
    /// fails the handshake with [`Untrusted::Revoked`](crate::Untrusted::Revoked); the peer receives the alert
    /// `certificate_revoked`. The check fails closed: the peer is also rejected if its issuer has no list
    /// ([`Untrusted::RevocationUnknown`](crate::Untrusted::RevocationUnknown)), or an expired one
    /// ([`Untrusted::RevocationListExpired`](crate::Untrusted::RevocationListExpired)). It then receives the
    /// alert `bad_certificate_status_response`, after which a client of this library tries again. Existing
    /// connections stay open. [`rotate`](Self::rotate) replaces the lists too.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn revocation_lists(self, pem: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        self.with_lists(Source::given("revocation list", pem.as_ref()))
    }

    /// Reads [`revocation_lists`](Self::revocation_lists) from a file. [`reload`](Self::reload) reads it again.
    ///
    /// Blocks while it reads the file.
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

    /// Sets the name that a client verifies the server's certificate against: a DNS name or an IP address.
    /// Default: the host it connects to.
    ///
    /// The name must be among the certificate's alternative names; the common name is ignored. A DNS name is also
    /// sent to the server (SNI). A daemon ignores this setting.
    #[must_use]
    pub fn server_name(self, name: impl Into<String>) -> Self {
        self.change(|options| options.server_name = Some(name.into()))
    }

    /// Sets a function that accepts or rejects a peer by its certificate. Default: a client verifies the server's
    /// name, a server accepts every certificate of a trusted CA.
    ///
    /// It is called during the handshake, after the certificate's chain, validity and purpose were verified, and
    /// must not block. *On a client it replaces the check of the server's name*; on a server it is an additional
    /// check. An error rejects the peer: the handshake fails with [`Untrusted::Check`](crate::Untrusted::Check),
    /// and the peer receives the alert `certificate_unknown`.
    ///
    /// The equivalent of erps' `customize_hostname_check`.
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

    /// Sets how long a TLS 1.3 client waits for the server to accept or reject its certificate. Default:
    /// 250 milliseconds, plus the time that the handshake took.
    ///
    /// TLS 1.3 has no message that says so. Servers of this library and of Erlang, and all that send session
    /// tickets, send a record at once, which ends the wait. After other servers' silence the client counts as
    /// accepted when the time is over; a later alert closes the connection.
    #[must_use]
    pub fn settle_time(self, time: Duration) -> Self {
        self.change(|options| options.settle_time = time)
    }

    /// Sets whether a reconnecting client may resume its last TLS session. Default: false.
    ///
    /// Resumption saves both ends about half a millisecond of CPU time per reconnect. *It skips all checks of the
    /// peer's certificate*: its validity, its revocation, and [`check_peer`](Self::check_peer); the identity of the
    /// first handshake is reused. Both ends must allow it. A session can be resumed for twelve hours at most, and
    /// not after either end has [rotated](Self::rotate) its certificates.
    #[must_use]
    pub fn resumption(self, allowed: bool) -> Self {
        self.change(|options| options.resumption = allowed)
    }

    /// Replaces the certificates and options by those of `new`, here and in all clones.
    ///
    /// Later handshakes use them; present handshakes and connections are not affected. It cannot fail, because `new`
    /// was verified when it was created. Increments the [generation](Self::generation).
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

    /// Returns the number of the present set of certificates: 1 at first, incremented by each rotation.
    ///
    /// [`PeerInfo::generation`](crate::PeerInfo::generation) is that of a connection's handshake.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.settings().generation
    }

    async fn accept_tls(&self, stream: BoxedStream) -> Result<Secured, HandshakeError> {
        let settings = self.settings();
        settings.warn_of_missing_names();
        let config = Arc::clone(&settings.server);
        secured(
            TlsStream::accept(config, stream).await?,
            settings.generation,
        )
    }

    async fn connect_tls(
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
        Box::pin(self.accept_tls(stream))
    }

    fn connect<'a>(&'a self, stream: BoxedStream, server_name: &'a str) -> Handshake<'a> {
        Box::pin(self.connect_tls(stream, server_name))
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
