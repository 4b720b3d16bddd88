//! Encoding of values as whole packets.

use serde::Serialize;
use serde_etf::{self as etf, EncodeError};

use crate::{
    identity::{Identifier, Version},
    packet::{self, Kind, PacketTooLarge},
};

/// The first byte of every payload.
const TERM_FORMAT: u8 = 131;
/// The head of a tuple of two elements: the payload of a call or reply.
const PAIR: [u8; 2] = [104, 2];

/// The packet settings of one end: header fields, limits and compression.
#[derive(Clone, Debug)]
pub struct Codec {
    /// The identifier in the header of each packet.
    pub identifier: Identifier,
    /// The version in the header of each packet.
    pub version: Version,
    /// The largest payload, in bytes, before it is compressed.
    pub max_payload: usize,
    /// The limits of received terms. Encoding does not use them.
    pub limits: etf::Limits,
    /// The compression level of payloads, from 0 to 9; `None` does not compress.
    pub compression: Option<u8>,
}

/// The value of `within` for packets of any size up to [`Codec::max_payload`].
pub const UNLIMITED: usize = usize::MAX;

/// Each method appends a packet to `out` and returns `true`. If the payload exceeds `within` bytes, it stops and returns
/// `false`. On `false` and on an error, `out` is unchanged.
impl Codec {
    /// Encodes a packet whose payload is one value: a cast, a push, or an error without a call.
    ///
    /// # Errors
    ///
    /// The value cannot be encoded as a term, or its payload is over [`max_payload`](Self::max_payload).
    pub fn term<T: Serialize + ?Sized>(
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

    /// Encodes a call: `{reference, request}`.
    ///
    /// # Errors
    ///
    /// Those of [`term`](Self::term).
    pub fn call<T: Serialize>(
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

    /// Encodes the reply or error of a call: `{reply, reference}`. The reference is a term as the caller encoded it.
    ///
    /// # Errors
    ///
    /// Those of [`term`](Self::term).
    pub fn answer<T: Serialize>(
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

    /// Returns whether both encode a value as the same packet.
    #[must_use]
    pub fn encodes_as(&self, other: &Self) -> bool {
        let settings = |it: &Self| (it.identifier, it.version, it.max_payload, it.compression);
        settings(self) == settings(other)
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
            // Before compression, because the receiver inflates no more than that.
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

/// Why a value could not be encoded as a packet.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// It cannot be encoded as an Erlang term.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Its payload is over the limit.
    #[error(transparent)]
    TooLarge(#[from] PacketTooLarge),
}
