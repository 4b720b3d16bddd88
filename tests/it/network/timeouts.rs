//! The library's time limits, on both sides of each.

use super::*;

use erps::{
    BoxedStream, Client, ConnectError, ExitReason, Handshake, HandshakeError, ProtocolError,
    Secured, ServerOptions, Transport,
};

use crate::support::{
    certs::Ca,
    lab::{Call, Lab, Life, Watch},
    raw::{self, Raw},
};

/// The smallest step across a limit.
const STEP: Duration = ms(1);

/// Lets whoever says a word come in: servers and clients alike.
#[derive(Debug)]
struct Word;

async fn hear(mut stream: BoxedStream) -> Result<Secured, HandshakeError> {
    stream.read_exact(&mut [0; 4]).await?;
    Ok(Secured::new(stream))
}

impl Transport for Word {
    fn accept<'a>(&'a self, stream: BoxedStream, _: SocketAddr) -> Handshake<'a> {
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
            if let Life::Terminated(reason) = watch.lives.recv().await.unwrap() {
                return reason;
            }
        }
    })
    .await
}

#[test]
fn an_answer_within_the_connect_timeout_is_in_time() {
    simulated(1, |network| async move {
        let (builder, _watch) = lab::daemon();
        let daemon = builder.start_link().await.unwrap();
        let client = lab::client(&daemon).connect_timeout(secs(2));
        network.set_default_line(Line::new().latency(secs(1) - STEP));
        client.connect().await.unwrap();
        network.set_default_line(Line::new().latency(secs(1) + STEP));
        let (outcome, took) = timed(client.connect()).await;
        assert!(
            matches!(outcome, Err(ConnectError::TimedOut { .. })),
            "{outcome:?}"
        );
        assert_eq!(took, secs(2));
    });
}

#[test]
fn a_peer_has_the_handshake_timeout_to_say_its_word() {
    for (by, is_in_time) in [(secs(7) - STEP, true), (secs(7) + STEP, false)] {
        simulated(1, |network| async move {
            let (builder, watch) = lab::daemon();
            let daemon = builder.transport(Word).handshake_timeout(secs(7));
            let daemon = daemon.start_link().await.unwrap();
            let mut peer = network.connect(daemon.local_addr()).await.unwrap();
            time::sleep(by).await;
            let _ = peer.write_all(b"word").await;
            time::sleep(secs(1)).await;
            assert_eq!(daemon.info().failed, u64::from(!is_in_time));
            assert_eq!(watch.lives.len(), usize::from(is_in_time));
        });
    }
}

#[test]
fn a_server_has_the_handshake_timeout_to_say_its_word() {
    for (by, is_in_time) in [(secs(7) - STEP, true), (secs(7) + STEP, false)] {
        simulated(1, |network| async move {
            let listener = network.listen(local(PORT)).unwrap();
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                time::sleep(by).await;
                let _ = stream.write_all(b"word").await;
                future::pending().await
            };
            let client = Client::<Lab>::builder(local(PORT)).transport(Word);
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
fn a_silent_tls_peer_is_dropped_at_its_time() {
    simulated(1, |network| async move {
        let (builder, _watch) = lab::daemon();
        let tls = Ca::new().tls(&["localhost"]);
        let daemon = builder.transport(tls).start_link().await.unwrap();
        let mut peer = network.connect(daemon.local_addr()).await.unwrap();
        let (outcome, took) = timed(read(&mut peer)).await;
        assert_eq!((outcome.unwrap(), took), (Vec::new(), secs(10)));
        assert_eq!(daemon.info().failed, 1);
    });
}

#[test]
fn a_peer_that_does_not_read_is_given_up_at_its_time() {
    simulated(1, |network| async move {
        network.set_default_line(Line::new().window(1000));
        let (builder, watch) = lab::daemon();
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
fn a_client_gives_up_a_server_that_a_black_hole_took() {
    simulated(1, |network| async move {
        let (builder, _watch) = lab::daemon();
        let daemon = builder.start_link().await.unwrap();
        let client = lab::client(&daemon).stall_timeout(secs(20)).keepalive(None);
        let client = client.connect().await.unwrap();
        network.black_hole("localhost", "localhost");
        let bytes = vec![0; 100_000];
        let start = time::now();
        assert!(client.call(Call::Echo(bytes)).await.is_err());
        client
            .until(|status| !matches!(status, erps::Status::Connected(_)))
            .await;
        assert_eq!(time::now() - start, secs(20));
        client
            .until(|status| matches!(status, erps::Status::Connected(_)))
            .await;
        is_served(&client).await;
    });
}

#[test]
fn half_a_packet_is_waited_for_until_its_time() {
    for (by, is_in_time) in [(secs(30) - STEP, true), (secs(30) + STEP, false)] {
        simulated(1, |network| async move {
            let (builder, watch) = lab::daemon();
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
fn an_idle_client_says_every_minute_that_it_lives() {
    simulated(1, |network| async move {
        let listener = network.listen(local(PORT)).unwrap();
        let client = Client::<Lab>::builder(local(PORT)).connect().await.unwrap();
        let start = time::now();
        let (stream, _) = listener.accept().await.unwrap();
        let mut server = Raw::over(stream);
        for minute in 1..=10 {
            let (kind, _) = server.text().await.unwrap();
            assert_eq!(kind, erps::wire::packet::Kind::Keepalive);
            assert_eq!(time::now() - start, secs(60 * minute));
        }
        drop(client);
    });
}
