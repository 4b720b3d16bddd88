//! What a typed protocol is on the wire, to an Elixir programmer.

use erps::{
    AnyReply, BoxError, Client, Context, Daemon, InitError, Never, Protocol, ReplyTo, Server, Term,
    wire::{etf, packet::Kind},
};

use super::jobs::{
    Job, JobId, JobsCall, JobsCast, JobsClient as _, JobsProtocol, JobsPush, SubmitError, job, pair,
};
use crate::support::raw::{self, Raw};

fn term(text: &str) -> Term {
    text.parse().unwrap()
}

/// What a message is on the wire, as Elixir prints it.
fn printed(message: &impl serde::Serialize) -> String {
    let bytes = etf::to_vec(message).unwrap();
    etf::from_slice::<Term>(&bytes).unwrap().to_string()
}

#[test]
fn messages_are_atoms_and_tuples_in_snake_case() {
    let submit = JobsCall::Submit(job("job-1", 5));
    assert_eq!(printed(&submit), "{:submit, %{name: \"job-1\", size: 5}}");
    assert_eq!(printed(&JobsCall::Total), ":total");
    let resize = JobsCall::Resize(JobId(1), 5);
    assert_eq!(printed(&resize), "{:resize, 1, 5}");
    assert_eq!(printed(&JobsCall::Next), ":next_job");
    assert_eq!(printed(&JobsCast::Done(JobId(1))), "{:done, 1}");
    assert_eq!(printed(&JobsCast::Clear), ":clear");
    let paused = JobsPush::Paused("why".into());
    assert_eq!(printed(&paused), "{:paused, \"why\"}");
}

#[test]
fn messages_are_these_bytes() {
    // term_to_binary(total), and of {done, 7}.
    let total = [&[131, 119, 5][..], b"total"].concat();
    assert_eq!(etf::to_vec(&JobsCall::Total).unwrap(), total);
    let done = [&[131, 104, 2, 119, 4][..], b"done", &[97, 7]].concat();
    assert_eq!(etf::to_vec(&JobsCast::Done(JobId(7))).unwrap(), done);
    let decoded: JobsCast = etf::from_slice(&done).unwrap();
    assert!(matches!(decoded, JobsCast::Done(JobId(7))));
}

#[erps::test]
async fn a_peer_that_sends_packets_by_hand_is_served() {
    let (daemon, _client) = pair().await;
    let mut peer = Raw::connect(daemon.local_addr()).await;
    let call = |reference: u64, request: &str| {
        raw::bytes_as("jobs", "1.2.3", Kind::Call, &(reference, term(request)))
    };
    let reply = async |peer: &mut Raw| {
        let (kind, text) = peer.text().await.unwrap();
        assert_eq!(kind, Kind::Reply);
        text
    };
    peer.send(&call(1, "{:submit, %{name: \"job-1\", size: 5}}"))
        .await;
    assert_eq!(reply(&mut peer).await, "{{:ok, 1}, 1}");
    peer.send(&call(2, "{:submit, %{name: \"job-1\", size: 500}}"))
        .await;
    assert_eq!(reply(&mut peer).await, "{{:error, {:too_large, 500}}, 2}");
    peer.send(&call(3, ":total")).await;
    assert_eq!(reply(&mut peer).await, "{1, 3}");
    peer.send(&call(4, "{:resize, 1, 9}")).await;
    assert_eq!(reply(&mut peer).await, "{%{name: \"job-1\", size: 9}, 4}");
    peer.send(&call(5, ":ping")).await;
    assert_eq!(reply(&mut peer).await, "{nil, 5}");
    peer.send(&raw::bytes_as(
        "jobs",
        "1.2.3",
        Kind::Cast,
        &term("{:done, 7}"),
    ))
    .await;
    let push = (Kind::Push, "{:progress, 7, 100}".to_owned());
    assert_eq!(peer.text().await, Some(push));

    // A call that the protocol does not have is refused, and the server lives.
    peer.send(&call(6, "{:abort, 7}")).await;
    let (kind, text) = peer.text().await.unwrap();
    assert_eq!(kind, Kind::Error);
    assert!(
        text.starts_with("{\"call not understood: unknown variant `abort`"),
        "{text}"
    );
    peer.send(&call(7, "{:resize, 1}")).await;
    let (_, text) = peer.text().await.unwrap();
    assert!(text.starts_with("{\"call not understood: "), "{text}");
    peer.send(&call(8, ":total")).await;
    assert_eq!(reply(&mut peer).await, "{1, 8}");
}

/// As an Elixir client sees it.
struct Untyped;

impl Protocol for Untyped {
    const IDENTIFIER: &'static str = "jobs";
    const VERSION: &'static str = "1.2.9";
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Push = Term;
}

#[erps::test]
async fn an_untyped_client_calls_a_typed_server() {
    let (daemon, _client) = pair().await;
    let client = Client::<Untyped>::builder(daemon.local_addr())
        .connect()
        .await
        .unwrap();
    let mut pushes = client.pushes();
    let reply = client
        .call(term("{:submit, %{name: \"job-1\", size: 5}}"))
        .await;
    assert_eq!(reply.unwrap(), term("{:ok, 1}"));
    let reply = client
        .call(term("{:submit, %{name: \"x\", size: 5}}"))
        .await;
    assert_eq!(reply.unwrap(), term("{:error, :unnamed}"));
    // By its alias.
    let next = client.call(term(":next"));
    let submit = client.call(term("{:submit, %{name: \"job-2\", size: 5}}"));
    let (next, _) = futures_lite::future::zip(next, submit).await;
    assert_eq!(next.unwrap(), term("%{name: \"job-2\", size: 5}"));
    client.cast(term(":clear")).await.unwrap();
    assert_eq!(pushes.next().await.unwrap(), term("{:paused, \"empty\"}"));
    assert_eq!(pushes.next().await.unwrap(), term(":resumed"));
}

/// Answers as an Elixir server would.
struct UntypedServer;

impl Server for UntypedServer {
    type Protocol = Untyped;
    type Seed = ();
    type Info = ();

    async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        let reply = match &*call.to_string() {
            "{:submit, %{name: \"job-1\", size: 5}}" => "{:ok, 17}",
            "{:submit, %{name: \"job-2\", size: 5}}" => "{:error, {:too_large, 5}}",
            ":total" => "3",
            ":ping" => "nil",
            "{:resize, 1, 9}" => "nil",
            ":next_job" => "%{name: \"a\", size: 1, comment: \"unknown here\"}",
            other => panic!("{other}"),
        };
        cx.push(term("{:progress, 1, 50}")).await?;
        from.reply(term(reply));
        Ok(())
    }
}

#[erps::test]
async fn a_typed_client_calls_an_untyped_server() {
    let daemon = Daemon::<UntypedServer>::builder(())
        .start_link()
        .await
        .unwrap();
    let client = Client::<JobsProtocol>::builder(daemon.local_addr())
        .connect()
        .await
        .unwrap();
    let mut pushes = client.pushes();
    assert_eq!(client.submit(job("job-1", 5)).await.unwrap(), Ok(JobId(17)));
    let push = pushes.next().await.unwrap();
    assert!(matches!(push, JobsPush::Progress(JobId(1), 50)), "{push:?}");
    let refused = client.submit(job("job-2", 5)).await.unwrap();
    assert_eq!(refused, Err(SubmitError::TooLarge(5)));
    assert_eq!(client.total().await.unwrap(), 3);
    client.ping().await.unwrap();
    assert_eq!(client.resize(JobId(1), 9).await.unwrap(), None::<Job>);
    assert_eq!(client.next().await.unwrap(), job("a", 1));
}

/// A protocol without casts and pushes.
#[erps::protocol]
trait Small {
    async fn add(a: i64, b: i64) -> i64;
}

#[test]
fn a_protocol_without_casts_and_pushes_takes_none() {
    fn takes<P: Protocol<Call = SmallCall, Reply = AnyReply, Cast = Never, Push = Never>>() {
        assert_eq!((P::IDENTIFIER, P::VERSION, P::ACCEPTS), ("", "0.0.0", ""));
    }
    takes::<SmallProtocol>();
}
