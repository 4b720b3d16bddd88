//! The receiving half of a session: checks a packet and finishes the call it belongs to.
//!
//! | packet | outcome |
//! |---|---|
//! | reply `{reply, reference}` | the call's reply; dropped if the call is no longer pending |
//! | error `{reason, reference}` | the call fails |
//! | error of another form | logged, counted, delivered to the handler; kept in case the server closes the connection next |
//! | push | returned, to be delivered |
//! | keepalive | nothing |
//! | of another kind, or with an executable term | the connection is closed |

use crate::{
    CallError, Term,
    client::{message::Decoded, state::Shared},
    reply::{FAILED, UNANSWERED},
    text::capped,
    wire::{
        etf::{self, Checked},
        packet::{Kind, Packet},
    },
};

/// The longest reference that is decoded from a damaged reply, in bytes. Those of this client have up to twelve.
const MAX_REFERENCE: usize = 64;

/// How much of a server's error message [`CallError::Remote`] keeps, in bytes.
const MAX_REMOTE: usize = 64 * 1024;

/// How much of an error that belongs to no call is kept, in bytes.
const MAX_REPORTED: usize = 1024;

/// What the session does with a packet.
pub(super) enum Received {
    /// Nothing more.
    Handled,
    /// Deliver the push.
    Push(Decoded),
    /// Keep the error, and report it if it belongs to no call.
    Error { error: String, of_call: bool },
}

/// Handles a packet. An error is why the connection has to be closed.
pub(super) fn receive(packet: &Packet<'_>, shared: &Shared) -> Result<Received, String> {
    match packet.header.kind {
        Kind::Keepalive => return Ok(Received::Handled),
        Kind::Reply | Kind::Push | Kind::Error => {}
        kind => {
            return Err(format!(
                "the server sent a packet of kind {kind:?}, which only clients send"
            ));
        }
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
                shared.warnings.add(
                    "the server sent a packet whose payload is no valid term",
                    &error,
                );
            }
            return Ok(Received::Handled);
        }
    };
    match packet.header.kind {
        Kind::Reply => answer(shared, &checked),
        Kind::Error => return Ok(fail(shared, &checked)),
        _ => match (shared.push_decoder)(&checked) {
            Ok(push) => return Ok(Received::Push(push)),
            Err(error) => shared
                .warnings
                .add("the server sent a push that cannot be decoded", &error),
        },
    }
    Ok(Received::Handled)
}

/// Finishes the call that a reply belongs to. A late reply is dropped.
fn answer(shared: &Shared, checked: &Checked<'_>) {
    let Some((reply, reference)) = checked.pair() else {
        shared.warnings.add(
            "the server sent a reply that is no pair {reply, reference}",
            &"",
        );
        return;
    };
    let Ok(reference) = reference.decode() else {
        shared.warnings.add(
            "the server sent a reply with a reference of another kind",
            &"",
        );
        return;
    };
    // The caller decodes it.
    shared.finish(reference, Ok(reply.to_checked()));
}

/// Fails the call that an error `{reason, reference}` belongs to. Any other error is returned.
fn fail(shared: &Shared, checked: &Checked<'_>) -> Received {
    if let Some((reason, reference)) = checked.pair()
        && let Ok(reference) = reference.decode()
    {
        let reason = match reason.decode::<Term>() {
            Ok(reason) => call_error(&reason),
            Err(error) => CallError::Undecodable(error.to_string()),
        };
        shared.finish(reference, Err(reason));
        return Received::Handled;
    }
    let reason = match checked.decode::<Term>() {
        Ok(reason) => message(&reason, MAX_REPORTED),
        Err(error) => error.to_string(),
    };
    // Elixir's server sends no reference. If it is sent one call at a time, the error belongs to that.
    let only = match shared.limits.one_at_a_time {
        true => shared.state().pending.only_sent(),
        false => None,
    };
    if let Some(reference) = only {
        shared.finish(reference, Err(CallError::Remote(reason.clone())));
    }
    Received::Error {
        error: reason,
        of_call: only.is_some(),
    }
}

fn call_error(reason: &Term) -> CallError {
    let is_failed = |term: &Term| term.as_atom() == Some(FAILED);
    match reason.as_tuple() {
        Some([failed, text]) if is_failed(failed) => CallError::Failed {
            message: Some(message(text, MAX_REMOTE)),
        },
        _ if is_failed(reason) => CallError::Failed { message: None },
        _ if reason.as_atom() == Some(UNANSWERED) => CallError::Unanswered,
        _ => CallError::Remote(message(reason, MAX_REMOTE)),
    }
}

/// Returns the first `limit` bytes of an error message: a text as it is, any other term as Elixir prints it.
fn message(reason: &Term, limit: usize) -> String {
    match reason.as_str() {
        Some(text) => capped(&text, limit),
        None => capped(reason, limit),
    }
}
