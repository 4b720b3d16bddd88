//! Who spawned those who lost their universe, and the exact texts that say so.

use std::net::SocketAddr;

use erps::{
    BoxError, ChildSpec, Client, Context, Daemon, DynamicSupervisor, ExitReason, InitError,
    Protocol, ReplyTo, Server, ServerRef, ServerSupervisor, Sharded, Universe,
};

use crate::support::test_server;

static STRICT: Sharded<u32> = Sharded::new(|| 1).strict();

/// What someone in no universe is told of those who spawned it.
fn ancestry() -> String {
    let told = STRICT.try_get().unwrap_err().to_string();
    let lines = told.lines().skip_while(|line| !line.starts_with("  in "));
    let lines = lines.take_while(|line| !line.starts_with("  to fix it"));
    lines.collect::<Vec<_>>().join("\n")
}

struct Asks;

impl Protocol for Asks {
    type Call = ();
    type Reply = (String, String);
    type Cast = ();
    type Push = ();
}

/// A server that tells who spawned it, and who is at the other end.
struct Tells;

impl Server for Tells {
    type Protocol = Asks;
    type Seed = ();
    type Info = ();

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<(String, String)>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        let peer = cx.peer().map(|peer| peer.address.to_string());
        from.reply((ancestry(), peer.unwrap_or_default()));
        Ok(())
    }
}

async fn ask(address: SocketAddr) -> (String, String) {
    let client = Client::<Asks>::builder(address).connect().await.unwrap();
    client.call(()).await.unwrap()
}

/// The lines, of which some have a place in this file.
fn lines(lines: &[(&str, u32)]) -> String {
    let by = |&(what, line): &(&str, u32)| match line {
        0 => format!("  {what}"),
        line => format!("  {what} at {}:{line}", file!()),
    };
    lines.iter().map(by).collect::<Vec<_>>().join("\n")
}

#[test]
fn spawn_trace_of_a_server_names_connection_daemon_and_test() {
    let universe = Universe::new().named("a::b");
    let mut made = 0;
    let main = async {
        made = line!() + 1;
        let builder = Daemon::<Tells>::builder(());
        let builder = builder.forward_callers(false);
        let builder = builder.server_supervisor(ServerSupervisor::Unsupervised);
        let daemon = builder.start_link().await.unwrap();
        ask(daemon.local_addr()).await
    };
    let ((told, peer), entered) = (universe.run(main), line!());
    let expected = lines(&[
        (&format!("in the server of {peer} created"), made),
        (&format!("by the connection of {peer} created"), made),
        (
            &format!(
                "by the daemon of `{}` created",
                std::any::type_name::<Tells>()
            ),
            made,
        ),
        ("from the universe `a::b` entered", entered),
    ]);
    assert_eq!(told, expected);
}

#[test]
fn spawn_trace_of_a_supervised_server_names_the_supervisor() {
    let universe = Universe::new();
    let mut made = 0;
    let main = async {
        made = line!() + 1;
        let builder = Daemon::<Tells>::builder(());
        let daemon = builder.forward_callers(false).start_link().await.unwrap();
        ask(daemon.local_addr()).await
    };
    let ((told, peer), entered) = (universe.run(main), line!());
    let expected = lines(&[
        (&format!("in the server of {peer} created"), made),
        (&format!("by the start of `server of {peer}` created"), made),
        ("by the supervisor `servers` created", made),
        (
            &format!(
                "by the daemon of `{}` created",
                std::any::type_name::<Tells>()
            ),
            made,
        ),
        (&format!("from universe {} entered", universe.id()), entered),
    ]);
    assert_eq!(told, expected);
}

#[test]
fn spawn_trace_of_a_child_outside_names_child_and_supervisor() {
    let _trails_are_kept_from_here_on = Universe::new();
    let (told, telling) = async_channel::unbounded();
    test_server::run(async {
        let (builder, above) = (DynamicSupervisor::builder(), line!());
        let supervisor = builder.name("kin").start_link();
        let body = move |_| {
            let told = told.clone();
            async move {
                told.send(ancestry()).await.unwrap();
                ExitReason::Normal
            }
        };
        let (spec, below) = (ChildSpec::task("child", body), line!());
        let spec = spec.restart(erps::Restart::Temporary);
        supervisor.start_child(spec).await.unwrap();
        let expected = lines(&[
            ("in the child `child` created", below),
            ("by the start of `child` created", below),
            ("by the supervisor `kin` created", above),
            ("by code of unknown origin", 0),
        ]);
        assert_eq!(telling.recv().await.unwrap(), expected);
    });
}

#[test]
fn spawn_trace_of_a_server_outside_names_the_server() {
    let _trails_are_kept_from_here_on = Universe::new();
    test_server::run(async {
        let (builder, made) = (ServerRef::<Tells>::builder(()), line!());
        let server = builder.start_link().await.unwrap();
        let (told, _) = server.call(()).await.unwrap();
        let name = std::any::type_name::<Tells>();
        let expected = lines(&[
            (&format!("in the server `{name}` created"), made),
            ("by code of unknown origin", 0),
        ]);
        assert_eq!(told, expected);
    });
}
