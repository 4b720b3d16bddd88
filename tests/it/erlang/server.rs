//! An Erlang server with a client of this library.

use std::time::Duration;

use erps::{Backoff, CallError, Client, ClientBuilder, Peer, Status, Term};
use futures::future::join_all;

use super::{Ends, Erlang, Untyped, Wire, run};
use crate::support::test_server::eventually;

fn client(ends: &Ends, port: u16) -> ClientBuilder<Untyped> {
    let builder = Client::builder(("localhost", port))
        .reply_timeout(Duration::from_secs(30))
        .backoff(Backoff::new(
            Duration::from_millis(10),
            Duration::from_millis(100),
        ));
    match ends.wire {
        Wire::Tcp => builder,
        Wire::Tls12 | Wire::Tls13 => builder.transport(ends.ours.clone()),
    }
}

fn term(text: &str) -> Term {
    text.parse().unwrap()
}

fn echo(term: Term) -> Term {
    Term::tuple([Term::atom("echo"), term])
}

/// Returns how often the server has seen something.
async fn seen(client: &Client<Untyped>, what: &str) -> i64 {
    let call = term(&format!("{{:seen, {what}}}"));
    client.call(call).await.unwrap().as_integer().unwrap()
}

fn serves_many_callers(wire: Wire) {
    run(async {
        let ends = Ends::new(wire);
        let Some((_erlang, port)) = Erlang::server(&ends, &[]).await else {
            return;
        };
        let client = client(&ends, port).peer(Peer::elixir()).connect().await;
        let client = client.unwrap();
        join_all((0..50).map(|caller| {
            let client = client.clone();
            async move {
                for call in 0..4 {
                    let both = Term::tuple([Term::from(caller), Term::from(call)]);
                    assert_eq!(client.call(echo(both.clone())).await.unwrap(), both);
                }
            }
        }))
        .await;
        let cast = term("{:note, %{a: 1}}");
        join_all((0..5).map(|_| client.cast(cast.clone()))).await;
        assert_eq!(seen(&client, "{:cast, {:note, %{a: 1}}}").await, 5);
        assert_eq!(seen(&client, ":einval").await, 0);
    });
}

#[test]
fn erlang_server_serves_many_callers_one_packet_at_a_time() {
    serves_many_callers(Wire::Tcp);
}

#[test]
fn erlang_server_serves_many_callers_one_packet_at_a_time_over_tls_1_2() {
    serves_many_callers(Wire::Tls12);
}

#[test]
fn erlang_server_serves_many_callers_one_packet_at_a_time_over_tls_1_3() {
    serves_many_callers(Wire::Tls13);
}

/// The reason for [`Peer::Elixir`].
#[test]
fn erlang_server_fails_on_calls_that_arrive_together_and_the_client_reconnects() {
    run(async {
        let ends = Ends::new(Wire::Tcp);
        let Some((_erlang, port)) = Erlang::server(&ends, &[]).await else {
            return;
        };
        let client = client(&ends, port).connect().await.unwrap();
        let mut lost = 0;
        // Needs two packets to arrive together, which depends on the operating system.
        for _ in 0..100 {
            let calls = (0..50).map(|n| client.call(echo(Term::from(n))));
            for (n, outcome) in (0..).zip(join_all(calls).await) {
                match outcome {
                    Ok(answer) => assert_eq!(answer, Term::from(n)),
                    Err(CallError::Lost) => lost += 1,
                    Err(CallError::Disconnected { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            client.until(Status::is_connected).await;
            if lost > 0 {
                break;
            }
        }
        assert!(lost > 0, "no call was lost");
        assert_eq!(
            client.call(Term::atom("ping")).await.unwrap(),
            Term::atom("pong")
        );
        assert!(seen(&client, ":einval").await > 0);
    });
}

#[test]
fn erlang_server_echoes_terms_unchanged() {
    run(async {
        let ends = Ends::new(Wire::Tcp);
        let Some((_erlang, port)) = Erlang::server(&ends, &[]).await else {
            return;
        };
        let builder = client(&ends, port).peer(Peer::elixir());
        for client in [&builder, &builder.clone().compressed(9)] {
            let client = client.connect().await.unwrap();
            for text in [
                "nil",
                ":\"with spaces\"",
                ":\"grün Ж\"",
                "Some.Module",
                "-1",
                "4294967296",
                "9223372036854775808",
                "-1606938044258990275541962092341162602522202993782792835301376",
                "0.1",
                "-1.0e300",
                "\"grün\"",
                "<<0, 255>>",
                "<<1, 5::size(3)>>",
                "[]",
                "~c\"charlist\"",
                "[1, :a | 2.5]",
                "{}",
                "{:a, {:b, [c: 1]}}",
                "%{}",
                "%{1 => %{\"k\" => [nil, true]}, a: <<>>}",
                "%Point{x: 1, y: -1}",
            ] {
                let term = term(text);
                assert_eq!(
                    client.call(echo(term.clone())).await.unwrap(),
                    term,
                    "{text}"
                );
            }
            let many = Term::list((0..70_000).map(Term::from));
            assert_eq!(client.call(echo(many.clone())).await.unwrap(), many);
        }
    });
}

#[test]
fn erlang_server_and_client_compress_for_each_other() {
    run(async {
        let ends = Ends::new(Wire::Tcp);
        let Some((_erlang, port)) = Erlang::server(&ends, &[]).await else {
            return;
        };
        let client = client(&ends, port).peer(Peer::elixir()).compressed(6);
        let client = client.connect().await.unwrap();
        let long = Term::from("long ".repeat(1000));
        let call = Term::tuple([Term::atom("compressed"), long.clone()]);
        assert_eq!(client.call(call).await.unwrap(), long);
        assert_eq!(seen(&client, "{:form, 80}").await, 1);
    });
}

#[test]
fn erlang_servers_pushes_arrive() {
    run(async {
        let ends = Ends::new(Wire::Tls13);
        let Some((_erlang, port)) = Erlang::server(&ends, &[]).await else {
            return;
        };
        let client = client(&ends, port).peer(Peer::elixir()).connect().await;
        let client = client.unwrap();
        let mut pushes = client.pushes();
        for text in ["1", "%{two: 2}"] {
            client
                .cast(term(&format!("{{:push_me, {text}}}")))
                .await
                .unwrap();
            assert_eq!(pushes.next().await, Some(term(text)));
        }
    });
}

#[test]
fn erlang_server_accepts_keepalives_between_calls() {
    run(async {
        let ends = Ends::new(Wire::Tcp);
        let Some((_erlang, port)) = Erlang::server(&ends, &[]).await else {
            return;
        };
        // More often than the server reads them: keepalives do not accumulate.
        let builder = client(&ends, port).peer(Peer::elixir());
        let client = builder.keepalive(Duration::from_millis(5)).connect().await;
        let client = client.unwrap();
        let mut received = 0;
        while received < 3 {
            client.call(term("{:sleepfor, 50}")).await.unwrap();
            received = seen(&client, ":keepalive").await;
        }
        assert_eq!(seen(&client, ":einval").await, 0);
    });
}

/// The error of Elixir's server names no call, and the server never reads again.
#[test]
fn erlang_servers_error_fails_the_only_call_in_flight() {
    run(async {
        let ends = Ends::new(Wire::Tcp);
        let Some((_erlang, port)) = Erlang::server(&ends, &["another"]).await else {
            return;
        };
        let client = client(&ends, port).peer(Peer::elixir()).connect().await;
        let refused = client.unwrap().call(Term::atom("ping")).await.unwrap_err();
        assert!(
            matches!(&refused, CallError::Remote(why) if why == "wrong identifier"),
            "{refused}"
        );
    });
}

#[test]
fn call_is_lost_when_the_erlang_server_exits() {
    run(async {
        let ends = Ends::new(Wire::Tcp);
        let Some((erlang, port)) = Erlang::server(&ends, &[]).await else {
            return;
        };
        let client = client(&ends, port).peer(Peer::elixir()).connect().await;
        let client = client.unwrap();
        let mut pushes = client.pushes();
        client.cast(term("{:push_me, :now}")).await.unwrap();
        let mut held = Box::pin(client.call(term("{:sleepfor, 60_000}")));
        assert!(smol::future::poll_once(&mut held).await.is_none());
        assert!(pushes.next().await.is_some());
        drop(erlang);
        // The call waited behind the cast and may not have been sent.
        let outcome = held.await;
        assert!(
            matches!(
                outcome,
                Err(CallError::Lost | CallError::Disconnected { .. })
            ),
            "{outcome:?}"
        );
        eventually("the client notices the disconnect", || {
            !client.status().is_connected()
        })
        .await;
    });
}
