//! The loop: one message at a time, from mailbox and connection, in turn.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{self, Poll},
    time::Instant,
};

use super::{
    Context, Message, Server,
    connection::{Connection, Incoming},
};
use crate::{
    BoxError, ExitReason,
    mailbox::Receiver,
    reply::{Unanswered, withhold},
    task::{Alarm, now},
};

/// How many events a server handles before other tasks of its thread get a turn.
const BURST: usize = 256;

/// Whatever comes next in the life of a server.
enum Event<S: Server> {
    Call(Message<S>),
    Peer(Incoming<S::Protocol>),
    Timeout,
    Exit(ExitReason),
}

/// Runs a server from its `init` to its end.
pub(super) async fn run<S: Server>(
    mut server: S,
    mut cx: Context<S>,
    mut inbox: Receiver<Message<S>>,
    mut connection: Option<Box<Connection>>,
) -> ExitReason {
    let mut events = Events {
        peer_first: false,
        handled: 0,
        timeout: None,
        alarm: Alarm::default(),
    };
    let (reason, unanswered) = loop {
        // What `init` and each callback asked for.
        if let Some(reason) = cx.stop.take() {
            break (reason, None);
        }
        events.timeout = cx.timeout.take().and_then(|limit| now().checked_add(limit));
        let event = poll_fn(|waker| events.poll(waker, &cx, &mut inbox, &mut connection)).await;
        let connection = &mut connection;
        let (outcome, unanswered) = match event {
            Event::Call(Message::Call(call, from)) | Event::Peer(Incoming::Call(call, from)) => {
                drive(pin!(server.handle_call(call, from, &mut cx)), connection).await
            }
            Event::Call(Message::Cast(cast)) | Event::Peer(Incoming::Cast(cast)) => {
                drive(pin!(server.handle_cast(cast, &mut cx)), connection).await
            }
            Event::Call(Message::Info(info)) => {
                drive(pin!(server.handle_info(info, &mut cx)), connection).await
            }
            Event::Timeout => drive(pin!(server.handle_timeout(&mut cx)), connection).await,
            Event::Peer(Incoming::Ended(reason)) | Event::Exit(reason) => break (reason, None),
        };
        if let Err(reason) = outcome.and_then(failed) {
            break (reason, Some(unanswered));
        }
    };
    // The supervisor of a connection's server tells of its end; a plain server may have none.
    if connection.is_none() && reason.is_abnormal() {
        let server = std::any::type_name::<S>();
        tracing::warn!(target: "erps", server, %reason, "a server without a connection ended");
    }
    cx.this().ending(&reason);
    drop(unanswered);
    // Whoever waits in it is told now, not after `terminate`.
    drop(inbox);
    let terminated = drive(pin!(server.terminate(&reason, &mut cx)), &mut connection).await;
    if let (Err(panic), _) = terminated {
        tracing::error!(target: "erps", reason = %panic, "terminate did not run to its end");
    }
    drop(server);
    if let Some(connection) = connection {
        connection.close().await;
    }
    reason
}

fn failed(outcome: Result<(), BoxError>) -> Result<(), ExitReason> {
    outcome.map_err(ExitReason::error)
}

/// Runs a callback to its end, and goes on sending whenever it awaits. A panic in it becomes a
/// reason to end.
///
/// It takes the callback pinned, so that its caller's future has room for it once and not twice.
/// What is returned beside the outcome is to be dropped when it is known whether the server ends.
pub(super) async fn drive<T>(
    mut callback: Pin<&mut impl Future<Output = T>>,
    connection: &mut Option<Box<Connection>>,
) -> (Result<T, ExitReason>, Vec<Unanswered>) {
    if let Some(connection) = connection {
        connection.stop_reading();
    }
    poll_fn(|cx| {
        let poll = || catch_unwind(AssertUnwindSafe(|| callback.as_mut().poll(cx)));
        let (polled, unanswered) = withhold(poll);
        match polled {
            Ok(Poll::Ready(output)) => Poll::Ready((Ok(output), unanswered)),
            Ok(Poll::Pending) => {
                drop(unanswered);
                if let Some(connection) = connection {
                    connection.poll_send(cx);
                }
                Poll::Pending
            }
            Err(panic) => Poll::Ready((Err(ExitReason::panic(&*panic)), unanswered)),
        }
    })
    .await
}

struct Events {
    /// Whose turn it is, if both the peer and a local caller want something.
    peer_first: bool,
    /// How many events there were in a row without a wait.
    handled: usize,
    timeout: Option<Instant>,
    alarm: Alarm,
}

impl Events {
    fn poll<S: Server>(
        &mut self,
        waker: &mut task::Context<'_>,
        cx: &Context<S>,
        inbox: &mut Receiver<Message<S>>,
        connection: &mut Option<Box<Connection>>,
    ) -> Poll<Event<S>> {
        let task = cx.this().task();
        if task.exit_requested()
            && let Poll::Ready(reason) = task.poll_exit_request(waker)
        {
            return Poll::Ready(Event::Exit(reason));
        }
        if self.handled == BURST {
            // A server that always has something to do lets others of its thread have a turn.
            self.handled = 0;
            waker.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.handled += 1;
        self.peer_first = !self.peer_first;
        if !self.peer_first
            && let Some(message) = inbox.try_recv()
        {
            return Poll::Ready(Event::Call(message));
        }
        if let Some(connection) = connection
            && let Poll::Ready(incoming) = connection.poll_incoming(waker)
        {
            return Poll::Ready(Event::Peer(incoming));
        }
        // The server's own handle keeps the mailbox open: it ends only when the server does.
        if let Poll::Ready(Some(message)) = inbox.poll_recv(waker) {
            return Poll::Ready(Event::Call(message));
        }
        if let Poll::Ready(reason) = task.poll_exit_request(waker) {
            return Poll::Ready(Event::Exit(reason));
        }
        if connection.as_ref().is_some_and(|it| it.is_over()) {
            return Poll::Ready(Event::Exit(ExitReason::Shutdown));
        }
        self.handled = 0;
        self.alarm
            .poll(waker, self.timeout)
            .map(|()| Event::Timeout)
    }
}
