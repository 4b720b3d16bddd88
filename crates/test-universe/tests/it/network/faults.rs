//! Partitions, black holes, resets, refusals, full backlogs.

use std::pin::Pin;

use futures::{StreamExt as _, stream::FuturesUnordered};
use test_universe::network::Event;

use crate::support::Warnings;

use super::*;

fn count(network: &Network, what: impl Fn(&EventKind) -> bool) -> usize {
    let events = network.events();
    events.iter().filter(|event| what(&event.kind)).count()
}

#[test]
fn partition_holds_bytes_until_it_is_healed() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)));
        let (mut near, mut far, _listener) = ends(&network).await;
        near.write_all(b"before ").await.unwrap();
        time::sleep(ms(5)).await;
        network.partition("localhost", "localhost");
        near.write_all(b"and while parted").await.unwrap();
        near.close().await.unwrap();
        let silence = time::timeout(secs(3600), read(&mut far)).await;
        assert!(silence.is_err());
        network.heal("localhost", "localhost");
        let (bytes, took) = timed(async {
            let mut bytes = String::new();
            far.read_to_string(&mut bytes).await.map(|_| bytes)
        })
        .await;
        assert_eq!(bytes.unwrap(), "before and while parted");
        assert_eq!(took, ms(10));
    });
}

#[test]
fn pending_read_completes_after_the_partition_is_healed() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)));
        let (mut near, mut far, _listener) = ends(&network).await;
        network.partition("localhost", "localhost");
        near.write_all(b"at last").await.unwrap();
        let heal = async {
            time::sleep(secs(600)).await;
            network.heal("localhost", "localhost");
        };
        let hear = async {
            let (bytes, took) = timed(read(&mut far)).await;
            assert_eq!(bytes.unwrap(), b"at last");
            assert_eq!(took, secs(600) + ms(10));
        };
        // Each is polled only when it was woken itself.
        let both: [Pin<Box<dyn Future<Output = ()>>>; 2] = [Box::pin(hear), Box::pin(heal)];
        let both = FuturesUnordered::from_iter(both);
        assert_eq!(both.count().await, 2);
    });
}

#[test]
fn arrived_bytes_are_read_during_a_partition() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)));
        let (mut near, mut far, _listener) = ends(&network).await;
        near.write_all(b"in time").await.unwrap();
        time::sleep(ms(10)).await;
        network.partition("localhost", "localhost");
        assert_eq!(read(&mut far).await.unwrap(), b"in time");
    });
}

#[test]
fn partition_affects_two_hosts_only() {
    simulated(1, |network| async move {
        let hosts = ["alpha", "beta", "gamma"].map(|name| network.host(name));
        let [alpha, beta, gamma] = &hosts;
        let _listener = alpha.enter(|| network.listen(alpha.address(PORT))).unwrap();
        network.partition(alpha, beta);
        let dial = |from: &test_universe::Host| from.scope(network.connect(alpha.address(PORT)));
        dial(gamma).await.unwrap();
        let unheard = time::timeout(secs(60), dial(beta)).await;
        assert!(unheard.is_err());
        let healed = async {
            time::sleep(secs(60)).await;
            network.heal(beta, alpha);
        };
        let (dialled, took) = timed(future::zip(dial(beta), healed)).await;
        dialled.0.unwrap();
        assert_eq!(took, secs(60));
    });
}

#[test]
fn partition_holds_the_answer_to_a_connect() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)));
        let listener = network.listen(local(PORT)).unwrap();
        let heal = async {
            time::sleep(ms(15)).await;
            network.partition("localhost", "localhost");
            time::sleep(secs(1)).await;
            network.heal("localhost", "localhost");
        };
        let (dialled, _) = future::zip(timed(network.connect(local(PORT))), heal).await;
        assert_eq!(dialled.1, secs(1) + ms(25));
        // So is the word that there is a connection.
        network.partition("localhost", "localhost");
        assert!(time::timeout(secs(1), listener.accept()).await.is_err());
        network.heal("localhost", "localhost");
        let (accepted, took) = timed(listener.accept()).await;
        accepted.unwrap();
        assert_eq!(took, ms(10));
    });
}

#[test]
fn black_hole_drops_sent_bytes_silently() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)).window(100));
        let (mut near, mut far, listener) = ends(&network).await;
        near.write_all(b"on its way").await.unwrap();
        network.black_hole("localhost", "localhost");
        near.write_all(&[0; 90]).await.unwrap();
        let silence = future::or(async { Some(read(&mut far).await) }, async {
            time::sleep(secs(3600)).await;
            None
        });
        assert!(silence.await.is_none());
        let full = time::timeout(secs(3600), near.write(b"more")).await;
        assert!(full.is_err(), "nothing was acknowledged");
        network.partition("localhost", "localhost");
        network.heal("localhost", "localhost");
        assert!(time::timeout(secs(3600), read(&mut far)).await.is_err());
        drop(near);
        assert!(time::timeout(secs(3600), read(&mut far)).await.is_err());
        // New connections are not affected.
        let mut near = network.connect(listener.local_addr()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        near.write_all(b"new").await.unwrap();
        assert_eq!(read(&mut far).await.unwrap(), b"new");
    });
}

#[test]
fn black_holed_connection_leaves_the_backlog() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)));
        let listener = network.listen_with(local(PORT), 1).unwrap();
        let near = network.connect(local(PORT)).await.unwrap();
        network.black_hole("localhost", "localhost");
        let (accepted, took) = timed(listener.accept()).await;
        assert_eq!(accepted.unwrap().1, near.local_addr());
        assert_eq!(took, ms(10));
    });
}

#[test]
fn reset_fails_both_ends_and_drops_unread_bytes() {
    simulated(1, |network| async move {
        let (mut near, mut far, _listener) = ends(&network).await;
        near.write_all(b"lost").await.unwrap();
        let waiting = async {
            let reset = async {
                time::sleep(secs(1)).await;
                network.reset("localhost", "localhost");
            };
            future::zip(read(&mut near), reset).await.0
        };
        let reset = Some(io::ErrorKind::ConnectionReset);
        assert_eq!(kind(waiting.await), reset);
        assert_eq!(kind(read(&mut far).await), reset);
        assert_eq!(kind(far.write(b"?").await), reset);
        assert_eq!(kind(near.write(b"?").await), reset);
    });
}

#[test]
fn reset_of_one_connection_does_not_affect_others() {
    simulated(1, |network| async move {
        let (mut near, mut far, listener) = ends(&network).await;
        let mut other = network.connect(listener.local_addr()).await.unwrap();
        let (mut other_far, _) = listener.accept().await.unwrap();
        let all = network.connections();
        let of = |stream: &Stream| {
            let mut all = all.iter();
            all.find(|it| it.client_addr() == stream.local_addr())
                .unwrap()
        };
        of(&other).reset();
        assert_eq!(
            kind(read(&mut other).await),
            Some(io::ErrorKind::ConnectionReset)
        );
        assert_eq!(
            kind(read(&mut other_far).await),
            Some(io::ErrorKind::ConnectionReset)
        );
        near.write_all(b"fine").await.unwrap();
        assert_eq!(read(&mut far).await.unwrap(), b"fine");
        of(&near).black_hole();
        near.write_all(b"gone").await.unwrap();
        assert!(time::timeout(secs(60), read(&mut far)).await.is_err());
    });
}

#[test]
fn abort_resets_the_other_end() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)));
        let (mut near, far, _listener) = ends(&network).await;
        far.abort();
        let (outcome, took) = timed(read(&mut near)).await;
        assert_eq!(kind(outcome), Some(io::ErrorKind::ConnectionReset));
        assert_eq!(took, ms(10));
    });
}

#[test]
fn connect_without_a_listener_fails_after_a_round_trip() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)));
        let (outcome, took) = timed(network.connect(local(PORT))).await;
        assert_eq!(kind(outcome), Some(io::ErrorKind::ConnectionRefused));
        assert_eq!(took, ms(20));
        let _listener = network.listen(local(PORT)).unwrap();
        network.refuse("localhost", PORT);
        let outcome = network.connect(local(PORT)).await;
        assert_eq!(kind(outcome), Some(io::ErrorKind::ConnectionRefused));
        network.stop_refusing("localhost", PORT);
        network.connect(local(PORT)).await.unwrap();
    });
}

#[test]
fn connect_to_a_full_backlog_waits_for_a_free_slot() {
    simulated(1, |network| async move {
        let listener = network.listen_with(local(PORT), 2).unwrap();
        let _waiting = [
            network.connect(local(PORT)).await.unwrap(),
            network.connect(local(PORT)).await.unwrap(),
        ];
        let unheard = time::timeout(secs(60), network.connect(local(PORT))).await;
        assert!(unheard.is_err());
        assert_eq!(
            count(&network, |it| matches!(it, EventKind::BacklogFull(..))),
            1
        );
        let accept = async {
            time::sleep(secs(60)).await;
            listener.accept().await.unwrap()
        };
        let (late, _) = future::zip(timed(network.connect(local(PORT))), accept).await;
        assert_eq!(late.1, secs(60));
        late.0.unwrap();
    });
}

#[test]
fn dropping_a_listener_resets_the_connections_in_its_backlog() {
    simulated(1, |network| async move {
        let listener = network.listen_with(local(PORT), 1).unwrap();
        let mut waiting = network.connect(local(PORT)).await.unwrap();
        let close = async {
            time::sleep(secs(1)).await;
            drop(listener);
        };
        let (unheard, _) = future::zip(network.connect(local(PORT)), close).await;
        assert_eq!(kind(unheard), Some(io::ErrorKind::ConnectionRefused));
        assert_eq!(
            kind(read(&mut waiting).await),
            Some(io::ErrorKind::ConnectionReset)
        );
    });
}

#[test]
fn injected_accept_error_leaves_the_connection_in_the_backlog() {
    simulated(1, |network| async move {
        let listener = network.listen(local(PORT)).unwrap();
        network.fail_accepts("localhost", PORT, 24, 2);
        assert!(time::timeout(secs(1), listener.accept()).await.is_err());
        let near = network.connect(local(PORT)).await.unwrap();
        for _ in 0..2 {
            let error = listener.accept().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(24));
        }
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, near.local_addr());
    });
}

#[test]
fn events_are_kept_and_displayed() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)));
        let listener = network.listen(local(PORT)).unwrap();
        let mut near = network.connect(local(PORT)).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        near.write_all(b"hello").await.unwrap();
        read(&mut far).await.unwrap();
        network.partition("localhost", "alpha");
        drop(near);
        let events: Vec<_> = network.events().iter().map(Event::to_string).collect();
        assert_eq!(
            events,
            [
                "      0.000000 127.0.0.1:4747 listens",
                "      0.000000 127.0.0.1:49152 connects to 127.0.0.1:4747",
                "      0.020000 127.0.0.1:49152 is connected to 127.0.0.1:4747",
                "      0.030000 127.0.0.1:4747 accepts 127.0.0.1:49152",
                "      0.030000 127.0.0.1:49152 sends 5 bytes to 127.0.0.1:4747",
                "      0.040000 127.0.0.1:4747 reads 5 bytes from 127.0.0.1:49152",
                "      0.040000 localhost and alpha are partitioned",
                "      0.040000 127.0.0.1:49152 closes its half to 127.0.0.1:4747",
            ]
        );
    });
}

#[test]
fn connect_waiting_for_a_backlog_slot_fails_when_the_port_is_refused() {
    simulated(1, |network| async move {
        let listener = network.listen_with(local(PORT), 1).unwrap();
        let _first = network.connect(local(PORT)).await.unwrap();
        let refuse = async {
            time::sleep(secs(1)).await;
            network.refuse("localhost", PORT);
            future::pending().await
        };
        let (outcome, took) = timed(future::or(network.connect(local(PORT)), refuse)).await;
        assert_eq!(
            outcome.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        assert_eq!(took, secs(1));
        drop(listener);
    });
}

type Fault = fn(&Network);

#[test]
fn fault_on_an_unknown_host_logs_a_warning() {
    Warnings::capture(|warnings| {
        simulated(1, |network| async move {
            let alpha = network.host("alpha");
            // Lines may be laid before anybody comes.
            network.set_link("alpha", "beta", Link::new());
            network.partition(&alpha, "localhost");
            network.heal(&alpha, "localhost");
            assert_eq!(warnings.take(), [""; 0]);
            let faults: [(&str, Fault); 4] = [
                ("partition", |it| it.partition("alpha", "beta")),
                ("heal", |it| it.heal("beta", "beta")),
                ("black hole", |it| it.black_hole("beta", "alpha")),
                ("reset", |it| it.reset("alpha", "beta")),
            ];
            for (name, fault) in faults {
                fault(&network);
                let [warning] = <[_; 1]>::try_from(warnings.take()).unwrap();
                assert!(warning.contains("host=\"beta\""), "{warning}");
                assert!(warning.contains(&format!("{name:?}")), "{warning}");
            }
            let _ = network.host("beta");
            for (_, fault) in faults {
                fault(&network);
            }
            assert_eq!(warnings.take(), [""; 0]);
        });
    });
}

#[test]
fn partition_delivers_the_arrived_part_of_a_write() {
    // What has arrived is read before it, or meanwhile.
    for reads_before in [true, false] {
        simulated(1, |network| async move {
            network.set_default_link(Link::new().latency(ms(10)).bandwidth(1000));
            let (mut near, mut far, _listener) = ends(&network).await;
            let sent: Vec<u8> = (0..100).cycle().take(1000).collect();
            near.write_all(&sent).await.unwrap();
            near.close().await.unwrap();
            time::sleep(ms(510)).await;
            let mut received = Vec::new();
            if reads_before {
                received = read(&mut far).await.unwrap();
            }
            network.partition("localhost", "localhost");
            if !reads_before {
                received = read(&mut far).await.unwrap();
            }
            let arrived = received.len();
            assert!((480..=500).contains(&arrived), "{arrived}");
            assert!(time::timeout(secs(3600), read(&mut far)).await.is_err());
            network.heal("localhost", "localhost");
            let (rest, took) = timed(far.read_to_end(&mut received)).await;
            assert_eq!(rest.unwrap(), 1000 - arrived);
            assert_eq!(received, sent);
            assert_eq!(took, ms(10 + 1000 - arrived as u64));
        });
    }
}

#[test]
fn black_hole_drops_the_part_of_a_write_that_has_not_arrived() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().bandwidth(1000));
        let (mut near, mut far, _listener) = ends(&network).await;
        near.write_all(&[7; 1000]).await.unwrap();
        time::sleep(ms(500)).await;
        network.black_hole("localhost", "localhost");
        assert_eq!(read(&mut far).await.unwrap(), [7; 500]);
        assert!(time::timeout(secs(3600), read(&mut far)).await.is_err());
    });
}

#[test]
fn dropping_an_end_while_bytes_arrive_resets_the_connection() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)).bandwidth(1));
        let (mut near, mut far, _listener) = ends(&network).await;
        near.write_all(b"ab").await.unwrap();
        assert_eq!(read(&mut far).await.unwrap(), b"a");
        drop(far);
        let (outcome, took) = timed(async {
            // The word that it was closed comes first: behind all that is carried, both ways of a host
            // to itself being one.
            assert_eq!(read(&mut near).await.unwrap(), b"");
            time::sleep(ms(9)).await;
            near.write(b"c").await.unwrap();
            time::sleep(ms(1)).await;
            near.write(b"d").await
        })
        .await;
        assert_eq!(kind(outcome), Some(io::ErrorKind::ConnectionReset));
        assert_eq!(took, ms(1010));
    });
}
