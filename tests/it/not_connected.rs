//! Why a client is not connected, as its calls and casts report it.

use erps::{
    BoxError, CallError, CastError, Client, ConnectError, Context, Daemon, DaemonBuilder,
    Disconnect, ExitReason, InitError, NotConnected, Protocol, ReplyTo, Server, ServerOptions,
    ServerSupervisor, TestCa,
};

use crate::support::panics;

struct Echo;

impl Protocol for Echo {
    type Call = String;
    type Reply = String;
    type Cast = String;
    type Push = ();
}

/// What `init` does.
#[derive(Clone, Copy)]
enum Init {
    Succeed,
    Fail,
    Panic,
    Ignore,
}

struct EchoServer;

impl Server for EchoServer {
    type Protocol = Echo;
    type Seed = Init;
    type Info = ();

    async fn init(seed: Init, _: &mut Context<Self>) -> Result<Self, InitError> {
        match seed {
            Init::Succeed => Ok(Self),
            Init::Fail => {
                "no number".parse::<u8>()?;
                Ok(Self)
            }
            Init::Panic => panic!("as the test asks"),
            Init::Ignore => Err(InitError::Ignore),
        }
    }

    async fn handle_call(
        &mut self,
        call: String,
        from: ReplyTo<String>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(call);
        Ok(())
    }
}

/// Returns why the first call of a client that connected to this daemon fails.
async fn first_failure(builder: DaemonBuilder<EchoServer>) -> NotConnected {
    let daemon = builder.start_link().await.unwrap();
    let client = Client::<Echo>::builder(daemon.local_addr());
    let client = client.connect().await.unwrap();
    let error = client.call("hello".into()).await.unwrap_err();
    assert!(!error.may_have_run(), "{error:?}");
    not_connected(error)
}

fn not_connected(error: CallError) -> NotConnected {
    match error {
        CallError::Disconnected { why } => *why,
        error => panic!("{error:?}"),
    }
}

fn refused(why: NotConnected) -> String {
    match why {
        NotConnected::Disconnect(Disconnect::Refused { why, .. }) => why,
        why => panic!("{why:?}"),
    }
}

#[erps::test(simulated)]
async fn call_reports_the_rejection_by_the_admit_hook() {
    let builder = Daemon::builder(Init::Succeed).admit(|_| Err("not in the list"));
    let why = first_failure(builder).await;
    assert!(why.to_string().contains("not in the list"), "{why}");
    assert!(refused(why).contains("not in the list"));
}

#[erps::test(simulated)]
async fn call_reports_that_init_failed_without_details_by_default() {
    let why = first_failure(Daemon::builder(Init::Fail)).await;
    assert_eq!(refused(why), "the server could not start");
    let why = panics::expected(first_failure(Daemon::builder(Init::Panic))).await;
    assert_eq!(refused(why), "the server could not start");
}

#[erps::test(simulated)]
async fn call_reports_why_init_failed_if_the_server_sends_details() {
    let options = ServerOptions::new().error_details(true);
    let why = first_failure(Daemon::builder(Init::Fail).server_options(options)).await;
    assert_eq!(
        refused(why),
        "the server did not start: invalid digit found in string"
    );
}

#[erps::test(simulated)]
async fn call_reports_that_init_returned_ignore() {
    let why = first_failure(Daemon::builder(Init::Ignore)).await;
    assert_eq!(refused(why), "the server chose not to start");
}

#[erps::test(simulated)]
async fn call_reports_that_the_supervisor_started_no_server() {
    for details in [false, true] {
        let supervisor = ServerSupervisor::custom(|_| async { Err("out of quota".into()) });
        let builder = Daemon::builder(Init::Succeed)
            .server_supervisor(supervisor)
            .server_options(ServerOptions::new().error_details(details));
        let why = refused(first_failure(builder).await);
        let expected = match details {
            true => "the server could not start: out of quota",
            false => "the server could not start",
        };
        assert_eq!(why, expected);
    }
}

#[erps::test(simulated)]
async fn call_reports_tls_when_a_plain_client_connects_to_it() {
    let transport = TestCa::new().tls(&["localhost"]);
    let why = first_failure(Daemon::builder(Init::Succeed).transport(transport)).await;
    assert!(
        matches!(why, NotConnected::Disconnect(Disconnect::Broken(_))),
        "{why:?}"
    );
    assert!(why.to_string().contains("it looks like TLS"), "{why}");
}

#[erps::test(simulated)]
async fn call_reports_the_last_failed_attempt_to_connect() {
    let daemon = Daemon::<EchoServer>::builder(Init::Succeed);
    let daemon = daemon.start_link().await.unwrap();
    let address = daemon.local_addr();
    let client = Client::<Echo>::builder(address).connect().await.unwrap();
    daemon.shutdown().await;
    client
        .until(|_| client.last_connect_error().is_some())
        .await;
    let error = client.call("hello".into()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("not connected: cannot connect to {address}: connection refused")
    );
    let why = not_connected(error);
    assert!(matches!(
        why,
        NotConnected::Connect(ConnectError::Unreachable { .. })
    ));
    let cast = client.cast("hello".into()).await.unwrap_err();
    assert!(matches!(
        cast,
        CastError::Disconnected { why } if matches!(*why, NotConnected::Connect(_))
    ));
}

#[erps::test(simulated)]
async fn call_reports_that_the_client_was_disconnected_on_request_or_has_exited() {
    let daemon = Daemon::<EchoServer>::builder(Init::Succeed);
    let daemon = daemon.start_link().await.unwrap();
    let client = Client::<Echo>::builder(daemon.local_addr());
    let client = client.connect().await.unwrap();
    client.disconnect().await;
    let why = not_connected(client.call("hello".into()).await.unwrap_err());
    assert!(
        matches!(why, NotConnected::Disconnect(Disconnect::Asked)),
        "{why:?}"
    );
    client.task().request_shutdown();
    client.exited().await;
    let why = not_connected(client.call("hello".into()).await.unwrap_err());
    assert!(
        matches!(why, NotConnected::Exited(ExitReason::Shutdown)),
        "{why:?}"
    );
}

#[erps::test(simulated)]
async fn call_before_the_first_attempt_has_finished_reports_that() {
    let daemon = Daemon::<EchoServer>::builder(Init::Succeed);
    let daemon = daemon.start_link().await.unwrap();
    let client = Client::<Echo>::builder(daemon.local_addr()).start();
    let why = not_connected(client.call("hello".into()).await.unwrap_err());
    assert!(matches!(why, NotConnected::Connecting), "{why:?}");
}
