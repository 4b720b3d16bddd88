//! Binding the port, releasing it, and connections over the limit.

use erps::TestCa;

use super::*;
use crate::support::subprocess;

#[test]
fn plaintext_beyond_loopback_requires_plaintext_anywhere() {
    run(async {
        let anywhere = Ipv4Addr::UNSPECIFIED;
        let start = test_server::daemon().0.bind(anywhere).start().await;
        let error = start.unwrap_err();
        assert!(
            matches!(error, StartDaemonError::Plaintext(at) if at.ip() == anywhere),
            "{error}"
        );
        let (builder, _watch) = test_server::daemon();
        let builder = builder.bind(anywhere).plaintext_anywhere();
        let daemon = builder.start_link().await.unwrap();
        let client = Client::<TestProtocol>::builder(("127.0.0.1", daemon.port()));
        assert_served(&client.connect().await.unwrap()).await;
        let (builder, _watch) = test_server::daemon();
        let builder = builder.bind(anywhere).transport(TestCa::new().tls(&HOST));
        let daemon = builder.start_link().await.expect("TLS may go anywhere");
        assert_eq!(daemon.local_addr().ip(), anywhere);
    });
}

#[test]
fn start_fails_with_bind_when_the_port_is_in_use() {
    run(async {
        let (daemon, client, _watch) = test_server::pair().await;
        let taken = daemon.local_addr();
        let second = test_server::daemon().0.port(taken.port()).start().await;
        let Err(StartDaemonError::Bind { address, source }) = second else {
            panic!("{second:?}");
        };
        assert_eq!(address, taken);
        assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
        assert_served(&client).await;
    });
}

#[test]
fn start_fails_with_bind_for_an_address_of_another_machine() {
    run(async {
        let elsewhere = Ipv4Addr::new(192, 0, 2, 1);
        let builder = test_server::daemon().0.transport(TestCa::new().tls(&HOST));
        let start = builder.bind(elsewhere).start().await;
        let Err(StartDaemonError::Bind { source, .. }) = start else {
            panic!("{start:?}");
        };
        assert_eq!(source.kind(), io::ErrorKind::AddrNotAvailable);
    });
}

/// Returns an address with a free port.
fn free() -> SocketAddr {
    let free = TcpListener::bind((test_server::unique_loopback(), 0)).unwrap();
    free.local_addr().unwrap()
}

#[test]
fn start_dropped_before_bind_leaves_no_listener() {
    run(async {
        let executor = Arc::new(smol::Executor::new());
        let (at, (builder, _watch)) = (free(), test_server::daemon());
        let builder = builder.bind(at.ip()).port(at.port());
        let mut start = Box::pin(builder.executor(Arc::clone(&executor)).start());
        assert!(future::poll_once(&mut start).await.is_none());
        drop(start);
        while executor.try_tick() {}
        test_server::until_free(at).await;
    });
}

#[test]
fn start_dropped_after_bind_leaves_no_listener() {
    run(async {
        let executor = Arc::new(smol::Executor::new());
        let (at, (builder, _watch)) = (free(), test_server::daemon());
        let builder = builder.bind(at.ip()).port(at.port());
        let mut start = Box::pin(builder.executor(Arc::clone(&executor)).start());
        assert!(future::poll_once(&mut start).await.is_none());
        while executor.try_tick() {}
        TcpListener::bind(at).expect_err("the daemon listens");
        drop(start);
        while executor.try_tick() {}
        test_server::until_free(at).await;
    });
}

/// Starts daemons on one port one after the other, serves a client with each, and stops each in a different
/// way.
async fn one_after_the_other(at: SocketAddr, count: usize) {
    for n in 0..count {
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.bind(at.ip()).port(at.port()).start_link().await;
        let daemon = daemon.unwrap_or_else(|error| panic!("{n}: {error}"));
        let client = Client::<TestProtocol>::builder(at).connect().await;
        assert_served(&client.unwrap_or_else(|error| panic!("{n}: {error}"))).await;
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

/// As [`one_after_the_other`], in a simulated universe.
fn at_one_port(count: usize) {
    let universe = erps::Universe::simulated(1);
    universe.run(one_after_the_other(([127, 0, 0, 1], 4747).into(), count));
}

#[test]
fn five_hundred_daemons_reuse_one_port() {
    at_one_port(500);
}

/// The long form: `cargo test --test it -- --ignored ten_thousand_daemons`.
#[test]
#[ignore = "it takes a minute or two"]
fn ten_thousand_daemons_reuse_one_port() {
    at_one_port(10_000);
}

#[test]
#[ignore = "a process that another test is starting holds its sockets for a moment"]
fn hundred_daemons_at_one_real_port() {
    run(one_after_the_other(free(), 100));
}

#[test]
fn hundred_daemons_reuse_one_real_port() {
    subprocess::passes("admission::port::hundred_daemons_at_one_real_port", &[]);
}

#[erps::test(simulated)]
async fn connection_over_the_limit_waits_in_the_backlog_until_one_closes() {
    let (builder, _watch) = test_server::daemon();
    let daemon = builder.max_connections(2).start_link().await.unwrap();
    let connect = || async { test_server::client(&daemon).connect().await.unwrap() };
    let (first, second) = (connect().await, connect().await);
    assert_served(&first).await;
    assert_served(&second).await;
    // The connection is established by the network and not accepted by the daemon.
    let third = connect().await;
    let mut waiting = Box::pin(assert_served(&third));
    assert!(future::poll_once(&mut waiting).await.is_none());
    // Less than the timeout of its call.
    time::sleep(ms(4000)).await;
    assert!(future::poll_once(&mut waiting).await.is_none());
    assert_served(&first).await;
    let info = daemon.info();
    assert_eq!((info.accepted, info.connections), (2, 2));
    drop(second);
    at_once(waiting).await;
    assert_served(&first).await;
    assert_eq!(daemon.info().accepted, 3);
}

#[test]
fn connections_lists_peers_calls_times_and_bytes() {
    erps::Universe::simulated(1).run(async {
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.start_link().await.unwrap();
        assert!(daemon.connections().is_empty());
        let client = test_server::client(&daemon)
            .keepalive(None)
            .connect()
            .await
            .unwrap();
        assert_served(&client).await;
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
