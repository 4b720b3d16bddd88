//! Calls and casts that are too large to be encoded where they are made.

use std::sync::Arc;

use futures_channel::oneshot;

use super::{CallError, CastError, shared::Shared};
use crate::{
    Protocol,
    link::Encode,
    task,
    universe::Here,
    wire::{
        codec::{Codec, PacketError, UNLIMITED},
        etf::EncodeError,
        packet::Kind,
    },
};

/// Encodes a call, in the caller's universe. If that fails, the call ends with the error.
pub(super) fn encode_call<P: Protocol>(
    shared: &Arc<Shared<P>>,
    reference: u64,
    call: P::Call,
) -> Encode {
    let shared = Arc::clone(shared);
    let here = Here::capture();
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

/// Encodes a cast, in the caller's universe, and tells the caller. If the caller's future was dropped, nothing is
/// sent.
pub(super) fn encode_cast<P: Protocol>(
    shared: &Arc<Shared<P>>,
    cast: P::Cast,
    caller: oneshot::Sender<Result<(), CastError>>,
) -> Encode {
    let shared = Arc::clone(shared);
    let here = Here::capture();
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

/// A panic of the user's `Serialize` is the caller's affair, and no reason for the client to exit.
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
