//! Messages without their types, so that the client's task is compiled once for all protocols.
//!
//! ```text
//! packet --checked-------> Checked --> pending call --> Client::call --decoded--> the type that the caller waits for
//!        --push decoder--> Decoded --> subscriber ----> Pushes, handler --typed--> P::Push
//! ```
//!
//! A reply is decoded in the caller's future: a large one does not delay the packets behind it.

use std::any::Any;

use serde::de::DeserializeOwned;

use super::CallError;
use crate::{
    Protocol,
    task::{self, BUDGET},
    wire::etf::{Checked, DecodeError},
};

/// A decoded push.
pub(super) type Decoded = Box<dyn Any + Send>;

/// The push decoder of a protocol.
pub(super) type PushDecoder = fn(&Checked<'_>) -> Result<Decoded, DecodeError>;

pub(super) fn push_decoder<P: Protocol>() -> PushDecoder {
    |push| Ok(Box::new(push.decode::<P::Push>()?))
}

/// Returns a push with its type, which has to be the one that it was decoded as.
pub(super) fn typed<T: 'static>(message: Decoded) -> T {
    let message = message.downcast();
    *message.expect("a client decodes with the decoders of its protocol")
}

/// Decodes a reply; a large one off the executor's threads. A panic of its `Deserialize` is the caller's.
pub(super) async fn decode_reply<T>(reply: Checked<'static>) -> Result<T, CallError>
where
    T: DeserializeOwned + Send + 'static,
{
    let is_large = reply.as_element().as_bytes().len() > BUDGET;
    let decode = move || reply.decode::<T>();
    let decoded = match is_large {
        false => decode(),
        true => {
            let decoded = Box::pin(task::offload(decode)).await;
            decoded.unwrap_or_else(|panic| panic.resume())
        }
    };
    decoded.map_err(|error| CallError::Undecodable(error.to_string()))
}
