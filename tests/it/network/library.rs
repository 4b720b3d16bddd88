//! The library's daemons and clients, as they are, on a simulated network.

use super::*;
use std::{sync::Arc, time::Instant};

use erps::{
    Backoff, CallError, Client, ConnectError, Daemon, Linked, Status, TcpOptions, TestCa,
    network::Event,
};

use crate::support::test_server::{Call, Reply, TestProtocol, TestServer, Watch};

/// A daemon on host "alpha", for clients of others.
async fn alpha(network: &Network) -> (Linked<Daemon<TestServer>>, Watch) {
    let (builder, watch) = test_server::daemon();
    let alpha = network.host("alpha");
    let daemon = builder.port(PORT).bind(alpha.ip()).plaintext_anywhere();
    let daemon = alpha.scope(daemon.start_link()).await.unwrap();
    (daemon, watch)
}

fn is_up(status: &Status) -> bool {
    matches!(status, Status::Connected(_))
}

#[test]
fn client_resolves_a_simulated_host() {
    simulated(1, |network| async move {
        let (_daemon, _watch) = alpha(&network).await;
        let client = Client::<TestProtocol>::builder(("alpha", PORT))
            .connect()
            .await
            .unwrap();
        assert_served(&client).await;
        let Status::Connected(peer) = client.status() else {
            panic!("{:?}", client.status());
        };
        assert_eq!(peer.address, network.host("alpha").address(PORT));
        let unknown = Client::<TestProtocol>::builder(("omega", PORT))
            .connect()
            .await;
        assert!(
            matches!(unknown, Err(ConnectError::Unresolved { .. })),
            "{unknown:?}"
        );
        let other = network.host("beta");
        let own = Client::<TestProtocol>::builder(("localhost", PORT));
        let own = other.scope(own.connect()).await;
        assert!(
            matches!(own, Err(ConnectError::Unreachable { .. })),
            "{own:?}"
        );
    });
}

#[test]
fn tls_works_on_the_simulated_network() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)).pieces(100));
        let ca = TestCa::new();
        let (builder, _watch) = test_server::daemon();
        let alpha = network.host("alpha");
        let daemon = builder.port(PORT).bind(alpha.ip());
        let daemon = daemon.transport(ca.tls(&["alpha"]));
        let _daemon = alpha.scope(daemon.start_link()).await.unwrap();
        let client = Client::<TestProtocol>::builder(("alpha", PORT)).transport(ca.tls(&["beta"]));
        let client = network.host("beta").scope(client.connect()).await.unwrap();
        let peer = client.call(Call::Peer).await.unwrap();
        assert_eq!(peer, Reply::Peer(Some("beta".into())));
        let bytes = vec![7; 100_000];
        let echo = client.call(Call::Echo(bytes.clone())).await.unwrap();
        assert_eq!(echo, Reply::Bytes(bytes));
    });
}

#[test]
fn partition_of_ten_minutes_takes_no_real_time() {
    let real = Instant::now();
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(20)));
        let (_daemon, _watch) = alpha(&network).await;
        let client = Client::<TestProtocol>::builder(("alpha", PORT));
        let client = network.host("beta").scope(client.connect()).await.unwrap();
        let (_, took) = timed(assert_served(&client)).await;
        assert_eq!(took, ms(40));

        network.partition("alpha", "beta");
        let (outcome, took) = timed(client.call(Call::Ping)).await;
        assert!(
            matches!(outcome, Err(CallError::TimedOut { sent: true })),
            "{outcome:?}"
        );
        assert_eq!(took, secs(5));
        time::sleep(secs(600)).await;
        network.heal("alpha", "beta");
        client.until(is_up).await;
        assert_served(&client).await;
    });
    assert!(real.elapsed() < secs(10));
}

#[test]
fn refused_client_reconnects() {
    simulated(1, |network| async move {
        let (daemon, _watch) = alpha(&network).await;
        let client = Client::<TestProtocol>::builder(("alpha", PORT));
        let client = network.host("beta").scope(client.connect()).await.unwrap();
        network.refuse("alpha", PORT);
        network.reset("alpha", "beta");
        client.until(|status| !is_up(status)).await;
        time::sleep(secs(600)).await;
        assert!(!is_up(&client.status()));
        network.stop_refusing("alpha", PORT);
        client.until(is_up).await;
        assert_served(&client).await;
        assert_eq!(daemon.info().connections, 1);
    });
}

#[test]
fn packets_survive_reads_of_a_few_bytes() {
    simulated(1, |network| async move {
        let line = Link::new().latency(ms(1)).jitter(ms(3));
        network.set_default_link(line.pieces(3).window(50));
        let (_daemon, _watch) = alpha(&network).await;
        let client = Client::<TestProtocol>::builder(("alpha", PORT))
            .connect()
            .await
            .unwrap();
        for size in [0, 1, 10, 1000] {
            let bytes: Vec<u8> = (0..size).map(|n: u32| n as u8).collect();
            let echo = client.call(Call::Echo(bytes.clone())).await.unwrap();
            assert_eq!(echo, Reply::Bytes(bytes));
        }
    });
}

#[test]
fn killed_daemon_closes_its_port_and_connections() {
    simulated(1, |network| async move {
        let (daemon, _watch) = alpha(&network).await;
        let client = Client::<TestProtocol>::builder(("alpha", PORT))
            .connect()
            .await
            .unwrap();
        daemon.task().kill();
        client.until(|status| !is_up(status)).await;
        assert_eq!(network.connections().len(), 0);
        let (_daemon, _watch) = alpha(&network).await;
        client.until(is_up).await;
        assert_served(&client).await;
    });
}

#[test]
fn reconnects_follow_the_backoff() {
    simulated(1, |network| async move {
        let backoff = Backoff::new(ms(100), secs(3));
        let client = Client::<TestProtocol>::builder(("alpha", PORT)).backoff(backoff);
        let _alpha = network.host("alpha");
        let client = client.start();
        time::sleep(secs(120)).await;
        let dials: Vec<_> = network
            .events()
            .iter()
            .filter(|event| matches!(event.kind, EventKind::Connecting(..)))
            .map(|event| event.at)
            .collect();
        let pauses: Vec<_> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.len() > 30, "{pauses:?}");
        for (n, pause) in (0..).zip(&pauses) {
            let bound = (ms(100) * (1 << n.min(10))).min(secs(3));
            assert!(*pause < bound, "{n}: {pause:?}");
        }
        let most = pauses.iter().max().unwrap();
        assert!(*most > ms(2500), "{pauses:?}");
        let (_daemon, _watch) = alpha(&network).await;
        let (_, took) = timed(client.until(is_up)).await;
        assert!(took < secs(3));
    });
}

#[test]
fn accept_pauses_grow_while_descriptors_are_exhausted() {
    simulated(1, |network| async move {
        let (_daemon, _watch) = alpha(&network).await;
        for _ in 0..2 {
            let emfile = 24;
            let before = network.events().len();
            network.fail_accepts("alpha", PORT, emfile, 10);
            let client = Client::<TestProtocol>::builder(("alpha", PORT));
            let client = client.connect().await.unwrap();
            let (_, took) = timed(time::timeout(secs(60), client.call(Call::Ping))).await;
            let pauses = [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000].map(ms);
            assert_eq!(took, pauses.iter().sum::<Duration>());
            let failures = network.events()[before..]
                .iter()
                .filter(|event| matches!(event.kind, EventKind::AcceptFailed(_, 24)))
                .count();
            assert_eq!(failures, 10);
        }
    });
}

#[test]
fn zero_linger_resets_the_connection() {
    simulated(1, |network| async move {
        let (_daemon, _watch) = alpha(&network).await;
        let client = Client::<TestProtocol>::builder(("alpha", PORT));
        let options = TcpOptions::new().linger(Duration::ZERO);
        let client = client.tcp(options).connect().await.unwrap();
        assert_served(&client).await;
        client.task().kill();
        client.task().exited().await;
        let reset = |event: &Event| matches!(event.kind, EventKind::Reset(..));
        assert!(network.events().iter().any(reset));
    });
}

/// What happens when five clients talk, are parted and reset.
fn trace(seed: u64) -> Vec<Event> {
    simulated(seed, |network| async move {
        network.set_default_link(Link::new().latency(ms(5)).jitter(ms(5)).pieces(300));
        let (_daemon, _watch) = alpha(&network).await;
        let mut clients = Vec::new();
        for n in 0..5 {
            let client = Client::<TestProtocol>::builder(("alpha", PORT)).reply_timeout(secs(1));
            let host = network.host(format!("client {n}"));
            clients.push(host.scope(client.connect()).await.unwrap());
        }
        for round in 0..4 {
            let calls = clients.iter().flat_map(|client| {
                (0..5).map(move |n| async move {
                    time::sleep(ms(time::random() % 20)).await;
                    let _ = client.call(Call::Echo(vec![0; n * 100])).await;
                })
            });
            let fault = async {
                match round {
                    1 => network.partition("alpha", "client 1"),
                    2 => {
                        time::sleep(ms(12)).await;
                        network.heal("alpha", "client 1");
                        network.reset("alpha", "client 2");
                    }
                    _ => {}
                }
            };
            future::zip(futures::future::join_all(calls), fault).await;
        }
        network.events()
    })
}

#[test]
fn same_seed_gives_the_same_events() {
    let [first, again, other] = [5, 5, 6].map(trace);
    assert!(first.len() > 500);
    for (n, (one, two)) in first.iter().zip(&again).enumerate() {
        assert_eq!(one, two, "event {n}");
    }
    assert_eq!(first.len(), again.len());
    assert_ne!(first, other);
}

/// In which order the calls end that a reset takes.
fn order(seed: u64) -> Vec<usize> {
    simulated(seed, |network| async move {
        let (_daemon, _watch) = alpha(&network).await;
        let client = Client::<TestProtocol>::builder(("alpha", PORT))
            .connect()
            .await
            .unwrap();
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let calls = (0..30).map(|n| {
            let (client, order) = (&client, Arc::clone(&order));
            async move {
                let _ = client.call(Call::Hold).await;
                order.lock().unwrap().push(n);
            }
        });
        let reset = async {
            time::sleep(ms(1)).await;
            network.reset("alpha", "localhost");
        };
        let calls: futures::stream::FuturesUnordered<_> = calls.collect();
        let all = futures::StreamExt::collect::<Vec<()>>(calls);
        future::zip(all, reset).await;
        order.lock().unwrap().clone()
    })
}

#[test]
fn lost_calls_fail_in_the_order_of_sending() {
    assert_eq!(order(1), (0..30).collect::<Vec<_>>());
}
