//! Tasks that a server spawns, and that are cancelled when it exits.

use std::panic::Location;

use super::{Context, Server};
use crate::{ExitReason, TaskHandle, TaskRef};

impl<S: Server> Context<S> {
    /// Spawns work that is cancelled when the server exits, is killed, or is dropped. OTP's linked process.
    ///
    /// The server handles other messages meanwhile. The task inherits the current universe, and runs on the executor of the
    /// server; with the feature `tokio` in its tokio runtime. It runs until it is done or [cancelled](TaskHandle::cancel);
    /// dropping the handle has no effect. If it panics, the server exits with that reason, as if the two were
    /// [linked](TaskRef::link). An error is a value: send it to the server with [`spawn_info`](Self::spawn_info).
    ///
    /// When the server exits in order, its tasks are cancelled after [`terminate`](Server::terminate), and
    /// [`exited`](TaskRef::exited) returns when they have been dropped. When it is killed, they are dropped at their next
    /// await, perhaps later than that. For work that outlives the server use [`erps::spawn`](crate::spawn).
    ///
    /// A drain of the daemon waits for it only if the future owns a [`busy`](Self::busy) guard, or the
    /// [`ReplyTo`](crate::ReplyTo) of a call. The number of tasks is not limited here; that of calls of a peer in flight is:
    /// [`max_in_flight`](crate::ServerOptions::max_in_flight).
    ///
    /// # Calling another service
    ///
    /// A handler that awaits the reply of another service delays all messages behind it. Move `from` into a task
    /// instead, and answer from there: the calls of the connection run side by side.
    ///
    /// ```
    /// use erps::{BoxError, Client, Context, Daemon, InitError, ReplyTo};
    ///
    /// #[erps::protocol]
    /// trait Prices {
    ///     async fn price(item: String) -> u64;
    /// }
    ///
    /// #[erps::protocol]
    /// trait Shop {
    ///     async fn total(item: String, count: u64) -> Result<u64, String>;
    /// }
    ///
    /// struct ShopServer {
    ///     prices: Client<PricesProtocol>,
    /// }
    ///
    /// #[erps::server]
    /// impl Shop for ShopServer {
    ///     // Cloned for each connection: all share one connection to the other service.
    ///     type Seed = Client<PricesProtocol>;
    ///
    ///     async fn init(prices: Client<PricesProtocol>) -> Result<Self, InitError> {
    ///         Ok(Self { prices })
    ///     }
    ///
    ///     #[reply_later]
    ///     async fn total(
    ///         &mut self,
    ///         item: String,
    ///         count: u64,
    ///         from: ReplyTo<Result<u64, String>>,
    ///         cx: &mut Context<Self>,
    ///     ) {
    ///         let prices = self.prices.clone();
    ///         cx.spawn(async move {
    ///             let price = prices.price(item).await;
    ///             from.reply(price.map(|it| it * count).map_err(|error| error.to_string()));
    ///         });
    ///     }
    /// }
    /// # #[derive(Default)]
    /// # struct PricesServer;
    /// # #[erps::server]
    /// # impl Prices for PricesServer {
    /// #     async fn price(&mut self, _: String) -> u64 { 7 }
    /// # }
    /// # fn main() -> Result<(), BoxError> {
    /// # smol::block_on(async {
    /// # let other = Daemon::<PricesServer>::builder(()).start_link().await?;
    /// # let prices = Client::<PricesProtocol>::builder(other.local_addr()).connect().await?;
    /// # let shop = Daemon::<ShopServer>::builder(prices).start_link().await?;
    /// # let client = Client::<ShopProtocol>::builder(shop.local_addr()).connect().await?;
    /// # assert_eq!(client.total("tea".into(), 3).await?, Ok(21));
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    ///
    /// The caller waits for up to its own timeout; the calls made here have timeouts of their own
    /// ([`ClientBuilder::reply_timeout`](crate::ClientBuilder::reply_timeout)). If the connection of the caller is lost, the
    /// server exits, and the call that is under way here is cancelled.
    #[track_caller]
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        self.start_child(Location::caller(), work)
    }

    /// As [`spawn`](Self::spawn), for work whose result is delivered to [`handle_info`](Server::handle_info). OTP's
    /// `Task.async/1`.
    ///
    /// The message waits while the mailbox is full.
    ///
    /// # Example
    ///
    /// ```
    /// use std::{io, path::PathBuf};
    /// use erps::{BoxError, Context};
    ///
    /// #[erps::protocol]
    /// trait Words {
    ///     #[cast]
    ///     fn load(file: PathBuf);
    ///     async fn count() -> u64;
    /// }
    ///
    /// #[derive(Default)]
    /// struct WordsServer {
    ///     count: u64,
    /// }
    ///
    /// enum Info {
    ///     Loaded(io::Result<String>),
    /// }
    ///
    /// #[erps::server]
    /// impl Words for WordsServer {
    ///     type Info = Info;
    ///
    ///     async fn load(&mut self, file: PathBuf, cx: &mut Context<Self>) {
    ///         cx.spawn_info(async move {
    ///             let text = erps::unblock(|| std::fs::read_to_string(file)).await;
    ///             Info::Loaded(text)
    ///         });
    ///     }
    ///
    ///     async fn handle_info(&mut self, info: Info) -> Result<(), BoxError> {
    ///         match info {
    ///             Info::Loaded(text) => self.count += text?.split_whitespace().count() as u64,
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     async fn count(&mut self) -> u64 {
    ///         self.count
    ///     }
    /// }
    /// ```
    #[track_caller]
    pub fn spawn_info(&self, work: impl Future<Output = S::Info> + Send + 'static) -> TaskHandle {
        self.start_reporting_child(Location::caller(), work)
    }

    /// Monitors another task: when it exits, [`handle_info`](Server::handle_info) receives the message that `make_info`
    /// makes of the exit reason. OTP's `Process.monitor/1`.
    ///
    /// Takes a [`TaskRef`] or anything that is one: a [`ServerRef`](crate::ServerRef), a [`Client`](crate::Client), a
    /// [`Daemon`](crate::Daemon), a supervisor. If the task has exited already, the message is sent at once. The monitor ends
    /// with the server, or when it is [cancelled](TaskHandle::cancel) (`Process.demonitor/1`). A message that is in the
    /// mailbox by then is still handled.
    ///
    /// # Example
    ///
    /// ```
    /// use erps::{BoxError, Context, ExitReason, InitError, ServerRef, TaskRef};
    ///
    /// #[erps::protocol]
    /// trait Watch {
    ///     async fn down() -> Vec<u64>;
    /// }
    ///
    /// struct WatchServer {
    ///     down: Vec<u64>,
    /// }
    ///
    /// enum Info {
    ///     Down(u64, ExitReason),
    /// }
    ///
    /// #[erps::server]
    /// impl Watch for WatchServer {
    ///     type Seed = Vec<TaskRef>;
    ///     type Info = Info;
    ///
    ///     async fn init(tasks: Vec<TaskRef>, cx: &mut Context<Self>) -> Result<Self, InitError> {
    ///         for task in tasks {
    ///             let id = task.id();
    ///             cx.monitor(&task, move |reason| Info::Down(id, reason));
    ///         }
    ///         Ok(Self { down: Vec::new() })
    ///     }
    ///
    ///     async fn handle_info(&mut self, info: Info) -> Result<(), BoxError> {
    ///         let Info::Down(id, reason) = info;
    ///         eprintln!("task {id} exited: {reason}");
    ///         self.down.push(id);
    ///         Ok(())
    ///     }
    ///
    ///     async fn down(&mut self) -> Vec<u64> {
    ///         self.down.clone()
    ///     }
    /// }
    /// ```
    #[track_caller]
    pub fn monitor(
        &self,
        task: &impl AsRef<TaskRef>,
        make_info: impl FnOnce(ExitReason) -> S::Info + Send + 'static,
    ) -> TaskHandle {
        let exited = task.as_ref().monitor();
        self.start_reporting_child(Location::caller(), async { make_info(exited.await) })
    }

    fn start_reporting_child(
        &self,
        at: &'static Location<'static>,
        work: impl Future<Output = S::Info> + Send + 'static,
    ) -> TaskHandle {
        let this = self.this().clone();
        self.start_child(at, async move {
            // An error means that the server is exiting, and this task with it.
            let _ = this.info(work.await).await;
        })
    }

    fn start_child(
        &self,
        at: &'static Location<'static>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> TaskHandle {
        let this = self.this();
        self.children.start(this.task(), this.spawner(), at, work)
    }
}
