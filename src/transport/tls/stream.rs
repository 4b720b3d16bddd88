//! A TLS connection: the handshake, reading and writing.
//!
//! futures-rustls moves the bytes between rustls and a [`Buffered`] socket. This module adds:
//!
//! - A client waits until the server has accepted its certificate.
//! - A read returns all buffered data. After a failure every read returns the same error, a [`HandshakeError`].
//! - Each call of `write` begins a TLS record, which Elixir's erps relies on.

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

use super::{buffer::Buffered, fault::handshake_error};
use crate::{BoxedStream, HandshakeError, PeerIdentity, Untrusted, task};

pub(super) struct TlsStream {
    inner: futures_rustls::TlsStream<Buffered>,
    /// A byte that was read while waiting for the server's acceptance.
    early: Option<u8>,
    /// Further writes fail.
    closing: bool,
    /// The error that closed the connection. Every later read returns it.
    failed: Option<HandshakeError>,
}

impl TlsStream {
    /// Performs the server's handshake. On a failure the client was sent an alert.
    pub(super) async fn accept(
        config: Arc<ServerConfig>,
        io: BoxedStream,
    ) -> Result<Self, HandshakeError> {
        let shaken = TlsAcceptor::from(config).accept(Buffered::new(io));
        let mut stream = match shaken.into_fallible().await {
            Ok(inner) => Self::new(inner.into()),
            Err((error, io)) => return Err(send_alert(error, io).await),
        };
        stream.finish_handshake().await?;
        Ok(stream)
    }

    /// Performs the client's handshake, and waits until the server has accepted this end's certificate, or
    /// `settle_time` is over. On a failure the server was sent an alert.
    ///
    /// A TLS 1.2 server verifies the client's certificate before the handshake completes. With TLS 1.3 the client
    /// completes its handshake before the server has seen the certificate.
    ///
    /// ```text
    /// client                                          server
    ///        <-- ... certificate, finished              has not seen the client's certificate
    ///  certificate, finished, key update -->            verifies it
    ///        <-- a ticket, a key update, or data        has accepted it
    ///        <-- an alert                               has rejected it
    /// ```
    ///
    /// So the first record after the server's `finished` tells whether the certificate was accepted: an alert means
    /// no, every other record yes. Most servers, this library's too, send a session ticket. A server that sends
    /// none may answer the key update: Erlang's does so at once, others only with their next data. For these the
    /// wait is limited to `settle_time` plus the time that the handshake took.
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
            Err((error, io)) => return Err(send_alert(error, io).await),
        };
        let (_, session) = inner.get_mut();
        let may_be_rejected = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if may_be_rejected {
            // Queues a key update, which is sent together with `finished`.
            let _ = session.refresh_traffic_keys();
        }
        let mut stream = Self::new(inner.into());
        if may_be_rejected {
            let limit = settle_time.saturating_add(task::now().duration_since(start));
            if let Ok(accepted) = task::timeout(limit, stream.wait_until_accepted()).await {
                accepted?;
            }
        }
        // If the flush fails, the next read returns why.
        let _ = stream.finish_handshake().await;
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
    async fn wait_until_accepted(&mut self) -> Result<(), HandshakeError> {
        self.flush().await?;
        let before = self.inner.get_ref().0.begun;
        let mut byte = [0];
        poll_fn(|cx| {
            match Pin::new(&mut *self).poll_read(cx, &mut byte) {
                Poll::Ready(Ok(1)) => self.early = Some(byte[0]),
                // The next read handles what follows that record.
                _ if self.inner.get_ref().0.processed > before => {}
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(HandshakeError::Closed)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Sends the last records of the handshake. From now on a flush writes to the socket.
    async fn finish_handshake(&mut self) -> io::Result<()> {
        self.inner.get_mut().0.handshaking = false;
        self.inner.flush().await
    }

    /// Returns the identity in the peer's verified certificate.
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

/// Tries once to send the buffered alert, and closes the connection. Converts the error.
async fn send_alert(error: io::Error, mut io: Buffered) -> HandshakeError {
    let _ = futures_lite::future::poll_once(io.close()).await;
    handshake_error(&error, io.processed > 0).unwrap_or_else(|| error.into())
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // futures-rustls would return 0, the end of the stream.
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
        // futures-rustls stops after 4 KiB of records. Read all that is buffered.
        while filled == 0 || filled < buf.len() && this.inner.get_ref().0.has_unread() {
            match Pin::new(&mut this.inner).poll_read(cx, &mut buf[filled..]) {
                Poll::Ready(Ok(count)) if count > 0 => filled += count,
                Poll::Ready(Err(error)) if error.kind() != UnexpectedEof => {
                    // Sends the alert.
                    let _ = this.inner.get_mut().0.poll_send(cx);
                    this.failed = handshake_error(&error, true);
                    if filled > 0 {
                        break;
                    }
                    if this.inner.get_ref().1.wants_read() {
                        let error = this.failed.clone().map_or(error, io::Error::from);
                        return Poll::Ready(Err(error));
                    }
                    // futures-rustls has not returned the data that came before the error.
                }
                Poll::Pending if filled == 0 => return Poll::Pending,
                // A missing `close_notify` is no error: a truncated packet is detected by its length.
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
            // With a half-full buffer rustls would split a packet into records of any size. Its header must be in
            // one record.
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
            // The peer has closed the connection already.
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
