//! What a daemon tells of its connections: one end for each, with its stage and its reason.

use super::*;

use std::collections::BTreeMap;

use erps::{
    ConnectionEnd, ConnectionStage, DaemonEvent, DaemonEvents, HandshakeFailure, Network,
    NotAdmitted, Universe, time,
};

use crate::support::raw::{self, Raw};

type End = (ConnectionStage, ConnectionEnd);

/// All ends there are, once the daemon has ended; by the number of the connection.
async fn ends(mut events: DaemonEvents) -> BTreeMap<u64, End> {
    let (mut accepted, mut ends) = (Vec::new(), BTreeMap::new());
    while let Some(event) = events.next().await {
        match event {
            DaemonEvent::Accepted { id, .. } => accepted.push(id),
            DaemonEvent::Ended {
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

/// The one end of a daemon with one visitor.
async fn the_end(daemon: Linked<Daemon<LabServer>>, events: DaemonEvents) -> End {
    time::sleep(Duration::from_secs(20)).await;
    daemon.shutdown().await;
    let ends = ends(events).await;
    assert_eq!(ends.len(), 1);
    ends.into_values().next().unwrap()
}

#[test]
fn each_way_to_end_is_one_event_with_its_stage_and_reason() {
    use ConnectionStage::{Handshake, Served, Start};
    type Change = fn(DaemonBuilder<LabServer>) -> DaemonBuilder<LabServer>;
    type Is = fn(&ConnectionEnd) -> bool;
    let tls: Change = |it| it.transport(TestCa::new().tls(&["localhost"]));
    let ways: [(Change, &[u8], ConnectionStage, Is); 7] = [
        (
            |it| it,
            b"",
            Served,
            |end| matches!(end, ConnectionEnd::Server(ExitReason::Shutdown)),
        ),
        (
            |it| it,
            b"nonsense that is no packet",
            Served,
            |end| matches!(end, ConnectionEnd::Server(ExitReason::Error(_))),
        ),
        (tls, b"", Handshake, |end| {
            matches!(end, ConnectionEnd::Handshake(HandshakeFailure::TimedOut))
        }),
        (tls, b"nonsense that is no TLS", Handshake, |end| {
            let not_tls = HandshakeError::NotTls.to_string();
            matches!(end, ConnectionEnd::Handshake(HandshakeFailure::Failed(it)) if it.to_string() == not_tls)
        }),
        (
            |it| it.max_connections_per_address(0),
            b"",
            Handshake,
            |end| matches!(end, ConnectionEnd::NotAdmitted(NotAdmitted::Address)),
        ),
        (
            |it| it.server_supervisor(ServerSupervisor::custom(|_| async { Err("no".into()) })),
            b"",
            Start,
            |end| matches!(end, ConnectionEnd::NotStarted(why) if why == "no"),
        ),
        (
            |it| it.admit(|_: &erps::PeerInfo| Err("no")),
            b"",
            Handshake,
            |end| matches!(end, ConnectionEnd::NotAdmitted(NotAdmitted::Hook(why)) if why == "no"),
        ),
    ];
    for (change, bytes, stage, is) in ways {
        simulated(1, |network| async move {
            let (builder, _watch) = lab::daemon();
            let daemon = change(builder).start_link().await.unwrap();
            let events = daemon.events();
            let mut peer = network.connect(daemon.local_addr()).await.unwrap();
            peer.write_all(bytes).await.unwrap();
            let end = the_end(daemon, events).await;
            assert!(end.0 == stage && is(&end.1), "{end:?}");
        });
    }
}

#[test]
fn a_handshake_that_makes_way_and_one_that_the_daemon_ends_say_so() {
    simulated(1, |network| async move {
        let (builder, _watch) = lab::daemon();
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
        let is_evicted = matches!(evicted, ConnectionEnd::Handshake(HandshakeFailure::Evicted));
        assert!(is_evicted, "{evicted:?}");
        assert!(matches!(ends[&2].1, ConnectionEnd::DaemonEnded), "{ends:?}");
    });
}

#[test]
fn every_connection_of_a_crowd_has_one_end_whoever_ends_the_daemon() {
    for seed in 0..30 {
        simulated(seed, |network| async move {
            let (builder, _watch) = lab::daemon();
            let daemon = builder.max_connections_per_address(10).start_link();
            let daemon = daemon.await.unwrap();
            let events = daemon.events();
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
        });
    }
}

#[test]
fn a_receiver_that_is_slow_is_told_how_much_it_has_missed() {
    simulated(1, |network| async move {
        let (builder, _watch) = lab::daemon();
        let builder = builder.at_limit(erps::AtLimit::Close);
        let daemon = builder.start_link().await.unwrap();
        daemon.set_limits(|limits| limits.connections = 0);
        let mut events = daemon.events();
        let mut exact = daemon.events();
        // Two events each: 1024 are kept, and no more.
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
            matches!(missed, Some(DaemonEvent::Missed { events: 2 })),
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
fn who_asks_for_the_events_of_a_daemon_that_has_ended_is_told_of_the_end() {
    simulated(1, |_| async {
        let daemon = lab::daemon().0.start_link().await.unwrap();
        let handle = Daemon::clone(&daemon);
        daemon.shutdown().await;
        assert!(handle.events().next().await.is_none());
    });
}
