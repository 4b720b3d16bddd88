//! Clients and daemons on the simulated network.

mod chaos;
mod herd;
mod library;
mod timeouts;
mod tls;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use erps::{
    Network, Universe,
    network::{EventKind, Link, Stream},
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

async fn read(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut bytes = [0; 1024];
    let count = stream.read(&mut bytes).await?;
    Ok(bytes[..count].to_vec())
}

#[test]
fn parallel_tests_can_listen_on_the_same_port() {
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
