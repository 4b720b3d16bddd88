//! The attributes of typed protocols, with their documentation.

/// Writes a typed protocol from a trait: its messages, the methods of its clients, and the trait of its servers.
///
/// An `async fn` is a call, with the type of its reply. A `#[cast] fn` is a cast, which a client sends without a reply.
/// A `#[push] fn` is a push, which a server sends. Arguments and replies are owned types that serde serializes and
/// deserializes. Documentation is passed on.
///
/// | Option | Default |
/// |---|---|
/// | `identifier = "jobs"` | the [`IDENTIFIER`](crate::Protocol::IDENTIFIER): empty |
/// | `version = "1.2.0"` | the [`VERSION`](crate::Protocol::VERSION): `"0.0.0"` |
/// | `accepts = "~> 1.2"` | what a server [`ACCEPTS`](crate::Protocol::ACCEPTS): every version |
/// | `crate = "net"` | the path of erps: as `Cargo.toml` has it |
///
/// # Example
///
/// ```
/// use erps::{BoxError, Client, Context, Daemon};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// pub struct TooLong(usize);
///
/// /// A queue of jobs.
/// #[erps::protocol(identifier = "jobs", version = "1.2.0", accepts = "~> 1.2")]
/// pub trait Jobs {
///     /// Submits a job, and returns how many there are.
///     async fn submit(name: String) -> Result<u64, TooLong>;
///
///     /// Returns the number of jobs.
///     async fn total() -> u64;
///
///     /// Removes all jobs.
///     #[cast]
///     fn clear();
///
///     /// All jobs were removed.
///     #[push]
///     fn cleared(total: u64);
/// }
///
/// #[derive(Default)]
/// struct Queue(Vec<String>);
///
/// #[erps::server]
/// impl Jobs for Queue {
///     async fn submit(&mut self, name: String) -> Result<u64, TooLong> {
///         if name.len() > 100 {
///             return Err(TooLong(name.len()));
///         }
///         self.0.push(name);
///         Ok(self.0.len() as u64)
///     }
///
///     async fn total(&mut self) -> u64 {
///         self.0.len() as u64
///     }
///
///     async fn clear(&mut self, cx: &mut Context<Self>) -> Result<(), BoxError> {
///         let total = self.0.drain(..).count() as u64;
///         Ok(cx.cleared(total).await?)
///     }
/// }
///
/// # fn main() -> Result<(), BoxError> {
/// smol::block_on(async {
///     let daemon = Daemon::<Queue>::builder(()).start_link().await?;
///     let client = Client::<JobsProtocol>::builder(daemon.local_addr()).connect().await?;
///     let mut pushes = client.pushes();
///     assert_eq!(client.submit("first".into()).await?, Ok(1));
///     assert_eq!(client.submit("x".repeat(101)).await?, Err(TooLong(101)));
///     assert_eq!(client.total().await?, 1);
///     client.clear().await?;
///     assert!(matches!(pushes.next().await, Some(JobsPush::Cleared(1))));
///     Ok(())
/// })
/// # }
/// ```
///
/// # What it writes
///
/// For a trait `Jobs`, with its visibility:
///
/// | Item | What it is |
/// |---|---|
/// | `Jobs` | the trait of servers, implemented with [`erps::server`](macro@crate::server) |
/// | `JobsProtocol` | the [`Protocol`](crate::Protocol), the type of a `Client<JobsProtocol>` |
/// | `JobsClient` | the calls and casts as methods of [`Client`](crate::Client), [`ServerRef`](crate::ServerRef) and [`With`](crate::With) |
/// | `JobsPushes` | the pushes as methods of [`Context`](crate::Context) and [`ServerRef`](crate::ServerRef) |
/// | `JobsHandler` | the trait of a client's handler, implemented with [`erps::handler`](macro@crate::handler) |
/// | `JobsCall`, `JobsCast`, `JobsPush` | the messages as they are sent. [`Client::pushes`](crate::Client::pushes) returns `JobsPush` |
///
/// `JobsClient` and `JobsPushes` are imported where their methods are called: `use jobs::JobsClient as _`.
///
/// # Calls
///
/// `client.submit(name)` waits for the client's [`reply_timeout`](crate::ClientBuilder::reply_timeout).
/// `client.with(Duration::from_secs(60)).submit(name)` sets another one: see [`CallOptions`](crate::CallOptions). The
/// methods have the errors and the cancel safety of [`Client::call`](crate::Client::call) and
/// [`Client::cast`](crate::Client::cast). Their replies are decoded in the future of the caller: a large reply does not
/// delay others.
///
/// # Errors of a call
///
/// There are three kinds, and each has one place:
///
/// | What went wrong | At the server | At the client |
/// |---|---|---|
/// | Something that the protocol declares, as `Result<T, E>` | the handler returns `Err(e)`; `?` converts into `E` | `Ok(Err(e))` |
/// | Something unexpected: the server exits | the handler returns `Result<_, BoxError>`, and `?` converts into `BoxError`; or it panics | [`CallError::Failed`](crate::CallError::Failed) |
/// | The connection, a timeout, another protocol | nothing | every other [`CallError`](crate::CallError) |
///
/// [`flatten_reply`](crate::FlattenReply::flatten_reply) makes one error of the two of
/// `Result<Result<T, E>, CallError>`. In a function whose error both convert into, `client.submit(name).await??` does as
/// well.
///
/// # On the wire
///
/// As an Elixir programmer would write it. The name of a message is an atom. A message without arguments is its name,
/// any other is a tuple: `total()` is `:total`, and `submit(name)` is `{:submit, "first"}`. `#[wire(name = "…")]` sets
/// another name. A `Result` is `{:ok, value}` or `{:error, error}`, and `()` is `nil`. The types of arguments and
/// replies are mapped as in [`wire::etf`](crate::wire::etf).
///
/// # Evolution
///
/// A client and a server of different versions talk to each other if the server [accepts](crate::Protocol::ACCEPTS) the
/// version of the client. Upgrade servers first: an old client then sees what the first two columns say.
///
/// | Change | Old client, new server | New client, old server |
/// |---|---|---|
/// | A call is added | nothing changes | the call fails: [`CallError::Remote`](crate::CallError::Remote), "call not understood"; the connection stays open |
/// | A cast is added | nothing changes | the cast is dropped; the client receives an error ([`handle_error`](crate::ClientHandler::handle_error)), logs and counts it |
/// | A push is added | the push is dropped and logged | nothing changes |
/// | A function is renamed, with `#[wire(name = "…")]` of its old name | nothing changes | nothing changes |
/// | A name is changed on the wire, with `#[wire(alias = "…")]` of its old name | nothing changes | the call fails, as one that is added |
/// | A field with `#[serde(default)]` is added to an argument | the server sees the default | the server ignores it |
/// | A field is added to a reply, with `#[serde(default)]` | the client ignores it | the client sees the default |
/// | A variant is added to an error or another enum of a reply | the reply is [`Undecodable`](crate::CallError::Undecodable), unless the enum has a unit variant with `#[serde(other)]`, and the added variant is a unit variant | nothing changes |
/// | An argument is added, or a type changed | the call fails, "call not understood"; or the reply is `Undecodable` | the same |
///
/// So a call that may grow takes one struct rather than several arguments. For a change of the last kind declare a
/// second call, or increase the version so that servers of one version reject clients of the other: then every call
/// fails with [`CallError::Remote`](crate::CallError::Remote), "incompatible version".
///
/// # Names
///
/// A call cannot be named as a method of `Client` or `Server`, nor a push as one of `Context`, `ServerRef` or
/// `ClientHandler`. The compiler says so, and `#[wire(name = "…")]` keeps the name on the wire. A call with the name of
/// a method of `ServerRef`, such as `info`, is called there as `JobsClient::info(&server)`.
pub use erps_macros::protocol;

/// Implements the trait of a typed protocol, and [`Server`](crate::Server) with it.
///
/// The block has a handler for each call and cast: an `async fn` with `&mut self`, the arguments, and
/// `cx: &mut Context<Self>`, which may be left out.
///
/// # Handlers
///
/// | The handler returns | For a call declared `-> T` | For a cast |
/// |---|---|---|
/// | `T` | the reply | `()` |
/// | `Result<T, BoxError>` | the reply; an error stops the server, and the call fails with [`CallError::Failed`](crate::CallError::Failed) | an error stops the server |
///
/// `T` may be a `Result<V, E>` itself. Then a handler that returns `Result<V, E>` replies with its errors, also with
/// those that `?` converts into `E`, and the server continues. A handler that returns `Result<Result<V, E>, BoxError>`
/// does both: `?` stops the server, and `Ok(Err(e))` is a reply. [`Context::stop`](crate::Context::stop) stops the server
/// after the reply was sent. A panic stops it as well, as in OTP.
///
/// # Replies that are given later
///
/// With `#[reply_later]` the handler of a call declared `-> T` takes `from: ReplyTo<T>` after the arguments, and returns
/// `()` or `Result<(), BoxError>`. Until the [`ReplyTo`](crate::ReplyTo) is answered or dropped, the call is pending,
/// and the server handles other messages.
///
/// # Other items
///
/// | Item | Without it |
/// |---|---|
/// | `type Seed` | `()` |
/// | `type Info` | `()` |
/// | `async fn init(seed: …) -> Result<Self, InitError>` | `Self::default()` |
/// | `handle_info`, `handle_timeout`, `handle_drain`, `terminate` | those of [`Server`](crate::Server) |
/// | `type Protocol` | the trait's name with `Protocol` after it, imported with the trait |
///
/// Each may leave out its `cx`, and `init` its seed. Everything else belongs in another `impl`.
///
/// A server without a connection that is only sent [infos](crate::ServerRef::info) implements a trait without functions,
/// such as `#[erps::protocol] trait NoCalls {}`. An info may contain the `ReplyTo` of a call, to be answered there.
///
/// # State that the servers of a daemon share
///
/// The [`Seed`](crate::Server::Seed) is cloned for each server. An `Arc` in it is shared by all of them: a counter, a
/// cache, a queue, a pool of database connections. A [`Client`](crate::Client) and a [`ServerRef`](crate::ServerRef) are
/// handles, whose clones share what they are handles to.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use erps::{BoxError, Client, Daemon, InitError};
///
/// #[erps::protocol]
/// trait Votes {
///     async fn vote() -> u64;
/// }
///
/// #[derive(Clone, Default)]
/// struct Seed {
///     votes: Arc<Mutex<u64>>,
/// }
///
/// struct VotesServer(Seed);
///
/// #[erps::server]
/// impl Votes for VotesServer {
///     type Seed = Seed;
///
///     async fn init(seed: Seed) -> Result<Self, InitError> {
///         Ok(Self(seed))
///     }
///
///     async fn vote(&mut self) -> u64 {
///         // Locked only between two awaits.
///         let mut votes = self.0.votes.lock().unwrap();
///         *votes += 1;
///         *votes
///     }
/// }
///
/// # fn main() -> Result<(), BoxError> {
/// smol::block_on(async {
///     let daemon = Daemon::<VotesServer>::builder(Seed::default()).start_link().await?;
///     for expected in 1..=2 {
///         let client = Client::<VotesProtocol>::builder(daemon.local_addr()).connect().await?;
///         assert_eq!(client.vote().await?, expected);
///     }
///     Ok(())
/// })
/// # }
/// ```
///
/// State with a life of its own, or that several messages change together, belongs in a server without a connection
/// ([`ServerRef::builder`](crate::ServerRef::builder)), whose `ServerRef` is in the seed.
///
/// # Example
///
/// ```
/// use std::num::ParseIntError;
/// use erps::{BoxError, Context, ExitReason, InitError, ReplyTo, ServerRef};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// pub enum AddError {
///     NoNumber,
/// }
///
/// impl From<ParseIntError> for AddError {
///     fn from(_: ParseIntError) -> Self {
///         Self::NoNumber
///     }
/// }
///
/// #[erps::protocol]
/// pub trait Counter {
///     async fn add(number: String) -> Result<i64, AddError>;
///     async fn load(text: String) -> i64;
///     async fn next() -> i64;
///     #[cast]
///     fn stop_now();
/// }
///
/// struct CounterServer {
///     total: i64,
///     waiting: Vec<ReplyTo<i64>>,
/// }
///
/// #[erps::server]
/// impl Counter for CounterServer {
///     type Seed = i64;
///
///     async fn init(total: i64) -> Result<Self, InitError> {
///         Ok(Self { total, waiting: Vec::new() })
///     }
///
///     // The error is a reply.
///     async fn add(&mut self, number: String) -> Result<i64, AddError> {
///         self.total += number.parse::<i64>()?;
///         for from in self.waiting.drain(..) {
///             from.reply(self.total);
///         }
///         Ok(self.total)
///     }
///
///     // An error stops the server.
///     async fn load(&mut self, text: String) -> Result<i64, BoxError> {
///         self.total = text.parse()?;
///         Ok(self.total)
///     }
///
///     #[reply_later]
///     async fn next(&mut self, from: ReplyTo<i64>) {
///         self.waiting.push(from);
///     }
///
///     async fn stop_now(&mut self, cx: &mut Context<Self>) {
///         cx.stop(ExitReason::Normal);
///     }
/// }
///
/// # fn main() -> Result<(), BoxError> {
/// smol::block_on(async {
///     let server = ServerRef::<CounterServer>::builder(7).start_link().await?;
///     assert_eq!(server.add("3".into()).await?, Ok(10));
///     assert_eq!(server.add("three".into()).await?, Err(AddError::NoNumber));
///     server.load("three".into()).await.unwrap_err();
///     assert!(matches!(server.exited().await, ExitReason::Error(_)));
///     Ok(())
/// })
/// # }
/// ```
pub use erps_macros::server;

/// Implements the trait of a typed protocol's pushes, and [`ClientHandler`](crate::ClientHandler) with it.
///
/// The block has a method for each push: an `async fn` with `&mut self`, the arguments, and
/// `cx: &mut ClientContext<Self>`, which may be left out. It returns `()`, or `Result<(), BoxError>`, whose error ends the
/// client.
///
/// `type Info` is `()` unless it is given. `init`, `handle_connect`, `handle_disconnect`, `handle_error`, `handle_info` and
/// `terminate` are those of [`ClientHandler`](crate::ClientHandler), and may leave out their `cx`.
///
/// # Example
///
/// ```
/// use erps::{BoxError, Client, ClientContext, PeerInfo};
///
/// #[erps::protocol]
/// pub trait News {
///     async fn subscribe(topic: String);
///     #[push]
///     fn headline(text: String);
/// }
///
/// struct Printer;
///
/// #[erps::handler]
/// impl NewsHandler for Printer {
///     async fn handle_connect(
///         &mut self,
///         _: PeerInfo,
///         cx: &mut ClientContext<Self>,
///     ) -> Result<(), BoxError> {
///         Ok(cx.client().subscribe("weather".into()).await?)
///     }
///
///     async fn headline(&mut self, text: String) {
///         println!("{text}");
///     }
/// }
///
/// let client = Client::<NewsProtocol>::builder(("localhost", 4747)).handler(|| Printer);
/// # let _ = client;
/// ```
pub use erps_macros::handler;
