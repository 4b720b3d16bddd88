//! TLS handshakes and streams: which certificates are accepted, what each end reports, and that no byte is
//! lost.

mod diagnosis;
mod erlang;
mod expiry;
mod names;
mod options;
mod reasons;
mod revocation;
mod rotation;
mod rustls_peer;
mod secrets;
mod settings;
mod stream;

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use async_net::{TcpListener, TcpStream};
use erps::{Endpoint, HandshakeError, Network, Secured, Tcp, TestCa, Tls, Transport, Untrusted};
use smol::{
    Timer,
    future::{self, FutureExt as _},
    io::AsyncReadExt as _,
};

use crate::support::time::{HOUR, at_once, timed};

type Outcome = Result<Secured, HandshakeError>;

const PEER: Endpoint = Endpoint::Inet(SocketAddr::new(
    std::net::IpAddr::V4(Ipv4Addr::LOCALHOST),
    0,
));
const HOST: [&str; 2] = ["localhost", "127.0.0.1"];

/// Runs a test for at most 30 seconds.
fn run<T>(test: impl Future<Output = T>) -> T {
    smol::block_on(test.or(async {
        Timer::after(Duration::from_secs(30)).await;
        panic!("the test hangs");
    }))
}

/// Returns both ends of a TCP connection: the accepted and the connecting one.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (server, client) = future::zip(listener.accept(), client).await;
    (server.unwrap().0, client.unwrap())
}

/// As [`pair`], on the simulated network.
async fn simulated_pair() -> (erps::network::Stream, erps::network::Stream) {
    let network = Network::current().expect("a simulated universe");
    let listener = network.listen(PEER.inet().unwrap()).unwrap();
    let client = network.connect(listener.local_addr()).await.unwrap();
    (listener.accept().await.unwrap().0, client)
}

/// Runs a handshake and returns the outcomes of the server and of the client.
async fn handshake(server: &Tls, client: &Tls, host: &str) -> (Outcome, Outcome) {
    let (accepted, connected) = pair().await;
    future::zip(
        server.accept(Box::new(accepted), PEER),
        client.connect(Box::new(connected), host),
    )
    .await
}

/// Returns both ends of a TLS connection.
async fn secured() -> (Secured, Secured) {
    let ca = TestCa::new();
    let (server, client) = handshake(&ca.tls(&HOST), &ca.tls(&["client"]), "localhost").await;
    (server.unwrap(), client.unwrap())
}

/// Returns why the server rejects the client, and asserts that the client received `alert`.
fn refused_client((server, client): (Outcome, Outcome), alert: &str) -> Untrusted {
    (untrusted(server), assert_alert(client, alert)).0
}

/// Returns why the client rejects the server, and asserts that the server received `alert`.
fn refused_server((server, client): (Outcome, Outcome), alert: &str) -> Untrusted {
    (untrusted(client), assert_alert(server, alert)).0
}

fn untrusted(outcome: Outcome) -> Untrusted {
    match outcome.unwrap_err() {
        error @ HandshakeError::Untrusted(_) if error.is_likely_permanent() => panic!("{error}"),
        HandshakeError::Untrusted(why) => why,
        error => panic!("{error}"),
    }
}

fn assert_alert(outcome: Outcome, expected: &str) {
    let error = outcome.unwrap_err();
    assert!(error.is_likely_permanent(), "{error}");
    match error {
        HandshakeError::Refused(alert) => assert_eq!(alert.name(), expected),
        error => panic!("{error}"),
    }
}

#[test]
fn both_ends_receive_the_peers_identity() {
    run(async {
        let ca = TestCa::new();
        let client = ca.tls_with(
            &ca.request(&[])
                .common_name("billing")
                .uri("spiffe://test/billing")
                .issue(),
        );
        let (server, client) = handshake(&ca.tls(&HOST), &client, "localhost").await;
        let seen = server.unwrap().identity.unwrap();
        assert_eq!(seen.common_name(), Some("billing"));
        assert_eq!(seen.uris(), ["spiffe://test/billing"]);
        assert!(seen.dns_names().is_empty());
        let seen = client.unwrap().identity.unwrap();
        assert_eq!(seen.common_name(), Some("localhost"));
        assert_eq!(seen.dns_names(), ["localhost"]);
        assert_eq!(seen.ip_addresses(), [Ipv4Addr::LOCALHOST]);
        assert!(seen.not_before() < seen.not_after());
    });
}

#[test]
fn server_certificate_is_verified_against_an_ip_address() {
    run(async {
        let ca = TestCa::new();
        let (server, client) = (ca.tls(&["127.0.0.1", "::1"]), ca.tls(&["client"]));
        for host in ["127.0.0.1", "::1", "[::1]"] {
            let (server, client) = handshake(&server, &client, host).await;
            assert!(server.is_ok() && client.is_ok(), "{host}");
        }
    });
}

#[test]
fn server_certificate_for_another_host_is_untrusted() {
    run(async {
        let ca = TestCa::new();
        let server = ca.tls(&["else.where", "192.0.2.1"]);
        let both = handshake(&server, &ca.tls(&["client"]), "localhost").await;
        let why = refused_server(both, "bad_certificate");
        let Untrusted::WrongName {
            expected,
            presented,
            ..
        } = why
        else {
            panic!("{why}");
        };
        assert_eq!(expected, "localhost");
        assert_eq!(presented, ["else.where", "192.0.2.1"]);
    });
}

#[test]
fn server_name_overrides_the_dialled_host() {
    run(async {
        let ca = TestCa::new();
        let client = ca.tls(&["client"]).server_name("else.where");
        let (server, client) = handshake(&ca.tls(&["else.where"]), &client, "localhost").await;
        assert!(server.is_ok() && client.is_ok());
    });
}

#[test]
fn invalid_host_name_fails_with_server_name() {
    run(async {
        let ca = TestCa::new();
        let (_server, stream) = pair().await;
        let client = ca.tls(&["client"]);
        let error = client.connect(Box::new(stream), "no such host").await;
        let error = error.unwrap_err();
        assert!(matches!(error, HandshakeError::ServerName(_)), "{error}");
        assert!(error.is_likely_permanent());
    });
}

#[test]
fn client_certificate_of_an_unknown_ca_is_rejected() {
    run(async {
        let (ours, theirs) = (TestCa::new(), TestCa::new());
        let unknown = theirs.issue(&["client"]);
        let client = Tls::from_pem(ours.pem(), unknown.certificate, unknown.key).unwrap();
        let both = handshake(&ours.tls(&HOST), &client, "localhost").await;
        let why = refused_client(both, "unknown_ca");
        assert!(matches!(why, Untrusted::UnknownIssuer { .. }), "{why}");
    });
}

#[test]
fn server_certificate_of_an_unknown_ca_is_untrusted() {
    run(async {
        let (ours, theirs) = (TestCa::new(), TestCa::new());
        let unknown = theirs.issue(&HOST);
        let server = Tls::from_pem(ours.pem(), unknown.certificate, unknown.key).unwrap();
        let both = handshake(&server, &ours.tls(&["client"]), "localhost").await;
        let why = refused_server(both, "unknown_ca");
        assert!(matches!(why, Untrusted::UnknownIssuer { .. }), "{why}");
    });
}

#[test]
fn expired_client_certificate_is_rejected() {
    run(async {
        let ca = TestCa::new();
        let client = ca.tls_with(&ca.request(&["client"]).expired().issue());
        let both = handshake(&ca.tls(&HOST), &client, "localhost").await;
        let why = refused_client(both, "certificate_expired");
        assert!(matches!(why, Untrusted::Expired { .. }), "{why}");
    });
}

#[test]
fn expired_server_certificate_is_untrusted() {
    run(async {
        let ca = TestCa::new();
        let server = ca.tls_with(&ca.request(&HOST).expired().issue());
        let both = handshake(&server, &ca.tls(&["client"]), "localhost").await;
        let why = refused_server(both, "certificate_expired");
        assert!(matches!(why, Untrusted::Expired { .. }), "{why}");
    });
}

#[test]
fn client_only_certificate_is_rejected_from_a_server() {
    run(async {
        let ca = TestCa::new();
        let only = ca.tls_with(&ca.request(&HOST).for_clients_only().issue());
        let (server, client) = handshake(&ca.tls(&HOST), &only, "localhost").await;
        assert!(server.is_ok() && client.is_ok());
        let both = handshake(&only, &ca.tls(&["client"]), "localhost").await;
        let why = refused_server(both, "unsupported_certificate");
        assert!(matches!(why, Untrusted::WrongPurpose { .. }), "{why}");
    });
}

#[test]
fn not_yet_valid_or_server_only_client_certificate_is_rejected() {
    run(async {
        let ca = TestCa::new();
        let early = ca.request(&["client"]).not_yet_valid().issue();
        let both = handshake(&ca.tls(&HOST), &ca.tls_with(&early), "localhost").await;
        let why = refused_client(both, "certificate_expired");
        assert!(matches!(why, Untrusted::NotYetValid { .. }), "{why}");
        let server = ca.request(&HOST).for_servers_only().issue();
        let server = ca.tls_with(&server);
        let (accepted, connected) = handshake(&server, &ca.tls(&["client"]), "localhost").await;
        assert!(accepted.is_ok() && connected.is_ok());
        let both = handshake(&ca.tls(&HOST), &server, "localhost").await;
        let why = refused_client(both, "unsupported_certificate");
        assert!(matches!(why, Untrusted::WrongPurpose { .. }), "{why}");
    });
}

#[test]
fn servers_check_peer_can_reject_a_client() {
    run(async {
        let ca = TestCa::new();
        let server = ca.tls(&HOST).check_peer(|peer| match peer.common_name() {
            Some("billing") => Ok(()),
            _ => Err("not billing"),
        });
        let (accepted, connected) = handshake(&server, &ca.tls(&["billing"]), "localhost").await;
        assert!(accepted.is_ok() && connected.is_ok());
        let both = handshake(&server, &ca.tls(&["sales"]), "localhost").await;
        assert_eq!(
            refused_client(both, "certificate_unknown"),
            Untrusted::Check("not billing".into())
        );
    });
}

#[test]
fn clients_check_peer_replaces_the_host_name_check() {
    run(async {
        let ca = TestCa::new();
        let client = ca.tls(&["client"]).check_peer(|peer| {
            let known = peer.dns_names().iter().any(|name| name == "else.where");
            known.then_some(()).ok_or(format!("{peer:?} is unknown"))
        });
        let (server, connected) = handshake(&ca.tls(&["else.where"]), &client, "localhost").await;
        assert!(server.is_ok() && connected.is_ok());
        let both = handshake(&ca.tls(&HOST), &client, "localhost").await;
        let why = refused_server(both, "certificate_unknown");
        assert!(why.to_string().ends_with("is unknown"), "{why}");
    });
}

#[test]
fn check_peer_does_not_replace_the_ca_check() {
    run(async {
        let (ours, theirs) = (TestCa::new(), TestCa::new());
        let yes = |_: &erps::PeerIdentity| Ok::<(), String>(());
        let (server, client) = (theirs.tls(&HOST), ours.tls(&["client"]).check_peer(yes));
        let both = handshake(&server, &client, "localhost").await;
        let why = refused_server(both, "unknown_ca");
        assert!(matches!(why, Untrusted::UnknownIssuer { .. }), "{why}");
        let unknown = theirs.issue(&["client"]);
        let client = Tls::from_pem(ours.pem(), unknown.certificate, unknown.key).unwrap();
        let both = handshake(&ours.tls(&HOST).check_peer(yes), &client, "localhost").await;
        let why = refused_client(both, "unknown_ca");
        assert!(matches!(why, Untrusted::UnknownIssuer { .. }), "{why}");
    });
}

#[erps::test(simulated)]
async fn servers_first_record_ends_the_settle_time() {
    let ca = TestCa::new();
    let (server, patient) = (ca.tls(&HOST), ca.tls(&["client"]).settle_time(HOUR));
    let (accepted, connected) = simulated_pair().await;
    let both = future::zip(
        server.accept(Box::new(accepted), PEER),
        patient.connect(Box::new(connected), "localhost"),
    );
    let (server, client) = at_once(both).await;
    assert!(server.is_ok() && client.is_ok());
}

#[test]
fn handshake_fails_with_closed_when_the_peer_disconnects() {
    run(async {
        let tls = TestCa::new().tls(&HOST);
        let (accepted, silent) = pair().await;
        drop(silent);
        let error = tls.accept(Box::new(accepted), PEER).await.unwrap_err();
        assert!(matches!(error, HandshakeError::Closed), "{error}");

        let (mut silent, stream) = pair().await;
        let leave = async {
            silent.read_exact(&mut [0; 100]).await.unwrap();
            drop(silent);
        };
        let (_, error) = future::zip(leave, tls.connect(Box::new(stream), "localhost")).await;
        let error = error.unwrap_err();
        assert!(matches!(error, HandshakeError::Closed), "{error}");
    });
}

#[test]
fn tcp_transport_has_no_handshake_and_no_identity() {
    run(async {
        let (accepted, connected) = pair().await;
        let server = Tcp.accept(Box::new(accepted), PEER).await.unwrap();
        let mut client = Tcp.connect(Box::new(connected), "any").await.unwrap();
        assert_eq!(server.identity, None);
        assert_eq!(client.identity, None);
        assert!(!Tcp.is_secure() && TestCa::new().tls(&HOST).is_secure());
        drop(server);
        assert_eq!(client.stream.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn settings_errors_and_identities_are_send_and_sync() {
    fn crosses<T: Send + Sync + Clone>() {}
    crosses::<Tcp>();
    crosses::<Tls>();
    crosses::<erps::TcpOptions>();
    crosses::<erps::TlsError>();
    crosses::<erps::PeerIdentity>();
    crosses::<HandshakeError>();
}

/// Returns the handshake error inside a stream's error.
fn inside(error: &io::Error) -> &HandshakeError {
    error.get_ref().unwrap().downcast_ref().unwrap()
}
