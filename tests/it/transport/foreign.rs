//! Peers that are not ours: rustls as it comes out of the box, with other settings.

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

use super::{HOST, PEER, at_once, inside, pair, refusal, run, simulated_pair, timed, told};
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

/// A client that would resume sessions if it could.
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

/// A server that sends no tickets, and answers a key update only when it has something to say.
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
fn a_client_without_a_certificate_is_refused() {
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
            assert_eq!(refusal(server), Untrusted::NoCertificate);
            let error = client.unwrap_err().to_string();
            assert!(error.contains("CertificateRequired"), "{error}");
        });
    }
}

#[test]
fn both_versions_of_tls_are_spoken_with_foreign_peers() {
    for version in [&TLS13, &TLS12] {
        run(async {
            let ca = TestCa::new();
            let ours = ca.tls(&HOST);
            let (accepted, connected) = pair().await;
            let connector = TlsConnector::from(client(&ca, Some(&ca.issue(&["them"])), version));
            let name = "localhost".try_into().unwrap();
            let (secured, foreign) = future::zip(
                ours.accept(Box::new(accepted), PEER),
                connector.connect(name, connected),
            )
            .await;
            let (mut secured, mut foreign) = (secured.unwrap(), foreign.unwrap());
            let identity = secured.identity.take().unwrap();
            assert_eq!(identity.common_name(), Some("them"));
            foreign.write_all(b"hello").await.unwrap();
            foreign.flush().await.unwrap();
            let mut text = [0; 5];
            secured.stream.read_exact(&mut text).await.unwrap();
            assert_eq!(&text, b"hello");

            let acceptor = TlsAcceptor::from(server(&ca, &ca, version));
            let (accepted, connected) = pair().await;
            let (foreign, secured) = future::zip(
                acceptor.accept(accepted),
                ours.connect(Box::new(connected), "localhost"),
            )
            .await;
            let (mut secured, mut foreign) = (secured.unwrap(), foreign.unwrap());
            secured.stream.write_all(b"hello").await.unwrap();
            secured.stream.flush().await.unwrap();
            foreign.read_exact(&mut text).await.unwrap();
            foreign.write_all(&text).await.unwrap();
            foreign.close().await.unwrap();
            let mut back = String::new();
            secured.stream.read_to_string(&mut back).await.unwrap();
            assert_eq!(back, "hello");
        });
    }
}

#[erps::test(simulated)]
async fn the_first_word_of_a_foreign_server_is_a_sign_and_is_not_lost() {
    let ca = TestCa::new();
    let ours = ca.tls(&["us"]).settle_time(HOUR);
    let acceptor = TlsAcceptor::from(server(&ca, &ca, &TLS13));
    let (accepted, connected) = simulated_pair().await;
    let speak = async {
        let mut foreign = acceptor.accept(accepted).await.unwrap();
        foreign.write_all(b"welcome").await.unwrap();
        foreign.flush().await.unwrap();
        foreign
    };
    let connect = ours.connect(Box::new(connected), "localhost");
    let (_foreign, secured) = at_once(future::zip(speak, connect)).await;
    let mut text = [0; 7];
    let mut stream = secured.unwrap().stream;
    stream.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"welcome");
}

#[erps::test(simulated)]
async fn a_foreign_server_that_refuses_us_is_heard() {
    for version in [&TLS13, &TLS12] {
        let (ca, other) = (TestCa::new(), TestCa::new());
        let ours = ca.tls(&["us"]).settle_time(HOUR);
        let acceptor = TlsAcceptor::from(server(&ca, &other, version));
        let (accepted, connected) = simulated_pair().await;
        let both = future::zip(
            acceptor.accept(accepted),
            ours.connect(Box::new(connected), "localhost"),
        );
        let (foreign, secured) = at_once(both).await;
        assert!(foreign.is_err());
        told(secured, "unknown_ca");
    }
}

/// It sends no tickets, and has nothing to say.
#[erps::test(simulated)]
async fn a_foreign_server_that_says_nothing_is_taken_at_its_silence_after_the_settle_time() {
    let ca = TestCa::new();
    let ours = ca.tls(&["us"]).settle_time(secs(2));
    let acceptor = TlsAcceptor::from(server(&ca, &ca, &TLS13));
    let (accepted, connected) = simulated_pair().await;
    let connect = ours.connect(Box::new(connected), "localhost");
    let (foreign, (secured, took)) = future::zip(acceptor.accept(accepted), timed(connect)).await;
    assert!(foreign.is_ok() && secured.is_ok());
    assert_eq!(took, secs(2));
}

#[test]
fn a_refusal_after_the_settle_time_is_found_in_the_error_of_the_next_read() {
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
fn no_session_is_resumed() {
    for version in [&TLS13, &TLS12] {
        let ca = TestCa::new();
        let ours = ca.tls(&HOST);
        let config = client(&ca, Some(&ca.issue(&["them"])), version);
        for _ in 0..3 {
            let kind = run(async {
                let (accepted, connected) = pair().await;
                let config = Arc::clone(&config);
                let mut connected = blocking(connected);
                let foreign = smol::unblock(move || {
                    let name = "localhost".try_into().unwrap();
                    let mut session = ClientConnection::new(config, name).unwrap();
                    let mut stream = rustls::Stream::new(&mut session, &mut connected);
                    let mut word = [0; 7];
                    stream.read_exact(&mut word).unwrap();
                    session.handshake_kind()
                });
                let (kind, ()) = future::zip(foreign, async {
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
