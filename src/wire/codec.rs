//! From values to whole packets.

use serde::Serialize;

use super::{
    etf::{self, EncodeError},
    identity::{Identifier, Version},
    packet::{self, Kind, PacketTooLarge},
};

/// The first byte of every payload.
const TERM_FORMAT: u8 = 131;
/// A tuple of two, as the payloads of calls and replies are.
const PAIR: [u8; 2] = [104, 2];

/// What an end of a connection puts on the packets it sends, and holds the received ones to.
#[derive(Clone, Debug)]
pub(crate) struct Codec {
    pub(crate) identifier: Identifier,
    pub(crate) version: Version,
    pub(crate) max_payload: usize,
    pub(crate) limits: etf::Limits,
    pub(crate) compression: Option<u8>,
}

impl Codec {
    /// Appends a packet whose payload is the value: a cast, a push, an error that belongs to no
    /// call.
    pub(crate) fn term<T: Serialize + ?Sized>(
        &self,
        out: &mut Vec<u8>,
        kind: Kind,
        value: &T,
    ) -> Result<(), PacketError> {
        self.packet(out, kind, |out| etf::encode_into(out, value))
    }

    /// Appends a call: `{reference, request}`.
    pub(crate) fn call<T: Serialize>(
        &self,
        out: &mut Vec<u8>,
        reference: u64,
        request: &T,
    ) -> Result<(), PacketError> {
        self.packet(out, Kind::Call, |out| {
            out.extend_from_slice(&PAIR);
            etf::encode_into(out, &reference)?;
            etf::encode_into(out, request)
        })
    }

    /// Appends the answer to a call: `{reply, reference}`, the reference as the caller wrote it.
    pub(crate) fn answer<T: Serialize>(
        &self,
        out: &mut Vec<u8>,
        kind: Kind,
        answer: &T,
        reference: &[u8],
    ) -> Result<(), PacketError> {
        self.packet(out, kind, |out| {
            out.extend_from_slice(&PAIR);
            etf::encode_into(out, answer)?;
            out.extend_from_slice(reference);
            Ok(())
        })
    }

    /// `out` is as it was if there is an error.
    fn packet(
        &self,
        out: &mut Vec<u8>,
        kind: Kind,
        payload: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), PacketError> {
        let begun = packet::begin(out, kind, self.version, &self.identifier);
        let start = out.len();
        out.push(TERM_FORMAT);
        if let Err(error) = payload(out) {
            begun.cancel(out);
            return Err(error.into());
        }
        let size = out.len() - start;
        if size > self.max_payload {
            // Also if it would be compressed: the receiver inflates no more than that.
            begun.cancel(out);
            let limit = self.max_payload;
            return Err(PacketTooLarge { size, limit }.into());
        }
        if let Some(level) = self.compression {
            let plain = out.split_off(start);
            match etf::compress(plain, level) {
                Ok(packed) => out.extend_from_slice(&packed),
                Err(error) => {
                    begun.cancel(out);
                    return Err(error.into());
                }
            }
        }
        Ok(begun.finish(out, self.max_payload)?)
    }
}

/// Why a value cannot be sent as a packet.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// It has no form as an Erlang term.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// It is over the limit of a packet.
    #[error(transparent)]
    TooLarge(#[from] PacketTooLarge),
}
