//! Events of a daemon: each connection emits one `Closed` event with its stage and reason.

use super::*;

use std::collections::{BTreeMap, BTreeSet};

use erps::{
    AtLimit, CloseReason, ConnectionStage, DaemonEvent, DaemonEvents, HandshakeFailure, Network,
    ProtocolError, Rejection, ServerOptions, TcpOptions, Universe, network::Link, time,
};

use crate::support::{
    raw::{self, Raw},
    scale::short_or_long,
    time::secs,
};

type End = (ConnectionStage, CloseReason);

/// Returns the `Closed` events of all connections by id, after the daemon has exited.
async fn ends(mut events: DaemonEvents) -> BTreeMap<u64, End> {
    let (mut accepted, mut ends) = (Vec::new(), BTreeMap::new());
    while let Some(event) = events.next().await {
        match event {
            DaemonEvent::Accepted { id, .. } => accepted.push(id),
            DaemonEvent::Closed {
                id, stage, reason, ..
            } => {
                let before = ends.insert(id, (stage, reason));
                assert!(before.is_none(), "{id} ended twice");
            }
            _ => {}
        }
    }
    assert!(accepted.iter().eq(ends.keys()), "{accepted:?} {ends:?}");
    ends
}

fn simulated<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(Network) -> F) {
    Universe::simulated(seed).run(async {
        test(Network::current().unwrap()).await;
    });
}

/// Shuts the daemon down after 20 seconds and returns the only `Closed` event.
async fn only_end(daemon: Linked<Daemon<TestServer>>, events: DaemonEvents) -> End {
    time::sleep(Duration::from_secs(20)).await;
    daemon.shutdown().await;
    let ends = ends(events).await;
    assert_eq!(ends.len(), 1);
    ends.into_values().next().unwrap()
}

#[test]
fn closed_event_reports_stage_and_reason() {
    use ConnectionStage::{Handshake, Served, Start};
    type Change = fn(DaemonBuilder<TestServer>) -> DaemonBuilder<TestServer>;
    type Is = fn(&CloseReason) -> bool;
    let tls: Change = |it| it.transport(TestCa::new().tls(&["localhost"]));
    let ways: [(Change, &[u8], ConnectionStage, Is); 7] = [
        (
            |it| it,
            b"",
            Served,
            |end| matches!(end, CloseReason::Server(ExitReason::Shutdown)),
        ),
        (
            |it| it,
            b"nonsense that is no packet",
            Served,
            |end| matches!(end, CloseReason::Server(ExitReason::Error(_))),
        ),
        (tls, b"", Handshake, |end| {
            matches!(end, CloseReason::Handshake(HandshakeFailure::TimedOut))
        }),
        (tls, b"nonsense that is no TLS", Handshake, |end| {
            let not_tls = HandshakeError::NotTls.to_string();
            matches!(end, CloseReason::Handshake(HandshakeFailure::Failed(it)) if it.to_string() == not_tls)
        }),
        (
            |it| it.max_connections_per_address(0),
            b"",
            Handshake,
            |end| matches!(end, CloseReason::Rejected(Rejection::Address)),
        ),
        (
            |it| it.server_supervisor(ServerSupervisor::custom(|_| async { Err("no".into()) })),
            b"",
            Start,
            |end| matches!(end, CloseReason::NotStarted(why) if why == "no"),
        ),
        (
            |it| it.admit(|_: &erps::PeerInfo| Err("no")),
            b"",
            Handshake,
            |end| matches!(end, CloseReason::Rejected(Rejection::Hook(why)) if why == "no"),
        ),
    ];
    for (change, bytes, stage, is) in ways {
        simulated(1, |network| async move {
            let (builder, _watch) = test_server::daemon();
            let daemon = change(builder).start_link().await.unwrap();
            let events = daemon.events();
            let mut peer = network.connect(daemon.local_addr()).await.unwrap();
            peer.write_all(bytes).await.unwrap();
            let end = only_end(daemon, events).await;
            assert!(end.0 == stage && is(&end.1), "{end:?}");
        });
    }
}

#[test]
fn closed_event_reports_evicted_handshakes_and_a_stopped_daemon() {
    simulated(1, |network| async move {
        let (builder, _watch) = test_server::daemon();
        let tls = TestCa::new().tls(&["localhost"]);
        let daemon = builder.transport(tls).max_pending_handshakes(1);
        let daemon = daemon.start_link().await.unwrap();
        let events = daemon.events();
        let _first = network.connect(daemon.local_addr()).await.unwrap();
        time::sleep(Duration::from_secs(1)).await;
        let _second = network.connect(daemon.local_addr()).await.unwrap();
        time::sleep(Duration::from_secs(1)).await;
        assert_eq!(daemon.info().handshakes_failed.evicted, 1);
        daemon.shutdown().await;
        let ends = ends(events).await;
        let evicted = &ends[&1].1;
        let is_evicted = matches!(evicted, CloseReason::Handshake(HandshakeFailure::Evicted));
        assert!(is_evicted, "{evicted:?}");
        assert!(matches!(ends[&2].1, CloseReason::DaemonStopped), "{ends:?}");
    });
}

#[test]
fn connections_being_rejected_are_evicted_before_pending_handshakes() {
    simulated(1, |network| async move {
        let (builder, _watch) = test_server::daemon();
        let tls = TestCa::new().tls(&["localhost"]);
        let daemon = builder.transport(tls).max_pending_handshakes(2);
        let daemon = daemon.max_connections(1).at_limit(AtLimit::Refuse {
            retry_after: secs(1),
        });
        let daemon = daemon.start_link().await.unwrap();
        let events = daemon.events();
        let mut peers = Vec::new();
        for _ in 0..4 {
            peers.push(network.connect(daemon.local_addr()).await.unwrap());
            time::sleep(secs(1)).await;
        }
        daemon.shutdown().await;
        let ends = ends(events).await;
        let evicted = |id: &u64| {
            let end = &ends[id].1;
            matches!(end, CloseReason::Handshake(HandshakeFailure::Evicted))
        };
        let evicted: Vec<u64> = ends.keys().copied().filter(evicted).collect();
        assert_eq!(evicted, [2, 3], "{ends:?}");
    });
}

#[test]
fn connection_closed_right_after_its_reply_emits_served_and_closed() {
    for seed in 0..short_or_long(25, 100) {
        simulated(seed, |network| async move {
            let (builder, _watch) = test_server::daemon();
            let daemon = builder.start_link().await.unwrap();
            let mut events = daemon.events();
            for _ in 0..10 {
                let stream = network.connect(daemon.local_addr()).await.unwrap();
                let mut peer = Raw::over(stream);
                peer.send(&raw::call(1, ":ping")).await;
                peer.close().await;
                peer.text().await.expect("an answer");
            }
            time::sleep(secs(1)).await;
            let info = daemon.info();
            assert_eq!((info.accepted, info.failed, info.not_started), (10, 0, 0));
            daemon.shutdown().await;
            let (mut served, mut ended) = (BTreeSet::new(), 0);
            while let Some(event) = events.next().await {
                match event {
                    DaemonEvent::Served { id, .. } => assert!(served.insert(id), "once"),
                    DaemonEvent::Closed { id, stage, .. } => {
                        assert!(served.contains(&id), "served before it ended");
                        assert_eq!(stage, ConnectionStage::Served);
                        ended += 1;
                    }
                    _ => {}
                }
            }
            assert_eq!((served.len(), ended), (10, 10));
        });
    }
}

#[test]
fn each_of_many_connections_emits_one_closed_event_however_the_daemon_exits() {
    for seed in 0..short_or_long(10, 30) {
        simulated(seed, |network| async move {
            Universe::current()
                .unwrap()
                .allow_panics("as the test asks");
            let (builder, _watch) = test_server::daemon();
            let daemon = builder.max_connections_per_address(10).start_link();
            let daemon = daemon.await.unwrap();
            let events = daemon.events();
            let handle = Daemon::clone(&daemon);
            let mut peers = Vec::new();
            for _ in 0..30 {
                if let Ok(peer) = network.connect(daemon.local_addr()).await {
                    let mut peer = Raw::over(peer);
                    match time::random() % 4 {
                        0 => drop(peer),
                        1 => {
                            peer.try_send(&raw::call(1, ":crash")).await;
                            peers.push(peer);
                        }
                        2 => {
                            peer.try_send(b"nonsense").await;
                            peers.push(peer);
                        }
                        _ => peers.push(peer),
                    }
                }
                time::sleep(Duration::from_micros(time::random() % 300)).await;
            }
            match seed % 3 {
                0 => drop(daemon.shutdown().await),
                1 => daemon.task().kill(),
                _ => drop(daemon.drain(Duration::from_secs(10)).await),
            }
            let ends = ends(events).await;
            assert!(!ends.is_empty());
            // All counters return to zero.
            let info = handle.info();
            assert_eq!((info.connections, info.handshakes, info.servers), (0, 0, 0));
        });
    }
}

#[test]
fn slow_event_receiver_is_told_how_many_events_it_missed() {
    simulated(1, |network| async move {
        let (builder, _watch) = test_server::daemon();
        let builder = builder.at_limit(AtLimit::Close);
        let daemon = builder.start_link().await.unwrap();
        daemon.set_limits(|limits| limits.connections = 0);
        let mut events = daemon.events();
        let mut exact = daemon.events();
        // Each connection emits two events; the buffer holds 1024.
        for n in 0..513 {
            drop(network.connect(daemon.local_addr()).await.unwrap());
            time::sleep(Duration::from_millis(10)).await;
            if n == 511 {
                let first = exact.next().await;
                assert!(matches!(first, Some(DaemonEvent::Accepted { id: 1, .. })));
            }
        }
        let missed = events.next().await;
        assert!(
            matches!(missed, Some(DaemonEvent::Lagged { events: 2 })),
            "{missed:?}"
        );
        let next = events.next().await;
        assert!(
            matches!(next, Some(DaemonEvent::Accepted { id: 2, .. })),
            "{next:?}"
        );
        daemon.shutdown().await;
        let mut rest = 1;
        while events.next().await.is_some() {
            rest += 1;
        }
        assert_eq!(rest, 1024);
    });
}

#[test]
fn events_of_an_exited_daemon_return_none() {
    simulated(1, |_| async {
        let daemon = test_server::daemon().0.start_link().await.unwrap();
        let handle = Daemon::clone(&daemon);
        daemon.shutdown().await;
        assert!(handle.events().next().await.is_none());
    });
}

/// Returns the protocol error in a close reason.
fn protocol_error(end: &CloseReason) -> Option<&ProtocolError> {
    match end {
        CloseReason::Server(ExitReason::Error(error)) => error.downcast_ref(),
        _ => None,
    }
}

#[test]
fn each_timeout_emits_closed_at_its_time_with_stage_and_reason() {
    use ConnectionStage::{Handshake, Served};
    type Change = fn(DaemonBuilder<TestServer>) -> DaemonBuilder<TestServer>;
    type Is = fn(&CloseReason) -> bool;
    let options: Change = |it| {
        let options = ServerOptions::new()
            .first_packet_timeout(secs(5))
            .packet_timeout(secs(3))
            .write_timeout(secs(7));
        let tcp = TcpOptions::new().keepalive(secs(10)).user_timeout(secs(20));
        it.server_options(options).tcp(tcp)
    };
    let half = raw::call(1, ":ping")[..50].to_vec();
    let echo = format!("{{:echo, \"{}\"}}", "x".repeat(5000));
    let deaf = raw::call(1, &echo).repeat(10);
    let lifecycle = raw::call(1, ":ping");
    let is_gone: Is = |end| matches!(end, CloseReason::Server(ExitReason::Disconnected));
    // The configuration, the bytes the peer sends, whether its host vanishes then; the expected stage, reason
    // and time.
    type Limit<'a> = (Change, &'a [u8], bool, ConnectionStage, Is, Duration);
    let limits: [Limit<'_>; 5] = [
        (
            |it| {
                it.transport(TestCa::new().tls(&["localhost"]))
                    .handshake_timeout(secs(4))
            },
            b"",
            false,
            Handshake,
            |end| matches!(end, CloseReason::Handshake(HandshakeFailure::TimedOut)),
            secs(4),
        ),
        (
            options,
            b"",
            false,
            Served,
            |end| {
                matches!(
                    protocol_error(end),
                    Some(ProtocolError::FirstPacketTimeout(_))
                )
            },
            secs(5),
        ),
        (
            options,
            &half,
            false,
            Served,
            |end| matches!(protocol_error(end), Some(ProtocolError::PacketTimeout(_))),
            secs(3),
        ),
        (
            options,
            &deaf,
            false,
            Served,
            |end| matches!(protocol_error(end), Some(ProtocolError::WriteTimeout(_))),
            secs(7),
        ),
        (options, &lifecycle, true, Served, is_gone, secs(20)),
    ];
    for (change, bytes, vanishes, stage, is, at) in limits {
        simulated(1, |network| async move {
            network.set_default_link(Link::new().window(1000));
            let (builder, _watch) = test_server::daemon();
            let daemon = change(builder).start_link().await.unwrap();
            let mut events = daemon.events();
            let start = time::now();
            let mut peer = network.connect(daemon.local_addr()).await.unwrap();
            let write = async { drop(peer.write_all(bytes).await) };
            let _ = time::timeout(secs(1), write).await;
            if vanishes {
                network.connections()[0].black_hole();
            }
            let end = loop {
                let event = events.next().await.expect("its end");
                if let DaemonEvent::Closed { stage, reason, .. } = event {
                    break (stage, reason);
                }
            };
            // A peer that was sent an error has a second to close.
            let took = time::now() - start;
            assert!(
                took >= at && took <= at + secs(if vanishes { 20 } else { 2 }),
                "{end:?}: {took:?}"
            );
            assert!(end.0 == stage && is(&end.1), "{end:?}");
        });
    }
}

/// Returns the events of the daemon itself, until it has exited.
async fn daemon_events(mut events: DaemonEvents) -> Vec<String> {
    let mut daemon_events = Vec::new();
    while let Some(event) = events.next().await {
        use DaemonEvent as It;
        if !matches!(
            event,
            It::Accepted { .. } | It::Served { .. } | It::Closed { .. }
        ) {
            daemon_events.push(format!("{event:?}"));
        }
    }
    daemon_events
}

#[test]
fn suspend_resume_and_drain_emit_one_event_each() {
    simulated(1, |network| async move {
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.start_link().await.unwrap();
        let events = daemon.events();
        let _peer = network.connect(daemon.local_addr()).await.unwrap();
        daemon.resume();
        for _ in 0..2 {
            daemon.suspend();
        }
        for _ in 0..2 {
            daemon.resume();
        }
        settled().await;
        let drains = future::zip(daemon.drain(secs(8)), daemon.drain(secs(16)));
        let (report, _) = drains.await;
        assert!(report.is_clean());
        let expected = [
            "Suspended",
            "Resumed",
            "DrainBegan { connections: 1 }",
            // A second of listening, and a second for the peer to close, which it does not.
            "DrainEnded { took: 2s, cut: 0 }",
        ];
        assert_eq!(daemon_events(events).await, expected);
    });
}

#[test]
fn descriptor_shortage_emits_one_pause_and_one_resume_event() {
    simulated(1, |network| async move {
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.start_link().await.unwrap();
        let events = daemon.events();
        let port = daemon.port();
        for _ in 0..2 {
            let emfile = 24;
            network.fail_accepts("localhost", port, emfile, 10);
            let mut peer = Raw::dial(daemon.local_addr()).await;
            peer.send(&raw::call(1, ":ping")).await;
            peer.text().await.expect("an answer");
        }
        assert_eq!(daemon.info().accept_pauses, 2);
        daemon.shutdown().await;
        let daemon_events = daemon_events(events).await;
        assert_eq!(daemon_events.len(), 4, "{daemon_events:?}");
        for pair in daemon_events.chunks(2) {
            assert!(
                pair[0].starts_with("AcceptPaused { address: Inet(")
                    && pair[0].contains("error: Os { code: 24"),
                "{daemon_events:?}"
            );
            assert!(pair[1].ends_with("after: 3.275s }"), "{daemon_events:?}");
        }
    });
}

#[test]
fn persistent_accept_error_pauses_with_growing_delays() {
    simulated(1, |network| async move {
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.start_link().await.unwrap();
        let events = daemon.events();
        let old = test_server::client(&daemon).connect().await.unwrap();
        assert_served(&old).await;
        // As from a seccomp filter that forbids `accept`: the error is not about one connection.
        let eacces = 13;
        network.fail_accepts("localhost", daemon.port(), eacces, 30);
        let before = time::now();
        let mut peer = Raw::dial(daemon.local_addr()).await;
        peer.send(&raw::call(1, ":ping")).await;
        assert_served(&old).await;
        peer.text().await.expect("an answer");
        assert!(
            time::now() - before > secs(5),
            "the pause between attempts does not grow"
        );
        assert_eq!(daemon.info().accept_pauses, 1);
        daemon.shutdown().await;
        assert_eq!(daemon_events(events).await.len(), 2);
    });
}
