//! Every configurable duration at its extremes: nothing panics, hangs or busy-loops.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use erps::{
    AtLimit, Backoff, CallError, ChildSpec, Client, ClientBuilder, DaemonBuilder,
    DynamicSupervisor, ExitReason, Network, Peer, Restart, RestartDelay, ServerOptions, ServerRef,
    Shutdown, Status, Supervisor, TcpOptions, TestCa, Tls, time,
};

use crate::support::{
    test_server::{self, Call, Reply, TestProtocol, TestServer},
    time::{ms, secs},
};

const VALUES: [Duration; 9] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_millis(1),
    Duration::from_millis(999),
    Duration::from_secs(24 * 3600),
    Duration::from_secs(32_768),
    Duration::from_secs(u32::MAX as u64),
    Duration::from_secs(u64::MAX / 2),
    Duration::MAX,
];

const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4747);

/// A daemon and a client, not started yet.
struct Setup {
    daemon: DaemonBuilder<TestServer>,
    client: ClientBuilder<TestProtocol>,
}

impl Setup {
    fn daemon(
        self,
        set: impl FnOnce(DaemonBuilder<TestServer>) -> DaemonBuilder<TestServer>,
    ) -> Self {
        let daemon = set(self.daemon);
        Self { daemon, ..self }
    }

    fn client(
        self,
        set: impl FnOnce(ClientBuilder<TestProtocol>) -> ClientBuilder<TestProtocol>,
    ) -> Self {
        let client = set(self.client);
        Self { client, ..self }
    }

    fn server(self, set: impl FnOnce(ServerOptions) -> ServerOptions) -> Self {
        self.daemon(|it| it.server_options(set(ServerOptions::new())))
    }

    fn tcp(self, set: impl FnOnce(TcpOptions) -> TcpOptions) -> Self {
        let options = set(TcpOptions::new());
        let other = options.clone();
        self.daemon(|it| it.tcp(options)).client(|it| it.tcp(other))
    }

    fn tls(self, set: impl Fn(Tls) -> Tls) -> Self {
        static CA: OnceLock<TestCa> = OnceLock::new();
        let ca = CA.get_or_init(TestCa::new);
        let (here, there) = (set(ca.tls(&["127.0.0.1"])), set(ca.tls(&["client"])));
        self.daemon(|it| it.transport(here))
            .client(|it| it.transport(there))
    }
}

type Set = fn(Setup, Duration) -> Setup;

const OPTIONS: &[(&str, Set)] = &[
    ("max_listener_rebinds", |it, value| {
        it.daemon(|it| it.max_listener_rebinds(3, value))
    }),
    ("server_shutdown", |it, value| {
        it.daemon(|it| it.server_shutdown(Shutdown::Within(value)))
    }),
    ("drain_timeout", |it, value| {
        it.daemon(|it| it.drain_timeout(value))
    }),
    ("daemon's handshake_timeout", |it, value| {
        it.tls(|it| it).daemon(|it| it.handshake_timeout(value))
    }),
    ("start_timeout", |it, value| {
        it.daemon(|it| it.start_timeout(value))
    }),
    ("retry_after", |it, retry_after| {
        it.daemon(|it| {
            it.max_connections(1)
                .at_limit(AtLimit::Refuse { retry_after })
        })
    }),
    ("server's peer", |it, pause| {
        it.server(|it| it.peer(Peer::Elixir { pause }))
    }),
    ("first_packet_timeout", |it, value| {
        it.server(|it| it.first_packet_timeout(value))
    }),
    ("packet_timeout", |it, value| {
        it.server(|it| it.packet_timeout(value))
    }),
    ("write_timeout", |it, value| {
        it.server(|it| it.write_timeout(value))
    }),
    ("reply_timeout", |it, value| {
        it.client(|it| it.reply_timeout(value))
    }),
    ("keepalive", |it, value| it.client(|it| it.keepalive(value))),
    ("connect_timeout", |it, value| {
        it.client(|it| it.connect_timeout(value))
    }),
    ("client's handshake_timeout", |it, value| {
        it.tls(|it| it).client(|it| it.handshake_timeout(value))
    }),
    ("stall_timeout", |it, value| {
        it.client(|it| it.stall_timeout(value))
    }),
    ("stable_after", |it, value| {
        it.client(|it| it.stable_after(value))
    }),
    ("backoff's base", |it, value| {
        it.client(|it| it.backoff(Backoff::new(value, secs(1))))
    }),
    ("backoff's cap", |it, value| {
        it.client(|it| it.backoff(Backoff::new(secs(1), value)))
    }),
    ("backoff", |it, value| {
        it.client(|it| it.backoff(Backoff::new(value, value)))
    }),
    ("slow_backoff", |it, value| {
        it.client(|it| it.slow_backoff(Backoff::new(value, value)))
    }),
    ("client's peer", |it, pause| {
        it.client(|it| it.peer(Peer::Elixir { pause }))
    }),
    ("tcp keepalive", |it, value| {
        it.tcp(|it| it.keepalive(value))
    }),
    ("tcp user_timeout", |it, value| {
        it.tcp(|it| it.user_timeout(value))
    }),
    ("tcp linger", |it, value| it.tcp(|it| it.linger(value))),
    ("tls settle_time", |it, value| {
        it.tls(|it| it.settle_time(value))
    }),
    ("tls expiry_warning", |it, value| {
        it.tls(|it| it.expiry_warning(value))
    }),
];

/// Whether a duration is long enough for a connection and a call.
fn is_long(value: Duration) -> bool {
    value >= ms(999)
}

/// Runs a daemon and two clients with one option set to `value`, and shuts them down.
async fn run_with(name: &str, set: Set, value: Duration) {
    let what = format!("{name}({value:?})");
    println!("{what}");
    let setup = Setup {
        daemon: test_server::daemon().0.port(HERE.port()),
        client: Client::builder(HERE),
    };
    let Setup { daemon, client } = set(setup, value);
    let network = Network::current().unwrap();
    let start = time::now();
    let before = network.events().len();
    let daemon = daemon.start_link().await.unwrap();
    let first = client.start();
    let connected = time::timeout(secs(100), first.until(Status::is_connected)).await;
    let call = time::timeout(secs(100), first.call(Call::Ping)).await;
    let call = call.unwrap_or_else(|_| panic!("{what}: no outcome of a call"));
    if is_long(value) {
        assert!(connected.is_ok(), "{what}: {:?}", first.status());
        assert_eq!(call.unwrap(), Reply::Pong, "{what}");
    }
    let second = client.start();
    time::sleep(secs(1)).await;
    let ended = time::timeout(secs(1000), daemon.shutdown()).await;
    ended.unwrap_or_else(|_| panic!("{what}: the daemon does not exit"));
    time::sleep(secs(1)).await;
    for client in [first, second] {
        let disconnected = time::timeout(secs(100), client.disconnect()).await;
        disconnected.unwrap_or_else(|_| panic!("{what}: the client is not disconnected"));
    }
    let (events, took) = (network.events().len() - before, time::now() - start);
    assert!(events < 20_000, "{what}: {events} events in {took:?}");
}

#[erps::test(simulated)]
async fn daemon_and_client_accept_any_value_for_every_duration() {
    for (name, set) in OPTIONS {
        for value in VALUES {
            run_with(name, *set, value).await;
        }
    }
}

/// On real sockets the operating system can reject values.
#[test]
fn sockets_accept_any_value_for_every_duration() {
    test_server::run(async {
        let options: [fn(Duration) -> TcpOptions; 3] = [
            |value| TcpOptions::new().keepalive(value),
            |value| TcpOptions::new().user_timeout(value),
            |value| TcpOptions::new().linger(value),
        ];
        for options in options {
            for value in VALUES {
                let builder = test_server::daemon().0.tcp(options(value));
                let daemon = builder.start_link().await.unwrap();
                let client = test_server::client(&daemon).tcp(options(value));
                test_server::assert_served(&client.connect().await.unwrap()).await;
                daemon.shutdown().await;
            }
        }
    });
}

#[erps::test(simulated)]
async fn drain_and_call_accept_any_timeout() {
    for value in VALUES {
        let daemon = test_server::daemon().0.port(HERE.port()).start_link().await;
        let daemon = daemon.unwrap();
        let client = test_server::client(&daemon).connect().await.unwrap();
        let call = client.call_within(Call::Ping, value).await;
        match call {
            Ok(Reply::Pong) => {}
            Err(CallError::TimedOut { .. }) if !is_long(value) => {}
            other => panic!("{value:?}: {other:?}"),
        }
        let report = time::timeout(secs(1000), daemon.drain(value)).await;
        let report = report.unwrap_or_else(|_| panic!("the drain of {value:?} does not end"));
        assert!(
            report.is_clean() || !is_long(value),
            "{value:?}: {report:?}"
        );
        let ended = time::timeout(secs(1), daemon.exited()).await;
        ended.unwrap_or_else(|_| panic!("the daemon still runs after a drain of {value:?}"));
    }
}

#[erps::test(simulated)]
async fn local_call_accepts_any_timeout() {
    let (seed, _watch) = test_server::seed();
    let server = ServerRef::<TestServer>::builder(seed).start_link().await;
    let server = server.unwrap();
    for value in VALUES {
        let outcome = server.call_within(Call::Ping, value).await;
        assert!(outcome.is_ok() || !is_long(value), "{value:?}: {outcome:?}");
        let slept = time::timeout(secs(1), time::sleep(value)).await;
        assert_eq!(slept.is_err(), value > secs(1), "{value:?}");
    }
}

/// A child that fails twice, then waits for a shutdown request.
fn child(shutdown: Duration) -> ChildSpec {
    let starts = Arc::new(AtomicUsize::new(0));
    let task = ChildSpec::task("child", move |me| {
        let start = starts.fetch_add(1, Relaxed);
        async move {
            match start {
                0 | 1 => ExitReason::error("as the test asks"),
                _ => me.shutdown_requested().await,
            }
        }
    });
    let task = task.restart(Restart::Permanent);
    task.shutdown(Shutdown::Within(shutdown))
}

#[erps::test(simulated)]
async fn supervisor_accepts_any_value_for_every_duration() {
    let short = ms(1);
    for value in VALUES {
        let growing = |backoff, stable| RestartDelay::Growing { backoff, stable };
        for (within, delay, shutdown) in [
            (value, RestartDelay::None, short),
            (short, RestartDelay::Fixed(value), short),
            (secs(5), growing(Backoff::new(value, value), short), short),
            (secs(5), growing(Backoff::new(short, secs(1)), value), short),
            (secs(5), RestartDelay::None, value),
        ] {
            let what = format!("{within:?} {delay:?} {shutdown:?}");
            let ordered = Supervisor::builder()
                .max_restarts(3, within)
                .restart_delay(delay)
                .child(child(shutdown));
            let ordered = ordered.start_link().await.unwrap();
            let dynamic = DynamicSupervisor::builder()
                .max_restarts(3, within)
                .restart_delay(delay)
                .start_link();
            dynamic.start_child(child(shutdown)).await.unwrap();
            let _ = time::timeout(secs(10), ordered.until(value, |_| false)).await;
            let both = async {
                ordered.shutdown().await;
                dynamic.shutdown().await;
            };
            let ended = time::timeout(secs(1000), both).await;
            ended.unwrap_or_else(|_| panic!("{what}: the supervisors do not exit"));
        }
    }
}
