//! A client reconnects after its server's daemon was replaced.
//!
//! When a connection is lost, the client reconnects with growing delays; calls in flight fail. The new server has none of
//! the old one's state, so the client's handler subscribes again in `handle_connect`. `Client::until` waits for a status.
//!
//! It prints:
//!
//! ```text
//! news from the first daemon
//! connected: false
//! news from the second daemon
//! connected: true
//! ```

use std::time::Duration;

use erps::{
    Backoff, BoxError, Client, ClientContext, ClientHandler, Context, Daemon, InitError, PeerInfo,
    Protocol, ReplyTo, Server,
};
use smol::channel::{Sender, unbounded};

struct News;

impl Protocol for News {
    type Call = ();
    type Reply = ();
    type Cast = (); // subscribes
    type Push = String;
}

struct NewsServer {
    daemon: &'static str,
}

impl Server for NewsServer {
    type Protocol = News;
    type Seed = &'static str;
    type Info = ();

    async fn init(daemon: &'static str, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { daemon })
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<()>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(());
        Ok(())
    }

    async fn handle_cast(&mut self, (): (), cx: &mut Context<Self>) -> Result<(), BoxError> {
        cx.push(format!("news from the {} daemon", self.daemon))
            .await?;
        Ok(())
    }
}

struct Reader {
    headlines: Sender<String>,
}

impl ClientHandler for Reader {
    type Protocol = News;
    type Info = ();

    async fn handle_connect(
        &mut self,
        _: PeerInfo,
        cx: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        // An error means that this connection is lost already; `handle_connect` runs again after the next.
        let _ = cx.client().cast(()).await;
        Ok(())
    }

    async fn handle_push(
        &mut self,
        headline: String,
        _: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        self.headlines.send(headline).await?;
        Ok(())
    }
}

fn main() -> Result<(), BoxError> {
    smol::block_on(async {
        let daemon = Daemon::<NewsServer>::builder("first").start_link().await?;
        let port = daemon.port();

        let (headlines, news) = unbounded();
        let client = Client::<News>::builder(daemon.local_addr())
            .backoff(Backoff::new(
                Duration::from_millis(5),
                Duration::from_millis(50),
            ))
            .handler(move || Reader {
                headlines: headlines.clone(),
            })
            .start_link();
        println!("{}", news.recv().await?);

        daemon.shutdown().await;
        let status = client.until(|status| !status.is_connected()).await;
        println!("connected: {}", status.is_connected());

        let _daemon = Daemon::<NewsServer>::builder("second")
            .port(port)
            .start_link()
            .await?;
        let headline = news.recv().await?;
        assert_eq!(headline, "news from the second daemon");
        println!("{headline}");
        println!("connected: {}", client.status().is_connected());
        Ok(())
    })
}
