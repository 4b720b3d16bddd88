//! The state of a client: shared by its handles and its task, under one lock.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
};

use event_listener::Event;
use futures_channel::oneshot;

use super::{
    CallError, ConnectError, Disconnect, NotConnected, Status,
    message::PushDecoder,
    pending::Pending,
    queue::Queue,
    subscriber::{ClientEvent, Subscriber},
    warnings::Warnings,
};
use crate::{
    ExitReason,
    task::Clock,
    wire::{codec::Codec, etf::Checked},
};

/// Where the outcome of an attempt to connect goes.
pub(super) type ConnectWaiter = oneshot::Sender<Result<(), ConnectError>>;

pub(super) struct Shared {
    pub(super) codec: Codec,
    pub(super) push_decoder: PushDecoder,
    pub(super) limits: Limits,
    pub(super) warnings: Warnings,
    next_reference: AtomicU64,
    unmatched_errors: AtomicU64,
    state: Mutex<State>,
    /// Notified when the status changes, and when the queue falls below its limit.
    changed: Event,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Calls that were sent and have no reply.
    pub(super) in_flight: usize,
    /// Packets in the send queue.
    pub(super) queued: usize,
    /// Bytes in the send queue.
    pub(super) queued_bytes: usize,
    /// The server takes one packet at a time.
    pub(super) one_at_a_time: bool,
}

pub(super) struct State {
    pub(super) status: Status,
    pub(super) last_disconnect: Option<Disconnect>,
    /// `None` once an attempt has succeeded.
    pub(super) last_connect_error: Option<ConnectError>,
    /// False after `disconnect`, until `connect`.
    pub(super) connection_wanted: bool,
    /// `connect` was called: the back-off is skipped.
    pub(super) connect_now: bool,
    pub(super) connect_waiters: Vec<ConnectWaiter>,
    /// Callers of `disconnect`. Dropped when the connection is closed, and by `connect`.
    pub(super) disconnect_waiters: Vec<oneshot::Sender<()>>,
    pub(super) pending: Pending,
    pub(super) queue: Queue,
    pub(super) subscriber: Option<Subscriber>,
    /// The clock of the client's task, whose universe may differ from a caller's.
    pub(super) clock: Clock,
    /// Wakes the client's task, if it waits.
    pub(super) task: Option<Waker>,
}

impl Shared {
    pub(super) fn new(
        codec: Codec,
        push_decoder: PushDecoder,
        limits: Limits,
        connect_waiters: Vec<ConnectWaiter>,
    ) -> Self {
        Self {
            codec,
            push_decoder,
            limits,
            warnings: Warnings::new(),
            next_reference: AtomicU64::new(1),
            unmatched_errors: AtomicU64::new(0),
            state: Mutex::new(State {
                status: Status::Connecting,
                last_disconnect: None,
                last_connect_error: None,
                connection_wanted: true,
                connect_now: false,
                connect_waiters,
                disconnect_waiters: Vec::new(),
                pending: Pending::default(),
                queue: Queue::default(),
                subscriber: None,
                clock: Clock::current(),
                task: None,
            }),
            changed: Event::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes the client's task.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
        result
    }

    pub(super) fn next_reference(&self) -> u64 {
        self.next_reference.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts an error of the server that belongs to no call.
    pub(super) fn count_unmatched_error(&self) {
        self.unmatched_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unmatched_errors(&self) -> u64 {
        self.unmatched_errors.load(Ordering::Relaxed)
    }

    /// Gives a call its outcome, if it has none yet.
    pub(super) fn finish(&self, reference: u64, outcome: Result<Checked<'static>, CallError>) {
        let caller = self.state().pending.take(reference);
        if let Some(caller) = caller {
            let _ = caller.send(outcome);
        }
    }

    /// Returns true if the send queue is below its limits.
    pub(super) fn has_space(&self, state: &State) -> bool {
        state.queue.len() < self.limits.queued && state.queue.bytes() < self.limits.queued_bytes
    }

    /// Drops what is queued. The lock is released first: the queue holds the user's values.
    pub(super) fn clear_queue(&self) {
        let queued = std::mem::take(&mut self.state().queue);
        drop(queued);
    }

    pub(super) fn set_status(&self, status: Status) {
        self.state().status = status;
        self.notify();
    }

    /// Wakes everything that waits for a change of the status or for space in the queue.
    pub(super) fn notify(&self) {
        self.changed.notify(usize::MAX);
    }

    /// Returns a future that is ready after the next [`notify`](Self::notify).
    pub(super) fn changed(&self) -> impl Future<Output = ()> + use<> {
        self.changed.listen()
    }

    /// Waits until `accept` returns true for the status, or the client has ended.
    pub(super) async fn until(&self, accept: impl Fn(&Status) -> bool) -> Status {
        loop {
            let changed = self.changed();
            // `accept` may call the client: the lock is released.
            let status = self.state().status.clone();
            if accept(&status) || matches!(status, Status::Ended(_)) {
                return status;
            }
            changed.await;
        }
    }

    /// Replaces the subscriber, unless that is a handler or the client has ended.
    pub(super) fn subscribe(&self, subscriber: Subscriber) {
        let mut state = self.state();
        let has_handler = matches!(state.subscriber, Some(Subscriber::Handler(_)));
        if !has_handler && !matches!(state.status, Status::Ended(_)) {
            let earlier = state.subscriber.replace(subscriber);
            // A push may be waiting for space in the earlier stream.
            if let Some(earlier) = earlier {
                earlier.sender().close();
            }
        }
    }

    /// Sends an event to the handler, if there is one, even beyond the limit of its mailbox: a handler that is busy
    /// may be waiting for this very connection.
    pub(super) fn notify_handler(&self, event: ClientEvent) {
        if let Some(Subscriber::Handler(sender)) = &self.state().subscriber {
            sender.send_over_capacity(event);
        }
    }
}

impl State {
    /// Registers the client's task to be woken by the next [`update`](Shared::update).
    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(cx.waker()),
            None => self.task = Some(cx.waker().clone()),
        }
    }

    /// Returns why there is no connection.
    pub(super) fn not_connected(&self) -> Box<NotConnected> {
        Box::new(match &self.status {
            Status::Ended(reason) => NotConnected::Exited(reason.clone()),
            // An attempt that succeeds removes the error of the last.
            _ => match (&self.last_connect_error, &self.last_disconnect) {
                (Some(error), _) => NotConnected::Connect(error.clone()),
                (None, Some(why)) => NotConnected::Disconnect(why.clone()),
                (None, None) => NotConnected::Connecting,
            },
        })
    }

    /// Sends the outcome of an attempt to connect to everything that waits for it.
    pub(super) fn answer_connect_waiters(&mut self, outcome: &Result<(), ConnectError>) {
        for waiter in self.connect_waiters.drain(..) {
            let _ = waiter.send(outcome.clone());
        }
    }
}

/// Closes the client's state when its task exits, panics or is killed, even before its first poll.
pub(super) struct CloseOnDrop {
    shared: Arc<Shared>,
    pub(super) reason: ExitReason,
}

impl CloseOnDrop {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            reason: ExitReason::Killed,
        }
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.status = Status::Ended(self.reason.clone());
        let why = state.not_connected();
        state.pending.fail(true, &why);
        state.connect_waiters.clear();
        state.disconnect_waiters.clear();
        state.subscriber = None;
        drop(state);
        self.shared.clear_queue();
        self.shared.notify();
    }
}
