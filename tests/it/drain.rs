//! A daemon that is stopped well: nobody is lost who could be served, and it is back by its time.

mod load;

use std::{net::SocketAddr, time::Duration};

use async_channel::Receiver;
use erps::{
    BoxError, CallError, Client, Context, Daemon, DaemonBuilder, DrainOutcome, ExitReason,
    InitError, Linked, Network, Protocol, ReplyTo, Server, Shutdown, Supervisor, TestCa, Universe,
    network::Link, time,
};
use smol::{future, io::AsyncWriteExt as _};

use crate::support::{
    extent::short_or_long,
    raw::{self, Raw},
    time::{STEP, ms, secs, settled, timed},
};

/// The limit of most drains here: a second of listening, a second of killing.
const LIMIT: Duration = secs(16);

/// How long peers are listened to then.
const LISTENING: Duration = secs(1);

/// How long a daemon that is told to end waits for replies, by default.
const DRAIN_TIMEOUT: Duration = secs(3);

/// Work that takes its time.
struct Work;

impl Protocol for Work {
    const IDENTIFIER: &'static str = "lab";
    const VERSION: &'static str = "1.2.3";
    /// Milliseconds; and where it is done: in the handler, or elsewhere.
    type Call = (u64, bool);
    type Reply = u64;
    type Cast = u64;
    type Push = ();
}

/// What a server takes for its last moments, and where it reports them.
#[derive(Clone)]
struct Seed {
    farewell: Duration,
    ended: async_channel::Sender<ExitReason>,
}

/// What is done elsewhere ends with its server.
struct Worker(Seed, Vec<smol::Task<()>>);

impl Server for Worker {
    type Protocol = Work;
    type Seed = Seed;
    type Info = ();

    async fn init(seed: Seed, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(seed, Vec::new()))
    }

    async fn handle_call(
        &mut self,
        (ms, elsewhere): (u64, bool),
        from: ReplyTo<u64>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        let work = async move {
            time::sleep(Duration::from_millis(ms)).await;
            from.reply(ms);
        };
        if elsewhere {
            self.1.push(erps::spawn(work));
        } else {
            work.await;
        }
        Ok(())
    }

    async fn handle_cast(&mut self, ms: u64, _: &mut Context<Self>) -> Result<(), BoxError> {
        time::sleep(Duration::from_millis(ms)).await;
        Ok(())
    }

    async fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        time::sleep(self.0.farewell).await;
        let _ = self.0.ended.try_send(reason.clone());
    }
}

fn daemon(farewell: Duration) -> (DaemonBuilder<Worker>, Receiver<ExitReason>) {
    let (ended, ends) = async_channel::unbounded();
    (Daemon::builder(Seed { farewell, ended }), ends)
}

/// A client that has been let in.
async fn client(daemon: &Daemon<Worker>) -> Client<Work> {
    let client = Client::builder(daemon.local_addr());
    let client = client.connect().await.unwrap();
    settled().await;
    client
}

fn simulated<F: Future>(seed: u64, test: impl FnOnce(Network) -> F) -> F::Output {
    Universe::simulated(seed).run(async {
        let network = Network::current().expect("the universe is simulated");
        test(network).await
    })
}

/// A task that makes a call, which has left when this is ready.
async fn calling(client: &Client<Work>, call: (u64, bool)) -> smol::Task<Result<u64, CallError>> {
    let client = client.clone();
    let task = erps::spawn(async move { client.call_within(call, secs(100_000)).await });
    time::sleep(ms(1)).await;
    task
}

async fn is_free(network: &Network, address: SocketAddr) -> bool {
    network.listen(address).is_ok()
}

#[test]
fn a_suspended_daemon_lets_newcomers_wait_and_serves_who_is_there() {
    simulated(1, |network| async move {
        let (builder, _ends) = daemon(Duration::ZERO);
        let daemon = builder.start_link().await.unwrap();
        let old = client(&daemon).await;
        assert_eq!(old.call((1, false)).await.unwrap(), 1);
        daemon.suspend();
        let new = client(&daemon).await;
        let waiting = calling(&new, (2, false)).await;
        time::sleep(secs(100)).await;
        assert_eq!(daemon.info().accepted, 1);
        assert_eq!(old.call((3, false)).await.unwrap(), 3);
        assert!(!is_free(&network, daemon.local_addr()).await);
        daemon.resume();
        assert_eq!(waiting.await.unwrap(), 2);
        assert_eq!(daemon.info().accepted, 2);
    });
}

#[test]
fn idle_connections_are_listened_to_and_closed() {
    simulated(1, |network| async move {
        let (builder, ends) = daemon(Duration::ZERO);
        let daemon = builder.start_link().await.unwrap();
        let address = daemon.local_addr();
        let client = client(&daemon).await;
        let (report, took) = timed(daemon.drain(LIMIT)).await;
        assert_eq!((took, report.took), (LISTENING, LISTENING));
        assert!(report.is_clean());
        assert_eq!(report.finished().count(), 1);
        assert!(matches!(ends.recv().await, Ok(ExitReason::Shutdown)));
        assert!(matches!(daemon.exited().await, ExitReason::Shutdown));
        assert!(is_free(&network, address).await);
        let error = client.call((1, false)).await.unwrap_err();
        assert!(matches!(error, CallError::Disconnected { .. }), "{error:?}");
        // Told again, it says the same.
        let again = daemon.drain(secs(1)).await;
        assert_eq!(again.finished().count(), 1);
    });
}

#[test]
fn a_daemon_without_connections_is_drained_at_once() {
    simulated(1, |_| async move {
        let daemon = daemon(Duration::ZERO).0.start_link().await.unwrap();
        let (report, took) = timed(daemon.drain(LIMIT)).await;
        assert_eq!((took, report.connections.len()), (Duration::ZERO, 0));
    });
}

#[test]
fn calls_in_flight_in_the_queue_and_answered_elsewhere_have_their_replies() {
    simulated(1, |_| async move {
        let (builder, ends) = daemon(secs(1));
        let daemon = builder.start_link().await.unwrap();
        let client = client(&daemon).await;
        let mut calls = Vec::new();
        for call in [(8000, true), (2000, false), (1500, false)] {
            calls.push(calling(&client, call).await);
        }
        client.cast(1000).await.unwrap();
        let (report, _) = timed(daemon.drain(LIMIT)).await;
        for (call, expected) in calls.into_iter().zip([8000, 2000, 1500]) {
            assert_eq!(call.await.unwrap(), expected);
        }
        let [drained] = &report.connections[..] else {
            panic!("{report:?}");
        };
        assert_eq!(drained.outcome, DrainOutcome::Finished);
        // The farewell is within.
        assert_eq!(drained.took, secs(9) - ms(3));
        assert_eq!(ends.len(), 1);
    });
}

#[test]
fn who_waits_in_the_mailbox_of_a_server_is_answered() {
    simulated(1, |_| async move {
        let (builder, _ends) = daemon(Duration::ZERO);
        let daemon = builder.start_link().await.unwrap();
        let client = client(&daemon).await;
        // The second is read and handled only after the time of listening.
        let first = calling(&client, (3000, false)).await;
        let second = calling(&client, (3000, false)).await;
        assert!(daemon.drain(LIMIT).await.is_clean());
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (3000, 3000));
    });
}

#[test]
fn what_is_on_its_way_when_the_drain_begins_arrives() {
    for (way, arrives) in [(LISTENING - STEP, true), (LISTENING + STEP, false)] {
        simulated(1, |network| async move {
            let (builder, _ends) = daemon(Duration::ZERO);
            let daemon = builder.start_link().await.unwrap();
            let client = client(&daemon).await;
            network.set_default_link(Link::new().latency(way + ms(1)));
            let call = calling(&client, (2000, false)).await;
            let report = daemon.drain(LIMIT).await;
            assert!(report.is_clean());
            let outcome = call.await;
            assert_eq!(outcome.is_ok(), arrives, "{outcome:?}");
            if let Err(error) = outcome {
                assert!(error.may_have_run(), "{error:?}");
            }
        });
    }
}

#[test]
fn a_packet_that_has_begun_is_read_to_its_end_and_none_after_it() {
    simulated(1, |network| async move {
        let (builder, _ends) = daemon(Duration::ZERO);
        let daemon = builder.start_link().await.unwrap();
        let peer = network.connect(daemon.local_addr()).await.unwrap();
        let mut peer = Raw::over(peer);
        let call = raw::call(1, "{7, false}");
        let (half, rest) = call.split_at(100);
        peer.send(half).await;
        time::sleep(ms(1)).await;
        let drain = daemon.drain(LIMIT);
        let talk = async {
            time::sleep(secs(5)).await;
            peer.send(rest).await;
            time::sleep(ms(3)).await;
            peer.send(&raw::call(2, "{7, false}")).await;
            let (_, text) = peer.text().await.unwrap();
            assert!(text.contains("7, 1"), "{text}");
            assert_eq!(peer.text().await, None);
        };
        let (report, ()) = future::zip(drain, talk).await;
        assert_eq!(report.finished().count(), 1);
    });
}

#[test]
fn a_server_is_shut_down_by_its_policy_when_the_time_is_up() {
    // A second is for killing; a quarter is the most that a policy has.
    let shutdowns = [
        (Shutdown::Within(secs(2)), secs(13)),
        (Shutdown::Within(secs(60)), secs(12)),
        (Shutdown::Infinity, secs(12)),
        (Shutdown::BrutalKill, secs(15)),
    ];
    for (shutdown, at) in shutdowns {
        for (busy, in_time) in [(at - STEP, true), (at + STEP, false)] {
            simulated(1, |_| async move {
                let (builder, ends) = daemon(Duration::ZERO);
                let builder = builder.server_shutdown(shutdown);
                let daemon = builder.start_link().await.unwrap();
                let client = client(&daemon).await;
                let busy = u64::try_from(busy.as_millis()).unwrap() + 1;
                let call = calling(&client, (busy, true)).await;
                let (report, took) = timed(daemon.drain(LIMIT)).await;
                assert!(took <= LIMIT, "{took:?}");
                assert_eq!(
                    report.finished().count(),
                    usize::from(in_time),
                    "{report:?}"
                );
                assert_eq!(call.await.is_ok(), in_time, "{shutdown:?}");
                if !in_time {
                    let cut: Vec<_> = report.cut().map(|it| it.outcome).collect();
                    assert_eq!(cut, [DrainOutcome::Cut { calls: 1 }]);
                }
                let terminated = in_time || shutdown != Shutdown::BrutalKill;
                assert_eq!(ends.len(), usize::from(terminated), "{shutdown:?}");
            });
        }
    }
}

#[test]
fn a_server_that_does_not_come_to_its_end_is_killed_before_the_time_is_up() {
    simulated(1, |_| async move {
        let (builder, ends) = daemon(secs(1000));
        let builder = builder.server_shutdown(Shutdown::Infinity);
        let daemon = builder.start_link().await.unwrap();
        let _client = client(&daemon).await;
        let (report, took) = timed(daemon.drain(LIMIT)).await;
        assert_eq!(took, secs(15));
        assert_eq!(report.cut().count(), 1);
        assert!(matches!(report.connections[0].reason, ExitReason::Killed));
        assert!(ends.is_empty());
        assert_eq!(daemon.info().connections, 0);
    });
}

#[test]
fn peers_that_are_deaf_mute_or_gone_hold_nothing_up() {
    simulated(1, |network| async move {
        let (builder, _ends) = daemon(Duration::ZERO);
        let daemon = builder.start_link().await.unwrap();
        let connect = || async { network.connect(daemon.local_addr()).await.unwrap() };
        // One says nothing and does not close; one has begun a packet; one has closed its half; one
        // is gone for good.
        let _mute = connect().await;
        let mut stuck = connect().await;
        stuck
            .write_all(&raw::call(1, "{7, false}")[..50])
            .await
            .unwrap();
        let mut half = connect().await;
        half.close().await.unwrap();
        drop(connect().await);
        time::sleep(ms(5)).await;
        let (report, took) = timed(daemon.drain(LIMIT)).await;
        assert!(took <= LIMIT, "{took:?}");
        assert_eq!(report.stuck, 0);
        assert_eq!(daemon.info().connections, 0);
        let outcomes: Vec<_> = report.connections.iter().map(|it| it.outcome).collect();
        assert_eq!(outcomes.len(), 3 - 1, "{report:?}");
    });
}

#[test]
fn a_peer_that_does_not_read_is_cut_by_the_time() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().window(64));
        let (builder, _ends) = daemon(Duration::ZERO);
        let daemon = builder.start_link().await.unwrap();
        let mut deaf = network.connect(daemon.local_addr()).await.unwrap();
        for n in 0..10 {
            deaf.write_all(&raw::call(n, "{0, false}")).await.unwrap();
        }
        let (report, took) = timed(daemon.drain(LIMIT)).await;
        assert!(took <= LIMIT, "{took:?}");
        assert_eq!(report.cut().count(), 1, "{report:?}");
    });
}

#[test]
fn who_is_at_a_handshake_is_dropped() {
    simulated(1, |network| async move {
        let (builder, _ends) = daemon(Duration::ZERO);
        let builder = builder.transport(TestCa::new().tls(&["localhost"]));
        let daemon = builder.start_link().await.unwrap();
        let _silent = network.connect(daemon.local_addr()).await.unwrap();
        time::sleep(ms(1)).await;
        assert_eq!(daemon.info().handshakes, 1);
        let (report, took) = timed(daemon.drain(LIMIT)).await;
        assert_eq!((report.without_server, took), (1, Duration::ZERO));
    });
}

#[test]
fn the_nearer_end_counts_if_a_drain_is_asked_for_twice() {
    simulated(1, |_| async move {
        let (builder, _ends) = daemon(Duration::ZERO);
        let daemon = builder.server_shutdown(Shutdown::BrutalKill);
        let daemon = daemon.start_link().await.unwrap();
        let client = client(&daemon).await;
        let _call = calling(&client, (1_000_000, true)).await;
        let first = timed(daemon.drain(secs(1600)));
        let second = async {
            time::sleep(secs(10)).await;
            timed(daemon.drain(LIMIT)).await
        };
        let ((one, first), (two, second)) = future::zip(first, second).await;
        assert_eq!((first, second), (secs(25), secs(15)));
        assert_eq!((one.cut().count(), two.cut().count()), (1, 1));
    });
}

#[test]
fn a_drain_goes_on_if_nobody_waits_for_it() {
    simulated(1, |_| async move {
        let (builder, _ends) = daemon(Duration::ZERO);
        let daemon = builder.start_link().await.unwrap();
        let _client = client(&daemon).await;
        assert!(future::poll_once(daemon.drain(LIMIT)).await.is_none());
        let (_, took) = timed(daemon.exited()).await;
        assert_eq!(took, LISTENING);
    });
}

#[test]
fn a_drain_is_cut_short_by_a_shutdown() {
    simulated(1, |_| async move {
        let (builder, ends) = daemon(Duration::ZERO);
        let daemon = builder.start_link().await.unwrap();
        let client = client(&daemon).await;
        let _call = calling(&client, (1_000_000, true)).await;
        let stop = async {
            time::sleep(secs(3)).await;
            daemon.task().shutdown(Shutdown::Infinity).await;
        };
        let ((report, took), ()) = future::zip(timed(daemon.drain(LIMIT)), stop).await;
        let expected = secs(3) + DRAIN_TIMEOUT;
        assert_eq!((took, report.cut().count(), ends.len()), (expected, 1, 1));
    });
}

#[test]
fn a_shutdown_ends_the_time_of_listening() {
    simulated(1, |_| async move {
        let (builder, _ends) = daemon(Duration::ZERO);
        let daemon = builder.start_link().await.unwrap();
        let _client = client(&daemon).await;
        let stop = async {
            time::sleep(LISTENING / 2).await;
            daemon.task().shutdown(Shutdown::Infinity).await;
        };
        let ((_, took), ()) = future::zip(timed(daemon.drain(LIMIT)), stop).await;
        assert_eq!(took, LISTENING / 2);
    });
}

#[test]
fn a_tree_is_taken_down_without_losing_a_reply() {
    for seed in 0..20 {
        simulated(seed, |_| async move {
            let (builder, ends) = daemon(ms(10));
            let builder = builder.port(4747);
            let tree = Supervisor::builder()
                .child(builder.child_spec("daemon"))
                .start_link()
                .await
                .unwrap();
            let mut calls = Vec::new();
            for _ in 0..5 {
                let client = Client::builder(("localhost", 4747))
                    .connect()
                    .await
                    .unwrap();
                // At work, answered elsewhere, in the mailbox, and in the socket.
                for call in [(400, false), (1000, true), (500, false), (600, false)] {
                    calls.push((calling(&client, call).await, call.0));
                }
            }
            let (reason, took) = timed(tree.shutdown()).await;
            assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
            assert!(took < DRAIN_TIMEOUT, "{took:?}");
            assert_eq!(ends.len(), 5);
            for (call, expected) in calls {
                assert_eq!(call.await.unwrap(), expected);
            }
        });
    }
}

#[test]
fn whoever_ends_a_tree_waits_as_long_as_its_servers_may_take() {
    simulated(1, |_| async move {
        let (builder, _ends) = daemon(secs(10));
        let builder = builder
            .port(4747)
            .server_shutdown(Shutdown::Within(secs(40)))
            .drain_timeout(secs(30));
        let tree = Supervisor::builder()
            .child(builder.child_spec("daemon"))
            .start_link()
            .await
            .unwrap();
        let client = Client::builder(("localhost", 4747));
        let client = client.connect().await.unwrap();
        let call = calling(&client, (20_000, true)).await;
        let (reason, took) = timed(tree.shutdown()).await;
        assert!(matches!(reason, ExitReason::Shutdown), "{reason}");
        assert_eq!(call.await.unwrap(), 20_000);
        assert_eq!(took, secs(30) - ms(1));
    });
}

#[test]
fn a_daemon_that_is_shut_down_waits_for_replies_as_long_as_it_says() {
    let servers_have = Shutdown::Within(secs(100));
    let cases = [
        (DRAIN_TIMEOUT, servers_have, DRAIN_TIMEOUT),
        (secs(60), servers_have, secs(60)),
        (secs(60), Shutdown::Within(secs(8)), secs(6)),
        (secs(60), Shutdown::Infinity, secs(60)),
        (secs(60), Shutdown::BrutalKill, Duration::ZERO),
        (Duration::ZERO, servers_have, Duration::ZERO),
    ];
    for (limit, shutdown, waits) in cases {
        let in_time = waits.checked_sub(STEP).map(|busy| (busy, true));
        for (busy, answered) in in_time.into_iter().chain([(waits + STEP, false)]) {
            simulated(1, |_| async move {
                let (builder, ends) = daemon(Duration::ZERO);
                let builder = builder.server_shutdown(shutdown).drain_timeout(limit);
                let daemon = builder.start_link().await.unwrap();
                let client = client(&daemon).await;
                let busy = u64::try_from(busy.as_millis()).unwrap() + 1;
                let call = calling(&client, (busy, true)).await;
                let (_, took) = timed(daemon.task().shutdown(Shutdown::Infinity)).await;
                assert_eq!(call.await.is_ok(), answered, "{limit:?} {shutdown:?}");
                let terminated = shutdown != Shutdown::BrutalKill;
                assert_eq!(ends.len(), usize::from(terminated));
                let end = if answered { waits - STEP } else { waits };
                assert_eq!(took, end, "{limit:?} {shutdown:?}");
            });
        }
    }
}

#[test]
fn a_server_that_does_not_heed_it_has_the_time_of_its_policy_from_the_shutdown_on() {
    simulated(1, |_| async move {
        let (builder, ends) = daemon(Duration::ZERO);
        let builder = builder.server_shutdown(Shutdown::Within(secs(8)));
        let daemon = builder.start_link().await.unwrap();
        let client = client(&daemon).await;
        let _call = calling(&client, (1_000_000, false)).await;
        let (_, took) = timed(daemon.task().shutdown(Shutdown::Infinity)).await;
        assert_eq!((took, ends.len()), (secs(8), 0));
    });
}

#[test]
fn a_daemon_that_nobody_asks_anything_is_shut_down_at_once() {
    simulated(1, |network| async move {
        let (builder, _ends) = daemon(Duration::ZERO);
        let daemon = builder.start_link().await.unwrap();
        let _idle = client(&daemon).await;
        let mut mute = network.connect(daemon.local_addr()).await.unwrap();
        let (_, took) = timed(daemon.task().shutdown(Shutdown::Infinity)).await;
        assert_eq!(took, Duration::ZERO);
        let _ = mute.write_all(b"too late").await;
    });
}

/// Makes one call after the other until the connection is lost. Counts those that began before
/// `drain`, which must all be answered.
async fn keeps_calling(client: Client<Work>, drains_at: std::time::Instant) -> usize {
    let mut before = 0;
    loop {
        let work = time::random() % 50;
        let began = time::now();
        let outcome = client.call((work, work < 25)).await;
        match outcome {
            Ok(reply) => assert_eq!(reply, work),
            Err(error) => {
                assert!(began > drains_at, "{error:?}");
                return before;
            }
        }
        before += usize::from(began <= drains_at);
        time::sleep(ms(time::random() % 20)).await;
    }
}

#[test]
fn no_call_that_was_on_its_way_is_lost_under_load() {
    for seed in 0..short_or_long(4, 20) {
        simulated(seed, |network| async move {
            network.set_default_link(Link::new().latency(ms(30)));
            let (builder, _ends) = daemon(Duration::ZERO);
            let daemon: Linked<Daemon<Worker>> = builder.start_link().await.unwrap();
            let drains_at = time::now() + secs(2);
            let mut callers = Vec::new();
            for _ in 0..10 {
                let client = client(&daemon).await;
                for _ in 0..3 {
                    callers.push(erps::spawn(keeps_calling(client.clone(), drains_at)));
                }
            }
            time::sleep(drains_at - time::now()).await;
            let report = daemon.drain(LIMIT).await;
            assert_eq!(report.finished().count(), 10, "{report:?}");
            for caller in callers {
                assert!(caller.await > 0);
            }
        });
    }
}
