//! Echo calls of a 32-byte string over one connection on loopback: erps against frames without a
//! library, and against tarpc.
//!
//! ```text
//! cargo run --release --manifest-path benches/Cargo.toml --bin calls
//! ```
//!
//! Each contender's server runs in its own process, started from this program. Rounds are
//! interleaved, so that a machine whose speed wanders does so for all of them; what counts is the
//! ratio to tarpc in the median of the rounds.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use erps::{BoxError, Client, Context, Daemon, InitError, Never, Protocol, ReplyTo, Server};
use futures::future::join_all;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

const TEXT: &str = "thirty-two bytes of echoed text.";
const ROUND: Duration = Duration::from_millis(800);
const ROUNDS: usize = 9;

fn main() -> Result<(), BoxError> {
    match env::args().nth(1).as_deref() {
        Some("erps") => return serve_erps(),
        Some("tarpc") => return serve_tarpc(),
        Some("frames") => return serve_frames(),
        _ => {}
    }
    println!(
        "{:>8} {:>14} {:>10} {:>10}",
        "callers", "tarpc calls/s", "erps", "frames"
    );
    for callers in [1, 64, 1024] {
        let erps = Peer::start("erps")?;
        let tarpc = Peer::start("tarpc")?;
        let frames = Peer::start("frames")?;
        let (mut of_erps, mut of_tarpc, mut of_frames) = (vec![], vec![], vec![]);
        for _ in 0..ROUNDS {
            of_erps.push(call_erps(erps.address, callers)?);
            of_tarpc.push(call_tarpc(tarpc.address, callers)?);
            of_frames.push(call_frames(frames.address, callers)?);
        }
        let base = median(of_tarpc);
        println!(
            "{callers:>8} {base:>14.0} {:>10.2} {:>10.2}",
            median(of_erps) / base,
            median(of_frames) / base,
        );
    }
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// A server in its own process.
struct Peer {
    address: SocketAddr,
    process: Child,
}

impl Peer {
    fn start(name: &str) -> Result<Self, BoxError> {
        let mut process = Command::new(env::current_exe()?)
            .arg(name)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or("a server without output")?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self { address, process })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes calls from this many callers for one round, and returns the calls per second.
async fn measure<F, E>(callers: usize, call: impl Fn() -> F) -> Result<f64, BoxError>
where
    F: Future<Output = Result<String, E>>,
    E: Into<BoxError>,
{
    let start = Instant::now();
    let caller = async || {
        let mut calls = 0_u64;
        while start.elapsed() < ROUND {
            if call().await.map_err(Into::into)? != TEXT {
                return Err("a wrong answer".into());
            }
            calls += 1;
        }
        Ok::<u64, BoxError>(calls)
    };
    let calls = join_all((0..callers).map(|_| caller())).await;
    let calls: u64 = calls.into_iter().sum::<Result<_, BoxError>>()?;
    Ok(calls as f64 / start.elapsed().as_secs_f64())
}

// erps

struct Echo;

impl Protocol for Echo {
    type Call = String;
    type Reply = String;
    type Cast = Never;
    type Push = Never;
}

struct EchoServer;

impl Server for EchoServer {
    type Protocol = Echo;
    type Seed = ();
    type Info = Never;

    async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        text: String,
        from: ReplyTo<String>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(text);
        Ok(())
    }
}

fn serve_erps() -> Result<(), BoxError> {
    smol::block_on(async {
        let daemon = Daemon::<EchoServer>::builder(()).start().await?;
        println!("{}", daemon.local_addr());
        daemon.exited().await;
        Ok(())
    })
}

fn call_erps(address: SocketAddr, callers: usize) -> Result<f64, BoxError> {
    // The callers are where the client is: on smol's own thread.
    smol::block_on(smol::spawn(async move {
        let client = Client::<Echo>::builder(address).connect().await?;
        measure(callers, || client.call(TEXT.to_owned())).await
    }))
}

// tarpc

#[tarpc::service]
trait Echoing {
    async fn echo(text: String) -> String;
}

#[derive(Clone)]
struct EchoingServer;

impl Echoing for EchoingServer {
    async fn echo(self, _: tarpc::context::Context, text: String) -> String {
        text
    }
}

fn serve_tarpc() -> Result<(), BoxError> {
    use futures::StreamExt as _;
    use tarpc::{
        serde_transport::tcp,
        server::{BaseChannel, Channel as _},
        tokio_serde::formats::Bincode,
    };
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut listener = tcp::listen("127.0.0.1:0", Bincode::default).await?;
        println!("{}", listener.local_addr());
        while let Some(transport) = listener.next().await {
            let calls = BaseChannel::with_defaults(transport?).execute(EchoingServer.serve());
            tokio::spawn(calls.for_each(|call| async { drop(tokio::spawn(call)) }));
        }
        Ok(())
    })
}

fn call_tarpc(address: SocketAddr, callers: usize) -> Result<f64, BoxError> {
    use tarpc::{client, context, serde_transport::tcp, tokio_serde::formats::Bincode};
    tokio::runtime::Runtime::new()?.block_on(async {
        let transport = tcp::connect(address, Bincode::default).await?;
        let client = EchoingClient::new(client::Config::default(), transport).spawn();
        measure(callers, || client.echo(context::current(), TEXT.to_owned())).await
    })
}

// Frames: the text repeated, without headers. As many are sent at once as there are callers, and then as many
// are awaited.

fn serve_frames() -> Result<(), BoxError> {
    smol::block_on(async {
        let listener = async_net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let echo = async move {
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(n @ 1..) = stream.read(&mut bytes).await {
                    if stream.write_all(&bytes[..n]).await.is_err() {
                        break;
                    }
                }
            };
            smol::spawn(echo).detach();
        }
    })
}

fn call_frames(address: SocketAddr, callers: usize) -> Result<f64, BoxError> {
    smol::block_on(smol::spawn(async move {
        let mut stream = async_net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let sent = TEXT.repeat(callers);
        let mut received = vec![0; sent.len()];
        let start = Instant::now();
        let mut calls = 0;
        while start.elapsed() < ROUND {
            stream.write_all(sent.as_bytes()).await?;
            stream.read_exact(&mut received).await?;
            calls += callers;
        }
        Ok(calls as f64 / start.elapsed().as_secs_f64())
    }))
}
