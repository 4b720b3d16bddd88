//! Malformed and hostile input: each packet gets its answer, and other connections are not affected.

mod descriptors;
mod memory;

use erps::{
    Daemon, ExitReason, Linked, Network, ProtocolError, ServerOptions,
    network::Link,
    time,
    wire::{
        decoder::{FrameError, READ_CHUNK},
        packet::{KEEPALIVE, Kind},
    },
};
use serde_json::Value;

use crate::support::{
    raw::{self, Raw},
    test_server::{self, Call, Lifecycle, Reply, TestServer, Watch, run},
    time::{HOUR, STEP, at_once, ms, secs, timed},
};

async fn daemon() -> (Linked<Daemon<TestServer>>, Watch) {
    let (builder, watch) = test_server::daemon();
    (builder.start_link().await.unwrap(), watch)
}

/// Returns the exit reason of the first server that terminated.
async fn end(watch: &Watch) -> ExitReason {
    loop {
        if let Lifecycle::Terminated(reason) = watch.lifecycle.recv().await.unwrap() {
            return reason;
        }
    }
}

fn protocol_error(reason: &ExitReason) -> &ProtocolError {
    let ExitReason::Error(error) = reason else {
        panic!("{reason:?}");
    };
    error.downcast_ref().expect("a protocol error")
}

#[test]
fn segment_with_two_casts_and_a_call_is_decoded_as_three_packets() {
    run(async {
        let (daemon, _watch) = daemon().await;
        let mut peer = Raw::connect(daemon.local_addr()).await;
        let mut bytes = raw::cast("{:note, 1}");
        bytes.extend(raw::cast("{:note, 2}"));
        bytes.extend(raw::call(7, ":casts"));
        peer.send(&bytes).await;
        assert_eq!(
            peer.text().await,
            Some((Kind::Reply, "{{:casts, [1, 2]}, 7}".into()))
        );
    });
}

#[test]
fn packet_sent_byte_by_byte_is_decoded() {
    run(async {
        let (daemon, _watch) = daemon().await;
        let mut peer = Raw::connect(daemon.local_addr()).await;
        for byte in raw::call(8, ":ping") {
            peer.send(&[byte]).await;
            smol::future::yield_now().await;
        }
        assert_eq!(peer.text().await, Some((Kind::Reply, "{:pong, 8}".into())));
    });
}

#[test]
fn keepalives_between_packets_are_ignored() {
    run(async {
        let (daemon, _watch) = daemon().await;
        let mut peer = Raw::connect(daemon.local_addr()).await;
        let mut bytes = KEEPALIVE.repeat(3);
        bytes.extend(raw::call(1, ":ping"));
        bytes.extend(KEEPALIVE);
        bytes.extend(raw::call(2, ":ping"));
        peer.send(&bytes).await;
        assert_eq!(peer.text().await.unwrap().1, "{:pong, 1}");
        assert_eq!(peer.text().await.unwrap().1, "{:pong, 2}");
    });
}

#[test]
fn reply_carries_the_reference_of_its_call_unchanged() {
    run(async {
        let (daemon, _watch) = daemon().await;
        let mut peer = Raw::connect(daemon.local_addr()).await;
        for reference in [
            "-1",
            "1180591620717411303424",
            ":a",
            "{:x, [1, \"two\"]}",
            "%{a: 1}",
        ] {
            let request: erps::Term = format!("{{{reference}, :ping}}").parse().unwrap();
            peer.send(&raw::bytes(Kind::Call, &request)).await;
            let answer = peer.text().await.unwrap();
            assert_eq!(answer, (Kind::Reply, format!("{{:pong, {reference}}}")));
        }
    });
}

#[test]
fn rejected_packets_receive_an_error_and_the_connection_stays_open() {
    let undecodable = |why: &str| format!("{{\"call not understood: {why}");
    run(async {
        let (daemon, _watch) = daemon().await;
        let mut peer = Raw::connect(daemon.local_addr()).await;
        let request = |text: &str| text.parse::<erps::Term>().unwrap();
        let ping = request("{5, :ping}");
        let mut unsigned = raw::bytes(Kind::Call, &ping);
        unsigned[50] = 1;
        let table = [
            (
                raw::bytes_as("other", "1.2.3", Kind::Call, &ping),
                "{\"wrong identifier\", 5}".to_owned(),
            ),
            (
                raw::bytes_as("test", "2.0.0", Kind::Call, &ping),
                "{\"incompatible version\", 5}".to_owned(),
            ),
            (unsigned, "{\"authentication provided\", 5}".to_owned()),
            (
                raw::bytes_as("other", "2.0.0", Kind::Cast, &request(":x")),
                "\"wrong identifier\"".to_owned(),
            ),
            (
                raw::bytes(Kind::Call, &request(":just_an_atom")),
                "\"the payload of a call is a pair {reference, request}\"".to_owned(),
            ),
            (
                raw::bytes(Kind::Call, &request("{6, :no_such_call}")),
                undecodable("unknown variant `no_such_call`, expected one of `ping`"),
            ),
            (
                raw::bytes(Kind::Cast, &request("{:note, \"text\"}")),
                "\"cast not understood: ".to_owned(),
            ),
            (
                raw::raw_bytes("test", "1.2.3", Kind::Call, &[131, 104, 3, 97, 1]),
                "\"the payload is not a term that is taken here: truncated".to_owned(),
            ),
            (
                raw::bytes(Kind::Call, &(vec![0_u16; 2000], "ping")),
                "\"the reference of a call may have up to 1024 bytes\"".to_owned(),
            ),
        ];
        for (bytes, expected) in table {
            peer.send(&bytes).await;
            let (kind, text) = peer.text().await.expect("an answer on an open connection");
            assert_eq!(kind, Kind::Error);
            assert!(
                text.starts_with(&expected),
                "{text} does not start with {expected}"
            );
        }
        peer.send(&raw::call(9, ":ping")).await;
        assert_eq!(peer.text().await, Some((Kind::Reply, "{:pong, 9}".into())));
    });
}

#[test]
fn malformed_frame_receives_an_error_and_closes_the_connection() {
    run(async {
        let (daemon, watch) = daemon().await;
        let good = test_server::client(&daemon).connect().await.unwrap();
        let mut too_large = raw::call(1, ":ping");
        too_large[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        let mut unknown = raw::call(1, ":ping");
        unknown[8] = 5;
        let table: [(Vec<u8>, &str, FrameError); 3] = [
            (
                b"GET / HTTP/1.1\r\n\r\n".to_vec(),
                "cookie",
                FrameError::BadCookie { at: 0, found: b'G' },
            ),
            (
                too_large,
                "4294967295 bytes is over the limit of 16777216 bytes",
                FrameError::TooLarge {
                    size: u32::MAX as usize,
                    limit: 16 << 20,
                },
            ),
            (unknown, "kind 5", FrameError::UnknownKind(5)),
        ];
        for (bytes, expected, error) in table {
            let mut peer = Raw::connect(daemon.local_addr()).await;
            peer.send(&bytes).await;
            let (kind, text) = peer.text().await.expect("an error packet");
            assert_eq!(kind, Kind::Error);
            assert!(text.contains(expected), "{text} does not name {expected}");
            assert_eq!(peer.text().await, None);
            drop(peer);
            let reason = end(&watch).await;
            let ProtocolError::Frame(found) = protocol_error(&reason) else {
                panic!("{reason:?}");
            };
            assert_eq!(*found, error);
            assert_eq!(good.call(Call::Ping).await.unwrap(), Reply::Pong);
        }
    });
}

#[test]
fn error_arrives_although_the_peer_keeps_sending() {
    run(async {
        let (daemon, _watch) = daemon().await;
        for _ in 0..20 {
            let mut peer = Raw::connect(daemon.local_addr()).await;
            let mut bytes = raw::call(1, ":ping");
            bytes[0] = b'X';
            bytes.resize(100_000, 0);
            peer.try_send(&bytes).await;
            assert_eq!(peer.text().await.expect("the reason").0, Kind::Error);
        }
    });
}

#[test]
fn packet_kinds_that_only_servers_send_close_the_connection() {
    run(async {
        let (daemon, watch) = daemon().await;
        for kind in [Kind::Reply, Kind::Push, Kind::Error] {
            let mut peer = Raw::connect(daemon.local_addr()).await;
            peer.send(&raw::bytes(kind, &("x", 1))).await;
            assert_eq!(peer.text().await.expect("the reason").0, Kind::Error);
            assert_eq!(peer.text().await, None);
            let reason = end(&watch).await;
            let error = protocol_error(&reason);
            assert!(matches!(error, ProtocolError::UnexpectedKind(it) if *it == kind));
        }
    });
}

#[test]
fn executable_terms_close_the_connection_unless_safe_is_off() {
    // {5, &String.length/1}
    let fun = b"\x83h\x02a\x05qd\0\rElixir.Stringd\0\x06lengtha\x01";
    run(async {
        let (daemon, watch) = daemon().await;
        let mut peer = Raw::connect(daemon.local_addr()).await;
        peer.send(&raw::raw_bytes("test", "1.2.3", Kind::Call, fun))
            .await;
        assert_eq!(peer.text().await.expect("the reason").0, Kind::Error);
        assert_eq!(peer.text().await, None);
        let reason = end(&watch).await;
        assert!(matches!(
            protocol_error(&reason),
            ProtocolError::Executable(_)
        ));

        let (builder, _watch) = test_server::daemon();
        let options = ServerOptions::new().safe(false);
        let daemon = builder.server_options(options).start_link().await.unwrap();
        let mut peer = Raw::connect(daemon.local_addr()).await;
        peer.send(&raw::raw_bytes("test", "1.2.3", Kind::Call, fun))
            .await;
        let (kind, text) = peer.text().await.expect("an answer to the call");
        assert_eq!(kind, Kind::Error);
        assert!(text.ends_with(", 5}"), "{text}");
        peer.send(&raw::call(9, ":ping")).await;
        assert_eq!(peer.text().await, Some((Kind::Reply, "{:pong, 9}".into())));
    });
}

#[erps::test(simulated)]
async fn packet_timeout_closes_a_connection_with_an_incomplete_packet() {
    let (builder, watch) = test_server::daemon();
    let options = ServerOptions::new().packet_timeout(ms(100));
    let daemon = builder.server_options(options).start_link().await.unwrap();
    let mut slow = Raw::dial(daemon.local_addr()).await;
    let mut idle = Raw::dial(daemon.local_addr()).await;
    idle.send(&raw::call(0, ":ping")).await;
    idle.text().await.expect("an answer");
    let start = time::now();
    // Further bytes do not extend the time limit.
    let call = raw::call(1, ":ping");
    slow.send(&call[..50]).await;
    time::sleep(ms(100) - STEP).await;
    slow.send(&call[50..60]).await;
    let (kind, text) = slow.text().await.expect("the reason");
    assert_eq!(time::now() - start, ms(100));
    assert_eq!(kind, Kind::Error);
    assert!(text.contains("not completed within 100ms"), "{text}");
    assert_eq!(slow.text().await, None);
    let reason = end(&watch).await;
    assert!(matches!(
        protocol_error(&reason),
        ProtocolError::PacketTimeout(_)
    ));
    // The timeout does not apply between packets.
    time::sleep(HOUR).await;
    idle.send(&raw::call(2, ":ping")).await;
    let answer = at_once(idle.text()).await;
    assert_eq!(answer, Some((Kind::Reply, "{:pong, 2}".into())));
}

#[erps::test(simulated)]
async fn write_timeout_closes_a_peer_that_reads_nothing_and_bounds_its_memory() {
    const WINDOW: usize = 64 * 1024;
    const OUTGOING: usize = 64 * 1024;
    const ECHO: usize = 16 * 1024;
    let network = Network::current().unwrap();
    network.set_default_link(Link::new().window(WINDOW));
    let (builder, watch) = test_server::daemon();
    let options = ServerOptions::new()
        .write_timeout(ms(200))
        .max_outgoing(OUTGOING);
    let daemon = builder.server_options(options).start_link().await.unwrap();
    let mut peer = Raw::dial(daemon.local_addr()).await;
    let request = erps::Term::tuple([
        erps::Term::atom("echo"),
        erps::Term::binary(vec![0_u8; ECHO]),
    ]);
    let bytes = raw::bytes(Kind::Call, &(1, request));
    let sent = std::cell::Cell::new(0);
    let flood = async {
        for _ in 0..400 {
            peer.try_send(&bytes).await;
            sent.set(sent.get() + ECHO);
        }
        std::future::pending().await
    };
    let (reason, took) = timed(smol::future::or(end(&watch), flood)).await;
    assert!(
        matches!(protocol_error(&reason), ProtocolError::WriteTimeout(_)),
        "{reason:?}"
    );
    assert_eq!(took, ms(200));
    // The bytes accepted from the peer are in the connection's windows in both directions, in the send queue,
    // and in the server's mailbox.
    let most = 2 * WINDOW + OUTGOING + 16 * ECHO;
    assert!(sent.get() < most, "{} bytes were taken", sent.get());
}

#[erps::test(simulated)]
async fn busy_server_pauses_reading_and_loses_no_packet() {
    const WINDOW: usize = 8 * 1024;
    let network = Network::current().unwrap();
    network.set_default_link(Link::new().window(WINDOW));
    let (daemon, watch) = daemon().await;
    let mut peer = Raw::dial(daemon.local_addr()).await;
    peer.send(&raw::call(1, ":answer_and_go_on")).await;
    assert!(peer.text().await.is_some());
    let note = raw::cast("{:note, 7}");
    let mut sent = 0;
    loop {
        let mut sending = Box::pin(peer.send(&note));
        sent += 1;
        if time::timeout(secs(1), &mut sending).await.is_err() {
            watch.gate.send(()).await.unwrap();
            sending.await;
            break;
        }
    }
    assert!(sent * note.len() < WINDOW + READ_CHUNK, "{sent} were taken");
    peer.send(&raw::call(2, ":casts")).await;
    let (_, reply) = peer.next().await.unwrap();
    let all = format!("{{{{:casts, {:?}}}, 2}}", vec![7; sent]);
    assert_eq!(reply.to_string(), all);
}

#[erps::test(simulated)]
async fn golden_negative_packets_receive_their_answers_and_the_daemon_keeps_running() {
    let golden: Vec<Value> =
        serde_json::from_str(include_str!("../golden/packets.json")).expect("the golden file");
    let (builder, _watch) = test_server::daemon();
    let options = ServerOptions::new().packet_timeout(secs(30));
    let daemon = builder
        .identifier("oracle".parse().unwrap())
        .versions("~> 1.2".parse().unwrap())
        .server_options(options)
        .start_link()
        .await
        .unwrap();
    let mut seen = 0;
    for record in golden.iter().filter(|it| it["kind"] == "negative") {
        let name = record["name"].as_str().unwrap();
        let hex = record["hex"].as_str().unwrap();
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect();
        // A valid call behind it shows whether the connection stays open.
        let good: erps::Term = "{4711, :ping}".parse().unwrap();
        let good = raw::bytes_as("oracle", "1.2.3", Kind::Call, &good);
        let mut peer = Raw::dial(daemon.local_addr()).await;
        peer.try_send(&bytes).await;
        if !is_incomplete(name) {
            peer.try_send(&good).await;
        }
        let sent = time::now();
        let mut answers = Vec::new();
        let lifecycle = loop {
            match peer.text().await {
                None => break false,
                Some((Kind::Reply, text)) if text == "{:pong, 4711}" => break true,
                Some(answer) => answers.push(answer),
            }
        };
        let took = if is_incomplete(name) { 30 } else { 0 };
        assert_eq!(time::now() - sent, secs(took), "{name}");
        let (expected_to_live, expected) = expectation(name);
        assert_eq!(lifecycle, expected_to_live, "{name}: {answers:?}");
        match expected {
            None => assert_eq!(answers, [], "{name}"),
            Some((kind, start)) => {
                if name == "size_field_one_too_small" {
                    let (_, last) = answers.pop().expect("two answers");
                    assert!(last.contains("cookie"), "{last}");
                }
                assert_eq!(answers.len(), 1, "{name}: {answers:?}");
                assert_eq!(answers[0].0, kind, "{name}: {answers:?}");
                assert!(answers[0].1.starts_with(start), "{name}: {answers:?}");
            }
        }
        seen += 1;
    }
    assert!(seen >= 40, "only {seen} records");
}

/// Packets that are never completed and run into the packet timeout.
fn is_incomplete(name: &str) -> bool {
    matches!(
        name,
        "cookie_only"
            | "seven_bytes"
            | "eight_bytes_size_0"
            | "header_one_byte_short"
            | "truncated_payload"
    )
}

/// Returns whether the connection stays open, and the answer expected before that of the valid call, if any.
fn expectation(name: &str) -> (bool, Option<(Kind, &'static str)>) {
    let error = |text| Some((Kind::Error, text));
    match name {
        _ if is_incomplete(name) => (false, error("\"a packet was not completed")),
        "bad_cookie" | "bad_cookie_one_bit" | "garbage_http" => (false, error("\"")),
        // The last byte of the payload is in the place of the next cookie.
        "size_field_one_too_small" => (false, error("{\"the payload is not a term")),
        _ if name.starts_with("size_field_") => (false, error("\"payload of ")),
        "two_keepalives_in_one_segment" => (true, None),
        "keepalive_then_call_in_one_segment" => (true, Some((Kind::Reply, "{:pong, 77}"))),
        _ if name.starts_with("type_code_0_with_full_header_no") => (false, error("\"")),
        _ if name.starts_with("type_") => (false, error("\"")),
        "identifier_wrong"
        | "identifier_trailing_garbage_after_nul"
        | "identifier_and_version_both_wrong" => (true, error("{\"wrong identifier\", 77}")),
        "version_too_new" | "version_too_old" => (true, error("{\"incompatible version\", 77}")),
        "hmac_not_empty" | "signature_not_empty" => {
            (true, error("{\"authentication provided\", 77}"))
        }
        _ if name.starts_with("executable_") => (false, error("\"")),
        "port_term" => (false, error("\"")),
        // Atoms are not interned here, so they are no danger; these payloads are not pairs.
        _ if name.starts_with("unsafe_atom") => (true, error("\"the payload of a call is a pair")),
        "call_payload_not_a_pair" => (true, error("\"the payload of a call is a pair")),
        "etf_trailing_bytes" => (true, Some((Kind::Reply, "{:pong, 77}"))),
        "call_ref_is_an_atom" => (true, Some((Kind::Reply, "{:pong, :ping}"))),
        "call_ref_is_negative" => (true, Some((Kind::Reply, "{:pong, -1}"))),
        "call_ref_is_big" => (true, Some((Kind::Reply, "{:pong, 1180591620717411303424}"))),
        _ if name.starts_with("etf_") => (true, error("\"the payload is not a term")),
        _ => panic!("a golden packet without an expectation: {name}"),
    }
}
