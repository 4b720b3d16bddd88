//! Rejection of a peer that gets no server.

use super::ServerOptions;
use crate::{
    link::Link,
    transport::BoxedStream,
    wire::{codec::UNLIMITED, packet::Kind, rejection::Rejection},
};

/// What a peer receives whose server did not start. The error may contain internals, and is sent only if
/// [`ServerOptions::error_details`] is set.
pub(super) const NOT_STARTED: &str = "the server could not start";

/// Rejects a peer whose server was not started by its supervisor.
pub(crate) async fn reject_unstarted(stream: BoxedStream, options: &ServerOptions, error: String) {
    let reason = match options.error_details {
        true => format!("{NOT_STARTED}: {error}"),
        false => NOT_STARTED.to_owned(),
    };
    reject(stream, options, &rejection(reason)).await;
}

/// Returns the message by which a client recognizes that it is rejected.
pub(super) fn rejection(reason: String) -> String {
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
