//! A word to a peer that gets no server.

use super::ServerOptions;
use crate::{
    link::Link,
    transport::BoxedStream,
    wire::{codec::UNLIMITED, packet::Kind},
};

/// Sends an error packet that belongs to no call, and closes the connection. It is the first packet
/// that the peer receives, so that no client can take it for a part of another.
pub(crate) async fn refuse(stream: BoxedStream, options: &ServerOptions, message: &str) {
    let codec = options.codec();
    let mut link = Link::new(stream, codec.max_payload);
    if let Err(error) = codec.term(link.out(), Kind::Error, message, UNLIMITED) {
        tracing::warn!(target: "erps", %error, "an error packet could not be sent");
    }
    link.close().await;
}
