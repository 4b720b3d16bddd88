//! An Erlang client with a daemon of this library.

use std::time::Duration;

use erps::{Peer, ServerOptions};

use super::{Ends, Erlang, IDENTITY, Wire, daemon, run};

/// Longer than the window in which an Elixir client reads once, with a margin for a busy machine.
const SPACED: Peer = Peer::Elixir {
    pause: Duration::from_millis(400),
};

fn is_served(wire: Wire) {
    run(async {
        let ends = Ends::new(wire);
        let daemon = daemon(&ends).start_link().await.unwrap();
        let Some(mut erlang) = Erlang::client(&ends, daemon.port(), &IDENTITY).await else {
            return;
        };
        erlang.expect("{call, ping}", "{reply,pong}").await;
        erlang.expect("echo_all", "{echoed,55}").await;
        erlang.expect("keepalive", "ok").await;
        erlang
            .expect("{call, {echo, \"charlist\"}}", "{reply,\"charlist\"}")
            .await;
        let reference = "{call, ping, #{ref => {make, <<\"it\">>}}}";
        erlang.expect(reference, "{reply,pong}").await;
        erlang.expect("{cast, {note, 1.5}}", "ok").await;
        erlang.expect("{cast, [a | b]}", "ok").await;
        erlang
            .expect("{call, casts}", "{reply,[{note,1.5},[a|b]]}")
            .await;
        erlang.expect("{cast, {push, [#{n => 1}]}}", "ok").await;
        erlang.expect("listen", "{heard,[#{n => 1}],0}").await;
        let unknown = "{error,<<\"unknown call: {:what, 1}\">>}";
        erlang.expect("{call, {what, 1}}", unknown).await;
        erlang.expect("{call, ping}", "{reply,pong}").await;
        erlang.expect("close", "ok").await;
    });
}

#[test]
fn erlang_client_is_served_over_tcp() {
    is_served(Wire::Tcp);
}

#[test]
fn erlang_client_is_served_over_tls_1_2() {
    is_served(Wire::Tls12);
}

#[test]
fn erlang_client_is_served_over_tls_1_3() {
    is_served(Wire::Tls13);
}

#[test]
fn erlang_client_and_daemon_compress_for_each_other() {
    run(async {
        let ends = Ends::new(Wire::Tcp);
        let daemon = daemon(&ends)
            .server_options(ServerOptions::new().compressed(9))
            .start_link()
            .await
            .unwrap();
        let Some(mut erlang) = Erlang::client(&ends, daemon.port(), &IDENTITY).await else {
            return;
        };
        erlang.expect("{options, [{compressed, 9}]}", "ok").await;
        erlang.expect("echo_all", "{echoed,55}").await;
        // The tag of a compressed term, and that of a tuple.
        let long = format!("{{form, {{echo, \"{}\"}}}}", "long ".repeat(100));
        erlang.expect(&long, "80").await;
        erlang.expect("{form, {echo, short}}", "104").await;
    });
}

#[test]
fn erlang_client_with_wrong_identity_receives_an_error_for_each_call() {
    run(async {
        let ends = Ends::new(Wire::Tcp);
        let daemon = daemon(&ends).start_link().await.unwrap();
        for (identity, told) in [
            (["elixir", "1.2.3"], "{error,<<\"wrong identifier\">>}"),
            (["erlang", "1.3.0"], "{reply,pong}"),
            (["erlang", "2.0.0"], "{error,<<\"incompatible version\">>}"),
        ] {
            let Some(mut erlang) = Erlang::client(&ends, daemon.port(), &identity).await else {
                return;
            };
            erlang.expect("{call, ping}", told).await;
            erlang.expect("{call, ping}", told).await;
        }
    });
}

#[test]
fn erlang_client_that_sends_no_packets_receives_an_error_and_a_close() {
    run(async {
        let ends = Ends::new(Wire::Tcp);
        let daemon = daemon(&ends).start_link().await.unwrap();
        let Some(mut erlang) = Erlang::client(&ends, daemon.port(), &IDENTITY).await else {
            return;
        };
        erlang
            .expect("{raw, <<\"GET / HTTP/1.1\\r\\n\\r\\n\">>}", "ok")
            .await;
        let answer = erlang.tell("{call, ping}").await;
        assert!(answer.starts_with("{logged,<<"), "{answer}");
        erlang.expect("listen", "{lost,closed,[]}").await;
    });
}

/// The reason for [`Peer::Elixir`].
#[test]
fn erlang_client_loses_pushes_that_arrive_together() {
    run(async {
        let ends = Ends::new(Wire::Tcp);
        let daemon = daemon(&ends).start_link().await.unwrap();
        let Some(mut erlang) = Erlang::client(&ends, daemon.port(), &IDENTITY).await else {
            return;
        };
        erlang.expect("{cast, {push, [1, 2, 3]}}", "ok").await;
        erlang.expect("listen", "{heard,[],1}").await;
    });
}

fn receives_all(wire: Wire) {
    run(async {
        let ends = Ends::new(wire);
        let daemon = daemon(&ends)
            .server_options(ServerOptions::new().peer(SPACED))
            .start_link()
            .await
            .unwrap();
        let Some(mut erlang) = Erlang::client(&ends, daemon.port(), &IDENTITY).await else {
            return;
        };
        erlang.expect("{cast, {push, [1, 2, 3, 4, 5]}}", "ok").await;
        erlang.expect("listen", "{heard,[1,2,3,4,5],0}").await;
        let calls = "{calls, [hold, hold, hold, hold, release]}";
        erlang.expect(calls, "{heard,[0,1,2,3,4],0}").await;
        erlang.expect("{call, ping}", "{reply,pong}").await;
    });
}

#[test]
fn erlang_client_receives_all_pushes_and_replies_with_peer_elixir() {
    receives_all(Wire::Tcp);
}

#[test]
fn erlang_client_receives_all_pushes_and_replies_with_peer_elixir_over_tls() {
    receives_all(Wire::Tls13);
}
