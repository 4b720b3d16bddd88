//! Slow calls side by side, and other replies that are given after the handler has returned.
//!
//! A server handles one message at a time, but a handler need not answer before it returns: with `#[reply_later]` it
//! receives a `ReplyTo`, the caller of one call. Moved into a task, it is answered when the task is done, and meanwhile the
//! server handles the next call. So the calls of one client run side by side, and may be answered out of order. The tasks
//! of `cx.spawn` are cancelled when the server exits, for instance because its client has gone; those of `erps::spawn` go
//! on. Work that computes or blocks belongs into `erps::unblock`, in the same way.
//!
//! A `ReplyTo` can also be kept in the server's state, and answered while another message is handled. Dropping it fails
//! the call at once.
//!
//! It prints:
//!
//! ```text
//! called: 3, 2, 1; answered: 1, 2, 3
//! computed by a thread: 5050
//! kept, then answered: 7
//! dropped: the server dropped the call without a reply
//! ```

use std::{sync::Mutex, time::Duration};

use erps::{BoxError, CallError, Client, Context, Daemon, ReplyTo, time};
use smol::future;

#[erps::protocol]
trait Numbers {
    /// Returns the number, after a tenth of a second for each unit of it.
    async fn slow(n: u64) -> u64;
    /// Returns the sum of the numbers up to this one.
    async fn sum(n: u64) -> u64;
    /// Waits for the next number that is announced.
    async fn wait() -> u64;
    async fn announce(n: u64);
    async fn ignore();
}

#[derive(Default)]
struct NumbersServer {
    waiting: Vec<ReplyTo<u64>>,
}

#[erps::server]
impl Numbers for NumbersServer {
    #[reply_later]
    async fn slow(&mut self, n: u64, from: ReplyTo<u64>, cx: &mut Context<Self>) {
        cx.spawn(async move {
            // A database, or another service.
            time::sleep(Duration::from_millis(100) * n as u32).await;
            from.reply(n);
        });
    }

    #[reply_later]
    async fn sum(&mut self, n: u64, from: ReplyTo<u64>) {
        erps::unblock(move || from.reply((1..=n).sum())).detach();
    }

    #[reply_later]
    async fn wait(&mut self, from: ReplyTo<u64>) {
        self.waiting.push(from);
    }

    async fn announce(&mut self, n: u64) {
        for from in self.waiting.drain(..) {
            from.reply(n);
        }
    }

    #[reply_later]
    async fn ignore(&mut self, from: ReplyTo<()>) {
        drop(from);
    }
}

fn main() -> Result<(), BoxError> {
    smol::block_on(async {
        let daemon = Daemon::<NumbersServer>::builder(()).start_link().await?;
        let client = Client::<NumbersProtocol>::builder(daemon.local_addr())
            .connect()
            .await?;

        let answered = Mutex::new(Vec::new());
        let call = async |n: u64| {
            let answer = client.slow(n).await?;
            answered.lock().unwrap().push(answer.to_string());
            Ok::<_, CallError>(())
        };
        // All three are sent before the first is answered.
        future::try_zip(call(3), future::try_zip(call(2), call(1))).await?;
        let answered = answered.into_inner()?.join(", ");
        assert_eq!(answered, "1, 2, 3");
        println!("called: 3, 2, 1; answered: {answered}");

        let sum = client.sum(100).await?;
        assert_eq!(sum, 5050);
        println!("computed by a thread: {sum}");

        // The second call lets the server answer the first.
        let (kept, ()) = future::try_zip(client.wait(), client.announce(7)).await?;
        assert_eq!(kept, 7);
        println!("kept, then answered: {kept}");

        let error = client.ignore().await.unwrap_err();
        assert!(matches!(error, CallError::Unanswered));
        println!("dropped: {error}");
        Ok(())
    })
}
