//! The programs `peer_daemon` and `peer_client`, as somebody at a shell has them.

use erps::TestCa;

use std::process::Stdio;

use smol::{
    future,
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    stream::StreamExt as _,
};

use crate::support::{examples::example, lab::run, pem::Pem};

/// Runs a test, once there are programs to run.
fn run_programs(test: impl Future<Output = ()>) {
    for name in ["peer_daemon", "peer_client"] {
        example(name);
    }
    run(test);
}

/// A running daemon.
struct Daemon {
    child: Child,
    address: String,
    _output: BufReader<ChildStdout>,
}

impl Daemon {
    async fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(example("peer_daemon"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).await.unwrap();
        let address = line.strip_prefix("listening on ").unwrap().trim();
        Self {
            address: address.to_owned(),
            child,
            _output: output,
        }
    }

    /// Runs a client of it to its end.
    async fn ask(&self, arguments: &[&str]) -> Ended {
        let address = [self.address.as_str()];
        ended("peer_client", &[&address, arguments].concat()).await
    }

    /// Runs a client, which should print these lines and be content.
    async fn answers(&self, arguments: &[&str], lines: &[&str]) {
        self.ask(arguments).await.with(0, lines);
    }

    /// Runs a client, which should print nothing, and fail with this reason.
    async fn fails(&self, arguments: &[&str], reason: &str) {
        self.ask(arguments).await.for_a_reason(1, reason);
    }

    async fn signal(&mut self, name: &str) -> Option<i32> {
        let kill = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().await;
        assert!(sent.unwrap().success());
        self.child.status().await.unwrap().code()
    }
}

/// What a program left behind.
#[derive(Debug)]
struct Ended {
    arguments: Vec<String>,
    status: Option<i32>,
    out: String,
    err: String,
}

async fn ended(name: &str, arguments: &[&str]) -> Ended {
    let output = Command::new(example(name))
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    Ended {
        arguments: arguments.iter().map(ToString::to_string).collect(),
        status: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ended {
    /// It printed these lines and said nothing else.
    #[track_caller]
    fn with(&self, status: i32, lines: &[&str]) {
        let printed: Vec<_> = self.out.lines().collect();
        let outcome = (self.status, printed.as_slice(), self.err.as_str());
        assert_eq!(outcome, (Some(status), lines, ""), "{:?}", self.arguments);
    }

    /// It printed nothing and gave a reason, in one line.
    #[track_caller]
    fn for_a_reason(&self, status: i32, reason: &str) {
        let lines = self.err.lines().count();
        let outcome = (self.status, self.out.as_str(), lines);
        assert_eq!(outcome, (Some(status), "", 1), "{:?}", self.arguments);
        assert!(self.err.contains(reason), "{reason}: {self:?}");
    }
}

async fn every_command_is_answered(daemon: &Daemon, options: &[&str]) {
    let with = |words: &[&'static str]| -> Vec<&str> { [words, options].concat() };
    daemon.answers(&with(&["ping"]), &[":pong"]).await;
    let terms = [
        "-5",
        "{:a, \"x\", %{b: [1 | 2]}}",
        "[104, 105]",
        "123456789012345678901234567890",
        "<<1, 2::size(3)>>",
        "nil",
    ];
    let echo = [["echo"].as_slice(), &terms].concat();
    daemon.answers(&with(&echo), &terms).await;
    daemon.answers(&with(&["set", "{:a, 1}"]), &[":ok"]).await;
    daemon.answers(&with(&["state"]), &["nil"]).await;
    let chain = ["set", "1.5", ",", "state", ",", "set", ":b", ",", "state"];
    daemon
        .answers(&with(&chain), &[":ok", "1.5", ":ok", ":b"])
        .await;
    daemon
        .answers(&with(&["push", "\"hi\""]), &["\"hi\""])
        .await;
    daemon
        .answers(&with(&["call", ":from_remote"]), &["true"])
        .await;
    daemon
        .answers(&with(&["call", "{:size, \"grün\"}"]), &["5"])
        .await;
    daemon
        .answers(&with(&["call", "{:stop_reply, [7]}"]), &["[7]"])
        .await;
    let cast = ["cast", "{:set, 3}", ",", "state"];
    daemon.answers(&with(&cast), &[":ok", "3"]).await;

    let unknown = with(&["call", "{:nope, 1}"]);
    daemon
        .fails(&unknown, "error from the server: unknown call: {:nope, 1}")
        .await;
    let crash = with(&["call", ":crash"]);
    daemon
        .fails(&crash, "the server failed before it replied")
        .await;
    daemon.answers(&with(&["ping"]), &[":pong"]).await;
}

/// The answers come in the order of the clock, and while others wait.
async fn naps_overlap(daemon: &Daemon, options: &[&str]) {
    let naps = [&["sleepfor", "900", "500", "0"], options].concat();
    let all = ["{:slept, 0}", "{:slept, 500}", "{:slept, 900}"];
    daemon.answers(&naps, &all).await;
}

#[test]
fn every_command_of_the_client_is_answered() {
    run_programs(async {
        let daemon = Daemon::start(&["--port", "0"]).await;
        every_command_is_answered(&daemon, &[]).await;
        naps_overlap(&daemon, &[]).await;
    });
}

#[test]
fn every_command_is_answered_one_packet_at_a_time() {
    run_programs(async {
        let daemon = Daemon::start(&["--elixir-peer"]).await;
        every_command_is_answered(&daemon, &["--elixir-peer"]).await;
        // Only the daemon spaces its packets here.
        naps_overlap(&daemon, &[]).await;
    });
}

#[test]
fn every_command_is_answered_over_tls_and_nobody_else_is() {
    run_programs(async {
        let ca = TestCa::new();
        let server = Pem::new(&ca, &ca.issue(&["example"]));
        let client = Pem::new(
            &ca,
            &ca.request(&[])
                .common_name("client")
                .uri("spiffe://client")
                .issue(),
        );
        let files = |pem: &Pem| -> Vec<String> {
            let file = |name| pem.path().join(name).display().to_string();
            vec!["--tls".into(), file("ca"), file("certificate"), file("key")]
        };
        let (server, client_files) = (files(&server), files(&client));
        let server: Vec<_> = server.iter().map(String::as_str).collect();
        let tls: Vec<_> = client_files.iter().map(String::as_str).collect();
        let daemon = Daemon::start(&server).await;
        let named = [&tls, ["--server-name", "example"].as_slice()].concat();
        every_command_is_answered(&daemon, &named).await;

        let unnamed = [&["ping"], tls.as_slice()].concat();
        daemon.fails(&unnamed, "the peer is not trusted").await;
        let other = TestCa::new();
        let stranger = Pem::new(
            &ca,
            &other
                .request(&[])
                .common_name("stranger")
                .uri("spiffe://stranger")
                .issue(),
        );
        let stranger = files(&stranger);
        let stranger: Vec<_> = stranger.iter().map(String::as_str).collect();
        let stranger = [&["ping", "--server-name", "example"], stranger.as_slice()].concat();
        daemon
            .fails(&stranger, "the peer rejected this end's certificate")
            .await;
        assert_ne!(daemon.ask(&["ping"]).await.status, Some(0));
    });
}

#[test]
fn each_connection_has_a_state_of_its_own() {
    run_programs(async {
        let daemon = Daemon::start(&[]).await;
        let one = ["set", "1", ",", "sleepfor", "300", ",", "state"];
        let two = ["set", "2", ",", "sleepfor", "300", ",", "state"];
        future::zip(
            daemon.answers(&one, &[":ok", "{:slept, 300}", "1"]),
            daemon.answers(&two, &[":ok", "{:slept, 300}", "2"]),
        )
        .await;
    });
}

#[test]
fn only_the_right_name_and_version_are_served() {
    run_programs(async {
        let daemon = Daemon::start(&["--identifier", "oracle", "--versions", "~> 1.2"]).await;
        // Options stand in front, between and behind.
        let mut ask = vec!["--identifier=oracle", &daemon.address];
        ask.extend(["--version", "1.9.0", "ping", "--compressed", "9"]);
        ended("peer_client", &ask).await.with(0, &[":pong"]);
        let wrong = ["ping", "--identifier", "other", "--version", "1.9.0"];
        daemon
            .fails(&wrong, "error from the server: wrong identifier")
            .await;
        let wrong = ["ping", "--identifier", "oracle", "--version", "2.0.0"];
        daemon
            .fails(&wrong, "error from the server: incompatible version")
            .await;
    });
}

#[test]
fn the_bench_prints_one_line() {
    run_programs(async {
        let daemon = Daemon::start(&["--max-connections", "1"]).await;
        let bench = ["bench", "--callers", "50", "--seconds", "1"];
        let ended = daemon.ask(&bench).await;
        assert_eq!(ended.status, Some(0), "{ended:?}");
        let [rate, rest] = ended.out.split(" calls a second, p50 ").collect::<Vec<_>>()[..] else {
            panic!("{ended:?}")
        };
        assert!(rate.parse::<u64>().unwrap() > 0, "{ended:?}");
        assert!(rest.contains(", p99 "), "{ended:?}");
        assert_eq!(ended.out.lines().count(), 1, "{ended:?}");
    });
}

#[test]
fn a_client_that_reaches_nobody_says_so() {
    run_programs(async {
        let mut daemon = Daemon::start(&[]).await;
        assert_eq!(daemon.signal("TERM").await, Some(0));
        daemon.fails(&["ping"], "cannot connect to 127.0.0.1").await;
        let missing = [
            "ping",
            "--tls",
            "/nowhere/ca",
            "/nowhere/cert",
            "/nowhere/key",
        ];
        daemon.fails(&missing, "/nowhere/ca").await;
    });
}

#[test]
fn a_daemon_whose_port_is_taken_says_so() {
    run_programs(async {
        let daemon = Daemon::start(&[]).await;
        let (_, port) = daemon.address.rsplit_once(':').unwrap();
        ended("peer_daemon", &["--port", port])
            .await
            .for_a_reason(1, "cannot listen on 127.0.0.1");
    });
}

#[test]
fn a_daemon_that_is_terminated_answers_the_calls_under_way() {
    run_programs(async {
        let mut daemon = Daemon::start(&["--drain", "30"]).await;
        let mut client = Command::new(example("peer_client"))
            .args([&daemon.address, "ping", ",", "sleepfor", "3000"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(client.stdout.take().unwrap()).lines();
        assert_eq!(output.next().await.unwrap().unwrap(), ":pong");
        assert_eq!(daemon.signal("TERM").await, Some(0));
        assert_eq!(output.next().await.unwrap().unwrap(), "{:slept, 3000}");
    });
}

#[test]
fn a_daemon_ends_well_when_it_is_told_to_whatever_its_clients_do() {
    run_programs(async {
        for signal in ["TERM", "INT"] {
            let mut daemon = Daemon::start(&[]).await;
            let mut client = Command::new(example("peer_client"))
                .args([&daemon.address, "ping", ",", "sleepfor", "60000"])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let mut line = String::new();
            let mut output = BufReader::new(client.stdout.take().unwrap());
            output.read_line(&mut line).await.unwrap();
            assert_eq!(line, ":pong\n");
            assert_eq!(daemon.signal(signal).await, Some(0), "{signal}");
            assert_eq!(client.status().await.unwrap().code(), Some(1));
        }
    });
}

#[test]
fn wrong_uses_are_told_in_a_line() {
    run_programs(async {
        let client: [(&[&str], &str); 17] = [
            (&[], "HOST:PORT and a command are wanted"),
            (&["localhost:1"], "a command is wanted"),
            (&["ping"], "no address"),
            (&["localhost:70000", "ping"], "no address"),
            (&["localhost:1", "pong"], "`pong` is no command"),
            (&["localhost:1", "ping", ","], "a command is wanted"),
            (&["localhost:1", "ping", "me"], "`ping me` is no command"),
            (&["localhost:1", "echo"], "`echo` is no command"),
            (&["localhost:1", "echo", "{:a,"], "`{:a,` is no term"),
            (&["localhost:1", "sleepfor", "-1"], "milliseconds"),
            (&["localhost:1", "ping", "--what"], "no option --what"),
            (
                &["localhost:1", "ping", "--tls", "a"],
                "--tls wants CA CERT KEY",
            ),
            (&["localhost:1", "ping", "--server-name", "a"], "--tls"),
            (
                &["localhost:1", "ping", "--version", "1.2"],
                "--version wants",
            ),
            (
                &["localhost:1", "ping", "--compressed", "10"],
                "--compressed",
            ),
            (
                &["localhost:1", "bench", "--callers", "0"],
                "--callers wants",
            ),
            (
                &["localhost:1", "ping", "--elixir-peer=1"],
                "--elixir-peer wants no value",
            ),
        ];
        for (arguments, reason) in client {
            ended("peer_client", arguments)
                .await
                .for_a_reason(2, reason);
        }
        let daemon: [(&[&str], &str); 8] = [
            (&["--port"], "--port wants PORT"),
            (&["--port", "x"], "--port wants a number from 0 to 65535"),
            (&["--port", "1", "--port", "2"], "--port is there twice"),
            (&["4747"], "\"4747\" is no option"),
            (&["--bind", "here"], "--bind wants an IP address"),
            (&["--bind", "0.0.0.0"], "give --tls CA CERT KEY"),
            (&["--versions", "^1.2"], "--versions wants a requirement"),
            (&["--max-connections", "0"], "--max-connections wants"),
        ];
        for (arguments, reason) in daemon {
            ended("peer_daemon", arguments)
                .await
                .for_a_reason(2, reason);
        }
    });
}

#[test]
fn both_programs_explain_themselves() {
    run_programs(async {
        for name in ["peer_daemon", "peer_client"] {
            for arguments in [["--help"].as_slice(), &["-h"], &["--elixir-peer", "--help"]] {
                let help = ended(name, arguments).await;
                assert_eq!(help.status, Some(0), "{help:?}");
                assert_eq!(help.err, "", "{help:?}");
                let usage = format!("usage: {name} ");
                assert!(help.out.contains(&usage), "{help:?}");
            }
        }
    });
}
