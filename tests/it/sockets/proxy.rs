//! Daemons behind proxies: which proxies are trusted, and how the announced address is used.

use erps::{
    AtLimit, CloseReason, ConnectionStage, HandshakeFailure, ProxyError, Rejection, TestCa,
    network::Stream,
    wire::{packet::Kind, proxy::MAX_LINE},
};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::support::raw::{self, Raw};

const PORT: u16 = 4747;
const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 5555 4747\r\n";

/// A daemon that trusts proxies on this machine.
async fn behind(builder: DaemonBuilder<TestServer>) -> (Linked<Daemon<TestServer>>, DaemonEvents) {
    let builder = builder.port(PORT).proxy_protocol(Endpoint::is_local);
    let daemon = builder.start_link().await.unwrap();
    let events = daemon.events();
    (daemon, events)
}

async fn dial() -> Stream {
    let network = Network::current().unwrap();
    let at = (Ipv4Addr::LOCALHOST, PORT).into();
    network.connect(at).await.unwrap()
}

async fn dial_and_send(bytes: &[u8]) -> Stream {
    let mut stream = dial().await;
    stream.write_all(bytes).await.unwrap();
    stream
}

async fn assert_answered(stream: Stream) -> Raw<Stream> {
    let mut peer = Raw::over(stream);
    peer.send(&raw::call(1, ":ping")).await;
    let (kind, text) = peer.text().await.expect("an answer");
    assert!(kind == Kind::Reply && text.contains("pong"), "{text}");
    peer
}

async fn assert_closed(mut stream: Stream) {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(bytes.is_empty(), "{bytes:?}");
}

/// Returns the next `Closed` event.
async fn end(events: &mut DaemonEvents) -> (Endpoint, ConnectionStage, CloseReason) {
    loop {
        match events.next().await.unwrap() {
            DaemonEvent::Closed {
                address,
                stage,
                reason,
                ..
            } => return (address, stage, reason),
            _ => continue,
        }
    }
}

fn announced() -> Endpoint {
    let address: SocketAddr = "203.0.113.7:5555".parse().unwrap();
    address.into()
}

#[erps::test(simulated)]
async fn announced_address_is_used_as_the_peers_address() {
    let (builder, _watch, peers) = recording_daemon();
    let hooked = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&hooked);
    let builder = builder.admit_address(move |address: &Endpoint| {
        list.lock().unwrap().push(address.clone());
        Ok::<_, String>(())
    });
    let (daemon, mut events) = behind(builder).await;
    let peer = assert_answered(dial_and_send(HEADER).await).await;
    assert_eq!(*hooked.lock().unwrap(), [announced()]);
    let [seen] = &peers.take()[..] else {
        panic!("one peer");
    };
    assert_eq!(seen.address, announced());
    let proxy = seen.proxy.clone().unwrap();
    assert!(proxy.is_local());
    assert_eq!(daemon.connections()[0].peer.address, announced());
    let Some(DaemonEvent::Accepted { address, .. }) = events.next().await else {
        panic!("the first event");
    };
    assert_eq!(address, proxy);
    drop(peer);
    let (address, stage, _) = end(&mut events).await;
    assert_eq!((address, stage), (announced(), ConnectionStage::Served));
}

#[erps::test(simulated, panics = "as the test asks")]
async fn untrusted_proxy_is_closed_without_reading() {
    for trusted in [false, true] {
        let (builder, _watch) = test_server::daemon();
        let builder = builder.proxy_protocol(move |_| match trusted {
            false => false,
            true => panic!("as the test asks"),
        });
        let daemon = builder.port(PORT).start_link().await.unwrap();
        let mut events = daemon.events();
        assert_closed(dial_and_send(HEADER).await).await;
        let (address, stage, reason) = end(&mut events).await;
        assert!(address.is_local() && stage == ConnectionStage::Handshake);
        assert!(matches!(reason, CloseReason::Rejected(Rejection::Proxy)));
        assert_eq!(daemon.info().rejected.proxy, 1);
        daemon.shutdown().await;
    }
}

#[erps::test(simulated)]
async fn missing_or_invalid_header_closes_the_connection_immediately() {
    let (builder, watch) = test_server::daemon();
    let (daemon, mut events) = behind(builder).await;
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; MAX_LINE]].concat();
    let bad: [(&[u8], ProxyError); 4] = [
        (&raw::call(1, ":ping"), ProxyError::NoHeader),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", ProxyError::Line),
        (&long, ProxyError::TooLong),
        (b"\r\n\r\n\0\r\nQUIT\n\x31", ProxyError::Version(3)),
    ];
    for (bytes, expected) in bad {
        let (stream, took) = crate::support::time::timed(dial_and_send(bytes)).await;
        assert!(took < ms(1));
        assert_closed(stream).await;
        let (_, stage, reason) = end(&mut events).await;
        assert_eq!(stage, ConnectionStage::Handshake);
        let CloseReason::Handshake(HandshakeFailure::Proxy(error)) = reason else {
            panic!("{reason}");
        };
        assert_eq!(error, expected);
    }
    assert_eq!(daemon.info().handshakes_failed.other, 4);
    assert!(watch.lifecycle.is_empty());
}

#[erps::test(simulated)]
async fn handshake_timeout_closes_a_connection_without_a_complete_header() {
    let (builder, _watch) = test_server::daemon();
    let (daemon, mut events) = behind(builder).await;
    let start = time::now();
    for bytes in [&b""[..], &HEADER[..HEADER.len() - 1]] {
        assert_closed(dial_and_send(bytes).await).await;
        let (_, _, reason) = end(&mut events).await;
        assert!(matches!(
            reason,
            CloseReason::Handshake(HandshakeFailure::TimedOut)
        ));
    }
    assert_eq!(time::now() - start, secs(20));
    // A proxy that disconnects is reported immediately.
    drop(dial_and_send(&HEADER[..9]).await);
    let (_, _, reason) = end(&mut events).await;
    assert!(matches!(
        reason,
        CloseReason::Handshake(HandshakeFailure::Failed(_))
    ));
    drop(daemon);
}

/// The PROXY header and the TLS handshake share one handshake timeout.
#[erps::test(simulated)]
async fn header_and_tls_handshake_share_the_handshake_timeout() {
    let (builder, _watch) = test_server::daemon();
    let ca = TestCa::new();
    let (daemon, mut events) = behind(builder.transport(ca.tls(&["localhost"]))).await;
    let start = time::now();
    let mut stream = dial().await;
    time::sleep(secs(9)).await;
    stream.write_all(HEADER).await.unwrap();
    assert_closed(stream).await;
    let (address, _, reason) = end(&mut events).await;
    assert_eq!(address, announced());
    assert!(matches!(
        reason,
        CloseReason::Handshake(HandshakeFailure::TimedOut)
    ));
    assert_eq!(time::now() - start, secs(10));
    drop(daemon);
}

#[erps::test(simulated)]
async fn silent_peers_behind_a_proxy_are_evicted_like_pending_handshakes() {
    let (builder, _watch) = test_server::daemon();
    let (daemon, mut events) = behind(builder.max_pending_handshakes(3)).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(dial().await);
        settled().await;
    }
    assert_answered(dial_and_send(HEADER).await).await;
    let (_, _, reason) = end(&mut events).await;
    assert!(matches!(
        reason,
        CloseReason::Handshake(HandshakeFailure::Evicted)
    ));
    drop(daemon);
}

#[erps::test(simulated)]
async fn limit_per_address_counts_the_announced_address() {
    let (builder, _watch) = test_server::daemon();
    let at_limit = AtLimit::Refuse {
        retry_after: secs(1),
    };
    let builder = builder.max_connections_per_address(1).at_limit(at_limit);
    let (daemon, _events) = behind(builder).await;
    let first = assert_answered(dial_and_send(HEADER).await).await;
    let other = b"PROXY TCP4 203.0.113.8 10.0.0.1 5555 4747\r\n";
    let _second = assert_answered(dial_and_send(other).await).await;
    // The same address, as IPv4-mapped IPv6.
    let third = b"PROXY TCP6 ::ffff:203.0.113.7 ::1 5555 4747\r\n";
    let (kind, text) = Raw::over(dial_and_send(third).await).text().await.unwrap();
    assert!(
        kind == Kind::Error && text.contains("this address"),
        "{text}"
    );
    settled().await;
    assert_eq!(daemon.info().rejected.address, 1);
    assert_eq!(daemon.info().connections, 2);
    drop(first);
    settled().await;
    assert_answered(dial_and_send(third).await).await;
}

#[erps::test(simulated)]
async fn proxy_is_the_peer_when_it_announces_no_address() {
    let (builder, _watch, peers) = recording_daemon();
    let (_daemon, _events) = behind(builder).await;
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    for header in [&b"PROXY UNKNOWN\r\n"[..], local] {
        assert_answered(dial_and_send(header).await).await;
        let [seen] = &peers.take()[..] else {
            panic!("one peer");
        };
        assert!(seen.address.is_local() && seen.proxy.is_none());
    }
}

/// The handshake fails if one byte too many or too few is read.
#[test]
fn tls_starts_right_after_the_header() {
    run(async {
        let (builder, _watch, peers) = recording_daemon();
        let ca = TestCa::new();
        let builder = builder.transport(ca.tls(&["localhost"]));
        let builder = builder.proxy_protocol(Endpoint::is_local);
        let daemon = builder.start_link().await.unwrap();
        let six = [
            &b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24"[..],
            &Ipv6Addr::LOCALHOST.octets(),
            &Ipv6Addr::LOCALHOST.octets(),
            &[0x15, 0xB3, 0x12, 0x8B],
        ];
        for header in [HEADER.to_vec(), six.concat()] {
            let proxy = Proxy::new(header, daemon.local_addr()).await;
            let client = Client::<TestProtocol>::builder(("localhost", proxy.port));
            let client = client
                .transport(ca.tls(&["guest"]))
                .connect()
                .await
                .unwrap();
            assert_served(&client).await;
            let [seen] = &peers.take()[..] else {
                panic!("one peer");
            };
            assert_eq!(seen.address.port(), Some(5555));
            assert_eq!(seen.identity.as_ref().unwrap().dns_names(), ["guest"]);
        }
    });
}

/// A proxy for one connection that sends its header together with the client's first bytes.
struct Proxy {
    port: u16,
    _task: smol::Task<()>,
}

impl Proxy {
    async fn new(header: Vec<u8>, to: SocketAddr) -> Self {
        let listener = smol::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = smol::spawn(async move {
            let (near, _) = listener.accept().await.unwrap();
            let mut far = smol::net::TcpStream::connect(to).await.unwrap();
            let mut first = vec![0; 4096];
            let read = near.clone().read(&mut first).await.unwrap();
            let bytes = [&header, &first[..read]].concat();
            far.write_all(&bytes).await.unwrap();
            let up = smol::io::copy(near.clone(), far.clone());
            let down = smol::io::copy(far.clone(), near.clone());
            let _ = smol::future::or(up, down).await;
        });
        Self { port, _task: task }
    }
}
