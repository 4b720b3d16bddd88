//! Calls over a connection: each has exactly one outcome.

use std::time::Duration;

use erps::{CallError, Client, Daemon, ExitReason, Status, time};
use futures::future::join_all;
use smol::future;

use crate::support::{
    cores::cores,
    test_server::{
        self, Call, Cast, Lifecycle, REPLY_TIMEOUT as LONG, Reply, TestProtocol, TestServer, Watch,
        assert_served, pair, run,
    },
    time::{HOUR, STEP, at_once, ms, settled, timed},
};

#[erps::test(simulated)]
async fn call_returns_the_reply() {
    let (_daemon, client, _watch) = pair().await;
    assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
}

/// Connects a client that sends one call at a time.
async fn client_with_one_call_in_flight(daemon: &Daemon<TestServer>) -> Client<TestProtocol> {
    let client = test_server::client(daemon).max_in_flight(1);
    client.connect().await.unwrap()
}

/// Sends a call that the server holds, after everything queued before it.
async fn hold(
    client: &Client<TestProtocol>,
) -> impl Future<Output = Result<Reply, CallError>> + use<> {
    let client = client.clone();
    let mut call = Box::pin(async move { client.call_within(Call::Hold, LONG).await });
    assert!(future::poll_once(&mut call).await.is_none());
    call
}

/// Returns the exit reason of the first server that terminated.
async fn end(watch: &Watch) -> ExitReason {
    loop {
        if let Lifecycle::Terminated(reason) = watch.lifecycle.recv().await.unwrap() {
            return reason;
        }
    }
}

#[test]
fn thousand_calls_in_flight_are_answered_in_reverse_order() {
    run(async {
        let (_daemon, client, _watch) = pair().await;
        let mut held = Vec::new();
        for _ in 0..1000 {
            held.push(hold(&client).await);
        }
        let released = client.call_within(Call::Release, LONG).await.unwrap();
        assert_eq!(released, Reply::Released(1000));
        for (n, call) in held.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), Reply::Released(n as u64));
        }
    });
}

#[test]
fn ten_mebibytes_are_echoed_unchanged() {
    run(async {
        let (_daemon, client, _watch) = pair().await;
        let bytes: Vec<u8> = (0..10 << 20).map(|n: u32| (n ^ (n >> 8)) as u8).collect();
        let echoed = client.call_within(Call::Echo(bytes.clone()), LONG).await;
        assert!(echoed.unwrap() == Reply::Bytes(bytes));
    });
}

#[erps::test(simulated)]
async fn call_over_the_payload_limit_is_not_sent_and_fails_with_size_and_limit() {
    let (daemon, _, _watch) = pair().await;
    let client = test_server::client(&daemon)
        .max_payload(1000)
        .connect()
        .await;
    let client = client.unwrap();
    let error = client.call(Call::Echo(vec![0; 2000])).await.unwrap_err();
    assert!(matches!(error, CallError::Unsendable(_)), "{error:?}");
    assert!(!error.may_have_run());
    assert!(
        error.to_string().contains("over the limit of 1000 bytes"),
        "{error}"
    );
    assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
}

#[erps::test(simulated)]
async fn reply_over_the_payload_limit_fails_its_call_and_keeps_the_connection() {
    let (builder, _watch) = test_server::daemon();
    let options = erps::ServerOptions::new().max_payload(1000);
    let daemon = builder.server_options(options).start_link().await.unwrap();
    let client = test_server::client(&daemon).connect().await.unwrap();
    for n in 0..400 {
        client.cast(Cast::Note(1_000_000 + n)).await.unwrap();
    }
    let error = client.call(Call::Casts).await.unwrap_err();
    let CallError::Remote(message) = error else {
        panic!("{error:?}");
    };
    assert!(
        message.contains("over the limit of 1000 bytes"),
        "{message}"
    );
    assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
}

#[erps::test(simulated)]
async fn call_over_the_servers_payload_limit_is_lost_and_last_disconnect_says_why() {
    let (builder, _watch) = test_server::daemon();
    let options = erps::ServerOptions::new().max_payload(1000);
    let daemon = builder.server_options(options).start_link().await.unwrap();
    let client = test_server::client(&daemon).connect().await.unwrap();
    let lost = client.call(Call::Echo(vec![0; 2000])).await;
    assert!(matches!(lost, Err(CallError::Lost)), "{lost:?}");
    let why = client.last_disconnect().unwrap().to_string();
    assert!(why.contains("over the limit of 1000 bytes"), "{why}");
}

#[erps::test(simulated)]
async fn reply_is_sent_before_the_handler_returns() {
    let (_daemon, client, watch) = pair().await;
    let first = at_once(client.call(Call::AnswerAndGoOn)).await;
    assert_eq!(first.unwrap(), Reply::Pong);
    // The handler has not returned: the next call waits for it.
    let mut second = Box::pin(client.call_within(Call::Ping, LONG));
    assert!(future::poll_once(&mut second).await.is_none());
    time::sleep(LONG - STEP).await;
    assert!(future::poll_once(&mut second).await.is_none());
    watch.gate.send(()).await.unwrap();
    assert_eq!(at_once(second).await.unwrap(), Reply::Pong);
}

#[erps::test(simulated)]
async fn dropped_reply_to_fails_the_call_immediately() {
    let (_daemon, client, _watch) = pair().await;
    let forgotten = at_once(client.call_within(Call::Forget, LONG)).await;
    let error = forgotten.unwrap_err();
    assert!(matches!(error, CallError::Unanswered), "{error:?}");
    assert!(error.may_have_run());
    assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
}

#[erps::test(simulated)]
async fn refused_call_fails_with_the_servers_message() {
    let (_daemon, client, _watch) = pair().await;
    let refused = client.call(Call::Refuse("not today".into())).await;
    assert!(matches!(refused, Err(CallError::Remote(why)) if why == "not today"));
}

#[erps::test(simulated)]
async fn call_without_a_reply_times_out_and_its_late_reply_is_discarded() {
    let (_daemon, client, _watch) = pair().await;
    let (late, took) = timed(client.call_within(Call::Hold, ms(30))).await;
    assert!(
        matches!(late, Err(CallError::TimedOut { sent: true })),
        "{late:?}"
    );
    assert_eq!(took, ms(30));
    // The held call is answered now; only the new call may receive a reply.
    let released = at_once(client.call(Call::Release)).await;
    assert_eq!(released.unwrap(), Reply::Released(1));
    at_once(assert_served(&client)).await;
}

#[erps::test(simulated)]
async fn call_returns_a_reply_before_its_deadline_and_times_out_after_it() {
    for (by, in_time) in [(ms(50) - STEP, true), (ms(50) + STEP, false)] {
        let (_daemon, client, _watch) = pair().await;
        let release = async {
            time::sleep(by).await;
            client.call(Call::Release).await
        };
        let held = timed(client.call_within(Call::Hold, ms(50)));
        let ((outcome, took), released) = future::zip(held, release).await;
        assert_eq!(released.unwrap(), Reply::Released(1));
        assert_eq!(took, by.min(ms(50)));
        match outcome {
            Ok(reply) => assert!(in_time && reply == Reply::Released(0)),
            Err(CallError::TimedOut { sent: true }) => assert!(!in_time),
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[erps::test(simulated)]
async fn call_queued_until_its_deadline_is_never_sent() {
    let (daemon, _, watch) = pair().await;
    let client = client_with_one_call_in_flight(&daemon).await;
    let _held = hold(&client).await;
    let (second, took) = timed(client.call_within(Call::Crash, ms(30))).await;
    assert_eq!(took, ms(30));
    let error = second.unwrap_err();
    assert!(
        matches!(error, CallError::TimedOut { sent: false }),
        "{error:?}"
    );
    assert!(!error.may_have_run());
    // It is not sent later either.
    time::sleep(LONG).await;
    assert_served(&client).await;
    assert!(no_server_panicked(&watch));
}

fn no_server_panicked(watch: &Watch) -> bool {
    let lifecycle = std::iter::from_fn(|| watch.lifecycle.try_recv().ok());
    let panics = |life| matches!(life, Lifecycle::Terminated(ExitReason::Panic(_)));
    !lifecycle.into_iter().any(panics)
}

#[erps::test(simulated)]
async fn call_dropped_while_queued_is_never_sent() {
    let (daemon, _, watch) = pair().await;
    let client = client_with_one_call_in_flight(&daemon).await;
    let held = client.call_within(Call::Hold, ms(50));
    let crash = async {
        let mut crash = Box::pin(client.call_within(Call::Crash, LONG));
        assert!(future::poll_once(&mut crash).await.is_none());
        time::sleep(ms(50) - STEP).await;
        assert!(future::poll_once(&mut crash).await.is_none());
        drop(crash);
    };
    let ((held, took), ()) = future::zip(timed(held), crash).await;
    assert!(matches!(held, Err(CallError::TimedOut { sent: true })));
    assert_eq!(took, ms(50));
    at_once(assert_served(&client)).await;
    settled().await;
    assert!(no_server_panicked(&watch));
}

#[erps::test(simulated)]
async fn call_dropped_after_sending_counts_as_in_flight_until_its_deadline() {
    let (daemon, _, _watch) = pair().await;
    let client = client_with_one_call_in_flight(&daemon).await;
    let start = time::now();
    let mut held = Box::pin(client.call_within(Call::Hold, LONG));
    assert!(future::poll_once(&mut held).await.is_none());
    let (second, took) = timed(client.call_within(Call::Ping, ms(50))).await;
    assert!(matches!(second, Err(CallError::TimedOut { sent: false })));
    assert_eq!(took, ms(50));
    drop(held);
    let third = client.call_within(Call::Ping, LONG - ms(50) - STEP).await;
    assert!(matches!(third, Err(CallError::TimedOut { sent: false })));
    let fourth = client.call_within(Call::Ping, HOUR).await;
    assert_eq!(fourth.unwrap(), Reply::Pong);
    assert_eq!(time::now() - start, LONG);
}

#[erps::test(simulated)]
async fn queued_calls_are_sent_as_replies_arrive() {
    let (daemon, _, _watch) = pair().await;
    let client = test_server::client(&daemon).max_in_flight(1);
    let client = client.connect().await.unwrap();
    let calls = (0..20).map(|_| client.call(Call::Ping));
    for outcome in join_all(calls).await {
        assert_eq!(outcome.unwrap(), Reply::Pong);
    }
}

#[erps::test(simulated)]
async fn call_fails_with_queue_full_when_the_queue_is_full() {
    let (daemon, _, _watch) = pair().await;
    let client = test_server::client(&daemon).max_in_flight(1).max_queued(2);
    let client = client.connect().await.unwrap();
    let _in_flight = hold(&client).await;
    settled().await;
    let _queued = [hold(&client).await, hold(&client).await];
    settled().await;
    for _ in 0..5 {
        let error = at_once(client.call_within(Call::Hold, LONG)).await;
        let error = error.unwrap_err();
        assert!(matches!(error, CallError::QueueFull), "{error:?}");
        assert!(!error.may_have_run());
    }
}

#[erps::test(simulated)]
async fn casts_and_calls_arrive_in_sending_order() {
    let (_daemon, client, _watch) = pair().await;
    for n in 0..5000 {
        client.cast(Cast::Note(n)).await.unwrap();
    }
    let casts = client.call(Call::Casts).await.unwrap();
    assert_eq!(casts, Reply::Casts((0..5000).collect()));
}

#[erps::test(simulated, panics = "as the test asks")]
async fn panic_in_a_handler_stops_only_its_own_server() {
    let (daemon, client, watch) = pair().await;
    let other = test_server::client(&daemon).connect().await.unwrap();
    assert_served(&other).await;
    let crashed = at_once(client.call_within(Call::Crash, LONG)).await;
    assert!(
        matches!(crashed, Err(CallError::Failed { .. })),
        "{crashed:?}"
    );
    let reason = at_once(end(&watch)).await;
    assert!(matches!(&reason, ExitReason::Panic(why) if &**why == "as the test asks"));
    assert_served(&other).await;
    // Its client reconnects within the first backoff.
    client.until(|it| !it.is_connected()).await;
    let (_, took) = timed(client.until(Status::is_connected)).await;
    assert!(took > Duration::ZERO && took < ms(100), "{took:?}");
    assert_served(&client).await;
}

#[erps::test(simulated)]
async fn handler_error_stops_the_server_with_that_error() {
    let (_daemon, client, watch) = pair().await;
    let failed = at_once(client.call_within(Call::Fail("broken".into()), LONG)).await;
    assert!(failed.is_err());
    let reason = at_once(end(&watch)).await;
    assert!(matches!(&reason, ExitReason::Error(error) if error.to_string() == "broken"));
}

#[erps::test(simulated)]
async fn reply_sent_before_stop_arrives() {
    let (_daemon, client, watch) = pair().await;
    assert_eq!(client.call(Call::StopReply).await.unwrap(), Reply::Pong);
    let reason = end(&watch).await;
    assert!(matches!(reason, ExitReason::Normal));
}

#[erps::test(simulated)]
async fn calls_in_flight_fail_immediately_when_the_daemon_shuts_down() {
    let (builder, _watch) = test_server::daemon();
    let builder = builder.drain_timeout(Duration::ZERO);
    let daemon = builder.start_link().await.unwrap();
    let client = test_server::client(&daemon).connect().await.unwrap();
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(hold(&client).await);
    }
    // Calls are handled in order, so the server has received them all.
    assert_served(&client).await;
    at_once(async {
        daemon.shutdown().await;
        for outcome in join_all(held).await {
            let error = outcome.unwrap_err();
            assert!(error.may_have_run(), "{error:?}");
            assert!(!matches!(error, CallError::TimedOut { .. }), "{error:?}");
        }
    })
    .await;
}

#[test]
fn callers_on_many_threads_share_one_connection() {
    let _cores = cores(8);
    run(async {
        let (daemon, client, _watch) = pair().await;
        let threads: Vec<_> = (0..8_u8)
            .map(|thread| {
                let client = client.clone();
                smol::unblock(move || {
                    smol::block_on(async {
                        for n in 0..200_u8 {
                            let bytes = vec![thread, n];
                            let reply = client.call(Call::Echo(bytes.clone())).await.unwrap();
                            assert_eq!(reply, Reply::Bytes(bytes));
                        }
                    });
                })
            })
            .collect();
        join_all(threads).await;
        assert_eq!(daemon.info().accepted, 1);
    });
}
