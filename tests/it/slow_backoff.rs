//! Errors that look permanent make a client retry slowly, never stop.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use erps::{
    Backoff, CallError, Client, ClientBuilder, ConnectError, Daemon, Linked, Network, Status,
    TestCa, Universe,
    network::{EventKind, Listener},
    time,
};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    events::Warnings,
    test_server::{self, Call, TestProtocol, TestServer, assert_served},
    time::{HOUR, at_once, ms, secs, settled, timed},
};

const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4747);

fn listen() -> Listener {
    let network = Network::current().expect("a simulated universe");
    network.listen(HERE).unwrap()
}

/// A TLS client with a backoff of a millisecond.
fn client(ca: &TestCa) -> ClientBuilder<TestProtocol> {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    let client = Client::builder(HERE).transport(ca.tls(&["client"]));
    client.backoff(backoff)
}

async fn daemon(ca: &TestCa) -> Linked<Daemon<TestServer>> {
    let builder = test_server::daemon().0.port(HERE.port());
    let builder = builder.transport(ca.tls(&["127.0.0.1"]));
    builder.start_link().await.unwrap()
}

/// A plaintext TLS alert, which needs no keys.
fn alert(level: u8, description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, level, description]
}

/// Answers the next connection's ClientHello with these bytes and closes it.
async fn answer(listener: &Listener, bytes: &[u8]) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let _ = stream.read(&mut [0; 4096]).await;
    let _ = stream.write_all(bytes).await;
    let _ = stream.close().await;
}

/// Answers every connection with these bytes.
async fn answer_all(listener: Listener, bytes: [u8; 7]) {
    loop {
        answer(&listener, &bytes).await;
    }
}

/// Returns when clients dialled in this universe.
fn dials() -> Vec<Instant> {
    let clock = Universe::current().and_then(|it| it.clock()).unwrap();
    let start = clock.now() - clock.elapsed();
    let events = Network::current().unwrap().events().into_iter();
    let dials = events.filter(|event| matches!(event.kind, EventKind::Connecting(..)));
    dials.map(|event| start + event.at).collect()
}

fn is_slow(status: &Status) -> bool {
    matches!(status, Status::RetryingSlowly { .. })
}

#[erps::test(simulated)]
async fn client_reconnects_within_a_second_after_any_tls_alert() {
    let ca = TestCa::new();
    for description in 0..=255 {
        let listener = listen();
        let client = client(&ca).start();
        answer(&listener, &alert(2, description)).await;
        drop(listener);
        let daemon = daemon(&ca).await;
        let (_, took) = timed(client.until(Status::is_connected)).await;
        assert!(took <= secs(1), "alert {description}: {took:?}");
        assert_served(&client).await;
        drop(client);
        daemon.shutdown().await;
    }
}

#[erps::test(simulated)]
async fn client_reconnects_after_invalid_data_from_a_server() {
    let ca = TestCa::new();
    let other = TestCa::new();
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        &alert(1, 40),
        &alert(9, 9),
        &[21, 3, 3, 0, 0],
        &[22, 3, 3, 0, 4, 2, 0, 0, 0],
        &[0; 100],
        &[255; 20_000],
        &alert(2, 42).repeat(3),
        &[],
    ] {
        let listener = listen();
        let client = client(&ca).start();
        answer(&listener, bytes).await;
        drop(listener);
        // Then a server with an untrusted certificate.
        let untrusted = daemon(&other).await;
        time::sleep(ms(5)).await;
        untrusted.shutdown().await;
        let daemon = daemon(&ca).await;
        let (_, took) = timed(client.until(Status::is_connected)).await;
        assert!(
            took <= secs(2),
            "{:?}: {took:?}",
            &bytes[..bytes.len().min(9)]
        );
        assert_served(&client).await;
        drop(client);
        daemon.shutdown().await;
    }
}

#[erps::test(simulated)]
async fn slow_backoff_grows_to_thirty_to_sixty_seconds() {
    let ca = TestCa::new();
    let client = client(&ca).start();
    let refuse = answer_all(listen(), alert(2, 40));
    let test = async {
        time::sleep(HOUR).await;
        let dials = dials();
        let pauses: Vec<_> = dials.windows(2).map(|it| it[1] - it[0]).collect();
        for (n, pause) in pauses.iter().enumerate() {
            let bound = secs(60).min(secs(1) * 2_u32.saturating_pow(n as u32));
            let fine = (bound / 2..=bound).contains(pause);
            assert!(fine, "{n}: {pause:?} of {bound:?}");
        }
        assert!((60..=127).contains(&pauses.len()), "{}", pauses.len());
        let slowest = pauses[10..].iter().max().unwrap();
        let fastest = pauses[10..].iter().min().unwrap();
        assert!(*slowest - *fastest > secs(10), "no jitter: {pauses:?}");
        assert!(is_slow(&client.status()));
    };
    smol::future::or(refuse, test).await;
}

#[erps::test(simulated)]
async fn retrying_slowly_reports_error_and_next_attempt_and_calls_fail_immediately() {
    let ca = TestCa::new();
    let client = client(&ca).start();
    let listener = listen();
    answer(&listener, &alert(2, 48)).await;
    let status = at_once(client.until(is_slow)).await;
    let Status::RetryingSlowly {
        error,
        next_attempt: Some(next),
    } = status
    else {
        panic!("{status:?}");
    };
    assert!(error.is_likely_permanent());
    assert!(error.to_string().contains("unknown_ca"), "{error}");
    let last = client.last_connect_error().unwrap();
    assert_eq!(last.to_string(), error.to_string());
    let call = at_once(client.call(Call::Ping)).await.unwrap_err();
    assert!(matches!(call, CallError::Disconnected { .. }), "{call}");
    listener.accept().await.unwrap();
    assert_eq!(dials()[1], next);
}

#[erps::test(simulated)]
async fn connect_skips_and_resets_the_slow_backoff() {
    let ca = TestCa::new();
    let client = client(&ca).start();
    let refuse = answer_all(listen(), alert(2, 46));
    let test = async {
        time::sleep(HOUR).await;
        let error = at_once(client.connect()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Handshake(_)), "{error}");
        let before = dials().len();
        time::sleep(secs(1)).await;
        assert_eq!(dials().len(), before + 1);
    };
    smol::future::or(refuse, test).await;
    let _daemon = daemon(&ca).await;
    at_once(client.connect()).await.unwrap();
    assert_served(&client).await;
}

#[erps::test(simulated)]
async fn disconnect_stops_slow_retries() {
    let ca = TestCa::new();
    let client = client(&ca).start();
    answer(&listen(), &alert(2, 40)).await;
    at_once(client.until(is_slow)).await;
    at_once(client.disconnect()).await;
    assert!(matches!(client.status(), Status::Disconnected));
    let before = dials().len();
    time::sleep(HOUR).await;
    assert_eq!(dials().len(), before);
}

#[erps::test(simulated)]
async fn slow_backoff_is_configurable_and_never_shorter_than_the_backoff() {
    let ca = TestCa::new();
    let quick = Backoff::new(Duration::ZERO, Duration::ZERO);
    let never_again = Backoff::new(Duration::MAX, Duration::MAX);
    let never = client(&ca).slow_backoff(never_again).start();
    answer(&listen(), &alert(2, 40)).await;
    let status = at_once(never.until(is_slow)).await;
    let none = matches!(
        &status,
        Status::RetryingSlowly {
            next_attempt: None,
            ..
        }
    );
    assert!(none, "{status:?}");
    drop(never);
    settled().await;
    let before = dials().len();
    let builder = client(&ca).backoff(Backoff::new(HOUR, HOUR));
    let client = builder.slow_backoff(quick).start();
    let refuse = answer_all(listen(), alert(2, 40));
    let test = time::sleep(24 * HOUR);
    smol::future::or(refuse, test).await;
    let attempts = dials().len() - before;
    assert!(attempts < 24 * 4, "{attempts}");
    drop(client);
}

#[test]
fn repeated_connect_failures_log_one_warning_then_a_summary_every_ten_minutes() {
    Warnings::capture(|warnings| {
        Universe::simulated(1).run(async {
            let ca = TestCa::new();
            let usual = Backoff::new(secs(1), secs(1));
            let client = client(&ca).backoff(usual).start();
            // Hundreds of failed attempts.
            time::sleep(secs(9 * 60)).await;
            let first = warnings.take();
            assert_eq!(first.len(), 1, "{first:?}");
            assert!(first[0].contains("cannot connect"), "{first:?}");
            // Another reason logs another warning.
            let refuse = answer_all(listen(), alert(2, 40));
            let refused = async {
                time::sleep(HOUR).await;
                let warnings = warnings.take();
                assert!(warnings[0].contains("handshake_failure"), "{warnings:?}");
                let summaries = |it: &&String| it.contains("attempts=");
                let count = warnings.iter().filter(summaries).count();
                assert_eq!(count, warnings.len() - 1);
                assert!((5..=7).contains(&count), "{warnings:?}");
            };
            smol::future::or(refuse, refused).await;
            drop(client);
        });
    });
}
