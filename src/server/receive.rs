//! Decoding of packets into calls and casts, and rejection of invalid ones.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    ExitReason, Protocol, ReplyTo,
    link::Large,
    reply::{Ends, RemoteCaller},
    send_queue::{PacketClass, SendQueue},
    task,
    wire::{
        codec::{Codec, UNLIMITED},
        decoder::FrameError,
        etf::{self, Checked, DecodeError, Element},
        packet::{Acceptance, Kind, Packet, Rejection},
    },
};

/// The maximum length of the reference of a call, in bytes. Those of Erlang nodes have up to about 300.
pub(super) const MAX_REFERENCE: usize = 1024;

/// A message from the peer.
pub(super) enum Incoming<P: Protocol> {
    Call(P::Call, ReplyTo<P::Reply>),
    Cast(P::Cast),
    /// Nothing more is read.
    Ended(ExitReason),
}

/// A decoded packet: its message, or `None` if it was handled; an error if the connection must be closed.
type Received<P> = Result<Option<Incoming<P>>, ProtocolError>;

/// Checks and decodes packets, and sends error packets for invalid ones.
pub(super) struct Receiver {
    pub(super) acceptance: Acceptance,
    pub(super) codec: Codec,
    pub(super) send_queue: Arc<SendQueue>,
    pub(super) ends: Ends,
}

/// A packet that is being decoded off the executor's threads.
pub(super) struct Decoding<P: Protocol>(Option<Pin<Box<Decoded<P>>>>);

type Decoded<P> = dyn Future<Output = Result<Received<P>, task::Panic>> + Send;

impl<P: Protocol> Decoding<P> {
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn start(&mut self, receiver: &Arc<Receiver>, packet: Large) {
        let receiver = Arc::clone(receiver);
        let decode = move || receiver.receive(&packet.join().as_packet());
        self.0 = Some(Box::pin(task::offload(decode)));
    }

    /// Ready with the decoded packet, or with `None` if none is being decoded.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Received<P>, ExitReason>>> {
        let Some(decoding) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let received = std::task::ready!(decoding.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(Some(received.map_err(task::panicked)))
    }
}

impl Receiver {
    /// As [`receive`](Self::receive). The user's `Deserialize` may panic.
    pub(super) fn try_receive<P: Protocol>(
        &self,
        packet: &Packet<'_>,
    ) -> Result<Received<P>, ExitReason> {
        task::catch(|| self.receive(packet))
    }

    fn receive<P: Protocol>(&self, packet: &Packet<'_>) -> Received<P> {
        match packet.header.kind {
            Kind::Keepalive => return Ok(None),
            Kind::Call | Kind::Cast => {}
            kind => return Err(ProtocolError::UnexpectedKind(kind)),
        }
        let refusal = self.acceptance.check(&packet.header).err();
        if let Some(refusal) = &refusal {
            let (identifier, version) = (&packet.header.identifier, packet.header.version);
            tracing::debug!(target: "erps", %refusal, %identifier, %version, "a packet was rejected");
        }
        match (packet.header.kind, refusal) {
            (Kind::Cast, refusal) => self.receive_cast(packet.payload, refusal),
            (_, refusal) => self.receive_call(packet.payload, refusal),
        }
    }

    fn receive_cast<P: Protocol>(&self, payload: &[u8], refusal: Option<Rejection>) -> Received<P> {
        let why = match (etf::check(payload, &self.codec.limits), refusal) {
            (_, Some(refusal)) => refusal.to_string(),
            (Err(error), None) => invalid_term(error)?,
            (Ok(checked), None) => match checked.decode() {
                Ok(cast) => return Ok(Some(Incoming::Cast(cast))),
                Err(error) => format!("cast not understood: {error}"),
            },
        };
        send_error(&self.send_queue, &why);
        Ok(None)
    }

    fn receive_call<P: Protocol>(&self, payload: &[u8], refusal: Option<Rejection>) -> Received<P> {
        let refusal = refusal.map(|refusal| refusal.to_string());
        let checked = match etf::check(payload, &self.codec.limits) {
            Ok(checked) => checked,
            Err(error) => {
                self.reject_call(payload, error, refusal)?;
                return Ok(None);
            }
        };
        let Some((reference, request)) = self.split_call(&checked, refusal.as_deref()) else {
            return Ok(None);
        };
        let caller = self.caller(reference.as_bytes());
        let why = match (refusal, request.decode()) {
            (Some(refusal), _) => refusal,
            (None, Err(error)) => format!("call not understood: {error}"),
            (None, Ok(call)) => {
                let from = ReplyTo::remote(caller, &request, &self.ends);
                return Ok(Some(Incoming::Call(call, from)));
            }
        };
        caller.refuse(&why);
        Ok(None)
    }

    /// Rejects a call whose payload is no valid term.
    fn reject_call(
        &self,
        payload: &[u8],
        error: DecodeError,
        refusal: Option<String>,
    ) -> Result<(), ProtocolError> {
        let why = refusal.map_or_else(|| invalid_term(error), Ok)?;
        // If the reference is valid, the caller fails at once instead of timing out.
        match etf::first_of_pair(payload, MAX_REFERENCE) {
            Some(reference) => self.caller(&reference[1..]).refuse(&why),
            None => send_error(&self.send_queue, &why),
        }
        Ok(())
    }

    /// Returns the reference and the request of a call. Sends an error packet if there are none.
    fn split_call<'a>(
        &self,
        checked: &'a Checked<'_>,
        refusal: Option<&str>,
    ) -> Option<(Element<'a>, Element<'a>)> {
        let Some((reference, request)) = checked.pair() else {
            let not_a_pair = "the payload of a call is a pair {reference, request}";
            send_error(&self.send_queue, refusal.unwrap_or(not_a_pair));
            return None;
        };
        if reference.as_bytes().len() > MAX_REFERENCE {
            let why = format!("the reference of a call may have up to {MAX_REFERENCE} bytes");
            send_error(&self.send_queue, &why);
            return None;
        }
        Some((reference, request))
    }

    fn caller(&self, reference: &[u8]) -> RemoteCaller {
        RemoteCaller::new(Arc::clone(&self.send_queue), reference)
    }
}

/// Returns the message for the sender of an invalid payload, or an error if the connection must be closed.
fn invalid_term(error: DecodeError) -> Result<String, ProtocolError> {
    if error.is_executable() {
        return Err(ProtocolError::Executable(error));
    }
    Ok(format!(
        "the payload is not a term that is taken here: {error}"
    ))
}

/// Sends an error packet that belongs to no call.
pub(super) fn send_error(send_queue: &SendQueue, message: &str) {
    let encode =
        |codec: &Codec, out: &mut Vec<u8>| codec.term(out, Kind::Error, message, UNLIMITED);
    if let Err(error) = send_queue.send(PacketClass::Error, encode) {
        tracing::warn!(target: "erps", %error, "an error packet could not be sent");
    }
}

/// A violation of the protocol by the peer, after which its connection is closed. The peer received an
/// error packet.
///
/// The [`ExitReason::Error`] of the connection's server holds it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The peer sent bytes that are not a packet, or a packet over the limit.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The peer sent a kind of packet that only servers send.
    #[error("a server accepts calls, casts and keepalives, not packets of kind {0:?}")]
    UnexpectedKind(Kind),
    /// The peer sent a term that contains a function or a port.
    #[error("{0}")]
    Executable(DecodeError),
    /// The peer sent no packet within this time.
    #[error("no packet was received within {0:?}")]
    FirstPacketTimeout(Duration),
    /// The peer began a packet and did not complete it within this time.
    #[error("a packet was not completed within {0:?}")]
    PacketTimeout(Duration),
    /// The peer did not read for this time while packets were being sent to it.
    #[error("the peer did not read within {0:?}")]
    WriteTimeout(Duration),
}
