//! How many are let in, from where, with what, and what the others are told.

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

/// Runs a test with a daemon that anybody of the network reaches.
fn at<F: Future<Output = ()>>(
    change: impl FnOnce(DaemonBuilder<LabServer>) -> DaemonBuilder<LabServer>,
    test: impl FnOnce(Network, Linked<Daemon<LabServer>>) -> F,
) {
    Universe::simulated(1).run(async {
        let network = Network::current().unwrap();
        let shop = network.host("shop");
        let (builder, _watch) = lab::daemon();
        let builder = change(builder.bind(shop.ip()).plaintext_anywhere());
        let daemon = shop.scope(builder.start_link()).await.unwrap();
        test(network, daemon).await;
    });
}

async fn visitor(network: &Network, host: &Host, daemon: &Daemon<LabServer>) -> Raw<Stream> {
    let connect = network.connect(daemon.local_addr());
    Raw::over(host.scope(connect).await.unwrap())
}

async fn served(peer: &mut Raw<Stream>) {
    peer.send(&raw::call(1, ":ping")).await;
    let (kind, text) = peer.text().await.unwrap();
    assert!(kind == Kind::Reply && text.contains("pong"), "{text}");
}

/// It is told this, first and last.
async fn told(peer: &mut Raw<Stream>, word: &str) {
    let (kind, text) = peer.text().await.unwrap();
    assert_eq!((kind, text), (Kind::Error, format!("{word:?}")));
    assert_eq!(peer.text().await, None);
}

/// Waits until all that is under way has happened.
async fn settled() {
    time::sleep(secs(5)).await;
}

/// Whether it is the host that was named first.
fn is_the_shop(ip: IpAddr) -> bool {
    Network::current().unwrap().host("shop").ip() == ip
}

fn is_empty(info: &DaemonInfo) -> bool {
    info.connections + info.handshakes + info.servers == 0
}

#[test]
fn at_the_limit_a_newcomer_is_told_when_to_come_back_and_comes_in_when_one_leaves() {
    let retry_after = secs(5);
    let full = |builder: DaemonBuilder<_>| {
        let at_limit = AtLimit::Refuse { retry_after };
        builder.max_connections(2).at_limit(at_limit)
    };
    at(full, |network, daemon| async move {
        let home = network.host("home");
        let mut first = visitor(&network, &home, &daemon).await;
        let mut second = visitor(&network, &home, &daemon).await;
        served(&mut first).await;
        served(&mut second).await;
        let mut third = visitor(&network, &home, &daemon).await;
        told(&mut third, "refused: too many connections; come back in 5s").await;
        served(&mut first).await;
        drop((second, third));
        settled().await;
        served(&mut visitor(&network, &home, &daemon).await).await;
        let info = daemon.info();
        assert_eq!((info.accepted, info.rejected.connections), (4, 1));
        assert_eq!(info.failed, 0);
        drop(first);
        settled().await;
        assert!(is_empty(&daemon.info()));
    });
}

#[test]
fn a_client_that_is_refused_learns_why_and_comes_back_no_sooner_than_it_is_told() {
    let retry_after = secs(5);
    let full = |builder: DaemonBuilder<_>| {
        let at_limit = AtLimit::Refuse { retry_after };
        builder.max_connections(1).at_limit(at_limit)
    };
    at(full, |network, daemon| async move {
        let home = network.host("home");
        let mut first = visitor(&network, &home, &daemon).await;
        served(&mut first).await;
        let second = Client::<Lab>::builder(daemon.local_addr())
            .backoff(Backoff::new(ms(1), ms(10)))
            .start();
        let refused = || match second.last_disconnect() {
            Some(Disconnect::Refused { why, retry_after }) => Some((why, retry_after)),
            _ => None,
        };
        time::sleep(secs(1)).await;
        let told = ("too many connections".to_owned(), Some(retry_after));
        assert_eq!(refused(), Some(told));
        assert_eq!(daemon.info().rejected.connections, 1);
        // It is turned away each time it comes; and that is not oftener.
        time::sleep(secs(59)).await;
        assert_eq!(daemon.info().rejected.connections, 12);
        // Who asks for it need not wait.
        let _ = second.connect().await;
        time::sleep(ms(100)).await;
        assert_eq!(daemon.info().rejected.connections, 13);
        drop(first);
        time::sleep(2 * retry_after).await;
        assert!(second.status().is_connected());
        is_served(&second).await;
    });
}

#[test]
fn a_client_that_a_hook_refuses_learns_why_and_comes_back_by_its_back_off() {
    let closed = |builder: DaemonBuilder<_>| builder.admit(|_: &PeerInfo| Err("closed on Sundays"));
    at(closed, |_, daemon| async move {
        let client = Client::<Lab>::builder(daemon.local_addr())
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
fn a_call_of_a_client_that_is_refused_was_seen_by_nobody() {
    let closed = |builder: DaemonBuilder<_>| builder.admit(|_: &PeerInfo| Err("closed on Sundays"));
    at(closed, |_, daemon| async move {
        // It is connected, for all that it knows yet.
        let client = lab::client(&daemon).connect().await.unwrap();
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

/// A transport whose streams take nothing, and give what has arrived only to those who have tried to write.
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
fn a_client_without_tls_waits_a_minute_at_most_when_told_to_come_back_later() {
    let full = |builder: DaemonBuilder<_>| {
        let at_limit = AtLimit::Refuse {
            retry_after: secs(3600),
        };
        builder.max_connections(1).at_limit(at_limit)
    };
    at(full, |network, daemon| async move {
        let home = network.host("home");
        let mut first = visitor(&network, &home, &daemon).await;
        served(&mut first).await;
        let client = lab::client(&daemon).backoff(Backoff::new(ms(1), ms(10)));
        let _client = client.connect().await.unwrap();
        time::sleep(secs(50)).await;
        assert_eq!(daemon.info().rejected.connections, 1);
        time::sleep(secs(15)).await;
        assert_eq!(daemon.info().rejected.connections, 2);
    });
}

#[test]
fn a_client_that_meets_the_closed_door_first_still_reads_why_it_is_refused() {
    let retry_after = secs(50);
    let full = |builder: DaemonBuilder<_>| {
        let at_limit = AtLimit::Refuse { retry_after };
        builder.max_connections(1).at_limit(at_limit)
    };
    at(full, |network, daemon| async move {
        let home = network.host("home");
        let mut first = visitor(&network, &home, &daemon).await;
        served(&mut first).await;
        let client = lab::client(&daemon).transport(Shut);
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
        // It does as it is told.
        time::sleep(secs(45)).await;
        assert_eq!(daemon.info().rejected.connections, 1);
        time::sleep(secs(10)).await;
        assert_eq!(daemon.info().rejected.connections, 2);
    });
}

#[test]
fn at_the_limit_a_newcomer_is_closed_if_that_is_asked_for() {
    let full = |builder: DaemonBuilder<_>| builder.max_connections(1).at_limit(AtLimit::Close);
    at(full, |network, daemon| async move {
        let home = network.host("home");
        let mut first = visitor(&network, &home, &daemon).await;
        served(&mut first).await;
        assert_eq!(visitor(&network, &home, &daemon).await.text().await, None);
        served(&mut first).await;
        assert_eq!(daemon.info().rejected.connections, 1);
    });
}

#[test]
fn a_limit_that_is_changed_counts_for_who_comes_then() {
    let one = |builder: DaemonBuilder<_>| builder.max_connections(1);
    at(one, |network, daemon| async move {
        let home = network.host("home");
        let mut first = visitor(&network, &home, &daemon).await;
        served(&mut first).await;
        // It waits in the backlog, and comes in when the limit is raised.
        let mut second = visitor(&network, &home, &daemon).await;
        let mut waiting = Box::pin(served(&mut second));
        let wait = async {
            settled().await;
            false
        };
        let is_served = async {
            waiting.as_mut().await;
            true
        };
        assert!(!future::or(is_served, wait).await);
        daemon.set_limits(|limits| limits.connections = 2);
        waiting.await;
        // Lowered, nobody is sent away, and nobody comes in.
        daemon.set_limits(|limits| {
            limits.connections = 1;
            limits.at_limit = AtLimit::Close;
        });
        served(&mut first).await;
        served(&mut second).await;
        assert_eq!(visitor(&network, &home, &daemon).await.text().await, None);
        drop(first);
        settled().await;
        assert_eq!(visitor(&network, &home, &daemon).await.text().await, None);
        drop(second);
        settled().await;
        served(&mut visitor(&network, &home, &daemon).await).await;
        assert_eq!(daemon.limits().connections, 1);
    });
}

#[test]
fn one_greedy_address_cannot_push_out_others() {
    let capped = |builder: DaemonBuilder<_>| {
        let builder = builder.max_connections_per_address(3);
        builder.max_connections(10)
    };
    at(capped, |network, daemon| async move {
        let (greedy, modest) = (network.host("greedy"), network.host("modest"));
        let mut inside = Vec::new();
        for n in 0..20 {
            let mut peer = visitor(&network, &greedy, &daemon).await;
            if n < 3 {
                served(&mut peer).await;
                inside.push(peer);
            } else {
                told(&mut peer, "refused: too many connections from this address").await;
            }
        }
        served(&mut visitor(&network, &modest, &daemon).await).await;
        assert_eq!(daemon.info().rejected.address, 17);
        inside.pop();
        settled().await;
        served(&mut visitor(&network, &greedy, &daemon).await).await;
    });
}

#[test]
fn addresses_of_one_prefix_are_one() {
    let capped = |builder: DaemonBuilder<_>| {
        let builder = builder.max_connections_per_address(1);
        builder.address_prefix(0, 0)
    };
    at(capped, |network, daemon| async move {
        let mut one = visitor(&network, &network.host("one"), &daemon).await;
        served(&mut one).await;
        let mut other = visitor(&network, &network.host("other"), &daemon).await;
        told(
            &mut other,
            "refused: too many connections from this address",
        )
        .await;
    });
}

#[test]
fn one_certificate_has_so_many_connections_whatever_its_addresses() {
    let ca = TestCa::new();
    let tls = ca.tls(&["shop"]);
    let capped =
        |builder: DaemonBuilder<LabServer>| builder.transport(tls).max_connections_per_identity(2);
    at(capped, |network, daemon| async move {
        let (greedy, modest) = (ca.issue(&["same name"]), ca.issue(&["same name"]));
        let connect = |host: &'static str, papers| {
            let papers = ca.tls_with(papers).server_name("shop");
            let client = lab::client(&daemon).transport(papers);
            let client = client.reconnect(Reconnect::Never);
            network
                .host(host)
                .scope(async move { client.connect().await.unwrap() })
        };
        let (a, b) = (connect("a", &greedy).await, connect("b", &greedy).await);
        is_served(&a).await;
        is_served(&b).await;
        let c = connect("c", &greedy).await;
        assert!(c.call(Call::Ping).await.is_err());
        settled().await;
        assert_eq!(daemon.info().rejected.identity, 1);
        // Another certificate, if of the same name.
        is_served(&connect("c", &modest).await).await;
        drop(a);
        settled().await;
        is_served(&connect("c", &greedy).await).await;
    });
}

#[test]
fn hooks_say_who_is_let_in_and_why_not() {
    let hooked = |builder: DaemonBuilder<_>| {
        let odd = |address: &Endpoint| match address.port() {
            Some(0..50_000) => Ok(()),
            _ => Err("no ports above 50000"),
        };
        let builder = builder.admit_address(odd);
        builder.admit(|peer: &PeerInfo| match peer.address.ip() {
            Some(ip) if is_the_shop(ip) => Ok(()),
            _ => Err("who are you?"),
        })
    };
    at(hooked, |network, daemon| async move {
        let home = network.host("home");
        let mut stranger = visitor(&network, &home, &daemon).await;
        told(&mut stranger, "refused: who are you?").await;
        let shop = network.host("shop");
        served(&mut visitor(&network, &shop, &daemon).await).await;
        settled().await;
        assert_eq!(daemon.info().rejected.hook, 1);
    });
}

#[test]
fn a_hook_on_addresses_is_asked_before_a_handshake_and_silent_where_there_is_one() {
    for secure in [false, true] {
        let hooked = |builder: DaemonBuilder<LabServer>| {
            let builder = builder.admit_address(|_: &Endpoint| Err("not today"));
            match secure {
                true => builder.transport(TestCa::new().tls(&["shop"])),
                false => builder,
            }
        };
        at(hooked, |network, daemon| async move {
            let mut peer = visitor(&network, &network.host("home"), &daemon).await;
            match secure {
                true => assert_eq!(peer.text().await, None),
                false => told(&mut peer, "refused: not today").await,
            }
            settled().await;
            let info = daemon.info();
            assert_eq!((info.rejected.hook, info.failed), (1, 0));
            assert!(is_empty(&info));
        });
    }
}

#[test]
fn who_makes_a_hook_panic_is_not_let_in_and_harms_nobody() {
    let hooked = |builder: DaemonBuilder<_>| {
        builder.admit(|peer: &PeerInfo| -> Result<(), BoxError> {
            assert!(peer.address.ip().is_some_and(is_the_shop), "a secret");
            Ok(())
        })
    };
    at(hooked, |network, daemon| async move {
        Universe::current().unwrap().expect_panics("a secret");
        let mut peer = visitor(&network, &network.host("home"), &daemon).await;
        told(&mut peer, "refused: rejected").await;
        served(&mut visitor(&network, &network.host("shop"), &daemon).await).await;
    });
}

#[test]
fn those_who_are_refused_and_stay_are_no_more_than_pending_handshakes() {
    let full = |builder: DaemonBuilder<_>| {
        let at_limit = AtLimit::Refuse {
            retry_after: secs(1),
        };
        let builder = builder.max_connections(1).at_limit(at_limit);
        builder.max_pending_handshakes(5)
    };
    at(full, |network, daemon| async move {
        let home = network.host("home");
        let mut first = visitor(&network, &home, &daemon).await;
        served(&mut first).await;
        let mut lingering = Vec::new();
        for _ in 0..100 {
            lingering.push(visitor(&network, &home, &daemon).await);
            assert!(daemon.info().handshakes <= 5);
        }
        served(&mut first).await;
        settled().await;
        assert_eq!(daemon.info().handshakes, 0);
        assert_eq!(daemon.info().accepted, 101);
    });
}

#[test]
fn the_worst_case_follows_from_the_limits() {
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
