//! Pushes: messages that a server sends without a request.

use std::{
    cell::Cell,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex},
};

use erps::{
    BoxError, Context, Daemon, InitError, Network, Protocol, PushError, ReplyTo, Server,
    ServerOptions, ServerRef, Term, network::Link, time, wire::packet::Kind,
};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize, Serializer};
use smol::future;

use crate::support::{
    raw::{self, Raw},
    test_server::{self, Call, Cast, Reply, TestServer, assert_served, pair, run},
    time::{HOUR, at_once, secs, settled},
};

#[test]
fn pushes_arrive_in_order() {
    run(async {
        let (_daemon, client, _watch) = pair().await;
        let mut pushes = client.pushes();
        for n in 0..2000 {
            client.cast(Cast::Push(n.to_string())).await.unwrap();
        }
        for n in 0..2000 {
            assert_eq!(pushes.next().await.unwrap(), n.to_string());
        }
    });
}

#[test]
fn calls_are_answered_when_pushes_are_not_read() {
    run(async {
        let (_daemon, client, _watch) = pair().await;
        for n in 0..5000 {
            client.cast(Cast::Push(n.to_string())).await.unwrap();
        }
        assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
        // Without a push stream, pushes are discarded too.
        drop(client.pushes());
        client.cast(Cast::Push("gone".into())).await.unwrap();
        assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
    });
}

#[erps::test(simulated)]
async fn full_push_stream_pauses_reading_and_loses_no_push() {
    let (daemon, _, _watch) = pair().await;
    let client = test_server::client(&daemon)
        .max_pushes(4)
        .connect()
        .await
        .unwrap();
    let mut pushes = client.pushes();
    for n in 0..100 {
        client.cast(Cast::Push(n.to_string())).await.unwrap();
    }
    let mut ping = pin!(client.call_within(Call::Ping, 2 * HOUR));
    assert!(future::poll_once(&mut ping).await.is_none());
    time::sleep(HOUR).await;
    assert!(future::poll_once(&mut ping).await.is_none());
    for n in 0..100 {
        assert_eq!(pushes.next().await.unwrap(), n.to_string());
    }
    assert_eq!(at_once(ping).await.unwrap(), Reply::Pong);
}

#[test]
fn new_push_stream_ends_the_old_one() {
    run(async {
        let (_daemon, client, _watch) = pair().await;
        let mut old = client.pushes();
        let mut new = client.pushes();
        client.cast(Cast::Push("hello".into())).await.unwrap();
        assert_eq!(old.next().await, None);
        assert_eq!(new.next().await.unwrap(), "hello");
        client.task().request_shutdown();
        assert_eq!(new.next().await, None);
    });
}

#[erps::test(simulated)]
async fn server_stops_reading_from_a_peer_that_does_not_read_its_pushes() {
    let (builder, _watch) = test_server::daemon();
    let options = ServerOptions::new()
        .max_outgoing(64 * 1024)
        .write_timeout(2 * HOUR);
    let daemon = builder.server_options(options).start_link().await.unwrap();
    let mut peer = Raw::dial(daemon.local_addr()).await;
    // The server stops reading once the connection and the send queue are full.
    let megabyte = "x".repeat(1 << 20);
    let push = Term::tuple([Term::atom("push"), Term::from(megabyte)]);
    let cast = raw::bytes(Kind::Cast, &push);
    let sent = Cell::new(0);
    let flood = async {
        loop {
            peer.try_send(&cast).await;
            sent.set(sent.get() + 1);
        }
    };
    let stuck = async {
        settled().await;
        let before = sent.get();
        time::sleep(HOUR).await;
        assert_eq!(sent.get(), before);
    };
    future::or(flood, stuck).await;
    assert!(sent.get() < 20, "{} MiB went somewhere", sent.get());
    // Other connections are served meanwhile.
    let other = test_server::client(&daemon).connect().await.unwrap();
    at_once(assert_served(&other)).await;
    // When the peer reads again, nothing is missing.
    for _ in 0..sent.get() {
        assert_eq!(peer.text().await.unwrap().1.len(), (1 << 20) + 2);
    }
}

#[test]
fn push_fails_with_disconnected_on_a_local_server() {
    run(async {
        let (seed, _watch) = test_server::seed();
        let server = ServerRef::<TestServer>::builder(seed)
            .start_link()
            .await
            .unwrap();
        let outcome = server.push("hello".into()).await;
        assert!(matches!(outcome, Err(PushError::Disconnected)));
        let outcome = server.try_push(&"hello".into());
        assert!(matches!(outcome, Err(PushError::Disconnected)));
    });
}

#[erps::test(simulated)]
async fn new_push_stream_replaces_a_full_one() {
    let (daemon, _client, _watch) = pair().await;
    let client = test_server::client(&daemon)
        .max_pushes(1)
        .connect()
        .await
        .unwrap();
    let _full = client.pushes();
    for n in 0..20 {
        client.cast(Cast::Push(n.to_string())).await.unwrap();
    }
    let mut ping = pin!(client.call_within(Call::Ping, 2 * HOUR));
    assert!(future::poll_once(&mut ping).await.is_none());
    time::sleep(HOUR).await;
    assert!(future::poll_once(&mut ping).await.is_none());
    let mut new = client.pushes();
    let drain = async { while new.next().await.is_some() {} };
    let answered = future::or(async { Some(ping.await) }, async {
        drain.await;
        None
    });
    assert_eq!(at_once(answered).await.unwrap().unwrap(), Reply::Pong);
}

/// Panics when serialized if `None`, else serializes as this many bytes.
#[derive(Deserialize)]
struct Treacherous(Option<usize>);

impl Serialize for Treacherous {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self
            .0
            .expect("a value that makes its own `Serialize` panic");
        serializer.serialize_bytes(&vec![7; bytes])
    }
}

/// Stores its own `ServerRef` in the seed.
struct Open;

impl Protocol for Open {
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Push = Treacherous;
}

impl Server for Open {
    type Protocol = Self;
    type Seed = Arc<Mutex<Option<ServerRef<Self>>>>;
    type Info = ();

    async fn init(seed: Self::Seed, cx: &mut Context<Self>) -> Result<Self, InitError> {
        *seed.lock().unwrap() = Some(cx.this().clone());
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<()>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(());
        Ok(())
    }
}

#[erps::test(simulated)]
async fn push_that_panics_while_serializing_releases_its_queue_space() {
    let network = Network::current().unwrap();
    network.set_default_link(Link::new().window(8 * 1024));
    let seed = Arc::<Mutex<Option<_>>>::default();
    let daemon = Daemon::<Open>::builder(seed.clone())
        .server_options(ServerOptions::new().max_outgoing(1).write_timeout(HOUR))
        .start_link()
        .await
        .unwrap();
    let mut peer = Raw::dial(daemon.local_addr()).await;
    settled().await;
    let server: ServerRef<Open> = seed.lock().unwrap().take().unwrap();
    while server.try_push(&Treacherous(Some(1024))).is_ok() {
        settled().await;
    }
    let panics = AssertUnwindSafe(server.push(Treacherous(None))).catch_unwind();
    let small = server.push(Treacherous(Some(5)));
    let mut waiting = pin!(futures::future::join(panics, small));
    assert!(future::poll_once(&mut waiting).await.is_none());
    let read = async {
        loop {
            let (_, term) = peer.next().await.expect("a push");
            if term.as_binary().unwrap().len() == 5 {
                return;
            }
        }
    };
    let both = time::timeout(secs(60), future::zip(waiting, read)).await;
    let ((panicked, small), ()) = both.expect("a push waits forever");
    assert!(panicked.is_err());
    small.unwrap();
}
