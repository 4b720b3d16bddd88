//! Two tests in one process, each in a universe of its own.
//!
//! A `Sharded` static has one value per universe. Everything this library starts inherits the
//! universe of whoever starts it: the daemon of a test, its servers, its clients. So each test sees
//! its own value, at the same time, and expects the opposite of the other. In production there is
//! no universe, and the static is a plain one.
//!
//! It prints:
//!
//! ```text
//! the shop is open: true
//! the shop is open: false
//! outside of all universes: true
//! ```

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use erps::{
    BoxError, Client, Context, Daemon, InitError, Protocol, ReplyTo, Server, Sharded, Universe,
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

/// A test: it sets the shop up, and asks it over the network.
fn shop_is_open(open: bool, both_are_set_up: &Barrier) -> Result<bool, BoxError> {
    smol::block_on(Universe::new().scope(async {
        OPEN.get().store(open, Relaxed);
        let daemon = Daemon::<ShopServer>::builder(()).start_link().await?;
        both_are_set_up.wait();
        let client = Client::<Shop>::builder(daemon.local_addr())
            .connect()
            .await?;
        Ok(client.call(()).await?)
    }))
}

fn main() -> Result<(), BoxError> {
    let both_are_set_up = Barrier::new(2);
    let (left, right) = thread::scope(|threads| {
        let left = threads.spawn(|| shop_is_open(true, &both_are_set_up));
        let right = threads.spawn(|| shop_is_open(false, &both_are_set_up));
        (left.join().unwrap(), right.join().unwrap())
    });
    let (left, right) = (left?, right?);
    assert!(left && !right);
    println!("the shop is open: {left}");
    println!("the shop is open: {right}");
    println!("outside of all universes: {}", OPEN.get().load(Relaxed));
    Ok(())
}
