//! What many bad peers cost a good one: the time to connect and to receive a first reply.
//!
//! ```text
//! cargo run --release --manifest-path benches/Cargo.toml --bin many_peers
//! ```
//!
//! This process runs two daemons; another process opens the bad peers to one of them. The good client measures
//! both in turns, so that the ratio is taken at the same time. The last kind of bad peer reconnects whenever it is
//! disconnected, a thousand of them ten times a second: the good client can be evicted, and then tries again.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use erps::{
    BoxError, Client, Context, Daemon, DaemonBuilder, InitError, Linked, Protocol, ReplyTo, Server,
    TestCa, Tls,
};

/// The number of bad peers.
const PEERS: usize = 1000;
/// How often each daemon is measured.
const VISITS: usize = 400;
/// File descriptors for both ends of the connections, in each process.
const DESCRIPTORS: &str = "4096";

struct Echo;

impl Protocol for Echo {
    type Call = String;
    type Reply = String;
    type Cast = ();
    type Push = ();
}

struct EchoServer;

impl Server for EchoServer {
    type Protocol = Echo;
    type Seed = ();
    type Info = ();

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
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

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match &arguments[..] {
        [word, address, first] if word == "stay" || word == "return" => {
            let address = address.parse().expect("an address");
            connect_bad_peers(address, first.as_bytes(), word == "return");
        }
        [word] if word == "measure" => smol::block_on(measure()),
        // With enough file descriptors.
        _ => {
            let status = with_descriptors().arg("measure").status();
            assert!(status.expect("a shell").success());
        }
    }
}

/// Runs this program again with a higher limit of file descriptors.
fn with_descriptors() -> Command {
    let mut shell = Command::new("sh");
    let run = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"");
    shell.args(["-c", &run]);
    shell.arg(env::current_exe().expect("a program"));
    shell
}

/// Opens the connections and sends the first bytes on each. Reopens closed connections if `returns` is set.
fn connect_bad_peers(address: SocketAddr, first: &[u8], returns: bool) {
    let connect = || {
        let mut peer = TcpStream::connect(address).expect("a listener");
        peer.write_all(first).expect("an open socket");
        peer.set_nonblocking(true).expect("a socket");
        peer
    };
    let mut peers: Vec<_> = (0..PEERS).map(|_| connect()).collect();
    println!("connected all");
    while !returns {
        std::thread::park();
    }
    loop {
        for peer in &mut peers {
            if matches!(peer.read(&mut [0; 64]), Ok(_)) {
                *peer = connect();
            }
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// The process of the bad peers, killed on drop.
struct BadPeers(Child);

impl BadPeers {
    fn at(address: SocketAddr, first: &str, returns: bool) -> Self {
        let mut command = with_descriptors();
        let word = if returns { "return" } else { "stay" };
        command.args([word, &address.to_string(), first]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a child");
        let mut there = [0; 13];
        let output = child.stdout.as_mut().expect("it is piped");
        output.read_exact(&mut there).expect("all peers connect");
        Self(child)
    }
}

impl Drop for BadPeers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

type Change = fn(DaemonBuilder<EchoServer>) -> DaemonBuilder<EchoServer>;

async fn measure() {
    let plain: Change = |it| it;
    let patient: Change = |it| {
        it.max_pending_handshakes(PEERS)
            .handshake_timeout(Duration::from_secs(3600))
    };
    println!("connect and first call, beside {PEERS} bad peers and alone: median, 99 of 100");
    visits("silent, over TCP", plain, None, "", false).await;
    let ca = TestCa::new();
    let tls = Some(&ca);
    visits("silent, TLS not begun", patient, tls, "", false).await;
    // The start of a TLS record and of a ClientHello.
    let hello = "\u{16}\u{3}\u{1}\u{2}";
    visits("stopped mid-handshake", patient, tls, hello, false).await;
    visits("the same, 256 at most, back", plain, tls, hello, true).await;
}

async fn visits(what: &str, change: Change, ca: Option<&TestCa>, first: &str, returns: bool) {
    let start = async || -> Linked<Daemon<EchoServer>> {
        let builder = change(Daemon::builder(()));
        let builder = match ca {
            Some(ca) => builder.transport(ca.tls(&["127.0.0.1"])),
            None => builder,
        };
        builder.start_link().await.expect("a free port")
    };
    let (busy, empty) = (start().await, start().await);
    let tls = ca.map(|ca| ca.tls(&["client"]));
    let bad_peers = BadPeers::at(busy.local_addr(), first, returns);
    // Until all of them are accepted.
    while busy.info().accepted < PEERS as u64 {
        smol::Timer::after(Duration::from_millis(10)).await;
    }
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..VISITS {
        for (daemon, times) in [&busy, &empty].into_iter().zip(&mut times) {
            times.push(visit(daemon.local_addr(), tls.clone()).await);
        }
    }
    let there = busy.info();
    drop(bad_peers);
    let [beside, alone] = times.map(|mut times| {
        times.sort();
        [times[VISITS / 2], times[VISITS * 99 / 100]]
    });
    let ratio = |n: usize| beside[n].as_secs_f64() / alone[n].as_secs_f64();
    println!(
        "  {what:<28} {beside:>8.0?} {alone:>8.0?}  ratio {:.2} and {:.2}  ({} there, {} accepted)",
        ratio(0),
        ratio(1),
        there.connections,
        there.accepted,
    );
}

/// Returns how long a good client takes to connect and receive its first reply.
async fn visit(address: SocketAddr, tls: Option<Tls>) -> Duration {
    let start = Instant::now();
    let builder = Client::<Echo>::builder(address);
    let builder = match tls {
        Some(tls) => builder.transport(tls),
        None => builder,
    };
    let client = loop {
        if let Ok(client) = builder.clone().connect().await {
            break client;
        }
    };
    let answer = client.call("hello".into()).await.expect("an answer");
    let took = start.elapsed();
    assert_eq!(answer, "hello");
    client.disconnect().await;
    took
}
