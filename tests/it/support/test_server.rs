//! A protocol and a server with the behaviours that tests need.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};

use erps::{
    BoxError, Client, ClientBuilder, Context, Daemon, DaemonBuilder, ExitReason, InitError, Linked,
    Protocol, ReplyTo, Server, Universe,
};
use serde::{Deserialize, Serialize};

pub(crate) struct TestProtocol;

impl Protocol for TestProtocol {
    const IDENTIFIER: &'static str = "test";
    const VERSION: &'static str = "1.2.3";
    const ACCEPTS: &'static str = "~> 1.2";
    type Call = Call;
    type Reply = Reply;
    type Cast = Cast;
    type Push = String;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Call {
    Ping,
    Echo(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Replies with the universe that the server runs in.
    Universe,
    /// Replies with the common name of the peer's certificate.
    Peer,
    /// Answered by the next [`Call::Release`], or never.
    Hold,
    /// Answers all held calls, newest first, then this one.
    Release,
    /// Drops its `ReplyTo` without an answer.
    Forget,
    /// Replies, then the handler waits for a message on the gate channel.
    AnswerAndGoOn,
    Refuse(String),
    Crash,
    Fail(String),
    /// Replies, then the server stops normally.
    StopReply,
    /// Replies with the numbers cast so far.
    Casts,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Pong,
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    Universe(Option<u64>),
    Peer(Option<String>),
    Released(u64),
    Casts(Vec<u64>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cast {
    Note(u64),
    Push(String),
}

/// What a server reports of its lifecycle.
#[derive(Clone, Debug)]
pub(crate) enum Lifecycle {
    Init,
    Terminated(ExitReason),
}

/// The seed: where servers report their lifecycle, and the gate that blocks a handler.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    pub(crate) lifecycle: async_channel::Sender<Lifecycle>,
    pub(crate) gate: async_channel::Receiver<()>,
}

/// The test's ends of the channels in a seed.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) lifecycle: async_channel::Receiver<Lifecycle>,
    pub(crate) gate: async_channel::Sender<()>,
}

pub(crate) fn seed() -> (Seed, Watch) {
    let (life, lifecycle) = async_channel::unbounded();
    let (open, gate) = async_channel::unbounded();
    (
        Seed {
            lifecycle: life,
            gate,
        },
        Watch {
            lifecycle,
            gate: open,
        },
    )
}

pub(crate) struct TestServer {
    seed: Seed,
    held: Vec<ReplyTo<Reply>>,
    casts: Vec<u64>,
}

impl Server for TestServer {
    type Protocol = TestProtocol;
    type Seed = Seed;
    type Info = String;

    async fn init(seed: Seed, _: &mut Context<Self>) -> Result<Self, InitError> {
        let _ = seed.lifecycle.try_send(Lifecycle::Init);
        Ok(Self {
            seed,
            held: Vec::new(),
            casts: Vec::new(),
        })
    }

    async fn handle_call(
        &mut self,
        call: Call,
        from: ReplyTo<Reply>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match call {
            Call::Ping => from.reply(Reply::Pong),
            Call::Echo(bytes) => from.reply(Reply::Bytes(bytes)),
            Call::Universe => from.reply(Reply::Universe(current_universe())),
            Call::Peer => {
                let identity = cx.peer().and_then(|peer| peer.identity.as_ref());
                let name = identity.and_then(|it| it.common_name()).map(str::to_owned);
                from.reply(Reply::Peer(name));
            }
            Call::Hold => self.held.push(from),
            Call::Release => {
                let count = self.held.len();
                for (n, held) in self.held.drain(..).enumerate().rev() {
                    held.reply(Reply::Released(n as u64));
                }
                from.reply(Reply::Released(count as u64));
            }
            Call::Forget => drop(from),
            Call::AnswerAndGoOn => {
                from.reply(Reply::Pong);
                let _ = self.seed.gate.recv().await;
            }
            Call::Refuse(why) => from.refuse(why),
            Call::Crash => panic!("as the test asks"),
            Call::Fail(why) => return Err(why.into()),
            Call::StopReply => {
                from.reply(Reply::Pong);
                cx.stop(ExitReason::Normal);
            }
            Call::Casts => from.reply(Reply::Casts(self.casts.clone())),
        }
        Ok(())
    }

    async fn handle_cast(&mut self, cast: Cast, cx: &mut Context<Self>) -> Result<(), BoxError> {
        match cast {
            Cast::Note(n) => self.casts.push(n),
            Cast::Push(text) => cx.push(text).await?,
        }
        Ok(())
    }

    async fn handle_info(&mut self, info: String, cx: &mut Context<Self>) -> Result<(), BoxError> {
        cx.push(info).await?;
        Ok(())
    }

    async fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        let _ = self
            .seed
            .lifecycle
            .try_send(Lifecycle::Terminated(reason.clone()));
    }
}

/// Returns a builder for a daemon of test servers.
pub(crate) fn daemon() -> (DaemonBuilder<TestServer>, Watch) {
    let (seed, watch) = seed();
    (Daemon::builder(seed), watch)
}

/// The reply timeout in tests that do not test timeouts: nearly as long as a test may [run]. On a busy
/// machine the default of five seconds is too short.
pub(crate) const REPLY_TIMEOUT: Duration = Duration::from_secs(50);

/// Returns a builder for a client of this daemon, with a long reply timeout.
pub(crate) fn client(daemon: &Daemon<TestServer>) -> ClientBuilder<TestProtocol> {
    Client::builder(daemon.local_addr()).reply_timeout(REPLY_TIMEOUT)
}

/// Starts a daemon and a client connected to it over plain TCP.
pub(crate) async fn pair() -> (Linked<Daemon<TestServer>>, Client<TestProtocol>, Watch) {
    let (builder, watch) = daemon();
    let daemon = builder.start_link().await.expect("a free port");
    let client = client(&daemon).connect().await.expect("a listening daemon");
    (daemon, client, watch)
}

/// Runs a test's future on this thread, for at most one minute.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let limit = async {
        smol::Timer::after(Duration::from_secs(60)).await;
        panic!("the test hangs")
    };
    smol::block_on(smol::future::or(test, limit))
}

/// Polls a condition until it holds, for at most 20 seconds. For conditions that emit no event.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(std::time::Instant::now() < limit, "never: {what}");
        smol::Timer::after(Duration::from_millis(2)).await;
    }
}

/// Waits until this address can be bound again.
///
/// A port can stay in use for a moment: a process that another test is spawning holds all sockets of this
/// process between fork and exec.
pub(crate) async fn until_free(address: std::net::SocketAddr) {
    let bind = || std::net::TcpListener::bind(address).is_ok();
    eventually("the port is free", bind).await;
}

/// Returns the id of the current universe.
pub(crate) fn current_universe() -> Option<u64> {
    Universe::current().map(|universe| universe.id())
}

/// Returns the id of the universe that the client's server runs in.
pub(crate) async fn universe_of(client: &Client<TestProtocol>) -> Option<u64> {
    match client.call(Call::Universe).await {
        Ok(Reply::Universe(id)) => id,
        other => panic!("{other:?}"),
    }
}

/// Asserts that the client's server answers a call.
pub(crate) async fn assert_served(client: &Client<TestProtocol>) {
    assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
}

/// An executor on a thread of its own, without a reactor for sockets and timers. It runs ready tasks and
/// parks, until dropped.
pub(crate) struct ThreadExecutor {
    pub(crate) executor: Arc<smol::Executor<'static>>,
    pub(crate) id: std::thread::ThreadId,
    _stop: async_channel::Sender<()>,
}

impl ThreadExecutor {
    pub(crate) fn new() -> Self {
        let executor = Arc::new(smol::Executor::new());
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let own = Arc::clone(&executor);
        let thread = std::thread::spawn(move || {
            futures_lite::future::block_on(own.run(stopped.recv())).unwrap_err();
        });
        Self {
            executor,
            id: thread.thread().id(),
            _stop: stop,
        }
    }
}

/// Returns a loopback address that no other test binds or connects from, so that a port freed there is not
/// reused by another test. (Linux accepts all of 127/8.)
pub(crate) fn unique_loopback() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}
