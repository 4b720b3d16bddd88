//! What a second executor thread gives a server: echo calls over one and over 64 connections, and the worst call of a
//! client while the handler of another connection blocks its thread again and again.
//!
//! ```text
//! cargo run --release --manifest-path benches/Cargo.toml --bin threads
//! ```
//!
//! The server runs in its own process, with `SMOL_THREADS` set; the clients run on one thread of this one. Rounds are
//! interleaved, and what counts is the ratio of the medians.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use erps::{BoxError, Client, Daemon};
use futures::future::{join_all, select};

const ROUND: Duration = Duration::from_millis(800);
const ROUNDS: usize = 9;
const CALLERS_PER_CONNECTION: usize = 16;
const BLOCKS: u64 = 100;
const THREADS: [&str; 2] = ["1", "2"];

#[erps::protocol]
trait Echo {
    async fn echo(text: String) -> String;
    /// Blocks the thread for this many milliseconds.
    async fn block(millis: u64);
}

#[derive(Default)]
struct EchoServer;

#[erps::server]
impl Echo for EchoServer {
    async fn echo(&mut self, text: String) -> String {
        text
    }

    async fn block(&mut self, millis: u64) {
        thread::sleep(Duration::from_millis(millis));
    }
}

fn main() -> Result<(), BoxError> {
    if env::args().nth(1).is_some() {
        return serve();
    }
    for connections in [1, 64] {
        let servers = [Server::start(THREADS[0])?, Server::start(THREADS[1])?];
        let mut rates = [vec![], vec![]];
        for _ in 0..ROUNDS {
            for (server, rates) in servers.iter().zip(&mut rates) {
                rates.push(smol::block_on(smol::spawn(rate(
                    server.address,
                    connections,
                )))?);
            }
        }
        let [one, two] = rates.map(median);
        println!(
            "{connections:>3} connections: {one:>9.0} calls/s, with two threads {:.2} times",
            two / one
        );
    }
    for threads in THREADS {
        let server = Server::start(threads)?;
        let worst = smol::block_on(smol::spawn(worst_beside_blocking(server.address)))?;
        println!(
            "{threads} threads: worst call beside a handler that blocks {BLOCKS} ms: {worst:.1?}"
        );
    }
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// A server in its own process.
struct Server {
    address: SocketAddr,
    process: Child,
}

impl Server {
    fn start(threads: &str) -> Result<Self, BoxError> {
        let mut process = Command::new(env::current_exe()?)
            .arg("serve")
            .env("SMOL_THREADS", threads)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or("a server without output")?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self { address, process })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve() -> Result<(), BoxError> {
    smol::block_on(async {
        let daemon = Daemon::<EchoServer>::builder(()).start().await?;
        println!("{}", daemon.local_addr());
        daemon.exited().await;
        Ok(())
    })
}

async fn connect(address: SocketAddr) -> Result<Client<EchoProtocol>, BoxError> {
    Ok(Client::builder(address).connect().await?)
}

/// Calls for one round over this many connections, and returns the calls per second.
async fn rate(address: SocketAddr, connections: usize) -> Result<f64, BoxError> {
    let clients = join_all((0..connections).map(|_| connect(address))).await;
    let clients = clients.into_iter().collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    let caller = async |client: &Client<EchoProtocol>| {
        let mut calls = 0_u64;
        while start.elapsed() < ROUND {
            client
                .echo("thirty-two bytes of echoed text.".into())
                .await?;
            calls += 1;
        }
        Ok::<u64, BoxError>(calls)
    };
    let callers = clients.iter().flat_map(|it| [it; CALLERS_PER_CONNECTION]);
    let calls = join_all(callers.map(caller)).await;
    let calls: u64 = calls.into_iter().sum::<Result<_, BoxError>>()?;
    Ok(calls as f64 / start.elapsed().as_secs_f64())
}

/// Returns the longest of many calls over one connection while the handler of another blocks its thread.
async fn worst_beside_blocking(address: SocketAddr) -> Result<Duration, BoxError> {
    let (blocking, good) = (connect(address).await?, connect(address).await?);
    let block = async {
        for _ in 0..20 {
            blocking.block(BLOCKS).await?;
        }
        Ok::<_, BoxError>(())
    };
    let mut worst = Duration::ZERO;
    let calls = async {
        loop {
            let start = Instant::now();
            if good.echo("hello".into()).await.is_err() {
                return;
            }
            worst = worst.max(start.elapsed());
        }
    };
    select(Box::pin(block), Box::pin(calls)).await;
    Ok(worst)
}
