//! The upper bound of a connection's memory.

use super::{ServerOptions, connection::MAX_FINAL_READ, receive::MAX_REFERENCE};
use crate::{
    link::WRITE_CHUNK,
    reply::SHORT_MESSAGE,
    send_queue::CHUNK,
    wire::{decoder::READ_CHUNK, packet::HEADER_LEN},
};

/// The size of an error reply beside its message and its reference.
const OVERHEAD: usize = 64;

/// Returns the upper bound, in bytes, of the memory of one connection beside the state of its server: an
/// incoming packet, what it inflates to and what is decoded from it; the send queue and the write buffer; and
/// for each call in flight its reference and a short error reply.
pub(crate) fn worst_case_memory(options: &ServerOptions) -> u64 {
    let bytes = |it: usize| it as u64;
    let packet = bytes(options.max_payload).saturating_add(bytes(HEADER_LEN));
    let incoming = packet
        .saturating_mul(2)
        .saturating_add(bytes(READ_CHUNK) + MAX_FINAL_READ)
        .saturating_add(bytes(options.limits.max_term_memory()));
    // A packet that is queued just below the limit exceeds it.
    let exceeded = packet.saturating_add(bytes(options.max_outgoing));
    // There are at most as many replies as calls in flight.
    let replies = packet.saturating_mul(bytes(options.max_in_flight));
    let replies = exceeded
        .saturating_add(replies)
        .min(bytes(options.max_unsent));
    let writing = packet.saturating_add(bytes(WRITE_CHUNK + 2 * CHUNK));
    let error = bytes(HEADER_LEN + SHORT_MESSAGE + 2 * MAX_REFERENCE + OVERHEAD);
    let errors = bytes(options.max_in_flight).saturating_mul(error);
    [exceeded.max(replies), writing, errors]
        .into_iter()
        .fold(incoming, u64::saturating_add)
}
