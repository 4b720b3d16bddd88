//! TLS with Erlang's `ssl` as the peer, in both directions. Skipped without an Erlang installation.

use std::{
    env, fs,
    io::ErrorKind,
    path::PathBuf,
    process::{self, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use async_net::{TcpListener, TcpStream};
use erps::{HandshakeError, TestCa, TestCertificate, Tls, Transport as _};
use smol::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
};

use super::{HOST, PEER, assert_alert, run};

/// Prints its port, then echoes what clients send.
const SERVER: &str = r#"
main([Version, Dir]) ->
    {ok, _} = application:ensure_all_started(ssl),
    {ok, Listener} = ssl:listen(0, [{versions, [list_to_atom(Version)]},
        {cacertfile, Dir ++ "/ca"}, {certfile, Dir ++ "/certificate"}, {keyfile, Dir ++ "/key"},
        {verify, verify_peer}, {fail_if_no_peer_cert, true},
        {active, false}, binary, {reuseaddr, true}]),
    {ok, {_, Port}} = ssl:sockname(Listener),
    io:format("~p~n", [Port]),
    serve(Listener).

serve(Listener) ->
    {ok, Accepted} = ssl:transport_accept(Listener),
    case ssl:handshake(Accepted, 5000) of
        {ok, Socket} -> echo(Socket);
        {error, _} -> refused
    end,
    serve(Listener).

echo(Socket) ->
    case ssl:recv(Socket, 0, 5000) of
        {ok, Data} -> ok = ssl:send(Socket, Data), echo(Socket);
        {error, closed} -> ok
    end.
"#;

/// Connects, sends a word, and prints the result of each `recv` on its own line.
const CLIENT: &str = r#"
main([Version, Dir, Port]) ->
    {ok, _} = application:ensure_all_started(ssl),
    case ssl:connect("localhost", list_to_integer(Port), [{versions, [list_to_atom(Version)]},
            {cacertfile, Dir ++ "/ca"}, {certfile, Dir ++ "/certificate"}, {keyfile, Dir ++ "/key"},
            {verify, verify_peer}, {active, false}, binary]) of
        {ok, Socket} -> io:format("connected~n"), ssl:send(Socket, <<"hello">>), recv(Socket);
        {error, {tls_alert, {Alert, _}}} -> io:format("refused ~p~n", [Alert])
    end.

recv(Socket) ->
    case ssl:recv(Socket, 0, 5000) of
        {ok, Data} -> io:format("~s~n", [Data]), recv(Socket);
        {error, {tls_alert, {Alert, _}}} -> io:format("refused ~p~n", [Alert]);
        {error, closed} -> io:format("closed~n")
    end.
"#;

const VERSIONS: [&str; 2] = ["tlsv1.3", "tlsv1.2"];

/// An Erlang script in a directory of its own with its certificates.
struct Script(PathBuf);

impl Script {
    fn new(program: &str, ca: &TestCa, own: &TestCertificate) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let directory = env::temp_dir().join(format!("erps-erlang-{}-{number}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("ca"), ca.pem()).unwrap();
        fs::write(directory.join("certificate"), &own.certificate).unwrap();
        fs::write(directory.join("key"), &own.key).unwrap();
        fs::write(directory.join("main"), format!("#!escript\n{program}")).unwrap();
        Self(directory)
    }

    /// Starts the script; prints a note and returns `None` without an Erlang installation.
    fn start(&self, version: &str, port: Option<u16>) -> Option<Child> {
        let child = Command::new("escript")
            .arg(self.0.join("main"))
            .arg(version)
            .arg(&self.0)
            .args(port.map(|port| port.to_string()))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        match child {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("skipped: escript is not installed");
                None
            }
            child => Some(child.unwrap()),
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn line(output: &mut BufReader<smol::process::ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).await.unwrap();
    line.trim().to_owned()
}

#[test]
fn client_connects_to_an_erlang_server_without_waiting_for_the_settle_time() {
    for version in VERSIONS {
        run(async {
            let ca = TestCa::new();
            let script = Script::new(SERVER, &ca, &ca.issue(&HOST));
            let Some(mut child) = script.start(version, None) else {
                return;
            };
            let mut output = BufReader::new(child.stdout.take().unwrap());
            let port: u16 = line(&mut output).await.parse().unwrap();
            let ours = ca.tls(&["us"]).settle_time(Duration::from_secs(3600));
            for _ in 0..20 {
                let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let secured = ours.connect(Box::new(stream), "localhost").await;
                let mut stream = secured.unwrap().stream;
                for word in ["hello", "again"] {
                    stream.write_all(word.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                    let mut back = [0; 5];
                    stream.read_exact(&mut back).await.unwrap();
                    assert_eq!(&back, word.as_bytes());
                }
                stream.close().await.unwrap();
            }
        });
    }
}

#[test]
fn client_rejected_by_an_erlang_server_receives_the_alert() {
    for version in VERSIONS {
        run(async {
            let (ca, other) = (TestCa::new(), TestCa::new());
            let script = Script::new(SERVER, &other, &ca.issue(&HOST));
            let Some(mut child) = script.start(version, None) else {
                return;
            };
            let mut output = BufReader::new(child.stdout.take().unwrap());
            let port: u16 = line(&mut output).await.parse().unwrap();
            let ours = ca.tls(&["us"]).settle_time(Duration::from_secs(3600));
            let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let refused = ours.connect(Box::new(stream), "localhost").await;
            assert_alert(refused, "unknown_ca");
        });
    }
}

/// Accepts one Erlang client. Returns the outcome here and what the client printed.
async fn accept_from(
    server: &Tls,
    script: &Script,
    version: &str,
) -> Option<(Result<(), HandshakeError>, Vec<String>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut child = script.start(version, Some(port))?;
    let (stream, _) = listener.accept().await.unwrap();
    let outcome = match server.accept(Box::new(stream), PEER).await {
        Ok(secured) => {
            let mut stream = secured.stream;
            let mut word = [0; 5];
            stream.read_exact(&mut word).await.unwrap();
            for word in ["welcome", "among", "us"] {
                stream.write_all(word.as_bytes()).await.unwrap();
            }
            stream.close().await.unwrap();
            Ok(())
        }
        Err(error) => Err(error),
    };
    let mut printed = String::new();
    let mut output = child.stdout.take().unwrap();
    output.read_to_string(&mut printed).await.unwrap();
    Some((outcome, printed.lines().map(str::to_owned).collect()))
}

#[test]
fn erlang_client_is_accepted() {
    for version in VERSIONS {
        run(async {
            let ca = TestCa::new();
            let script = Script::new(CLIENT, &ca, &ca.issue(&["them"]));
            let Some((outcome, printed)) = accept_from(&ca.tls(&HOST), &script, version).await
            else {
                return;
            };
            outcome.unwrap();
            // `recv` can return several records at once.
            assert_eq!(printed.concat(), "connectedwelcomeamongusclosed");
        });
    }
}

#[test]
fn rejected_erlang_client_receives_the_alert() {
    for version in VERSIONS {
        run(async {
            let (ca, other) = (TestCa::new(), TestCa::new());
            let script = Script::new(CLIENT, &ca, &other.issue(&["them"]));
            let Some((outcome, printed)) = accept_from(&ca.tls(&HOST), &script, version).await
            else {
                return;
            };
            let error = outcome.unwrap_err();
            assert!(matches!(error, HandshakeError::Untrusted(_)), "{error}");
            // With TLS 1.3 the client counts as connected by then: the alert is only logged and `recv`
            // returns `closed`.
            let printed_line = |word: &str| printed.iter().any(|line| line == word);
            let late = version == "tlsv1.3" && printed_line("closed");
            assert!(late || printed_line("refused unknown_ca"), "{printed:?}");
        });
    }
}
