//! What a caller learns of a call without a reply, and what a server learns of a caller that no longer waits.

use erps::{
    BoxError, CallError, Client, Context, Daemon, InitError, Linked, Protocol, ReplyTo, Server,
    ServerError, ServerOptions, ServerRef, Term, wire::packet::Kind,
};
use serde::{Deserialize, Serialize};
use smol::{channel, future};

use crate::support::{
    panics,
    raw::{self, Raw},
    time::{HOUR, STEP, ms},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Call {
    Ping,
    Fail,
    Panic,
    Drop,
    /// The `ReplyTo` is kept in the server's state.
    Park,
    /// The `ReplyTo` is sent to the test.
    Hand,
}

struct Outcomes;

impl Protocol for Outcomes {
    type Call = Call;
    type Reply = String;
    type Cast = ();
    type Push = ();
}

struct OutcomesServer {
    parked: Vec<ReplyTo<String>>,
    handed: channel::Sender<ReplyTo<String>>,
}

impl Server for OutcomesServer {
    type Protocol = Outcomes;
    type Seed = channel::Sender<ReplyTo<String>>;
    type Info = ();

    async fn init(handed: Self::Seed, _: &mut Context<Self>) -> Result<Self, InitError> {
        let parked = Vec::new();
        Ok(Self { parked, handed })
    }

    async fn handle_call(
        &mut self,
        call: Call,
        from: ReplyTo<String>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match call {
            Call::Ping => from.reply("pong".into()),
            Call::Fail => {
                "no number".parse::<u8>()?;
            }
            Call::Panic => panic!("as the test asks"),
            Call::Drop => drop(from),
            Call::Park => self.parked.push(from),
            Call::Hand => self.handed.send(from).await?,
        }
        Ok(())
    }
}

type Handed = channel::Receiver<ReplyTo<String>>;

async fn daemon(options: ServerOptions) -> (Linked<Daemon<OutcomesServer>>, Handed) {
    let (handed, received) = channel::unbounded();
    let builder = Daemon::<OutcomesServer>::builder(handed).server_options(options);
    (builder.start_link().await.unwrap(), received)
}

async fn client(daemon: &Daemon<OutcomesServer>) -> Client<Outcomes> {
    let builder = Client::builder(daemon.local_addr());
    builder.connect().await.unwrap()
}

/// Sends a call and returns its future, which has not been answered.
async fn begin(
    client: &Client<Outcomes>,
    call: Call,
) -> impl Future<Output = Result<String, CallError>> + Unpin + use<> {
    let client = client.clone();
    let mut call = Box::pin(async move { client.call_within(call, HOUR).await });
    assert!(future::poll_once(&mut call).await.is_none());
    call
}

fn failed_with(error: CallError) -> Option<String> {
    match error {
        CallError::Failed { message } => message,
        error => panic!("{error:?}"),
    }
}

#[erps::test(simulated)]
async fn failed_handler_fails_its_call_without_details_by_default() {
    let (daemon, _handed) = daemon(ServerOptions::new()).await;
    let client = client(&daemon).await;
    let error = client.call(Call::Fail).await.unwrap_err();
    assert_eq!(error.to_string(), "the server failed before it replied");
    assert!(error.may_have_run());
    assert_eq!(failed_with(error), None);
    let panicked = panics::expected(client_call_after_reconnect(&client, Call::Panic)).await;
    assert_eq!(failed_with(panicked.unwrap_err()), None);
}

async fn client_call_after_reconnect(
    client: &Client<Outcomes>,
    call: Call,
) -> Result<String, CallError> {
    client.until(|status| !status.is_connected()).await;
    client.connect().await.unwrap();
    client.call(call).await
}

#[erps::test(simulated)]
async fn failed_handler_fails_its_call_with_the_error_if_the_server_sends_details() {
    let (daemon, _handed) = daemon(ServerOptions::new().error_details(true)).await;
    let client = client(&daemon).await;
    let error = client.call(Call::Fail).await.unwrap_err();
    let message = "invalid digit found in string";
    assert_eq!(
        error.to_string(),
        format!("the server failed before it replied: {message}")
    );
    assert_eq!(failed_with(error).as_deref(), Some(message));
    let panicked = panics::expected(client_call_after_reconnect(&client, Call::Panic)).await;
    let message = failed_with(panicked.unwrap_err());
    assert_eq!(message.as_deref(), Some("panicked: as the test asks"));
}

#[erps::test(simulated)]
async fn parked_calls_fail_with_the_server() {
    let (daemon, _handed) = daemon(ServerOptions::new()).await;
    let client = client(&daemon).await;
    let parked = begin(&client, Call::Park).await;
    let failing = begin(&client, Call::Fail).await;
    assert_eq!(failed_with(failing.await.unwrap_err()), None);
    assert_eq!(failed_with(parked.await.unwrap_err()), None);
}

#[erps::test(simulated)]
async fn dropped_reply_to_fails_the_call_as_unanswered_and_the_server_continues() {
    let (daemon, _handed) = daemon(ServerOptions::new()).await;
    let client = client(&daemon).await;
    let error = client.call(Call::Drop).await.unwrap_err();
    assert!(matches!(error, CallError::Unanswered), "{error:?}");
    assert_eq!(client.call(Call::Ping).await.unwrap(), "pong");
}

#[erps::test(simulated)]
async fn error_packet_of_a_failed_call_holds_an_atom_or_a_tagged_message() {
    for (details, expected) in [
        (false, ":failed"),
        (true, "{:failed, \"invalid digit found in string\"}"),
    ] {
        let (daemon, _handed) = daemon(ServerOptions::new().error_details(details)).await;
        let mut peer = Raw::dial(daemon.local_addr()).await;
        peer.send(&raw::call(7, ":Fail")).await;
        let (header, term) = peer.next().await.unwrap();
        assert_eq!(header.kind, Kind::Error);
        let [reason, reference] = term.as_tuple().unwrap() else {
            panic!("{term}");
        };
        assert_eq!(reference, &Term::from(7));
        assert_eq!(reason.to_string(), expected);
        assert!(peer.next().await.is_none());
    }
}

#[erps::test(simulated)]
async fn local_caller_of_a_failed_handler_receives_the_exit_reason() {
    let (handed, _received) = channel::unbounded();
    let builder = ServerRef::<OutcomesServer>::builder(handed);
    let server = builder.start_link().await.unwrap();
    let error = server.call(Call::Fail).await.unwrap_err();
    assert!(matches!(error, ServerError::Stopped(reason) if reason.is_abnormal()));
}

#[erps::test(simulated)]
async fn try_reply_returns_the_reply_when_a_local_caller_has_timed_out() {
    let (handed, received) = channel::unbounded();
    let builder = ServerRef::<OutcomesServer>::builder(handed);
    let server = builder.start_link().await.unwrap();
    let error = server.call_within(Call::Hand, ms(10)).await.unwrap_err();
    assert!(matches!(error, ServerError::TimedOut), "{error:?}");
    let mut from = received.recv().await.unwrap();
    from.cancelled().await;
    assert!(from.is_cancelled());
    assert_eq!(from.try_reply("a job".into()), Err("a job".into()));
}

#[erps::test(simulated)]
async fn try_reply_succeeds_while_the_caller_waits() {
    let (daemon, handed) = daemon(ServerOptions::new()).await;
    let client = client(&daemon).await;
    let call = begin(&client, Call::Hand).await;
    let mut from = handed.recv().await.unwrap();
    assert!(!from.is_cancelled());
    assert!(future::poll_once(from.cancelled()).await.is_none());
    assert_eq!(from.try_reply("a job".into()), Ok(()));
    assert_eq!(call.await.unwrap(), "a job");
}

#[erps::test(simulated)]
async fn try_reply_returns_the_reply_when_the_connection_of_a_remote_caller_is_closed() {
    for size in [10, 1 << 20] {
        let (daemon, handed) = daemon(ServerOptions::new()).await;
        let client = client(&daemon).await;
        let call = begin(&client, Call::Hand).await;
        let mut from = handed.recv().await.unwrap();
        client.disconnect().await;
        assert!(matches!(call.await, Err(CallError::Lost)));
        from.cancelled().await;
        assert!(from.is_cancelled());
        let reply = "x".repeat(size);
        assert_eq!(from.try_reply(reply.clone()), Err(reply));
    }
}

#[erps::test(simulated)]
async fn cancelled_is_pending_until_the_connection_is_closed() {
    let (daemon, handed) = daemon(ServerOptions::new()).await;
    let client = client(&daemon).await;
    let _call = begin(&client, Call::Hand).await;
    let mut from = handed.recv().await.unwrap();
    let cancelled = erps::spawn(async move { from.cancelled().await });
    erps::time::sleep(STEP).await;
    assert!(!cancelled.is_finished());
    client.disconnect().await;
    cancelled.await;
}
