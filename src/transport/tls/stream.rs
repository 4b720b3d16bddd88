//! A TLS connection over a stream: the handshake, and what follows it.
//!
//! rustls does the TLS and no I/O. This is the I/O: `incoming` holds what the socket has given and
//! rustls has not taken yet, `outgoing` what rustls has made and the socket has not taken yet.
//!
//! - Writing only encrypts. What has been written leaves with `flush`, or when 64 KiB have come
//!   together: many packets, one system call. Each call of `write` begins a TLS record, which
//!   Erlang peers of the original rely on.
//! - Reading takes what there is, decrypts all of it that fits, and waits only when there is none.

use std::{
    future::poll_fn,
    io::{self, Read as _, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_lite::{AsyncRead, AsyncWrite};
use rustls::{Connection, ProtocolVersion};

use super::{buffer::Buffer, fault::explain, records::Records};
use crate::{BoxedStream, HandshakeError, PeerIdentity, Untrusted};

pub(super) struct TlsStream {
    io: BoxedStream,
    session: Connection,
    incoming: Buffer,
    outgoing: Buffer,
    records: Records,
    /// The socket has no more to give.
    ended: bool,
    /// `close_notify` has been queued: nothing may be written any more.
    closing: bool,
    /// What ended the connection. Every later read repeats it.
    failed: Option<HandshakeError>,
}

impl TlsStream {
    pub(super) fn new(io: BoxedStream, session: Connection) -> Self {
        Self {
            io,
            session,
            incoming: Buffer::default(),
            outgoing: Buffer::default(),
            records: Records::default(),
            ended: false,
            closing: false,
            failed: None,
        }
    }

    /// Shakes hands. If it fails, the peer has been told why.
    pub(super) async fn handshake(&mut self) -> Result<(), HandshakeError> {
        poll_fn(|cx| {
            let result = ready!(self.poll_handshake(cx));
            Poll::Ready(result.inspect_err(|_| self.say_goodbye(cx)))
        })
        .await
    }

    /// Tells whether the peer may not even have seen this end's certificate.
    ///
    /// A TLS 1.2 server has verified it before it lets the handshake complete.
    pub(super) fn may_still_be_refused(&self) -> bool {
        matches!(self.session, Connection::Client(_))
            && self.session.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Waits for the sign that a TLS 1.3 server has accepted this client.
    ///
    /// ```text
    /// client                                          server
    ///        <-- ... certificate, finished              its last word before it knows the client
    ///  certificate, finished, key update -->            verifies
    ///        <-- a ticket, a key update, or data        content
    ///        <-- an alert                               not content
    /// ```
    ///
    /// Whatever record comes after the server's `finished` answers the client's certificate: an
    /// alert says no, everything else says yes. Our servers send a ticket on their own, as most do.
    /// A server that sends none may still answer a key update, as Erlang's does at once; others
    /// answer that only when they have something to say. For these the caller sets a time limit.
    pub(super) async fn accepted(&mut self) -> Result<(), HandshakeError> {
        poll_fn(|cx| {
            let result = ready!(self.poll_accepted(cx));
            Poll::Ready(result.inspect_err(|_| self.say_goodbye(cx)))
        })
        .await
    }

    /// Who has proved to hold the key of the peer's certificate.
    pub(super) fn identity(&self) -> Result<PeerIdentity, HandshakeError> {
        let chain = self.session.peer_certificates().unwrap_or_default();
        let Some(certificate) = chain.first() else {
            return Err(HandshakeError::Untrusted(Untrusted::NoCertificate));
        };
        PeerIdentity::from_der(certificate).map_err(|error| {
            HandshakeError::Untrusted(Untrusted::BadCertificate(error.to_string()))
        })
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        loop {
            let sent = ready!(self.poll_send(cx));
            if sent.is_ok() && !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            // A peer that refuses this end may have closed already, so that sending fails. Why
            // it did so is still there to be read.
            if self.incoming.is_empty() {
                ready!(self.poll_fill(cx))?;
            }
            if self.ended {
                sent?;
                return Poll::Ready(Err(HandshakeError::Closed));
            }
            self.take_record()?;
            if self.may_still_be_refused() && !self.session.is_handshaking() {
                // It travels with our `finished`. If it cannot be sent, the next step finds out.
                let _ = self.session.refresh_traffic_keys();
            }
        }
    }

    fn poll_accepted(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        loop {
            while !self.incoming.is_empty() {
                if self.take_record()? {
                    let farewell = !self.session.wants_read() && !self.has_data();
                    return Poll::Ready(match farewell {
                        true => Err(HandshakeError::Closed),
                        false => Ok(()),
                    });
                }
            }
            if self.ended {
                return Poll::Ready(Err(HandshakeError::Closed));
            }
            ready!(self.poll_fill(cx))?;
        }
    }

    /// Sends what is left to say, without waiting, and ends the connection.
    fn say_goodbye(&mut self, cx: &mut Context<'_>) {
        let _ = self.poll_send(cx);
        let _ = Pin::new(&mut self.io).poll_close(cx);
    }

    /// Reads from the socket; only called when everything that came before has been taken.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let room = self.incoming.room();
        let result = Pin::new(&mut self.io).poll_read(cx, room);
        self.incoming.added(match &result {
            Poll::Ready(Ok(count)) => *count,
            _ => 0,
        });
        match result {
            Poll::Ready(Ok(0)) => self.ended = true,
            // rustls gives back the memory of a long record only when it is asked to read.
            Poll::Pending => drop(self.session.read_tls(&mut Dry)),
            Poll::Ready(_) => {}
        }
        result.map_ok(drop)
    }

    /// Writes to the socket until nothing is left, here or in rustls.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.collect()?;
            if self.outgoing.is_empty() {
                return Pin::new(&mut self.io).poll_flush(cx);
            }
            let sent = ready!(Pin::new(&mut self.io).poll_write(cx, self.outgoing.filled()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.consume(sent);
        }
    }

    /// Moves the records that rustls has made to `outgoing`, as far as there is room.
    fn collect(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            if self.session.write_tls(&mut self.outgoing)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Gives rustls what is left of the present record. Tells whether that is now whole.
    ///
    /// Record by record, so that what follows the handshake is known from what ended it.
    fn take_record(&mut self) -> Result<bool, HandshakeError> {
        let (mut rest, whole) = self.records.next(self.incoming.filled());
        while rest > 0 {
            rest -= self.take(rest)?;
        }
        Ok(whole)
    }

    /// Gives rustls at most `limit` bytes and has it make sense of them. Returns how many.
    fn take(&mut self, limit: usize) -> Result<usize, HandshakeError> {
        let understood = self.session.protocol_version().is_some();
        let mut bytes = &self.incoming.filled()[..limit];
        let taken = match self.session.read_tls(&mut bytes) {
            // Nothing after the peer's farewell is of interest.
            Ok(0) => limit,
            Ok(taken) => taken,
            Err(error) => return Err(HandshakeError::Protocol(error.to_string().into())),
        };
        self.incoming.consume(taken);
        match self.session.process_new_packets() {
            Ok(_) => Ok(taken),
            Err(error) => Err(explain(&error, understood)),
        }
    }

    fn has_data(&mut self) -> bool {
        use std::io::BufRead as _;
        self.session
            .reader()
            .fill_buf()
            .is_ok_and(|data| !data.is_empty())
    }

    /// Decrypts some of what has been read, and tells the peer if it is not right.
    fn decrypt(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let idle = self.outgoing.is_empty() && !self.session.wants_write();
        let result = self.take(self.incoming.filled().len());
        // An answer that rustls has made by itself must not wait for the next flush. If a writer
        // waits for the socket already, it will send that too, and must keep its place there.
        if idle && self.session.wants_write() {
            let _ = self.poll_send(cx);
        }
        if let Err(error) = result {
            self.failed = Some(error.clone());
            return Err(error.into());
        }
        Ok(())
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.closing || self.failed.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut filled = 0;
        while filled < buf.len() {
            match this.session.reader().read(&mut buf[filled..]) {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if !this.incoming.is_empty() && this.failed.is_none() {
                let result = this.decrypt(cx);
                if filled == 0 {
                    result?;
                }
                continue;
            }
            if filled > 0 {
                break;
            }
            if let Some(error) = &this.failed {
                return Poll::Ready(Err(error.clone().into()));
            }
            // A peer that is gone without a farewell is gone all the same: packets tell by
            // themselves whether they are whole.
            if this.ended {
                break;
            }
            ready!(this.poll_fill(cx))?;
        }
        Poll::Ready(Ok(filled))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check_writable()?;
        this.collect()?;
        if this.session.wants_write() {
            // Both buffers are full. Half-empty ones would cut a packet into records of any
            // size; a packet's header must come in one.
            ready!(this.poll_send(cx))?;
        }
        let taken = this.session.writer().write(buf)?;
        this.collect()?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closing {
            this.closing = true;
            this.session.send_close_notify();
        }
        let sent = ready!(this.poll_send(cx));
        let closed = ready!(Pin::new(&mut this.io).poll_close(cx));
        Poll::Ready(match sent.and(closed) {
            Err(error) if is_gone(&error) => Ok(()),
            result => result,
        })
    }
}

/// A source that has nothing at present.
struct Dry;

impl io::Read for Dry {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Tells whether there is nobody left to say goodbye to.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected
    )
}
