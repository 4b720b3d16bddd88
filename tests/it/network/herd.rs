//! Ten thousand clients that lose one server at the same moment.

use super::*;
use std::collections::BTreeMap;

use erps::{Backoff, Client, Daemon, Linked};

use crate::support::{
    cores::cores,
    lab::{Lab, LabServer},
};

const HERD: usize = 10_000;

/// How many of the network's events of one kind there were since then, in the busiest second.
fn peak(network: &Network, since: Duration, is_counted: impl Fn(&What) -> bool) -> usize {
    let mut seconds = BTreeMap::new();
    for event in network.events() {
        if event.at >= since && is_counted(&event.what) {
            *seconds.entry(event.at.as_secs()).or_insert(0) += 1;
        }
    }
    seconds.into_values().max().unwrap_or(0)
}

fn is_dial(what: &What) -> bool {
    matches!(what, What::Dialled(..))
}

fn is_accept(what: &What) -> bool {
    matches!(what, What::Accepted(..))
}

async fn start() -> Linked<Daemon<LabServer>> {
    let (builder, _) = lab::daemon();
    let builder = builder.port(PORT).max_connections(2 * HERD);
    builder.start_link().await.unwrap()
}

#[test]
fn a_herd_of_ten_thousand_does_not_come_back_at_once() {
    let _core = cores(1);
    simulated(1, |network| async move {
        let backoff = Backoff::new(secs(1), secs(32));
        let client = || Client::<Lab>::builder(local(PORT)).backoff(backoff);
        let clients: Vec<_> = (0..HERD).map(|_| client().start()).collect();
        let clock = Universe::current().unwrap().clock().unwrap();

        // Nobody is there. In the end each waits for sixteen seconds on average.
        time::sleep(secs(60)).await;
        let since = clock.elapsed();
        time::sleep(secs(60)).await;
        let usual = HERD / 16;
        let dials = peak(&network, since, is_dial);
        assert!((usual..2 * usual).contains(&dials), "{dials} a second");

        let since = clock.elapsed();
        let daemon = start().await;
        time::sleep(secs(32)).await;
        assert_eq!(daemon.info().connections, HERD);
        let accepts = peak(&network, since, is_accept);
        assert!(accepts < 2 * usual, "{accepts} a second");

        // They stay until they are calm, and lose it all at once. It is back at its eighth second.
        time::sleep(secs(60)).await;
        daemon.task().kill();
        daemon.exited().await;
        time::sleep(secs(8)).await;
        let since = clock.elapsed();
        let daemon = start().await;
        time::sleep(secs(32)).await;
        assert_eq!(daemon.info().connections, HERD);
        // By then each waits for four seconds on average.
        let accepts = peak(&network, since, is_accept);
        assert!(accepts < HERD / 4, "{accepts} a second");
        assert!(clients.iter().all(|it| it.status().is_connected()));
    });
}
