//! Destructors that panic. Unless the library catches it, such a panic in a cancelled task aborts the
//! process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use erps::{
    BoxError, ChildSpec, ChildState, Client, Context, Daemon, DynamicSupervisor, ExitReason,
    InitError, ReplyTo, Restart, Server, ServerRef, Shutdown, Supervisor, Universe, time,
};
use smol::{Executor, future};

use crate::support::{
    panics::expected,
    subprocess,
    test_server::{Call, Reply, TestProtocol},
};

/// How many bombs have been dropped, each with a panic.
static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, SeqCst);
        panic!("as the test asks");
    }
}

/// The field after the bomb must be dropped despite the panic.
struct Armed {
    _bomb: Bomb,
    _held: Arc<()>,
}

impl Server for Armed {
    type Protocol = TestProtocol;
    type Seed = Arc<()>;
    type Info = ();

    async fn init(held: Arc<()>, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self {
            _bomb: Bomb,
            _held: held,
        })
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

async fn settled() {
    time::sleep(Duration::from_millis(1)).await;
}

#[test]
#[ignore = "it would abort the process without the library's protection"]
fn killed_server() {
    Universe::simulated(1).run(expected(async {
        let held = Arc::new(());
        let daemon = Daemon::<Armed>::builder(Arc::clone(&held)).start_link();
        let daemon = daemon.await.unwrap();
        let connect = async || {
            let client = Client::<TestProtocol>::builder(daemon.local_addr())
                .connect()
                .await;
            client.unwrap()
        };
        let (first, second) = (connect().await, connect().await);
        first.call(Call::Ping).await.unwrap();
        second.call(Call::Ping).await.unwrap();
        let server = ServerRef::<Armed>::builder(held.clone()).start().await;
        let server = server.unwrap();
        assert_eq!(daemon.info().servers, 2);

        server.task().kill();
        assert!(matches!(server.task().exited().await, ExitReason::Killed));
        assert_eq!(DROPPED.load(SeqCst), 1);
        assert!(server.call(Call::Ping).await.is_err());
        assert_eq!(second.call(Call::Ping).await.unwrap(), Reply::Pong);

        let task = daemon.task().clone();
        task.kill();
        assert!(matches!(task.exited().await, ExitReason::Killed));
        settled().await;
        assert_eq!((DROPPED.load(SeqCst), daemon.info().connections), (3, 0));
        // The references of the daemon and of this test.
        drop(daemon);
        drop((first, second));
        settled().await;
        assert_eq!(Arc::strong_count(&held), 1);
    }));
}

#[test]
#[ignore = "it would abort the process without the library's protection"]
fn killed_child() {
    Universe::simulated(1).run(expected(async {
        let armed = |id: &str| {
            ChildSpec::task(id, |_| async {
                let _bomb = Bomb;
                future::pending().await
            })
        };
        let builder = Supervisor::builder().child(armed("a")).child(armed("b"));
        let supervisor = builder.start_link().await.unwrap();
        let children = supervisor.which_children().await.unwrap();
        let task = |n: usize| children[n].state.task().unwrap().clone();
        settled().await;
        task(0).kill();
        assert!(matches!(task(0).exited().await, ExitReason::Killed));
        settled().await;
        let again = supervisor.which_children().await.unwrap();
        assert!(matches!(&again[0].state, ChildState::Running(it) if *it != task(0)));
        assert!(task(1).is_alive());
        supervisor.as_ref().shutdown(Shutdown::Infinity).await;
        assert!(!task(1).is_alive());
        assert_eq!(DROPPED.load(SeqCst), 3);
    }));
}

#[test]
#[ignore = "it would stop the supervisor without the library's protection"]
fn deleted_child_spec() {
    Universe::simulated(1).run(expected(async {
        let bomb = Bomb;
        let spec = ChildSpec::task("a", move |me| {
            let _captured = &bomb;
            async move { me.shutdown_requested().await }
        });
        let supervisor = DynamicSupervisor::builder().start_link();
        let spec = spec.restart(Restart::Temporary);
        let child = supervisor.start_child(spec).await.unwrap();
        child.shutdown(Shutdown::default()).await;
        assert_eq!(supervisor.count_children().await.unwrap().specs, 0);
        settled().await;
        assert_eq!(DROPPED.load(SeqCst), 1);
        assert!(supervisor.as_ref().is_alive());
    }));
}

#[test]
#[ignore = "it would abort the process without the library's protection"]
fn dropped_executor() {
    let executor = Arc::new(Executor::new());
    let held = Arc::new(());
    let builder = DynamicSupervisor::builder().executor(Arc::clone(&executor));
    let child = future::block_on(executor.run(async {
        let held = Arc::clone(&held);
        let spec = ChildSpec::task("a", move |_| {
            let held = Arc::clone(&held);
            async move {
                let _held = held;
                let _bomb = Bomb;
                future::pending().await
            }
        });
        let child = builder.start().start_child(spec).await.unwrap();
        future::yield_now().await;
        child
    }));
    drop(executor);
    assert!(matches!(child.exit_reason(), Some(ExitReason::Killed)));
    assert_eq!((DROPPED.load(SeqCst), Arc::strong_count(&held)), (1, 1));
}

#[test]
#[ignore = "it would abort the process without the library's protection"]
fn spawned_future() {
    Universe::simulated(1).run(expected(async {
        let task = erps::spawn(async {
            let _bomb = Bomb;
            future::pending::<()>().await
        });
        settled().await;
        drop(task);
        settled().await;
        assert_eq!(DROPPED.load(SeqCst), 1);
    }));
}

#[test]
fn panicking_destructor_affects_only_its_own_task() {
    for fixture in [
        "killed_server",
        "killed_child",
        "deleted_child_spec",
        "dropped_executor",
        "spawned_future",
    ] {
        subprocess::passes(&format!("supervisor::destructors::{fixture}"), &[]);
    }
}
