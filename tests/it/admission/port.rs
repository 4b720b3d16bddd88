//! The port: who may listen where, and how many may come.

use erps::TestCa;

use super::*;
use crate::support::fixture;

#[test]
fn plaintext_beyond_loopback_is_refused_unless_asked_for() {
    run(async {
        let anywhere = Ipv4Addr::UNSPECIFIED;
        let start = lab::daemon().0.bind(anywhere).start().await;
        let error = start.unwrap_err();
        assert!(
            matches!(error, StartDaemonError::Plaintext(at) if at.ip() == anywhere),
            "{error}"
        );
        let (builder, _watch) = lab::daemon();
        let builder = builder.bind(anywhere).plaintext_anywhere();
        let daemon = builder.start_link().await.unwrap();
        let client = Client::<Lab>::builder(("127.0.0.1", daemon.port()));
        is_served(&client.connect().await.unwrap()).await;
        let (builder, _watch) = lab::daemon();
        let builder = builder.bind(anywhere).transport(TestCa::new().tls(&HOST));
        let daemon = builder.start_link().await.expect("TLS may go anywhere");
        assert_eq!(daemon.local_addr().ip(), anywhere);
    });
}

#[test]
fn a_port_that_is_taken_is_an_error_value() {
    run(async {
        let (daemon, client, _watch) = lab::pair().await;
        let taken = daemon.local_addr();
        let second = lab::daemon().0.port(taken.port()).start().await;
        let Err(StartDaemonError::Bind { address, source }) = second else {
            panic!("{second:?}");
        };
        assert_eq!(address, taken);
        assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
        is_served(&client).await;
    });
}

#[test]
fn an_address_that_is_not_this_machines_is_an_error_value() {
    run(async {
        let elsewhere = Ipv4Addr::new(192, 0, 2, 1);
        let builder = lab::daemon().0.transport(TestCa::new().tls(&HOST));
        let start = builder.bind(elsewhere).start().await;
        let Err(StartDaemonError::Bind { source, .. }) = start else {
            panic!("{start:?}");
        };
        assert_eq!(source.kind(), io::ErrorKind::AddrNotAvailable);
    });
}

/// An address and a port that nobody listens at.
fn free() -> SocketAddr {
    let free = TcpListener::bind((lab::alone(), 0)).unwrap();
    free.local_addr().unwrap()
}

#[test]
fn nothing_is_left_listening_if_the_start_is_dropped_before_the_port_is_bound() {
    run(async {
        let executor = Arc::new(smol::Executor::new());
        let (at, (builder, _watch)) = (free(), lab::daemon());
        let builder = builder.bind(at.ip()).port(at.port());
        let mut start = Box::pin(builder.executor(Arc::clone(&executor)).start());
        assert!(future::poll_once(&mut start).await.is_none());
        drop(start);
        while executor.try_tick() {}
        lab::freed(at).await;
    });
}

#[test]
fn nothing_is_left_listening_if_the_start_is_dropped_after_the_port_was_bound() {
    run(async {
        let executor = Arc::new(smol::Executor::new());
        let (at, (builder, _watch)) = (free(), lab::daemon());
        let builder = builder.bind(at.ip()).port(at.port());
        let mut start = Box::pin(builder.executor(Arc::clone(&executor)).start());
        assert!(future::poll_once(&mut start).await.is_none());
        while executor.try_tick() {}
        TcpListener::bind(at).expect_err("the daemon listens");
        drop(start);
        while executor.try_tick() {}
        lab::freed(at).await;
    });
}

/// Starts daemons at one port, one after the other, serves a client with each, and ends it in one way or
/// another.
async fn one_after_the_other(at: SocketAddr, count: usize) {
    for n in 0..count {
        let (builder, _watch) = lab::daemon();
        let daemon = builder.bind(at.ip()).port(at.port()).start_link().await;
        let daemon = daemon.unwrap_or_else(|error| panic!("{n}: {error}"));
        let client = Client::<Lab>::builder(at).connect().await;
        is_served(&client.unwrap_or_else(|error| panic!("{n}: {error}"))).await;
        match n % 4 {
            0 => drop(daemon.shutdown().await),
            1 => {
                daemon.suspend();
                drop(daemon.drain(Duration::from_millis(80)).await);
            }
            2 => {
                daemon.task().kill();
                daemon.exited().await;
            }
            _ => {
                let task = daemon.task().clone();
                drop(daemon);
                task.exited().await;
            }
        }
    }
}

/// In a simulated universe.
fn at_one_port(count: usize) {
    let universe = erps::Universe::simulated(1);
    universe.run(one_after_the_other(([127, 0, 0, 1], 4747).into(), count));
}

#[test]
fn five_hundred_daemons_one_after_the_other_have_the_same_port() {
    at_one_port(500);
}

/// As many as it takes to believe it: `cargo test --test it -- --ignored ten_thousand_daemons`.
#[test]
#[ignore = "it takes a minute or two"]
fn ten_thousand_daemons_one_after_the_other_have_the_same_port() {
    at_one_port(10_000);
}

#[test]
#[ignore = "a process that another test is starting holds its sockets for a moment"]
fn a_hundred_daemons_at_one_real_port() {
    run(one_after_the_other(free(), 100));
}

#[test]
fn a_hundred_daemons_one_after_the_other_have_the_same_real_port() {
    fixture::passes("admission::port::a_hundred_daemons_at_one_real_port", &[]);
}

#[erps::test(simulated)]
async fn at_the_limit_of_connections_newcomers_wait_until_one_leaves() {
    let (builder, _watch) = lab::daemon();
    let daemon = builder.max_connections(2).start_link().await.unwrap();
    let connect = || async { lab::client(&daemon).connect().await.unwrap() };
    let (first, second) = (connect().await, connect().await);
    is_served(&first).await;
    is_served(&second).await;
    // The network takes its connection, and the daemon does not.
    let third = connect().await;
    let mut waiting = Box::pin(is_served(&third));
    assert!(future::poll_once(&mut waiting).await.is_none());
    // Less than the time that its call has.
    time::sleep(ms(4000)).await;
    assert!(future::poll_once(&mut waiting).await.is_none());
    is_served(&first).await;
    let info = daemon.info();
    assert_eq!((info.accepted, info.connections), (2, 2));
    drop(second);
    at_once(waiting).await;
    is_served(&first).await;
    assert_eq!(daemon.info().accepted, 3);
}

#[test]
fn connections_are_listed_with_their_peers_calls_times_and_bytes() {
    erps::Universe::simulated(1).run(async {
        let (builder, _watch) = lab::daemon();
        let daemon = builder.start_link().await.unwrap();
        assert!(daemon.connections().is_empty());
        let client = lab::client(&daemon)
            .keepalive(None)
            .connect()
            .await
            .unwrap();
        is_served(&client).await;
        let first = daemon.connections();
        assert_eq!(first.len(), 1);
        assert_eq!((first[0].packets_received, first[0].packets_sent), (1, 1));
        assert!(first[0].bytes_received > 96 && first[0].bytes_sent > 96);
        assert!(first[0].peer.address.is_local());
        time::sleep(Duration::from_secs(10)).await;
        let mut held = Box::pin(client.call(Call::Hold));
        assert!(future::poll_once(&mut held).await.is_none());
        time::sleep(Duration::from_secs(7)).await;
        let [second] = &daemon.connections()[..] else {
            panic!("one client");
        };
        assert_eq!(second.calls_in_flight, 1);
        assert_eq!(second.idle, Duration::from_secs(7));
        assert_eq!(second.age, Duration::from_secs(17));
        assert!(second.bytes_received > first[0].bytes_received);
        assert_eq!(second.bytes_sent, first[0].bytes_sent);
    });
}
