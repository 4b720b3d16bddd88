//! Where daemons listen, who they take their peers for, and what becomes of listeners that fail.

mod addresses;
mod handed_in;
mod header;
mod proxy;
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
    lab::{self, Call, Lab, LabServer, Life, Watch, is_served, run},
    time::{ms, secs, settled},
};

/// A daemon of lab servers that lists the peers it has let in.
fn watchful() -> (DaemonBuilder<LabServer>, Watch, Peers) {
    let (builder, watch) = lab::daemon();
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

async fn connected(address: impl Into<erps::Address>) -> Client<Lab> {
    let at_once = Backoff::new(ms(1), ms(1));
    let client = Client::<Lab>::builder(address).reply_timeout(lab::PATIENCE);
    client.backoff(at_once).connect().await.unwrap()
}
