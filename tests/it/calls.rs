//! Calls over the wire: each has one outcome, and it is the right one.

use erps::{CallError, ExitReason, Status};

use crate::support::lab::{Call, Life, Reply, pair, run};

#[test]
fn a_call_is_answered() {
    run(async {
        let (_daemon, client, _watch) = pair().await;
        assert_eq!(client.call(Call::Ping).await.unwrap(), Reply::Pong);
    });
}
