//! Callers can use any async runtime; here tokio.
//!
//! The library's own tasks run on smol's executor, which needs no setup. Its public futures only
//! wait for those tasks and use neither sockets nor timers, so tokio can poll them, time them out,
//! and drop them. Handles are `Clone + Send + Sync`.
//!
//! It prints:
//!
//! ```text
//! the sum of ten squares, each from its own task: 385
//! ```

use std::time::Duration;

use erps::{BoxError, Client, Context, Daemon, InitError, Protocol, ReplyTo, Server};

struct Square;

impl Protocol for Square {
    type Call = u64;
    type Reply = u64;
    type Cast = ();
    type Push = ();
}

struct SquareServer;

impl Server for SquareServer {
    type Protocol = Square;
    type Seed = ();
    type Info = ();

    async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        n: u64,
        from: ReplyTo<u64>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(n * n);
        Ok(())
    }
}

fn main() -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        let daemon = Daemon::<SquareServer>::builder(()).start_link().await?;
        let client = Client::<Square>::builder(daemon.local_addr())
            .connect()
            .await?;

        let callers: Vec<_> = (1..=10)
            .map(|n| {
                let client = client.clone();
                tokio::spawn(async move { client.call(n).await })
            })
            .collect();
        let mut sum = 0;
        for caller in callers {
            sum += tokio::time::timeout(Duration::from_secs(5), caller).await???;
        }
        assert_eq!(sum, 385);
        println!("the sum of ten squares, each from its own task: {sum}");
        Ok(())
    })
}
