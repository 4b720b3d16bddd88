//! A typed protocol in a package that calls the library `net`.

use net::{BoxError, Client, Context, Daemon};

#[net::protocol(version = "1.2.0")]
trait Counter {
    async fn add(number: i64) -> i64;
    #[cast]
    fn reset();
    #[push]
    fn was_reset();
}

#[derive(Default)]
struct CounterServer(i64);

#[net::server]
impl Counter for CounterServer {
    async fn add(&mut self, number: i64) -> i64 {
        self.0 += number;
        self.0
    }

    async fn reset(&mut self, cx: &mut Context<Self>) -> Result<(), BoxError> {
        self.0 = 0;
        Ok(cx.was_reset().await?)
    }
}

struct Ignore;

#[net::handler]
impl CounterHandler for Ignore {
    async fn was_reset(&mut self) {}
}

#[net::test]
async fn the_attributes_find_the_library_by_the_name_in_cargo_toml() -> Result<(), BoxError> {
    let daemon = Daemon::<CounterServer>::builder(()).start_link().await?;
    let client = Client::<CounterProtocol>::builder(daemon.local_addr())
        .handler(|| Ignore)
        .connect()
        .await?;
    client.reset().await?;
    assert_eq!(client.add(7).await?, 7);
    // Its handler has a handle too.
    client.task().shutdown(net::Shutdown::Infinity).await;
    Ok(())
}

mod named {
    #[net::protocol(crate = "::erps_renamed::inner")]
    pub(crate) trait Counter {
        async fn add(number: i64) -> i64;
    }

    #[derive(Default)]
    pub(crate) struct CounterServer;

    #[net::server(crate = "::erps_renamed::inner")]
    impl Counter for CounterServer {
        async fn add(&mut self, number: i64) -> i64 {
            number
        }
    }
}

#[net::test]
async fn the_path_of_the_library_may_be_given() -> Result<(), BoxError> {
    use named::CounterClient as _;
    let server = net::ServerRef::<named::CounterServer>::builder(())
        .start_link()
        .await?;
    assert_eq!(server.add(7).await?, 7);
    Ok(())
}
