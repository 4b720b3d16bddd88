//! The library's time limits, on both sides of each.

use super::*;

use erps::{
    BoxedStream, Client, ConnectError, Daemon, Endpoint, ExitReason, Handshake, HandshakeError,
    Linked, ProtocolError, Secured, ServerOptions, Status, TcpOptions, TestCa, Transport,
    wire::packet::Kind,
};

use crate::support::{
    raw::{self, Raw},
    test_server::{Call, Lifecycle, TestProtocol, TestServer, Watch},
    time::STEP,
};

/// Lets whoever says a word come in: servers and clients alike.
#[derive(Debug)]
struct Word;

async fn hear(mut stream: BoxedStream) -> Result<Secured, HandshakeError> {
    stream.read_exact(&mut [0; 4]).await?;
    Ok(Secured::new(stream))
}

impl Transport for Word {
    fn accept<'a>(&'a self, stream: BoxedStream, _: Endpoint) -> Handshake<'a> {
        Box::pin(hear(stream))
    }

    fn connect<'a>(&'a self, stream: BoxedStream, _: &'a str) -> Handshake<'a> {
        Box::pin(hear(stream))
    }

    fn is_secure(&self) -> bool {
        false
    }
}

/// Why the first server ended, and how long it took.
async fn end(watch: &Watch) -> (ExitReason, Duration) {
    timed(async {
        loop {
            if let Lifecycle::Terminated(reason) = watch.lifecycle.recv().await.unwrap() {
                return reason;
            }
        }
    })
    .await
}

#[test]
fn connect_succeeds_within_the_connect_timeout() {
    simulated(1, |network| async move {
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.start_link().await.unwrap();
        let client = test_server::client(&daemon).connect_timeout(secs(2));
        network.set_default_link(Link::new().latency(secs(1) - STEP));
        client.connect().await.unwrap();
        network.set_default_link(Link::new().latency(secs(1) + STEP));
        let (outcome, took) = timed(client.connect()).await;
        assert!(
            matches!(outcome, Err(ConnectError::TimedOut { .. })),
            "{outcome:?}"
        );
        assert_eq!(took, secs(2));
    });
}

#[test]
fn daemon_closes_a_peer_without_hello_after_the_handshake_timeout() {
    for (by, is_in_time) in [(secs(7) - STEP, true), (secs(7) + STEP, false)] {
        simulated(1, |network| async move {
            let (builder, watch) = test_server::daemon();
            let daemon = builder.transport(Word).handshake_timeout(secs(7));
            let daemon = daemon.start_link().await.unwrap();
            let mut peer = network.connect(daemon.local_addr()).await.unwrap();
            time::sleep(by).await;
            let _ = peer.write_all(b"word").await;
            time::sleep(secs(1)).await;
            assert_eq!(daemon.info().failed, u64::from(!is_in_time));
            assert_eq!(watch.lifecycle.len(), usize::from(is_in_time));
        });
    }
}

#[test]
fn client_closes_a_server_without_hello_after_the_handshake_timeout() {
    for (by, is_in_time) in [(secs(7) - STEP, true), (secs(7) + STEP, false)] {
        simulated(1, |network| async move {
            let listener = network.listen(local(PORT)).unwrap();
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                time::sleep(by).await;
                let _ = stream.write_all(b"word").await;
                future::pending().await
            };
            let client = Client::<TestProtocol>::builder(local(PORT)).transport(Word);
            let client = client.handshake_timeout(secs(7));
            let connect = timed(client.connect());
            let (outcome, took) = future::or(connect, server).await;
            assert_eq!(took, by.min(secs(7)));
            match outcome {
                Ok(_) => assert!(is_in_time),
                Err(error) => {
                    assert!(
                        matches!(error, ConnectError::HandshakeTimeout(_)),
                        "{error:?}"
                    );
                    assert!(!is_in_time);
                }
            }
        });
    }
}

#[test]
fn silent_tls_peer_is_closed_after_the_handshake_timeout() {
    simulated(1, |network| async move {
        let (builder, _watch) = test_server::daemon();
        let tls = TestCa::new().tls(&["localhost"]);
        let daemon = builder.transport(tls).start_link().await.unwrap();
        let mut peer = network.connect(daemon.local_addr()).await.unwrap();
        let (outcome, took) = timed(read(&mut peer)).await;
        assert_eq!((outcome.unwrap(), took), (Vec::new(), secs(10)));
        assert_eq!(daemon.info().failed, 1);
    });
}

#[test]
fn write_timeout_closes_a_connection_whose_peer_does_not_read() {
    simulated(1, |network| async move {
        network.set_default_link(Link::new().window(1000));
        let (builder, watch) = test_server::daemon();
        let options = ServerOptions::new().write_timeout(secs(20));
        let daemon = builder.server_options(options).start_link().await.unwrap();
        let mut peer = network.connect(daemon.local_addr()).await.unwrap();
        let word = "x".repeat(5000);
        let call = raw::call(1, &format!("{{:echo, \"{word}\"}}"));
        peer.write_all(&call).await.unwrap();
        let last_moment = async {
            time::sleep(secs(20) - STEP).await;
            peer.read_exact(&mut [0]).await.unwrap();
            future::pending().await
        };
        let (reason, took) = future::or(end(&watch), last_moment).await;
        assert_eq!(took, secs(40) - STEP, "from the byte that was read");
        let ExitReason::Error(error) = reason else {
            panic!("{reason:?}");
        };
        let error = error.downcast_ref::<ProtocolError>();
        assert!(
            matches!(error, Some(ProtocolError::WriteTimeout(_))),
            "{error:?}"
        );
    });
}

#[test]
fn write_timeout_closes_a_client_of_a_black_holed_server() {
    simulated(1, |network| async move {
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.start_link().await.unwrap();
        let client = test_server::client(&daemon)
            .stall_timeout(secs(20))
            .keepalive(None);
        let client = client.connect().await.unwrap();
        network.black_hole("localhost", "localhost");
        let bytes = vec![0; 100_000];
        let start = time::now();
        assert!(client.call(Call::Echo(bytes)).await.is_err());
        client
            .until(|status| !matches!(status, Status::Connected(_)))
            .await;
        assert_eq!(time::now() - start, secs(20));
        client
            .until(|status| matches!(status, Status::Connected(_)))
            .await;
        assert_served(&client).await;
    });
}

#[test]
fn packet_timeout_closes_a_connection_with_half_a_packet() {
    for (by, is_in_time) in [(secs(30) - STEP, true), (secs(30) + STEP, false)] {
        simulated(1, |network| async move {
            let (builder, watch) = test_server::daemon();
            let daemon = builder.start_link().await.unwrap();
            let peer = network.connect(daemon.local_addr()).await.unwrap();
            let mut peer = Raw::over(peer);
            let call = raw::call(1, ":ping");
            let (half, rest) = call.split_at(call.len() / 2);
            peer.send(half).await;
            time::sleep(by).await;
            peer.try_send(rest).await;
            let (_, text) = peer.text().await.unwrap();
            assert_eq!(text.contains("pong"), is_in_time, "{text}");
            if !is_in_time {
                assert!(matches!(end(&watch).await.0, ExitReason::Error(_)));
            }
        });
    }
}

#[test]
fn packet_timeout_starts_with_the_first_byte() {
    for (bytes, is_in_time) in [(2_900, true), (3_300, false)] {
        simulated(1, |network| async move {
            let (builder, watch) = test_server::daemon();
            let daemon = builder.start_link().await.unwrap();
            network.set_default_link(Link::new().bandwidth(100));
            let peer = network.connect(daemon.local_addr()).await.unwrap();
            let mut peer = Raw::over(peer);
            let call = Call::Echo(vec![7; bytes]);
            // In one write.
            peer.send(&raw::bytes(Kind::Call, &(1, call))).await;
            if is_in_time {
                assert_eq!(peer.next().await.unwrap().0.kind, Kind::Reply);
                return;
            }
            let ExitReason::Error(error) = end(&watch).await.0 else {
                panic!("it is too slow");
            };
            let error = error.downcast_ref::<ProtocolError>();
            let is_late = matches!(error, Some(ProtocolError::PacketTimeout(_)));
            assert!(is_late, "{error:?}");
        });
    }
}

#[test]
fn idle_client_sends_a_keepalive_every_minute() {
    simulated(1, |network| async move {
        let listener = network.listen(local(PORT)).unwrap();
        let client = Client::<TestProtocol>::builder(local(PORT))
            .connect()
            .await
            .unwrap();
        let start = time::now();
        let (stream, _) = listener.accept().await.unwrap();
        let mut server = Raw::over(stream);
        for minute in 1..=10 {
            let (kind, _) = server.text().await.unwrap();
            assert_eq!(kind, Kind::Keepalive);
            assert_eq!(time::now() - start, secs(60 * minute));
        }
        drop(client);
    });
}

/// A daemon and a client of it on two hosts, whose connection is lost in a black hole now.
async fn estranged(
    network: &Network,
    options: TcpOptions,
) -> (Linked<Daemon<TestServer>>, Client<TestProtocol>, Watch) {
    let (shop, home) = (network.host("shop"), network.host("home"));
    let (builder, watch) = test_server::daemon();
    let builder = builder
        .bind(shop.ip())
        .plaintext_anywhere()
        .tcp(options.clone());
    let daemon = shop.scope(builder.start_link()).await.unwrap();
    let client = test_server::client(&daemon).tcp(options).keepalive(None);
    let client = home.scope(client.connect()).await.unwrap();
    assert_served(&client).await;
    network.black_hole("shop", "home");
    (daemon, client, watch)
}

async fn loses_its_connection(client: &Client<TestProtocol>) {
    let lost = |status: &Status| !matches!(status, Status::Connected(_));
    client.until(lost).await;
}

#[test]
fn user_timeout_closes_a_client_of_a_vanished_server() {
    simulated(1, |network| async move {
        let options = TcpOptions::new().user_timeout(secs(25)).keepalive(None);
        let (_daemon, client, _watch) = estranged(&network, options).await;
        time::sleep(secs(100)).await;
        assert!(client.status().is_connected(), "it has nothing to send");
        let call = async { client.call(Call::Ping).await.unwrap_err() };
        let (_, took) = timed(future::zip(call, loses_its_connection(&client))).await;
        assert_eq!(took, secs(25));
        client.connect().await.unwrap();
        assert_served(&client).await;
    });
}

#[test]
fn keepalive_closes_both_ends_of_a_dead_idle_connection() {
    // The user timeout ends the asking, after two questions at least and three at most.
    for (limit, asking) in [(None, 30), (Some(secs(1)), 10), (Some(secs(65)), 25)] {
        simulated(1, |network| async move {
            let options = TcpOptions::new().user_timeout(limit).keepalive(secs(40));
            let (daemon, client, watch) = estranged(&network, options).await;
            let (_, took) = timed(loses_its_connection(&client)).await;
            assert_eq!(took, secs(40 + asking));
            let (reason, _) = end(&watch).await;
            assert!(matches!(reason, ExitReason::Disconnected), "{reason}");
            // The other one is the client's next.
            client.connect().await.unwrap();
            assert_eq!(daemon.info().connections, 1);
        });
    }
}

#[test]
fn vanished_peer_is_kept_without_user_timeout_and_keepalive() {
    simulated(1, |network| async move {
        let options = TcpOptions::new().user_timeout(None).keepalive(None);
        let (daemon, client, _watch) = estranged(&network, options).await;
        time::sleep(secs(500_000)).await;
        assert!(client.status().is_connected());
        assert_eq!(daemon.info().connections, 1);
    });
}

#[test]
fn connection_survives_a_partition_shorter_than_the_timeouts() {
    for (lasts, survives) in [(secs(60) - STEP, true), (secs(60) + STEP, false)] {
        simulated(1, |network| async move {
            let (shop, home) = (network.host("shop"), network.host("home"));
            let (builder, watch) = test_server::daemon();
            let builder = builder.bind(shop.ip()).plaintext_anywhere();
            let daemon = shop.scope(builder.start_link()).await.unwrap();
            let client = home
                .scope(test_server::client(&daemon).connect())
                .await
                .unwrap();
            network.partition("shop", "home");
            assert!(client.call_within(Call::Ping, secs(5)).await.is_err());
            time::sleep(lasts - secs(5)).await;
            network.heal("shop", "home");
            client.connect().await.unwrap();
            assert_served(&client).await;
            let servers = std::iter::from_fn(|| watch.lifecycle.try_recv().ok());
            let begun = servers
                .filter(|life| matches!(life, Lifecycle::Init))
                .count();
            assert_eq!(begun, if survives { 1 } else { 2 });
        });
    }
}

#[test]
fn idle_timeout_closes_a_peer_that_sends_no_packet() {
    for (by, is_in_time) in [(secs(150) - STEP, true), (secs(150) + STEP, false)] {
        // A keepalive is enough, and half a packet is not.
        for packet in [&raw::cast("{:note, 1}")[..], &erps::wire::packet::KEEPALIVE] {
            simulated(1, |network| async move {
                let (builder, watch) = test_server::daemon();
                let daemon = builder.start_link().await.unwrap();
                let peer = network.connect(daemon.local_addr()).await.unwrap();
                let mut peer = Raw::over(peer);
                time::sleep(by).await;
                peer.try_send(packet).await;
                if is_in_time {
                    time::sleep(secs(10_000)).await;
                    assert_eq!(daemon.info().servers, 1);
                    return;
                }
                let (reason, _) = end(&watch).await;
                let ExitReason::Error(error) = reason else {
                    panic!("{reason:?}");
                };
                let error = error.downcast_ref::<ProtocolError>();
                let is_late = matches!(error, Some(ProtocolError::FirstPacketTimeout(_)));
                assert!(is_late, "{error:?}");
                let (kind, text) = peer.text().await.unwrap();
                assert_eq!(kind, Kind::Error);
                assert!(text.contains("150"), "{text}");
                assert_eq!(peer.text().await, None);
            });
        }
    }
}

#[test]
fn client_without_calls_is_not_closed_by_the_idle_timeout() {
    simulated(1, |_| async move {
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.start_link().await.unwrap();
        let client = test_server::client(&daemon).connect().await.unwrap();
        time::sleep(secs(10_000)).await;
        assert_eq!(daemon.info().accepted, 1);
        assert_served(&client).await;
    });
}

#[test]
fn silent_peer_is_kept_without_an_idle_timeout() {
    simulated(1, |network| async move {
        let (builder, _watch) = test_server::daemon();
        let options = ServerOptions::new().first_packet_timeout(None);
        let daemon = builder.server_options(options).start_link().await.unwrap();
        let _peer = network.connect(daemon.local_addr()).await.unwrap();
        time::sleep(secs(500_000)).await;
        assert_eq!(daemon.info().servers, 1);
    });
}
