//! Listeners: addresses, handed-in sockets, the PROXY protocol, Unix sockets, and rebinding.

mod addresses;
mod handed_in;
mod proxy;
mod proxy_header;
mod restart;
#[cfg(unix)]
mod unix;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use erps::{
    Backoff, Client, Daemon, DaemonBuilder, DaemonEvent, DaemonEvents, Endpoint, ExitReason,
    Linked, Network, PeerInfo, StartDaemonError, Status, TcpOptions, time,
};

use crate::support::{
    test_server::{self, Call, Lifecycle, TestProtocol, TestServer, Watch, assert_served, run},
    time::{ms, secs, settled},
};

/// A daemon that records the peers it has accepted.
fn recording_daemon() -> (DaemonBuilder<TestServer>, Watch, Peers) {
    let (builder, watch) = test_server::daemon();
    let peers = Peers::default();
    let list = peers.clone();
    let builder = builder.admit(move |peer: &PeerInfo| {
        list.0.lock().unwrap().push(peer.clone());
        Ok::<_, String>(())
    });
    (builder, watch, peers)
}

#[derive(Clone, Default)]
struct Peers(Arc<Mutex<Vec<PeerInfo>>>);

impl Peers {
    fn take(&self) -> Vec<PeerInfo> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn connected(address: impl Into<erps::Address>) -> Client<TestProtocol> {
    let backoff = Backoff::new(ms(1), ms(1));
    let client = Client::<TestProtocol>::builder(address).reply_timeout(test_server::REPLY_TIMEOUT);
    client.backoff(backoff).connect().await.unwrap()
}
