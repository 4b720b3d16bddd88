//! A real Erlang node as the peer, in both directions: a plain implementation of the protocol of erps 0.7 on
//! OTP.
//!
//! Like Elixir's erps it takes whatever one `recv` returns as one packet. The program is
//! `tests/erlang/peer.escript`; without `escript` these tests are skipped.

mod client;
mod server;

use std::{io::ErrorKind, process::Stdio};

use erps::{
    BoxError, Context, Daemon, DaemonBuilder, InitError, Protocol, ReplyTo, Server, Term, TestCa,
    Tls,
};
use smol::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::support::{cores::cores, pem::Pem, test_server};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/erlang/peer.escript");

/// Runs a test while a core is reserved for its node. The node computes while it starts, and loses packets
/// that it does not read one by one.
fn run<T>(test: impl Future<Output = T>) -> T {
    let _core = cores(1);
    test_server::run(test)
}

/// The transport between the two ends.
#[derive(Clone, Copy, Debug)]
enum Wire {
    Tcp,
    Tls12,
    Tls13,
}

/// The certificates of both ends, from one CA.
struct Ends {
    wire: Wire,
    erlang: Pem,
    ours: Tls,
}

impl Ends {
    fn new(wire: Wire) -> Self {
        let ca = TestCa::new();
        Self {
            wire,
            erlang: Pem::new(&ca, &ca.issue(&["localhost", "127.0.0.1"])),
            ours: ca.tls(&["localhost", "127.0.0.1"]),
        }
    }

    fn transport(&self) -> String {
        let directory = self.erlang.path().display();
        match self.wire {
            Wire::Tcp => "tcp".to_owned(),
            Wire::Tls12 => format!("tlsv1.2:{directory}"),
            Wire::Tls13 => format!("tlsv1.3:{directory}"),
        }
    }
}

/// The Erlang program.
struct Erlang {
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Erlang {
    /// Starts the program; prints a note and returns `None` without an Erlang installation.
    fn start(arguments: &[&str]) -> Option<Self> {
        let child = Command::new("escript")
            .arg(SCRIPT)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = match child {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("skipped: escript is not installed");
                return None;
            }
            child => child.unwrap(),
        };
        Some(Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            _child: child,
        })
    }

    /// Starts an Erlang client and connects it. `identity` is an identifier and a version, or empty.
    async fn client(ends: &Ends, port: u16, identity: &[&str]) -> Option<Self> {
        let (port, transport) = (port.to_string(), ends.transport());
        let mut arguments = vec!["client", &port, &transport];
        arguments.extend(identity);
        let mut this = Self::start(&arguments)?;
        assert_eq!(this.first_line().await?, "connected");
        Some(this)
    }

    /// Starts an Erlang server and returns it with its port. It requires `identifier`, if there is one.
    async fn server(ends: &Ends, identifier: &[&str]) -> Option<(Self, u16)> {
        let transport = ends.transport();
        let mut arguments = vec!["server", &transport];
        arguments.extend(identifier);
        let mut this = Self::start(&arguments)?;
        let port = this.first_line().await?.parse().unwrap();
        Some((this, port))
    }

    /// Prints a note and returns `None` if Erlang's `ssl` is missing.
    async fn first_line(&mut self) -> Option<String> {
        let line = self.line().await;
        if line == "no_ssl" {
            eprintln!("skipped: Erlang's ssl is not installed");
            return None;
        }
        Some(line)
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).await.unwrap();
        line.trim().to_owned()
    }

    /// Sends a command to the client and returns its answer in Erlang's syntax.
    async fn tell(&mut self, command: &str) -> String {
        let command = format!("{command}.\n");
        self.input.write_all(command.as_bytes()).await.unwrap();
        self.input.flush().await.unwrap();
        self.line().await
    }

    async fn expect(&mut self, command: &str, answer: &str) {
        assert_eq!(self.tell(command).await, answer, "to {command}");
    }
}

struct Untyped;

impl Protocol for Untyped {
    const IDENTIFIER: &'static str = "erlang";
    const VERSION: &'static str = "1.2.3";
    const ACCEPTS: &'static str = "~> 1.2";
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Push = Term;
}

/// An identity that the daemon accepts.
const IDENTITY: [&str; 2] = ["erlang", "1.2.9"];

/// Echoes; holds calls until all are released; pushes several terms at once.
#[derive(Default)]
struct UntypedServer {
    casts: Vec<Term>,
    held: Vec<ReplyTo<Term>>,
}

impl Server for UntypedServer {
    type Protocol = Untyped;
    type Seed = ();
    type Info = ();

    async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self::default())
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        match &call {
            Term::Atom(name) if **name == *"ping" => from.reply(Term::atom("pong")),
            Term::Atom(name) if **name == *"casts" => from.reply(Term::list(self.casts.clone())),
            Term::Atom(name) if **name == *"hold" => self.held.push(from),
            Term::Atom(name) if **name == *"release" => {
                self.held.push(from);
                for (n, held) in self.held.drain(..).enumerate() {
                    held.reply(Term::from(n as u64));
                }
            }
            Term::Tuple(parts) if parts.len() == 2 && parts[0] == Term::atom("echo") => {
                from.reply(parts[1].clone());
            }
            _ => from.refuse(format!("unknown call: {call}")),
        }
        Ok(())
    }

    async fn handle_cast(&mut self, cast: Term, cx: &mut Context<Self>) -> Result<(), BoxError> {
        match cast.as_tuple() {
            Some([name, Term::List(all)]) if *name == Term::atom("push") => {
                for push in all {
                    cx.push(push.clone()).await?;
                }
            }
            _ => self.casts.push(cast),
        }
        Ok(())
    }
}

/// Returns a builder for a daemon for Erlang clients.
fn daemon(ends: &Ends) -> DaemonBuilder<UntypedServer> {
    let builder = Daemon::builder(());
    match ends.wire {
        Wire::Tcp => builder,
        Wire::Tls12 | Wire::Tls13 => builder.transport(ends.ours.clone()),
    }
}
