//! Clients heal, whatever took their connection, and say honestly what became of each call.

use std::{net::SocketAddr, time::Duration};

use erps::{
    Backoff, BoxError, CallError, CastError, Client, ClientBuilder, ClientContext, ClientHandler,
    ConnectError, Disconnect, ExitReason, PeerInfo, Reconnect, Status,
};
use smol::{future, io::AsyncReadExt as _, net::TcpListener};

use crate::support::lab::{self, Call, Cast, Lab, Reply, pair, run};

const LONG: Duration = Duration::from_secs(50);

/// Impatient, so that tests are quick.
fn quick(address: SocketAddr) -> ClientBuilder<Lab> {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(20));
    Client::builder(address).backoff(backoff)
}

/// An address nobody listens on. Bound once, so that it is this test's own for now.
async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn connect_fails_with_the_first_attempt_and_leaves_no_client() {
    run(async {
        let address = free_address().await;
        let error = quick(address).connect().await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Unreachable { .. }),
            "{error:?}"
        );
        assert!(!error.is_permanent());
        let error = Client::<Lab>::builder(("no-such-host.invalid", 1))
            .connect()
            .await;
        assert!(
            matches!(error, Err(ConnectError::Unresolved { .. })),
            "{error:?}"
        );
    });
}

#[test]
fn a_client_may_be_started_before_its_daemon() {
    run(async {
        let address = free_address().await;
        let client = quick(address).start();
        let outcome = client.call(Call::Ping).await;
        assert!(matches!(outcome, Err(CallError::Disconnected)));
        assert!(matches!(
            client.cast(Cast::Note(1)).await,
            Err(CastError::Disconnected)
        ));
        client
            .until(|status| matches!(status, Status::Waiting))
            .await;
        let (builder, _watch) = lab::daemon();
        let _daemon = builder.port(address.port()).start_link().await.unwrap();
        client.until(Status::is_connected).await;
        assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
    });
}

#[test]
fn a_client_outlives_its_daemons_restarts() {
    run(async {
        let (builder, _watch) = lab::daemon();
        let mut daemon = builder.clone().start_link().await.unwrap();
        let address = daemon.local_addr();
        let builder = builder.port(address.port());
        let client = quick(address).connect().await.unwrap();
        for _ in 0..5 {
            assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
            let mut held = Box::pin(client.call_within(Call::Hold, LONG));
            assert!(future::poll_once(&mut held).await.is_none());
            // Answered after the held call was taken, so that it is with the server.
            assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
            daemon.shutdown().await;
            let error = held.await.unwrap_err();
            assert!(
                matches!(error, CallError::Lost | CallError::Unanswered),
                "{error:?}"
            );
            client.until(|status| !status.is_connected()).await;
            lab::freed(address).await;
            daemon = builder.clone().start_link().await.unwrap();
            client.until(Status::is_connected).await;
        }
    });
}

#[test]
fn a_server_that_is_killed_is_replaced_by_another() {
    run(async {
        let (_daemon, client, _watch) = pair().await;
        for _ in 0..20 {
            assert!(client.call_within(Call::Crash, LONG).await.is_err());
            // The old connection may be there for a moment still.
            while let Err(error) = client.call_within(Call::Ping, LONG).await {
                assert!(
                    matches!(error, CallError::Lost | CallError::Disconnected),
                    "{error:?}"
                );
                client.connect().await.unwrap();
            }
        }
    });
}

#[test]
fn a_peer_that_resets_or_babbles_is_left_and_tried_again() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = quick(listener.local_addr().unwrap()).start();
        // Closes at once.
        drop(listener.accept().await.unwrap());
        // Speaks another protocol.
        let (mut babbler, _) = listener.accept().await.unwrap();
        smol::io::AsyncWriteExt::write_all(&mut babbler, b"220 hello\r\n")
            .await
            .unwrap();
        // Resets: unread bytes are left in its socket.
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

#[test]
fn a_client_told_to_disconnect_stays_away_until_told_to_connect() {
    run(async {
        let (daemon, _, _watch) = pair().await;
        let client = quick(daemon.local_addr()).connect().await.unwrap();
        for _ in 0..5 {
            client.disconnect().await;
            assert!(matches!(client.status(), Status::Disconnected));
            assert!(matches!(
                client.call(Call::Ping).await,
                Err(CallError::Disconnected)
            ));
            client.connect().await.unwrap();
            assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
        }
        // Changing one's mind at once leaves no doubt either.
        for _ in 0..50 {
            let mut away = Box::pin(client.disconnect());
            let _ = future::poll_once(&mut away).await;
            drop(away);
            client.connect().await.unwrap();
            client.until(Status::is_connected).await;
        }
        assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
        lab::eventually("one server is left", || daemon.info().servers == 1).await;
    });
}

#[test]
fn connect_does_not_wait_for_the_back_off() {
    run(async {
        let address = free_address().await;
        let never = Backoff::new(Duration::from_secs(3600), Duration::from_secs(3600));
        let client = Client::<Lab>::builder(address).backoff(never).start();
        client
            .until(|status| matches!(status, Status::Waiting))
            .await;
        assert!(client.connect().await.is_err());
        let (builder, _watch) = lab::daemon();
        let _daemon = builder.port(address.port()).start_link().await.unwrap();
        client.connect().await.unwrap();
        assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
    });
}

#[test]
fn a_client_that_may_not_reconnect_ends_when_it_is_disconnected() {
    run(async {
        let (daemon, _, _watch) = pair().await;
        let client = quick(daemon.local_addr()).reconnect(Reconnect::Never);
        let client = client.connect().await.unwrap();
        assert!(client.call_within(Call::Crash, LONG).await.is_err());
        assert!(matches!(client.exited().await, ExitReason::Disconnected));
        assert!(matches!(
            client.call(Call::Ping).await,
            Err(CallError::Disconnected)
        ));
        assert!(matches!(
            client.connect().await,
            Err(ConnectError::Ended(_))
        ));
    });
}

#[test]
fn keepalives_are_sent_as_often_as_was_asked() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = quick(listener.local_addr().unwrap()).keepalive(Duration::from_millis(20));
        let _client = client.start();
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = crate::support::raw::Raw::new(stream);
        for _ in 0..3 {
            let (kind, _) = peer.text().await.unwrap();
            assert_eq!(kind, erps::wire::packet::Kind::Keepalive);
        }
    });
}

/// Reports what it is told.
struct Reporter(async_channel::Sender<String>);

impl Reporter {
    fn report(&self, what: impl Into<String>) -> Result<(), BoxError> {
        Ok(self.0.try_send(what.into())?)
    }
}

impl ClientHandler for Reporter {
    type Protocol = Lab;
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
        // A handler may call its own server, and wait for it.
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

#[test]
fn a_handler_is_told_of_connections_pushes_and_the_end() {
    run(async {
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
    });
}

#[test]
fn a_handler_that_fails_or_panics_ends_its_client() {
    struct Fails(bool);
    impl ClientHandler for Fails {
        type Protocol = Lab;
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
    run(async {
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

#[test]
fn a_client_tells_what_took_its_last_connection() {
    run(async {
        let (daemon, _client, _watch) = pair().await;
        let client = quick(daemon.local_addr()).connect().await.unwrap();
        assert!(client.last_disconnect().is_none());
        client.disconnect().await;
        assert!(matches!(client.last_disconnect(), Some(Disconnect::Asked)));

        // The first byte of a TLS record, as a server says that does not understand plaintext.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = quick(listener.local_addr().unwrap()).start();
        let (mut server, _) = listener.accept().await.unwrap();
        client.until(Status::is_connected).await;
        let alert = smol::io::AsyncWriteExt::write_all(&mut server, &[0x15, 3, 3, 0, 2, 2, 10]);
        let (lost, sent) = future::zip(client.call_within(Call::Ping, LONG), alert).await;
        sent.unwrap();
        assert!(
            matches!(lost, Err(CallError::Lost | CallError::Disconnected)),
            "{lost:?}"
        );
        let why = client.last_disconnect().unwrap().to_string();
        assert!(why.contains("looks like TLS"), "{why}");
    });
}
