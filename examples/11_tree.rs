//! A supervision tree whose children are killed and restarted.
//!
//! A daemon, its client, and a dynamic supervisor of workers are children of one supervisor: one call starts them, and
//! one shuts them down. Each child is killed in turn, and is restarted. The example runs in a simulated universe, so that
//! it has the same order of events each time.
//!
//! It prints:
//!
//! ```text
//! > here is a lamp
//!
//! all are there
//! shop
//!   daemon: running
//!     server of 127.0.0.1:49152: running, serves 127.0.0.1:49152
//!   workers: running
//!     anna: running
//!     bert: running
//!   client: running
//!
//! a worker was killed
//! shop
//!   daemon: running
//!     server of 127.0.0.1:49152: running, serves 127.0.0.1:49152
//!   workers: running
//!     bert: running
//!     anna: running, exited once, last: killed
//!   client: running
//!
//! > the server failed before it replied
//!
//! > here is a lamp
//!
//! the daemon was killed
//! shop
//!   daemon: running, exited once, last: killed
//!   workers: running
//!     bert: running
//!     anna: running, exited once, last: killed
//!   client: running
//!
//! > here is a lamp
//!
//! their supervisor was killed, and they are gone
//! shop
//!   daemon: running, exited once, last: killed
//!     server of 127.0.0.1:49154: running, serves 127.0.0.1:49154
//!   workers: running, exited once, last: killed
//!   client: running
//!
//! the client was killed
//! shop
//!   daemon: running, exited once, last: killed
//!     server of 127.0.0.1:49155: running, serves 127.0.0.1:49155
//!   workers: running, exited once, last: killed
//!   client: running, exited once, last: killed
//!
//! > here is a lamp
//!
//! all are gone: shutdown
//! ```

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use erps::{
    BoxError, Client, Context, Daemon, DynamicSupervisor, InitError, Linked, Protocol, ReplyTo,
    Server, ServerRef, Shutdown, Supervisor, Tree, Universe,
};

struct Shop;

impl Protocol for Shop {
    type Call = String;
    type Reply = String;
    type Cast = ();
    type Push = ();
}

#[derive(Debug)]
struct ShopServer;

impl Server for ShopServer {
    type Protocol = Shop;
    type Seed = ();
    type Info = ();

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        wanted: String,
        from: ReplyTo<String>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        assert_ne!(wanted, "a dragon", "there are no dragons");
        from.reply(format!("here is {wanted}"));
        Ok(())
    }
}

/// The handle of the last start of each kind, as recorded by `on_start`.
type Last<T> = Arc<Mutex<Option<T>>>;

fn last<T: Clone>(of: &Last<T>) -> T {
    of.lock().unwrap().clone().expect("it has been started")
}

fn note<T: Clone + Send>(last: &Last<T>) -> impl Fn(&T) + Send + Sync + use<T> {
    let last = Arc::clone(last);
    move |it| *last.lock().unwrap() = Some(it.clone())
}

/// Waits until everything runs, and prints the tree.
async fn show(
    what: &str,
    tree: &Supervisor,
    is_up: impl Fn(&Tree) -> bool,
) -> Result<(), BoxError> {
    let tree = tree.until(Duration::from_secs(10), is_up).await?;
    println!("{what}\n{tree}\n");
    Ok(())
}

/// Whether this child runs after this many exits.
fn runs(tree: &Tree, id: &str, exits: u64) -> bool {
    let child = tree.find(id);
    child.is_some_and(|it| it.state.task().is_some() && it.exits == exits)
}

async fn buys(client: &Client<Shop>, what: &str) -> Result<(), BoxError> {
    client.connect().await?;
    match client.call(what.into()).await {
        Ok(reply) => println!("> {reply}\n"),
        Err(error) => println!("> {error}\n"),
    }
    Ok(())
}

async fn life_of_a_tree() -> Result<(), BoxError> {
    let (client, workers) = (Last::default(), Last::default());
    let daemon = Daemon::<ShopServer>::builder(()).port(4747);
    let tree: Linked<Supervisor> = Supervisor::builder()
        .name("shop")
        .max_restarts(10, Duration::from_secs(5))
        .child(daemon.child_spec("daemon"))
        .child(
            DynamicSupervisor::builder()
                .on_start(note(&workers))
                .child_spec("workers"),
        )
        .child(
            Client::<Shop>::builder(("127.0.0.1", 4747))
                .on_start(note(&client))
                .child_spec("client"),
        )
        .start_link()
        .await?;

    let clerk = |id: &str| ServerRef::<ShopServer>::builder(()).child_spec(id);
    let first = last::<DynamicSupervisor>(&workers);
    let anna = first.start_child(clerk("anna")).await?;
    first.start_child(clerk("bert")).await?;
    buys(&last(&client), "a lamp").await?;
    show("all are there", &tree, |_| true).await?;

    anna.kill();
    show("a worker was killed", &tree, |it| runs(it, "anna", 1)).await?;

    // The server of the connection is a child of the daemon's own supervisor.
    buys(&last(&client), "a dragon").await?;
    buys(&last(&client), "a lamp").await?;

    let kill = async |id: &str| {
        let tree = tree.tree().await?;
        let task = tree.find(id).and_then(|it| it.state.task());
        task.ok_or("it does not run")?.kill();
        Ok::<_, BoxError>(())
    };
    kill("daemon").await?;
    show("the daemon was killed", &tree, |it| runs(it, "daemon", 1)).await?;
    buys(&last(&client), "a lamp").await?;

    kill("workers").await?;
    show(
        "their supervisor was killed, and they are gone",
        &tree,
        |it| runs(it, "workers", 1),
    )
    .await?;

    kill("client").await?;
    show("the client was killed", &tree, |it| runs(it, "client", 1)).await?;
    buys(&last(&client), "a lamp").await?;

    let reason = tree.as_ref().shutdown(Shutdown::Infinity).await;
    println!("all are gone: {reason}");
    Ok(())
}

fn main() -> Result<(), BoxError> {
    // The panic is intended: the client prints it as an error.
    std::panic::set_hook(Box::new(|_| ()));
    let universe = Universe::simulated(1);
    universe.expect_panics("there are no dragons");
    universe.run(life_of_a_tree())
}
