//! The answers of a custom supervisor, and their time limits, in simulated time.

use erps::{ChildSpec, DynamicSupervisor, Network, ServerSpec, Universe, time};
use smol::future;

use super::*;
use crate::support::panics::allowed;

const SECOND: Duration = Duration::from_secs(1);
/// The default of `start_timeout`.
const LIMIT: Duration = Duration::from_secs(60);

fn simulated<T>(test: impl Future<Output = T>) -> T {
    Universe::simulated(1).run(test)
}

/// What the supervisor does with the first connection. It starts a server for all others.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Ignore,
    Error,
    PanicInTheClosure,
    PanicInTheFuture,
    SomethingElse,
    IgnoreAfterTheStart,
    ErrorAfterTheStart,
    PanicAfterTheStart,
    Never,
    NeverAfterTheStart,
}

use Answer::*;

const AT_ONCE: [Answer; 8] = [
    Ignore,
    Error,
    PanicInTheClosure,
    PanicInTheFuture,
    SomethingElse,
    IgnoreAfterTheStart,
    ErrorAfterTheStart,
    PanicAfterTheStart,
];

impl Answer {
    fn supervisor(self) -> ServerSupervisor {
        let first = Mutex::new(Some(self));
        ServerSupervisor::custom(move |spec| {
            let answer = first.lock().unwrap().take();
            assert!(
                !matches!(answer, Some(PanicInTheClosure)),
                "as the test asks"
            );
            async move {
                match answer {
                    Some(answer) => answer.give(spec).await,
                    None => spec.start().await,
                }
            }
        })
    }

    async fn give(self, spec: ServerSpec) -> Result<Started, BoxError> {
        match self {
            Ignore => Ok(Started::Ignore),
            Error => Err("as the test asks".into()),
            SomethingElse => {
                let stage = DynamicSupervisor::builder().start_link();
                let other = ChildSpec::task("other", |_| future::pending());
                Ok(Started::Running(stage.start_child(other).await?))
            }
            Never => {
                let _kept = spec;
                future::pending().await
            }
            PanicInTheClosure | PanicInTheFuture => panic!("as the test asks"),
            IgnoreAfterTheStart => {
                spec.start().await?;
                Ok(Started::Ignore)
            }
            ErrorAfterTheStart => {
                spec.start().await?;
                Err("as the test asks".into())
            }
            PanicAfterTheStart => {
                spec.start().await?;
                panic!("as the test asks")
            }
            NeverAfterTheStart => {
                spec.start().await?;
                future::pending().await
            }
        }
    }
}

/// Asserts that the first client is disconnected after `limit` without leaving anything behind, while others
/// are served.
async fn first_is_closed_after<S>(
    limit: Duration,
    daemon: Linked<Daemon<S>>,
    case: &dyn std::fmt::Debug,
) where
    S: Server<Protocol = TestProtocol>,
{
    let client =
        || Client::<TestProtocol>::builder(daemon.local_addr()).reconnect(Reconnect::Never);
    let start = time::now();
    let first = client().connect().await.unwrap();
    time::sleep(Duration::from_millis(1)).await;
    let second = client().connect().await.unwrap();
    assert_served(&second).await;
    let exited = time::timeout(limit + SECOND, first.exited()).await;
    assert!(exited.is_ok(), "{case:?}: it is still connected");
    let took = time::now() - start;
    let slack = Duration::from_millis(1);
    assert!(took >= limit && took <= limit + slack, "{case:?}: {took:?}");
    time::sleep(slack).await;
    let info = daemon.info();
    assert_eq!((info.accepted, info.failed), (2, 1), "{case:?}");
    assert_eq!((info.connections, info.servers), (1, 1), "{case:?}");
    assert_served(&second).await;
    drop(second);
    time::sleep(slack).await;
    assert_eq!(daemon.info().connections, 0, "{case:?}");
    let sockets = Network::current().unwrap().connections();
    assert!(sockets.is_empty(), "{case:?}: {sockets:?}");
    assert!(daemon.task().is_alive(), "{case:?}");
}

#[test]
fn connection_is_closed_immediately_when_the_supervisor_returns_no_server() {
    for answer in AT_ONCE {
        simulated(allowed(async {
            let (builder, _watch) = test_server::daemon();
            let daemon = builder.server_supervisor(answer.supervisor()).start_link();
            first_is_closed_after(Duration::ZERO, daemon.await.unwrap(), &answer).await;
        }));
    }
}

#[test]
fn connection_is_closed_at_the_start_timeout_when_the_supervisor_never_answers() {
    for answer in [Never, NeverAfterTheStart] {
        simulated(async {
            let (builder, watch) = test_server::daemon();
            let daemon = builder.server_supervisor(answer.supervisor()).start_link();
            first_is_closed_after(LIMIT, daemon.await.unwrap(), &answer).await;
            // A server that was started has terminated like the other one.
            let mut lifecycle = 0;
            while let Ok(life) = watch.lifecycle.try_recv() {
                lifecycle += match life {
                    Lifecycle::Init => 1,
                    Lifecycle::Terminated(_) => -1,
                };
            }
            assert_eq!(lifecycle, 0, "{answer:?}");
        });
    }
}

#[test]
fn start_timeout_is_configurable() {
    simulated(async {
        let (builder, _watch) = test_server::daemon();
        let builder = builder.server_supervisor(Never.supervisor());
        let daemon = builder.start_timeout(7 * SECOND).start_link();
        first_is_closed_after(7 * SECOND, daemon.await.unwrap(), &"7 s").await;
    });
}

/// A server whose first `init` takes a given time.
struct Slow;

type Naps = Arc<Mutex<Option<Duration>>>;

impl Server for Slow {
    type Protocol = TestProtocol;
    type Seed = Naps;
    type Info = ();

    async fn init(naps: Naps, _: &mut Context<Self>) -> Result<Self, InitError> {
        let nap = naps.lock().unwrap().take();
        time::sleep(nap.unwrap_or_default()).await;
        Ok(Self)
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

fn slow(nap: Duration) -> DaemonBuilder<Slow> {
    Daemon::<Slow>::builder(Arc::new(Mutex::new(Some(nap))))
}

/// A supervisor that starts the server in a task and never answers.
fn careless() -> ServerSupervisor {
    ServerSupervisor::custom(|spec| async move {
        erps::spawn(spec.start()).detach();
        future::pending().await
    })
}

#[test]
fn init_that_exceeds_the_start_timeout_is_killed_under_every_supervisor() {
    let supervisors = || {
        [
            None,
            Some(ServerSupervisor::Unsupervised),
            Some(DynamicSupervisor::builder().start().into()),
            Some(ServerSupervisor::custom(ServerSpec::start)),
        ]
    };
    for (n, nap) in (0..4).flat_map(|n| [LIMIT + SECOND, 100_000 * LIMIT].map(|nap| (n, nap))) {
        simulated(async {
            let mut builder = slow(nap).server_shutdown(erps::Shutdown::Infinity);
            let supervisors = supervisors();
            if let Some(supervisor) = supervisors[n].clone() {
                builder = builder.server_supervisor(supervisor);
            }
            first_is_closed_after(LIMIT, builder.start_link().await.unwrap(), &(n, nap)).await;
            if let Some(ServerSupervisor::Dynamic(supervisor)) = &supervisors[2] {
                supervisor.as_ref().request_shutdown();
            }
        });
    }
}

#[test]
fn detached_init_is_killed_at_the_start_timeout() {
    simulated(async {
        let builder = slow(1000 * LIMIT).server_supervisor(careless());
        let daemon = builder.start_link().await.unwrap();
        let client =
            Client::<TestProtocol>::builder(daemon.local_addr()).reconnect(Reconnect::Never);
        let client = client.connect().await.unwrap();
        time::sleep(LIMIT - SECOND).await;
        assert_eq!(daemon.info().servers, 1);
        let exited = time::timeout(2 * SECOND, client.exited()).await;
        assert!(exited.is_ok(), "it is still connected");
        time::sleep(SECOND).await;
        assert_eq!((daemon.info().servers, daemon.info().connections), (0, 0));
    });
}

#[test]
fn init_just_before_the_start_timeout_succeeds() {
    simulated(async {
        let daemon = slow(LIMIT - SECOND).start_link().await.unwrap();
        let client = Client::<TestProtocol>::builder(daemon.local_addr())
            .reply_timeout(2 * LIMIT)
            .connect()
            .await
            .unwrap();
        assert_served(&client).await;
        time::sleep(2 * LIMIT).await;
        assert_served(&client).await;
        assert_eq!(daemon.info().failed, 0);
    });
}

#[test]
fn slow_init_does_not_delay_other_connections() {
    simulated(async {
        let daemon = slow(LIMIT - SECOND).start_link().await.unwrap();
        let connect = async || {
            let client = Client::<TestProtocol>::builder(daemon.local_addr());
            client.connect().await.unwrap()
        };
        let _late = connect().await;
        settled().await;
        for _ in 0..100 {
            let other = connect().await;
            at_once(assert_served(&other)).await;
        }
        let info = daemon.info();
        assert_eq!((info.accepted, info.failed), (101, 0));
    });
}

/// A server that starts a task under its own supervisor.
struct Helped;

impl Server for Helped {
    type Protocol = TestProtocol;
    type Seed = DynamicSupervisor;
    type Info = ();

    async fn init(supervisor: DynamicSupervisor, _: &mut Context<Self>) -> Result<Self, InitError> {
        let helper = ChildSpec::task("helper", |_| async { future::pending().await });
        let helper = supervisor.start_child(helper).await;
        helper.map_err(|error| InitError::Stop(error.into()))?;
        Ok(Self)
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

#[test]
fn init_can_start_a_child_under_its_own_supervisor() {
    simulated(async {
        let supervisor = DynamicSupervisor::builder().start_link();
        let daemon = Daemon::<Helped>::builder(DynamicSupervisor::clone(&supervisor))
            .server_supervisor(DynamicSupervisor::clone(&supervisor));
        let daemon = daemon.start_link().await.unwrap();
        let client = Client::<TestProtocol>::builder(daemon.local_addr());
        at_once(assert_served(&client.connect().await.unwrap())).await;
        assert_eq!(supervisor.which_children().await.unwrap().len(), 2);
    });
}

#[test]
fn start_spec_used_after_the_start_timeout_returns_ignore() {
    simulated(async {
        let (late, outcome) = async_channel::bounded(1);
        let supervisor = ServerSupervisor::custom(move |spec| {
            let late = late.clone();
            async move {
                let starting = async move {
                    time::sleep(LIMIT + SECOND).await;
                    let _ = late.send(spec.start().await).await;
                };
                erps::spawn(starting).detach();
                future::pending().await
            }
        });
        let (builder, watch) = test_server::daemon();
        let daemon = builder.server_supervisor(supervisor).start_link().await;
        let daemon = daemon.unwrap();
        let client =
            Client::<TestProtocol>::builder(daemon.local_addr()).reconnect(Reconnect::Never);
        let client = client.connect().await.unwrap();
        let exited = time::timeout(LIMIT + SECOND, client.exited()).await;
        assert!(exited.is_ok(), "it is still connected");
        assert_eq!(daemon.info().connections, 0);
        let outcome = outcome.recv().await.unwrap();
        assert!(matches!(outcome, Ok(Started::Ignore)), "{outcome:?}");
        assert!(watch.lifecycle.is_empty());
    });
}
