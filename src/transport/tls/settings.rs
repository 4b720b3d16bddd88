//! The settings of a [`Tls`](super::Tls), and the rustls configurations built from them.

use std::{
    sync::{Arc, Once},
    time::{Duration, SystemTime},
};

use rustls::{
    ClientConfig, ServerConfig,
    client::Resumption,
    pki_types::{ServerName, UnixTime},
    server::NoServerSessionStorage,
    time_provider::TimeProvider,
};

use super::{
    credentials::Credentials,
    provider,
    verify::{Check, UnusableTicket, Verifier},
};
use crate::{HandshakeError, TlsError, task};

/// Enough for a server that rejects at once, on top of the round trips that the handshake took. It passes only with
/// servers that neither send a ticket nor answer a key update at once.
const SETTLE_TIME: Duration = Duration::from_millis(250);

/// The number of servers whose sessions a client stores.
const SESSIONS: usize = 256;

/// The user's options.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) check: Option<Check>,
    pub(super) server_name: Option<String>,
    pub(super) settle_time: Duration,
    pub(super) resumption: bool,
    pub(super) expiry_warning: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            check: None,
            server_name: None,
            settle_time: SETTLE_TIME,
            resumption: false,
            expiry_warning: None,
        }
    }
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) credentials: Credentials,
    pub(super) options: Options,
    pub(super) generation: u64,
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
    /// Completed by the warning that the certificate has no alternative names.
    pub(super) missing_names_warning: Arc<Once>,
}

impl Settings {
    pub(super) fn new(credentials: Credentials, options: Options) -> Result<Self, TlsError> {
        let verifier = Arc::new(Verifier::new(&credentials, options.check.clone()));
        let mut client = credentials
            .client
            .clone()
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_client_cert_resolver(Arc::clone(&credentials.own) as _);
        let mut server = credentials
            .server
            .clone()
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&credentials.own) as _);
        if options.resumption {
            client.resumption = Resumption::in_memory_sessions(SESSIONS);
            server.ticketer = provider::ticketer().map_err(TlsError::provider)?;
        } else {
            client.resumption = Resumption::disabled();
            server.ticketer = Arc::new(UnusableTicket);
        }
        // Stored sessions would not expire; tickets do.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 1;
        client.time_provider = Arc::new(WallClock);
        server.time_provider = Arc::new(WallClock);
        Ok(Self {
            credentials,
            options,
            generation: 1,
            client: Arc::new(client),
            server: Arc::new(server),
            missing_names_warning: Arc::new(Once::new()),
        })
    }

    pub(super) fn name_of(&self, host: &str) -> Result<ServerName<'static>, HandshakeError> {
        let name = self.options.server_name.as_deref().unwrap_or(host);
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(bare.to_owned()).map_err(|_| HandshakeError::server_name(name))
    }
}

/// The clock of the universe: in a simulated universe certificates expire by its simulated time.
#[derive(Debug)]
struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let since = task::wall_clock().duration_since(SystemTime::UNIX_EPOCH);
        since.ok().map(UnixTime::since_unix_epoch)
    }
}
