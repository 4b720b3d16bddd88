//! Failed listeners are rebound without affecting connections.

use std::collections::BTreeSet;

use super::*;

/// An error that is not temporary.
const EBADF: i32 = 9;
const PORT: u16 = 4747;
const OTHER: u16 = 4748;

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

async fn started(builder: DaemonBuilder<TestServer>) -> (Linked<Daemon<TestServer>>, DaemonEvents) {
    let daemon = builder.port(PORT).start_link().await.unwrap();
    let events = daemon.events();
    (daemon, events)
}

/// Events of listeners: the port, and the pause after a failure.
type ListenerEvents = Vec<(u16, Option<Duration>)>;

/// Collects the events of listeners while `during` runs.
async fn collect(events: &mut DaemonEvents, during: impl Future<Output = ()>) -> ListenerEvents {
    let mut collected = Vec::new();
    let listen = async {
        while let Some(event) = events.next().await {
            match event {
                DaemonEvent::ListenerFailed {
                    address, retry_in, ..
                } => collected.push((address.port().unwrap(), Some(retry_in))),
                DaemonEvent::ListenerRebound { address } => {
                    collected.push((address.port().unwrap(), None));
                }
                DaemonEvent::Lagged { .. } => panic!("too slow"),
                _ => {}
            }
        }
        smol::future::pending().await
    };
    let during = async {
        during.await;
        settled().await;
    };
    smol::future::or(listen, during).await;
    collected
}

/// Returns the events of listeners so far.
async fn collected_events(events: &mut DaemonEvents) -> ListenerEvents {
    collect(events, settled()).await
}

#[erps::test(simulated)]
async fn failed_listener_is_rebound_and_connections_stay_open() {
    let (builder, watch) = test_server::daemon();
    let (daemon, mut events) = started(builder).await;
    let network = Network::current().unwrap();
    let before = connected(local(PORT)).await;
    assert_served(&before).await;
    network.fail_accepts("localhost", PORT, EBADF, 1);
    // The failing listener resets the connection in its backlog; the client reconnects.
    let after = connected(local(PORT)).await;
    let served = async {
        while after.call(Call::Ping).await.is_err() {
            after.until(|it| matches!(it, Status::Connected(_))).await;
        }
    };
    time::timeout(secs(5), served).await.unwrap();
    assert_served(&before).await;
    assert!(daemon.task().is_alive());
    let collected = collected_events(&mut events).await;
    assert_eq!(collected, [(PORT, Some(ms(10))), (PORT, None)]);
    let lifecycle: Vec<_> = std::iter::from_fn(|| watch.lifecycle.try_recv().ok()).collect();
    let ended = lifecycle.iter().filter(|it| !matches!(it, Lifecycle::Init));
    assert_eq!(ended.count(), 0, "{lifecycle:?}");
}

/// Connects again and again until a condition holds.
async fn connect_repeatedly(until: impl Fn() -> bool) {
    let network = Network::current().unwrap();
    while !until() {
        drop(network.connect(local(PORT)).await);
        time::sleep(ms(20)).await;
    }
}

#[erps::test(simulated)]
async fn daemon_exits_with_the_listener_error_over_max_listener_rebinds() {
    for (failures, lives_on) in [(10, true), (11, false)] {
        let (builder, _watch) = test_server::daemon();
        let (daemon, mut events) = started(builder).await;
        let network = Network::current().unwrap();
        let client = connected(local(PORT)).await;
        assert_served(&client).await;
        network.fail_accepts("localhost", PORT, EBADF, failures);
        let start = time::now();
        let connect_repeatedly =
            connect_repeatedly(|| !daemon.task().is_alive() || time::now() - start > secs(30));
        let collected = collect(&mut events, connect_repeatedly).await;
        assert_eq!(
            daemon.task().is_alive(),
            lives_on,
            "after {failures} failures"
        );
        let pauses: Vec<_> = collected.iter().filter_map(|it| it.1).collect();
        let expected = [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000].map(ms);
        assert_eq!(pauses, expected);
        assert_eq!(collected.len(), 20, "as many restarts");
        if lives_on {
            assert_served(&client).await;
            daemon.shutdown().await;
        } else {
            let reason = daemon.exited().await;
            let ExitReason::Error(error) = &reason else {
                panic!("{reason}");
            };
            let code = io::Error::from_raw_os_error(EBADF).to_string();
            assert_eq!(error.to_string(), code);
        }
        drop(client);
        settled().await;
    }
}

#[erps::test(simulated)]
async fn listener_failures_older_than_the_period_are_not_counted() {
    let (builder, _watch) = test_server::daemon();
    let builder = builder.max_listener_rebinds(1, secs(10));
    let (daemon, mut events) = started(builder).await;
    let network = Network::current().unwrap();
    for _ in 0..5 {
        network.fail_accepts("localhost", PORT, EBADF, 1);
        drop(network.connect(local(PORT)).await);
        time::sleep(secs(11)).await;
    }
    assert!(daemon.task().is_alive());
    let collected = collected_events(&mut events).await;
    assert_eq!(collected.len(), 10, "{collected:?}");
    assert!(
        collected
            .iter()
            .filter_map(|it| it.1)
            .all(|it| it == ms(10))
    );
}

#[erps::test(simulated)]
async fn rebind_is_retried_until_the_port_is_free() {
    let (builder, _watch) = test_server::daemon();
    let (daemon, mut events) = started(builder).await;
    let network = Network::current().unwrap();
    network.fail_accepts("localhost", PORT, EBADF, 1);
    drop(network.connect(local(PORT)).await);
    let other = loop {
        match network.listen(local(PORT)) {
            Ok(other) => break other,
            Err(_) => time::sleep(ms(1)).await,
        }
    };
    time::sleep(ms(50)).await;
    drop(other);
    time::sleep(secs(1)).await;
    let collected = collected_events(&mut events).await;
    let failed = collected.iter().filter(|it| it.1.is_some()).count();
    assert_eq!((failed, collected.len()), (3, 4), "{collected:?}");
    assert_served(&connected(local(PORT)).await).await;
    drop(daemon);
}

#[erps::test(simulated)]
async fn failed_listener_does_not_block_other_listeners() {
    let (builder, _watch) = test_server::daemon();
    let (daemon, mut events) = started(builder.listen(local(OTHER))).await;
    let network = Network::current().unwrap();
    network.fail_accepts("localhost", PORT, EBADF, 5);
    for _ in 0..100 {
        drop(network.connect(local(PORT)).await);
        assert_served(&connected(local(OTHER)).await).await;
        time::sleep(ms(5)).await;
    }
    let collected = collected_events(&mut events).await;
    let ports: BTreeSet<_> = collected.iter().map(|it| it.0).collect();
    assert_eq!((ports, collected.len()), ([PORT].into(), 10));
    assert_served(&connected(local(PORT)).await).await;
    drop(daemon);
}

#[erps::test(simulated)]
async fn daemon_shuts_down_while_a_listener_waits_for_its_rebind() {
    let (builder, _watch) = test_server::daemon();
    let (daemon, mut events) = started(builder).await;
    let network = Network::current().unwrap();
    network.fail_accepts("localhost", PORT, EBADF, 1);
    drop(network.connect(local(PORT)).await);
    while !matches!(
        events.next().await,
        Some(DaemonEvent::ListenerFailed { .. })
    ) {}
    let handle = Daemon::clone(&daemon);
    daemon.shutdown().await;
    assert!(matches!(handle.exited().await, ExitReason::Shutdown));
    network.listen(local(PORT)).unwrap();
}
