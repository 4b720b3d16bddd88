//! The daemon of a server, from its context.

use std::sync::Arc;

use super::{Daemon, shared::Shared};
use crate::{Context, Server};

impl<S: Server> Context<S> {
    /// Returns the daemon that has accepted the server's connection; `None` for a server that was started otherwise.
    ///
    /// The handle does not keep the daemon alive. A callback must not await [`drain`](Daemon::drain), [`exited`](Daemon::exited)
    /// or a shutdown of its own daemon, which wait for this server: start it with [`erps::spawn`](crate::spawn).
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use erps::{BoxError, Context, Daemon};
    ///
    /// #[erps::protocol]
    /// trait Admin {
    ///     async fn connections() -> u64;
    ///     #[cast]
    ///     fn drain();
    /// }
    ///
    /// #[derive(Default)]
    /// struct AdminServer;
    ///
    /// #[erps::server]
    /// impl Admin for AdminServer {
    ///     async fn connections(&mut self, cx: &mut Context<Self>) -> u64 {
    ///         cx.daemon().map_or(0, |daemon| daemon.connections().len() as u64)
    ///     }
    ///
    ///     async fn drain(&mut self, cx: &mut Context<Self>) {
    ///         if let Some(daemon) = cx.daemon() {
    ///             erps::spawn(daemon.drain(Duration::from_secs(20))).detach();
    ///         }
    ///     }
    /// }
    /// # smol::block_on(async {
    /// # let daemon = Daemon::<AdminServer>::builder(()).start_link().await?;
    /// # let client = erps::Client::<AdminProtocol>::builder(daemon.local_addr()).connect().await?;
    /// # assert_eq!(client.connections().await?, 1);
    /// # client.drain().await?;
    /// # daemon.exited().await;
    /// # Ok::<_, BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn daemon(&self) -> Option<Daemon<S>> {
        let shared: Arc<Shared> = self.parent()?;
        Some(Daemon::new(shared.task.clone(), shared))
    }
}
