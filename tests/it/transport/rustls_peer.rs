//! Plain rustls as the peer, with settings other than this library's.

use std::{
    io::Read as _,
    net::Shutdown,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use erps::{HandshakeError, TestCa, TestCertificate, Transport as _, Untrusted};
use futures_rustls::{TlsAcceptor, TlsConnector};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use smol::{
    future,
    io::{AsyncReadExt as _, AsyncWriteExt as _},
};

use super::{
    HOST, PEER, assert_alert, at_once, inside, pair, run, simulated_pair, timed, untrusted,
};
use crate::support::time::{HOUR, secs};

fn roots(ca: &TestCa) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap())
        .unwrap();
    Arc::new(roots)
}

fn own(issued: &TestCertificate) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    (vec![certificate], key)
}

/// A client that would resume sessions.
fn client(
    ca: &TestCa,
    issued: Option<&TestCertificate>,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(ca));
    Arc::new(match issued {
        Some(issued) => {
            let (chain, key) = own(issued);
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    })
}

/// A server that sends no tickets, and answers a key update only along with other data.
fn server(
    ca: &TestCa,
    trusts: &TestCa,
    version: &'static SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(trusts), Arc::clone(&provider))
            .build()
            .unwrap();
    let (chain, key) = own(&ca.issue(&HOST));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

#[test]
fn client_without_certificate_is_rejected() {
    for version in [&TLS13, &TLS12] {
        run(async {
            let ca = TestCa::new();
            let ours = ca.tls(&HOST);
            let (accepted, connected) = pair().await;
            let connector = TlsConnector::from(client(&ca, None, version));
            let (server, client) = future::zip(ours.accept(Box::new(accepted), PEER), async {
                let name = "localhost".try_into().unwrap();
                let mut stream = connector.connect(name, connected).await?;
                stream.read(&mut [0; 8]).await
            })
            .await;
            assert_eq!(untrusted(server), Untrusted::NoCertificate);
            let error = client.unwrap_err().to_string();
            assert!(error.contains("CertificateRequired"), "{error}");
        });
    }
}

#[test]
fn tls_1_2_and_1_3_work_with_plain_rustls() {
    for version in [&TLS13, &TLS12] {
        run(async {
            let ca = TestCa::new();
            let ours = ca.tls(&HOST);
            let (accepted, connected) = pair().await;
            let connector = TlsConnector::from(client(&ca, Some(&ca.issue(&["them"])), version));
            let name = "localhost".try_into().unwrap();
            let (secured, peer) = future::zip(
                ours.accept(Box::new(accepted), PEER),
                connector.connect(name, connected),
            )
            .await;
            let (mut secured, mut peer) = (secured.unwrap(), peer.unwrap());
            let identity = secured.identity.take().unwrap();
            assert_eq!(identity.common_name(), Some("them"));
            peer.write_all(b"hello").await.unwrap();
            peer.flush().await.unwrap();
            let mut text = [0; 5];
            secured.stream.read_exact(&mut text).await.unwrap();
            assert_eq!(&text, b"hello");

            let acceptor = TlsAcceptor::from(server(&ca, &ca, version));
            let (accepted, connected) = pair().await;
            let (peer, secured) = future::zip(
                acceptor.accept(accepted),
                ours.connect(Box::new(connected), "localhost"),
            )
            .await;
            let (mut secured, mut peer) = (secured.unwrap(), peer.unwrap());
            secured.stream.write_all(b"hello").await.unwrap();
            secured.stream.flush().await.unwrap();
            peer.read_exact(&mut text).await.unwrap();
            peer.write_all(&text).await.unwrap();
            peer.close().await.unwrap();
            let mut back = String::new();
            secured.stream.read_to_string(&mut back).await.unwrap();
            assert_eq!(back, "hello");
        });
    }
}

#[erps::test(simulated)]
async fn servers_first_data_ends_the_settle_time_and_is_not_lost() {
    let ca = TestCa::new();
    let ours = ca.tls(&["us"]).settle_time(HOUR);
    let acceptor = TlsAcceptor::from(server(&ca, &ca, &TLS13));
    let (accepted, connected) = simulated_pair().await;
    let speak = async {
        let mut peer = acceptor.accept(accepted).await.unwrap();
        peer.write_all(b"welcome").await.unwrap();
        peer.flush().await.unwrap();
        peer
    };
    let connect = ours.connect(Box::new(connected), "localhost");
    let (_foreign, secured) = at_once(future::zip(speak, connect)).await;
    let mut text = [0; 7];
    let mut stream = secured.unwrap().stream;
    stream.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"welcome");
}

#[erps::test(simulated)]
async fn rejection_by_a_rustls_server_is_reported_by_connect() {
    for version in [&TLS13, &TLS12] {
        let (ca, other) = (TestCa::new(), TestCa::new());
        let ours = ca.tls(&["us"]).settle_time(HOUR);
        let acceptor = TlsAcceptor::from(server(&ca, &other, version));
        let (accepted, connected) = simulated_pair().await;
        let both = future::zip(
            acceptor.accept(accepted),
            ours.connect(Box::new(connected), "localhost"),
        );
        let (peer, secured) = at_once(both).await;
        assert!(peer.is_err());
        assert_alert(secured, "unknown_ca");
    }
}

/// The server sends neither tickets nor data.
#[erps::test(simulated)]
async fn connect_succeeds_after_the_settle_time_when_the_server_is_silent() {
    let ca = TestCa::new();
    let ours = ca.tls(&["us"]).settle_time(secs(2));
    let acceptor = TlsAcceptor::from(server(&ca, &ca, &TLS13));
    let (accepted, connected) = simulated_pair().await;
    let connect = ours.connect(Box::new(connected), "localhost");
    let (peer, (secured, took)) = future::zip(acceptor.accept(accepted), timed(connect)).await;
    assert!(peer.is_ok() && secured.is_ok());
    assert_eq!(took, secs(2));
}

#[test]
fn rejection_after_the_settle_time_is_the_error_of_the_next_read() {
    run(async {
        let (ca, other) = (TestCa::new(), TestCa::new());
        let ours = ca.tls(&["us"]).settle_time(Duration::ZERO);
        let (accepted, connected) = pair().await;
        let mut session = ServerConnection::new(server(&ca, &other, &TLS13)).unwrap();
        let mut accepted = blocking(accepted);
        let (go_on, wait) = mpsc::channel();
        let slow = thread::spawn(move || {
            while session.is_handshaking() && !session.wants_write() {
                session.read_tls(&mut accepted).unwrap();
                session.process_new_packets().unwrap();
            }
            while session.wants_write() {
                session.write_tls(&mut accepted).unwrap();
            }
            wait.recv().unwrap();
            let error = session.complete_io(&mut accepted).unwrap_err();
            accepted.shutdown(Shutdown::Write).unwrap();
            let _ = accepted.read_to_end(&mut Vec::new());
            error
        });
        let connect = ours.connect(Box::new(connected), "localhost");
        let mut stream = connect.await.unwrap().stream;
        go_on.send(()).unwrap();
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert!(matches!(inside(&error), HandshakeError::Refused(_)));
        let again = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
        assert!(stream.write_all(b"hello").await.is_err());
        drop(stream);
        assert!(slow.join().unwrap().to_string().contains("UnknownIssuer"));
    });
}

#[test]
fn sessions_are_not_resumed_by_default() {
    for version in [&TLS13, &TLS12] {
        let ca = TestCa::new();
        let ours = ca.tls(&HOST);
        let config = client(&ca, Some(&ca.issue(&["them"])), version);
        for _ in 0..3 {
            let kind = run(async {
                let (accepted, connected) = pair().await;
                let config = Arc::clone(&config);
                let mut connected = blocking(connected);
                let peer = smol::unblock(move || {
                    let name = "localhost".try_into().unwrap();
                    let mut session = ClientConnection::new(config, name).unwrap();
                    let mut stream = rustls::Stream::new(&mut session, &mut connected);
                    let mut word = [0; 7];
                    stream.read_exact(&mut word).unwrap();
                    session.handshake_kind()
                });
                let (kind, ()) = future::zip(peer, async {
                    let secured = ours.accept(Box::new(accepted), PEER).await;
                    let mut stream = secured.unwrap().stream;
                    stream.write_all(b"welcome").await.unwrap();
                    stream.flush().await.unwrap();
                })
                .await;
                kind
            });
            assert_eq!(kind, Some(HandshakeKind::Full));
        }
    }
}

fn blocking(stream: async_net::TcpStream) -> std::net::TcpStream {
    let stream: Arc<smol::Async<std::net::TcpStream>> = stream.into();
    let stream = stream.get_ref().try_clone().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}
