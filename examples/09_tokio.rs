//! Callers in a tokio runtime.
//!
//! The library's tasks run on smol's global executor, which needs no setup. Its public futures wait for these tasks on
//! channels and poll neither sockets nor timers, so that tokio can poll, time out and drop them. Handles are
//! `Clone + Send + Sync`.
//!
//! It prints:
//!
//! ```text
//! the sum of ten squares, each from a task of its own: 385
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
        println!("the sum of ten squares, each from a task of its own: {sum}");
        Ok(())
    })
}
