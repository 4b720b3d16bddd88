//! Draining under load, over real sockets and TLS.

use super::*;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use crate::support::test_server::run;

/// Counts of calls by when they were sent and how they ended.
#[derive(Debug, Default)]
struct Counts {
    answered_before: AtomicU64,
    in_flight: AtomicU64,
    later: AtomicU64,
    lost_later: AtomicU64,
    never_sent: AtomicU64,
}

/// When the test started, and when the drain began in microseconds after that (`u64::MAX` before it does).
struct Began(Instant, AtomicU64);

impl Began {
    fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// Calls in a loop until the connection is closed. Panics if a call fails that was sent before the drain
/// began.
async fn keeps_calling(
    client: Client<Work>,
    mut work: u64,
    began: Arc<Began>,
    counts: Arc<Counts>,
) {
    loop {
        work = (work * 7 + 3) % 40;
        let left = began.now();
        let outcome = client.call((work, work < 20)).await;
        let drained = began.1.load(Relaxed);
        match outcome {
            Ok(reply) => {
                assert_eq!(reply, work);
                let count = if began.now() < drained {
                    &counts.answered_before
                } else if left < drained {
                    &counts.in_flight
                } else {
                    &counts.later
                };
                count.fetch_add(1, Relaxed);
            }
            Err(error) => {
                assert!(left >= drained, "a call in flight was lost: {error:?}");
                let count = if error.may_have_run() {
                    &counts.lost_later
                } else {
                    &counts.never_sent
                };
                count.fetch_add(1, Relaxed);
                return;
            }
        }
    }
}

async fn drained_under_load(clients: usize, callers: u64, runs: usize) -> Arc<Counts> {
    let counts = Arc::new(Counts::default());
    for _ in 0..runs {
        let ca = TestCa::new();
        let (builder, _ends) = daemon(Duration::ZERO);
        let daemon = builder.transport(ca.tls(&["127.0.0.1"]));
        let daemon = daemon.start_link().await.unwrap();
        let began = Arc::new(Began(Instant::now(), AtomicU64::new(u64::MAX)));
        let mut tasks = Vec::new();
        for n in 0..clients {
            let client = Client::<Work>::builder(daemon.local_addr())
                .transport(ca.tls(&["client"]))
                .connect()
                .await
                .unwrap();
            for caller in 0..callers {
                let work = n as u64 + 11 * caller;
                let (began, counts) = (Arc::clone(&began), Arc::clone(&counts));
                tasks.push(erps::spawn(keeps_calling(
                    client.clone(),
                    work,
                    began,
                    counts,
                )));
            }
        }
        time::sleep(ms(300)).await;
        // Stored first: a call sent before this is in flight now at the latest.
        began.1.store(began.now(), Relaxed);
        let report = daemon.drain(secs(8)).await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.finished().count(), clients, "{report:?}");
        for task in tasks {
            task.await;
        }
    }
    counts
}

#[test]
fn drain_under_load_over_tls_loses_no_call_in_flight() {
    let counts = run(drained_under_load(8, 4, 1));
    assert!(counts.in_flight.load(Relaxed) > 0, "{counts:?}");
}

/// The long form: `cargo test --release --test it -- --ignored --nocapture drain_under_heavy_load`.
#[test]
#[ignore = "it takes minutes"]
fn drain_under_heavy_load_over_tls_loses_no_call_in_flight() {
    let start = Instant::now();
    let counts = smol::block_on(drained_under_load(100, 10, 30));
    println!("{counts:?} in {:?}", start.elapsed());
    assert!(counts.in_flight.load(Relaxed) > 1000, "{counts:?}");
}
