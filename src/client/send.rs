//! Sending: encodes calls and casts, and appends them to the send queue.
//!
//! ```text
//! Client::call, cast --small: encoded by the caller----> queue --> session --> link --> socket
//!                    --large: an Encode job------------> queue --> session --> link --> other thread --> socket
//! ```

use std::{sync::Arc, task::Waker, time::Duration};

use futures_channel::oneshot;
use serde::Serialize;

use super::{
    CallError, CastError,
    pending::ReplySender,
    state::{Shared, State},
};
use crate::{
    encode::{Encode, put_back, scratch},
    task::{self, BUDGET},
    universe::CapturedContext,
    wire::{
        codec::{Codec, PacketError, UNLIMITED},
        etf::EncodeError,
        packet::Kind,
    },
};

type CastOutcome = Result<(), CastError>;

/// Encodes a call and appends it to the queue; a large one is encoded when it is sent. Returns its reference.
///
/// The user's `Serialize` runs before the lock is taken.
pub(super) fn send_call<T: Serialize + Send + 'static>(
    shared: &Arc<Shared>,
    call: T,
    limit: Duration,
    caller: ReplySender,
) -> Result<u64, CallError> {
    let reference = shared.next_reference();
    let mut packet = scratch();
    let encoded = shared
        .codec
        .call(&mut packet, reference, &call, BUDGET)
        .map_err(|error| CallError::Unsendable(Box::new(error)))?;
    let mut job = None;
    if !encoded {
        job = Some(encode_call(shared, reference, call));
    }
    append_call(shared, reference, &mut packet, &mut job, limit, caller)?;
    put_back(packet);
    Ok(reference)
}

/// Appends a call. If it is rejected, the caller drops it, after the lock is released.
fn append_call(
    shared: &Shared,
    reference: u64,
    packet: &mut Vec<u8>,
    job: &mut Option<Encode>,
    limit: Duration,
    caller: ReplySender,
) -> Result<(), CallError> {
    let task = {
        let mut state = shared.state();
        if !state.status.is_connected() {
            let why = state.not_connected();
            return Err(CallError::Disconnected { why });
        }
        if !shared.has_space(&state) {
            return Err(CallError::QueueFull);
        }
        let deadline = task::deadline(state.clock.now(), limit);
        state.pending.insert(reference, caller, deadline);
        append(&mut state, packet, job, Some(reference))
    };
    wake(task);
    Ok(())
}

/// Encodes a cast and appends it to the queue when the queue is below its limit; a large one is encoded when it is
/// sent, and waited for until then.
pub(super) async fn send_cast<T: Serialize + Send + 'static>(
    shared: &Arc<Shared>,
    cast: T,
) -> CastOutcome {
    let mut packet = Vec::new();
    let encoded = shared
        .codec
        .term(&mut packet, Kind::Cast, &cast, BUDGET)
        .map_err(|error| CastError::Unsendable(Box::new(error)))?;
    if encoded {
        drop(cast);
        return append_cast(shared, packet, None).await;
    }
    let (sender, outcome) = oneshot::channel();
    let job = encode_cast(shared, cast, sender);
    append_cast(shared, packet, Some(job)).await?;
    outcome.await.unwrap_or_else(|oneshot::Canceled| {
        let why = shared.state().not_connected();
        Err(CastError::Disconnected { why })
    })
}

async fn append_cast(shared: &Shared, mut packet: Vec<u8>, mut job: Option<Encode>) -> CastOutcome {
    loop {
        let changed = shared.changed();
        if let Some(outcome) = try_append_cast(shared, &mut packet, &mut job) {
            return outcome;
        }
        changed.await;
    }
}

/// Returns `None` if the queue is full.
fn try_append_cast(
    shared: &Shared,
    packet: &mut Vec<u8>,
    job: &mut Option<Encode>,
) -> Option<CastOutcome> {
    let task = {
        let mut state = shared.state();
        if !state.status.is_connected() {
            let why = state.not_connected();
            return Some(Err(CastError::Disconnected { why }));
        }
        if !shared.has_space(&state) {
            return None;
        }
        append(&mut state, packet, job, None)
    };
    wake(task);
    Some(Ok(()))
}

/// Appends the job, or if there is none the packet. Returns the client's task, to be woken without the lock.
fn append(
    state: &mut State,
    packet: &mut Vec<u8>,
    job: &mut Option<Encode>,
    reference: Option<u64>,
) -> Option<Waker> {
    match job.take() {
        Some(job) => state.queue.push_unencoded(job, reference),
        None => state.queue.push(packet, reference),
    }
    state.task.take()
}

fn wake(task: Option<Waker>) {
    if let Some(task) = task {
        task.wake();
    }
}

/// Returns the job that encodes a call, in the caller's universe. If encoding fails, the call fails with the error.
fn encode_call<T: Serialize + Send + 'static>(
    shared: &Arc<Shared>,
    reference: u64,
    call: T,
) -> Encode {
    let shared = Arc::clone(shared);
    let here = CapturedContext::capture();
    Box::new(move || {
        let encode = |codec: &Codec, out: &mut _| codec.call(out, reference, &call, UNLIMITED);
        let encoded = here.enter(|| packet(&shared.codec, encode));
        let fail = |error| {
            let error = CallError::Unsendable(Box::new(error));
            shared.finish(reference, Err(error));
        };
        encoded.map_err(fail).ok()
    })
}

/// Returns the job that encodes a cast, in the caller's universe, and reports the outcome to the caller. If the
/// caller's future was dropped, nothing is sent.
fn encode_cast<T: Serialize + Send + 'static>(
    shared: &Arc<Shared>,
    cast: T,
    caller: oneshot::Sender<CastOutcome>,
) -> Encode {
    let shared = Arc::clone(shared);
    let here = CapturedContext::capture();
    Box::new(move || {
        if caller.is_canceled() {
            return None;
        }
        let encode = |codec: &Codec, out: &mut _| codec.term(out, Kind::Cast, &cast, UNLIMITED);
        match here.enter(|| packet(&shared.codec, encode)) {
            Ok(packet) => caller.send(Ok(())).is_ok().then_some(packet),
            Err(error) => {
                let _ = caller.send(Err(CastError::Unsendable(Box::new(error))));
                None
            }
        }
    })
}

/// Encodes a packet. A panic of the user's `Serialize` becomes an error of this packet and does not end the client.
fn packet(
    codec: &Codec,
    encode: impl FnOnce(&Codec, &mut Vec<u8>) -> Result<bool, PacketError>,
) -> Result<Vec<u8>, PacketError> {
    let mut packet = Vec::new();
    let encoded = task::catch(|| encode(codec, &mut packet));
    match encoded {
        Ok(encoded) => encoded.map(|_| packet),
        Err(panic) => {
            let reason = panic.to_string();
            Err(EncodeError::Custom(reason).into())
        }
    }
}
