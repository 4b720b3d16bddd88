//! A start function instead of a supervisor: it accepts or rejects connections, and selects the supervisor.
//!
//! A `ServerSupervisor::custom` closure receives the specification of every server, after its peer was authenticated. It
//! starts the server, here under a supervisor of the program, or returns an error: then the connection is closed. The
//! client does not receive the error, unless `ServerOptions::error_details` is set; the daemon emits it as an event.
//!
//! It prints:
//!
//! ```text
//! the first client is served
//! the second client ends: disconnected
//! the first client is still served
//! children of the lobby: 1
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use erps::{
    BoxError, Client, Context, Daemon, DynamicSupervisor, InitError, Protocol, Reconnect, ReplyTo,
    Server, ServerSupervisor,
};

struct Inn;

impl Protocol for Inn {
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Push = ();
}

struct InnServer;

impl Server for InnServer {
    type Protocol = Inn;
    type Seed = ();
    type Info = ();

    async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<()>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(());
        Ok(())
    }
}

/// Starts servers under `lobby` while `open` is true.
fn doorkeeper(lobby: DynamicSupervisor, open: Arc<AtomicBool>) -> ServerSupervisor {
    ServerSupervisor::custom(move |recipe| {
        let (lobby, open) = (lobby.clone(), open.load(Relaxed));
        async move {
            if !open {
                return Err(format!("no room for {}", recipe.peer().address).into());
            }
            let server = lobby.start_child(recipe).await?;
            Ok(server.into())
        }
    })
}

fn main() -> Result<(), BoxError> {
    smol::block_on(async {
        let lobby = DynamicSupervisor::builder().name("lobby").start_link();
        let open = Arc::new(AtomicBool::new(true));
        let daemon = Daemon::<InnServer>::builder(())
            .server_supervisor(doorkeeper(lobby.clone(), Arc::clone(&open)))
            .start_link()
            .await?;
        // This client exits when it is disconnected, instead of reconnecting.
        let to_inn = Client::<Inn>::builder(daemon.local_addr()).reconnect(Reconnect::Never);

        let first = to_inn.connect().await?;
        first.call(()).await?;
        println!("the first client is served");

        open.store(false, Relaxed);
        let second = to_inn.connect().await?;
        println!("the second client ends: {}", second.exited().await);

        first.call(()).await?;
        println!("the first client is still served");

        let children = lobby.which_children().await?.len();
        assert_eq!(children, 1);
        println!("children of the lobby: {children}");
        Ok(())
    })
}
