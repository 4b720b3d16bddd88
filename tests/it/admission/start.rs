//! Servers that fail to start, and what `init` and handlers know of their peer.

use erps::TestCa;

use super::*;

/// What a server's `init`, or a custom supervisor, does with one connection.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    Ignores,
    Fails,
    Panics,
    Never,
}

const BEHAVIOURS: [Behaviour; 4] = [
    Behaviour::Ignores,
    Behaviour::Fails,
    Behaviour::Panics,
    Behaviour::Never,
];

/// Applies to the first connection only.
type Behaviours = Arc<Mutex<Option<Behaviour>>>;

fn first(behaviour: Behaviour) -> Behaviours {
    Arc::new(Mutex::new(Some(behaviour)))
}

/// A server whose `init` follows a given behaviour and reports the peer's common name.
struct Scripted;

#[derive(Clone)]
struct ScriptedSeed {
    behaviours: Behaviours,
    seen: Sender<Option<String>>,
}

impl Server for Scripted {
    type Protocol = TestProtocol;
    type Seed = ScriptedSeed;
    type Info = ();

    async fn init(seed: ScriptedSeed, cx: &mut Context<Self>) -> Result<Self, InitError> {
        let identity = cx.peer().and_then(|peer| peer.identity.as_ref());
        let name = identity.and_then(|it| it.common_name()).map(str::to_owned);
        seed.seen.try_send(name)?;
        let behaviour = seed.behaviours.lock().unwrap().take();
        match behaviour {
            None => Ok(Self),
            Some(Behaviour::Ignores) => Err(InitError::Ignore),
            Some(Behaviour::Fails) => Err("as the test asks".into()),
            Some(Behaviour::Panics) => panic!("as the test asks"),
            Some(Behaviour::Never) => future::pending().await,
        }
    }

    async fn handle_call(
        &mut self,
        _: Call,
        from: ReplyTo<Reply>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(Reply::Pong);
        Ok(())
    }
}

fn scripted(behaviours: Behaviours) -> (DaemonBuilder<Scripted>, Receiver<Option<String>>) {
    let (seen, names) = async_channel::unbounded();
    (Daemon::builder(ScriptedSeed { behaviours, seen }), names)
}

/// Asserts that the first client is disconnected immediately or, with [`Behaviour::Never`], when the daemon exits;
/// that others are served meanwhile; and that no connection is left.
async fn first_is_closed<S>(daemon: Linked<Daemon<S>>, behaviours: Behaviours)
where
    S: Server<Protocol = TestProtocol>,
{
    let behaviour = behaviours.lock().unwrap().expect("no connection yet");
    let client = || Client::<TestProtocol>::builder(daemon.local_addr());
    // It may be disconnected before it is polled.
    let first = client().reconnect(Reconnect::Never).start();
    if !matches!(behaviour, Behaviour::Never) {
        let reason = first.exited().await;
        assert!(
            matches!(reason, ExitReason::Disconnected),
            "{behaviour:?}: {reason}"
        );
        settled().await;
        assert_eq!(daemon.info().failed, 1);
        assert_eq!(daemon.info().connections, 0);
    } else {
        settled().await;
        assert!(behaviours.lock().unwrap().is_none(), "it has come");
    }
    let second = client().connect().await.unwrap();
    assert_served(&second).await;
    assert_served(&client().connect().await.unwrap()).await;
    assert!(daemon.task().is_alive());
    let handle = Daemon::clone(&daemon);
    daemon.shutdown().await;
    let reason = handle.exited().await;
    assert!(
        matches!(reason, ExitReason::Shutdown),
        "{behaviour:?}: {reason}"
    );
    assert_eq!(handle.info().connections, 0, "{behaviour:?}");
    first.exited().await;
}

fn supervisor_of(behaviours: Behaviours) -> ServerSupervisor {
    ServerSupervisor::custom(move |spec| {
        let behaviour = behaviours.lock().unwrap().take();
        async move {
            match behaviour {
                None => spec.start().await,
                Some(Behaviour::Ignores) => Ok(Started::Ignore),
                Some(Behaviour::Fails) => Err("as the test asks".into()),
                Some(Behaviour::Panics) => panic!("as the test asks"),
                Some(Behaviour::Never) => {
                    let _recipe = spec;
                    future::pending().await
                }
            }
        }
    })
}

#[erps::test(simulated, panics = "as the test asks")]
async fn connection_is_closed_when_its_custom_supervisor_starts_no_server() {
    for behaviour in BEHAVIOURS {
        let (builder, _watch) = test_server::daemon();
        let behaviours = first(behaviour);
        let builder = builder.server_supervisor(supervisor_of(Arc::clone(&behaviours)));
        first_is_closed(builder.start_link().await.unwrap(), behaviours).await;
    }
}

#[erps::test(simulated, panics = "as the test asks")]
async fn custom_supervisor_that_panics_before_its_future_closes_one_connection_only() {
    let behaviours = first(Behaviour::Panics);
    let passing = Arc::clone(&behaviours);
    let supervisor = ServerSupervisor::custom(move |spec| {
        let behaviour = passing.lock().unwrap().take();
        assert!(behaviour.is_none(), "as the test asks");
        spec.start()
    });
    let (builder, _watch) = test_server::daemon();
    let builder = builder.server_supervisor(supervisor);
    first_is_closed(builder.start_link().await.unwrap(), behaviours).await;
}

#[erps::test(simulated)]
async fn start_spec_kept_after_an_error_starts_no_server() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let behaviours = first(Behaviour::Fails);
    let (passing, keep) = (Arc::clone(&behaviours), Arc::clone(&kept));
    let supervisor = ServerSupervisor::custom(move |spec| {
        let behaviour = passing.lock().unwrap().take();
        let keep = Arc::clone(&keep);
        async move {
            if behaviour.is_none() {
                return spec.start().await;
            }
            keep.lock().unwrap().push(spec);
            Err("as the test asks".into())
        }
    });
    let (builder, _watch) = test_server::daemon();
    let builder = builder.server_supervisor(supervisor);
    first_is_closed(builder.start_link().await.unwrap(), behaviours).await;
    let spec = kept.lock().unwrap().pop().unwrap();
    let started = spec.start().await;
    assert!(matches!(started, Ok(Started::Ignore)), "{started:?}");
}

#[erps::test(simulated, panics = "as the test asks")]
async fn connection_is_closed_when_its_init_fails() {
    for behaviour in BEHAVIOURS {
        for supervisor in [None, Some(ServerSupervisor::Unsupervised)] {
            let behaviours = first(behaviour);
            let (mut builder, _sights) = scripted(Arc::clone(&behaviours));
            if let Some(supervisor) = supervisor {
                builder = builder.server_supervisor(supervisor);
            }
            let builder = builder.server_shutdown(erps::Shutdown::Within(SHORT));
            first_is_closed(builder.start_link().await.unwrap(), behaviours).await;
        }
    }
}

#[erps::test(simulated)]
async fn killed_daemon_closes_connections_that_are_still_starting() {
    let (in_supervisor, _watch) = test_server::daemon();
    let behaviours = first(Behaviour::Never);
    let in_supervisor = in_supervisor.server_supervisor(supervisor_of(Arc::clone(&behaviours)));
    let in_supervisor = in_supervisor.start_link().await.unwrap();
    let (in_init, names) = scripted(first(Behaviour::Never));
    let in_init = in_init.start_link().await.unwrap();
    let ports = [in_supervisor.local_addr(), in_init.local_addr()];
    let clients = ports.map(|at| Client::<TestProtocol>::builder(at).reconnect(Reconnect::Never));
    let waits = clients[0].connect().await.unwrap();
    let inits = clients[1].connect().await.unwrap();
    settled().await;
    assert!(behaviours.lock().unwrap().is_none(), "it has come");
    names.recv().await.unwrap();
    in_supervisor.task().kill();
    in_init.task().kill();
    waits.exited().await;
    inits.exited().await;
    settled().await;
    let left = in_supervisor.info().connections + in_init.info().connections;
    assert_eq!(left, 0);
    assert!(Network::current().unwrap().connections().is_empty());
}

#[test]
fn init_receives_the_identity_from_the_peers_certificate() {
    run(async {
        let ca = TestCa::new();
        let (builder, names) = scripted(Behaviours::default());
        let builder = builder.transport(ca.tls(&HOST));
        let daemon = builder.start_link().await.unwrap();
        for name in ["billing", "shipping"] {
            let tls = ca.tls_with(
                &ca.request(&[])
                    .common_name(name)
                    .uri("spiffe://test/somebody")
                    .issue(),
            );
            let client = Client::<TestProtocol>::builder(daemon.local_addr()).transport(tls);
            let client = client.connect().await.unwrap();
            assert_served(&client).await;
            assert_eq!(names.recv().await.unwrap().as_deref(), Some(name));
        }
    });
}

#[test]
fn handlers_receive_the_identity_from_the_peers_certificate() {
    run(async {
        let server = TlsDaemon::new().await;
        let client = server
            .client(server.ca.tls(&["guest"]))
            .connect()
            .await
            .unwrap();
        let seen = client.call(Call::Peer).await.unwrap();
        assert_eq!(seen, Reply::Peer(Some("guest".into())));
        let Status::Connected(server) = client.status() else {
            panic!("{client:?}");
        };
        assert_eq!(server.identity.unwrap().common_name(), Some(HOST[0]));
    });
}
