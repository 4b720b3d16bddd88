//! The programs `peer_daemon` and `peer_client`, run as from a shell.

use erps::TestCa;

use std::process::Stdio;

use smol::{
    future,
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    stream::StreamExt as _,
};

use crate::support::{examples::example, pem::Pem, test_server::run};

/// Builds the programs if necessary and runs a test.
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

    /// Runs a client until it exits.
    async fn run_client(&self, arguments: &[&str]) -> Finished {
        let address = [self.address.as_str()];
        run_program("peer_client", &[&address, arguments].concat()).await
    }

    /// Runs a client and asserts that it prints these lines and exits assert_printed success.
    async fn assert_answers(&self, arguments: &[&str], lines: &[&str]) {
        self.run_client(arguments).await.assert_printed(0, lines);
    }

    /// Runs a client and asserts that it prints nothing and assert_fails assert_printed this reason.
    async fn assert_fails(&self, arguments: &[&str], reason: &str) {
        self.run_client(arguments).await.assert_failed(1, reason);
    }

    async fn signal(&mut self, name: &str) -> Option<i32> {
        let kill = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().await;
        assert!(sent.unwrap().success());
        self.child.status().await.unwrap().code()
    }
}

/// The exit status and output of a program.
#[derive(Debug)]
struct Finished {
    arguments: Vec<String>,
    status: Option<i32>,
    out: String,
    err: String,
}

async fn run_program(name: &str, arguments: &[&str]) -> Finished {
    let output = Command::new(example(name))
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    Finished {
        arguments: arguments.iter().map(ToString::to_string).collect(),
        status: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Finished {
    /// Asserts that the program printed exactly these lines.
    #[track_caller]
    fn assert_printed(&self, status: i32, lines: &[&str]) {
        let printed: Vec<_> = self.out.lines().collect();
        let outcome = (self.status, printed.as_slice(), self.err.as_str());
        assert_eq!(outcome, (Some(status), lines, ""), "{:?}", self.arguments);
    }

    /// Asserts that the program printed nothing but a reason, in one line.
    #[track_caller]
    fn assert_failed(&self, status: i32, reason: &str) {
        let lines = self.err.lines().count();
        let outcome = (self.status, self.out.as_str(), lines);
        assert_eq!(outcome, (Some(status), "", 1), "{:?}", self.arguments);
        assert!(self.err.contains(reason), "{reason}: {self:?}");
    }
}

async fn every_command_is_answered(daemon: &Daemon, options: &[&str]) {
    let assert_printed = |words: &[&'static str]| -> Vec<&str> { [words, options].concat() };
    daemon
        .assert_answers(&assert_printed(&["ping"]), &[":pong"])
        .await;
    let terms = [
        "-5",
        "{:a, \"x\", %{b: [1 | 2]}}",
        "[104, 105]",
        "123456789012345678901234567890",
        "<<1, 2::size(3)>>",
        "nil",
    ];
    let echo = [["echo"].as_slice(), &terms].concat();
    daemon.assert_answers(&assert_printed(&echo), &terms).await;
    daemon
        .assert_answers(&assert_printed(&["set", "{:a, 1}"]), &[":ok"])
        .await;
    daemon
        .assert_answers(&assert_printed(&["state"]), &["nil"])
        .await;
    let chain = ["set", "1.5", ",", "state", ",", "set", ":b", ",", "state"];
    daemon
        .assert_answers(&assert_printed(&chain), &[":ok", "1.5", ":ok", ":b"])
        .await;
    daemon
        .assert_answers(&assert_printed(&["push", "\"hi\""]), &["\"hi\""])
        .await;
    daemon
        .assert_answers(&assert_printed(&["call", ":from_remote"]), &["true"])
        .await;
    daemon
        .assert_answers(&assert_printed(&["call", "{:size, \"grün\"}"]), &["5"])
        .await;
    daemon
        .assert_answers(&assert_printed(&["call", "{:stop_reply, [7]}"]), &["[7]"])
        .await;
    let cast = ["cast", "{:set, 3}", ",", "state"];
    daemon
        .assert_answers(&assert_printed(&cast), &[":ok", "3"])
        .await;

    let unknown = assert_printed(&["call", "{:nope, 1}"]);
    daemon
        .assert_fails(&unknown, "error from the server: unknown call: {:nope, 1}")
        .await;
    let crash = assert_printed(&["call", ":crash"]);
    daemon
        .assert_fails(&crash, "the server failed before it replied")
        .await;
    daemon
        .assert_answers(&assert_printed(&["ping"]), &[":pong"])
        .await;
}

/// Replies come in the order of time, also while other calls wait.
async fn sleeping_calls_overlap(daemon: &Daemon, options: &[&str]) {
    let calls = [&["sleepfor", "900", "500", "0"], options].concat();
    let all = ["{:slept, 0}", "{:slept, 500}", "{:slept, 900}"];
    daemon.assert_answers(&calls, &all).await;
}

#[test]
fn client_commands_are_answered() {
    run_programs(async {
        let daemon = Daemon::start(&["--port", "0"]).await;
        every_command_is_answered(&daemon, &[]).await;
        sleeping_calls_overlap(&daemon, &[]).await;
    });
}

#[test]
fn client_commands_are_answered_with_elixir_peer() {
    run_programs(async {
        let daemon = Daemon::start(&["--elixir-peer"]).await;
        every_command_is_answered(&daemon, &["--elixir-peer"]).await;
        // Only the daemon spaces its packets here.
        sleeping_calls_overlap(&daemon, &[]).await;
    });
}

#[test]
fn client_commands_are_answered_over_tls_and_other_clients_are_rejected() {
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
        daemon
            .assert_fails(&unnamed, "the peer is not trusted")
            .await;
        let other = TestCa::new();
        let unknown = Pem::new(
            &ca,
            &other
                .request(&[])
                .common_name("unknown")
                .uri("spiffe://unknown")
                .issue(),
        );
        let unknown = files(&unknown);
        let unknown: Vec<_> = unknown.iter().map(String::as_str).collect();
        let unknown = [&["ping", "--server-name", "example"], unknown.as_slice()].concat();
        daemon
            .assert_fails(&unknown, "the peer rejected this end's certificate")
            .await;
        assert_ne!(daemon.run_client(&["ping"]).await.status, Some(0));
    });
}

#[test]
fn each_connection_has_its_own_state() {
    run_programs(async {
        let daemon = Daemon::start(&[]).await;
        let one = ["set", "1", ",", "sleepfor", "300", ",", "state"];
        let two = ["set", "2", ",", "sleepfor", "300", ",", "state"];
        future::zip(
            daemon.assert_answers(&one, &[":ok", "{:slept, 300}", "1"]),
            daemon.assert_answers(&two, &[":ok", "{:slept, 300}", "2"]),
        )
        .await;
    });
}

#[test]
fn client_with_wrong_identifier_or_version_receives_an_error() {
    run_programs(async {
        let daemon = Daemon::start(&["--identifier", "oracle", "--versions", "~> 1.2"]).await;
        // Options before, between and after the arguments.
        let mut run_client = vec!["--identifier=oracle", &daemon.address];
        run_client.extend(["--version", "1.9.0", "ping", "--compressed", "9"]);
        run_program("peer_client", &run_client)
            .await
            .assert_printed(0, &[":pong"]);
        let wrong = ["ping", "--identifier", "other", "--version", "1.9.0"];
        daemon
            .assert_fails(&wrong, "error from the server: wrong identifier")
            .await;
        let wrong = ["ping", "--identifier", "oracle", "--version", "2.0.0"];
        daemon
            .assert_fails(&wrong, "error from the server: incompatible version")
            .await;
    });
}

#[test]
fn bench_prints_one_line() {
    run_programs(async {
        let daemon = Daemon::start(&["--max-connections", "1"]).await;
        let bench = ["bench", "--callers", "50", "--seconds", "1"];
        let run_program = daemon.run_client(&bench).await;
        assert_eq!(run_program.status, Some(0), "{run_program:?}");
        let [rate, rest] = run_program
            .out
            .split(" calls a second, p50 ")
            .collect::<Vec<_>>()[..]
        else {
            panic!("{run_program:?}")
        };
        assert!(rate.parse::<u64>().unwrap() > 0, "{run_program:?}");
        assert!(rest.contains(", p99 "), "{run_program:?}");
        assert_eq!(run_program.out.lines().count(), 1, "{run_program:?}");
    });
}

#[test]
fn client_reports_a_failed_connection() {
    run_programs(async {
        let mut daemon = Daemon::start(&[]).await;
        assert_eq!(daemon.signal("TERM").await, Some(0));
        daemon
            .assert_fails(&["ping"], "cannot connect to 127.0.0.1")
            .await;
        let missing = [
            "ping",
            "--tls",
            "/nowhere/ca",
            "/nowhere/cert",
            "/nowhere/key",
        ];
        daemon.assert_fails(&missing, "/nowhere/ca").await;
    });
}

#[test]
fn daemon_reports_a_port_in_use() {
    run_programs(async {
        let daemon = Daemon::start(&[]).await;
        let (_, port) = daemon.address.rsplit_once(':').unwrap();
        run_program("peer_daemon", &["--port", port])
            .await
            .assert_failed(1, "cannot listen on 127.0.0.1");
    });
}

#[test]
fn daemon_answers_calls_in_flight_on_sigterm() {
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
fn daemon_exits_with_success_on_sigterm_and_sigint_despite_pending_calls() {
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
fn usage_errors_are_reported_in_one_line() {
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
            run_program("peer_client", arguments)
                .await
                .assert_failed(2, reason);
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
            run_program("peer_daemon", arguments)
                .await
                .assert_failed(2, reason);
        }
    });
}

#[test]
fn both_programs_print_their_usage() {
    run_programs(async {
        for name in ["peer_daemon", "peer_client"] {
            for arguments in [["--help"].as_slice(), &["-h"], &["--elixir-peer", "--help"]] {
                let help = run_program(name, arguments).await;
                assert_eq!(help.status, Some(0), "{help:?}");
                assert_eq!(help.err, "", "{help:?}");
                let usage = format!("usage: {name} ");
                assert!(help.out.contains(&usage), "{help:?}");
            }
        }
    });
}
