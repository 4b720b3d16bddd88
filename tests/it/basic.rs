//! The smallest whole.

use erps::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Call {
    Total,
    Add(i64),
}

struct Counter;
impl Protocol for Counter {
    const IDENTIFIER: &'static str = "counter";
    const VERSION: &'static str = "0.2.4";
    const ACCEPTS: &'static str = "~> 0.2.4";
    type Call = Call;
    type Reply = i64;
    type Cast = ();
    type Push = ();
}

struct CounterServer {
    total: i64,
}
impl Server for CounterServer {
    type Protocol = Counter;
    type Seed = i64;
    type Info = ();
    async fn init(seed: i64, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self { total: seed })
    }
    async fn handle_call(
        &mut self,
        call: Call,
        from: ReplyTo<i64>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        if let Call::Add(n) = call {
            self.total += n;
        }
        from.reply(self.total);
        Ok(())
    }
}

#[test]
fn smoke() {
    smol::block_on(async {
        let daemon = Daemon::<CounterServer>::builder(0)
            .start_link()
            .await
            .unwrap();
        let client = Client::<Counter>::builder(daemon.local_addr())
            .connect()
            .await
            .unwrap();
        assert_eq!(client.call(Call::Add(2)).await.unwrap(), 2);
        assert_eq!(client.call(Call::Total).await.unwrap(), 2);
        println!("{:?}", daemon.info());
        let d = daemon.clone();
        println!("{:?}", daemon.shutdown().await);
        println!("{:?}", d.info());
    });
}
