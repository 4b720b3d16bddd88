//! The simulated network: a universe's own ports, hosts, lines and faults.

mod faults;
mod library;
mod line;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use erps::{
    Network, StartDaemonError, Universe,
    network::{Line, Listener, Stream},
    time,
};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::lab::{self, is_served};

const PORT: u16 = 4747;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

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

/// How long something takes on the universe's clock.
async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let start = time::now();
    let output = future.await;
    (output, time::now() - start)
}

/// Two ends of a connection of this host.
async fn ends(network: &Network) -> (Stream, Stream, Listener) {
    let listener = network.listen(local(0)).unwrap();
    let dialled = network.connect(listener.local_addr()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    (dialled, accepted, listener)
}

fn kind<T>(outcome: io::Result<T>) -> Option<io::ErrorKind> {
    outcome.err().map(|error| error.kind())
}

#[test]
fn parallel_tests_may_all_bind_the_same_port() {
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                simulated(seed, |_| async {
                    let (builder, _watch) = lab::daemon();
                    let daemon = builder.port(PORT).start_link().await.unwrap();
                    assert_eq!(daemon.port(), PORT);
                    let client = lab::client(&daemon).connect().await.unwrap();
                    is_served(&client).await;
                });
            });
        }
    });
}
