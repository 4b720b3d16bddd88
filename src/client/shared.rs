//! What the callers of a client share with its task.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use event_listener::Event;
use futures_channel::oneshot;

use super::{
    CallError, CastError, ConnectError, Disconnect, Status,
    complaints::Complaints,
    encode::{encode_call, encode_cast},
    handler::ClientEvent,
    pending::Pending,
    queue::Queue,
};
use crate::{
    Protocol,
    mailbox::Sender,
    outbox::{put_back, scratch},
    task::{self, Clock, TURN},
    wire::{codec::Codec, packet::Kind},
};

/// Where a caller waits.
pub(super) type Answer<R> = oneshot::Receiver<Result<R, CallError>>;

/// Those who wait to hear of an attempt to connect.
pub(super) type Waiters = Vec<oneshot::Sender<Result<(), ConnectError>>>;

pub(super) struct Shared<P: Protocol> {
    pub(super) codec: Codec,
    pub(super) limits: Limits,
    pub(super) complaints: Complaints,
    next_reference: AtomicU64,
    state: Mutex<State<P>>,
    /// Notified when the status changes, and when there is room in the queue again.
    changed: Event,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) in_flight: usize,
    pub(super) queued: usize,
    pub(super) queued_bytes: usize,
    /// The server takes one packet at a time.
    pub(super) one_at_a_time: bool,
}

pub(super) struct State<P: Protocol> {
    pub(super) status: Status,
    /// Why the last connection was lost.
    pub(super) last_disconnect: Option<Disconnect>,
    /// Why the last attempt failed, unless it did not.
    pub(super) last_connect_error: Option<ConnectError>,
    /// What was asked for last: to be connected, or not to be.
    pub(super) wanted: bool,
    /// A connection is wanted at once, whatever the back-off says.
    pub(super) hurry: bool,
    pub(super) waiters: Waiters,
    /// Those who wait for the connection to be closed. Dropped when it is, and when somebody wants
    /// it again.
    pub(super) leavers: Vec<oneshot::Sender<()>>,
    pub(super) pending: Pending<P::Reply>,
    pub(super) queue: Queue,
    pub(super) listener: Option<Listener<P>>,
    /// The client's task's, which callers in another universe know nothing of.
    pub(super) clock: Clock,
    /// The client's task, if it waits.
    pub(super) driver: Option<Waker>,
}

/// Who hears of pushes.
pub(super) enum Listener<P: Protocol> {
    Stream(Sender<ClientEvent<P>>),
    Handler(Sender<ClientEvent<P>>),
}

impl<P: Protocol> Listener<P> {
    pub(super) fn sender(&self) -> &Sender<ClientEvent<P>> {
        match self {
            Self::Stream(sender) | Self::Handler(sender) => sender,
        }
    }
}

impl<P: Protocol> Shared<P> {
    pub(super) fn new(codec: Codec, limits: Limits, waiters: Waiters) -> Self {
        Self {
            codec,
            limits,
            complaints: Complaints::new(),
            next_reference: AtomicU64::new(1),
            state: Mutex::new(State {
                status: Status::Connecting,
                last_disconnect: None,
                last_connect_error: None,
                wanted: true,
                hurry: false,
                waiters,
                leavers: Vec::new(),
                pending: Pending::new(),
                queue: Queue::default(),
                listener: None,
                clock: Clock::current(),
                driver: None,
            }),
            changed: Event::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Encodes a call and queues it; a large one is queued as it is, and encoded when it is sent. The user's
    /// `Serialize` runs before the lock is taken.
    pub(super) fn queue_call(
        self: &Arc<Self>,
        call: P::Call,
        limit: Duration,
    ) -> Result<(u64, Answer<P::Reply>), CallError> {
        let reference = self.next_reference.fetch_add(1, Ordering::Relaxed);
        let mut packet = scratch();
        let encoded = self
            .codec
            .call(&mut packet, reference, &call, TURN)
            .map_err(|error| CallError::Unsendable(Box::new(error)))?;
        let (answer, receiver) = oneshot::channel();
        let driver = {
            let mut state = self.state();
            if !state.status.is_connected() {
                return Err(CallError::Disconnected);
            }
            if !self.has_room(&state) {
                return Err(CallError::QueueFull);
            }
            let deadline = task::deadline(state.clock.now(), limit);
            state.pending.insert(reference, answer, deadline);
            if encoded {
                state.queue.push(&mut packet, Some(reference));
            } else {
                let encode = encode_call(self, reference, call);
                state.queue.push_unencoded(encode, Some(reference));
            }
            state.driver.take()
        };
        put_back(packet);
        wake(driver);
        Ok((reference, receiver))
    }

    /// Encodes a cast and queues it, as soon as there is room. A large one is queued as it is; this waits then
    /// until it has been encoded.
    pub(super) async fn queue_cast(self: &Arc<Self>, cast: P::Cast) -> Result<(), CastError> {
        let mut packet = Vec::new();
        let encoded = self
            .codec
            .term(&mut packet, Kind::Cast, &cast, TURN)
            .map_err(|error| CastError::Unsendable(Box::new(error)))?;
        let encoded = loop {
            let listener = self.changed.listen();
            {
                let mut state = self.state();
                if !state.status.is_connected() {
                    return Err(CastError::Disconnected);
                }
                if self.has_room(&state) {
                    let (sender, receiver) = oneshot::channel();
                    if encoded {
                        state.queue.push(&mut packet, None);
                    } else {
                        let encode = encode_cast(self, cast, sender);
                        state.queue.push_unencoded(encode, None);
                    }
                    let driver = state.driver.take();
                    drop(state);
                    wake(driver);
                    if encoded {
                        return Ok(());
                    }
                    break receiver;
                }
            }
            listener.await;
        };
        encoded.await.unwrap_or(Err(CastError::Disconnected))
    }

    /// Ends a call with its outcome, if it has none yet.
    pub(super) fn finish(&self, reference: u64, outcome: Result<P::Reply, CallError>) {
        let answer = self.state().pending.take(reference);
        if let Some(answer) = answer {
            let _ = answer.send(outcome);
        }
    }

    /// Drops what is queued, without the lock: some of it is the user's.
    pub(super) fn clear_queue(&self) {
        let queued = std::mem::take(&mut self.state().queue);
        drop(queued);
    }

    pub(super) fn has_room(&self, state: &State<P>) -> bool {
        state.queue.len() < self.limits.queued && state.queue.bytes() < self.limits.queued_bytes
    }

    /// Changes something that the client's task has to hear of.
    pub(super) fn tell<R>(&self, change: impl FnOnce(&mut State<P>) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);
        let driver = state.driver.take();
        drop(state);
        wake(driver);
        result
    }

    pub(super) fn set_status(&self, status: Status) {
        self.state().status = status;
        self.notify();
    }

    pub(super) fn notify(&self) {
        self.changed.notify(usize::MAX);
    }

    /// Waits until the status is one that `wanted` wants, or the client has ended.
    pub(super) async fn until(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        loop {
            let listener = self.changed.listen();
            // What is asked may itself ask the client: not under the lock.
            let status = self.state().status.clone();
            if wanted(&status) || matches!(status, Status::Ended(_)) {
                return status;
            }
            listener.await;
        }
    }
}

impl<P: Protocol> State<P> {
    /// For the client's task: it is woken by whatever is queued or asked for next.
    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.driver {
            Some(driver) => driver.clone_from(cx.waker()),
            None => self.driver = Some(cx.waker().clone()),
        }
    }

    /// Tells those that wait for a connection how the attempt went.
    pub(super) fn answer_waiters(&mut self, outcome: &Result<(), ConnectError>) {
        for waiter in self.waiters.drain(..) {
            let _ = waiter.send(outcome.clone());
        }
    }
}

fn wake(driver: Option<Waker>) {
    if let Some(driver) = driver {
        driver.wake();
    }
}
