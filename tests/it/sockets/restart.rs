//! Listeners that fail are made anew, and nobody who is connected notices.

use std::collections::BTreeSet;

use super::*;

/// What no pause helps against.
const EBADF: i32 = 9;
const PORT: u16 = 4747;
const OTHER: u16 = 4748;

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

async fn started(builder: DaemonBuilder<LabServer>) -> (Linked<Daemon<LabServer>>, DaemonEvents) {
    let daemon = builder.port(PORT).start_link().await.unwrap();
    let events = daemon.events();
    (daemon, events)
}

/// What happened to listeners: where, and the pause of those that failed.
type Heard = Vec<(u16, Option<Duration>)>;

/// Listens to the events while something else goes on.
async fn hear(events: &mut DaemonEvents, during: impl Future<Output = ()>) -> Heard {
    let mut heard = Vec::new();
    let listen = async {
        while let Some(event) = events.next().await {
            match event {
                DaemonEvent::ListenerFailed {
                    address, retry_in, ..
                } => heard.push((address.port().unwrap(), Some(retry_in))),
                DaemonEvent::ListenerRebound { address } => {
                    heard.push((address.port().unwrap(), None));
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
    heard
}

/// The events of listeners that there are by now.
async fn of_listeners(events: &mut DaemonEvents) -> Heard {
    hear(events, settled()).await
}

#[erps::test(simulated)]
async fn a_listener_that_fails_is_made_anew_and_live_connections_go_on() {
    let (builder, watch) = lab::daemon();
    let (daemon, mut events) = started(builder).await;
    let network = Network::current().unwrap();
    let before = connected(local(PORT)).await;
    is_served(&before).await;
    network.fail_accepts("localhost", PORT, EBADF, 1);
    // The failing listener takes the one with it that waits there; it comes again.
    let after = connected(local(PORT)).await;
    let served = async {
        while after.call(Call::Ping).await.is_err() {
            after.until(|it| matches!(it, Status::Connected(_))).await;
        }
    };
    time::timeout(secs(5), served).await.unwrap();
    is_served(&before).await;
    assert!(daemon.task().is_alive());
    let heard = of_listeners(&mut events).await;
    assert_eq!(heard, [(PORT, Some(ms(10))), (PORT, None)]);
    let lives: Vec<_> = std::iter::from_fn(|| watch.lives.try_recv().ok()).collect();
    let ended = lives.iter().filter(|it| !matches!(it, Life::Init));
    assert_eq!(ended.count(), 0, "{lives:?}");
}

/// Somebody who knocks, again and again, until nobody is there.
async fn knock(until: impl Fn() -> bool) {
    let network = Network::current().unwrap();
    while !until() {
        drop(network.connect(local(PORT)).await);
        time::sleep(ms(5)).await;
    }
}

#[erps::test(simulated)]
async fn a_listener_that_fails_too_often_ends_the_daemon_with_its_error() {
    for (failures, lives_on) in [(10, true), (11, false)] {
        let (builder, _watch) = lab::daemon();
        let (daemon, mut events) = started(builder).await;
        let network = Network::current().unwrap();
        let client = connected(local(PORT)).await;
        is_served(&client).await;
        network.fail_accepts("localhost", PORT, EBADF, failures);
        let start = time::now();
        let knock = knock(|| !daemon.task().is_alive() || time::now() - start > secs(30));
        let heard = hear(&mut events, knock).await;
        assert_eq!(
            daemon.task().is_alive(),
            lives_on,
            "after {failures} failures"
        );
        let pauses: Vec<_> = heard.iter().filter_map(|it| it.1).collect();
        let expected = [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000].map(ms);
        assert_eq!(pauses, expected);
        assert_eq!(heard.len(), 20, "as many restarts");
        if lives_on {
            is_served(&client).await;
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
async fn failures_that_are_far_apart_are_not_too_many() {
    let (builder, _watch) = lab::daemon();
    let builder = builder.max_listener_rebinds(1, secs(10));
    let (daemon, mut events) = started(builder).await;
    let network = Network::current().unwrap();
    for _ in 0..5 {
        network.fail_accepts("localhost", PORT, EBADF, 1);
        drop(network.connect(local(PORT)).await);
        time::sleep(secs(11)).await;
    }
    assert!(daemon.task().is_alive());
    let heard = of_listeners(&mut events).await;
    assert_eq!(heard.len(), 10, "{heard:?}");
    assert!(heard.iter().filter_map(|it| it.1).all(|it| it == ms(10)));
}

#[erps::test(simulated)]
async fn a_listener_whose_port_was_taken_meanwhile_waits_until_it_is_free() {
    let (builder, _watch) = lab::daemon();
    let (daemon, mut events) = started(builder).await;
    let network = Network::current().unwrap();
    network.fail_accepts("localhost", PORT, EBADF, 1);
    drop(network.connect(local(PORT)).await);
    let usurper = loop {
        match network.listen(local(PORT)) {
            Ok(usurper) => break usurper,
            Err(_) => time::sleep(ms(1)).await,
        }
    };
    time::sleep(ms(50)).await;
    drop(usurper);
    time::sleep(secs(1)).await;
    let heard = of_listeners(&mut events).await;
    let failed = heard.iter().filter(|it| it.1.is_some()).count();
    assert_eq!((failed, heard.len()), (3, 4), "{heard:?}");
    is_served(&connected(local(PORT)).await).await;
    drop(daemon);
}

#[erps::test(simulated)]
async fn a_listener_that_fails_does_not_hold_up_the_others() {
    let (builder, _watch) = lab::daemon();
    let (daemon, mut events) = started(builder.listen(local(OTHER))).await;
    let network = Network::current().unwrap();
    network.fail_accepts("localhost", PORT, EBADF, 5);
    for _ in 0..100 {
        drop(network.connect(local(PORT)).await);
        is_served(&connected(local(OTHER)).await).await;
        time::sleep(ms(5)).await;
    }
    let heard = of_listeners(&mut events).await;
    let ports: BTreeSet<_> = heard.iter().map(|it| it.0).collect();
    assert_eq!((ports, heard.len()), ([PORT].into(), 10));
    is_served(&connected(local(PORT)).await).await;
    drop(daemon);
}

#[erps::test(simulated)]
async fn a_daemon_can_end_while_a_listener_waits_to_be_made_anew() {
    let (builder, _watch) = lab::daemon();
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
