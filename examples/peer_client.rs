//! A command-line client for any erps server. See `--help`, and `peer_daemon`.

#[path = "peer/common.rs"]
mod common;

use std::{
    num::NonZeroU32,
    process::ExitCode,
    time::{Duration, Instant},
};

use erps::{Address, Client, Peer, Term};
use futures::stream::FuturesUnordered;
use smol::{Timer, future, stream::StreamExt as _};

use common::{Args, Failure, Options, Untyped, say};

const HELP: &str = "\
Asks an erps server, of this library or of Elixir's, and prints what it answers.

usage: peer_client [OPTIONS] HOST:PORT COMMAND [, COMMAND]...

Terms are read and printed in Elixir's syntax, one answer a line. The status is 0 only if
every answer was right. Commands that a lone comma separates share one connection:

  peer_client localhost:4747 set '{:a, 1}' , state

Commands, for a server such as peer_daemon:
  ping                     calls :ping
  echo TERM...             calls {:echo, TERM}, for one term after the other
  sleepfor MS...           calls {:sleepfor, MS}, for all at once; prints answers as they come
  set TERM                 casts {:set, TERM}, makes sure that it arrived, and prints :ok
  state                    calls :state
  push TERM                casts {:push_me, TERM}, and prints what is pushed back
  bench                    calls :ping over and over; prints calls a second, and how long they
                           took
Commands for any server:
  call TERM                calls TERM
  cast TERM                casts TERM, calls :ping to make sure that it arrived, and prints :ok

Options, wherever they stand:
  --tls CA CERT KEY        two-way TLS, with these PEM files
  --server-name NAME       whom the server's certificate must name; HOST unless set
  --identifier NAME        the service to ask for
  --version VERSION        the version to speak, such as 1.2.3
  --compressed LEVEL       compress what is sent, from 0 to 9
  --elixir-peer            the server is Elixir's: one packet at a time
  --callers N              how many callers share the connection in bench; 16 unless set
  --seconds N              how long bench runs; 3 unless set
  --help                   prints this
";

const OPTIONS: &Options = &[
    ("--tls", &["CA", "CERT", "KEY"]),
    ("--server-name", &["NAME"]),
    ("--identifier", &["NAME"]),
    ("--version", &["VERSION"]),
    ("--compressed", &["LEVEL"]),
    ("--elixir-peer", &[]),
    ("--callers", &["N"]),
    ("--seconds", &["N"]),
];

/// How long the server may take, in addition to the time requested.
const PATIENCE: Duration = Duration::from_secs(5);

enum Command {
    Ping,
    Echo(Vec<Term>),
    Sleepfor(Vec<u32>),
    Set(Term),
    State,
    Push(Term),
    Bench,
    Call(Term),
    Cast(Term),
}

struct Bench {
    callers: NonZeroU32,
    seconds: NonZeroU32,
}

fn main() -> ExitCode {
    common::run(HELP, OPTIONS, |args| smol::block_on(ask(&args)))
}

/// All arguments are parsed before anything is sent.
async fn ask(args: &Args) -> Result<(), Failure> {
    let [address, words @ ..] = args.words.as_slice() else {
        return Err(Failure::Usage("HOST:PORT and a command are wanted".into()));
    };
    let wrong = |why| Failure::Usage(format!("{address:?} is no address ({why})"));
    let address: Address = address.parse().map_err(wrong)?;
    let commands: Vec<_> = words
        .split(|word| word == ",")
        .map(command)
        .collect::<Result<_, _>>()?;
    let number = "a number above 0";
    let bench = Bench {
        callers: args
            .value("--callers", number)?
            .unwrap_or(NonZeroU32::MIN.saturating_add(15)),
        seconds: args
            .value("--seconds", number)?
            .unwrap_or(NonZeroU32::MIN.saturating_add(2)),
    };

    let client = connect(address, args).await?;
    for command in commands {
        let outcome = perform(command, &client, &bench).await;
        outcome.map_err(|failure| explained(failure, &client))?;
    }
    Ok(())
}

/// A lost call says little; the reason for the disconnect says more.
fn explained(failure: Failure, client: &Client<Untyped>) -> Failure {
    match (failure, client.last_disconnect()) {
        (Failure::Failed(reason), Some(why)) => Failure::Failed(format!("{reason}: {why}")),
        (failure, _) => failure,
    }
}

/// Parses a command and its arguments.
fn command(words: &[String]) -> Result<Command, Failure> {
    let Some((name, arguments)) = words.split_first() else {
        return Err(Failure::Usage("a command is wanted".into()));
    };
    Ok(match (name.as_str(), arguments) {
        ("ping", []) => Command::Ping,
        ("echo", [_, ..]) => Command::Echo(arguments.iter().map(term).collect::<Result<_, _>>()?),
        ("sleepfor", [_, ..]) => {
            Command::Sleepfor(arguments.iter().map(ms).collect::<Result<_, _>>()?)
        }
        ("set", [value]) => Command::Set(term(value)?),
        ("state", []) => Command::State,
        ("push", [value]) => Command::Push(term(value)?),
        ("bench", []) => Command::Bench,
        ("call", [value]) => Command::Call(term(value)?),
        ("cast", [value]) => Command::Cast(term(value)?),
        _ => {
            let words = words.join(" ");
            return Err(Failure::Usage(format!("`{words}` is no command")));
        }
    })
}

fn term(text: &String) -> Result<Term, Failure> {
    text.parse().map_err(|why| {
        let hint = "a term with spaces or quotes needs quotes of the shell";
        Failure::Usage(format!("`{text}` is no term ({why}); {hint}"))
    })
}

fn ms(text: &String) -> Result<u32, Failure> {
    let wrong = |why| Failure::Usage(format!("`{text}` is no number of milliseconds ({why})"));
    text.parse().map_err(wrong)
}

async fn connect(address: Address, args: &Args) -> Result<Client<Untyped>, Failure> {
    let mut builder = Client::builder(address).reply_timeout(PATIENCE);
    if let Some(identifier) = args.value("--identifier", "a name of up to 36 bytes")? {
        builder = builder.identifier(identifier);
    }
    if let Some(version) = args.value("--version", "three numbers such as 1.2.3")? {
        builder = builder.version(version);
    }
    if let Some(level) = args.value("--compressed", "a level from 0 to 9")? {
        if level > 9 {
            return Err(Failure::Usage("--compressed goes up to 9".into()));
        }
        builder = builder.compressed(level);
    }
    if args.has("--elixir-peer") {
        builder = builder.peer(Peer::elixir());
    }
    match (
        args.tls()?,
        args.value::<String>("--server-name", "a name")?,
    ) {
        (Some(tls), Some(name)) => builder = builder.transport(tls.server_name(name)),
        (Some(tls), None) => builder = builder.transport(tls),
        (None, Some(_)) => return Err(Failure::Usage("--server-name wants --tls, too".into())),
        (None, None) => {}
    }
    Ok(builder.connect().await?)
}

async fn perform(command: Command, client: &Client<Untyped>, bench: &Bench) -> Result<(), Failure> {
    match command {
        Command::Ping => {
            let answer = client.call(Term::atom("ping")).await?;
            check(&answer, &Term::atom("pong"))
        }
        Command::Echo(terms) => {
            for term in terms {
                let answer = client.call(named("echo", term.clone())).await?;
                check(&answer, &term)?;
            }
            Ok(())
        }
        Command::Sleepfor(all) => sleepfor(client, &all).await,
        Command::Set(term) => {
            client.cast(named("set", term.clone())).await?;
            // Calls and casts arrive in order, so this reads what that cast set.
            match client.call(Term::atom("state")).await? {
                state if state == term => say(":ok"),
                state => Err(wrong(&state, &term)),
            }
        }
        Command::State => say(client.call(Term::atom("state")).await?),
        Command::Push(term) => {
            let mut pushes = client.pushes();
            client.cast(named("push_me", term.clone())).await?;
            let late = async {
                Timer::after(PATIENCE).await;
                None
            };
            match future::or(pushes.next(), late).await {
                Some(push) => check(&push, &term),
                None => Err(Failure::Failed(format!("no push came within {PATIENCE:?}"))),
            }
        }
        Command::Bench => self::bench(client, bench).await,
        Command::Call(term) => say(client.call(term).await?),
        Command::Cast(term) => {
            client.cast(term).await?;
            // The reply means that the cast before it was handled.
            client.call(Term::atom("ping")).await?;
            say(":ok")
        }
    }
}

async fn sleepfor(client: &Client<Untyped>, all: &[u32]) -> Result<(), Failure> {
    // The sum: an Elixir server handles one at a time.
    let slept: Duration = all
        .iter()
        .map(|ms| Duration::from_millis((*ms).into()))
        .sum();
    let mut answers: FuturesUnordered<_> = all
        .iter()
        .map(|ms| async move {
            let ms = Term::from(i64::from(*ms));
            let call = named("sleepfor", ms.clone());
            (ms, client.call_within(call, slept + PATIENCE).await)
        })
        .collect();
    while let Some((ms, answer)) = answers.next().await {
        check(&answer?, &named("slept", ms))?;
    }
    Ok(())
}

async fn bench(client: &Client<Untyped>, bench: &Bench) -> Result<(), Failure> {
    let start = Instant::now();
    let end = start + Duration::from_secs(bench.seconds.get().into());
    let callers: Vec<_> = (0..bench.callers.get())
        .map(|_| smol::spawn(caller(client.clone(), end)))
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.await?);
    }
    let a_second = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    let percentile = |percent: usize| times[(times.len() - 1) * percent / 100];
    let (p50, p99) = (percentile(50), percentile(99));
    say(format!(
        "{a_second:.0} calls a second, p50 {p50:.1?}, p99 {p99:.1?}"
    ))
}

/// Makes calls until the time is up, at least one, and returns their latencies.
async fn caller(client: Client<Untyped>, end: Instant) -> Result<Vec<Duration>, Failure> {
    let (ping, pong) = (Term::atom("ping"), Term::atom("pong"));
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        let answer = client.call(ping.clone()).await?;
        if answer != pong {
            return Err(wrong(&answer, &pong));
        }
        times.push(start.elapsed());
        if Instant::now() >= end {
            return Ok(times);
        }
    }
}

/// Prints a reply and checks it.
fn check(answer: &Term, right: &Term) -> Result<(), Failure> {
    say(answer)?;
    match answer == right {
        true => Ok(()),
        false => Err(wrong(answer, right)),
    }
}

fn wrong(answer: &Term, right: &Term) -> Failure {
    Failure::Failed(format!("wrong answer: {answer}, and not {right}"))
}

/// `{:name, term}`
fn named(name: &str, term: Term) -> Term {
    Term::tuple([Term::atom(name), term])
}
