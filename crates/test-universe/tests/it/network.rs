//! The simulated network: ports, hosts, links and faults.

mod faults;
mod link;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use smol::{
    future,
    io::{AsyncReadExt as _, AsyncWriteExt as _},
};
use test_universe::{
    Network, Universe,
    network::{EventKind, Link, Listener, Stream},
    time,
};

use crate::support::{ms, secs, timed};

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
fn network_exists_in_simulated_universes_only() {
    assert_eq!(Network::current(), None);
    assert_eq!(Network::of(&Universe::new()), None);
    let universe = Universe::simulated(1);
    let network = Network::of(&universe);
    assert!(network.is_some());
    universe.enter(|| assert_eq!(Network::current(), network));
    assert_ne!(Network::of(&Universe::simulated(1)), network);
}

#[test]
fn listen_fails_with_addr_in_use_until_the_listener_is_dropped() {
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
fn port_zero_selects_the_same_free_port_every_time() {
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
fn host_has_its_own_addresses_and_loopback() {
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
fn entering_a_host_of_another_universe_panics() {
    let alpha = Network::of(&Universe::simulated(1)).unwrap().host("alpha");
    Universe::simulated(1).enter(|| alpha.enter(|| ()));
}

#[test]
#[should_panic(expected = "the host \"alpha\" is in a universe, and the caller is in none")]
fn entering_a_host_outside_of_universes_panics() {
    let alpha = Network::of(&Universe::simulated(1)).unwrap().host("alpha");
    alpha.enter(|| ());
}

#[test]
#[should_panic(expected = "the host \"alpha\" is in a universe, and the caller is in none")]
fn scoping_a_future_to_a_host_outside_of_universes_panics() {
    let alpha = Network::of(&Universe::simulated(1)).unwrap().host("alpha");
    drop(alpha.scope(async {}));
}

#[test]
fn closed_sending_half_can_still_read() {
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
fn write_to_a_dropped_end_fails_a_round_trip_later() {
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
fn dropping_an_end_with_unread_data_resets_the_connection() {
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
fn sent_bytes_are_read_before_the_end_of_the_stream() {
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
fn cancelled_connect_releases_its_backlog_slot() {
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
fn connection_is_removed_with_its_last_end() {
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
fn port_of_a_closed_connection_can_be_used_again() {
    simulated(1, |network| async move {
        let listener = network.listen(local(PORT)).unwrap();
        for _ in 0..20_000 {
            drop(network.connect(local(PORT)).await.unwrap());
            listener.accept().await.unwrap();
        }
    });
}

#[test]
fn stream_can_be_read_and_written_concurrently() {
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
