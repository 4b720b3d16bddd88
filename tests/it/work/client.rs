//! Tasks and timers of a client's handler.

use erps::{BoxError, ClientContext, ClientHandler, ExitReason, Status, time};

use crate::support::{
    test_server::{self, TestProtocol},
    time::{secs, settled},
};

/// Sends what it receives to the test.
struct Handler {
    notes: async_channel::Sender<&'static str>,
    panics: bool,
}

impl ClientHandler for Handler {
    type Protocol = TestProtocol;
    type Info = &'static str;

    async fn init(&mut self, cx: &mut ClientContext<Self>) -> Result<(), BoxError> {
        if self.panics {
            cx.spawn(async { panic!("in the handler's task") });
        }
        cx.send_after(secs(1), "after");
        cx.interval(secs(2), || "tick");
        let cancelled = cx.send_after(secs(1), "cancelled");
        assert!(cancelled.cancel());
        cx.spawn_info(async {
            time::sleep(secs(3)).await;
            "spawned"
        });
        Ok(())
    }

    async fn handle_info(
        &mut self,
        info: &'static str,
        _: &mut ClientContext<Self>,
    ) -> Result<(), BoxError> {
        let _ = self.notes.try_send(info);
        Ok(())
    }
}

#[erps::test(simulated)]
async fn handler_receives_its_timers_and_the_results_of_its_tasks() {
    let (builder, _watch) = test_server::daemon();
    let daemon = builder.start_link().await.unwrap();
    let (notes, received) = async_channel::unbounded();
    let handler = move || Handler {
        notes: notes.clone(),
        panics: false,
    };
    let client = test_server::client(&daemon).handler(handler);
    let client = client.connect().await.unwrap();
    time::sleep(secs(5)).await;
    settled().await;
    let all: Vec<_> = std::iter::from_fn(|| received.try_recv().ok()).collect();
    assert_eq!(all, ["after", "tick", "spawned", "tick"]);
    client.task().request_shutdown();
    client.exited().await;
    time::sleep(secs(60)).await;
    assert!(received.is_empty());
}

#[erps::test(simulated, panics = "in the handler's task")]
async fn panic_of_a_task_of_the_handler_stops_the_client() {
    let (builder, _watch) = test_server::daemon();
    let daemon = builder.start_link().await.unwrap();
    let (notes, _received) = async_channel::unbounded();
    let handler = move || Handler {
        notes: notes.clone(),
        panics: true,
    };
    let client = test_server::client(&daemon).handler(handler).start();
    let reason = client.exited().await;
    assert!(matches!(reason, ExitReason::Panic(_)), "{reason:?}");
    assert!(matches!(client.status(), Status::Ended(_)));
}
