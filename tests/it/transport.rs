//! Handshakes and streams: who is let in, who is told what, and that no byte is lost.

mod diagnosis;
mod erlang;
mod expiry;
mod foreign;
mod names;
mod options;
mod reasons;
mod revocation;
mod rotation;
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

/// Runs a test to its end, and fails it if it hangs.
fn run<T>(test: impl Future<Output = T>) -> T {
    smol::block_on(test.or(async {
        Timer::after(Duration::from_secs(30)).await;
        panic!("it hangs");
    }))
}

/// Both ends of a TCP connection: the accepted one, and the one that connected.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (server, client) = future::zip(listener.accept(), client).await;
    (server.unwrap().0, client.unwrap())
}

/// As [`pair`], on the network of a simulated universe.
async fn simulated_pair() -> (erps::network::Stream, erps::network::Stream) {
    let network = Network::current().expect("a simulated universe");
    let listener = network.listen(PEER.inet().unwrap()).unwrap();
    let client = network.connect(listener.local_addr()).await.unwrap();
    (listener.accept().await.unwrap().0, client)
}

/// What becomes of either end when they shake hands: the server's view, and the client's.
async fn shake(server: &Tls, client: &Tls, host: &str) -> (Outcome, Outcome) {
    let (accepted, connected) = pair().await;
    future::zip(
        server.accept(Box::new(accepted), PEER),
        client.connect(Box::new(connected), host),
    )
    .await
}

/// Two ends that trust each other.
async fn secured() -> (Secured, Secured) {
    let ca = TestCa::new();
    let (server, client) = shake(&ca.tls(&HOST), &ca.tls(&["client"]), "localhost").await;
    (server.unwrap(), client.unwrap())
}

/// What the server holds against the client, and that the client was told so with `alert`.
fn refused_client((server, client): (Outcome, Outcome), alert: &str) -> Untrusted {
    (refusal(server), told(client, alert)).0
}

/// What the client holds against the server, and that the server was told so with `alert`.
fn refused_server((server, client): (Outcome, Outcome), alert: &str) -> Untrusted {
    (refusal(client), told(server, alert)).0
}

fn refusal(outcome: Outcome) -> Untrusted {
    match outcome.unwrap_err() {
        error @ HandshakeError::Untrusted(_) if error.is_likely_permanent() => panic!("{error}"),
        HandshakeError::Untrusted(why) => why,
        error => panic!("{error}"),
    }
}

fn told(outcome: Outcome, expected: &str) {
    let error = outcome.unwrap_err();
    assert!(error.is_likely_permanent(), "{error}");
    match error {
        HandshakeError::Refused(alert) => assert_eq!(alert.name(), expected),
        error => panic!("{error}"),
    }
}

#[test]
fn both_ends_learn_who_the_other_is() {
    run(async {
        let ca = TestCa::new();
        let client = ca.tls_with(
            &ca.request(&[])
                .common_name("billing")
                .uri("spiffe://test/billing")
                .issue(),
        );
        let (server, client) = shake(&ca.tls(&HOST), &client, "localhost").await;
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
fn a_server_is_verified_by_its_address_as_well() {
    run(async {
        let ca = TestCa::new();
        let (server, client) = (ca.tls(&["127.0.0.1", "::1"]), ca.tls(&["client"]));
        for host in ["127.0.0.1", "::1", "[::1]"] {
            let (server, client) = shake(&server, &client, host).await;
            assert!(server.is_ok() && client.is_ok(), "{host}");
        }
    });
}

#[test]
fn a_server_for_another_host_is_not_trusted() {
    run(async {
        let ca = TestCa::new();
        let server = ca.tls(&["else.where", "192.0.2.1"]);
        let both = shake(&server, &ca.tls(&["client"]), "localhost").await;
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
fn a_server_may_be_verified_against_another_name_than_the_one_dialled() {
    run(async {
        let ca = TestCa::new();
        let client = ca.tls(&["client"]).server_name("else.where");
        let (server, client) = shake(&ca.tls(&["else.where"]), &client, "localhost").await;
        assert!(server.is_ok() && client.is_ok());
    });
}

#[test]
fn a_host_that_no_certificate_can_name_is_an_error_at_once() {
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
fn a_client_of_an_unknown_ca_is_refused_and_does_not_count_as_connected() {
    run(async {
        let (ours, theirs) = (TestCa::new(), TestCa::new());
        let stranger = theirs.issue(&["client"]);
        let client = Tls::from_pem(ours.pem(), stranger.certificate, stranger.key).unwrap();
        let both = shake(&ours.tls(&HOST), &client, "localhost").await;
        let why = refused_client(both, "unknown_ca");
        assert!(matches!(why, Untrusted::UnknownIssuer { .. }), "{why}");
    });
}

#[test]
fn a_server_of_an_unknown_ca_is_not_trusted() {
    run(async {
        let (ours, theirs) = (TestCa::new(), TestCa::new());
        let stranger = theirs.issue(&HOST);
        let server = Tls::from_pem(ours.pem(), stranger.certificate, stranger.key).unwrap();
        let both = shake(&server, &ours.tls(&["client"]), "localhost").await;
        let why = refused_server(both, "unknown_ca");
        assert!(matches!(why, Untrusted::UnknownIssuer { .. }), "{why}");
    });
}

#[test]
fn a_client_whose_certificate_has_expired_is_refused() {
    run(async {
        let ca = TestCa::new();
        let client = ca.tls_with(&ca.request(&["client"]).expired().issue());
        let both = shake(&ca.tls(&HOST), &client, "localhost").await;
        let why = refused_client(both, "certificate_expired");
        assert!(matches!(why, Untrusted::Expired { .. }), "{why}");
    });
}

#[test]
fn a_server_whose_certificate_has_expired_is_not_trusted() {
    run(async {
        let ca = TestCa::new();
        let server = ca.tls_with(&ca.request(&HOST).expired().issue());
        let both = shake(&server, &ca.tls(&["client"]), "localhost").await;
        let why = refused_server(both, "certificate_expired");
        assert!(matches!(why, Untrusted::Expired { .. }), "{why}");
    });
}

#[test]
fn a_certificate_for_clients_is_none_for_servers() {
    run(async {
        let ca = TestCa::new();
        let only = ca.tls_with(&ca.request(&HOST).for_clients_only().issue());
        let (server, client) = shake(&ca.tls(&HOST), &only, "localhost").await;
        assert!(server.is_ok() && client.is_ok());
        let both = shake(&only, &ca.tls(&["client"]), "localhost").await;
        let why = refused_server(both, "unsupported_certificate");
        assert!(matches!(why, Untrusted::WrongPurpose { .. }), "{why}");
    });
}

#[test]
fn a_client_before_its_time_or_with_a_certificate_for_servers_is_refused() {
    run(async {
        let ca = TestCa::new();
        let early = ca.request(&["client"]).not_yet_valid().issue();
        let both = shake(&ca.tls(&HOST), &ca.tls_with(&early), "localhost").await;
        let why = refused_client(both, "certificate_expired");
        assert!(matches!(why, Untrusted::NotYetValid { .. }), "{why}");
        let server = ca.request(&HOST).for_servers_only().issue();
        let server = ca.tls_with(&server);
        let (accepted, connected) = shake(&server, &ca.tls(&["client"]), "localhost").await;
        assert!(accepted.is_ok() && connected.is_ok());
        let both = shake(&ca.tls(&HOST), &server, "localhost").await;
        let why = refused_client(both, "unsupported_certificate");
        assert!(matches!(why, Untrusted::WrongPurpose { .. }), "{why}");
    });
}

#[test]
fn a_server_may_choose_its_clients_by_what_their_certificates_say() {
    run(async {
        let ca = TestCa::new();
        let server = ca.tls(&HOST).check_peer(|peer| match peer.common_name() {
            Some("billing") => Ok(()),
            _ => Err("not billing"),
        });
        let (accepted, connected) = shake(&server, &ca.tls(&["billing"]), "localhost").await;
        assert!(accepted.is_ok() && connected.is_ok());
        let both = shake(&server, &ca.tls(&["sales"]), "localhost").await;
        assert_eq!(
            refused_client(both, "certificate_unknown"),
            Untrusted::Check("not billing".into())
        );
    });
}

#[test]
fn a_client_may_check_its_server_by_something_else_than_its_name() {
    run(async {
        let ca = TestCa::new();
        let client = ca.tls(&["client"]).check_peer(|peer| {
            let known = peer.dns_names().iter().any(|name| name == "else.where");
            known.then_some(()).ok_or(format!("{peer:?} is nobody"))
        });
        let (server, connected) = shake(&ca.tls(&["else.where"]), &client, "localhost").await;
        assert!(server.is_ok() && connected.is_ok());
        let both = shake(&ca.tls(&HOST), &client, "localhost").await;
        let why = refused_server(both, "certificate_unknown");
        assert!(why.to_string().ends_with("is nobody"), "{why}");
    });
}

#[test]
fn a_check_of_ones_own_does_not_let_in_what_the_ca_does_not_vouch_for() {
    run(async {
        let (ours, theirs) = (TestCa::new(), TestCa::new());
        let yes = |_: &erps::PeerIdentity| Ok::<(), String>(());
        let (server, client) = (theirs.tls(&HOST), ours.tls(&["client"]).check_peer(yes));
        let both = shake(&server, &client, "localhost").await;
        let why = refused_server(both, "unknown_ca");
        assert!(matches!(why, Untrusted::UnknownIssuer { .. }), "{why}");
        let stranger = theirs.issue(&["client"]);
        let client = Tls::from_pem(ours.pem(), stranger.certificate, stranger.key).unwrap();
        let both = shake(&ours.tls(&HOST).check_peer(yes), &client, "localhost").await;
        let why = refused_client(both, "unknown_ca");
        assert!(matches!(why, Untrusted::UnknownIssuer { .. }), "{why}");
    });
}

#[erps::test(simulated)]
async fn a_server_answers_so_that_no_client_waits_out_its_settle_time() {
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
fn a_peer_that_leaves_during_the_handshake_is_just_gone() {
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
fn plain_tcp_has_no_handshake_and_knows_nobody() {
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
fn settings_errors_and_identities_may_cross_threads() {
    fn crosses<T: Send + Sync + Clone>() {}
    crosses::<Tcp>();
    crosses::<Tls>();
    crosses::<erps::TcpOptions>();
    crosses::<erps::TlsError>();
    crosses::<erps::PeerIdentity>();
    crosses::<HandshakeError>();
}

/// Sees that an error of a stream says what the peer had against this end.
fn inside(error: &io::Error) -> &HandshakeError {
    error.get_ref().unwrap().downcast_ref().unwrap()
}
