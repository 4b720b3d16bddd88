//! Calls with reply types of their own, without the macro.

use std::{
    sync::{Condvar, LazyLock, Mutex},
    time::Duration,
};

use async_channel::{Receiver, Sender};
use erps::{
    AnyReply, BoxError, CallError, Caller as _, Client, Context, Daemon, InitError, Never,
    Protocol, ReplyTo, Request, Server, ServerError, ServerRef, Term,
};
use futures_lite::future::{poll_once, zip};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Call {
    Total,
    Name(u64),
    Large,
    Never,
}

struct Counter;

impl Protocol for Counter {
    type Call = Call;
    type Reply = AnyReply;
    type Cast = Never;
    type Push = Never;
}

struct Total;
struct Name(u64);

impl From<Total> for Call {
    fn from(_: Total) -> Self {
        Self::Total
    }
}

impl From<Name> for Call {
    fn from(Name(n): Name) -> Self {
        Self::Name(n)
    }
}

impl Request<Counter> for Total {
    type Reply = i64;
}

impl Request<Counter> for Name {
    type Reply = Result<String, u64>;
}

#[derive(Debug)]
struct CounterServer(Option<ReplyTo<AnyReply>>);

impl Server for CounterServer {
    type Protocol = Counter;
    type Seed = ();
    type Info = ();

    async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(None))
    }

    async fn handle_call(
        &mut self,
        call: Call,
        from: ReplyTo<AnyReply>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match call {
            Call::Total => from.typed::<i64>().reply(7),
            Call::Name(0) => from.typed::<Result<String, u64>>().reply(Err(0)),
            Call::Name(n) => from
                .typed::<Result<String, u64>>()
                .reply(Ok(format!("the {n}th"))),
            Call::Large => from.typed().reply(ByteBuf::from(vec![7; 100 * 1024])),
            Call::Never => self.0 = Some(from),
        }
        Ok(())
    }
}

async fn pair() -> (erps::Linked<Daemon<CounterServer>>, Client<Counter>) {
    let daemon = Daemon::<CounterServer>::builder(())
        .start_link()
        .await
        .unwrap();
    let client = Client::builder(daemon.local_addr())
        .connect()
        .await
        .unwrap();
    (daemon, client)
}

#[erps::test]
async fn a_request_has_the_reply_type_of_its_call() {
    let (_daemon, client) = pair().await;
    assert_eq!(client.request(Total).await.unwrap(), 7);
    assert_eq!(client.request(Name(4)).await.unwrap().unwrap(), "the 4th");
    assert_eq!(client.request(Name(0)).await.unwrap(), Err(0));
}

#[erps::test]
async fn a_reply_of_another_type_is_undecodable_and_the_client_goes_on() {
    let (_daemon, client) = pair().await;
    let outcome = client.call_as::<String>(Call::Total).await;
    assert!(
        matches!(outcome, Err(CallError::Undecodable(_))),
        "{outcome:?}"
    );
    let outcome = client.call_as::<i64>(Call::Total).await;
    assert_eq!(outcome.unwrap(), 7);
}

#[erps::test]
async fn call_returns_an_any_reply_that_decodes_as_any_type_with_that_term() {
    let (_daemon, client) = pair().await;
    let total = client.call(Call::Total).await.unwrap();
    assert_eq!(total.decode::<u8>().unwrap(), 7);
    let total = client.call(Call::Total).await.unwrap();
    total.decode::<String>().unwrap_err();
    let name = client.call(Call::Name(4)).await.unwrap();
    assert_eq!(
        name.decode::<Term>().unwrap(),
        "{:ok, \"the 4th\"}".parse().unwrap()
    );
}

#[erps::test]
async fn a_server_in_this_process_replies_with_the_type_of_the_call() {
    let server = ServerRef::<CounterServer>::builder(())
        .start_link()
        .await
        .unwrap();
    assert_eq!(server.request(Total).await.unwrap(), 7);
    assert_eq!(server.request(Name(0)).await.unwrap(), Err(0));
    let wrong = server.call_as::<String>(Call::Total).await;
    assert!(matches!(wrong, Err(ServerError::WrongType(_))), "{wrong:?}");
    // Another type with the same term.
    assert_eq!(
        server.call_as::<Term>(Call::Total).await.unwrap(),
        Term::from(7)
    );
    let any = server.call(Call::Total).await.unwrap();
    assert_eq!(any.decode::<i64>().unwrap(), 7);
}

#[erps::test(simulated)]
async fn options_set_the_timeout_of_a_call() {
    let (_daemon, client) = pair().await;
    let start = erps::time::now();
    let outcome = client
        .with(Duration::from_secs(60))
        .call_as::<i64>(Call::Never)
        .await;
    assert!(
        matches!(outcome, Err(CallError::TimedOut { sent: true })),
        "{outcome:?}"
    );
    assert_eq!(erps::time::now() - start, Duration::from_secs(60));

    let server = ServerRef::<CounterServer>::builder(())
        .start_link()
        .await
        .unwrap();
    let start = erps::time::now();
    let outcome = server
        .with(Duration::from_secs(1))
        .call_as::<i64>(Call::Never)
        .await;
    assert!(matches!(outcome, Err(ServerError::TimedOut)), "{outcome:?}");
    assert_eq!(erps::time::now() - start, Duration::from_secs(1));
}

/// Gives away the `ReplyTo` of each call.
struct Giver(Sender<ReplyTo<AnyReply>>);

impl Server for Giver {
    type Protocol = Counter;
    type Seed = Sender<ReplyTo<AnyReply>>;
    type Info = ();

    async fn init(seed: Self::Seed, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(seed))
    }

    async fn handle_call(
        &mut self,
        _: Call,
        from: ReplyTo<AnyReply>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        Ok(self.0.try_send(from)?)
    }
}

#[erps::test]
async fn try_reply_of_a_typed_reply_returns_it_if_the_caller_is_gone() {
    let (sender, given) = async_channel::unbounded();
    let server = ServerRef::<Giver>::builder(sender)
        .start_link()
        .await
        .unwrap();
    let mut call = Box::pin(server.request(Total));
    let from = async { given.recv().await.unwrap().typed::<i64>() };
    let mut from = Box::pin(from);
    let from = loop {
        assert!(poll_once(&mut call).await.is_none());
        if let Some(from) = poll_once(&mut from).await {
            break from;
        }
        smol::future::yield_now().await;
    };
    assert!(!from.is_remote() && !from.is_cancelled());
    drop(call);
    assert!(from.is_cancelled());
    assert_eq!(from.try_reply(5), Err(5));

    let refuse = async { given.recv().await.unwrap().typed::<i64>().refuse("no") };
    let (outcome, ()) = zip(server.request(Total), refuse).await;
    assert!(matches!(outcome, Err(ServerError::Refused(why)) if why == "no"));
    let unanswered = async { drop(given.recv().await.unwrap().typed::<i64>()) };
    let (outcome, ()) = zip(server.request(Total), unanswered).await;
    assert!(
        matches!(outcome, Err(ServerError::Unanswered)),
        "{outcome:?}"
    );
}

/// Reached by the `Deserialize` of [`Gated`], which then waits until the test opens it.
static REACHED: LazyLock<(Sender<()>, Receiver<()>)> = LazyLock::new(async_channel::unbounded);
static OPEN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

#[derive(Debug, Serialize)]
struct Gated(ByteBuf);

impl<'de> Deserialize<'de> for Gated {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = ByteBuf::deserialize(from)?;
        REACHED.0.try_send(()).unwrap();
        let (open, changed) = &OPEN;
        let limit = Duration::from_secs(20);
        let open = open.lock().unwrap();
        let (open, _) = changed.wait_timeout_while(open, limit, |it| !*it).unwrap();
        assert!(*open, "other calls waited for the decoding");
        Ok(Self(bytes))
    }
}

#[erps::test]
async fn a_large_reply_that_is_being_decoded_delays_no_other_reply() {
    let (_daemon, client) = pair().await;
    let large = client.call_as::<Gated>(Call::Large);
    let others = async {
        REACHED.1.recv().await.unwrap();
        assert_eq!(client.request(Total).await.unwrap(), 7);
        assert_eq!(client.request(Total).await.unwrap(), 7);
        *OPEN.0.lock().unwrap() = true;
        OPEN.1.notify_all();
    };
    let (large, ()) = zip(large, others).await;
    assert_eq!(large.unwrap().0.len(), 100 * 1024);
}

#[derive(Debug, Serialize)]
struct Panics;

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("in `deserialize`")
    }
}

#[erps::test(allow_panics = "in `deserialize`")]
async fn a_panic_in_the_deserialize_of_a_reply_is_the_callers_and_the_client_goes_on() {
    let (_daemon, client) = pair().await;
    for call in [Call::Total, Call::Large] {
        let task = erps::spawn({
            let client = client.clone();
            async move { client.call_as::<Panics>(call).await.map(drop) }
        });
        let outcome = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(task)).await;
        assert!(outcome.is_err());
    }
    assert_eq!(client.request(Total).await.unwrap(), 7);
}
