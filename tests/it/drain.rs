//! Draining a daemon: calls in flight are answered, and the drain returns within its timeout.

mod busy;
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
    raw::{self, Raw},
    scale::short_or_long,
    time::{STEP, ms, secs, settled, timed},
};

/// The timeout of most drains here: it includes a second of reading from idle peers and a second of killing.
const LIMIT: Duration = secs(16);

/// How long a drain with that timeout keeps reading from peers.
const LISTENING: Duration = secs(1);

/// How long a daemon that is shut down waits for replies, by default.
const DRAIN_TIMEOUT: Duration = secs(3);

/// A protocol whose calls take a given time.
struct Work;

impl Protocol for Work {
    const IDENTIFIER: &'static str = "test";
    const VERSION: &'static str = "1.2.3";
    /// The time in milliseconds, and whether a task does the work instead of the handler.
    type Call = (u64, bool);
    type Reply = u64;
    type Cast = u64;
    type Push = ();
}

/// How long `terminate` takes, and where servers report their exit reason.
#[derive(Clone)]
struct Seed {
    terminate_takes: Duration,
    ended: async_channel::Sender<ExitReason>,
}

/// Its tasks are cancelled when the server exits.
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
        time::sleep(self.0.terminate_takes).await;
        let _ = self.0.ended.try_send(reason.clone());
    }
}

fn daemon(terminate_takes: Duration) -> (DaemonBuilder<Worker>, Receiver<ExitReason>) {
    let (ended, ends) = async_channel::unbounded();
    (
        Daemon::builder(Seed {
            terminate_takes,
            ended,
        }),
        ends,
    )
}

/// Connects a client and waits until it is served.
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

/// Starts a task that makes a call, and returns it when the call has been sent.
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
fn suspended_daemon_accepts_no_connections_and_serves_existing_ones() {
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
fn drain_closes_idle_connections_after_the_time_of_listening() {
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
        // A second drain returns the same report.
        let again = daemon.drain(secs(1)).await;
        assert_eq!(again.finished().count(), 1);
    });
}

#[test]
fn drain_without_connections_returns_immediately() {
    simulated(1, |_| async move {
        let daemon = daemon(Duration::ZERO).0.start_link().await.unwrap();
        let (report, took) = timed(daemon.drain(LIMIT)).await;
        assert_eq!((took, report.connections.len()), (Duration::ZERO, 0));
    });
}

#[test]
fn drain_waits_for_replies_from_handlers_mailboxes_and_tasks() {
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
        // The time includes `terminate`.
        assert_eq!(drained.took, secs(9) - ms(3));
        assert_eq!(ends.len(), 1);
    });
}

#[test]
fn drain_answers_calls_in_the_mailbox() {
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
fn drain_answers_calls_that_arrive_within_the_time_of_listening() {
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
fn drain_completes_a_packet_that_has_begun_and_reads_no_more() {
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
fn drain_shuts_servers_down_by_their_policy_at_its_timeout() {
    // A second is reserved for killing, and a shutdown policy takes at most a quarter of the timeout.
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
                    assert_eq!(cut, [DrainOutcome::Cut { calls: 1, busy: 0 }]);
                    assert_eq!(cut[0].to_string(), "cut with 1 unanswered call");
                }
                let terminated = in_time || shutdown != Shutdown::BrutalKill;
                assert_eq!(ends.len(), usize::from(terminated), "{shutdown:?}");
            });
        }
    }
}

#[test]
fn drain_kills_a_server_that_does_not_stop_before_its_timeout() {
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
fn drain_is_not_delayed_by_silent_or_disconnected_peers() {
    simulated(1, |network| async move {
        let (builder, _ends) = daemon(Duration::ZERO);
        let daemon = builder.start_link().await.unwrap();
        let connect = || async { network.connect(daemon.local_addr()).await.unwrap() };
        // A silent peer, one that has sent half a packet, one that has closed its sending half, and one that
        // has disconnected.
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
fn drain_cuts_a_peer_that_does_not_read_at_its_timeout() {
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
fn drain_closes_pending_handshakes() {
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
fn earlier_deadline_wins_when_a_drain_is_requested_twice() {
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
fn drain_continues_when_its_future_is_dropped() {
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
fn shutdown_shortens_a_drain_to_the_drain_timeout() {
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
fn shutdown_ends_the_time_of_listening() {
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
fn supervisor_shutdown_loses_no_reply() {
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
                // In the handler, in a task, in the mailbox, and in the socket.
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
fn supervisor_shutdown_waits_for_the_drain_timeout_of_its_daemon() {
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
fn shutdown_waits_for_replies_up_to_the_drain_timeout() {
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
fn server_busy_in_a_handler_is_killed_after_its_shutdown_time() {
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
fn daemon_without_calls_in_flight_shuts_down_immediately() {
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

/// Makes one call after the other until the connection is lost. Returns the number of calls that began before
/// `drains_at`; all of them must be answered.
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
fn drain_under_load_loses_no_call_in_flight() {
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
