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

/// No limit to what a packet may cost to encode, but that of its size.
pub(crate) const ANY: usize = usize::MAX;

/// Each method appends a packet if its payload has at most `within` bytes, and returns whether it has. If not, or
/// on an error, `out` is as it was.
impl Codec {
    /// A packet whose payload is the value: a cast, a push, an error that belongs to no call.
    pub(crate) fn term<T: Serialize + ?Sized>(
        &self,
        out: &mut Vec<u8>,
        kind: Kind,
        value: &T,
        within: usize,
    ) -> Result<bool, PacketError> {
        self.packet(out, kind, within, |out, end| {
            etf::encode_within(out, value, end)
        })
    }

    /// A call: `{reference, request}`.
    pub(crate) fn call<T: Serialize>(
        &self,
        out: &mut Vec<u8>,
        reference: u64,
        request: &T,
        within: usize,
    ) -> Result<bool, PacketError> {
        self.packet(out, Kind::Call, within, |out, end| {
            out.extend_from_slice(&PAIR);
            etf::encode_into(out, &reference)?;
            etf::encode_within(out, request, end)
        })
    }

    /// The answer to a call: `{reply, reference}`, the reference as the caller wrote it.
    pub(crate) fn answer<T: Serialize>(
        &self,
        out: &mut Vec<u8>,
        kind: Kind,
        answer: &T,
        reference: &[u8],
        within: usize,
    ) -> Result<bool, PacketError> {
        self.packet(out, kind, within, |out, end| {
            out.extend_from_slice(&PAIR);
            let fits = etf::encode_within(out, answer, end)?;
            out.extend_from_slice(reference);
            Ok(fits)
        })
    }

    fn packet(
        &self,
        out: &mut Vec<u8>,
        kind: Kind,
        within: usize,
        payload: impl FnOnce(&mut Vec<u8>, usize) -> Result<bool, EncodeError>,
    ) -> Result<bool, PacketError> {
        let begun = packet::begin(out, kind, self.version, &self.identifier);
        let start = out.len();
        out.push(TERM_FORMAT);
        let encoded = payload(out, start.saturating_add(within));
        if !matches!(encoded, Ok(true)) {
            begun.cancel(out);
            return Ok(encoded?);
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
        begun.finish(out, self.max_payload)?;
        Ok(true)
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
