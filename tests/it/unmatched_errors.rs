//! Errors of a server that belong to no call, such as the reply to a cast that it cannot decode.

use erps::{
    BoxError, Client, ClientContext, ClientHandler, Daemon, Disconnect, Linked, Protocol, time,
};

use crate::support::{
    test_server::{self, Call, REPLY_TIMEOUT, Reply, TestServer},
    time::{HOUR, settled},
};

/// As the protocol of the test server, but with casts that it cannot decode.
struct Newer;

impl Protocol for Newer {
    const IDENTIFIER: &'static str = "test";
    const VERSION: &'static str = "1.2.3";
    type Call = Call;
    type Reply = Reply;
    type Cast = u64;
    type Push = String;
}

/// Passes errors to the test, and then waits for the gate.
struct Errors {
    errors: async_channel::Sender<String>,
    gate: async_channel::Receiver<()>,
}

impl ClientHandler for Errors {
    type Protocol = Newer;
    type Info = ();

    async fn handle_error(
        &mut self,
        error: String,
        _: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        let _ = self.errors.try_send(error);
        let _ = self.gate.recv().await;
        Ok(())
    }
}

async fn daemon() -> (Linked<Daemon<TestServer>>, test_server::Watch) {
    let (builder, watch) = test_server::daemon();
    (builder.start_link().await.unwrap(), watch)
}

/// A client with a handler runs until it is shut down.
async fn shut_down<P: Protocol>(client: &Client<P>) {
    client.task().request_shutdown();
    client.exited().await;
}

#[erps::test(simulated)]
async fn cast_that_the_server_cannot_decode_is_an_event_and_is_counted() {
    let (daemon, _watch) = daemon().await;
    let (errors, received) = async_channel::unbounded();
    let (_open, gate) = async_channel::unbounded::<()>();
    gate.close();
    let handler = move || Errors {
        errors: errors.clone(),
        gate: gate.clone(),
    };
    let client = Client::<Newer>::builder(daemon.local_addr()).handler(handler);
    let client = client.connect().await.unwrap();
    assert_eq!(client.unmatched_errors(), 0);
    client.cast(5).await.unwrap();
    let error = received.recv().await.unwrap();
    assert!(error.starts_with("cast not understood"), "{error}");
    assert_eq!(client.unmatched_errors(), 1);
    // The connection stays open.
    assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
    // An error that belongs to a call is none.
    client.call(Call::Refuse("no".into())).await.unwrap_err();
    settled().await;
    assert_eq!(client.unmatched_errors(), 1);
    assert!(received.is_empty());
    shut_down(&client).await;
}

#[erps::test(simulated)]
async fn client_without_a_handler_counts_too() {
    let (daemon, _watch) = daemon().await;
    let client = Client::<Newer>::builder(daemon.local_addr());
    let client = client.connect().await.unwrap();
    let mut pushes = client.pushes();
    for n in 0..3 {
        client.cast(n).await.unwrap();
    }
    settled().await;
    assert_eq!(client.unmatched_errors(), 3);
    // The stream is not ended by it.
    let next = time::timeout(HOUR, pushes.next()).await;
    assert!(next.is_err());
}

#[erps::test(simulated)]
async fn errors_wait_while_the_handlers_mailbox_is_full() {
    let (daemon, _watch) = daemon().await;
    let (errors, received) = async_channel::unbounded();
    let (open, gate) = async_channel::unbounded();
    let handler = move || Errors {
        errors: errors.clone(),
        gate: gate.clone(),
    };
    let client = Client::<Newer>::builder(daemon.local_addr())
        .max_pushes(2)
        .reply_timeout(REPLY_TIMEOUT)
        .handler(handler);
    let client = client.connect().await.unwrap();
    for n in 0..20 {
        client.cast(n).await.unwrap();
    }
    time::sleep(HOUR).await;
    assert!(client.unmatched_errors() < 20, "the client reads on");
    for _ in 0..20 {
        open.send(()).await.unwrap();
        received.recv().await.unwrap();
    }
    assert_eq!(client.unmatched_errors(), 20);
    let pong = client.call(Call::Ping).await.unwrap();
    assert_eq!(pong, Reply::Pong);
    open.close();
    shut_down(&client).await;
}

#[erps::test(simulated)]
async fn rejection_of_a_connection_is_not_counted() {
    let (builder, _watch) = test_server::daemon();
    let reject = |_: &erps::PeerInfo| Err("not today");
    let daemon = builder.admit(reject).start_link().await.unwrap();
    let client = Client::<Newer>::builder(daemon.local_addr()).start();
    let is_rejected = || matches!(client.last_disconnect(), Some(Disconnect::Refused { .. }));
    while !is_rejected() {
        time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(client.unmatched_errors(), 0);
}

mod typed {
    use super::*;

    #[erps::protocol]
    trait Old {
        async fn ping() -> bool;
    }

    #[derive(Default)]
    struct OldServer;

    #[erps::server]
    impl Old for OldServer {
        async fn ping(&mut self) -> bool {
            true
        }
    }

    #[erps::protocol]
    trait New {
        #[cast]
        fn added(n: u64);
        #[push]
        fn told();
    }

    struct Handler(async_channel::Sender<String>);

    #[erps::handler]
    impl NewHandler for Handler {
        async fn handle_error(&mut self, error: String) -> Result<(), BoxError> {
            let _ = self.0.try_send(error);
            Ok(())
        }

        async fn told(&mut self) {}
    }

    #[erps::test(simulated)]
    async fn typed_handler_receives_the_error_of_an_added_cast() {
        let daemon = Daemon::<OldServer>::builder(()).start_link().await.unwrap();
        let (errors, received) = async_channel::unbounded();
        let client = Client::<NewProtocol>::builder(daemon.local_addr());
        let client = client.handler(move || Handler(errors.clone()));
        let client = client.connect().await.unwrap();
        client.added(1).await.unwrap();
        let error = received.recv().await.unwrap();
        assert!(error.starts_with("cast not understood"), "{error}");
        shut_down(&client).await;
    }
}
