//! Draining while many call without a pause, over real sockets and real TLS.

use super::*;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use crate::support::lab::run;

/// What callers saw: of calls that had left before the drain began, and of later ones.
#[derive(Debug, Default)]
struct Tally {
    answered_before: AtomicU64,
    in_flight: AtomicU64,
    later: AtomicU64,
    lost_later: AtomicU64,
    never_sent: AtomicU64,
}

/// When the drain began, in microseconds since the test did. For ever, until it has.
struct Began(Instant, AtomicU64);

impl Began {
    fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// Calls without a pause until the connection is gone, and fails if a call is lost that was on its way
/// before the drain began.
async fn keeps_calling(client: Client<Work>, mut work: u64, began: Arc<Began>, tally: Arc<Tally>) {
    loop {
        work = (work * 7 + 3) % 40;
        let left = began.now();
        let outcome = client.call((work, work < 20)).await;
        let drained = began.1.load(Relaxed);
        match outcome {
            Ok(reply) => {
                assert_eq!(reply, work);
                let count = if began.now() < drained {
                    &tally.answered_before
                } else if left < drained {
                    &tally.in_flight
                } else {
                    &tally.later
                };
                count.fetch_add(1, Relaxed);
            }
            Err(error) => {
                assert!(left >= drained, "a call in flight was lost: {error:?}");
                let count = if error.may_have_run() {
                    &tally.lost_later
                } else {
                    &tally.never_sent
                };
                count.fetch_add(1, Relaxed);
                return;
            }
        }
    }
}

async fn drained_under_load(clients: usize, callers: u64, runs: usize) -> Arc<Tally> {
    let tally = Arc::new(Tally::default());
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
                let (began, tally) = (Arc::clone(&began), Arc::clone(&tally));
                tasks.push(erps::spawn(keeps_calling(
                    client.clone(),
                    work,
                    began,
                    tally,
                )));
            }
        }
        time::sleep(ms(300)).await;
        // Noted first: what left before is in flight at the latest now.
        began.1.store(began.now(), Relaxed);
        let report = daemon.drain(secs(8)).await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.finished().count(), clients, "{report:?}");
        for task in tasks {
            task.await;
        }
    }
    tally
}

#[test]
fn no_call_in_flight_over_tls_is_lost_by_a_drain_under_load() {
    let tally = run(drained_under_load(8, 4, 1));
    assert!(tally.in_flight.load(Relaxed) > 0, "{tally:?}");
}

/// Much longer: `cargo test --release --test it -- --ignored --nocapture drain_under_heavy_load`.
#[test]
#[ignore = "it takes minutes"]
fn no_call_in_flight_over_tls_is_lost_by_a_drain_under_heavy_load() {
    let start = Instant::now();
    let tally = smol::block_on(drained_under_load(100, 10, 30));
    println!("{tally:?} in {:?}", start.elapsed());
    assert!(tally.in_flight.load(Relaxed) > 1000, "{tally:?}");
}
