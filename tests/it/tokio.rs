//! Callbacks that use tokio's timers, sockets and tasks.

use std::time::Duration;

use erps::{
    BoxError, CallError, Client, ClientContext, ClientHandler, Context, Daemon, DaemonBuilder,
    ExitReason, InitError, Protocol, ReplyTo, Server, ServerOptions, ServerRef,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle, Runtime},
    time,
};

use crate::support::test_server;

struct Fetch;

impl Protocol for Fetch {
    /// The port of 127.0.0.1 that is read.
    type Call = u16;
    type Reply = String;
    type Cast = u16;
    type Push = u16;
}

/// Reads from a port in every callback. Its destructor needs the runtime too, as that of a pooled connection does.
struct FetchServer {
    ends: async_channel::Sender<&'static str>,
}

impl Drop for FetchServer {
    fn drop(&mut self) {
        let ends = self.ends.clone();
        tokio::spawn(async move { ends.send("dropped").await });
    }
}

async fn fetch(port: u16) -> Result<String, BoxError> {
    let mut text = String::new();
    time::sleep(Duration::from_millis(1)).await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    time::timeout(test_server::REPLY_TIMEOUT, stream.read_to_string(&mut text)).await??;
    Ok(text)
}

impl Server for FetchServer {
    type Protocol = Fetch;
    type Seed = async_channel::Sender<&'static str>;
    type Info = ();

    async fn init(ends: Self::Seed, _: &mut Context<Self>) -> Result<Self, InitError> {
        time::sleep(Duration::from_millis(1)).await;
        Ok(Self { ends })
    }

    async fn handle_call(
        &mut self,
        port: u16,
        from: ReplyTo<String>,
        cx: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        let here = fetch(port).await?;
        // Tasks and blocking work inherit the runtime.
        let task = erps::spawn(async move { fetch(port).await.unwrap() });
        cx.spawn(async move {
            let own = fetch(port).await.unwrap();
            let thread = erps::unblock(move || Handle::current().block_on(fetch(port)).unwrap());
            from.reply(format!("{here} {own} {} {}", task.await, thread.await));
        });
        Ok(())
    }

    async fn handle_cast(&mut self, port: u16, cx: &mut Context<Self>) -> Result<(), BoxError> {
        cx.push(port).await?;
        Ok(())
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        time::sleep(Duration::from_millis(1)).await;
        let _ = self.ends.send("terminated").await;
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// Answers every connection to the returned port with a word.
async fn word() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"word").await;
        }
    });
    port
}

type Ends = async_channel::Receiver<&'static str>;

fn daemon() -> (DaemonBuilder<FetchServer>, Ends) {
    let (ends, ended) = async_channel::unbounded();
    (Daemon::builder(ends), ended)
}

async fn callbacks_use_tokio(builder: DaemonBuilder<FetchServer>, ends: Ends, port: u16) {
    let daemon = builder.start_link().await.unwrap();
    let client =
        Client::<Fetch>::builder(daemon.local_addr()).reply_timeout(test_server::REPLY_TIMEOUT);
    let client = client.connect().await.unwrap();
    assert_eq!(client.call(port).await.unwrap(), "word word word word");
    client.disconnect().await;
    assert_eq!(ends.recv().await.unwrap(), "terminated");
    assert_eq!(ends.recv().await.unwrap(), "dropped");
}

#[test]
fn callbacks_use_the_runtime_that_the_builder_names() {
    let runtime = runtime();
    let (builder, ends) = daemon();
    let builder = builder.tokio(runtime.handle().clone());
    let port = runtime.block_on(word());
    test_server::run(callbacks_use_tokio(builder, ends, port));
}

#[test]
fn callbacks_use_the_runtime_that_the_builder_was_made_in() {
    runtime().block_on(async {
        let (builder, ends) = daemon();
        let port = word().await;
        time::timeout(
            test_server::REPLY_TIMEOUT,
            callbacks_use_tokio(builder, ends, port),
        )
        .await
        .unwrap();
    });
}

#[test]
fn server_without_a_connection_uses_the_runtime_that_the_builder_names() {
    let runtime = runtime();
    let port = runtime.block_on(word());
    test_server::run(async {
        let (sender, ends) = async_channel::unbounded();
        let server = ServerRef::<FetchServer>::builder(sender).tokio(runtime.handle().clone());
        let server = server.start_link().await.unwrap();
        let reply = server.call_within(port, test_server::REPLY_TIMEOUT).await;
        assert_eq!(reply.unwrap(), "word word word word");
        // A killed server is dropped in the runtime too.
        server.task().kill();
        assert_eq!(ends.recv().await.unwrap(), "dropped");
    });
}

struct Pushed(async_channel::Sender<String>);

impl ClientHandler for Pushed {
    type Protocol = Fetch;
    type Info = ();

    async fn handle_push(
        &mut self,
        port: u16,
        _: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        self.0.send(fetch(port).await?).await?;
        Ok(())
    }
}

#[test]
fn client_handler_uses_the_runtime_that_the_builder_names() {
    let runtime = runtime();
    let port = runtime.block_on(word());
    test_server::run(async {
        let (builder, _ends) = daemon();
        let daemon = builder.tokio(runtime.handle().clone());
        let daemon = daemon.start_link().await.unwrap();
        let client = Client::<Fetch>::builder(daemon.local_addr()).tokio(runtime.handle().clone());
        let (pushed, texts) = async_channel::unbounded();
        let client = client.handler(move || Pushed(pushed.clone()));
        let client = client.connect().await.unwrap();
        client.cast(port).await.unwrap();
        assert_eq!(texts.recv().await.unwrap(), "word");
    });
}

struct Sleepy;

impl Server for Sleepy {
    type Protocol = Fetch;
    type Seed = ();
    type Info = ();

    async fn init(_: (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        _: u16,
        _: ReplyTo<String>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        time::sleep(Duration::from_millis(1)).await;
        Ok(())
    }
}

#[test]
fn panic_without_a_runtime_names_the_setting() {
    test_server::run(async {
        let daemon = Daemon::<Sleepy>::builder(());
        let daemon = daemon.server_options(ServerOptions::new().error_details(true));
        let daemon = daemon.start_link().await.unwrap();
        let client = Client::<Fetch>::builder(daemon.local_addr())
            .connect()
            .await;
        let error = client.unwrap().call(0).await.unwrap_err();
        let CallError::Failed { message } = error else {
            panic!("{error:?}");
        };
        let message = message.unwrap();
        assert!(message.contains("the builder's `tokio`"), "{message}");
    });
}
