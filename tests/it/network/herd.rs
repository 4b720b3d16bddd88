//! Many clients that lose one server at the same moment: ten thousand with `ERPS_TEST_ALL`.

use super::*;

use erps::{Backoff, Client, Daemon, Linked, network::Event, universe::Clock};

use crate::support::{
    cores::cores,
    scale::short_or_long,
    test_server::{TestProtocol, TestServer},
};

/// How often somebody dials in the busiest of so many seconds.
async fn busiest_second_of_dials(network: &Network, seconds: u64) -> usize {
    let mut most = 0;
    for _ in 0..seconds {
        let since = clock().elapsed();
        time::sleep(secs(1)).await;
        let is_dial =
            |event: &Event| event.at > since && matches!(event.kind, EventKind::Connecting(..));
        let events = network.events();
        assert!(events[0].at <= since, "the network remembers all of it");
        most = most.max(events.iter().filter(|event| is_dial(event)).count());
    }
    most
}

/// How many come in the busiest of so many seconds.
async fn busiest_second_of_accepts(daemon: &Daemon<TestServer>, seconds: u64) -> u64 {
    let mut most = 0;
    for _ in 0..seconds {
        let before = daemon.info().accepted;
        time::sleep(secs(1)).await;
        most = most.max(daemon.info().accepted - before);
    }
    most
}

fn clock() -> Clock {
    let clock = Universe::current().and_then(|it| it.clock());
    clock.expect("the universe is simulated")
}

async fn start(clients: u64) -> Linked<Daemon<TestServer>> {
    let (builder, _) = test_server::daemon();
    let builder = builder.port(PORT).max_connections(2 * clients as usize);
    builder.start_link().await.unwrap()
}

#[test]
fn jitter_spreads_reconnects_of_many_clients() {
    let _core = cores(1);
    let many = short_or_long(500, 10_000);
    simulated(1, |network| async move {
        let backoff = Backoff::new(secs(1), secs(32));
        let client = || Client::<TestProtocol>::builder(local(PORT)).backoff(backoff);
        let clients: Vec<_> = (0..many).map(|_| client().start()).collect();

        // Nobody is there. In the end each waits for sixteen seconds on average.
        time::sleep(secs(60)).await;
        let usual = many / 16;
        let dials = busiest_second_of_dials(&network, 60).await as u64;
        assert!((usual..2 * usual).contains(&dials), "{dials} a second");

        let daemon = start(many).await;
        let accepts = busiest_second_of_accepts(&daemon, 32).await;
        assert_eq!(daemon.info().accepted, many);
        assert!(accepts < 2 * usual, "{accepts} a second");

        // They stay until they are calm, and lose it all at once. It is back at their eighth second.
        time::sleep(secs(60)).await;
        daemon.task().kill();
        daemon.exited().await;
        time::sleep(secs(8)).await;
        let daemon = start(many).await;
        let accepts = busiest_second_of_accepts(&daemon, 32).await;
        assert_eq!(daemon.info().accepted, many);
        // By then each waits for four seconds on average.
        assert!(accepts < many / 3, "{accepts} a second");
        assert!(clients.iter().all(|it| it.status().is_connected()));
    });
}
