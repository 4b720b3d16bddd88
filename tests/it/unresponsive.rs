//! Clients and servers stay responsive with peers that never answer, never stop sending or answer late, and
//! with extreme settings.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use erps::{
    Backoff, BoxError, CallError, Client, ClientBuilder, ClientContext, ClientHandler, Context,
    Daemon, ExitReason, InitError, Network, Peer, Protocol, PushError, ReplyTo, Server,
    ServerOptions, ServerRef, Status, Term,
    network::{Link, Listener, Stream},
    time,
    wire::packet::Kind,
};
use serde::{Deserialize, Deserializer, Serialize};
use smol::future;

use crate::support::{
    raw::{self, Raw},
    test_server::{self, Call, Cast, Reply, TestProtocol, TestServer, eventually, pair, run},
    time::{HOUR, at_once, secs, settled, timed},
};

const LONG: Duration = Duration::from_secs(50);
const SHORT: Duration = Duration::from_millis(50);

/// A raw listener on the simulated network, and a builder for a client that connects to it.
fn simulated_server() -> (Listener, ClientBuilder<TestProtocol>) {
    let network = Network::current().unwrap();
    let address = ([127, 0, 0, 1], 4747).into();
    let listener = network.listen(address).unwrap();
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(20));
    (listener, Client::builder(address).backoff(backoff))
}

#[erps::test(simulated)]
async fn elixir_server_receives_no_packet_until_it_has_replied() {
    let (listener, client) = simulated_server();
    let client = client.peer(Peer::elixir()).keepalive(None).start();
    let mut server = Raw::accept(&listener).await;
    client.until(Status::is_connected).await;
    let (first, took) = timed(client.call_within(Call::Ping, SHORT)).await;
    assert_eq!(took, SHORT);
    assert!(
        matches!(first, Err(CallError::TimedOut { sent: true })),
        "{first:?}"
    );
    // The server still handles the first call, so two more would arrive together.
    for _ in 0..2 {
        let (next, took) = timed(client.call_within(Call::Ping, SHORT)).await;
        assert_eq!(took, SHORT);
        assert!(
            matches!(next, Err(CallError::TimedOut { sent: false })),
            "{next:?}"
        );
    }
    let (_, call) = server.next().await.unwrap();
    let more = time::timeout(secs(29), server.next()).await;
    assert!(more.is_err(), "{more:?}");
    let reference = call.as_tuple().unwrap()[0].clone();
    let late = Term::tuple([Term::atom("pong"), reference]);
    server.send(&raw::bytes(Kind::Reply, &late)).await;
    let mut last = pin!(client.call_within(Call::Ping, LONG));
    let answer = async {
        let (_, call) = server.next().await.unwrap();
        let reference = call.as_tuple().unwrap()[0].clone();
        let reply = Term::tuple([Term::atom("pong"), reference]);
        server.send(&raw::bytes(Kind::Reply, &reply)).await;
    };
    assert_eq!(
        at_once(future::zip(&mut last, answer)).await.0.unwrap(),
        Reply::Pong
    );
}

#[erps::test(simulated)]
async fn call_times_out_while_the_server_keeps_pushing() {
    // What is sent takes its time, or there would be none for the time-out.
    let line = Link::new().bandwidth(1_000_000);
    Network::current().unwrap().set_default_link(line);
    let (listener, client) = simulated_server();
    let client = client.start();
    let mut server = Raw::accept(&listener).await;
    client.until(Status::is_connected).await;
    let push = raw::bytes(Kind::Push, &"news").repeat(500);
    let flood = async {
        loop {
            server.send(&push).await;
        }
    };
    let call = timed(client.call_within(Call::Ping, SHORT));
    let (outcome, took) = future::or(call, flood).await;
    assert_eq!(took, SHORT);
    assert!(
        matches!(outcome, Err(CallError::TimedOut { sent: true })),
        "{outcome:?}"
    );
}

#[erps::test(simulated)]
async fn queued_casts_are_sent_before_a_client_disconnects() {
    for ends in [false, true] {
        for peer in [
            Peer::Erps,
            Peer::Elixir {
                pause: Duration::from_millis(5),
            },
        ] {
            let (listener, client) = simulated_server();
            let client = client.peer(peer).start();
            let mut server = Raw::accept(&listener).await;
            client.until(Status::is_connected).await;
            for n in 0..20 {
                client.cast(Cast::Note(n)).await.unwrap();
            }
            // One packet at a time if the peer is Elixir.
            let pause = match peer {
                Peer::Elixir { pause } => pause,
                _ => Duration::ZERO,
            };
            let start = time::now();
            let leave = async {
                if ends {
                    drop(client);
                } else {
                    client.disconnect().await;
                }
            };
            let receive = async move {
                for n in 0..20 {
                    let (kind, text) = server.text().await.expect("a cast");
                    assert_eq!((kind, text), (Kind::Cast, format!("{{:note, {n}}}")));
                    assert_eq!(time::now() - start, pause * n as u32);
                }
                assert!(server.next().await.is_none());
            };
            let (_, took) = timed(future::zip(leave, receive)).await;
            assert_eq!(took, pause * 19);
        }
    }
}

#[erps::test(simulated)]
async fn interleaved_connect_and_disconnect_requests_all_complete() {
    let (_daemon, client, _watch) = pair().await;
    for _ in 0..50 {
        client.disconnect().await;
        let mut connect = pin!(client.connect());
        let connecting = future::poll_once(&mut connect).await;
        client.disconnect().await;
        if connecting.is_none() {
            let _ = connect.await;
        }
        client.connect().await.unwrap();
        let mut away = pin!(client.disconnect());
        let gone = future::poll_once(&mut away).await;
        client.connect().await.unwrap();
        if gone.is_none() {
            away.await;
        }
    }
    client.until(Status::is_connected).await;
    assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
}

#[erps::test(simulated, virtual_limit = "366d")]
async fn durations_of_zero_and_max_are_valid_timeouts() {
    let (builder, _watch) = test_server::daemon();
    let options = ServerOptions::new()
        .first_packet_timeout(Duration::MAX)
        .packet_timeout(Duration::MAX)
        .write_timeout(Duration::MAX)
        .peer(Peer::Elixir {
            pause: Duration::ZERO,
        });
    let daemon = builder
        .server_options(options)
        .handshake_timeout(Duration::MAX);
    let daemon = daemon.start_link().await.unwrap();
    let mut peer = Raw::dial(daemon.local_addr()).await;
    let call = raw::call(1, ":ping");
    peer.send(&call[..50]).await;
    let client = test_server::client(&daemon)
        .keepalive(None)
        .stall_timeout(Duration::MAX)
        .connect_timeout(Duration::MAX)
        .handshake_timeout(Duration::MAX)
        .reply_timeout(Duration::MAX)
        .stable_after(Duration::MAX)
        .backoff(Backoff::new(Duration::MAX, Duration::MAX))
        .connect()
        .await
        .unwrap();
    assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
    time::sleep(24 * 365 * HOUR).await;
    assert!(client.status().is_connected());
    peer.send(&call[50..]).await;
    assert_eq!(peer.text().await.unwrap().1, "{:pong, 1}");
}

#[erps::test(simulated)]
async fn keepalive_of_zero_is_valid() {
    let (daemon, _client, _watch) = pair().await;
    let client = test_server::client(&daemon).keepalive(Duration::ZERO);
    let client = client.connect().await.unwrap();
    assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
}

#[erps::test(simulated)]
async fn payload_limit_applies_before_compression() {
    let (daemon, _client, _watch) = pair().await;
    let client = test_server::client(&daemon).max_payload(1000).compressed(9);
    let client = client.connect().await.unwrap();
    let outcome = client.call(Call::Echo(vec![0; 2000])).await;
    assert!(
        matches!(outcome, Err(CallError::Unsendable(_))),
        "{outcome:?}"
    );
    let outcome = client.call(Call::Echo(vec![0; 900])).await;
    assert_eq!(outcome.unwrap(), Reply::Bytes(vec![0; 900]));
}

#[erps::test(simulated)]
async fn status_can_be_read_within_until() {
    let (_daemon, client, _watch) = pair().await;
    client.until(|_| client.status().is_connected()).await;
}

/// Waits at a gate for every push, and reconnects by itself when disconnected.
struct BlockingHandler {
    gate: async_channel::Receiver<()>,
    reports: async_channel::Sender<&'static str>,
}

impl ClientHandler for BlockingHandler {
    type Protocol = TestProtocol;
    type Info = ();

    async fn handle_push(
        &mut self,
        _: String,
        cx: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        self.reports.try_send("pushed")?;
        self.gate.recv().await?;
        cx.client().call_within(Call::Ping, LONG).await?;
        Ok(())
    }

    async fn handle_disconnect(
        &mut self,
        why: erps::Disconnect,
        cx: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        if let erps::Disconnect::Asked = why {
            return Ok(());
        }
        cx.client().disconnect().await;
        cx.client().connect().await?;
        self.reports.try_send("reconnected")?;
        Ok(())
    }
}

#[erps::test(simulated, panics = "as the test asks")]
async fn busy_client_handler_does_not_block_reconnecting() {
    let (daemon, _client, _watch) = pair().await;
    let (sender, reports) = async_channel::unbounded();
    let (open, gate) = async_channel::unbounded();
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(20));
    let client = test_server::client(&daemon)
        .max_pushes(1)
        .backoff(backoff)
        .handler(move || BlockingHandler {
            gate: gate.clone(),
            reports: sender.clone(),
        })
        .connect()
        .await
        .unwrap();
    client.cast(Cast::Push("one".into())).await.unwrap();
    assert_eq!(reports.recv().await.unwrap(), "pushed");
    // The handler's queue holds one push, and not the disconnect as well.
    client.cast(Cast::Push("two".into())).await.unwrap();
    let _ = client.call_within(Call::Crash, LONG).await;
    client.connect().await.unwrap();
    while client.call_within(Call::Ping, LONG).await.is_err() {
        client.connect().await.unwrap();
    }
    for _ in 0..2 {
        open.send(()).await.unwrap();
    }
    while reports.recv().await.unwrap() != "reconnected" {}
    client.until(Status::is_connected).await;
    assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
}

struct SelfSending;
impl Protocol for SelfSending {
    type Call = PanicsWhenRead;
    type Reply = ();
    type Cast = ();
    type Push = String;
}

#[derive(Serialize)]
struct PanicsWhenRead;

impl<'de> Deserialize<'de> for PanicsWhenRead {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("as the test asks")
    }
}

/// Exposes its handle and exit reason, and sends itself messages forever.
struct SelfSendingServer(SelfSendingSeed);

#[derive(Clone)]
struct SelfSendingSeed {
    this: Arc<Mutex<Option<ServerRef<SelfSendingServer>>>>,
    end: async_channel::Sender<ExitReason>,
}

impl Server for SelfSendingServer {
    type Protocol = SelfSending;
    type Seed = SelfSendingSeed;
    type Info = ();

    async fn init(seed: SelfSendingSeed, cx: &mut Context<Self>) -> Result<Self, InitError> {
        *seed.this.lock().unwrap() = Some(cx.this().clone());
        Ok(Self(seed))
    }

    async fn handle_call(
        &mut self,
        _: PanicsWhenRead,
        _from: ReplyTo<()>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        Ok(())
    }

    async fn handle_info(&mut self, (): (), cx: &mut Context<Self>) -> Result<(), BoxError> {
        cx.this().info(()).await?;
        Ok(())
    }

    async fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        let _ = self.0.end.try_send(reason.clone());
    }
}

fn self_sending_seed() -> (SelfSendingSeed, async_channel::Receiver<ExitReason>) {
    let (end, ends) = async_channel::unbounded();
    let this = Arc::default();
    (SelfSendingSeed { this, end }, ends)
}

#[erps::test(simulated, panics = "as the test asks")]
async fn panic_while_decoding_a_call_terminates_the_server() {
    let (seed, ends) = self_sending_seed();
    let daemon = Daemon::<SelfSendingServer>::builder(seed)
        .start_link()
        .await
        .unwrap();
    let client = Client::<SelfSending>::builder(daemon.local_addr())
        .connect()
        .await
        .unwrap();
    let outcome = client.call_within(PanicsWhenRead, LONG).await;
    assert!(outcome.is_err());
    let reason = ends.recv().await.unwrap();
    assert!(matches!(reason, ExitReason::Panic(_)), "{reason:?}");
}

#[erps::test(simulated)]
async fn push_fails_with_disconnected_when_the_server_was_killed() {
    let (seed, _ends) = self_sending_seed();
    let this = seed.this.clone();
    let daemon = Daemon::<SelfSendingServer>::builder(seed)
        .server_options(ServerOptions::new().max_outgoing(1))
        .start_link()
        .await
        .unwrap();
    let _client = Client::<SelfSending>::builder(daemon.local_addr())
        .connect()
        .await
        .unwrap();
    settled().await;
    let server = this.lock().unwrap().clone().unwrap();
    server.task().kill();
    server.exited().await;
    // With room for one byte, a second push would wait until the first is sent.
    for _ in 0..3 {
        let pushed = server.push("news".into()).await;
        assert!(matches!(pushed, Err(PushError::Disconnected)), "{pushed:?}");
    }
}

#[erps::test(simulated)]
async fn push_waits_and_try_push_fails_with_full_while_the_peer_does_not_read() {
    const WINDOW: usize = 100_000;
    const OUTGOING: usize = 64 * 1024;
    let network = Network::current().unwrap();
    network.set_default_link(Link::new().window(WINDOW));
    let (seed, _ends) = self_sending_seed();
    let this = seed.this.clone();
    let options = ServerOptions::new()
        .max_outgoing(OUTGOING)
        .first_packet_timeout(None)
        .write_timeout(2 * HOUR);
    let daemon = Daemon::<SelfSendingServer>::builder(seed).server_options(options);
    let daemon = daemon.start_link().await.unwrap();
    let connect = async || -> (Raw<Stream>, _) {
        let peer = Raw::dial(daemon.local_addr()).await;
        settled().await;
        (peer, this.lock().unwrap().take().unwrap())
    };
    let (mut slow, to_slow) = connect().await;
    let (mut quick, to_quick) = connect().await;
    let news = "x".repeat(10_000);
    let mut taken = 0;
    loop {
        settled().await;
        match to_slow.try_push(&news) {
            Ok(()) => taken += 1,
            Err(PushError::Full) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    let bytes = taken * news.len();
    assert!(bytes > WINDOW && bytes < WINDOW + 3 * OUTGOING, "{bytes}");
    // The queue stays full, and other connections are not affected.
    time::sleep(HOUR).await;
    let full = to_slow.try_push(&news);
    assert!(matches!(full, Err(PushError::Full)), "{full:?}");
    to_quick.try_push(&"short news".into()).unwrap();
    assert_eq!(at_once(quick.text()).await.unwrap().1, "\"short news\"");
    let mut waits = pin!(to_slow.push("more".into()));
    assert!(future::poll_once(&mut waits).await.is_none());
    time::sleep(HOUR - secs(1)).await;
    assert!(future::poll_once(&mut waits).await.is_none());
    // Everything queued arrives once the peer reads.
    for _ in 0..taken {
        assert_eq!(slow.text().await.unwrap().1.len(), news.len() + 2);
    }
    at_once(waits).await.unwrap();
    assert_eq!(slow.text().await.unwrap().1, "\"more\"");
}

#[test]
fn server_that_messages_itself_does_not_starve_others_and_can_be_shut_down() {
    run(async {
        let (seed, ends) = self_sending_seed();
        let busy = ServerRef::<SelfSendingServer>::builder(seed)
            .start()
            .await
            .unwrap();
        busy.info(()).await.unwrap();
        let (seed, _watch) = test_server::seed();
        let other = ServerRef::<TestServer>::builder(seed)
            .start_link()
            .await
            .unwrap();
        assert_eq!(other.call(Call::Ping).await.unwrap(), Reply::Pong);
        busy.task().request_shutdown();
        assert!(matches!(ends.recv().await.unwrap(), ExitReason::Shutdown));
    });
}

#[test]
fn dropping_the_executor_kills_its_tasks_and_releases_ports() {
    run(async {
        let executor = Arc::new(smol::Executor::new());
        let (builder, _watch) = test_server::daemon();
        let start = builder.executor(executor.clone()).start();
        let daemon = executor.run(start).await.unwrap();
        let address = daemon.local_addr();
        drop(executor);
        assert!(matches!(daemon.exited().await, ExitReason::Killed));
        eventually("the port is free", || {
            std::net::TcpListener::bind(address).is_ok()
        })
        .await;
    });
}
