//! Rejection of a peer that gets no server.

use super::{ServerOptions, StartError};
use crate::{
    link::Link,
    transport::BoxedStream,
    wire::{codec::UNLIMITED, packet::Kind, rejection::Rejection},
};

/// What a peer receives whose server did not start.
const NOT_STARTED: &str = "the server could not start";

/// Returns the message for a peer whose server did not start. The error may contain internals: it is included only
/// with `details`.
pub(super) fn not_started(error: &StartError, details: bool) -> String {
    let reason = match error {
        _ if details => error.to_string(),
        StartError::Ignored => error.to_string(),
        _ => NOT_STARTED.to_owned(),
    };
    rejection(reason)
}

/// Rejects a peer whose server was not started by its supervisor.
pub(crate) async fn reject_unstarted(stream: BoxedStream, options: &ServerOptions, error: String) {
    let reason = match options.error_details {
        true => format!("{NOT_STARTED}: {error}"),
        false => NOT_STARTED.to_owned(),
    };
    reject(stream, options, &rejection(reason)).await;
}

fn rejection(reason: String) -> String {
    let retry_after = None;
    Rejection {
        reason,
        retry_after,
    }
    .to_string()
}

/// Sends an error packet that belongs to no call, and closes the connection. As it is the first packet
/// that the peer receives, no client can mistake it for a part of another one.
pub(crate) async fn reject(stream: BoxedStream, options: &ServerOptions, message: &str) {
    let codec = options.codec();
    let mut link = Link::new(stream, codec.max_payload);
    if let Err(error) = codec.term(link.out(), Kind::Error, message, UNLIMITED) {
        tracing::warn!(target: "erps", %error, "an error packet could not be sent");
    }
    link.close().await;
}
