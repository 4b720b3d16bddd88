//! Several addresses, several accept loops, IPv4 and IPv6.

use std::{collections::BTreeMap, net::IpAddr};

use futures::future::select_all;
use smol::future;

use super::*;
use crate::support::test_server::Reply;

/// Returns whether this machine has IPv6.
fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[test]
fn daemon_listens_at_all_its_addresses() {
    run(async {
        let (builder, _watch) = test_server::daemon();
        let [first, second] = [
            test_server::unique_loopback(),
            test_server::unique_loopback(),
        ];
        let builder = builder.listen((first, 0)).listen((second, 0));
        let daemon = builder.start_link().await.unwrap();
        let addresses = daemon.local_addrs();
        assert_eq!(addresses.len(), 2);
        for (address, ip) in addresses.iter().zip([first, second]) {
            assert_eq!(address.ip(), Some(ip.into()));
            assert_served(&connected(address.inet().unwrap()).await).await;
        }
        assert_eq!(daemon.local_addr(), addresses[0].inet().unwrap());
        assert_eq!(Some(daemon.port()), addresses[0].port());
        daemon.shutdown().await;
        for address in addresses {
            test_server::until_free(address.inet().unwrap()).await;
        }
    });
}

#[erps::test(simulated)]
async fn address_of_bind_and_port_comes_first_and_is_the_default() {
    let (builder, _watch) = test_server::daemon();
    let both = builder.listen((Ipv4Addr::LOCALHOST, 2000)).port(1000);
    let both = both.start_link().await.unwrap();
    let ports = both
        .local_addrs()
        .iter()
        .map(Endpoint::port)
        .collect::<Vec<_>>();
    assert_eq!(ports, [Some(1000), Some(2000)]);
    let (builder, _watch) = test_server::daemon();
    let one = builder.listen((Ipv4Addr::LOCALHOST, 3000));
    let one = one.start_link().await.unwrap();
    assert_eq!((one.port(), one.local_addrs().len()), (3000, 1));
    let (builder, _watch) = test_server::daemon();
    let any = builder.start_link().await.unwrap();
    assert!(any.local_addr().ip().is_loopback() && any.local_addrs().len() == 1);
}

#[erps::test(simulated)]
async fn start_binds_no_address_if_one_fails() {
    let network = Network::current().unwrap();
    let taken = network.listen((Ipv4Addr::LOCALHOST, 2000).into()).unwrap();
    let (builder, _watch) = test_server::daemon();
    let builder = builder.port(1000).listen(taken.local_addr());
    let builder = builder.listen((Ipv4Addr::LOCALHOST, 3000));
    let error = builder.start().await.unwrap_err();
    let StartDaemonError::Bind { address, source } = error else {
        panic!("{error}");
    };
    assert_eq!(address, taken.local_addr());
    assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
    settled().await;
    for port in [1000, 3000] {
        network.listen((Ipv4Addr::LOCALHOST, port).into()).unwrap();
    }
}

#[test]
fn plaintext_is_rejected_if_any_address_is_beyond_loopback() {
    run(async {
        let builder = test_server::daemon()
            .0
            .port(0)
            .listen((Ipv4Addr::UNSPECIFIED, 0));
        let error = builder.start().await.unwrap_err();
        assert!(
            matches!(error, StartDaemonError::Plaintext(at) if at.ip().is_unspecified()),
            "{error}"
        );
    });
}

#[erps::test(simulated)]
async fn suspend_resume_and_drain_apply_to_all_addresses() {
    let (builder, _watch) = test_server::daemon();
    let builder = builder.port(1000).listen((Ipv4Addr::LOCALHOST, 2000));
    let daemon = builder.start_link().await.unwrap();
    let dial = |port| connected(("localhost", port));
    daemon.suspend();
    let waiting = [dial(1000).await, dial(2000).await];
    for client in &waiting {
        let call = client.call_within(Call::Ping, secs(1)).await;
        call.expect_err("no connection was accepted");
    }
    assert_eq!(daemon.info().accepted, 0);
    daemon.resume();
    for client in &waiting {
        assert_served(client).await;
    }
    assert!(daemon.drain(secs(10)).await.is_clean());
    let network = Network::current().unwrap();
    for port in [1000, 2000] {
        network.listen((Ipv4Addr::LOCALHOST, port).into()).unwrap();
    }
}

/// The limit does not depend on the number of listeners.
#[erps::test(simulated, seeds = 20)]
async fn connection_limit_is_shared_by_all_addresses() {
    let (builder, _watch) = test_server::daemon();
    let builder = builder.max_connections(2);
    let builder = (1..=4).fold(builder, |it, port| it.listen((Ipv4Addr::LOCALHOST, port)));
    let daemon = builder.start_link().await.unwrap();
    let clients =
        [1, 2, 3, 4].map(|port| Client::<TestProtocol>::builder(("localhost", port)).start());
    time::sleep(secs(60)).await;
    let info = daemon.info();
    assert_eq!((info.connections, info.servers), (2, 2));
    let mut clients = Vec::from(clients);
    while !clients.is_empty() {
        // A waiting client is accepted when another disconnects.
        let calls = clients
            .iter()
            .map(|it| Box::pin(it.call_within(Call::Ping, secs(1))));
        let (served, number, _) = select_all(calls).await;
        assert_eq!(served.unwrap(), Reply::Pong);
        drop(clients.swap_remove(number));
        settled().await;
    }
    assert_eq!(daemon.info().accepted, 4);
}

#[test]
fn dual_stack_reports_ipv4_peers_with_ipv4_addresses() {
    if !has_ipv6() {
        return;
    }
    run(async {
        let (builder, _watch, peers) = recording_daemon();
        let hooked = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&hooked);
        let builder = builder.admit_address(move |address: &Endpoint| {
            list.lock().unwrap().push(address.clone());
            Ok::<_, String>(())
        });
        // Both peers have the same address prefix, so the second would be over the limit.
        let builder = builder.max_connections_per_address(1).address_prefix(8, 0);
        let builder = builder.bind(Ipv6Addr::UNSPECIFIED).plaintext_anywhere();
        let daemon = builder.start_link().await.unwrap();
        let mut events = daemon.events();
        let four = connected((Ipv4Addr::LOCALHOST.to_string(), daemon.port())).await;
        assert_served(&four).await;
        let six = connected((Ipv6Addr::LOCALHOST.to_string(), daemon.port())).await;
        assert_served(&six).await;
        let ips = peers.take().into_iter().map(|it| it.address.ip());
        let expected: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        assert_eq!(ips.collect::<Vec<_>>(), expected.map(Some));
        let hooked = hooked.lock().unwrap().clone();
        assert_eq!(
            hooked.iter().map(Endpoint::ip).collect::<Vec<_>>(),
            expected.map(Some)
        );
        let Some(DaemonEvent::Accepted { address, .. }) = events.next().await else {
            panic!("the first event");
        };
        assert_eq!(address.ip(), Some(expected[0]));
    });
}

#[test]
fn without_dual_stack_ipv4_and_ipv6_listeners_share_a_port() {
    if !has_ipv6() {
        return;
    }
    run(async {
        let (builder, _watch) = test_server::daemon();
        let builder = builder.tcp(TcpOptions::new().dual_stack(false));
        let six = builder
            .clone()
            .bind(Ipv6Addr::UNSPECIFIED)
            .plaintext_anywhere();
        let six = six.start_link().await.unwrap();
        let at: SocketAddr = (Ipv4Addr::LOCALHOST, six.port()).into();
        Client::<TestProtocol>::builder(at)
            .connect()
            .await
            .unwrap_err();
        let four = builder.bind(Ipv4Addr::UNSPECIFIED).port(six.port());
        let four = four.plaintext_anywhere().start_link().await.unwrap();
        assert_served(&connected(at).await).await;
        assert_eq!((four.info().accepted, six.info().accepted), (1, 0));
    });
}

#[cfg(target_os = "linux")]
#[test]
fn accept_loops_share_one_port() {
    run(async {
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.bind(test_server::unique_loopback()).accept_loops(4);
        let daemon = daemon.start_link().await.unwrap();
        let at = daemon.local_addr();
        assert_eq!(daemon.local_addrs(), [Endpoint::from(at)]);
        let clients = future::zip(
            futures::future::join_all((0..64).map(|_| connected(at))),
            future::ready(()),
        );
        let (clients, ()) = clients.await;
        for client in &clients {
            assert_served(client).await;
        }
        let listeners = listeners_at(at);
        assert_eq!(listeners.len(), 4, "{listeners:?}");
        assert_eq!(daemon.info().accepted, 64);
        daemon.shutdown().await;
        test_server::until_free(at).await;
    });
}

/// Sockets at an IPv4-mapped address are IPv6 sockets.
#[cfg(target_os = "linux")]
#[test]
fn accept_loops_at_a_mapped_address_are_all_ipv6() {
    if !has_ipv6() {
        return;
    }
    run(async {
        let ip = test_server::unique_loopback();
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.bind(ip.to_ipv6_mapped()).accept_loops(4);
        let daemon = daemon.start_link().await.unwrap();
        let at: SocketAddr = (ip, daemon.port()).into();
        assert_eq!(daemon.local_addrs(), [Endpoint::from(at)]);
        assert_eq!(listeners_at(at).len(), 0);
        assert_served(&connected(at).await).await;
    });
}

/// Returns the IPv4 listeners at an address by inode.
#[cfg(target_os = "linux")]
fn listeners_at(address: SocketAddr) -> BTreeMap<String, String> {
    let SocketAddr::V4(four) = address else {
        panic!("IPv4");
    };
    let ip = u32::from_le_bytes(four.ip().octets());
    let local = format!("{ip:08X}:{:04X}", four.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1] == local && row[3] == "0A")
        .map(|row| (row[9].to_owned(), row[1].to_owned()))
        .collect()
}

#[test]
fn port_is_shared_only_with_reuse_port() {
    run(async {
        let (builder, _watch) = test_server::daemon();
        let builder = builder.bind(test_server::unique_loopback());
        let first = builder.clone().start_link().await.unwrap();
        let builder = builder.port(first.port());
        let second = builder.clone().accept_loops(2).start().await;
        assert!(matches!(second, Err(StartDaemonError::Bind { .. })));
        if cfg!(target_os = "linux") {
            let at = first.local_addr();
            first.shutdown().await;
            test_server::until_free(at).await;
            let builder = builder.tcp(TcpOptions::new().reuse_port(true));
            let _both = [
                builder.clone().start_link().await.unwrap(),
                builder.start_link().await.unwrap(),
            ];
        }
    });
}
