//! A daemon for any erps client and any terms. See `--help`, and `peer_client`.

#[path = "peer/common.rs"]
mod common;

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroUsize,
    process::ExitCode,
    time::Duration,
};

use async_signal::{Signal, Signals};
use erps::{
    BoxError, Context, Daemon, ExitReason, InitError, Peer, ReplyTo, Server, ServerOptions,
    StartDaemonError, Term,
};
use smol::{Timer, future::FutureExt as _, stream::StreamExt as _};

use common::{Args, Failure, Options, Untyped, say};

const HELP: &str = "\
Serves any erps client, of this library or of Elixir's, until SIGTERM or SIGINT. At SIGTERM it closes its
port and answers the calls that are under way; a second signal, or SIGINT, ends it at once.

usage: peer_daemon [OPTIONS]

It prints one line, `listening on ADDR:PORT`, and answers:

  call :ping               :pong
  call {:echo, t}          t
  call {:sleepfor, ms}     {:slept, ms}, so many milliseconds later; others need not wait
  call {:size, binary}     its length in bytes
  call :from_remote        true
  call :state              what was set last on this connection, or nil
  call {:stop_reply, t}    t, and then the connection's server stops
  call :crash              nothing: the connection's server panics
  cast {:set, t}           sets the state of this connection
  cast {:push_me, t}       pushes t

Any other call is answered with an error.

Options:
  --port PORT              the port; 0, the default, is any free one
  --bind ADDR              the address; 127.0.0.1 unless set
  --tls CA CERT KEY        two-way TLS, with these PEM files
  --identifier NAME        the name that clients must give; any unless set
  --versions REQ           the versions that are accepted, such as '~> 1.2'; all unless set
  --max-connections N      how many connections there may be
  --drain SECONDS          how long SIGTERM leaves for the calls under way; 5 unless set
  --elixir-peer            the clients are Elixir's: leave time between any two packets
  --help                   prints this
";

const OPTIONS: &Options = &[
    ("--port", &["PORT"]),
    ("--bind", &["ADDR"]),
    ("--tls", &["CA", "CERT", "KEY"]),
    ("--identifier", &["NAME"]),
    ("--versions", &["REQ"]),
    ("--max-connections", &["N"]),
    ("--drain", &["SECONDS"]),
    ("--elixir-peer", &[]),
];

/// The server of one connection.
struct PeerServer {
    state: Term,
}

impl Server for PeerServer {
    type Protocol = Untyped;
    type Seed = ();
    type Info = ();

    async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { state: Term::nil() })
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match parts(&call) {
            ("ping", []) => from.reply(Term::atom("pong")),
            ("echo", [term]) => from.reply(term.clone()),
            ("sleepfor", [Term::Integer(ms @ 0..)]) => reply_later(from, *ms),
            ("size", [Term::Binary(bytes)]) => from.reply(Term::from(bytes.len() as u64)),
            ("from_remote", []) => {
                let is_remote = from.is_remote();
                from.reply(is_remote.into());
            }
            ("state", []) => from.reply(self.state.clone()),
            ("stop_reply", [term]) => {
                from.reply(term.clone());
                cx.stop(ExitReason::Normal);
            }
            ("crash", []) => panic!("a client called :crash"),
            _ => from.refuse(format!("unknown call: {}", shortened(&call))),
        }
        Ok(())
    }

    async fn handle_cast(&mut self, cast: Term, cx: &mut Context<Self>) -> Result<(), BoxError> {
        match parts(&cast) {
            ("set", [term]) => self.state = term.clone(),
            ("push_me", [term]) => cx.push(term.clone()).await?,
            _ => eprintln!("unknown cast: {}", shortened(&cast)),
        }
        Ok(())
    }
}

/// Splits `:name` into a name without arguments, and `{:name, a, b}` into a name with two.
fn parts(term: &Term) -> (&str, &[Term]) {
    match term {
        Term::Atom(name) => (name, &[]),
        Term::Tuple(elements) => match elements.as_slice() {
            [Term::Atom(name), arguments @ ..] => (name, arguments),
            _ => ("", &[]),
        },
        _ => ("", &[]),
    }
}

/// Replies from another task, so that the server is free for the next call.
fn reply_later(from: ReplyTo<Term>, ms: i64) {
    let answer = async move {
        Timer::after(Duration::from_millis(ms.unsigned_abs())).await;
        from.reply(Term::tuple([Term::atom("slept"), ms.into()]));
    };
    smol::spawn(answer).detach();
}

/// Formats a term as text that fits in a line.
fn shortened(term: &Term) -> String {
    let text = term.to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn main() -> ExitCode {
    common::run(HELP, OPTIONS, |args| smol::block_on(serve(&args)))
}

async fn serve(args: &Args) -> Result<(), Failure> {
    if let Some(word) = args.words.first() {
        return Err(Failure::Usage(format!("{word:?} is no option")));
    }
    let mut builder = Daemon::<PeerServer>::builder(())
        .port(
            args.value("--port", "a number from 0 to 65535")?
                .unwrap_or(0),
        )
        .bind(
            args.value("--bind", "an IP address")?
                .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        );
    if let Some(identifier) = args.value("--identifier", "a name of up to 36 bytes")? {
        builder = builder.identifier(identifier);
    }
    if let Some(versions) = args.value("--versions", "a requirement such as '~> 1.2'")? {
        builder = builder.versions(versions);
    }
    if let Some(limit) = args.value::<NonZeroUsize>("--max-connections", "a number above 0")? {
        builder = builder.max_connections(limit.get());
    }
    let drain = args.value("--drain", "a number of seconds")?;
    if args.has("--elixir-peer") {
        builder = builder.server_options(ServerOptions::new().peer(Peer::elixir()));
    }
    if let Some(tls) = args.tls()? {
        builder = builder.transport(tls);
    }

    let mut signals = Signals::new([Signal::Term, Signal::Int])?;
    let daemon = builder.start_link().await.map_err(|error| match error {
        StartDaemonError::Plaintext(address) => Failure::Usage(format!(
            "{address} can be reached from other machines: give --tls CA CERT KEY"
        )),
        error => error.into(),
    })?;
    say(format!("listening on {}", daemon.local_addr()))?;
    if let Some(Ok(Signal::Term)) = signals.next().await {
        let limit = Duration::from_secs(drain.unwrap_or(5));
        let drained = async { Some(daemon.drain(limit).await) };
        let again = async {
            signals.next().await;
            None
        };
        if let Some(report) = drained.or(again).await {
            for cut in report.cut() {
                eprintln!("{} was cut: {:?}", cut.peer, cut.outcome);
            }
        }
    }
    daemon.shutdown().await;
    Ok(())
}
