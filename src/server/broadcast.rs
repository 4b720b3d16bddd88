//! Sending one push to the peers of many servers: it is encoded once.

use super::{
    PushError, Server, ServerRef,
    push::{push_error, unsendable},
};
use crate::{
    Protocol,
    send_queue::PacketClass,
    task::{self, BUDGET},
    wire::{
        codec::{Codec, UNLIMITED},
        packet::Kind,
    },
};

/// A push as a packet: once for each codec of the servers that it is sent to.
///
/// The servers of one daemon have the same codec.
pub(crate) struct EncodedPush(Vec<(Codec, Vec<u8>)>);

impl EncodedPush {
    /// Encodes a push for these servers. An error means that it cannot be sent to one of them.
    pub(crate) fn new<S: Server>(
        servers: &[ServerRef<S>],
        push: &<S::Protocol as Protocol>::Push,
    ) -> Result<Self, PushError> {
        let mut encoded = Self::empty(servers);
        encoded.encode::<S>(push, UNLIMITED)?;
        Ok(encoded)
    }

    /// As [`new`](Self::new), but a large push is encoded off the executor's threads.
    pub(crate) async fn offloaded<S: Server>(
        servers: &[ServerRef<S>],
        push: <S::Protocol as Protocol>::Push,
    ) -> Result<Self, PushError> {
        let mut encoded = Self::empty(servers);
        if encoded.encode::<S>(&push, BUDGET)? {
            return Ok(encoded);
        }
        let encode = move || encoded.encode::<S>(&push, UNLIMITED).map(|_| encoded);
        let encoded = task::offload(encode).await;
        encoded.unwrap_or_else(|panic| panic.resume())
    }

    /// Sends the push to the peer of one of the servers, without waiting.
    pub(crate) fn send_to<S: Server>(&self, server: &ServerRef<S>) -> Result<(), PushError> {
        let send_queue = server.send_queue().ok_or(PushError::Disconnected)?;
        let matches = |(codec, _): &&(Codec, _)| codec.encodes_as(send_queue.codec());
        let packet = self.0.iter().find(matches);
        let (_, packet) = packet.expect("it is encoded for this server");
        let sent = send_queue.append_copy(PacketClass::Push, packet);
        sent.map_err(push_error)
    }

    fn empty<S: Server>(servers: &[ServerRef<S>]) -> Self {
        let mut packets: Vec<(Codec, Vec<u8>)> = Vec::new();
        for codec in servers
            .iter()
            .filter_map(|it| Some(it.send_queue()?.codec()))
        {
            if !packets.iter().any(|(it, _)| it.encodes_as(codec)) {
                packets.push((codec.clone(), Vec::new()));
            }
        }
        Self(packets)
    }

    /// Returns false if a packet has a payload of more than `within` bytes.
    fn encode<S: Server>(
        &mut self,
        push: &<S::Protocol as Protocol>::Push,
        within: usize,
    ) -> Result<bool, PushError> {
        for (codec, packet) in &mut self.0 {
            packet.clear();
            if !codec
                .term(packet, Kind::Push, push, within)
                .map_err(unsendable)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
