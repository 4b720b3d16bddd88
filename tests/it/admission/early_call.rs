//! A call sent before the client learns that it is rejected.

use erps::{
    BoxedStream, CallError, Disconnect, Endpoint, Handshake, PeerInfo, Protocol, Secured,
    Transport, Universe,
};

use super::*;

struct Shop;

impl Protocol for Shop {
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Push = ();
}

impl Server for Shop {
    type Protocol = Self;
    type Seed = ();
    type Info = ();

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self)
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
}

/// A transport whose `accept` takes a second and whose `connect` takes no time.
#[derive(Debug)]
struct Slow;

impl Transport for Slow {
    fn accept<'a>(&'a self, stream: BoxedStream, _: Endpoint) -> Handshake<'a> {
        Box::pin(async {
            time::sleep(Duration::from_secs(1)).await;
            Ok(Secured::new(stream))
        })
    }

    fn connect<'a>(&'a self, stream: BoxedStream, _: &'a str) -> Handshake<'a> {
        Box::pin(async { Ok(Secured::new(stream)) })
    }

    fn is_secure(&self) -> bool {
        false
    }
}

#[test]
fn call_sent_before_the_rejection_arrives_fails_with_disconnected() {
    Universe::simulated(1).run(async {
        let daemon = Daemon::<Shop>::builder(())
            .transport(Slow)
            .admit(|_: &PeerInfo| Err("closed on Sundays"))
            .start_link()
            .await
            .expect("a daemon");
        let client = Client::<Shop>::builder(daemon.local_addr());
        let client = client.connect().await.expect("a connection, so far");
        let outcome = client.call(()).await;
        let why = client.last_disconnect();
        assert!(matches!(why, Some(Disconnect::Refused { .. })), "{why:?}");
        let error = outcome.expect_err("no server answers");
        assert!(matches!(error, CallError::Disconnected { .. }), "{error:?}");
    });
}
