//! Health checks and port scans are counted without a warning; warnings about many bad peers are
//! rate-limited.

use std::time::Duration;

use erps::{
    Daemon, DaemonEvent, DaemonInfo, Linked, Network, TestCa, Universe, network::Stream, time,
};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    events::Warnings,
    test_server::{self, TestServer, assert_served},
    time::{STEP, secs, settled},
};

async fn daemon(tls: bool) -> (Linked<Daemon<TestServer>>, test_server::Watch) {
    let (builder, watch) = test_server::daemon();
    let builder = match tls {
        true => builder.transport(TestCa::new().tls(&["localhost"])),
        false => builder,
    };
    (builder.start_link().await.unwrap(), watch)
}

async fn dial(daemon: &Daemon<TestServer>) -> Stream {
    let network = Network::current().unwrap();
    network.connect(daemon.local_addr()).await.unwrap()
}

/// Connects, sends `hello`, and closes or resets the connection.
async fn probe(daemon: &Daemon<TestServer>, hello: &[u8], reset: bool) {
    let mut stream = dial(daemon).await;
    stream.write_all(hello).await.unwrap();
    settled().await;
    match reset {
        true => stream.abort(),
        false => drop(stream),
    }
    settled().await;
}

/// The start of a TLS record with part of a ClientHello.
const HALF_HELLO: [u8; 11] = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

#[test]
fn probes_are_counted_without_a_warning() {
    Warnings::capture(|warnings| {
        Universe::simulated(1).run(async {
            for (tls, hello) in [(false, &[][..]), (true, &[]), (true, &HALF_HELLO)] {
                let (daemon, _watch) = daemon(tls).await;
                for reset in [false, true] {
                    for _ in 0..3 {
                        probe(&daemon, hello, reset).await;
                        // Also immediately, before the connection is accepted.
                        drop(dial(&daemon).await);
                        dial(&daemon).await.abort();
                        settled().await;
                    }
                }
                let DaemonInfo {
                    accepted, probes, ..
                } = daemon.info();
                assert_eq!(probes, accepted, "{tls} {hello:?}");
                assert!(probes >= 6, "{probes}");
            }
        });
        assert_eq!(warnings.take(), [""; 0]);
    });
}

#[erps::test(simulated)]
async fn connection_that_was_served_is_not_counted_as_a_probe() {
    let (daemon, _watch) = daemon(false).await;
    let client = test_server::client(&daemon).connect().await.unwrap();
    assert_served(&client).await;
    drop(client);
    time::sleep(secs(1)).await;
    assert_eq!((daemon.info().accepted, daemon.info().probes), (1, 0));
}

#[test]
fn repeated_tls_failures_log_one_warning_then_a_summary_every_ten_seconds() {
    Warnings::capture(|warnings| {
        Universe::simulated(1).run(async {
            let (daemon, _watch) = daemon(true).await;
            let mut events = daemon.events();
            let speaks_http = async || {
                let mut stream = dial(&daemon).await;
                stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
                let _ = stream.read(&mut [0; 64]).await;
            };
            for _ in 0..100 {
                speaks_http().await;
            }
            settled().await;
            let first = warnings.take();
            assert_eq!(first.len(), 1, "{first:?}");
            assert!(first[0].contains("does not speak TLS"), "{first:?}");
            // The summary is logged even if no further connection arrives.
            time::sleep(secs(10)).await;
            let summary = warnings.take();
            assert_eq!(summary.len(), 1, "{summary:?}");
            assert!(summary[0].contains("suppressed=99"), "{summary:?}");
            assert!(summary[0].contains("not TLS"), "{summary:?}");
            // Another kind of failure is logged separately.
            let peer = dial(&daemon).await;
            time::sleep(secs(10) + STEP).await;
            drop(peer);
            assert_eq!(warnings.take().len(), 1);
            // After a quiet period the next failure is logged again; the rest is summarised at shutdown.
            time::sleep(Duration::from_secs(60)).await;
            assert_eq!(warnings.take(), [""; 0]);
            speaks_http().await;
            speaks_http().await;
            settled().await;
            assert_eq!(warnings.take().len(), 1);
            daemon.shutdown().await;
            let last = warnings.take();
            assert_eq!(last.len(), 1, "{last:?}");
            assert!(last[0].contains("suppressed=1"), "{last:?}");
            // Every connection emits a `Closed` event, suppressed in the log or not.
            let mut ended = 0;
            while let Some(event) = events.next().await {
                ended += u64::from(matches!(event, DaemonEvent::Closed { .. }));
            }
            assert_eq!(ended, 103);
        });
    });
}
