//! Reconnecting clients: after every kind of connection loss, and with the right outcome for each call.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use erps::{
    Backoff, BoxError, CallError, CastError, Client, ClientBuilder, ClientContext, ClientHandler,
    ConnectError, Disconnect, ExitReason, Network, PeerInfo, Reconnect, Status, Universe,
    network::{EventKind, Link, Listener},
    time,
    wire::packet::Kind,
};
use smol::{future, io::AsyncReadExt as _, net::TcpListener};

use crate::support::{
    raw::{self, Raw},
    test_server::{self, Call, Cast, TestProtocol, assert_served, pair, run},
    time::{HOUR, STEP, at_once, ms, secs, settled, timed},
};

const LONG: Duration = Duration::from_secs(50);

/// A client with a short backoff.
fn quick(address: SocketAddr) -> ClientBuilder<TestProtocol> {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(20));
    Client::builder(address).backoff(backoff)
}

/// The address of daemons in simulated universes.
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4747);

fn network() -> Network {
    Network::current().expect("a simulated universe")
}

/// Returns when clients dialled in this universe.
fn dials() -> Vec<Instant> {
    let clock = Universe::current().and_then(|it| it.clock());
    let clock = clock.expect("a simulated universe");
    let start = clock.now() - clock.elapsed();
    let events = network().events().into_iter();
    events
        .filter(|event| matches!(event.kind, EventKind::Connecting(..)))
        .map(|event| start + event.at)
        .collect()
}

#[erps::test(simulated)]
async fn connect_fails_with_the_first_attempt_and_leaves_no_client() {
    let error = quick(HERE).connect().await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(!error.is_likely_permanent());
    let error = Client::<TestProtocol>::builder(("no-such-host.invalid", 1))
        .connect()
        .await;
    assert!(
        matches!(error, Err(ConnectError::Unresolved { .. })),
        "{error:?}"
    );
}

#[erps::test(simulated)]
async fn client_started_before_its_daemon_connects_later() {
    let client = quick(HERE).start();
    let outcome = at_once(client.call(Call::Ping)).await;
    assert!(matches!(outcome, Err(CallError::Disconnected { .. })));
    assert!(matches!(
        at_once(client.cast(Cast::Note(1))).await,
        Err(CastError::Disconnected { .. })
    ));
    at_once(client.until(|status| matches!(status, Status::Waiting))).await;
    // Thousands of attempts.
    time::sleep(secs(60)).await;
    assert!(!client.status().is_connected());
    let error = client.last_connect_error();
    assert!(
        matches!(error, Some(ConnectError::Unreachable { .. })),
        "{error:?}"
    );
    let (builder, _watch) = test_server::daemon();
    let _daemon = builder.port(HERE.port()).start_link().await.unwrap();
    let (_, took) = timed(client.until(Status::is_connected)).await;
    assert!(took < ms(20), "{took:?}");
    assert!(client.last_connect_error().is_none());
    assert_served(&client).await;
}

#[erps::test(simulated)]
async fn client_reconnects_after_restarts_of_its_daemon() {
    let (builder, _watch) = test_server::daemon();
    let mut daemon = builder.clone().start_link().await.unwrap();
    let address = daemon.local_addr();
    let builder = builder.port(address.port());
    let client = quick(address).connect().await.unwrap();
    for _ in 0..5 {
        assert_served(&client).await;
        let mut held = Box::pin(client.call_within(Call::Hold, LONG));
        assert!(future::poll_once(&mut held).await.is_none());
        // Answered after the held call was received, so the server has it.
        assert_served(&client).await;
        daemon.shutdown().await;
        let error = at_once(held).await.unwrap_err();
        assert!(matches!(error, CallError::Unanswered), "{error:?}");
        at_once(client.until(|status| !status.is_connected())).await;
        daemon = builder.clone().start_link().await.unwrap();
        let (_, took) = timed(client.until(Status::is_connected)).await;
        assert!(took < ms(20), "{took:?}");
    }
}

#[erps::test(simulated, panics = "as the test asks")]
async fn client_reconnects_to_a_new_server_after_a_crash() {
    let (daemon, client, _watch) = pair().await;
    for _ in 0..20 {
        assert!(client.call_within(Call::Crash, LONG).await.is_err());
        settled().await;
        let gone = client.call_within(Call::Ping, LONG).await;
        assert!(
            matches!(gone, Err(CallError::Disconnected { .. })),
            "{gone:?}"
        );
        at_once(client.connect()).await.unwrap();
        assert_served(&client).await;
    }
    settled().await;
    assert_eq!(daemon.info().servers, 1);
}

#[test]
fn client_reconnects_after_a_reset_or_invalid_data() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = quick(listener.local_addr().unwrap()).start();
        // The peer closes immediately.
        drop(listener.accept().await.unwrap());
        // The peer speaks another protocol.
        let (mut babbler, _) = listener.accept().await.unwrap();
        smol::io::AsyncWriteExt::write_all(&mut babbler, b"220 hello\r\n")
            .await
            .unwrap();
        // The peer resets the connection: unread bytes are left in its socket.
        let (resetter, _) = listener.accept().await.unwrap();
        client.until(Status::is_connected).await;
        let lost = client.call_within(Call::Ping, LONG);
        let reset = async {
            let mut byte = [0];
            let mut resetter = resetter;
            resetter.read_exact(&mut byte).await.unwrap();
            drop(resetter);
        };
        let (lost, ()) = future::zip(lost, reset).await;
        assert!(matches!(lost, Err(CallError::Lost)), "{lost:?}");
        let (_last, _) = listener.accept().await.unwrap();
    });
}

#[erps::test(simulated)]
async fn disconnected_client_dials_only_after_connect() {
    let (daemon, _, _watch) = pair().await;
    let client = quick(daemon.local_addr()).connect().await.unwrap();
    for _ in 0..5 {
        client.disconnect().await;
        let before = dials();
        time::sleep(HOUR).await;
        assert_eq!(dials(), before);
        assert!(matches!(client.status(), Status::Disconnected));
        assert!(matches!(
            client.call(Call::Ping).await,
            Err(CallError::Disconnected { .. })
        ));
        client.connect().await.unwrap();
        assert_served(&client).await;
    }
    // The last request wins, also when they follow each other immediately.
    for _ in 0..50 {
        let mut away = Box::pin(client.disconnect());
        let _ = future::poll_once(&mut away).await;
        drop(away);
        client.connect().await.unwrap();
        client.until(Status::is_connected).await;
    }
    assert_served(&client).await;
    settled().await;
    assert_eq!(daemon.info().servers, 1);
}

#[erps::test(simulated)]
async fn connect_skips_the_backoff() {
    let client = Client::<TestProtocol>::builder(HERE).backoff(Backoff::new(HOUR, HOUR));
    let client = client.start();
    at_once(client.until(|status| matches!(status, Status::Waiting))).await;
    assert!(at_once(client.connect()).await.is_err());
    let (builder, _watch) = test_server::daemon();
    let _daemon = builder.port(HERE.port()).start_link().await.unwrap();
    at_once(client.connect()).await.unwrap();
    assert_served(&client).await;
    assert_eq!(dials().len(), 3);
}

#[erps::test(simulated, panics = "as the test asks")]
async fn client_with_reconnect_never_exits_when_disconnected() {
    let (daemon, _, _watch) = pair().await;
    let client = quick(daemon.local_addr()).reconnect(Reconnect::Never);
    let client = client.connect().await.unwrap();
    assert!(client.call_within(Call::Crash, LONG).await.is_err());
    assert!(matches!(client.exited().await, ExitReason::Disconnected));
    assert!(matches!(
        client.call(Call::Ping).await,
        Err(CallError::Disconnected { .. })
    ));
    assert!(matches!(
        client.connect().await,
        Err(ConnectError::Ended(_))
    ));
}

/// A raw server, and a client connected to it.
async fn own_server(
    client: ClientBuilder<TestProtocol>,
) -> (Raw<erps::network::Stream>, Client<TestProtocol>) {
    let listener: Listener = network().listen(HERE).unwrap();
    let client = client.connect().await.unwrap();
    (Raw::accept(&listener).await, client)
}

#[erps::test(simulated)]
async fn keepalives_are_sent_at_the_configured_interval() {
    let client = quick(HERE).keepalive(ms(20));
    let (mut server, client) = own_server(client).await;
    let start = time::now();
    for n in 1..=3 {
        assert_eq!(server.text().await.unwrap().0, Kind::Keepalive);
        assert_eq!(time::now() - start, n * ms(20));
    }
    // Other packets do not delay it.
    time::sleep(ms(20) - STEP).await;
    client.cast(Cast::Note(1)).await.unwrap();
    assert_eq!(server.text().await.unwrap().0, Kind::Cast);
    assert_eq!(server.text().await.unwrap().0, Kind::Keepalive);
    assert_eq!(time::now() - start, ms(80));
}

#[erps::test(simulated)]
async fn idle_client_without_keepalive_sends_nothing() {
    let (mut server, client) = own_server(quick(HERE).keepalive(None)).await;
    assert!(time::timeout(24 * HOUR, server.text()).await.is_err());
    assert!(client.status().is_connected());
}

/// A back-off of pauses that are very short at first, and very long in the end.
#[erps::test(simulated, virtual_limit = "366d")]
async fn backoff_resets_after_a_stable_connection() {
    for (lasts, is_stable) in [(secs(60) - STEP, false), (secs(60), true)] {
        let mut longest = Duration::ZERO;
        for _ in 0..10 {
            let backoff = Backoff::new(ms(1), HOUR);
            let client = Client::<TestProtocol>::builder(HERE).backoff(backoff);
            let client = client.stable_after(secs(60)).start();
            time::sleep(24 * HOUR).await;
            let listener = network().listen(HERE).unwrap();
            client.connect().await.unwrap();
            let connection = listener.accept().await.unwrap();
            time::sleep(lasts).await;
            drop((connection, listener));
            let (lost, before) = (time::now(), dials().len());
            time::sleep(HOUR).await;
            longest = longest.max(dials()[before] - lost);
        }
        match is_stable {
            true => assert!(longest <= STEP, "{longest:?}"),
            false => assert!(longest > secs(60), "{longest:?}"),
        }
    }
}

/// Elixir's server receives one packet at a time.
#[erps::test(simulated)]
async fn elixir_server_is_disconnected_thirty_seconds_after_an_unanswered_call() {
    let client = quick(HERE).peer(erps::Peer::elixir()).keepalive(None);
    let (mut server, client) = own_server(client).await;
    let late = client.call_within(Call::Ping, ms(50)).await;
    assert!(matches!(late, Err(CallError::TimedOut { sent: true })));
    let (_, took) = timed(client.until(|it| !it.is_connected())).await;
    assert_eq!(took, secs(30));
    assert!(server.next().await.is_some());
    assert!(server.next().await.is_none());
    let why = client.last_disconnect().unwrap().to_string();
    assert!(why.contains("one packet at a time"), "{why}");
}

#[erps::test(simulated)]
async fn disconnect_returns_when_queued_casts_are_sent() {
    for casts in [0, 1, 20] {
        let (mut server, client) = own_server(quick(HERE)).await;
        for n in 0..casts {
            client.cast(Cast::Note(n)).await.unwrap();
        }
        let read = async move {
            let mut read = 0;
            while server.text().await.is_some() {
                read += 1;
            }
            read
        };
        let (_, read) = at_once(future::zip(client.disconnect(), read)).await;
        assert_eq!(read, casts);
    }
}

/// More than line and buffer hold.
async fn many_casts(client: &Client<TestProtocol>) -> u64 {
    network().set_default_link(Link::new().window(1000));
    for n in 0..1000 {
        client.cast(Cast::Note(n)).await.unwrap();
    }
    1000
}

#[erps::test(simulated)]
async fn disconnect_sends_queued_casts_for_up_to_three_seconds() {
    for (by, in_time) in [(secs(3) - STEP, true), (secs(3) + STEP, false)] {
        let (mut server, client) = own_server(quick(HERE)).await;
        let casts = many_casts(&client).await;
        let read = async move {
            time::sleep(by).await;
            let mut read = 0;
            while server.text().await.is_some() {
                read += 1;
            }
            read
        };
        let ((_, took), read) = future::zip(timed(client.disconnect()), read).await;
        assert_eq!(took, by);
        assert_eq!(read == casts, in_time, "{read}");
    }
}

/// The last second is for the peer's close.
#[erps::test(simulated)]
async fn disconnect_from_a_server_that_does_not_read_takes_four_seconds() {
    let (_server, client) = own_server(quick(HERE)).await;
    many_casts(&client).await;
    let (_, took) = timed(client.disconnect()).await;
    assert_eq!(took, secs(4));
}

/// Reports its callbacks.
struct Reporter(async_channel::Sender<String>);

impl Reporter {
    fn report(&self, what: impl Into<String>) -> Result<(), BoxError> {
        Ok(self.0.try_send(what.into())?)
    }
}

impl ClientHandler for Reporter {
    type Protocol = TestProtocol;
    type Info = String;

    async fn init(&mut self, cx: &mut ClientContext<Self>) -> Result<(), BoxError> {
        cx.this().info("myself".into()).await?;
        self.report("init")
    }

    async fn handle_connect(
        &mut self,
        _: PeerInfo,
        cx: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        // A handler can call its own server and wait for the reply.
        let reply = cx.client().call(Call::Ping).await?;
        self.report(format!("connected: {reply:?}"))
    }

    async fn handle_push(
        &mut self,
        push: String,
        cx: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        if push == "stop" {
            cx.stop(ExitReason::Normal);
        }
        self.report(format!("push: {push}"))
    }

    async fn handle_info(
        &mut self,
        info: String,
        _: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        self.report(format!("info: {info}"))
    }

    async fn handle_disconnect(
        &mut self,
        why: Disconnect,
        _: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        self.report(format!("disconnected: {why}"))
    }

    async fn terminate(&mut self, reason: &ExitReason, _: &mut ClientContext<Self>) {
        let _ = self.report(format!("terminate: {reason}"));
    }
}

#[erps::test(simulated, panics = "as the test asks")]
async fn client_handler_receives_connections_pushes_infos_and_termination() {
    let (daemon, _, _watch) = pair().await;
    let (sender, reports) = async_channel::unbounded();
    let client = quick(daemon.local_addr())
        .handler(move || Reporter(sender.clone()))
        .connect()
        .await
        .unwrap();
    let next = async || reports.recv().await.unwrap();
    assert_eq!(next().await, "init");
    let mut first = [next().await, next().await];
    first.sort();
    assert_eq!(first, ["connected: Pong", "info: myself"]);
    client.cast(Cast::Push("one".into())).await.unwrap();
    assert_eq!(next().await, "push: one");
    assert!(client.call_within(Call::Crash, LONG).await.is_err());
    assert_eq!(
        next().await,
        "disconnected: the server closed the connection"
    );
    assert_eq!(next().await, "connected: Pong");
    client.cast(Cast::Push("stop".into())).await.unwrap();
    assert_eq!(next().await, "push: stop");
    assert_eq!(next().await, "terminate: normal");
    assert!(matches!(client.exited().await, ExitReason::Normal));
}

#[test]
fn failing_or_panicking_client_handler_stops_its_client() {
    struct Fails(bool);
    impl ClientHandler for Fails {
        type Protocol = TestProtocol;
        type Info = ();
        async fn handle_push(
            &mut self,
            push: String,
            _: &mut ClientContext<Self>,
        ) -> Result<(), BoxError> {
            assert!(!self.0, "{push}");
            Err(push.into())
        }
    }
    Universe::simulated(1).run(async {
        Universe::current().unwrap().expect_panics("enough");
        let (daemon, _, _watch) = pair().await;
        for panics in [false, true] {
            let client = quick(daemon.local_addr()).handler(move || Fails(panics));
            let client = client.connect().await.unwrap();
            client.cast(Cast::Push("enough".into())).await.unwrap();
            let reason = client.exited().await;
            match reason {
                ExitReason::Panic(why) => assert!(panics && why.contains("enough")),
                ExitReason::Error(why) => assert!(!panics && why.to_string() == "enough"),
                other => panic!("{other:?}"),
            }
        }
    });
}

#[erps::test(simulated)]
async fn last_disconnect_reports_the_reason() {
    let (daemon, _client, _watch) = pair().await;
    let client = quick(daemon.local_addr()).connect().await.unwrap();
    assert!(client.last_disconnect().is_none());
    client.disconnect().await;
    assert!(matches!(client.last_disconnect(), Some(Disconnect::Asked)));

    // The start of a TLS alert, as a TLS server sends it to a plaintext client.
    let listener = network().listen(HERE).unwrap();
    let client = quick(HERE).start();
    let (mut server, _) = listener.accept().await.unwrap();
    client.until(Status::is_connected).await;
    let alert = smol::io::AsyncWriteExt::write_all(&mut server, &[0x15, 3, 3, 0, 2, 2, 10]);
    let (lost, sent) = future::zip(client.call_within(Call::Ping, LONG), alert).await;
    sent.unwrap();
    assert!(
        matches!(lost, Err(CallError::Lost | CallError::Disconnected { .. })),
        "{lost:?}"
    );
    let why = client.last_disconnect().unwrap().to_string();
    assert!(why.contains("looks like TLS"), "{why}");
}

#[erps::test(simulated)]
async fn last_disconnect_reports_the_servers_last_error() {
    let tired = raw::bytes(Kind::Error, &"shutting down");
    let push = raw::bytes(Kind::Push, &"not yet");
    let says = |packets: &[&[u8]]| packets.concat();
    for (last, is_tired) in [
        (says(&[&push, &tired]), true),
        (says(&[&tired]), true),
        (says(&[&tired, &push]), false),
        (says(&[&push]), false),
    ] {
        let (mut server, client) = own_server(quick(HERE)).await;
        server.send(&last).await;
        drop(server);
        client.until(|it| !it.is_connected()).await;
        match client.last_disconnect().unwrap() {
            Disconnect::Reported(why) => assert!(is_tired && why == "shutting down", "{why}"),
            other => assert!(!is_tired, "{other:?}"),
        }
    }
}
