//! What one hostile peer costs a good one.
//!
//! ```text
//! cargo run --release --manifest-path benches/Cargo.toml --bin hostile [SECONDS [ATTACKERS]]
//! ```
//!
//! For each attack a daemon with default options runs in a process of its own, with one executor thread, and
//! attackers in another. A good client calls it once in two milliseconds. The table shows the good client's
//! latencies, its 99th percentile as a multiple of the one without an attack, the longest time that a task of the
//! daemon's executor waited, and how far the daemon's memory rose above that of the idle one.

use std::{
    env,
    io::{BufRead as _, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use erps::{
    BoxError, Client, Context, Daemon, InitError, Protocol, ReplyTo, Server, Term,
    wire::{
        identity::{Identifier, Version},
        packet::{self, KEEPALIVE, Kind},
    },
};

const MIB: usize = 1 << 20;

/// The largest payload a peer may send.
const LARGEST: usize = 16 * MIB - 64;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["daemon"] => daemon(),
        ["attack", port, name] => attack(parse(port), name),
        [] => table(4, 1),
        [seconds] => table(parse(seconds), 1),
        [seconds, attackers] => table(parse(seconds), parse(attackers)),
        _ => eprintln!("hostile [SECONDS [ATTACKERS]]"),
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("a number")
}

// ---- the table ----

fn table(seconds: u64, attackers: usize) {
    println!("{attackers} attacker(s), {seconds} s each\n");
    println!("| attack | p50 | p99 | × alone | worst | executor's longest wait | memory |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    let mut alone = None;
    let names = ATTACKS.iter().map(|(name, _)| *name);
    for name in ["none"].into_iter().chain(names) {
        let mut daemon = Helper::start(&["daemon"]);
        let port: u16 = parse(daemon.line().trim());
        let idle = peak(daemon.child.id());
        let running: Vec<_> = (0..if name == "none" { 0 } else { attackers })
            .map(|_| {
                let mut attacker = Helper::start(&["attack", &port.to_string(), name]);
                attacker.line();
                attacker
            })
            .collect();
        let took = probe(port, Duration::from_secs(seconds));
        drop(running);
        let risen = peak(daemon.child.id()).saturating_sub(idle);
        drop(daemon.child.stdin.take());
        let wait = daemon.line();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        let p99 = at(0.99);
        let alone = *alone.get_or_insert(p99);
        println!(
            "| {name} | {:.2?} | {p99:.2?} | {:.1} | {:.2?} | {} | {} MB |",
            at(0.5),
            p99.as_secs_f64() / alone.as_secs_f64(),
            at(1.0),
            wait.trim(),
            risen / 1024,
        );
    }
}

/// Calls for this long and returns the sorted latencies.
fn probe(port: u16, time: Duration) -> Vec<Duration> {
    smol::block_on(async {
        let client = Client::<Any>::builder((Ipv4Addr::LOCALHOST.to_string(), port))
            .reply_timeout(Duration::from_secs(600));
        let client = client.connect().await.expect("a daemon");
        let end = Instant::now() + time;
        let mut took = Vec::new();
        while Instant::now() < end {
            let start = Instant::now();
            client.call(Term::Integer(1)).await.expect("a reply");
            took.push(start.elapsed());
            smol::Timer::after(Duration::from_millis(2)).await;
        }
        took.sort_unstable();
        took
    })
}

/// The peak memory of a process, in KB.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
    let words = line.and_then(|it| it.split_whitespace().next());
    words.and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// This program in another role, killed on drop.
struct Helper {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Helper {
    fn start(args: &[&str]) -> Self {
        let this = env::current_exe().expect("a program");
        let mut child = Command::new(this)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- the daemon ----

struct Any;

impl Protocol for Any {
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Push = Term;
}

struct Echo;

impl Server for Echo {
    type Protocol = Any;
    type Seed = ();
    type Info = ();

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(call);
        Ok(())
    }
}

/// Prints the port, and at the end of its input the longest time that a task waited for its poll.
fn daemon() {
    static LONGEST: AtomicU64 = AtomicU64::new(0);
    let daemon = smol::block_on(async {
        smol::spawn(async {
            loop {
                let start = Instant::now();
                smol::Timer::after(Duration::from_millis(1)).await;
                LONGEST.fetch_max(start.elapsed().as_micros() as u64, Relaxed);
            }
        })
        .detach();
        Daemon::<Echo>::builder(()).start().await.expect("a daemon")
    });
    println!("{}", daemon.port());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    println!("{:.2?}", Duration::from_micros(LONGEST.load(Relaxed)));
}

// ---- the attacks ----

/// What an attacker sends repeatedly.
type Attack = fn() -> Vec<u8>;

const ATTACKS: [(&str, Attack); 20] = [
    ("casts", || cast(&number(1)).repeat(256)),
    ("keepalives", || KEEPALIVE.repeat(4000)),
    ("refused calls", || call(&[]).repeat(256)),
    ("16 MiB binaries", || cast(&binary(LARGEST))),
    ("echoes of 16 MiB", || call(&binary(LARGEST))),
    ("zeros, compressed", || cast(&zipped(&binary(LARGEST)))),
    ("zeros of a turn", || {
        cast(&zipped(&binary(65_000))).repeat(64)
    }),
    ("zeros of two turns", || {
        cast(&zipped(&binary(130_000))).repeat(64)
    }),
    ("nils", || cast(&zipped(&list(LARGEST, &[106])))),
    ("small maps", || {
        cast(&zipped(&list(LARGEST / 7, &[116, 0, 0, 0, 1, 106, 106])))
    }),
    ("small maps within limits", || {
        cast(&list(40_000, &[116, 0, 0, 0, 1, 106, 106]))
    }),
    ("tuples within limits", || {
        cast(&list(400_000, &[104, 1, 97, 1]))
    }),
    ("echoes of tuples", || {
        call(&list(400_000, &[104, 1, 97, 1]))
    }),
    ("numbers", || cast(&list(3_000_000, &[98, 0, 1, 0, 0]))),
    ("a map of many keys", || cast(&map(1_000_000, 4))),
    ("a map of long keys", || cast(&map(200_000, 64))),
    ("the same key", || cast(&zipped(&same_key(2_000_000)))),
    ("improper tails", || cast(&zipped(&tails(500, MIB)))),
    ("a long integer", || cast(&integer(LARGEST))),
    ("deep calls", || call(&deep(LARGEST / 2 - 8))),
];

fn attack(port: u16, name: &str) {
    let attack = ATTACKS.iter().find(|(it, _)| *it == name);
    let bytes = attack.expect("an attack").1();
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a daemon");
    let mut answers = socket.try_clone().expect("a socket");
    // The replies of an echo are not read: the server must not collect them.
    if !name.starts_with("echo") {
        thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
    }
    println!("ready");
    while socket.write_all(&bytes).is_ok() {}
    // The daemon has closed the connection. The parent process kills this one.
    thread::park();
}

fn packet(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let begun = packet::begin(&mut out, kind, Version::new(0, 0, 0), &Identifier::EMPTY);
    out.extend_from_slice(payload);
    begun.finish(&mut out, usize::MAX).expect("a packet");
    out
}

fn cast(payload: &[u8]) -> Vec<u8> {
    packet(Kind::Cast, payload)
}

/// `{1, term}`
fn call(payload: &[u8]) -> Vec<u8> {
    let term = payload.strip_prefix(&[131]).unwrap_or(payload);
    packet(Kind::Call, &[&[131, 104, 2, 97, 1], term].concat())
}

fn zipped(payload: &[u8]) -> Vec<u8> {
    let plain = &payload[1..];
    let mut packed = vec![131, 80];
    packed.extend((plain.len() as u32).to_be_bytes());
    let mut encoder = flate2::write::ZlibEncoder::new(packed, flate2::Compression::best());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

fn number(n: u8) -> Vec<u8> {
    vec![131, 97, n]
}

fn binary(len: usize) -> Vec<u8> {
    let mut term = vec![131, 109];
    term.extend((len as u32).to_be_bytes());
    term.resize(term.len() + len, 0);
    term
}

fn list(count: usize, element: &[u8]) -> Vec<u8> {
    let mut term = vec![131, 108];
    term.extend((count as u32).to_be_bytes());
    term.extend(element.repeat(count));
    term.push(106);
    term
}

/// A map whose keys have this many bytes and differ only in the last four, unsorted.
fn map(count: u32, key: usize) -> Vec<u8> {
    let mut term = vec![131, 116];
    term.extend(count.to_be_bytes());
    for n in 0..count {
        term.push(109);
        term.extend((key as u32).to_be_bytes());
        term.extend(vec![0; key - 4]);
        term.extend(n.wrapping_mul(0x9E37_79B1).to_be_bytes());
        term.push(106);
    }
    term
}

fn same_key(count: u32) -> Vec<u8> {
    let mut term = vec![131, 116];
    term.extend(count.to_be_bytes());
    term.extend([97, 1, 106].repeat(count as usize));
    term
}

/// `[[] | [[] | … [nil, nil, …]]]`
fn tails(levels: usize, nils: usize) -> Vec<u8> {
    let mut term = vec![131];
    term.extend([108, 0, 0, 0, 1, 106].repeat(levels));
    term.extend(&list(nils, &[106])[1..]);
    term
}

fn integer(bytes: usize) -> Vec<u8> {
    let mut term = vec![131, 111];
    term.extend((bytes as u32).to_be_bytes());
    term.push(0);
    term.resize(term.len() + bytes, 0xFF);
    term
}

fn deep(levels: usize) -> Vec<u8> {
    let mut term = vec![131];
    term.extend([104, 1].repeat(levels));
    term.push(106);
    term
}
