//! A TLS connection over a stream: the handshake, and what follows it.
//!
//! futures-rustls moves the bytes between rustls and a [`Buffered`] socket. This adds what a
//! connection of packets needs beyond that:
//!
//! - A client waits for the sign that its certificate was accepted.
//! - A reader gets all that came together, an error in this library's words, and that again if it
//!   asks again.
//! - Each call of `write` begins a TLS record, which Erlang peers of the original rely on.

use std::{
    future::poll_fn,
    io::{
        self,
        ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof},
    },
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use futures_rustls::{TlsAcceptor, TlsConnector};
use rustls::{ClientConfig, ProtocolVersion, ServerConfig, pki_types::ServerName};

use super::{buffer::Buffered, fault::reported};
use crate::{BoxedStream, HandshakeError, PeerIdentity, Untrusted, task};

pub(super) struct TlsStream {
    inner: futures_rustls::TlsStream<Buffered>,
    /// Data that came as the sign of acceptance.
    early: Option<u8>,
    /// Nothing may be written any more.
    closing: bool,
    /// What ended the connection. Every later read repeats it.
    failed: Option<HandshakeError>,
}

impl TlsStream {
    /// Shakes hands with a client. If it fails, the client has been told why.
    pub(super) async fn accept(
        config: Arc<ServerConfig>,
        io: BoxedStream,
    ) -> Result<Self, HandshakeError> {
        let shaken = TlsAcceptor::from(config).accept(Buffered::new(io));
        let mut stream = match shaken.into_fallible().await {
            Ok(inner) => Self::new(inner.into()),
            Err((error, io)) => return Err(say_goodbye(error, io).await),
        };
        stream.settle().await?;
        Ok(stream)
    }

    /// Shakes hands with a server, and waits until it has accepted this end, or has had
    /// `settle_time` to refuse it. If it fails, the server has been told why.
    ///
    /// A TLS 1.2 server has verified this end's certificate before it lets the handshake complete.
    /// A TLS 1.3 server has not even seen it.
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
    /// answer that only when they have something to say. For these there is the time limit, to
    /// which the time that the handshake took is added.
    pub(super) async fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        io: BoxedStream,
        settle_time: Duration,
    ) -> Result<Self, HandshakeError> {
        let start = task::now();
        let shaken = TlsConnector::from(config).connect(name, Buffered::new(io));
        let mut inner = match shaken.into_fallible().await {
            Ok(inner) => inner,
            Err((error, io)) => return Err(say_goodbye(error, io).await),
        };
        let (_, session) = inner.get_mut();
        let may_be_refused = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if may_be_refused {
            // It travels with our `finished`.
            let _ = session.refresh_traffic_keys();
        }
        let mut stream = Self::new(inner.into());
        if may_be_refused {
            let limit = settle_time.saturating_add(task::now().duration_since(start));
            if let Ok(verdict) = task::timeout(limit, stream.accepted()).await {
                verdict?;
            }
        }
        // If it cannot be sent, the next reader finds out why.
        let _ = stream.settle().await;
        Ok(stream)
    }

    fn new(inner: futures_rustls::TlsStream<Buffered>) -> Self {
        Self {
            inner,
            early: None,
            closing: false,
            failed: None,
        }
    }

    /// Waits for the first record that is not an alert.
    async fn accepted(&mut self) -> Result<(), HandshakeError> {
        self.flush().await?;
        let before = self.inner.get_ref().0.begun;
        let mut byte = [0];
        poll_fn(|cx| {
            match Pin::new(&mut *self).poll_read(cx, &mut byte) {
                Poll::Ready(Ok(1)) => self.early = Some(byte[0]),
                // Whatever has come after that record is for the reader to find out.
                _ if self.inner.get_ref().0.understood > before => {}
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(HandshakeError::Closed)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Sends what the handshake has left, and ends the special ways of its time.
    async fn settle(&mut self) -> io::Result<()> {
        self.inner.get_mut().0.shaking = false;
        self.inner.flush().await
    }

    /// Who has proved to hold the key of the peer's certificate.
    pub(super) fn identity(&self) -> Result<PeerIdentity, HandshakeError> {
        let (_, session) = self.inner.get_ref();
        let Some(certificate) = session.peer_certificates().and_then(<[_]>::first) else {
            return Err(HandshakeError::Untrusted(Untrusted::NoCertificate));
        };
        PeerIdentity::from_der(certificate).map_err(|error| {
            HandshakeError::Untrusted(Untrusted::BadCertificate(error.to_string()))
        })
    }
}

/// Sends what is left to say, without waiting, and ends the connection. Says why.
async fn say_goodbye(error: io::Error, mut io: Buffered) -> HandshakeError {
    let _ = futures_lite::future::poll_once(io.close()).await;
    reported(&error, io.understood > 0).unwrap_or_else(|| error.into())
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // futures-rustls would take it for the end.
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if let Some(byte) = this.early.take() {
            buf[0] = byte;
            return Poll::Ready(Ok(1));
        }
        if let Some(error) = &this.failed
            && this.inner.get_ref().1.wants_read()
        {
            return Poll::Ready(Err(error.clone().into()));
        }
        let mut filled = 0;
        // futures-rustls stops after 4 KiB of records. What came together is handed on together.
        while filled == 0 || filled < buf.len() && this.inner.get_ref().0.has_unread() {
            match Pin::new(&mut this.inner).poll_read(cx, &mut buf[filled..]) {
                Poll::Ready(Ok(count)) if count > 0 => filled += count,
                Poll::Ready(Err(error)) if error.kind() != UnexpectedEof => {
                    // The alert that tells the peer.
                    let _ = this.inner.get_mut().0.poll_send(cx);
                    this.failed = reported(&error, true);
                    if filled > 0 {
                        break;
                    }
                    if this.inner.get_ref().1.wants_read() {
                        let error = this.failed.clone().map_or(error, io::Error::from);
                        return Poll::Ready(Err(error));
                    }
                    // futures-rustls passes over the data that came before.
                }
                Poll::Pending if filled == 0 => return Poll::Pending,
                // A peer that is gone without a farewell is gone all the same: packets tell by
                // themselves whether they are whole.
                _ => break,
            }
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
        if this.closing || this.failed.is_some() {
            return Poll::Ready(Err(BrokenPipe.into()));
        }
        if this.inner.get_ref().1.wants_write() {
            // rustls is half full, and would cut a packet into records of any size; a packet's
            // header must come in one.
            ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        }
        Pin::new(&mut this.inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.closing = true;
        Poll::Ready(match ready!(Pin::new(&mut this.inner).poll_close(cx)) {
            // There is nobody left to say goodbye to.
            Err(error)
                if matches!(
                    error.kind(),
                    BrokenPipe | ConnectionAborted | ConnectionReset
                ) =>
            {
                Ok(())
            }
            closed => closed,
        })
    }
}
