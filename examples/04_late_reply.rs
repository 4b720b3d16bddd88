//! Replies after the handler has returned, and from other threads.
//!
//! `ReplyTo` can be kept in the server's state and answered while another message is handled, or moved to a thread or
//! task. Meanwhile the server handles other messages, so that calls of one client can be answered out of order. Dropping
//! a `ReplyTo` fails the call at once.
//!
//! It prints:
//!
//! ```text
//! from a thread: 5050
//! kept, then answered: 7
//! dropped: the server dropped the call without a reply
//! ```

use std::thread;

use erps::{BoxError, CallError, Client, Context, Daemon, InitError, Protocol, ReplyTo, Server};
use serde::{Deserialize, Serialize};
use smol::future;

#[derive(Debug, Serialize, Deserialize)]
enum Call {
    /// The sum of the numbers up to this one.
    Sum(u64),
    /// The next number that another client announces.
    Wait,
    Announce(u64),
    Ignore,
}

struct Numbers;

impl Protocol for Numbers {
    type Call = Call;
    type Reply = u64;
    type Cast = ();
    type Push = ();
}

#[derive(Default)]
struct NumbersServer {
    waiting: Vec<ReplyTo<u64>>,
}

impl Server for NumbersServer {
    type Protocol = Numbers;
    type Seed = ();
    type Info = ();

    async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self::default())
    }

    async fn handle_call(
        &mut self,
        call: Call,
        from: ReplyTo<u64>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match call {
            Call::Sum(n) => drop(thread::spawn(move || from.reply((1..=n).sum()))),
            Call::Wait => self.waiting.push(from),
            Call::Announce(n) => {
                for waiting in self.waiting.drain(..) {
                    waiting.reply(n);
                }
                from.reply(n);
            }
            Call::Ignore => drop(from),
        }
        Ok(())
    }
}

fn main() -> Result<(), BoxError> {
    smol::block_on(async {
        let daemon = Daemon::<NumbersServer>::builder(()).start_link().await?;
        let client = Client::<Numbers>::builder(daemon.local_addr())
            .connect()
            .await?;

        let sum = client.call(Call::Sum(100)).await?;
        assert_eq!(sum, 5050);
        println!("from a thread: {sum}");

        // Both calls are sent before either is answered; the second lets the server answer the first.
        let (kept, announced) =
            future::zip(client.call(Call::Wait), client.call(Call::Announce(7))).await;
        assert_eq!((kept?, announced?), (7, 7));
        println!("kept, then answered: 7");

        let error = client.call(Call::Ignore).await.unwrap_err();
        assert!(matches!(error, CallError::Unanswered));
        println!("dropped: {error}");
        Ok(())
    })
}
