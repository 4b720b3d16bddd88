//! The simulated network: a universe's own ports, hosts, lines and faults.

mod chaos;
mod faults;
mod herd;
mod library;
mod line;
mod timeouts;
mod tls;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use erps::{
    Network, Universe,
    network::{EventKind, Link, Listener, Stream},
    time,
};
use smol::{
    future,
    io::{AsyncReadExt as _, AsyncWriteExt as _},
};

use crate::support::{
    test_server::{self, assert_served},
    time::{ms, secs, timed},
};

const PORT: u16 = 4747;

/// An address of the host that asks.
fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Runs a test in a simulated universe, with its network.
fn simulated<F: Future>(seed: u64, test: impl FnOnce(Network) -> F) -> F::Output {
    Universe::simulated(seed).run(async { test(here()).await })
}

fn here() -> Network {
    Network::current().expect("the universe is simulated")
}

/// Two ends of a connection of this host.
async fn ends(network: &Network) -> (Stream, Stream, Listener) {
    let listener = network.listen(local(0)).unwrap();
    let dialled = network.connect(listener.local_addr()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    (dialled, accepted, listener)
}

async fn read(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut bytes = [0; 1024];
    let count = stream.read(&mut bytes).await?;
    Ok(bytes[..count].to_vec())
}

fn kind<T>(outcome: io::Result<T>) -> Option<io::ErrorKind> {
    outcome.err().map(|error| error.kind())
}

#[test]
fn only_a_simulated_universe_has_a_network() {
    assert_eq!(Network::current(), None);
    assert_eq!(Network::of(&Universe::new()), None);
    let universe = Universe::simulated(1);
    let network = Network::of(&universe);
    assert!(network.is_some());
    universe.enter(|| assert_eq!(Network::current(), network));
    assert_ne!(Network::of(&Universe::simulated(1)), network);
}

#[test]
fn parallel_tests_may_all_bind_the_same_port() {
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                simulated(seed, |_| async {
                    let (builder, _watch) = test_server::daemon();
                    let daemon = builder.port(PORT).start_link().await.unwrap();
                    assert_eq!(daemon.port(), PORT);
                    let client = test_server::client(&daemon).connect().await.unwrap();
                    assert_served(&client).await;
                });
            });
        }
    });
}

#[test]
fn a_port_is_taken_until_its_listener_is_dropped() {
    simulated(1, |network| async move {
        let listener = network.listen(local(PORT)).unwrap();
        let taken = Some(io::ErrorKind::AddrInUse);
        assert_eq!(kind(network.listen(local(PORT))), taken);
        let any = (Ipv4Addr::UNSPECIFIED, PORT).into();
        assert_eq!(kind(network.listen(any)), taken);
        let six = (Ipv6Addr::LOCALHOST, PORT).into();
        network.listen(six).unwrap();
        let elsewhere = network.host("alpha");
        elsewhere.enter(|| network.listen(local(PORT))).unwrap();
        drop(listener);
        network.listen(any).unwrap();
    });
}

#[test]
fn port_zero_is_a_free_port_and_the_same_one_every_time() {
    let ports = |_| {
        simulated(1, |network| async move {
            let all = [(); 3].map(|()| network.listen(local(0)).unwrap());
            all.map(|it| it.local_addr().port())
        })
    };
    let [first, again] = [0, 1].map(ports);
    assert_eq!(first, again);
    assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2]);
}

#[test]
fn a_host_has_addresses_of_its_own_and_a_loopback_of_its_own() {
    simulated(1, |network| async move {
        let (alpha, beta) = (network.host("alpha"), network.host("beta"));
        assert_eq!(alpha.ip(), Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(network.host("beta").ip(), Ipv4Addr::new(10, 0, 0, 3));
        let foreign = alpha.enter(|| network.listen(beta.address(PORT)));
        assert_eq!(kind(foreign), Some(io::ErrorKind::AddrNotAvailable));

        let hidden = alpha.enter(|| network.listen(local(PORT))).unwrap();
        let refused = Some(io::ErrorKind::ConnectionRefused);
        let from_beta = |address| beta.scope(network.connect(address));
        assert_eq!(kind(from_beta(alpha.address(PORT)).await), refused);
        assert_eq!(kind(from_beta(local(PORT)).await), refused);
        alpha.scope(network.connect(local(PORT))).await.unwrap();
        drop(hidden);

        let everywhere = (Ipv6Addr::UNSPECIFIED, PORT).into();
        let open = alpha.enter(|| network.listen(everywhere)).unwrap();
        from_beta(alpha.address(PORT)).await.unwrap();
        let (_, peer) = open.accept().await.unwrap();
        assert_eq!(peer.ip(), beta.ip());
        let six = "[fd00::2]:4747".parse().unwrap();
        from_beta(six).await.unwrap();
        let (stream, peer) = open.accept().await.unwrap();
        assert_eq!(peer.ip().to_string(), "fd00::3");
        assert_eq!(stream.local_addr(), six);

        let nobody = from_beta("10.9.9.9:1".parse().unwrap()).await;
        assert_eq!(kind(nobody), Some(io::ErrorKind::HostUnreachable));
    });
}

#[test]
#[should_panic(expected = "the host \"alpha\" is in another universe")]
fn nobody_enters_the_host_of_another_universe() {
    let alpha = Network::of(&Universe::simulated(1)).unwrap().host("alpha");
    Universe::simulated(1).enter(|| alpha.enter(|| ()));
}

#[test]
#[should_panic(expected = "the host \"alpha\" is in a universe, and the caller is in none")]
fn nobody_enters_a_host_from_no_universe() {
    let alpha = Network::of(&Universe::simulated(1)).unwrap().host("alpha");
    alpha.enter(|| ());
}

#[test]
#[should_panic(expected = "the host \"alpha\" is in a universe, and the caller is in none")]
fn nobody_takes_a_future_to_a_host_from_no_universe() {
    let alpha = Network::of(&Universe::simulated(1)).unwrap().host("alpha");
    drop(alpha.scope(async {}));
}

#[test]
fn a_closed_end_still_hears_the_other() {
    simulated(1, |network| async move {
        let (mut near, mut far, _listener) = ends(&network).await;
        near.write_all(b"that is all").await.unwrap();
        near.close().await.unwrap();
        assert_eq!(
            kind(near.write(b"more").await),
            Some(io::ErrorKind::BrokenPipe)
        );
        assert_eq!(read(&mut far).await.unwrap(), b"that is all");
        assert_eq!(read(&mut far).await.unwrap(), b"");
        far.write_all(b"well then").await.unwrap();
        drop(far);
        assert_eq!(read(&mut near).await.unwrap(), b"well then");
        assert_eq!(read(&mut near).await.unwrap(), b"");
    });
}

#[test]
fn who_writes_to_an_end_that_is_gone_is_told_a_round_trip_later() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)));
        let (near, mut far, _listener) = ends(&network).await;
        drop(near);
        assert_eq!(read(&mut far).await.unwrap(), b"");
        far.write_all(b"are you there?").await.unwrap();
        far.write_all(b"still there?").await.unwrap();
        time::sleep(ms(20)).await;
        let reset = Some(io::ErrorKind::ConnectionReset);
        assert_eq!(kind(far.write(b"no?").await), reset);
        assert_eq!(kind(read(&mut far).await), reset);
    });
}

#[test]
fn who_leaves_without_reading_resets_the_connection() {
    simulated(1, |network| async move {
        let (mut near, mut far, _listener) = ends(&network).await;
        near.write_all(b"read me").await.unwrap();
        far.write_all(b"lost").await.unwrap();
        drop(far);
        let reset = Some(io::ErrorKind::ConnectionReset);
        assert_eq!(kind(read(&mut near).await), reset);
        let events = network.events();
        let last = &events.last().unwrap().kind;
        assert!(matches!(last, EventKind::Reset(..)), "{last}");
    });
}

#[test]
fn bytes_that_were_sent_are_read_before_the_end() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)).bandwidth(1000));
        let (mut near, mut far, _listener) = ends(&network).await;
        near.write_all(&[7; 500]).await.unwrap();
        drop(near);
        let mut all = Vec::new();
        let (count, took) = timed(far.read_to_end(&mut all)).await;
        assert_eq!(count.unwrap(), 500);
        assert_eq!(took, ms(510));
    });
}

#[test]
fn nobody_waits_for_a_connection_that_nobody_dials_any_more() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(10)));
        let listener = network.listen_with(local(PORT), 1).unwrap();
        let hasty = time::timeout(ms(15), network.connect(local(PORT)));
        assert!(hasty.await.is_err());
        // Its place in the backlog is free again.
        let patient = network.connect(local(PORT)).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, patient.local_addr());
        assert_eq!(network.connections().len(), 1);
    });
}

#[test]
fn what_is_left_of_a_connection_goes_with_its_last_end() {
    simulated(1, |network| async move {
        let (near, far, listener) = ends(&network).await;
        assert_eq!(network.connections().len(), 1);
        drop(near);
        assert_eq!(network.connections().len(), 1);
        drop(far);
        assert_eq!(network.connections().len(), 0);
        // Also if it was never accepted.
        let near = network.connect(listener.local_addr()).await.unwrap();
        drop(listener);
        drop(near);
        assert_eq!(network.connections().len(), 0);
    });
}

#[test]
fn the_port_of_a_connection_is_free_again_when_it_is_gone() {
    simulated(1, |network| async move {
        let listener = network.listen(local(PORT)).unwrap();
        for _ in 0..20_000 {
            drop(network.connect(local(PORT)).await.unwrap());
            listener.accept().await.unwrap();
        }
    });
}

#[test]
fn both_halves_may_be_used_at_once() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().latency(ms(1)).pieces(7));
        let (near, far, _listener) = ends(&network).await;
        let talk = |stream| async move {
            let (mut reader, mut writer) = smol::io::split(stream);
            let send = async {
                writer.write_all(&[1; 5000]).await.unwrap();
                writer.close().await.unwrap();
            };
            let mut all = Vec::new();
            let receive = async { reader.read_to_end(&mut all).await.unwrap() };
            future::zip(send, receive).await.1
        };
        assert_eq!(future::zip(talk(near), talk(far)).await, (5000, 5000));
    });
}
