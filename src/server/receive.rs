//! What a server makes of a packet: a call, a cast, or a refusal.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    ExitReason, Protocol, ReplyTo,
    link::Large,
    outbox::{Outbox, Sort},
    reply::{Ends, RemoteCaller},
    task,
    wire::{
        codec::{Codec, UNLIMITED},
        decoder::FrameError,
        etf::{self, DecodeError},
        packet::{Acceptance, Kind, Packet, Rejection},
    },
};

/// The longest reference of a call that is kept, in bytes. Those of Erlang nodes have up to some
/// three hundred.
pub(super) const MAX_REFERENCE: usize = 1024;

/// What the peer wants.
pub(super) enum Incoming<P: Protocol> {
    Call(P::Call, ReplyTo<P::Reply>),
    Cast(P::Cast),
    /// Nothing more, ever.
    Ended(ExitReason),
}

/// What came of a packet: what it asks for, or `None` if it was dealt with; an error if the connection cannot go on.
type Received<P> = Result<Option<Incoming<P>>, ProtocolError>;

/// What packets are held to, and where refusals go.
pub(super) struct Receiver {
    pub(super) acceptance: Acceptance,
    pub(super) codec: Codec,
    pub(super) outbox: Arc<Outbox>,
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

    /// Ready with what came of the packet, or with `None` if there is none.
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
            tracing::debug!(target: "erps", %refusal, %identifier, %version, "a packet was refused");
        }
        match (packet.header.kind, refusal) {
            (Kind::Cast, refusal) => self.receive_cast(packet.payload, refusal),
            (_, refusal) => self.receive_call(packet.payload, refusal),
        }
    }

    fn receive_cast<P: Protocol>(&self, payload: &[u8], refusal: Option<Rejection>) -> Received<P> {
        let why = match (etf::check(payload, &self.codec.limits), refusal) {
            (_, Some(refusal)) => refusal.to_string(),
            (Err(error), None) => no_term(error)?,
            (Ok(checked), None) => match checked.decode() {
                Ok(cast) => return Ok(Some(Incoming::Cast(cast))),
                Err(error) => format!("cast not understood: {error}"),
            },
        };
        tell(&self.outbox, &why);
        Ok(None)
    }

    fn receive_call<P: Protocol>(&self, payload: &[u8], refusal: Option<Rejection>) -> Received<P> {
        let refusal = refusal.map(|refusal| refusal.to_string());
        let checked = match etf::check(payload, &self.codec.limits) {
            Ok(checked) => checked,
            Err(error) => {
                let why = refusal.map_or_else(|| no_term(error), Ok)?;
                // The caller need not wait for its time-out if the call says who it is.
                match etf::first_of_pair(payload, MAX_REFERENCE) {
                    Some(reference) => self.caller(&reference[1..]).refuse(&why),
                    None => tell(&self.outbox, &why),
                }
                return Ok(None);
            }
        };
        let Some((reference, request)) = checked.pair() else {
            let not_a_pair = || "the payload of a call is a pair {reference, request}".to_owned();
            tell(&self.outbox, &refusal.unwrap_or_else(not_a_pair));
            return Ok(None);
        };
        if reference.as_bytes().len() > MAX_REFERENCE {
            let why = format!("the reference of a call may have up to {MAX_REFERENCE} bytes");
            tell(&self.outbox, &why);
            return Ok(None);
        }
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

    fn caller(&self, reference: &[u8]) -> RemoteCaller {
        RemoteCaller::new(Arc::clone(&self.outbox), reference)
    }
}

/// What the sender of a payload that is refused is told. An error if it is reason enough to end the connection.
fn no_term(error: DecodeError) -> Result<String, ProtocolError> {
    if error.is_executable() {
        return Err(ProtocolError::Executable(error));
    }
    Ok(format!(
        "the payload is not a term that is taken here: {error}"
    ))
}

/// Sends an error packet that belongs to no call.
pub(super) fn tell(outbox: &Outbox, message: &str) {
    let encode =
        |codec: &Codec, out: &mut Vec<u8>| codec.term(out, Kind::Error, message, UNLIMITED);
    if let Err(error) = outbox.send(Sort::Error, encode) {
        tracing::warn!(target: "erps", %error, "an error packet could not be sent");
    }
}

/// What a peer did that its connection could not go on after. The peer was told.
///
/// Found in [`ExitReason::Error`] of the server that had the connection.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// It sent bytes that are no packet, or a packet over the limit.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// It sent a kind of packet that only servers send.
    #[error("a server takes calls, casts and keepalives, not packets of kind {0:?}")]
    UnexpectedKind(Kind),
    /// It sent a function or a port, or a term with one in it.
    #[error("{0}")]
    Executable(DecodeError),
    /// It sent no packet within this time.
    #[error("no packet was sent within {0:?}")]
    FirstPacketTimeout(Duration),
    /// It began a packet and did not complete it within this time.
    #[error("a packet was not completed within {0:?}")]
    PacketTimeout(Duration),
    /// It took nothing of what was sent to it for this time.
    #[error("nothing of what was sent was taken within {0:?}")]
    WriteTimeout(Duration),
}
