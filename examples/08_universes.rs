//! Two tests in one process, each in its own universe: they share a static and a port without affecting each other.
//!
//! A `Sharded` static has one value per universe. The daemons, servers and clients of a test inherit its universe. A
//! simulated universe also has its own network. So both tests below listen on port 4747 at the same time, and each has
//! its own value of the static. In production there is no universe: the static has one value, and the port is real.
//!
//! The tests are run by `cargo test --example 08_universes`, both at once:
//!
//! ```text
//! test tests::the_shop_is_closed ... ok
//! test tests::the_shop_is_open ... ok
//! ```
//!
//! Production is run by `cargo run --example 08_universes`.
//!
//! It prints:
//!
//! ```text
//! the shop is open: true
//! ```

use erps::{
    BoxError, Client, Context, Daemon, InitError, Linked, Protocol, ReplyTo, Server, Sharded,
};

/// The configuration, as in production code.
static OPEN: Sharded<bool> = Sharded::new(|| true);

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
        from.reply(*OPEN.get());
        Ok(())
    }
}

async fn open_up(port: u16) -> Result<Linked<Daemon<ShopServer>>, BoxError> {
    Ok(Daemon::builder(()).port(port).start_link().await?)
}

async fn is_open(port: u16) -> Result<bool, BoxError> {
    let client = Client::<Shop>::builder(("localhost", port))
        .connect()
        .await?;
    Ok(client.call(()).await?)
}

fn main() -> Result<(), BoxError> {
    smol::block_on(async {
        let daemon = open_up(0).await?;
        println!("the shop is open: {}", is_open(daemon.port()).await?);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[erps::test(simulated)]
    async fn the_shop_is_open() -> Result<(), BoxError> {
        let _daemon = open_up(4747).await?;
        assert!(is_open(4747).await?);
        Ok(())
    }

    #[erps::test(simulated)]
    async fn the_shop_is_closed() -> Result<(), BoxError> {
        OPEN.set(false);
        let _daemon = open_up(4747).await?;
        assert!(!is_open(4747).await?);
        Ok(())
    }
}
