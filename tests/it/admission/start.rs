//! Servers that do not start, and what those that do know of their peer.

use erps::TestCa;

use super::*;

/// What a server's `init`, or a supervisor of the user's, does with one connection.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Ignores,
    Fails,
    Panics,
    Never,
}

const MOODS: [Mood; 4] = [Mood::Ignores, Mood::Fails, Mood::Panics, Mood::Never];

/// Whoever comes first meets the mood; all others are welcome.
type Moods = Arc<Mutex<Option<Mood>>>;

fn first(mood: Mood) -> Moods {
    Arc::new(Mutex::new(Some(mood)))
}

/// A server with an `init` of moods, which reports whom it sees.
struct Moody;

#[derive(Clone)]
struct MoodySeed {
    moods: Moods,
    seen: Sender<Option<String>>,
}

impl Server for Moody {
    type Protocol = Lab;
    type Seed = MoodySeed;
    type Info = ();

    async fn init(seed: MoodySeed, cx: &mut Context<Self>) -> Result<Self, InitError> {
        let identity = cx.peer().and_then(|peer| peer.identity.as_ref());
        let name = identity.and_then(|it| it.common_name()).map(str::to_owned);
        seed.seen.try_send(name)?;
        let mood = seed.moods.lock().unwrap().take();
        match mood {
            None => Ok(Self),
            Some(Mood::Ignores) => Err(InitError::Ignore),
            Some(Mood::Fails) => Err("as the test asks".into()),
            Some(Mood::Panics) => panic!("as the test asks"),
            Some(Mood::Never) => future::pending().await,
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

fn moody(moods: Moods) -> (DaemonBuilder<Moody>, Receiver<Option<String>>) {
    let (seen, sights) = async_channel::unbounded();
    (Daemon::builder(MoodySeed { moods, seen }), sights)
}

/// The first client of the daemon is disconnected at once, or, if the mood is never to answer, when
/// the daemon ends. Others are served meanwhile, and in the end nothing is left.
async fn first_is_unlucky<S>(daemon: Linked<Daemon<S>>, moods: Moods)
where
    S: Server<Protocol = Lab>,
{
    let mood = moods.lock().unwrap().expect("nobody came yet");
    let client = || Client::<Lab>::builder(daemon.local_addr());
    // It may have been disconnected before anybody asks.
    let unlucky = client().reconnect(Reconnect::Never).start();
    if !matches!(mood, Mood::Never) {
        let reason = unlucky.exited().await;
        assert!(
            matches!(reason, ExitReason::Disconnected),
            "{mood:?}: {reason}"
        );
        settled().await;
        assert_eq!(daemon.info().failed, 1);
        assert_eq!(daemon.info().connections, 0);
    } else {
        settled().await;
        assert!(moods.lock().unwrap().is_none(), "it has come");
    }
    let lucky = client().connect().await.unwrap();
    is_served(&lucky).await;
    is_served(&client().connect().await.unwrap()).await;
    assert!(daemon.task().is_alive());
    let handle = Daemon::clone(&daemon);
    daemon.shutdown().await;
    let reason = handle.exited().await;
    assert!(matches!(reason, ExitReason::Shutdown), "{mood:?}: {reason}");
    assert_eq!(handle.info().connections, 0, "{mood:?}");
    unlucky.exited().await;
}

fn supervisor_of(moods: Moods) -> ServerSupervisor {
    ServerSupervisor::custom(move |recipe| {
        let mood = moods.lock().unwrap().take();
        async move {
            match mood {
                None => recipe.start().await,
                Some(Mood::Ignores) => Ok(Started::Ignore),
                Some(Mood::Fails) => Err("as the test asks".into()),
                Some(Mood::Panics) => panic!("as the test asks"),
                Some(Mood::Never) => {
                    let _recipe = recipe;
                    future::pending().await
                }
            }
        }
    })
}

#[erps::test(simulated, panics = "as the test asks")]
async fn a_connection_that_its_custom_supervisor_does_not_start_is_closed() {
    for mood in MOODS {
        let (builder, _watch) = lab::daemon();
        let moods = first(mood);
        let builder = builder.server_supervisor(supervisor_of(Arc::clone(&moods)));
        first_is_unlucky(builder.start_link().await.unwrap(), moods).await;
    }
}

#[erps::test(simulated, panics = "as the test asks")]
async fn a_custom_supervisor_that_panics_before_it_has_a_future_harms_nobody() {
    let moods = first(Mood::Panics);
    let passing = Arc::clone(&moods);
    let supervisor = ServerSupervisor::custom(move |recipe| {
        let mood = passing.lock().unwrap().take();
        assert!(mood.is_none(), "as the test asks");
        recipe.start()
    });
    let (builder, _watch) = lab::daemon();
    let builder = builder.server_supervisor(supervisor);
    first_is_unlucky(builder.start_link().await.unwrap(), moods).await;
}

#[erps::test(simulated)]
async fn a_connection_whose_recipe_is_kept_for_later_is_closed_when_the_supervisor_says_no() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let moods = first(Mood::Fails);
    let (passing, keep) = (Arc::clone(&moods), Arc::clone(&kept));
    let supervisor = ServerSupervisor::custom(move |recipe| {
        let mood = passing.lock().unwrap().take();
        let keep = Arc::clone(&keep);
        async move {
            if mood.is_none() {
                return recipe.start().await;
            }
            keep.lock().unwrap().push(recipe);
            Err("as the test asks".into())
        }
    });
    let (builder, _watch) = lab::daemon();
    let builder = builder.server_supervisor(supervisor);
    first_is_unlucky(builder.start_link().await.unwrap(), moods).await;
    let recipe = kept.lock().unwrap().pop().unwrap();
    let started = recipe.start().await;
    assert!(matches!(started, Ok(Started::Ignore)), "{started:?}");
}

#[erps::test(simulated, panics = "as the test asks")]
async fn a_connection_whose_server_does_not_start_is_closed() {
    for mood in MOODS {
        for supervisor in [None, Some(ServerSupervisor::Unsupervised)] {
            let moods = first(mood);
            let (mut builder, _sights) = moody(Arc::clone(&moods));
            if let Some(supervisor) = supervisor {
                builder = builder.server_supervisor(supervisor);
            }
            let builder = builder.server_shutdown(erps::Shutdown::Within(SHORT));
            first_is_unlucky(builder.start_link().await.unwrap(), moods).await;
        }
    }
}

#[erps::test(simulated)]
async fn a_daemon_that_is_killed_takes_those_with_it_that_were_still_starting() {
    let (in_supervisor, _watch) = lab::daemon();
    let moods = first(Mood::Never);
    let in_supervisor = in_supervisor.server_supervisor(supervisor_of(Arc::clone(&moods)));
    let in_supervisor = in_supervisor.start_link().await.unwrap();
    let (in_init, sights) = moody(first(Mood::Never));
    let in_init = in_init.start_link().await.unwrap();
    let ports = [in_supervisor.local_addr(), in_init.local_addr()];
    let clients = ports.map(|at| Client::<Lab>::builder(at).reconnect(Reconnect::Never));
    let waits = clients[0].connect().await.unwrap();
    let inits = clients[1].connect().await.unwrap();
    settled().await;
    assert!(moods.lock().unwrap().is_none(), "it has come");
    sights.recv().await.unwrap();
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
fn init_sees_whom_the_peers_certificate_names() {
    run(async {
        let ca = TestCa::new();
        let (builder, sights) = moody(Moods::default());
        let builder = builder.transport(ca.tls(&HOST));
        let daemon = builder.start_link().await.unwrap();
        for name in ["billing", "shipping"] {
            let papers = ca.tls_with(
                &ca.request(&[])
                    .common_name(name)
                    .uri("spiffe://test/somebody")
                    .issue(),
            );
            let client = Client::<Lab>::builder(daemon.local_addr()).transport(papers);
            let client = client.connect().await.unwrap();
            is_served(&client).await;
            assert_eq!(sights.recv().await.unwrap().as_deref(), Some(name));
        }
    });
}

#[test]
fn handlers_see_whom_the_peers_certificate_names() {
    run(async {
        let house = House::new().await;
        let client = house
            .visitor(house.ca.tls(&["guest"]))
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
