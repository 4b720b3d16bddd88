//! A network partition of more than ten minutes, simulated in a few milliseconds.
//!
//! A simulated universe has its own clock and network. The clock stands still while a task is runnable, and advances to
//! the next timer when all tasks wait. The network has hosts, links between them, and faults on demand. The daemon, the
//! server and the client run as in production, with the same timeouts. The same seed gives the same run.
//!
//! It prints:
//!
//! ```text
//!     0.020 s: connected
//!     0.040 s: the server says 1
//!     0.040 s: the cable is cut
//!     5.040 s: no reply in time
//!    60.040 s: the connection is given up
//!   660.040 s: the cable is mended
//!   660.060 s: connected again
//!   660.080 s: the server says 1
//! it took less than a second: true
//! ```

use std::time::{Duration, Instant};

use erps::{
    BoxError, CallError, Client, Context, Daemon, InitError, Network, Protocol, ReplyTo, Server,
    Status, Universe, network::Link, time,
};

struct Counter;

impl Protocol for Counter {
    type Call = ();
    type Reply = u64;
    type Cast = ();
    type Push = ();
}

struct CounterServer(u64);

impl Server for CounterServer {
    type Protocol = Counter;
    type Seed = u64;
    type Info = ();

    async fn init(start: u64, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self(start))
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<u64>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        self.0 += 1;
        from.reply(self.0);
        Ok(())
    }
}

/// Prints a message with the time in the universe.
fn say(what: &str) {
    let universe = Universe::current().expect("it is run in one");
    let clock = universe.clock().expect("it is simulated");
    println!("{:>9.3} s: {what}", clock.elapsed().as_secs_f64());
}

async fn a_client_outlives_a_partition() -> Result<(), BoxError> {
    let network = Network::current().expect("it is run in a simulated universe");
    let (shop, home) = (network.host("shop"), network.host("home"));
    network.set_default_link(Link::new().latency(Duration::from_millis(10)));

    let daemon = Daemon::<CounterServer>::builder(0)
        .bind(shop.ip())
        .port(4747)
        .plaintext_anywhere();
    let _daemon = shop.scope(daemon.start_link()).await?;
    let client = Client::<Counter>::builder(("shop", 4747));
    let client = home.scope(client.connect()).await?;
    say("connected");
    say(&format!("the server says {}", client.call(()).await?));

    network.partition("shop", "home");
    say("the cable is cut");
    let error = client.call(()).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { sent: true }));
    say("no reply in time");
    let lost = |status: &Status| !status.is_connected();
    client.until(lost).await;
    say("the connection is given up");
    time::sleep(Duration::from_secs(600)).await;
    network.heal("shop", "home");
    say("the cable is mended");
    client.connect().await?;
    say("connected again");
    say(&format!("the server says {}", client.call(()).await?));
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let start = Instant::now();
    Universe::simulated(1).run(a_client_outlives_a_partition())?;
    let quick = start.elapsed() < Duration::from_secs(1);
    println!("it took less than a second: {quick}");
    Ok(())
}
