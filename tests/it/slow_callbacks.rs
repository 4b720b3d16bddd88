//! Warnings of callbacks that occupy their thread.

use std::time::Duration;

use erps::{
    BoxError, Client, ClientContext, ClientHandler, Context, Daemon, InitError, Protocol, ReplyTo,
    Server, ServerOptions, Universe, time,
};

use crate::support::{
    events::Warnings,
    time::{HOUR, ms, settled},
};

/// How long a callback blocks, in milliseconds of real time.
struct Block;

impl Protocol for Block {
    type Call = u64;
    type Reply = ();
    type Cast = u64;
    type Push = u64;
}

fn block(millis: u64) {
    smol::block_on(smol::Timer::after(Duration::from_millis(millis)));
}

struct BlockServer;

impl Server for BlockServer {
    type Protocol = Block;
    type Seed = ();
    type Info = ();

    async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        millis: u64,
        from: ReplyTo<()>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        // Awaiting for long is no reason for a warning.
        time::sleep(HOUR).await;
        block(millis);
        from.reply(());
        Ok(())
    }

    async fn handle_cast(&mut self, millis: u64, cx: &mut Context<Self>) -> Result<(), BoxError> {
        cx.push(millis).await?;
        Ok(())
    }
}

struct BlockHandler;

impl ClientHandler for BlockHandler {
    type Protocol = Block;
    type Info = ();

    async fn handle_push(
        &mut self,
        millis: u64,
        _: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        block(millis);
        Ok(())
    }
}

/// Runs a scenario with a daemon and a client whose limits are these, and returns the warnings.
fn warnings(
    limit: impl Into<Option<Duration>>,
    scenario: impl AsyncFnOnce(Client<Block>),
) -> Vec<String> {
    let limit = limit.into();
    Warnings::capture_slow_callbacks(|warnings| {
        Universe::simulated(1).run(async {
            let options = ServerOptions::new().slow_callback(limit);
            let daemon = Daemon::<BlockServer>::builder(()).server_options(options);
            let daemon = daemon.start_link().await.unwrap();
            let client = Client::<Block>::builder(daemon.local_addr())
                .reply_timeout(2 * HOUR)
                .slow_callback(limit)
                .handler(|| BlockHandler);
            let client = client.connect_link().await.unwrap();
            scenario(client.clone()).await;
        });
        warnings.take()
    })
}

#[test]
fn blocking_handler_is_logged_with_its_server_and_callback_once_in_ten_seconds() {
    let warnings = warnings(ms(20), async |client| {
        for _ in 0..3 {
            client.call(40).await.unwrap();
        }
    });
    let of_calls: Vec<_> = warnings
        .iter()
        .filter(|it| it.contains("handle_call"))
        .collect();
    let [warning] = &of_calls[..] else {
        panic!("{warnings:#?}");
    };
    assert!(warning.contains("BlockServer"), "{warning}");
    assert!(warning.contains("erps::unblock"), "{warning}");
}

#[test]
fn blocking_client_handler_is_logged() {
    let warnings = warnings(ms(20), async |client| {
        client.cast(40).await.unwrap();
        settled().await;
    });
    let of_pushes: Vec<_> = warnings
        .iter()
        .filter(|it| it.contains("handle_push"))
        .collect();
    let [warning] = &of_pushes[..] else {
        panic!("{warnings:#?}");
    };
    assert!(warning.contains("BlockHandler"), "{warning}");
}

#[test]
fn callbacks_below_the_limit_or_without_one_are_not_logged() {
    for limit in [None, Some(HOUR)] {
        let warnings = warnings(limit, async |client| {
            client.call(40).await.unwrap();
            client.cast(40).await.unwrap();
            settled().await;
        });
        assert!(warnings.is_empty(), "{warnings:#?}");
    }
}
