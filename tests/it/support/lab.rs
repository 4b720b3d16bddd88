//! A protocol and a server that do whatever a test needs.

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

pub(crate) struct Lab;

impl Protocol for Lab {
    const IDENTIFIER: &'static str = "lab";
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
    /// Which universe the server is in.
    Universe,
    /// Who the server says is at the other end.
    Peer,
    /// Answered when [`Call::Release`] comes, or never.
    Hold,
    /// Answers all held calls, the last first, and then this one.
    Release,
    /// Never answered: its `ReplyTo` is dropped.
    Forget,
    /// Answered, and then the handler goes on until it is told [`Info::GoOn`] on the channel.
    AnswerAndGoOn,
    Refuse(String),
    Crash,
    Fail(String),
    /// Answered, and then the server stops normally.
    StopReply,
    /// What was cast so far.
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

/// What happens to servers, for those who watch.
#[derive(Clone, Debug)]
pub(crate) enum Life {
    Init,
    Terminated(ExitReason),
}

/// The seed: where servers report, and what holds a handler up.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    pub(crate) lives: async_channel::Sender<Life>,
    pub(crate) gate: async_channel::Receiver<()>,
}

/// The other ends of a seed.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) lives: async_channel::Receiver<Life>,
    pub(crate) gate: async_channel::Sender<()>,
}

pub(crate) fn seed() -> (Seed, Watch) {
    let (life, lives) = async_channel::unbounded();
    let (open, gate) = async_channel::unbounded();
    (Seed { lives: life, gate }, Watch { lives, gate: open })
}

pub(crate) struct LabServer {
    seed: Seed,
    held: Vec<ReplyTo<Reply>>,
    casts: Vec<u64>,
}

impl Server for LabServer {
    type Protocol = Lab;
    type Seed = Seed;
    type Info = String;

    async fn init(seed: Seed, _: &mut Context<Self>) -> Result<Self, InitError> {
        let _ = seed.lives.try_send(Life::Init);
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
            Call::Universe => from.reply(Reply::Universe(here())),
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
        let _ = self.seed.lives.try_send(Life::Terminated(reason.clone()));
    }
}

/// A daemon of lab servers, prepared.
pub(crate) fn daemon() -> (DaemonBuilder<LabServer>, Watch) {
    let (seed, watch) = seed();
    (Daemon::builder(seed), watch)
}

/// How long the calls of a test wait that is not about how long they do: nearly as long as a test may
/// [take](run). On a machine that has much else to do, the usual five seconds are soon over.
pub(crate) const PATIENCE: Duration = Duration::from_secs(50);

/// A client of a daemon, prepared. It is patient.
pub(crate) fn client(daemon: &Daemon<LabServer>) -> ClientBuilder<Lab> {
    Client::builder(daemon.local_addr()).reply_timeout(PATIENCE)
}

/// A daemon and a client of it, connected over plain TCP.
pub(crate) async fn pair() -> (Linked<Daemon<LabServer>>, Client<Lab>, Watch) {
    let (builder, watch) = daemon();
    let daemon = builder.start_link().await.expect("a free port");
    let client = client(&daemon).connect().await.expect("a listening daemon");
    (daemon, client, watch)
}

/// Runs a test's future on this thread, for a minute at most.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let limit = async {
        smol::Timer::after(Duration::from_secs(60)).await;
        panic!("the test hangs")
    };
    smol::block_on(smol::future::or(test, limit))
}

/// Waits, with a bound, for what has no event of its own.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(std::time::Instant::now() < limit, "never: {what}");
        smol::Timer::after(Duration::from_millis(2)).await;
    }
}

/// Waits until nobody listens at this address any more.
///
/// The system may be a moment behind: a process that another test is starting holds all sockets of
/// this one until it has become the program that it is to run.
pub(crate) async fn freed(address: std::net::SocketAddr) {
    let bind = || std::net::TcpListener::bind(address).is_ok();
    eventually("the port is free", bind).await;
}

/// Which universe this code is in, by its number.
pub(crate) fn here() -> Option<u64> {
    Universe::current().map(|universe| universe.id())
}

/// Which universe the server of this client is in.
pub(crate) async fn universe_of(client: &Client<Lab>) -> Option<u64> {
    match client.call(Call::Universe).await {
        Ok(Reply::Universe(id)) => id,
        other => panic!("{other:?}"),
    }
}

/// Fails unless the server of this client answers.
pub(crate) async fn is_served(client: &Client<Lab>) {
    assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
}

/// An executor with a thread of its own, which looks after no sockets and no timers: it runs what
/// is ready and parks. Runs until dropped.
pub(crate) struct OwnThread {
    pub(crate) executor: Arc<smol::Executor<'static>>,
    pub(crate) id: std::thread::ThreadId,
    _stop: async_channel::Sender<()>,
}

impl OwnThread {
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

/// An address of this machine that no other test listens at or connects from, so that a port which
/// was freed there is given to nobody else. (Linux answers to all of 127/8.)
pub(crate) fn alone() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}
