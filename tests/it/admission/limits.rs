//! Limits on connections in total, per address and per certificate, admission hooks, and what rejected
//! clients receive.

use super::*;

use std::{
    pin::Pin,
    task::{self, Poll, Waker},
};

use erps::{
    AtLimit, BoxedStream, CallError, DaemonInfo, Disconnect, Endpoint, Handshake, Network,
    PeerInfo, Secured, ServerOptions, Transport, Universe,
    network::{Host, Stream},
    time,
    wire::packet::Kind,
};
use futures::io::{AsyncRead, AsyncWrite};

use crate::support::raw::{self, Raw};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Runs a test with a daemon that every host of the network can reach.
fn at<F: Future<Output = ()>>(
    change: impl FnOnce(DaemonBuilder<TestServer>) -> DaemonBuilder<TestServer>,
    test: impl FnOnce(Network, Linked<Daemon<TestServer>>) -> F,
) {
    Universe::simulated(1).run(async {
        let network = Network::current().unwrap();
        let shop = network.host("shop");
        let (builder, _watch) = test_server::daemon();
        let builder = change(builder.bind(shop.ip()).plaintext_anywhere());
        let daemon = shop.scope(builder.start_link()).await.unwrap();
        test(network, daemon).await;
    });
}

async fn connect_from(network: &Network, host: &Host, daemon: &Daemon<TestServer>) -> Raw<Stream> {
    let connect = network.connect(daemon.local_addr());
    Raw::over(host.scope(connect).await.unwrap())
}

async fn served(peer: &mut Raw<Stream>) {
    peer.send(&raw::call(1, ":ping")).await;
    let (kind, text) = peer.text().await.unwrap();
    assert!(kind == Kind::Reply && text.contains("pong"), "{text}");
}

/// Asserts that the peer receives this error and then a close.
async fn assert_rejected(peer: &mut Raw<Stream>, word: &str) {
    let (kind, text) = peer.text().await.unwrap();
    assert_eq!((kind, text), (Kind::Error, format!("{word:?}")));
    assert_eq!(peer.text().await, None);
}

/// Waits five seconds, until everything in progress has finished.
async fn settled() {
    time::sleep(secs(5)).await;
}

/// Whether this is the daemon's own host.
fn is_daemon_host(ip: IpAddr) -> bool {
    Network::current().unwrap().host("shop").ip() == ip
}

fn is_empty(info: &DaemonInfo) -> bool {
    info.connections + info.handshakes + info.servers == 0
}

#[test]
fn connection_over_the_limit_receives_retry_after_and_is_accepted_when_one_closes() {
    let retry_after = secs(5);
    let full = |builder: DaemonBuilder<_>| {
        let at_limit = AtLimit::Refuse { retry_after };
        builder.max_connections(2).at_limit(at_limit)
    };
    at(full, |network, daemon| async move {
        let home = network.host("home");
        let mut first = connect_from(&network, &home, &daemon).await;
        let mut second = connect_from(&network, &home, &daemon).await;
        served(&mut first).await;
        served(&mut second).await;
        let mut third = connect_from(&network, &home, &daemon).await;
        assert_rejected(&mut third, "refused: too many connections; come back in 5s").await;
        served(&mut first).await;
        drop((second, third));
        settled().await;
        served(&mut connect_from(&network, &home, &daemon).await).await;
        let info = daemon.info();
        assert_eq!((info.accepted, info.rejected.connections), (4, 1));
        assert_eq!(info.failed, 0);
        drop(first);
        settled().await;
        assert!(is_empty(&daemon.info()));
    });
}

#[test]
fn rejected_client_reports_the_reason_and_retries_after_retry_after() {
    let retry_after = secs(5);
    let full = |builder: DaemonBuilder<_>| {
        let at_limit = AtLimit::Refuse { retry_after };
        builder.max_connections(1).at_limit(at_limit)
    };
    at(full, |network, daemon| async move {
        let home = network.host("home");
        let mut first = connect_from(&network, &home, &daemon).await;
        served(&mut first).await;
        let second = Client::<TestProtocol>::builder(daemon.local_addr())
            .backoff(Backoff::new(ms(1), ms(10)))
            .start();
        let refused = || match second.last_disconnect() {
            Some(Disconnect::Refused { why, retry_after }) => Some((why, retry_after)),
            _ => None,
        };
        time::sleep(secs(1)).await;
        let assert_rejected = ("too many connections".to_owned(), Some(retry_after));
        assert_eq!(refused(), Some(assert_rejected));
        assert_eq!(daemon.info().rejected.connections, 1);
        // It is rejected at each attempt, and attempts as often as `retry_after` allows.
        time::sleep(secs(59)).await;
        assert_eq!(daemon.info().rejected.connections, 12);
        // An explicit `connect` does not wait.
        let _ = second.connect().await;
        time::sleep(ms(100)).await;
        assert_eq!(daemon.info().rejected.connections, 13);
        drop(first);
        time::sleep(2 * retry_after).await;
        assert!(second.status().is_connected());
        assert_served(&second).await;
    });
}

#[test]
fn client_rejected_by_a_hook_reports_the_reason_and_retries_by_its_backoff() {
    let closed = |builder: DaemonBuilder<_>| builder.admit(|_: &PeerInfo| Err("closed on Sundays"));
    at(closed, |_, daemon| async move {
        let client = Client::<TestProtocol>::builder(daemon.local_addr())
            .backoff(Backoff::new(ms(1), ms(10)))
            .start();
        time::sleep(secs(1)).await;
        let Some(Disconnect::Refused { why, retry_after }) = client.last_disconnect() else {
            panic!("{:?}", client.last_disconnect());
        };
        assert_eq!((&why[..], retry_after), ("closed on Sundays", None));
        assert!(daemon.info().rejected.hook > 50);
    });
}

#[test]
fn call_of_a_rejected_client_fails_as_not_run() {
    let closed = |builder: DaemonBuilder<_>| builder.admit(|_: &PeerInfo| Err("closed on Sundays"));
    at(closed, |_, daemon| async move {
        // The client is connected and does not know yet that it is rejected.
        let client = test_server::client(&daemon).connect().await.unwrap();
        let outcome = client.call(Call::Ping).await;
        let why = client.last_disconnect();
        assert!(matches!(why, Some(Disconnect::Refused { .. })), "{why:?}");
        assert!(
            matches!(outcome, Err(CallError::Disconnected { .. })),
            "{outcome:?}"
        );
        assert!(!outcome.unwrap_err().may_have_run());
    });
}

/// A transport whose streams accept no writes, and return received bytes only after a write was attempted.
#[derive(Debug)]
struct Shut;

struct ShutStream {
    below: BoxedStream,
    tried: bool,
    reader: Option<Waker>,
}

impl Transport for Shut {
    fn accept<'a>(&'a self, stream: BoxedStream, _: Endpoint) -> Handshake<'a> {
        Box::pin(async { Ok(Secured::new(stream)) })
    }

    fn connect<'a>(&'a self, below: BoxedStream, _: &'a str) -> Handshake<'a> {
        let shut = ShutStream {
            below,
            tried: false,
            reader: None,
        };
        Box::pin(async { Ok(Secured::new(Box::new(shut))) })
    }

    fn is_secure(&self) -> bool {
        false
    }
}

impl AsyncRead for ShutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if !self.tried {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.below).poll_read(cx, room)
    }
}

impl AsyncWrite for ShutStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        _: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.tried = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_close(cx)
    }
}

#[test]
fn plaintext_client_caps_retry_after_at_a_minute() {
    let full = |builder: DaemonBuilder<_>| {
        let at_limit = AtLimit::Refuse {
            retry_after: secs(3600),
        };
        builder.max_connections(1).at_limit(at_limit)
    };
    at(full, |network, daemon| async move {
        let home = network.host("home");
        let mut first = connect_from(&network, &home, &daemon).await;
        served(&mut first).await;
        let client = test_server::client(&daemon).backoff(Backoff::new(ms(1), ms(10)));
        let _client = client.connect().await.unwrap();
        time::sleep(secs(50)).await;
        assert_eq!(daemon.info().rejected.connections, 1);
        time::sleep(secs(15)).await;
        assert_eq!(daemon.info().rejected.connections, 2);
    });
}

#[test]
fn client_whose_write_fails_first_still_reads_why_it_was_rejected() {
    let retry_after = secs(50);
    let full = |builder: DaemonBuilder<_>| {
        let at_limit = AtLimit::Refuse { retry_after };
        builder.max_connections(1).at_limit(at_limit)
    };
    at(full, |network, daemon| async move {
        let home = network.host("home");
        let mut first = connect_from(&network, &home, &daemon).await;
        served(&mut first).await;
        let client = test_server::client(&daemon).transport(Shut);
        let client = client.backoff(Backoff::new(ms(1), ms(10)));
        let client = client.connect().await.unwrap();
        settled().await;
        let outcome = client.call(Call::Ping).await;
        assert!(
            matches!(outcome, Err(CallError::Disconnected { .. })),
            "{outcome:?}"
        );
        let Some(Disconnect::Refused { retry_after, .. }) = client.last_disconnect() else {
            panic!("{:?}", client.last_disconnect());
        };
        assert_eq!(retry_after, Some(secs(50)));
        // The client waits for `retry_after`.
        time::sleep(secs(45)).await;
        assert_eq!(daemon.info().rejected.connections, 1);
        time::sleep(secs(10)).await;
        assert_eq!(daemon.info().rejected.connections, 2);
    });
}

#[test]
fn connection_over_the_limit_is_closed_with_at_limit_close() {
    let full = |builder: DaemonBuilder<_>| builder.max_connections(1).at_limit(AtLimit::Close);
    at(full, |network, daemon| async move {
        let home = network.host("home");
        let mut first = connect_from(&network, &home, &daemon).await;
        served(&mut first).await;
        assert_eq!(
            connect_from(&network, &home, &daemon).await.text().await,
            None
        );
        served(&mut first).await;
        assert_eq!(daemon.info().rejected.connections, 1);
    });
}

#[test]
fn changed_connection_limit_applies_to_new_connections() {
    let one = |builder: DaemonBuilder<_>| builder.max_connections(1);
    at(one, |network, daemon| async move {
        let home = network.host("home");
        let mut first = connect_from(&network, &home, &daemon).await;
        served(&mut first).await;
        // The second client waits in the backlog and is accepted when the limit is raised.
        let mut second = connect_from(&network, &home, &daemon).await;
        let mut waiting = Box::pin(served(&mut second));
        let wait = async {
            settled().await;
            false
        };
        let assert_served = async {
            waiting.as_mut().await;
            true
        };
        assert!(!future::or(assert_served, wait).await);
        daemon.set_limits(|limits| limits.connections = 2);
        waiting.await;
        // A lower limit closes no connection and accepts none.
        daemon.set_limits(|limits| {
            limits.connections = 1;
            limits.at_limit = AtLimit::Close;
        });
        served(&mut first).await;
        served(&mut second).await;
        assert_eq!(
            connect_from(&network, &home, &daemon).await.text().await,
            None
        );
        drop(first);
        settled().await;
        assert_eq!(
            connect_from(&network, &home, &daemon).await.text().await,
            None
        );
        drop(second);
        settled().await;
        served(&mut connect_from(&network, &home, &daemon).await).await;
        assert_eq!(daemon.limits().connections, 1);
    });
}

#[test]
fn limit_per_address_leaves_room_for_other_addresses() {
    let capped = |builder: DaemonBuilder<_>| {
        let builder = builder.max_connections_per_address(3);
        builder.max_connections(10)
    };
    at(capped, |network, daemon| async move {
        let (greedy, modest) = (network.host("greedy"), network.host("modest"));
        let mut inside = Vec::new();
        for n in 0..20 {
            let mut peer = connect_from(&network, &greedy, &daemon).await;
            if n < 3 {
                served(&mut peer).await;
                inside.push(peer);
            } else {
                assert_rejected(&mut peer, "refused: too many connections from this address").await;
            }
        }
        served(&mut connect_from(&network, &modest, &daemon).await).await;
        assert_eq!(daemon.info().rejected.address, 17);
        inside.pop();
        settled().await;
        served(&mut connect_from(&network, &greedy, &daemon).await).await;
    });
}

#[test]
fn limit_per_address_counts_addresses_by_prefix() {
    let capped = |builder: DaemonBuilder<_>| {
        let builder = builder.max_connections_per_address(1);
        builder.address_prefix(0, 0)
    };
    at(capped, |network, daemon| async move {
        let mut one = connect_from(&network, &network.host("one"), &daemon).await;
        served(&mut one).await;
        let mut other = connect_from(&network, &network.host("other"), &daemon).await;
        assert_rejected(
            &mut other,
            "refused: too many connections from this address",
        )
        .await;
    });
}

#[test]
fn limit_per_certificate_counts_all_its_addresses() {
    let ca = TestCa::new();
    let tls = ca.tls(&["shop"]);
    let capped =
        |builder: DaemonBuilder<TestServer>| builder.transport(tls).max_connections_per_identity(2);
    at(capped, |network, daemon| async move {
        let (greedy, modest) = (ca.issue(&["same name"]), ca.issue(&["same name"]));
        let connect = |host: &'static str, tls| {
            let tls = ca.tls_with(tls).server_name("shop");
            let client = test_server::client(&daemon).transport(tls);
            let client = client.reconnect(Reconnect::Never);
            network
                .host(host)
                .scope(async move { client.connect().await.unwrap() })
        };
        let (a, b) = (connect("a", &greedy).await, connect("b", &greedy).await);
        assert_served(&a).await;
        assert_served(&b).await;
        let c = connect("c", &greedy).await;
        assert!(c.call(Call::Ping).await.is_err());
        settled().await;
        assert_eq!(daemon.info().rejected.identity, 1);
        // Another certificate with the same name has its own count.
        assert_served(&connect("c", &modest).await).await;
        drop(a);
        settled().await;
        assert_served(&connect("c", &greedy).await).await;
    });
}

#[test]
fn admit_hooks_accept_or_reject_with_a_message() {
    let hooked = |builder: DaemonBuilder<_>| {
        let odd = |address: &Endpoint| match address.port() {
            Some(0..50_000) => Ok(()),
            _ => Err("no ports above 50000"),
        };
        let builder = builder.admit_address(odd);
        builder.admit(|peer: &PeerInfo| match peer.address.ip() {
            Some(ip) if is_daemon_host(ip) => Ok(()),
            _ => Err("who are you?"),
        })
    };
    at(hooked, |network, daemon| async move {
        let home = network.host("home");
        let mut rejected = connect_from(&network, &home, &daemon).await;
        assert_rejected(&mut rejected, "refused: who are you?").await;
        let shop = network.host("shop");
        served(&mut connect_from(&network, &shop, &daemon).await).await;
        settled().await;
        assert_eq!(daemon.info().rejected.hook, 1);
    });
}

#[test]
fn admit_address_runs_before_the_handshake_and_sends_its_reason_only_without_tls() {
    for secure in [false, true] {
        let hooked = |builder: DaemonBuilder<TestServer>| {
            let builder = builder.admit_address(|_: &Endpoint| Err("not today"));
            match secure {
                true => builder.transport(TestCa::new().tls(&["shop"])),
                false => builder,
            }
        };
        at(hooked, |network, daemon| async move {
            let mut peer = connect_from(&network, &network.host("home"), &daemon).await;
            match secure {
                true => assert_eq!(peer.text().await, None),
                false => assert_rejected(&mut peer, "refused: not today").await,
            }
            settled().await;
            let info = daemon.info();
            assert_eq!((info.rejected.hook, info.failed), (1, 0));
            assert!(is_empty(&info));
        });
    }
}

#[test]
fn panicking_hook_rejects_its_connection_only() {
    let hooked = |builder: DaemonBuilder<_>| {
        builder.admit(|peer: &PeerInfo| -> Result<(), BoxError> {
            assert!(peer.address.ip().is_some_and(is_daemon_host), "a secret");
            Ok(())
        })
    };
    at(hooked, |network, daemon| async move {
        Universe::current().unwrap().expect_panics("a secret");
        let mut peer = connect_from(&network, &network.host("home"), &daemon).await;
        assert_rejected(&mut peer, "refused: rejected").await;
        served(&mut connect_from(&network, &network.host("shop"), &daemon).await).await;
    });
}

#[test]
fn rejected_peers_that_stay_connected_are_bounded_by_max_pending_handshakes() {
    let full = |builder: DaemonBuilder<_>| {
        let at_limit = AtLimit::Refuse {
            retry_after: secs(1),
        };
        let builder = builder.max_connections(1).at_limit(at_limit);
        builder.max_pending_handshakes(5)
    };
    at(full, |network, daemon| async move {
        let home = network.host("home");
        let mut first = connect_from(&network, &home, &daemon).await;
        served(&mut first).await;
        let mut lingering = Vec::new();
        for _ in 0..100 {
            lingering.push(connect_from(&network, &home, &daemon).await);
            assert!(daemon.info().handshakes <= 5);
        }
        served(&mut first).await;
        settled().await;
        assert_eq!(daemon.info().handshakes, 0);
        assert_eq!(daemon.info().accepted, 101);
    });
}

#[test]
fn worst_case_memory_scales_with_the_connection_limit() {
    let small = |builder: DaemonBuilder<_>| {
        let options = ServerOptions::new()
            .max_payload(1000)
            .max_in_flight(2)
            .term_memory(1000);
        let builder = builder.server_options(options.max_outgoing(5000));
        builder.max_connections(10)
    };
    at(small, |_, daemon| async move {
        let ten = daemon.info().worst_case_memory;
        assert!(ten > 10 * (1000 * 2 + 1000 + 1000 * 2 + 5000));
        assert!(ten < 10 * 1024 * 1024, "{ten}");
        daemon.set_limits(|limits| limits.connections = 20);
        assert_eq!(daemon.info().worst_case_memory, 2 * ten);
    });
}
