//! A server with state, which handles one message at a time.
//!
//! A call has a reply, a cast has none. Messages of one client are handled in the order of sending, so a call sees the
//! effects of the casts before it. Every connection has its own server, created from the daemon's seed: two clients do
//! not share a count.
//!
//! It prints:
//!
//! ```text
//! ann: 15
//! ben: 9
//! ```

use erps::{BoxError, Client, Context, Daemon, InitError, Protocol, ReplyTo, Server};
use serde::{Deserialize, Serialize};

/// In Erlang terms: `:total`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Total,
}

/// In Erlang terms: `{:add, 5}` or `:reset`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Add(i64),
    Reset,
}

struct Counter;

impl Protocol for Counter {
    const IDENTIFIER: &'static str = "counter";
    const VERSION: &'static str = "1.2.0"; // what the client says it speaks
    const ACCEPTS: &'static str = "~> 1.0"; // what the server accepts
    type Call = Ask;
    type Reply = i64;
    type Cast = Change;
    type Push = ();
}

struct CounterServer {
    total: i64,
}

impl Server for CounterServer {
    type Protocol = Counter;
    type Seed = i64;
    type Info = ();

    async fn init(total: i64, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { total })
    }

    async fn handle_call(
        &mut self,
        Ask::Total: Ask,
        from: ReplyTo<i64>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(self.total);
        Ok(())
    }

    async fn handle_cast(&mut self, change: Change, _: &mut Context<Self>) -> Result<(), BoxError> {
        match change {
            Change::Add(n) => self.total += n,
            Change::Reset => self.total = 0,
        }
        Ok(())
    }
}

fn main() -> Result<(), BoxError> {
    smol::block_on(async {
        let daemon = Daemon::<CounterServer>::builder(10).start_link().await?;
        let to_counter = Client::<Counter>::builder(daemon.local_addr());
        let ann = to_counter.connect().await?;
        let ben = to_counter.connect().await?;

        ann.cast(Change::Add(5)).await?;
        ben.cast(Change::Reset).await?;
        ben.cast(Change::Add(9)).await?;

        let (ann, ben) = (ann.call(Ask::Total).await?, ben.call(Ask::Total).await?);
        assert_eq!((ann, ben), (15, 9));
        println!("ann: {ann}");
        println!("ben: {ben}");
        Ok(())
    })
}
