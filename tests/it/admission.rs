//! Who is let in, who is not, and that those who are not harm nobody.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_channel::{Receiver, Sender};
use async_net::TcpStream;
use erps::{
    Backoff, BoxError, Client, ClientBuilder, ConnectError, Context, Daemon, DaemonBuilder,
    ExitReason, HandshakeError, InitError, Linked, Reconnect, ReplyTo, Server, ServerSupervisor,
    StartDaemonError, Started, Status, Tls, Untrusted,
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
    io::{AsyncReadExt as _, AsyncWriteExt as _},
};

use crate::support::{
    certs::Ca,
    lab::{self, Call, Lab, LabServer, Life, Reply, Watch, eventually, is_served, run},
};

/// Where the daemons of these tests are, as their certificates say.
const HOST: [&str; 1] = ["127.0.0.1"];

/// A time limit that is meant to pass.
const SHORT: Duration = Duration::from_millis(50);

/// A daemon that wants TLS, and one who may talk to it.
struct House {
    ca: Ca,
    daemon: Linked<Daemon<LabServer>>,
    watch: Watch,
}

impl House {
    async fn new() -> Self {
        Self::with(|_, builder| builder).await
    }

    async fn with(
        change: impl FnOnce(&Ca, DaemonBuilder<LabServer>) -> DaemonBuilder<LabServer>,
    ) -> Self {
        let ca = Ca::new();
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

    async fn raw(&self) -> TcpStream {
        TcpStream::connect(self.daemon.local_addr()).await.unwrap()
    }

    /// Waits until the daemon has turned so many away. None of them had a server; and whoever has
    /// the right papers is served meanwhile.
    async fn turned_away(&self, count: u64) {
        eventually("they are turned away", || {
            self.daemon.info().failed >= count
        })
        .await;
        assert!(self.watch.lives.is_empty(), "`init` has run");
        eventually("they are gone", || self.daemon.info().connections == 0).await;
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

    /// Waits until the daemon has given up a peer, which had no server. On a busy machine there may
    /// not be time enough for a guest either, who then comes again.
    async fn out_of_time(&self) {
        eventually("it is given up", || self.daemon.info().failed > 0).await;
        assert!(self.watch.lives.is_empty(), "`init` has run");
        let guest = self.visitor(self.ca.tls(&["guest"])).start();
        guest.until(Status::is_connected).await;
        is_served(&guest).await;
    }

    fn accepted(&self) -> u64 {
        self.daemon.info().accepted
    }
}

/// Waits until the other end has closed the connection, with or without a last word.
async fn closed(mut stream: TcpStream) {
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

/// A client with these papers is told that it is refused, with this alert, and does not come back
/// by itself.
async fn is_refused_for_good(house: &House, papers: Tls, alert: &str) {
    let name = |error: ConnectError| {
        assert!(error.is_permanent(), "{error}");
        match handshake(error) {
            HandshakeError::Refused(alert) => alert.name(),
            error => panic!("{error}"),
        }
    };
    let client = house.visitor(papers).start();
    let status = client.until(|it| matches!(it, Status::Refused(_))).await;
    let Status::Refused(error) = status else {
        panic!("{status:?}");
    };
    assert_eq!(name(error), alert);
    assert_eq!(house.accepted(), 1);
    let call = client.call(Call::Ping).await.unwrap_err();
    assert!(!call.may_have_run(), "{call}");
    // Far longer than its back-off.
    house.turned_away(1).await;
    assert_eq!(house.accepted(), 2, "the refused client came back");
    // Asked to, it tries once more.
    assert_eq!(name(client.connect().await.unwrap_err()), alert);
    house.turned_away(2).await;
    assert_eq!(house.accepted(), 4);
    assert!(matches!(client.status(), Status::Refused(_)));
}

/// A client with these papers does not let the server pass, and says so.
async fn is_mistrusted(house: &House, papers: Tls) -> Untrusted {
    let visitor = house.visitor(papers).reconnect(Reconnect::Never);
    let error = visitor.connect().await.unwrap_err();
    assert!(!error.is_permanent(), "the server may be repaired");
    house.turned_away(1).await;
    match handshake(error) {
        HandshakeError::Untrusted(why) => why,
        error => panic!("{error}"),
    }
}

// ---- certificates ----

#[test]
fn a_client_without_a_certificate_is_turned_away() {
    run(async {
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
            let mut stream = connector.connect(name, house.raw().await).await?;
            stream.read(&mut [0; 8]).await
        };
        let told = told.await.unwrap_err().to_string();
        assert!(told.contains("CertificateRequired"), "{told}");
        house.turned_away(1).await;
    });
}

#[test]
fn a_client_of_another_ca_is_refused_for_good() {
    run(async {
        let house = House::new().await;
        let own = Ca::new().issue(&["stranger"]);
        let papers = Tls::from_pem(house.ca.pem(), own.certificate, own.key).unwrap();
        is_refused_for_good(&house, papers, "unknown_ca").await;
    });
}

#[test]
fn a_client_that_has_expired_is_refused_for_good() {
    run(async {
        let house = House::new().await;
        let papers = house.ca.tls_with(&house.ca.issue_expired(&["old friend"]));
        is_refused_for_good(&house, papers, "certificate_expired").await;
    });
}

#[test]
fn a_client_that_the_servers_check_dislikes_is_refused_for_good() {
    run(async {
        let only_guests = |ca: &Ca| {
            ca.tls(&HOST).check_peer(|peer| match peer.common_name() {
                Some("guest") => Ok(()),
                _ => Err("you are not on the list"),
            })
        };
        let house = House::with(|ca, builder| builder.transport(only_guests(ca))).await;
        let papers = house.ca.tls(&["burglar"]);
        is_refused_for_good(&house, papers, "certificate_unknown").await;
    });
}

#[test]
fn a_client_that_was_refused_is_let_in_with_new_papers_when_it_connects_again() {
    run(async {
        let house = House::new().await;
        let papers = house.ca.tls_with(&house.ca.issue_expired(&["old friend"]));
        let client = house.visitor(papers.clone()).start();
        client.until(|it| matches!(it, Status::Refused(_))).await;
        papers.rotate(&house.ca.tls(&["old friend"]));
        client.connect().await.unwrap();
        is_served(&client).await;
    });
}

/// A TLS server that trusts nobody, and looks at its client's certificate only when it is told to.
fn hesitant(ca: &Ca, listener: &TcpListener, look: &std::sync::mpsc::Receiver<()>) {
    let strangers = Ca::new();
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
fn a_client_that_is_refused_when_it_thought_itself_connected_does_not_come_back_either() {
    run(async {
        let ca = Ca::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let papers = ca.tls(&["guest"]).settle_time(Duration::from_millis(1));
        let at_once = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
        let client = Client::<Lab>::builder(listener.local_addr().unwrap())
            .transport(papers)
            .backoff(at_once)
            .start();
        let (tell, told) = std::sync::mpsc::channel();
        let server = smol::unblock(move || {
            hesitant(&ca, &listener, &told);
            listener
        });
        client.until(Status::is_connected).await;
        tell.send(()).unwrap();
        let over = |it: &Status| matches!(it, Status::Refused(_) | Status::Waiting);
        let status = client.until(over).await;
        let Status::Refused(error) = status else {
            panic!("{status:?}");
        };
        assert!(error.is_permanent(), "{error}");
        let listener = server.await;
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "it came back");
    });
}

#[test]
fn a_server_of_another_ca_is_mistrusted() {
    run(async {
        let house = House::new().await;
        let own = house.ca.issue(&["guest"]);
        let papers = Tls::from_pem(Ca::new().pem(), own.certificate, own.key).unwrap();
        assert_eq!(
            is_mistrusted(&house, papers).await,
            Untrusted::UnknownIssuer
        );
    });
}

#[test]
fn a_server_that_has_expired_is_mistrusted_until_it_has_a_new_certificate() {
    run(async {
        let ca = Ca::new();
        let papers = ca.tls_with(&ca.issue_expired(&HOST));
        let (builder, watch) = lab::daemon();
        let daemon = builder
            .transport(papers.clone())
            .start_link()
            .await
            .unwrap();
        let client = lab::client(&daemon).transport(ca.tls(&["guest"])).start();
        let error = handshake(client.connect().await.unwrap_err());
        assert!(
            matches!(error, HandshakeError::Untrusted(Untrusted::Expired)),
            "{error}"
        );
        assert!(watch.lives.is_empty(), "`init` has run");
        eventually("it is counted", || daemon.info().failed > 0).await;
        papers.rotate(&ca.tls(&HOST));
        client.until(Status::is_connected).await;
        is_served(&client).await;
    });
}

#[test]
fn a_server_of_another_name_is_mistrusted() {
    run(async {
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
        eventually("it is counted", || house.daemon.info().failed == 1).await;
        assert!(house.watch.lives.is_empty(), "`init` has run");
        let papers = house.ca.tls(&["guest"]).server_name("elsewhere.test");
        is_served(&house.visitor(papers).connect().await.unwrap()).await;
    });
}

#[test]
fn a_server_that_the_clients_check_dislikes_is_mistrusted() {
    run(async {
        let house = House::new().await;
        let papers = house
            .ca
            .tls(&["guest"])
            .check_peer(|_| Err("not the one I came for"));
        let why = is_mistrusted(&house, papers).await;
        assert_eq!(why, Untrusted::Check("not the one I came for".into()));
    });
}

// ---- peers that do not shake hands ----

#[test]
fn plaintext_on_a_tls_port_is_turned_away() {
    run(async {
        let house = House::new().await;
        let client = lab::client(&house.daemon).reconnect(Reconnect::Never);
        let client = client.connect().await.unwrap();
        let outcome = client.call(Call::Ping).await;
        assert!(outcome.unwrap_err().may_have_run(), "for all it knows");
        client.exited().await;
        house.turned_away(1).await;
    });
}

#[test]
fn tls_on_a_plaintext_port_is_no_connection() {
    run(async {
        let (builder, _watch) = lab::daemon();
        let daemon = builder.start_link().await.unwrap();
        let client = lab::client(&daemon).transport(Ca::new().tls(&["guest"]));
        let error = handshake(client.connect().await.unwrap_err());
        assert!(matches!(error, HandshakeError::NotTls), "{error}");
        is_served(&lab::client(&daemon).connect().await.unwrap()).await;
    });
}

#[test]
fn a_peer_that_speaks_another_protocol_is_told_so_before_it_is_disconnected() {
    run(async {
        let (builder, watch) = lab::daemon();
        let daemon = builder.start_link().await.unwrap();
        let mut peer = TcpStream::connect(daemon.local_addr()).await.unwrap();
        peer.write_all(&[b'?'; 64]).await.unwrap();
        let mut said = Vec::new();
        peer.read_to_end(&mut said).await.unwrap();
        assert!(!said.is_empty(), "not a word");
        assert!(matches!(watch.lives.recv().await, Ok(Life::Init)));
        let Ok(Life::Terminated(reason)) = watch.lives.recv().await else {
            panic!("a second server");
        };
        assert!(matches!(reason, ExitReason::Error(_)), "{reason}");
    });
}

#[test]
fn a_silent_peer_is_dropped_when_its_time_is_over() {
    run(async {
        let house = House::with(|_, it| it.handshake_timeout(SHORT)).await;
        closed(house.raw().await).await;
        house.out_of_time().await;
    });
}

#[test]
fn a_peer_that_stops_amid_its_hello_is_dropped_when_its_time_is_over() {
    run(async {
        let house = House::with(|_, it| it.handshake_timeout(SHORT)).await;
        // A handshake record of 512 bytes, and in it the beginning of a ClientHello.
        let mut peer = house.raw().await;
        peer.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3])
            .await
            .unwrap();
        closed(peer).await;
        house.out_of_time().await;
    });
}

#[test]
fn a_peer_that_leaves_during_its_handshake_is_forgotten() {
    run(async {
        let house = House::new().await;
        drop(house.raw().await);
        house.turned_away(1).await;
        eventually("it is forgotten", || house.daemon.info().connections == 0).await;
    });
}

#[test]
fn connecting_makes_one_attempt_and_fails_with_its_error() {
    run(async {
        let house = House::new().await;
        let own = Ca::new().issue(&["stranger"]);
        let papers = Tls::from_pem(house.ca.pem(), own.certificate, own.key).unwrap();
        let (one_by_one, client) = (50, house.visitor(papers));
        for attempt in 1..=one_by_one {
            let error = client.connect().await.unwrap_err();
            assert!(error.is_permanent(), "{error}");
            assert_eq!(house.accepted(), attempt);
        }
        // Nor does it matter that the client gives up at once.
        let client = client.reconnect(Reconnect::Never);
        for attempt in 1..=one_by_one {
            let error = client.connect().await.unwrap_err();
            assert!(error.is_permanent(), "{error}");
            assert_eq!(house.accepted(), one_by_one + attempt);
        }
    });
}

#[test]
fn a_server_that_does_not_shake_hands_is_given_up() {
    run(async {
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = Client::<Lab>::builder(silent.local_addr().unwrap())
            .transport(Ca::new().tls(&["guest"]))
            .handshake_timeout(SHORT);
        let error = client.connect().await.unwrap_err();
        assert!(
            matches!(error, ConnectError::HandshakeTimeout(SHORT)),
            "{error}"
        );
        assert!(!error.is_permanent());
    });
}

#[test]
fn as_many_silent_peers_as_there_may_be_keep_nobody_out() {
    run(async {
        let house = House::new().await;
        let mut silent = VecDeque::new();
        for _ in 0..256 {
            silent.push_back(house.raw().await);
        }
        eventually("all are at their handshake", || {
            house.daemon.info().handshakes == 256
        })
        .await;
        assert_eq!(house.daemon.info().failed, 0);
        let guest = house.visitor(house.ca.tls(&["guest"])).connect().await;
        is_served(&guest.unwrap()).await;
        // The oldest has made way.
        closed(silent.pop_front().unwrap()).await;
        let info = house.daemon.info();
        assert_eq!((info.failed, info.handshakes), (1, 255));
    });
}

#[test]
fn at_the_limit_of_pending_handshakes_the_oldest_makes_way() {
    run(async {
        let house = House::with(|_, it| it.max_pending_handshakes(2)).await;
        assert_eq!(house.daemon.info().max_pending_handshakes, 2);
        let mut silent = Vec::new();
        for count in 1..=2 {
            silent.push(house.raw().await);
            eventually("it waits", || house.daemon.info().handshakes == count).await;
        }
        for dropped in 1..=3 {
            silent.push(house.raw().await);
            closed(silent.remove(0)).await;
            let info = house.daemon.info();
            assert_eq!((info.failed, info.handshakes), (dropped, 2));
        }
        // A guest is the youngest.
        let guest = house.visitor(house.ca.tls(&["guest"])).connect().await;
        is_served(&guest.unwrap()).await;
        assert_eq!(house.daemon.info().failed, 4);
        assert!(matches!(house.watch.lives.try_recv(), Ok(Life::Init)));
    });
}

#[test]
fn who_has_shaken_hands_is_never_the_oldest() {
    run(async {
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
    });
}

// ---- the port ----

#[test]
fn plaintext_beyond_loopback_is_refused_unless_asked_for() {
    run(async {
        let anywhere = Ipv4Addr::UNSPECIFIED;
        let start = lab::daemon().0.bind(anywhere).start().await;
        let error = start.unwrap_err();
        assert!(
            matches!(error, StartDaemonError::Plaintext(at) if at.ip() == anywhere),
            "{error}"
        );
        let (builder, _watch) = lab::daemon();
        let builder = builder.bind(anywhere).plaintext_anywhere();
        let daemon = builder.start_link().await.unwrap();
        let client = Client::<Lab>::builder(("127.0.0.1", daemon.port()));
        is_served(&client.connect().await.unwrap()).await;
        let (builder, _watch) = lab::daemon();
        let builder = builder.bind(anywhere).transport(Ca::new().tls(&HOST));
        let daemon = builder.start_link().await.expect("TLS may go anywhere");
        assert_eq!(daemon.local_addr().ip(), anywhere);
    });
}

#[test]
fn a_port_that_is_taken_is_an_error_value() {
    run(async {
        let (daemon, client, _watch) = lab::pair().await;
        let taken = daemon.local_addr();
        let second = lab::daemon().0.port(taken.port()).start().await;
        let Err(StartDaemonError::Bind { address, source }) = second else {
            panic!("{second:?}");
        };
        assert_eq!(address, taken);
        assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
        is_served(&client).await;
    });
}

#[test]
fn an_address_that_is_not_this_machines_is_an_error_value() {
    run(async {
        let elsewhere = Ipv4Addr::new(192, 0, 2, 1);
        let builder = lab::daemon().0.transport(Ca::new().tls(&HOST));
        let start = builder.bind(elsewhere).start().await;
        let Err(StartDaemonError::Bind { source, .. }) = start else {
            panic!("{start:?}");
        };
        assert_eq!(source.kind(), io::ErrorKind::AddrNotAvailable);
    });
}

/// An address and a port that nobody listens at.
fn free() -> SocketAddr {
    let free = TcpListener::bind((lab::alone(), 0)).unwrap();
    free.local_addr().unwrap()
}

#[test]
fn nothing_is_left_listening_if_the_start_is_dropped_before_the_port_is_bound() {
    run(async {
        let executor = Arc::new(smol::Executor::new());
        let (at, (builder, _watch)) = (free(), lab::daemon());
        let builder = builder.bind(at.ip()).port(at.port());
        let mut start = Box::pin(builder.executor(Arc::clone(&executor)).start());
        assert!(future::poll_once(&mut start).await.is_none());
        drop(start);
        while executor.try_tick() {}
        lab::freed(at).await;
    });
}

#[test]
fn nothing_is_left_listening_if_the_start_is_dropped_after_the_port_was_bound() {
    run(async {
        let executor = Arc::new(smol::Executor::new());
        let (at, (builder, _watch)) = (free(), lab::daemon());
        let builder = builder.bind(at.ip()).port(at.port());
        let mut start = Box::pin(builder.executor(Arc::clone(&executor)).start());
        assert!(future::poll_once(&mut start).await.is_none());
        while executor.try_tick() {}
        TcpListener::bind(at).expect_err("the daemon listens");
        drop(start);
        while executor.try_tick() {}
        lab::freed(at).await;
    });
}

#[test]
fn at_the_limit_of_connections_newcomers_wait_until_one_leaves() {
    run(async {
        let (builder, _watch) = lab::daemon();
        let daemon = builder.max_connections(2).start_link().await.unwrap();
        let connect = || async { lab::client(&daemon).connect().await.unwrap() };
        let (first, second) = (connect().await, connect().await);
        is_served(&first).await;
        is_served(&second).await;
        // The system takes its connection, and the daemon does not.
        let third = connect().await;
        let mut waiting = Box::pin(is_served(&third));
        for _ in 0..50 {
            assert!(future::poll_once(&mut waiting).await.is_none());
            is_served(&first).await;
        }
        let info = daemon.info();
        assert_eq!((info.accepted, info.connections), (2, 2));
        drop(second);
        waiting.await;
        is_served(&first).await;
        assert_eq!(daemon.info().accepted, 3);
    });
}

// ---- servers that do not start ----

/// What a server's `init`, or a supervisor of the user's, does with one connection.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Ignores,
    Fails,
    Panics,
    Never,
}

const MOODS: [Mood; 4] = [Mood::Ignores, Mood::Fails, Mood::Panics, Mood::Never];

/// Whoever comes first meets the mood; all others are welcome.
type Moods = Arc<Mutex<Option<Mood>>>;

fn first(mood: Mood) -> Moods {
    Arc::new(Mutex::new(Some(mood)))
}

/// A server with an `init` of moods, which reports whom it sees.
struct Moody;

#[derive(Clone)]
struct MoodySeed {
    moods: Moods,
    seen: Sender<Option<String>>,
}

impl Server for Moody {
    type Protocol = Lab;
    type Seed = MoodySeed;
    type Info = ();

    async fn init(seed: MoodySeed, cx: &mut Context<Self>) -> Result<Self, InitError> {
        let identity = cx.peer().and_then(|peer| peer.identity.as_ref());
        let name = identity.and_then(|it| it.common_name()).map(str::to_owned);
        seed.seen.try_send(name)?;
        let mood = seed.moods.lock().unwrap().take();
        match mood {
            None => Ok(Self),
            Some(Mood::Ignores) => Err(InitError::Ignore),
            Some(Mood::Fails) => Err("as the test asks".into()),
            Some(Mood::Panics) => panic!("as the test asks"),
            Some(Mood::Never) => future::pending().await,
        }
    }

    async fn handle_call(
        &mut self,
        _: Call,
        from: ReplyTo<Reply>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(Reply::Pong);
        Ok(())
    }
}

fn moody(moods: Moods) -> (DaemonBuilder<Moody>, Receiver<Option<String>>) {
    let (seen, sights) = async_channel::unbounded();
    (Daemon::builder(MoodySeed { moods, seen }), sights)
}

/// The first client of the daemon is disconnected at once, or, if the mood is never to answer, when
/// the daemon ends. Others are served meanwhile, and in the end nothing is left.
async fn first_is_unlucky<S>(daemon: Linked<Daemon<S>>, moods: Moods)
where
    S: Server<Protocol = Lab>,
{
    let mood = moods.lock().unwrap().expect("nobody came yet");
    let client = || Client::<Lab>::builder(daemon.local_addr());
    // It may have been disconnected before anybody asks.
    let unlucky = client().reconnect(Reconnect::Never).start();
    if !matches!(mood, Mood::Never) {
        let reason = unlucky.exited().await;
        assert!(
            matches!(reason, ExitReason::Disconnected),
            "{mood:?}: {reason}"
        );
        eventually("it is counted", || daemon.info().failed == 1).await;
        eventually("it is gone", || daemon.info().connections == 0).await;
    } else {
        eventually("it has come", || moods.lock().unwrap().is_none()).await;
    }
    let lucky = client().connect().await.unwrap();
    is_served(&lucky).await;
    is_served(&client().connect().await.unwrap()).await;
    assert!(daemon.task().is_alive());
    let handle = Daemon::clone(&daemon);
    daemon.shutdown().await;
    let reason = handle.exited().await;
    assert!(matches!(reason, ExitReason::Shutdown), "{mood:?}: {reason}");
    assert_eq!(handle.info().connections, 0, "{mood:?}");
    unlucky.exited().await;
}

fn supervisor_of(moods: Moods) -> ServerSupervisor {
    ServerSupervisor::custom(move |recipe| {
        let mood = moods.lock().unwrap().take();
        async move {
            match mood {
                None => recipe.start().await,
                Some(Mood::Ignores) => Ok(Started::Ignore),
                Some(Mood::Fails) => Err("as the test asks".into()),
                Some(Mood::Panics) => panic!("as the test asks"),
                Some(Mood::Never) => {
                    let _recipe = recipe;
                    future::pending().await
                }
            }
        }
    })
}

#[test]
fn a_connection_that_its_custom_supervisor_does_not_start_is_closed() {
    for mood in MOODS {
        run(async {
            let (builder, _watch) = lab::daemon();
            let moods = first(mood);
            let builder = builder.server_supervisor(supervisor_of(Arc::clone(&moods)));
            first_is_unlucky(builder.start_link().await.unwrap(), moods).await;
        });
    }
}

#[test]
fn a_custom_supervisor_that_panics_before_it_has_a_future_harms_nobody() {
    run(async {
        let moods = first(Mood::Panics);
        let passing = Arc::clone(&moods);
        let supervisor = ServerSupervisor::custom(move |recipe| {
            let mood = passing.lock().unwrap().take();
            assert!(mood.is_none(), "as the test asks");
            recipe.start()
        });
        let (builder, _watch) = lab::daemon();
        let builder = builder.server_supervisor(supervisor);
        first_is_unlucky(builder.start_link().await.unwrap(), moods).await;
    });
}

#[test]
fn a_connection_whose_recipe_is_kept_for_later_is_closed_when_the_supervisor_says_no() {
    run(async {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let moods = first(Mood::Fails);
        let (passing, keep) = (Arc::clone(&moods), Arc::clone(&kept));
        let supervisor = ServerSupervisor::custom(move |recipe| {
            let mood = passing.lock().unwrap().take();
            let keep = Arc::clone(&keep);
            async move {
                if mood.is_none() {
                    return recipe.start().await;
                }
                keep.lock().unwrap().push(recipe);
                Err("as the test asks".into())
            }
        });
        let (builder, _watch) = lab::daemon();
        let builder = builder.server_supervisor(supervisor);
        first_is_unlucky(builder.start_link().await.unwrap(), moods).await;
        let recipe = kept.lock().unwrap().pop().unwrap();
        let started = recipe.start().await;
        assert!(matches!(started, Ok(Started::Ignore)), "{started:?}");
    });
}

#[test]
fn a_connection_whose_server_does_not_start_is_closed() {
    for mood in MOODS {
        for supervisor in [None, Some(ServerSupervisor::Unsupervised)] {
            run(async {
                let moods = first(mood);
                let (mut builder, _sights) = moody(Arc::clone(&moods));
                if let Some(supervisor) = supervisor {
                    builder = builder.server_supervisor(supervisor);
                }
                let short = erps::Shutdown::Within(SHORT);
                let builder = builder.server_shutdown(short);
                first_is_unlucky(builder.start_link().await.unwrap(), moods).await;
            });
        }
    }
}

#[test]
fn a_daemon_that_is_killed_takes_those_with_it_that_were_still_starting() {
    run(async {
        let (in_supervisor, _watch) = lab::daemon();
        let moods = first(Mood::Never);
        let in_supervisor = in_supervisor.server_supervisor(supervisor_of(Arc::clone(&moods)));
        let in_supervisor = in_supervisor.start_link().await.unwrap();
        let (in_init, sights) = moody(first(Mood::Never));
        let in_init = in_init.start_link().await.unwrap();
        let ports = [in_supervisor.local_addr(), in_init.local_addr()];
        let clients = ports.map(|at| Client::<Lab>::builder(at).reconnect(Reconnect::Never));
        let waits = clients[0].connect().await.unwrap();
        let inits = clients[1].connect().await.unwrap();
        eventually("it has come", || moods.lock().unwrap().is_none()).await;
        sights.recv().await.unwrap();
        in_supervisor.task().kill();
        in_init.task().kill();
        waits.exited().await;
        inits.exited().await;
        eventually("no connection is left", || {
            in_supervisor.info().connections + in_init.info().connections == 0
        })
        .await;
    });
}

#[test]
fn init_sees_whom_the_peers_certificate_names() {
    run(async {
        let ca = Ca::new();
        let (builder, sights) = moody(Moods::default());
        let builder = builder.transport(ca.tls(&HOST));
        let daemon = builder.start_link().await.unwrap();
        for name in ["billing", "shipping"] {
            let papers = ca.tls_with(&ca.issue_client(name, "spiffe://test/somebody"));
            let client = Client::<Lab>::builder(daemon.local_addr()).transport(papers);
            let client = client.connect().await.unwrap();
            is_served(&client).await;
            assert_eq!(sights.recv().await.unwrap().as_deref(), Some(name));
        }
    });
}

#[test]
fn handlers_see_whom_the_peers_certificate_names() {
    run(async {
        let house = House::new().await;
        let client = house
            .visitor(house.ca.tls(&["guest"]))
            .connect()
            .await
            .unwrap();
        let seen = client.call(Call::Peer).await.unwrap();
        assert_eq!(seen, Reply::Peer(Some("guest".into())));
        let Status::Connected(server) = client.status() else {
            panic!("{client:?}");
        };
        assert_eq!(server.identity.unwrap().common_name(), Some(HOST[0]));
    });
}
