//! The daemon of a server, from its context.

use erps::{
    Client, Context, Daemon, DaemonBuilder, ExitReason, InitError, ServerRef, ServerSupervisor,
    Shutdown,
};

use crate::support::time::{at_once, secs};

#[erps::protocol]
trait Admin {
    async fn connections() -> Option<u64>;
    async fn drain();
}

/// Keeps a handle to its own daemon, which must not keep that alive.
struct AdminServer {
    kept: Option<Daemon<Self>>,
}

#[erps::server]
impl Admin for AdminServer {
    async fn init(cx: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { kept: cx.daemon() })
    }

    async fn connections(&mut self, cx: &mut Context<Self>) -> Option<u64> {
        let daemon = cx.daemon()?;
        assert_eq!(self.kept.as_ref().map(Daemon::port), Some(daemon.port()));
        Some(daemon.connections().len() as u64)
    }

    async fn drain(&mut self, cx: &mut Context<Self>) {
        if let Some(daemon) = cx.daemon() {
            erps::spawn(daemon.drain(secs(20))).detach();
        }
    }
}

async fn client(daemon: &Daemon<AdminServer>) -> Client<AdminProtocol> {
    let client = Client::builder(daemon.local_addr());
    client.connect().await.unwrap()
}

#[erps::test(simulated)]
async fn server_reaches_its_daemon_under_any_supervisor() {
    let builder = || -> DaemonBuilder<AdminServer> { Daemon::builder(()) };
    let unsupervised = builder().server_supervisor(ServerSupervisor::Unsupervised);
    let custom = ServerSupervisor::custom(|spec| async { spec.start().await });
    let custom = builder().server_supervisor(custom);
    for builder in [builder(), unsupervised, custom] {
        let daemon = builder.start_link().await.unwrap();
        let (one, two) = (client(&daemon).await, client(&daemon).await);
        one.connections().await.unwrap();
        assert_eq!(two.connections().await.unwrap(), Some(2));
    }
}

#[erps::test(simulated)]
async fn server_without_a_daemon_has_none() {
    let server = ServerRef::<AdminServer>::builder(()).start_link().await;
    let server = server.unwrap();
    assert_eq!(server.connections().await.unwrap(), None);
}

#[erps::test(simulated)]
async fn handles_that_servers_keep_do_not_keep_the_daemon_alive() {
    let daemon = Daemon::<AdminServer>::builder(()).start_link().await;
    let daemon = daemon.unwrap();
    let client = client(&daemon).await;
    client.connections().await.unwrap();
    let exited = daemon.monitor();
    drop(daemon);
    let reason = at_once(exited).await;
    assert!(matches!(reason, ExitReason::Shutdown), "{reason:?}");
}

#[erps::test(simulated)]
async fn server_drains_its_daemon() {
    let daemon = Daemon::<AdminServer>::builder(()).start_link().await;
    let daemon = daemon.unwrap();
    let client = client(&daemon).await;
    client.drain().await.unwrap();
    let reason = daemon.exited().await;
    assert!(matches!(reason, ExitReason::Shutdown), "{reason:?}");
    daemon.task().shutdown(Shutdown::BrutalKill).await;
}
