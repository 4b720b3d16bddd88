//! What a custom supervisor may answer, and when; in simulated time.

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

/// What the supervisor does with the first connection. All others are welcome.
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
        ServerSupervisor::custom(move |recipe| {
            let answer = first.lock().unwrap().take();
            assert!(
                !matches!(answer, Some(PanicInTheClosure)),
                "as the test asks"
            );
            async move {
                match answer {
                    Some(answer) => answer.give(recipe).await,
                    None => recipe.start().await,
                }
            }
        })
    }

    async fn give(self, recipe: ServerSpec) -> Result<Started, BoxError> {
        match self {
            Ignore => Ok(Started::Ignore),
            Error => Err("as the test asks".into()),
            SomethingElse => {
                let stage = DynamicSupervisor::builder().start_link();
                let other = ChildSpec::task("other", |_| future::pending());
                Ok(Started::Running(stage.start_child(other).await?))
            }
            Never => {
                let _kept = recipe;
                future::pending().await
            }
            PanicInTheClosure | PanicInTheFuture => panic!("as the test asks"),
            IgnoreAfterTheStart => {
                recipe.start().await?;
                Ok(Started::Ignore)
            }
            ErrorAfterTheStart => {
                recipe.start().await?;
                Err("as the test asks".into())
            }
            PanicAfterTheStart => {
                recipe.start().await?;
                panic!("as the test asks")
            }
            NeverAfterTheStart => {
                recipe.start().await?;
                future::pending().await
            }
        }
    }
}

/// Whoever comes first is disconnected after so long, and nothing is left of it; others are served.
async fn first_is_out_after<S>(
    limit: Duration,
    daemon: Linked<Daemon<S>>,
    case: &dyn std::fmt::Debug,
) where
    S: Server<Protocol = Lab>,
{
    let client = || Client::<Lab>::builder(daemon.local_addr()).reconnect(Reconnect::Never);
    let start = time::now();
    let unlucky = client().connect().await.unwrap();
    time::sleep(Duration::from_millis(1)).await;
    let lucky = client().connect().await.unwrap();
    is_served(&lucky).await;
    let exited = time::timeout(limit + SECOND, unlucky.exited()).await;
    assert!(exited.is_ok(), "{case:?}: it is still connected");
    let took = time::now() - start;
    let slack = Duration::from_millis(1);
    assert!(took >= limit && took <= limit + slack, "{case:?}: {took:?}");
    time::sleep(slack).await;
    let info = daemon.info();
    assert_eq!((info.accepted, info.failed), (2, 1), "{case:?}");
    assert_eq!((info.connections, info.servers), (1, 1), "{case:?}");
    is_served(&lucky).await;
    drop(lucky);
    time::sleep(slack).await;
    assert_eq!(daemon.info().connections, 0, "{case:?}");
    let sockets = Network::current().unwrap().connections();
    assert!(sockets.is_empty(), "{case:?}: {sockets:?}");
    assert!(daemon.task().is_alive(), "{case:?}");
}

#[test]
fn whatever_but_a_child_a_supervisor_answers_the_connection_is_closed_at_once() {
    for answer in AT_ONCE {
        simulated(allowed(async {
            let (builder, _watch) = lab::daemon();
            let daemon = builder.server_supervisor(answer.supervisor()).start_link();
            first_is_out_after(Duration::ZERO, daemon.await.unwrap(), &answer).await;
        }));
    }
}

#[test]
fn a_supervisor_that_never_answers_loses_the_connection_when_its_time_is_over() {
    for answer in [Never, NeverAfterTheStart] {
        simulated(async {
            let (builder, watch) = lab::daemon();
            let daemon = builder.server_supervisor(answer.supervisor()).start_link();
            first_is_out_after(LIMIT, daemon.await.unwrap(), &answer).await;
            // A server that was there has taken leave, as the other one.
            let mut lives = 0;
            while let Ok(life) = watch.lives.try_recv() {
                lives += match life {
                    Life::Init => 1,
                    Life::Terminated(_) => -1,
                };
            }
            assert_eq!(lives, 0, "{answer:?}");
        });
    }
}

#[test]
fn the_time_of_a_start_can_be_set() {
    simulated(async {
        let (builder, _watch) = lab::daemon();
        let builder = builder.server_supervisor(Never.supervisor());
        let daemon = builder.start_timeout(7 * SECOND).start_link();
        first_is_out_after(7 * SECOND, daemon.await.unwrap(), &"7 s").await;
    });
}

/// A server whose `init` takes so long, the first time.
struct Slow;

type Naps = Arc<Mutex<Option<Duration>>>;

impl Server for Slow {
    type Protocol = Lab;
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

/// A supervisor by whose recipe a server is started that it does not wait for.
fn careless() -> ServerSupervisor {
    ServerSupervisor::custom(|recipe| async move {
        erps::spawn(recipe.start()).detach();
        future::pending().await
    })
}

#[test]
fn an_init_that_takes_too_long_is_killed_whoever_supervises_it() {
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
            first_is_out_after(LIMIT, builder.start_link().await.unwrap(), &(n, nap)).await;
            if let Some(ServerSupervisor::Dynamic(supervisor)) = &supervisors[2] {
                supervisor.as_ref().request_shutdown();
            }
        });
    }
}

#[test]
fn an_init_that_nobody_waits_for_is_killed_when_its_time_is_over() {
    simulated(async {
        let builder = slow(1000 * LIMIT).server_supervisor(careless());
        let daemon = builder.start_link().await.unwrap();
        let client = Client::<Lab>::builder(daemon.local_addr()).reconnect(Reconnect::Never);
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
fn an_init_that_is_just_in_time_is_served() {
    simulated(async {
        let daemon = slow(LIMIT - SECOND).start_link().await.unwrap();
        let client = Client::<Lab>::builder(daemon.local_addr())
            .reply_timeout(2 * LIMIT)
            .connect()
            .await
            .unwrap();
        is_served(&client).await;
        time::sleep(2 * LIMIT).await;
        is_served(&client).await;
        assert_eq!(daemon.info().failed, 0);
    });
}

#[test]
fn an_init_that_takes_its_time_holds_nobody_else_up() {
    simulated(async {
        let daemon = slow(LIMIT - SECOND).start_link().await.unwrap();
        let connect = async || {
            let client = Client::<Lab>::builder(daemon.local_addr());
            client.connect().await.unwrap()
        };
        let _late = connect().await;
        settled().await;
        for _ in 0..100 {
            let other = connect().await;
            at_once(is_served(&other)).await;
        }
        let info = daemon.info();
        assert_eq!((info.accepted, info.failed), (101, 0));
    });
}

/// A server that has a helper, beside it under the same supervisor.
struct Helped;

impl Server for Helped {
    type Protocol = Lab;
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
fn an_init_may_ask_its_own_supervisor_for_a_child() {
    simulated(async {
        let supervisor = DynamicSupervisor::builder().start_link();
        let daemon = Daemon::<Helped>::builder(DynamicSupervisor::clone(&supervisor))
            .server_supervisor(DynamicSupervisor::clone(&supervisor));
        let daemon = daemon.start_link().await.unwrap();
        let client = Client::<Lab>::builder(daemon.local_addr());
        at_once(is_served(&client.connect().await.unwrap())).await;
        assert_eq!(supervisor.which_children().await.unwrap().len(), 2);
    });
}

#[test]
fn a_recipe_that_is_followed_after_its_time_starts_nothing() {
    simulated(async {
        let (late, outcome) = async_channel::bounded(1);
        let supervisor = ServerSupervisor::custom(move |recipe| {
            let late = late.clone();
            async move {
                let starting = async move {
                    time::sleep(LIMIT + SECOND).await;
                    let _ = late.send(recipe.start().await).await;
                };
                erps::spawn(starting).detach();
                future::pending().await
            }
        });
        let (builder, watch) = lab::daemon();
        let daemon = builder.server_supervisor(supervisor).start_link().await;
        let daemon = daemon.unwrap();
        let client = Client::<Lab>::builder(daemon.local_addr()).reconnect(Reconnect::Never);
        let client = client.connect().await.unwrap();
        let exited = time::timeout(LIMIT + SECOND, client.exited()).await;
        assert!(exited.is_ok(), "it is still connected");
        assert_eq!(daemon.info().connections, 0);
        let outcome = outcome.recv().await.unwrap();
        assert!(matches!(outcome, Ok(Started::Ignore)), "{outcome:?}");
        assert!(watch.lives.is_empty());
    });
}
