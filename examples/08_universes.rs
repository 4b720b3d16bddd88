//! Two tests in one process, each in a world of its own: one static, one port, opposite expectations.
//!
//! A `Sharded` static has one value per universe. Everything this library starts inherits the
//! universe of whoever starts it: the daemon of a test, its servers, its clients. A simulated universe
//! has its own network, too. So both tests listen on port 4747 at the same time, and each sees its own
//! value. In production there is no universe: the static is a plain one, and the port is real.
//!
//! In a test file it says `#[erps::test(simulated)]` before `async fn the_shop_is_open()`, and
//! `cargo test` does the rest. Here `main` does it, so that it can be run and looked at.
//!
//! It prints:
//!
//! ```text
//! test the_shop_is_open: passed, on port 4747
//! test the_shop_is_closed: passed, on port 4747
//! outside of all universes the shop is open: true
//! ```

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use erps::{
    BoxError, Client, Context, Daemon, InitError, Linked, Protocol, ReplyTo, Server, Sharded,
    Universe,
};

/// The configuration, as production code would have it.
static OPEN: Sharded<AtomicBool> = Sharded::new(|| AtomicBool::new(true));

struct Shop;

impl Protocol for Shop {
    type Call = ();
    type Reply = bool;
    type Cast = ();
    type Push = ();
}

struct ShopServer;

impl Server for ShopServer {
    type Protocol = Shop;
    type Seed = ();
    type Info = ();

    async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<bool>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(OPEN.get().load(Relaxed));
        Ok(())
    }
}

/// What both tests begin with, and production: the daemon, on its usual port.
async fn open_up() -> Result<Linked<Daemon<ShopServer>>, BoxError> {
    Ok(Daemon::builder(()).port(4747).start_link().await?)
}

async fn is_open() -> Result<bool, BoxError> {
    let client = Client::<Shop>::builder(("localhost", 4747))
        .connect()
        .await?;
    Ok(client.call(()).await?)
}

async fn the_shop_is_open(both_are_set_up: &Barrier) -> Result<(), BoxError> {
    let _daemon = open_up().await?;
    both_are_set_up.wait();
    assert!(is_open().await?);
    Ok(())
}

async fn the_shop_is_closed(both_are_set_up: &Barrier) -> Result<(), BoxError> {
    OPEN.get().store(false, Relaxed);
    let _daemon = open_up().await?;
    both_are_set_up.wait();
    assert!(!is_open().await?);
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let both_are_set_up = Barrier::new(2);
    thread::scope(|threads| {
        let open = || Universe::simulated(1).run(the_shop_is_open(&both_are_set_up));
        let closed = || Universe::simulated(2).run(the_shop_is_closed(&both_are_set_up));
        let (open, closed) = (threads.spawn(open), threads.spawn(closed));
        open.join().expect("it does not panic")?;
        println!("test the_shop_is_open: passed, on port 4747");
        closed.join().expect("it does not panic")?;
        println!("test the_shop_is_closed: passed, on port 4747");
        Ok::<_, BoxError>(())
    })?;
    let open = OPEN.get().load(Relaxed);
    println!("outside of all universes the shop is open: {open}");
    Ok(())
}
