//! Decoded messages without their types, so that the client's task is compiled once for all protocols.
//!
//! ```text
//! packet --reply decoder--> Decoded --> pending call --> Client::call --typed--> P::Reply
//!        --push decoder---> Decoded --> subscriber ----> Pushes, handler --typed--> P::Push
//! ```
//!
//! Only the two arrows at either end know the protocol.

use std::any::Any;

use serde::de::DeserializeOwned;

use crate::{
    Protocol,
    wire::etf::{Checked, DecodeError, Element},
};

/// A decoded reply or push.
pub(super) type Decoded = Box<dyn Any + Send>;

/// The decoders of a protocol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoders {
    pub(super) reply: fn(&Element<'_>) -> Result<Decoded, DecodeError>,
    pub(super) push: fn(&Checked<'_>) -> Result<Decoded, DecodeError>,
}

impl Decoders {
    pub(super) fn of<P: Protocol>() -> Self {
        Self {
            reply: decode_reply::<P::Reply>,
            push: decode_push::<P::Push>,
        }
    }
}

fn decode_reply<T: DeserializeOwned + Send + 'static>(
    reply: &Element<'_>,
) -> Result<Decoded, DecodeError> {
    Ok(Box::new(reply.decode::<T>()?))
}

fn decode_push<T: DeserializeOwned + Send + 'static>(
    push: &Checked<'_>,
) -> Result<Decoded, DecodeError> {
    Ok(Box::new(push.decode::<T>()?))
}

/// Returns a message with its type, which has to be the one that it was decoded as.
pub(super) fn typed<T: 'static>(message: Decoded) -> T {
    let message = message.downcast();
    *message.expect("a client decodes with the decoders of its protocol")
}
