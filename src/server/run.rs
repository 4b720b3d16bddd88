//! The loop: one message at a time, from mailbox and connection, in turn.

use std::{
    future::poll_fn,
    pin::pin,
    task::{self, Poll, ready},
    time::Instant,
};

use super::{
    Context, Message, Server,
    connection::Connection,
    driver::Driver,
    receive::{Decoding, Incoming},
};
use crate::{
    BoxError, ExitReason, Protocol,
    mailbox::Receiver,
    task::{Alarm, Budget, Contained, Foreign, now},
};

/// The next event that a server handles.
enum Event<S: Server> {
    Call(Message<S>),
    Peer(Incoming<S::Protocol>),
    Timeout,
    /// A drain has begun; the server has to finish by this time.
    Drain(Instant),
    Exit(ExitReason),
}

/// Runs a server from its `init` to its exit.
pub(super) async fn run<S: Server>(
    server: S,
    mut cx: Context<S>,
    mut inbox: Receiver<Message<S>>,
    mut driver: Driver,
) -> ExitReason {
    // If the task is killed, the server is dropped separately from the callback that it runs.
    let mut server = Foreign::new(server);
    let mut events = Events {
        peer_first: false,
        ticked: false,
        budget: Budget::default(),
        decoding: Decoding::none(),
        timeout: None,
        alarm: Alarm::default(),
    };
    let (reason, unanswered) = loop {
        // Requested by `init` or by the last callback.
        if let Some(reason) = cx.stop.take() {
            break (reason, None);
        }
        events.timeout = cx.timeout.take().and_then(|limit| now().checked_add(limit));
        let event = poll_fn(|waker| events.poll(waker, &cx, &mut inbox, &mut driver)).await;
        let (outcome, unanswered) = match event {
            Event::Call(Message::Call(call, from)) | Event::Peer(Incoming::Call(call, from)) => {
                let call = Contained::new(server.handle_call(call, from, &mut cx));
                driver.drive("handle_call", pin!(call)).await
            }
            Event::Call(Message::Cast(cast)) | Event::Peer(Incoming::Cast(cast)) => {
                let cast = Contained::new(server.handle_cast(cast, &mut cx));
                driver.drive("handle_cast", pin!(cast)).await
            }
            Event::Call(Message::Info(info)) => {
                let info = Contained::new(server.handle_info(info, &mut cx));
                driver.drive("handle_info", pin!(info)).await
            }
            Event::Timeout => {
                let timeout = Contained::new(server.handle_timeout(&mut cx));
                driver.drive("handle_timeout", pin!(timeout)).await
            }
            Event::Drain(deadline) => {
                let drain = Contained::new(server.handle_drain(deadline, &mut cx));
                driver.drive("handle_drain", pin!(drain)).await
            }
            Event::Peer(Incoming::Ended(reason)) | Event::Exit(reason) => break (reason, None),
        };
        if let Err(reason) = outcome.and_then(failed) {
            break (reason, Some(unanswered));
        }
    };
    // The exit of a connection's server is logged by its supervisor; a plain server may have none.
    if driver.connection.is_none() && reason.is_abnormal() {
        let server = std::any::type_name::<S>();
        tracing::warn!(target: "erps", server, %reason, "a server without a connection exited");
    }
    cx.this().close_mailbox(&reason);
    if let (Some(connection), ExitReason::Error(_) | ExitReason::Panic(_)) =
        (&driver.connection, &reason)
    {
        connection.server_failed(&reason);
    }
    drop(unanswered);
    // Callers in the mailbox fail now, not after `terminate`.
    drop(inbox);
    let terminate = Contained::new(server.terminate(&reason, &mut cx));
    let terminated = driver.drive("terminate", pin!(terminate)).await;
    if let (Err(panic), _) = terminated {
        tracing::error!(target: "erps", reason = %panic, "terminate panicked");
    }
    // Calls that they have to answer fail before the connection is closed.
    cx.children.cancel().await;
    drop(server.into_inner());
    if let Some(connection) = driver.connection {
        connection.close().await;
    }
    reason
}

fn failed(outcome: Result<(), BoxError>) -> Result<(), ExitReason> {
    outcome.map_err(ExitReason::error)
}

struct Events<P: Protocol> {
    /// Alternates between the peer and local callers when both have messages.
    peer_first: bool,
    /// The last event was a timer's: other messages come first.
    ticked: bool,
    /// A busy server yields when it is spent.
    budget: Budget,
    /// The packet that is being decoded on another thread.
    decoding: Decoding<P>,
    timeout: Option<Instant>,
    alarm: Alarm,
}

impl<P: Protocol> Events<P> {
    fn poll<S: Server<Protocol = P>>(
        &mut self,
        waker: &mut task::Context<'_>,
        cx: &Context<S>,
        inbox: &mut Receiver<Message<S>>,
        driver: &mut Driver,
    ) -> Poll<Event<S>> {
        driver.stopwatch.start();
        let event = self.poll_event(waker, cx, inbox, &mut driver.connection);
        if event.is_pending() {
            driver.stopwatch.reset();
        }
        event
    }

    fn poll_event<S: Server<Protocol = P>>(
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
        ready!(self.budget.poll_proceed(waker));
        if let Some(connection) = connection
            && let Some(deadline) = connection.take_drain_request()
        {
            return Poll::Ready(Event::Drain(deadline));
        }
        if !std::mem::take(&mut self.ticked)
            && let Some(tick) = self.take_tick(cx)
        {
            return Poll::Ready(tick);
        }
        self.peer_first = !self.peer_first;
        if !self.peer_first
            && let Some(message) = inbox.try_recv()
        {
            self.budget.count_packet(0);
            return Poll::Ready(Event::Call(message));
        }
        if let Some(connection) = connection {
            let incoming = connection.poll_incoming(waker, &mut self.budget, &mut self.decoding);
            if let Poll::Ready(incoming) = incoming {
                return Poll::Ready(Event::Peer(incoming));
            }
            ready!(self.budget.poll_proceed(waker));
        }
        // The server's own handle keeps the mailbox open until the server exits.
        if let Poll::Ready(Some(message)) = inbox.poll_recv(waker) {
            self.budget.count_packet(0);
            return Poll::Ready(Event::Call(message));
        }
        if let Poll::Ready(reason) = task.poll_exit_request(waker) {
            return Poll::Ready(Event::Exit(reason));
        }
        if connection.as_ref().is_some_and(|it| it.is_drained()) {
            return Poll::Ready(Event::Exit(ExitReason::Shutdown));
        }
        self.budget.refill();
        loop {
            let next_tick = cx.timers.next();
            let next = next_tick.into_iter().chain(self.timeout).min();
            ready!(self.alarm.poll(waker, next));
            if let Some(tick) = self.take_tick(cx) {
                return Poll::Ready(tick);
            }
            // Otherwise the timer was cancelled by another thread.
            if self.timeout.is_some_and(|it| it <= now()) {
                return Poll::Ready(Event::Timeout);
            }
        }
    }

    /// Returns the message of a timer that is due, if there is one.
    fn take_tick<S: Server<Protocol = P>>(&mut self, cx: &Context<S>) -> Option<Event<S>> {
        let tick = cx.timers.take_due()?;
        self.ticked = true;
        self.budget.count_packet(0);
        Some(tick.map_or_else(Event::Exit, |info| Event::Call(Message::Info(info))))
    }
}
