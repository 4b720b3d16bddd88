//! An Erlang server, ours as the client.

use std::time::Duration;

use erps::{Backoff, CallError, Client, ClientBuilder, Peer, Status, Term};
use futures::future::join_all;

use super::{Ends, Erlang, Untyped, Wire, run};
use crate::support::lab::eventually;

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

/// How often the server has seen something.
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
fn an_erlang_server_serves_many_callers_one_packet_at_a_time() {
    serves_many_callers(Wire::Tcp);
}

#[test]
fn an_erlang_server_serves_many_callers_one_packet_at_a_time_over_tls_1_2() {
    serves_many_callers(Wire::Tls12);
}

#[test]
fn an_erlang_server_serves_many_callers_one_packet_at_a_time_over_tls_1_3() {
    serves_many_callers(Wire::Tls13);
}

/// This is what [`Peer::Elixir`] is for.
#[test]
fn an_erlang_server_breaks_at_calls_that_arrive_together_and_the_client_heals() {
    run(async {
        let ends = Ends::new(Wire::Tcp);
        let Some((_erlang, port)) = Erlang::server(&ends, &[]).await else {
            return;
        };
        let client = client(&ends, port).connect().await.unwrap();
        let mut lost = 0;
        // It takes two packets that arrive together, which is up to the system.
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
        assert!(lost > 0, "the server took everything");
        assert_eq!(
            client.call(Term::atom("ping")).await.unwrap(),
            Term::atom("pong")
        );
        assert!(seen(&client, ":einval").await > 0);
    });
}

#[test]
fn terms_come_back_from_an_erlang_server_as_they_were() {
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
fn an_erlang_server_and_a_client_compress_for_each_other() {
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
fn pushes_of_an_erlang_server_arrive() {
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
fn an_erlang_server_takes_keepalives_between_calls() {
    run(async {
        let ends = Ends::new(Wire::Tcp);
        let Some((_erlang, port)) = Erlang::server(&ends, &[]).await else {
            return;
        };
        // More often than it takes them: they do not pile up.
        let builder = client(&ends, port).peer(Peer::elixir());
        let client = builder.keepalive(Duration::from_millis(5)).connect().await;
        let client = client.unwrap();
        let mut heard = 0;
        while heard < 3 {
            client.call(term("{:sleepfor, 50}")).await.unwrap();
            heard = seen(&client, ":keepalive").await;
        }
        assert_eq!(seen(&client, ":einval").await, 0);
    });
}

/// The original names no call in it, and never reads again.
#[test]
fn the_error_of_an_erlang_server_reaches_the_only_call_in_flight() {
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
fn a_call_is_lost_with_an_erlang_server_that_dies() {
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
        // It waited behind the cast, and may not have left yet.
        let outcome = held.await;
        assert!(
            matches!(
                outcome,
                Err(CallError::Lost | CallError::Disconnected { .. })
            ),
            "{outcome:?}"
        );
        eventually("it notices", || !client.status().is_connected()).await;
    });
}
