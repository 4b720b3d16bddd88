//! Accepting and rejecting connections: certificates, failed handshakes and time limits. A rejected peer does
//! not affect others.

mod answers;
mod early_call;
mod events;
mod limits;
mod port;
mod spans;
mod start;

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_channel::{Receiver, Sender};
use erps::{
    Backoff, BoxError, Client, ClientBuilder, ConnectError, Context, Daemon, DaemonBuilder,
    ExitReason, HandshakeError, InitError, Linked, Network, Reconnect, ReplyTo, Server,
    ServerSupervisor, StartDaemonError, Started, Status, TestCa, Tls, Untrusted, network::Stream,
    time,
};
use futures_rustls::TlsConnector;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use smol::{
    future,
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
};

use crate::support::{
    test_server::{
        self, Call, Lifecycle, Reply, TestProtocol, TestServer, Watch, assert_served, run,
    },
    time::{HOUR, STEP, at_once, ms, secs, settled, timed},
};

/// The address of the daemons in these tests, as named in their certificates.
const HOST: [&str; 1] = ["127.0.0.1"];

/// A handshake timeout that is meant to expire.
const SHORT: Duration = Duration::from_millis(50);

/// A daemon that requires TLS, and the CA of its clients.
struct TlsDaemon {
    ca: TestCa,
    daemon: Linked<Daemon<TestServer>>,
    watch: Watch,
}

impl TlsDaemon {
    async fn new() -> Self {
        Self::with(|_, builder| builder).await
    }

    async fn with(
        change: impl FnOnce(&TestCa, DaemonBuilder<TestServer>) -> DaemonBuilder<TestServer>,
    ) -> Self {
        let ca = TestCa::new();
        let (builder, watch) = test_server::daemon();
        let builder = change(&ca, builder.transport(ca.tls(&HOST)));
        let daemon = builder.start_link().await.unwrap();
        Self { ca, daemon, watch }
    }

    /// Returns a builder for a client with these certificates and a backoff of a millisecond.
    fn client(&self, tls: Tls) -> ClientBuilder<TestProtocol> {
        let at_once = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
        test_server::client(&self.daemon)
            .transport(tls)
            .backoff(at_once)
    }

    /// Asserts that this many handshakes failed without starting a server, and that a client with a valid
    /// certificate is served.
    async fn assert_failed_handshakes(&self, count: u64) {
        settled().await;
        let info = self.daemon.info();
        assert_eq!((info.failed, info.connections), (count, 0));
        assert!(self.watch.lifecycle.is_empty(), "`init` has run");
        let accepted = self.accepted();
        let guest = self
            .client(self.ca.tls(&["guest"]))
            .connect()
            .await
            .unwrap();
        assert_served(&guest).await;
        assert!(matches!(
            self.watch.lifecycle.try_recv(),
            Ok(Lifecycle::Init)
        ));
        let info = self.daemon.info();
        assert_eq!((info.failed, info.accepted), (count, accepted + 1));
        assert_eq!((info.servers, info.connections), (1, 1));
        let server_ended = async {
            let Ok(Lifecycle::Terminated(reason)) = self.watch.lifecycle.recv().await else {
                panic!("a second `init`");
            };
            assert!(matches!(reason, ExitReason::Disconnected), "{reason}");
        };
        drop(guest);
        server_ended.await;
    }

    async fn dial(&self) -> Stream {
        dial(&self.daemon).await
    }

    /// Asserts that the daemon closed one connection without starting a server.
    async fn assert_timed_out(&self) {
        settled().await;
        assert_eq!(self.daemon.info().failed, 1);
        assert!(self.watch.lifecycle.is_empty(), "`init` has run");
        let guest = self.client(self.ca.tls(&["guest"]));
        assert_served(&at_once(guest.connect()).await.unwrap()).await;
    }

    fn accepted(&self) -> u64 {
        self.daemon.info().accepted
    }
}

async fn dial(daemon: &Daemon<TestServer>) -> Stream {
    let network = Network::current().expect("a simulated universe");
    network.connect(daemon.local_addr()).await.unwrap()
}

/// Waits until the peer has closed the connection, discarding what it sends.
async fn closed(mut stream: impl AsyncRead + Unpin) {
    let mut bytes = [0; 1024];
    while let Ok(1..) = stream.read(&mut bytes).await {}
}

/// Returns the TLS handshake error that the client reports.
fn handshake(error: ConnectError) -> HandshakeError {
    match error {
        ConnectError::Handshake(error) => error,
        error => panic!("{error}"),
    }
}

/// Waits until the client has been rejected and returns the error and when it tries again.
async fn retries_slowly(client: &Client<TestProtocol>) -> (ConnectError, Instant) {
    let is_slow = |it: &Status| matches!(it, Status::RetryingSlowly { .. });
    match client.until(is_slow).await {
        Status::RetryingSlowly {
            error,
            next_attempt: Some(next),
        } => (error, next),
        status => panic!("{status:?}"),
    }
}

/// Asserts that a client with this certificate is rejected with this TLS alert and retries slowly.
async fn assert_rejected(server: &TlsDaemon, tls: Tls, alert: &str) {
    let name = |error: ConnectError| {
        assert!(error.is_likely_permanent(), "{error}");
        match handshake(error) {
            HandshakeError::Refused(alert) => alert.name(),
            error => panic!("{error}"),
        }
    };
    let client = server.client(tls).start();
    let (error, next) = retries_slowly(&client).await;
    assert_eq!(name(error), alert);
    assert_eq!(server.accepted(), 1);
    let call = at_once(client.call(Call::Ping)).await.unwrap_err();
    assert!(!call.may_have_run(), "{call}");
    // Far longer than its backoff.
    assert!(next - time::now() >= secs(1) / 2 - STEP);
    server.assert_failed_handshakes(1).await;
    assert_eq!(server.accepted(), 2, "the rejected client connected again");
    // An explicit `connect` tries immediately.
    assert_eq!(name(client.connect().await.unwrap_err()), alert);
    server.assert_failed_handshakes(2).await;
    assert_eq!(server.accepted(), 4);
    retries_slowly(&client).await;
    // The slow backoff makes one attempt every 30 to 60 seconds.
    time::sleep(HOUR).await;
    let attempts = server.accepted() - 4;
    assert!((60..=127).contains(&attempts), "{attempts}");
}

/// Asserts that a client does not trust the server, and returns the reason.
async fn assert_untrusted(server: &TlsDaemon, tls: Tls) -> Untrusted {
    let client = server.client(tls).reconnect(Reconnect::Never);
    let error = client.connect().await.unwrap_err();
    assert!(!error.is_likely_permanent(), "the server may be repaired");
    server.assert_failed_handshakes(1).await;
    match handshake(error) {
        HandshakeError::Untrusted(why) => why,
        error => panic!("{error}"),
    }
}

// ---- certificates ----

#[erps::test(simulated)]
async fn client_without_certificate_is_rejected() {
    let server = TlsDaemon::new().await;
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(server.ca.pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = HOST[0].try_into().unwrap();
    let alert = async {
        let mut stream = connector.connect(name, server.dial().await).await?;
        stream.read(&mut [0; 8]).await
    };
    let alert = alert.await.unwrap_err().to_string();
    assert!(alert.contains("CertificateRequired"), "{alert}");
    server.assert_failed_handshakes(1).await;
}

#[erps::test(simulated)]
async fn client_certificate_of_another_ca_is_rejected() {
    let server = TlsDaemon::new().await;
    let own = TestCa::new().issue(&["unknown"]);
    let tls = Tls::from_pem(server.ca.pem(), own.certificate, own.key).unwrap();
    assert_rejected(&server, tls, "unknown_ca").await;
}

#[erps::test(simulated)]
async fn expired_client_certificate_is_rejected() {
    let server = TlsDaemon::new().await;
    let tls = server
        .ca
        .tls_with(&server.ca.request(&["expired client"]).expired().issue());
    assert_rejected(&server, tls, "certificate_expired").await;
}

#[erps::test(simulated)]
async fn client_rejected_by_the_servers_check_peer_retries_slowly() {
    let only_guests = |ca: &TestCa| {
        ca.tls(&HOST).check_peer(|peer| match peer.common_name() {
            Some("guest") => Ok(()),
            _ => Err("not on the list"),
        })
    };
    let server = TlsDaemon::with(|ca, builder| builder.transport(only_guests(ca))).await;
    let tls = server.ca.tls(&["other"]);
    assert_rejected(&server, tls, "certificate_unknown").await;
}

#[erps::test(simulated)]
async fn rejected_client_connects_with_a_rotated_certificate() {
    let server = TlsDaemon::new().await;
    let tls = server
        .ca
        .tls_with(&server.ca.request(&["expired client"]).expired().issue());
    let client = server.client(tls.clone()).start();
    retries_slowly(&client).await;
    tls.rotate(&server.ca.tls(&["expired client"]));
    at_once(client.connect()).await.unwrap();
    assert_served(&client).await;
}

#[erps::test(simulated)]
async fn rejected_client_reconnects_by_itself_after_its_certificate_was_rotated() {
    let server = TlsDaemon::new().await;
    let tls = server
        .ca
        .tls_with(&server.ca.request(&["expired client"]).expired().issue());
    let client = server.client(tls.clone()).start();
    retries_slowly(&client).await;
    time::sleep(HOUR).await;
    tls.rotate(&server.ca.tls(&["expired client"]));
    let (_, took) = timed(client.until(Status::is_connected)).await;
    assert!(took <= secs(60), "{took:?}");
    assert_served(&client).await;
}

/// A TLS server that trusts no client certificate and verifies it only after a message on `look`.
fn verify_when_told(ca: &TestCa, listener: &TcpListener, look: &std::sync::mpsc::Receiver<()>) {
    let strangers = TestCa::new();
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(strangers.pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let own = ca.issue(&HOST);
    let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    let mut session = ServerConnection::new(Arc::new(config)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    while !session.wants_write() {
        session.read_tls(&mut stream).unwrap();
        session.process_new_packets().unwrap();
    }
    while session.wants_write() {
        session.write_tls(&mut stream).unwrap();
    }
    look.recv().unwrap();
    while session.read_tls(&mut stream).unwrap() > 0 && session.process_new_packets().is_ok() {}
    while session.wants_write() {
        session.write_tls(&mut stream).unwrap();
    }
}

#[test]
fn client_rejected_after_its_handshake_retries_slowly() {
    run(async {
        let ca = TestCa::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let tls = ca.tls(&["guest"]).settle_time(Duration::from_millis(1));
        let at_once = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
        let client = Client::<TestProtocol>::builder(listener.local_addr().unwrap())
            .transport(tls)
            .backoff(at_once)
            .slow_backoff(Backoff::new(HOUR, HOUR))
            .start();
        let (tell, alert) = std::sync::mpsc::channel();
        let server = smol::unblock(move || {
            verify_when_told(&ca, &listener, &alert);
            listener
        });
        client.until(Status::is_connected).await;
        tell.send(()).unwrap();
        let (error, next) = retries_slowly(&client).await;
        assert!(error.is_likely_permanent(), "{error}");
        assert!(next > time::now() + HOUR / 4);
        let listener = server.await;
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "the client connected again");
    });
}

#[erps::test(simulated)]
async fn server_certificate_of_another_ca_is_untrusted() {
    let server = TlsDaemon::new().await;
    let own = server.ca.issue(&["guest"]);
    let tls = Tls::from_pem(TestCa::new().pem(), own.certificate, own.key).unwrap();
    let why = assert_untrusted(&server, tls).await;
    assert!(matches!(why, Untrusted::UnknownIssuer { .. }), "{why}");
}

#[erps::test(simulated)]
async fn expired_server_certificate_is_untrusted_until_it_is_rotated() {
    let ca = TestCa::new();
    let tls = ca.tls_with(&ca.request(&HOST).expired().issue());
    let (builder, watch) = test_server::daemon();
    let daemon = builder.transport(tls.clone()).start_link().await.unwrap();
    let client = test_server::client(&daemon)
        .transport(ca.tls(&["guest"]))
        .start();
    let error = handshake(client.connect().await.unwrap_err());
    assert!(
        matches!(error, HandshakeError::Untrusted(Untrusted::Expired { .. })),
        "{error}"
    );
    assert!(watch.lifecycle.is_empty(), "`init` has run");
    settled().await;
    assert!(daemon.info().failed > 0);
    tls.rotate(&ca.tls(&HOST));
    client.until(Status::is_connected).await;
    assert_served(&client).await;
}

#[erps::test(simulated)]
async fn server_certificate_for_another_name_is_untrusted() {
    let server = TlsDaemon::with(|ca, it| it.transport(ca.tls(&["elsewhere.test"]))).await;
    let outcome = server
        .client(server.ca.tls(&["guest"]))
        .reconnect(Reconnect::Never)
        .connect()
        .await;
    let error = handshake(outcome.unwrap_err());
    assert!(
        matches!(
            error,
            HandshakeError::Untrusted(Untrusted::WrongName { .. })
        ),
        "{error}"
    );
    settled().await;
    assert_eq!(server.daemon.info().failed, 1);
    assert!(server.watch.lifecycle.is_empty(), "`init` has run");
    let tls = server.ca.tls(&["guest"]).server_name("elsewhere.test");
    assert_served(&server.client(tls).connect().await.unwrap()).await;
}

#[erps::test(simulated)]
async fn server_rejected_by_the_clients_check_peer_is_untrusted() {
    let server = TlsDaemon::new().await;
    let tls = server
        .ca
        .tls(&["guest"])
        .check_peer(|_| Err("unexpected server"));
    let why = assert_untrusted(&server, tls).await;
    assert_eq!(why, Untrusted::Check("unexpected server".into()));
}

// ---- peers that do not shake hands ----

#[erps::test(simulated)]
async fn plaintext_client_on_a_tls_port_fails_its_handshake() {
    let server = TlsDaemon::new().await;
    let client = test_server::client(&server.daemon).reconnect(Reconnect::Never);
    let client = client.connect().await.unwrap();
    let error = client.call(Call::Ping).await.unwrap_err();
    assert!(error.to_string().contains("it looks like TLS"), "{error}");
    assert!(!error.may_have_run());
    client.exited().await;
    server.assert_failed_handshakes(1).await;
}

#[erps::test(simulated)]
async fn tls_client_on_a_plaintext_port_fails_with_not_tls() {
    let (builder, _watch) = test_server::daemon();
    let daemon = builder.start_link().await.unwrap();
    let client = test_server::client(&daemon).transport(TestCa::new().tls(&["guest"]));
    let error = handshake(client.connect().await.unwrap_err());
    assert!(matches!(error, HandshakeError::NotTls), "{error}");
    assert_served(&test_server::client(&daemon).connect().await.unwrap()).await;
}

#[erps::test(simulated)]
async fn peer_of_another_protocol_receives_an_error_before_the_close() {
    let (builder, watch) = test_server::daemon();
    let daemon = builder.start_link().await.unwrap();
    let mut peer = dial(&daemon).await;
    peer.write_all(&[b'?'; 64]).await.unwrap();
    let mut said = Vec::new();
    peer.read_to_end(&mut said).await.unwrap();
    assert!(
        !said.is_empty(),
        "the connection was closed without an error packet"
    );
    assert!(matches!(watch.lifecycle.recv().await, Ok(Lifecycle::Init)));
    let Ok(Lifecycle::Terminated(reason)) = watch.lifecycle.recv().await else {
        panic!("a second `init`");
    };
    assert!(matches!(reason, ExitReason::Error(_)), "{reason}");
}

#[erps::test(simulated)]
async fn silent_peer_is_closed_at_the_handshake_timeout() {
    let server = TlsDaemon::with(|_, it| it.handshake_timeout(SHORT)).await;
    let (_, took) = timed(closed(server.dial().await)).await;
    assert_eq!(took, SHORT);
    server.assert_timed_out().await;
}

#[erps::test(simulated)]
async fn peer_that_stops_within_its_client_hello_is_closed_at_the_handshake_timeout() {
    let server = TlsDaemon::with(|_, it| it.handshake_timeout(SHORT)).await;
    let start = time::now();
    // A handshake record of 512 bytes with the start of a ClientHello.
    let mut peer = server.dial().await;
    peer.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
    // Further bytes do not extend the time limit.
    time::sleep(SHORT - ms(1)).await;
    peer.write_all(&[1, 0, 1, 252, 3, 3]).await.unwrap();
    closed(peer).await;
    assert_eq!(time::now() - start, SHORT);
    server.assert_timed_out().await;
}

#[erps::test(simulated)]
async fn peer_that_closes_during_its_handshake_counts_as_failed() {
    let server = TlsDaemon::new().await;
    drop(server.dial().await);
    server.assert_failed_handshakes(1).await;
}

#[erps::test(simulated)]
async fn connect_makes_one_attempt_and_returns_its_error() {
    let server = TlsDaemon::new().await;
    let own = TestCa::new().issue(&["unknown"]);
    let tls = Tls::from_pem(server.ca.pem(), own.certificate, own.key).unwrap();
    let (one_by_one, client) = (50, server.client(tls));
    for attempt in 1..=one_by_one {
        let error = client.connect().await.unwrap_err();
        assert!(error.is_likely_permanent(), "{error}");
        assert_eq!(server.accepted(), attempt);
    }
    // The same holds for a client that never reconnects.
    let client = client.reconnect(Reconnect::Never);
    for attempt in 1..=one_by_one {
        let error = client.connect().await.unwrap_err();
        assert!(error.is_likely_permanent(), "{error}");
        assert_eq!(server.accepted(), one_by_one + attempt);
    }
}

#[erps::test(simulated)]
async fn connect_fails_with_handshake_timeout_when_the_server_is_silent() {
    let network = Network::current().unwrap();
    let silent = network.listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let client = Client::<TestProtocol>::builder(silent.local_addr())
        .transport(TestCa::new().tls(&["guest"]))
        .handshake_timeout(SHORT);
    let (outcome, took) = timed(client.connect()).await;
    let error = outcome.unwrap_err();
    assert!(
        matches!(error, ConnectError::HandshakeTimeout(SHORT)),
        "{error}"
    );
    assert!(!error.is_likely_permanent());
    assert_eq!(took, SHORT);
}

#[erps::test(simulated)]
async fn client_is_accepted_while_silent_peers_fill_the_pending_handshakes() {
    let server = TlsDaemon::new().await;
    let mut silent = VecDeque::new();
    for _ in 0..256 {
        silent.push_back(server.dial().await);
    }
    settled().await;
    assert_eq!(server.daemon.info().handshakes, 256);
    assert_eq!(server.daemon.info().failed, 0);
    let guest = server.client(server.ca.tls(&["guest"])).connect().await;
    assert_served(&guest.unwrap()).await;
    // The oldest pending handshake was evicted.
    at_once(closed(silent.pop_front().unwrap())).await;
    let info = server.daemon.info();
    assert_eq!((info.failed, info.handshakes), (1, 255));
}

#[erps::test(simulated)]
async fn oldest_handshake_is_evicted_at_the_limit_of_pending_handshakes() {
    let server = TlsDaemon::with(|_, it| it.max_pending_handshakes(2)).await;
    assert_eq!(server.daemon.limits().pending_handshakes, 2);
    let mut silent = Vec::new();
    for count in 1..=2 {
        silent.push(server.dial().await);
        settled().await;
        assert_eq!(server.daemon.info().handshakes, count);
    }
    for dropped in 1..=3 {
        silent.push(server.dial().await);
        at_once(closed(silent.remove(0))).await;
        settled().await;
        let info = server.daemon.info();
        assert_eq!((info.failed, info.handshakes), (dropped, 2));
    }
    // The guest's handshake is the newest, so it is not evicted.
    let guest = server.client(server.ca.tls(&["guest"])).connect().await;
    assert_served(&guest.unwrap()).await;
    assert_eq!(server.daemon.info().failed, 4);
    assert!(matches!(
        server.watch.lifecycle.try_recv(),
        Ok(Lifecycle::Init)
    ));
}

#[erps::test(simulated)]
async fn completed_handshakes_are_not_evicted() {
    let server = TlsDaemon::with(|_, it| it.max_pending_handshakes(1)).await;
    let guests = (0..4).map(|_| server.client(server.ca.tls(&["guest"])));
    let mut inside = Vec::new();
    for guest in guests {
        inside.push(guest.connect().await.unwrap());
    }
    for guest in &inside {
        assert_served(guest).await;
    }
    assert_eq!(server.daemon.info().failed, 0);
}
