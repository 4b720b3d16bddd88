//! Rejection of a peer that gets no server.

use super::ServerOptions;
use crate::{
    link::Link,
    transport::BoxedStream,
    wire::{codec::UNLIMITED, packet::Kind},
};

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
