//! What a client makes of a packet: a reply, a push, or an error.

use crate::{
    CallError, Protocol, Term,
    client::shared::Shared,
    reply::UNANSWERED,
    text::capped,
    wire::{
        etf::{self, Checked},
        packet::{Kind, Packet},
    },
};

/// The longest reference of a reply that is looked at, in bytes. Those of this client have up to twelve.
const MAX_REFERENCE: usize = 64;

/// How much of a server's message [`CallError::Remote`] keeps, in bytes.
const MAX_REMOTE: usize = 64 * 1024;

/// How much is kept of an error that belongs to no call, in bytes.
const MAX_REPORTED: usize = 1024;

/// What a packet leaves to be done.
pub(super) enum Received<P: Protocol> {
    /// Nothing: it has gone where it belongs.
    Sorted,
    Push(P::Push),
    /// To remember the error, which belongs to no call.
    Error(String),
}

/// Sorts a packet. An error is why the connection cannot go on.
pub(super) fn receive<P: Protocol>(
    packet: &Packet<'_>,
    shared: &Shared<P>,
) -> Result<Received<P>, String> {
    match packet.header.kind {
        Kind::Keepalive => return Ok(Received::Sorted),
        Kind::Reply | Kind::Push | Kind::Error => {}
        kind => return Err(format!("a client takes no packets of kind {kind:?}")),
    }
    let checked = match etf::check(packet.payload, &shared.codec.limits) {
        Ok(checked) => checked,
        Err(error) if error.is_executable() => return Err(error.to_string()),
        Err(error) => {
            if packet.header.kind != Kind::Push
                && let Some(reference) =
                    etf::second_of_pair(packet.payload, MAX_REFERENCE, &shared.codec.limits)
                && let Ok(reference) = etf::from_slice(&reference)
            {
                let error = CallError::Undecodable(error.to_string());
                shared.finish(reference, Err(error));
            } else {
                shared
                    .complaints
                    .add("a packet of the server is no term", &error);
            }
            return Ok(Received::Sorted);
        }
    };
    match packet.header.kind {
        Kind::Reply => answer(shared, &checked),
        Kind::Error => return Ok(fail(shared, &checked).map_or(Received::Sorted, Received::Error)),
        _ => match checked.decode() {
            Ok(push) => return Ok(Received::Push(push)),
            Err(error) => shared.complaints.add("a push was not understood", &error),
        },
    }
    Ok(Received::Sorted)
}

/// A reply goes to its caller; one that comes too late goes to nobody.
fn answer<P: Protocol>(shared: &Shared<P>, checked: &Checked<'_>) {
    let Some((reply, reference)) = checked.pair() else {
        shared
            .complaints
            .add("a reply is no pair {reply, reference}", &"");
        return;
    };
    let Ok(reference) = reference.decode() else {
        shared
            .complaints
            .add("a reply has a reference that was never sent", &"");
        return;
    };
    let reply = reply
        .decode()
        .map_err(|error| CallError::Undecodable(error.to_string()));
    shared.finish(reference, reply);
}

/// An error is `{reason, reference}`, or a reason of its own, which belongs to no call and is returned.
fn fail<P: Protocol>(shared: &Shared<P>, checked: &Checked<'_>) -> Option<String> {
    if let Some((reason, reference)) = checked.pair()
        && let Ok(reference) = reference.decode()
    {
        let reason = match reason.decode::<Term>() {
            Ok(reason) if reason.as_atom() == Some(UNANSWERED) => CallError::Unanswered,
            Ok(reason) => CallError::Remote(message(&reason, MAX_REMOTE)),
            Err(error) => CallError::Undecodable(error.to_string()),
        };
        shared.finish(reference, Err(reason));
        return None;
    }
    let reason = match checked.decode::<Term>() {
        Ok(reason) => message(&reason, MAX_REPORTED),
        Err(error) => error.to_string(),
    };
    // Elixir's server names no call. It has one at a time only if it is treated so.
    let only = match shared.limits.one_at_a_time {
        true => shared.state().pending.only_sent(),
        false => None,
    };
    match only {
        Some(reference) => shared.finish(reference, Err(CallError::Remote(reason.clone()))),
        None => shared
            .complaints
            .add("the server reports an error", &reason),
    }
    Some(reason)
}

/// A text as it is, anything else as Elixir would print it; of that the first `limit` bytes.
fn message(reason: &Term, limit: usize) -> String {
    match reason.as_str() {
        Some(text) => capped(&text, limit),
        None => capped(reason, limit),
    }
}
