//! Packets over a byte stream, as servers and clients both use them.
//!
//! One task polls a link, for reading and for writing. A read takes up to 64 KiB; packets that are not handled yet
//! stay in the decoder. All pending packets are written together. Idle links have no buffers.

mod encoding;
mod large;
mod stats;

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt as _, future};

use crate::{
    Endpoint,
    encode::Encode,
    task,
    transport::{BoxedStream, PeerCredentials, PeerIdentity},
    wire::{
        decoder::{Decoder, FrameError, READ_CHUNK},
        etf,
        packet::Packet,
    },
};

use encoding::Encoding;
pub(crate) use large::Large;
pub(crate) use stats::LinkStats;

/// How long a closing end waits for the peer to close too, discarding what it sends. If it closed with unread bytes,
/// the system would reset the connection, and the peer could lose the last packets.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Packets are appended to the write buffer until it has this many bytes; then it is written.
pub(crate) const WRITE_CHUNK: usize = 64 * 1024;

/// The largest write buffer that a link with nothing to write keeps.
const MAX_KEPT: usize = 1024;

/// How many bytes are written before the task yields.
const WRITE_BATCH: usize = 4 * WRITE_CHUNK;

/// The implementation at the other end of a connection, and how packets are sent to it.
///
/// Elixir's erps takes the result of one `recv` for one packet. Two packets that arrive together are lost, or crash its
/// server. With [`Elixir`](Self::Elixir) this end sends packets with pauses between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// This library, or any implementation that splits the stream into packets.
    #[default]
    Erps,
    /// Elixir's erps 0.7.
    ///
    /// A client then has at most one call in flight, and waits `pause` after a packet without a reply. A server waits
    /// `pause` between two packets.
    Elixir {
        /// The pause between packets. Elixir's client reads about every 100 milliseconds, so it should be longer.
        pause: Duration,
    },
}

impl Peer {
    /// Returns [`Elixir`](Self::Elixir) with a pause of 120 milliseconds.
    #[must_use]
    pub const fn elixir() -> Self {
        Self::Elixir {
            pause: Duration::from_millis(120),
        }
    }

    pub(crate) fn pause(self) -> Option<Duration> {
        match self {
            Self::Erps => None,
            // At most a day, so that it can be added to any time.
            Self::Elixir { pause } => Some(pause.min(Duration::from_secs(24 * 60 * 60))),
        }
    }
}

/// The peer of a connection: its address, and its identity if it is authenticated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The address of the peer. With [`proxy_protocol`](crate::DaemonBuilder::proxy_protocol) the address that the
    /// proxy has announced.
    pub address: Endpoint,
    /// The address of the proxy, if the peer's address was announced by one.
    pub proxy: Option<Endpoint>,
    /// The process that is connected by a Unix socket: the peer, or its proxy. `None` for other connections, and on
    /// systems other than Linux and Android.
    pub credentials: Option<PeerCredentials>,
    /// The identity in the peer's verified certificate. `None` without TLS.
    pub identity: Option<PeerIdentity>,
    /// The [generation](crate::Tls::generation) of this end's certificates at the handshake. `None` without TLS.
    pub generation: Option<u64>,
}

/// A received packet.
pub(crate) enum ReceivedPacket<'a> {
    /// A packet that is decoded in the task, and its cost in bytes of work.
    Small(Packet<'a>, usize),
    /// A packet that costs more than the task's budget: decode it off the executor's threads.
    Large(Large),
}

/// A connection's stream, its decoder, and its write buffer.
pub(crate) struct Link {
    stream: BoxedStream,
    decoder: Decoder,
    /// A large packet, incomplete or not handled yet.
    large: Option<Large>,
    out: Vec<u8>,
    /// How many bytes of `out` were written to the stream.
    written: usize,
    /// True if bytes were written to the stream and not flushed.
    unflushed: bool,
    /// The packet that follows those in `out`.
    encoding: Encoding,
    stats: Arc<LinkStats>,
}

impl Link {
    pub(crate) fn new(stream: BoxedStream, max_payload: usize) -> Self {
        Self {
            stream,
            decoder: Decoder::new(max_payload),
            large: None,
            out: Vec::new(),
            written: 0,
            unflushed: false,
            encoding: Encoding::default(),
            stats: Arc::new(LinkStats::new(task::now())),
        }
    }

    /// Returns the counters of the link.
    pub(crate) fn stats(&self) -> &Arc<LinkStats> {
        &self.stats
    }

    /// Returns the next complete packet that was read.
    pub(crate) fn next_packet(&mut self) -> Result<Option<ReceivedPacket<'_>>, FrameError> {
        if let Some(large) = self.large.take_if(|it| it.is_complete()) {
            self.stats.count_packet();
            return Ok(Some(ReceivedPacket::Large(large)));
        }
        let Some(packet) = self.decoder.next_packet()? else {
            if self.large.is_none() {
                let unfinished = self.decoder.take_unfinished(READ_CHUNK);
                self.large = unfinished
                    .map(|(header, arrived, missing)| Large::new(header, arrived, missing));
            }
            return Ok(None);
        };
        self.stats.count_packet();
        let (header, payload) = (packet.header, packet.payload.len());
        let cost = etf::cost(packet.payload);
        Ok(Some(if cost > task::BUDGET {
            let payload = packet.payload.to_vec();
            ReceivedPacket::Large(Large::new(header, payload, 0))
        } else {
            ReceivedPacket::Small(self.decoder.last_packet(header, payload), cost)
        }))
    }

    /// Returns whether a packet was received in part.
    pub(crate) fn has_partial_packet(&self) -> bool {
        match &self.large {
            Some(large) => !large.is_complete(),
            None => self.decoder.has_partial_packet(),
        }
    }

    /// Reads once. Ready with the number of bytes, 0 at the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        thread_local! {
            static CHUNK: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_CHUNK]);
        }
        let stream = Pin::new(&mut self.stream);
        let read = match &mut self.large {
            Some(large) if !large.is_complete() => {
                let read = ready!(stream.poll_read(cx, large.spare()))?;
                large.fill(read);
                read
            }
            _ => ready!(
                CHUNK.with_borrow_mut(|chunk| match stream.poll_read(cx, chunk) {
                    Poll::Ready(Ok(n)) => {
                        self.decoder.extend(&chunk[..n]);
                        Poll::Ready(Ok(n))
                    }
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Pending => {
                        self.decoder.release();
                        Poll::Pending
                    }
                })
            )?,
        };
        self.stats.count_read(read);
        Poll::Ready(Ok(read))
    }

    /// Returns the write buffer, to append packets to.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        // Frees the written part, when at most a chunk has to be moved for it.
        if self.written > 0 && self.unwritten() <= WRITE_CHUNK {
            self.out = self.out.split_off(self.written);
            self.written = 0;
        }
        &mut self.out
    }

    /// Starts to encode a packet, to be written after those in `out`.
    pub(crate) fn encode(&mut self, encode: Encode) {
        self.encoding.start(encode);
    }

    /// Returns whether packets may be appended: less than a chunk is unwritten, and no packet is being encoded.
    pub(crate) fn may_append(&self) -> bool {
        self.unwritten() < WRITE_CHUNK && !self.encoding.is_running()
    }

    /// Returns whether a packet is being encoded.
    pub(crate) fn is_encoding(&self) -> bool {
        self.encoding.is_running()
    }

    /// Returns the number of bytes to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.out.len() - self.written
    }

    /// Returns the number of bytes written so far, by which progress is detected.
    pub(crate) fn written(&self) -> u64 {
        self.stats.written()
    }

    /// Returns whether everything was written and flushed.
    pub(crate) fn is_flushed(&self) -> bool {
        self.out.is_empty() && !self.unflushed && !self.encoding.is_running()
    }

    /// Appends the packet that is being encoded, if it is ready. Returns whether it was appended.
    ///
    /// The error is a panic of the user's `Serialize`.
    pub(crate) fn poll_encode(&mut self, cx: &mut Context<'_>) -> Result<bool, task::Panic> {
        match self.encoding.poll(cx) {
            Poll::Ready(Ok(Some(packet))) => {
                let out = self.out();
                if out.is_empty() {
                    *out = packet;
                } else {
                    out.extend_from_slice(&packet);
                }
                Ok(true)
            }
            Poll::Ready(Ok(None)) | Poll::Pending => Ok(false),
            Poll::Ready(Err(panic)) => Err(panic),
        }
    }

    /// Writes and flushes everything. Ready when the system has accepted it; [`written`](Self::written) shows the
    /// progress.
    ///
    /// Yields after each batch, even if the peer reads fast.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut budget = WRITE_BATCH;
        while self.written < self.out.len() {
            if budget == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let stream = Pin::new(&mut self.stream);
            let end = self.out.len().min(self.written + budget);
            match ready!(stream.poll_write(cx, &self.out[self.written..end]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => {
                    self.written += n;
                    budget -= n;
                    self.stats.count_written(n);
                }
            }
            self.unflushed = true;
        }
        if !self.out.is_empty() {
            self.written = 0;
            if self.out.capacity() > MAX_KEPT {
                self.out = Vec::new();
            } else {
                self.out.clear();
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is left, closes the sending half, and waits up to [`CLOSE_TIMEOUT`] for the peer to close too.
    ///
    /// Ignores errors: the connection may be closed already.
    pub(crate) async fn close(mut self) {
        let close = async {
            std::future::poll_fn(|cx| self.poll_write(cx)).await?;
            self.stream.close().await?;
            while std::future::poll_fn(|cx| self.poll_discard(cx)).await? > 0 {
                // Without a yield a peer that keeps sending would delay the timeout.
                future::yield_now().await;
            }
            io::Result::Ok(())
        };
        let _ = task::timeout(CLOSE_TIMEOUT, close).await;
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; 4096];
        Pin::new(&mut self.stream).poll_read(cx, &mut bytes)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("buffered", &self.decoder.buffered())
            .field("unwritten", &self.unwritten())
            .finish_non_exhaustive()
    }
}
