//! Who is let in, who is not, and that those who are not harm nobody.

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
    lab::{self, Call, Lab, LabServer, Life, Reply, Watch, is_served, run},
    time::{HOUR, STEP, at_once, ms, secs, settled, timed},
};

/// Where the daemons of these tests are, as their certificates say.
const HOST: [&str; 1] = ["127.0.0.1"];

/// A time limit that is meant to pass.
const SHORT: Duration = Duration::from_millis(50);

/// A daemon that wants TLS, and one who may talk to it.
struct House {
    ca: TestCa,
    daemon: Linked<Daemon<LabServer>>,
    watch: Watch,
}

impl House {
    async fn new() -> Self {
        Self::with(|_, builder| builder).await
    }

    async fn with(
        change: impl FnOnce(&TestCa, DaemonBuilder<LabServer>) -> DaemonBuilder<LabServer>,
    ) -> Self {
        let ca = TestCa::new();
        let (builder, watch) = lab::daemon();
        let builder = change(&ca, builder.transport(ca.tls(&HOST)));
        let daemon = builder.start_link().await.unwrap();
        Self { ca, daemon, watch }
    }

    /// A client that comes with these papers, and tries hard.
    fn visitor(&self, papers: Tls) -> ClientBuilder<Lab> {
        let at_once = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
        lab::client(&self.daemon).transport(papers).backoff(at_once)
    }

    /// The daemon has turned so many away. None of them had a server; and whoever has
    /// the right papers is served meanwhile.
    async fn turned_away(&self, count: u64) {
        settled().await;
        let info = self.daemon.info();
        assert_eq!((info.failed, info.connections), (count, 0));
        assert!(self.watch.lives.is_empty(), "`init` has run");
        let accepted = self.accepted();
        let guest = self
            .visitor(self.ca.tls(&["guest"]))
            .connect()
            .await
            .unwrap();
        is_served(&guest).await;
        assert!(matches!(self.watch.lives.try_recv(), Ok(Life::Init)));
        let info = self.daemon.info();
        assert_eq!((info.failed, info.accepted), (count, accepted + 1));
        assert_eq!((info.servers, info.connections), (1, 1));
        let server_ended = async {
            let Ok(Life::Terminated(reason)) = self.watch.lives.recv().await else {
                panic!("a second server");
            };
            assert!(matches!(reason, ExitReason::Disconnected), "{reason}");
        };
        drop(guest);
        server_ended.await;
    }

    async fn dial(&self) -> Stream {
        dial(&self.daemon).await
    }

    /// The daemon has given up a peer, which had no server.
    async fn out_of_time(&self) {
        settled().await;
        assert_eq!(self.daemon.info().failed, 1);
        assert!(self.watch.lives.is_empty(), "`init` has run");
        let guest = self.visitor(self.ca.tls(&["guest"]));
        is_served(&at_once(guest.connect()).await.unwrap()).await;
    }

    fn accepted(&self) -> u64 {
        self.daemon.info().accepted
    }
}

async fn dial(daemon: &Daemon<LabServer>) -> Stream {
    let network = Network::current().expect("a simulated universe");
    network.connect(daemon.local_addr()).await.unwrap()
}

/// Waits until the other end has closed the connection, with or without a last word.
async fn closed(mut stream: impl AsyncRead + Unpin) {
    let mut bytes = [0; 1024];
    while let Ok(1..) = stream.read(&mut bytes).await {}
}

/// What went wrong with the TLS handshake, in the client's view.
fn handshake(error: ConnectError) -> HandshakeError {
    match error {
        ConnectError::Handshake(error) => error,
        error => panic!("{error}"),
    }
}

/// Waits until the client has been refused, and returns why and when it tries again.
async fn retries_slowly(client: &Client<Lab>) -> (ConnectError, Instant) {
    let is_slow = |it: &Status| matches!(it, Status::RetryingSlowly { .. });
    match client.until(is_slow).await {
        Status::RetryingSlowly {
            error,
            next_attempt: Some(next),
        } => (error, next),
        status => panic!("{status:?}"),
    }
}

/// A client with this certificate learns that it is refused, with this alert, and retries slowly.
async fn is_refused(house: &House, papers: Tls, alert: &str) {
    let name = |error: ConnectError| {
        assert!(error.is_likely_permanent(), "{error}");
        match handshake(error) {
            HandshakeError::Refused(alert) => alert.name(),
            error => panic!("{error}"),
        }
    };
    let client = house.visitor(papers).start();
    let (error, next) = retries_slowly(&client).await;
    assert_eq!(name(error), alert);
    assert_eq!(house.accepted(), 1);
    let call = at_once(client.call(Call::Ping)).await.unwrap_err();
    assert!(!call.may_have_run(), "{call}");
    // Far longer than its back-off.
    assert!(next - time::now() >= secs(1) / 2 - STEP);
    house.turned_away(1).await;
    assert_eq!(house.accepted(), 2, "the refused client came back");
    // Asked to, it tries at once.
    assert_eq!(name(client.connect().await.unwrap_err()), alert);
    house.turned_away(2).await;
    assert_eq!(house.accepted(), 4);
    retries_slowly(&client).await;
    // One attempt in each of the last half of a minute to a minute.
    time::sleep(HOUR).await;
    let attempts = house.accepted() - 4;
    assert!((60..=127).contains(&attempts), "{attempts}");
}

/// A client with these papers does not let the server pass, and says so.
async fn is_mistrusted(house: &House, papers: Tls) -> Untrusted {
    let visitor = house.visitor(papers).reconnect(Reconnect::Never);
    let error = visitor.connect().await.unwrap_err();
    assert!(!error.is_likely_permanent(), "the server may be repaired");
    house.turned_away(1).await;
    match handshake(error) {
        HandshakeError::Untrusted(why) => why,
        error => panic!("{error}"),
    }
}

// ---- certificates ----

#[erps::test(simulated)]
async fn a_client_without_a_certificate_is_turned_away() {
    let house = House::new().await;
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(house.ca.pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = HOST[0].try_into().unwrap();
    let told = async {
        let mut stream = connector.connect(name, house.dial().await).await?;
        stream.read(&mut [0; 8]).await
    };
    let told = told.await.unwrap_err().to_string();
    assert!(told.contains("CertificateRequired"), "{told}");
    house.turned_away(1).await;
}

#[erps::test(simulated)]
async fn a_client_of_another_ca_is_refused() {
    let house = House::new().await;
    let own = TestCa::new().issue(&["stranger"]);
    let papers = Tls::from_pem(house.ca.pem(), own.certificate, own.key).unwrap();
    is_refused(&house, papers, "unknown_ca").await;
}

#[erps::test(simulated)]
async fn a_client_that_has_expired_is_refused() {
    let house = House::new().await;
    let papers = house
        .ca
        .tls_with(&house.ca.request(&["old friend"]).expired().issue());
    is_refused(&house, papers, "certificate_expired").await;
}

#[erps::test(simulated)]
async fn a_client_that_the_servers_check_dislikes_is_refused() {
    let only_guests = |ca: &TestCa| {
        ca.tls(&HOST).check_peer(|peer| match peer.common_name() {
            Some("guest") => Ok(()),
            _ => Err("you are not on the list"),
        })
    };
    let house = House::with(|ca, builder| builder.transport(only_guests(ca))).await;
    let papers = house.ca.tls(&["burglar"]);
    is_refused(&house, papers, "certificate_unknown").await;
}

#[erps::test(simulated)]
async fn a_client_that_was_refused_is_let_in_with_new_papers_when_it_connects_again() {
    let house = House::new().await;
    let papers = house
        .ca
        .tls_with(&house.ca.request(&["old friend"]).expired().issue());
    let client = house.visitor(papers.clone()).start();
    retries_slowly(&client).await;
    papers.rotate(&house.ca.tls(&["old friend"]));
    at_once(client.connect()).await.unwrap();
    is_served(&client).await;
}

#[erps::test(simulated)]
async fn a_client_that_was_refused_heals_by_itself_once_its_certificate_is_good() {
    let house = House::new().await;
    let papers = house
        .ca
        .tls_with(&house.ca.request(&["old friend"]).expired().issue());
    let client = house.visitor(papers.clone()).start();
    retries_slowly(&client).await;
    time::sleep(HOUR).await;
    papers.rotate(&house.ca.tls(&["old friend"]));
    let (_, took) = timed(client.until(Status::is_connected)).await;
    assert!(took <= secs(60), "{took:?}");
    is_served(&client).await;
}

/// A TLS server that trusts nobody, and looks at its client's certificate only when it is told to.
fn hesitant(ca: &TestCa, listener: &TcpListener, look: &std::sync::mpsc::Receiver<()>) {
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
fn a_client_that_is_refused_after_its_handshake_retries_slowly_too() {
    run(async {
        let ca = TestCa::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let papers = ca.tls(&["guest"]).settle_time(Duration::from_millis(1));
        let at_once = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
        let client = Client::<Lab>::builder(listener.local_addr().unwrap())
            .transport(papers)
            .backoff(at_once)
            .slow_backoff(Backoff::new(HOUR, HOUR))
            .start();
        let (tell, told) = std::sync::mpsc::channel();
        let server = smol::unblock(move || {
            hesitant(&ca, &listener, &told);
            listener
        });
        client.until(Status::is_connected).await;
        tell.send(()).unwrap();
        let (error, next) = retries_slowly(&client).await;
        assert!(error.is_likely_permanent(), "{error}");
        assert!(next > time::now() + HOUR / 4);
        let listener = server.await;
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "it came back");
    });
}

#[erps::test(simulated)]
async fn a_server_of_another_ca_is_mistrusted() {
    let house = House::new().await;
    let own = house.ca.issue(&["guest"]);
    let papers = Tls::from_pem(TestCa::new().pem(), own.certificate, own.key).unwrap();
    let why = is_mistrusted(&house, papers).await;
    assert!(matches!(why, Untrusted::UnknownIssuer { .. }), "{why}");
}

#[erps::test(simulated)]
async fn a_server_that_has_expired_is_mistrusted_until_it_has_a_new_certificate() {
    let ca = TestCa::new();
    let papers = ca.tls_with(&ca.request(&HOST).expired().issue());
    let (builder, watch) = lab::daemon();
    let daemon = builder
        .transport(papers.clone())
        .start_link()
        .await
        .unwrap();
    let client = lab::client(&daemon).transport(ca.tls(&["guest"])).start();
    let error = handshake(client.connect().await.unwrap_err());
    assert!(
        matches!(error, HandshakeError::Untrusted(Untrusted::Expired { .. })),
        "{error}"
    );
    assert!(watch.lives.is_empty(), "`init` has run");
    settled().await;
    assert!(daemon.info().failed > 0);
    papers.rotate(&ca.tls(&HOST));
    client.until(Status::is_connected).await;
    is_served(&client).await;
}

#[erps::test(simulated)]
async fn a_server_of_another_name_is_mistrusted() {
    let house = House::with(|ca, it| it.transport(ca.tls(&["elsewhere.test"]))).await;
    let outcome = house
        .visitor(house.ca.tls(&["guest"]))
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
    assert_eq!(house.daemon.info().failed, 1);
    assert!(house.watch.lives.is_empty(), "`init` has run");
    let papers = house.ca.tls(&["guest"]).server_name("elsewhere.test");
    is_served(&house.visitor(papers).connect().await.unwrap()).await;
}

#[erps::test(simulated)]
async fn a_server_that_the_clients_check_dislikes_is_mistrusted() {
    let house = House::new().await;
    let papers = house
        .ca
        .tls(&["guest"])
        .check_peer(|_| Err("not the one I came for"));
    let why = is_mistrusted(&house, papers).await;
    assert_eq!(why, Untrusted::Check("not the one I came for".into()));
}

// ---- peers that do not shake hands ----

#[erps::test(simulated)]
async fn plaintext_on_a_tls_port_is_turned_away() {
    let house = House::new().await;
    let client = lab::client(&house.daemon).reconnect(Reconnect::Never);
    let client = client.connect().await.unwrap();
    let error = client.call(Call::Ping).await.unwrap_err();
    assert!(error.to_string().contains("it looks like TLS"), "{error}");
    assert!(!error.may_have_run());
    client.exited().await;
    house.turned_away(1).await;
}

#[erps::test(simulated)]
async fn tls_on_a_plaintext_port_is_no_connection() {
    let (builder, _watch) = lab::daemon();
    let daemon = builder.start_link().await.unwrap();
    let client = lab::client(&daemon).transport(TestCa::new().tls(&["guest"]));
    let error = handshake(client.connect().await.unwrap_err());
    assert!(matches!(error, HandshakeError::NotTls), "{error}");
    is_served(&lab::client(&daemon).connect().await.unwrap()).await;
}

#[erps::test(simulated)]
async fn a_peer_that_speaks_another_protocol_is_told_so_before_it_is_disconnected() {
    let (builder, watch) = lab::daemon();
    let daemon = builder.start_link().await.unwrap();
    let mut peer = dial(&daemon).await;
    peer.write_all(&[b'?'; 64]).await.unwrap();
    let mut said = Vec::new();
    peer.read_to_end(&mut said).await.unwrap();
    assert!(!said.is_empty(), "not a word");
    assert!(matches!(watch.lives.recv().await, Ok(Life::Init)));
    let Ok(Life::Terminated(reason)) = watch.lives.recv().await else {
        panic!("a second server");
    };
    assert!(matches!(reason, ExitReason::Error(_)), "{reason}");
}

#[erps::test(simulated)]
async fn a_silent_peer_is_dropped_when_its_time_is_over() {
    let house = House::with(|_, it| it.handshake_timeout(SHORT)).await;
    let (_, took) = timed(closed(house.dial().await)).await;
    assert_eq!(took, SHORT);
    house.out_of_time().await;
}

#[erps::test(simulated)]
async fn a_peer_that_stops_amid_its_hello_is_dropped_when_its_time_is_over() {
    let house = House::with(|_, it| it.handshake_timeout(SHORT)).await;
    let start = time::now();
    // A handshake record of 512 bytes, and in it the beginning of a ClientHello.
    let mut peer = house.dial().await;
    peer.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
    // A byte now and then does not make it any younger.
    time::sleep(SHORT - ms(1)).await;
    peer.write_all(&[1, 0, 1, 252, 3, 3]).await.unwrap();
    closed(peer).await;
    assert_eq!(time::now() - start, SHORT);
    house.out_of_time().await;
}

#[erps::test(simulated)]
async fn a_peer_that_leaves_during_its_handshake_is_forgotten() {
    let house = House::new().await;
    drop(house.dial().await);
    house.turned_away(1).await;
}

#[erps::test(simulated)]
async fn connecting_makes_one_attempt_and_fails_with_its_error() {
    let house = House::new().await;
    let own = TestCa::new().issue(&["stranger"]);
    let papers = Tls::from_pem(house.ca.pem(), own.certificate, own.key).unwrap();
    let (one_by_one, client) = (50, house.visitor(papers));
    for attempt in 1..=one_by_one {
        let error = client.connect().await.unwrap_err();
        assert!(error.is_likely_permanent(), "{error}");
        assert_eq!(house.accepted(), attempt);
    }
    // Nor does it matter that the client gives up at once.
    let client = client.reconnect(Reconnect::Never);
    for attempt in 1..=one_by_one {
        let error = client.connect().await.unwrap_err();
        assert!(error.is_likely_permanent(), "{error}");
        assert_eq!(house.accepted(), one_by_one + attempt);
    }
}

#[erps::test(simulated)]
async fn a_server_that_does_not_shake_hands_is_given_up() {
    let network = Network::current().unwrap();
    let silent = network.listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let client = Client::<Lab>::builder(silent.local_addr())
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
async fn as_many_silent_peers_as_there_may_be_keep_nobody_out() {
    let house = House::new().await;
    let mut silent = VecDeque::new();
    for _ in 0..256 {
        silent.push_back(house.dial().await);
    }
    settled().await;
    assert_eq!(house.daemon.info().handshakes, 256);
    assert_eq!(house.daemon.info().failed, 0);
    let guest = house.visitor(house.ca.tls(&["guest"])).connect().await;
    is_served(&guest.unwrap()).await;
    // The oldest has made way.
    at_once(closed(silent.pop_front().unwrap())).await;
    let info = house.daemon.info();
    assert_eq!((info.failed, info.handshakes), (1, 255));
}

#[erps::test(simulated)]
async fn at_the_limit_of_pending_handshakes_the_oldest_makes_way() {
    let house = House::with(|_, it| it.max_pending_handshakes(2)).await;
    assert_eq!(house.daemon.limits().pending_handshakes, 2);
    let mut silent = Vec::new();
    for count in 1..=2 {
        silent.push(house.dial().await);
        settled().await;
        assert_eq!(house.daemon.info().handshakes, count);
    }
    for dropped in 1..=3 {
        silent.push(house.dial().await);
        at_once(closed(silent.remove(0))).await;
        settled().await;
        let info = house.daemon.info();
        assert_eq!((info.failed, info.handshakes), (dropped, 2));
    }
    // A guest is the youngest.
    let guest = house.visitor(house.ca.tls(&["guest"])).connect().await;
    is_served(&guest.unwrap()).await;
    assert_eq!(house.daemon.info().failed, 4);
    assert!(matches!(house.watch.lives.try_recv(), Ok(Life::Init)));
}

#[erps::test(simulated)]
async fn who_has_shaken_hands_is_never_the_oldest() {
    let house = House::with(|_, it| it.max_pending_handshakes(1)).await;
    let guests = (0..4).map(|_| house.visitor(house.ca.tls(&["guest"])));
    let mut inside = Vec::new();
    for guest in guests {
        inside.push(guest.connect().await.unwrap());
    }
    for guest in &inside {
        is_served(guest).await;
    }
    assert_eq!(house.daemon.info().failed, 0);
}
