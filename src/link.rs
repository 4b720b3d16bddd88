//! Packets over a stream: what both ends do with a connection.
//!
//! A link is polled by one task, which reads and writes in turn. It reads much at once, keeps
//! what it has not used, and writes all that is ready in one go; it holds no buffer while there
//! is nothing in it.

mod encoding;
mod large;
mod meter;

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
pub(crate) use meter::Meter;

/// How long a closing end listens for the peer to close too. Without it, bytes that nobody read
/// would make the system reset the connection, and the peer might lose the last packets.
const LINGER: Duration = Duration::from_secs(1);

/// What a connection may have to write before it stops to write it.
pub(crate) const WRITE_CHUNK: usize = 64 * 1024;

/// The largest write buffer that a connection with nothing to write keeps.
const KEEP: usize = 1024;

/// How many bytes are written before other tasks of the thread run.
const WRITE_TURN: usize = 4 * WRITE_CHUNK;

/// Who may be at the other end of a connection.
///
/// Elixir's erps takes whatever one `recv` returns for one packet: two packets that arrive
/// together are lost, or end its server. With [`Elixir`](Self::Elixir) an end of ours sends so
/// slowly that this cannot happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// An end of this library, or any other that reads packets from a stream.
    #[default]
    Erps,
    /// An end of Elixir's erps 0.7.
    ///
    /// A client then has one call on its way at a time and waits `pause` after a packet that has
    /// no answer; a server waits `pause` between any two packets.
    Elixir {
        /// The original's client reads once in 100 milliseconds and a little more.
        pause: Duration,
    },
}

impl Peer {
    /// [`Elixir`](Self::Elixir) with a pause of 120 milliseconds.
    #[must_use]
    pub const fn elixir() -> Self {
        Self::Elixir {
            pause: Duration::from_millis(120),
        }
    }

    pub(crate) fn pause(self) -> Option<Duration> {
        match self {
            Self::Erps => None,
            // A day is as good as for ever, and can be added to any time.
            Self::Elixir { pause } => Some(pause.min(Duration::from_secs(24 * 60 * 60))),
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The address the connection comes from, or was made to. With
    /// [`proxy_protocol`](crate::DaemonBuilder::proxy_protocol) the one that the proxy has announced.
    pub address: Endpoint,
    /// The proxy that the connection comes through, if it has announced the address.
    pub proxy: Option<Endpoint>,
    /// Which process it is, or its proxy, if that is at a Unix socket and the system tells: Linux and
    /// Android do.
    pub credentials: Option<PeerCredentials>,
    /// What the peer's certificate says of it. `None` without TLS.
    pub identity: Option<PeerIdentity>,
    /// Which of this end's own certificates the connection was made with: the
    /// [generation](crate::Tls::generation) at its handshake. `None` without TLS.
    pub generation: Option<u64>,
}

/// A packet that has arrived.
pub(crate) enum Arrived<'a> {
    /// It costs so many bytes of work, which is within a turn.
    Small(Packet<'a>, usize),
    /// It is to be decoded off the executor's threads.
    Large(Large),
}

pub(crate) struct Link {
    stream: BoxedStream,
    decoder: Decoder,
    /// A large packet that arrives, or has arrived and was not taken.
    large: Option<Large>,
    out: Vec<u8>,
    /// How much of `out` the stream has taken.
    written: usize,
    /// Taken by the stream, and maybe not yet by the socket.
    unflushed: bool,
    /// The packet that follows those in `out`.
    encoding: Encoding,
    meter: Arc<Meter>,
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
            meter: Arc::new(Meter::new(task::now())),
        }
    }

    /// What has gone over the link so far.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The next packet of those that were read.
    pub(crate) fn next_packet(&mut self) -> Result<Option<Arrived<'_>>, FrameError> {
        if let Some(large) = self.large.take_if(|it| it.is_complete()) {
            self.meter.count_packet();
            return Ok(Some(Arrived::Large(large)));
        }
        let Some(packet) = self.decoder.next_packet()? else {
            if self.large.is_none() {
                let unfinished = self.decoder.take_unfinished(READ_CHUNK);
                self.large = unfinished
                    .map(|(header, arrived, missing)| Large::new(header, arrived, missing));
            }
            return Ok(None);
        };
        self.meter.count_packet();
        let (header, payload) = (packet.header, packet.payload.len());
        let cost = etf::cost(packet.payload);
        Ok(Some(if cost > task::TURN {
            let payload = packet.payload.to_vec();
            Arrived::Large(Large::new(header, payload, 0))
        } else {
            Arrived::Small(self.decoder.last_packet(header, payload), cost)
        }))
    }

    /// Whether a packet has begun to arrive and is not complete.
    pub(crate) fn is_midway(&self) -> bool {
        match &self.large {
            Some(large) => !large.is_complete(),
            None => self.decoder.is_midway(),
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
        self.meter.count_read(read);
        Poll::Ready(Ok(read))
    }

    /// Where packets to be sent are appended, once little is left of those before.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        // What was written is not kept until all of a large packet is; and little is moved for it.
        if self.written > 0 && self.unwritten() <= WRITE_CHUNK {
            self.out = self.out.split_off(self.written);
            self.written = 0;
        }
        &mut self.out
    }

    /// Has a packet encoded, which is written after those that are in `out` already.
    pub(crate) fn encode(&mut self, encode: Encode) {
        self.encoding.start(encode);
    }

    /// Whether packets may be appended: there is little to write, and nothing is being encoded.
    pub(crate) fn may_append(&self) -> bool {
        self.unwritten() < WRITE_CHUNK && !self.encoding.is_running()
    }

    /// Whether a packet is being encoded.
    pub(crate) fn is_encoding(&self) -> bool {
        self.encoding.is_running()
    }

    /// How many bytes wait to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.out.len() - self.written
    }

    /// A number that grows whenever something is written.
    pub(crate) fn taken(&self) -> u64 {
        self.meter.written()
    }

    /// Whether everything was handed to the system.
    pub(crate) fn is_flushed(&self) -> bool {
        self.out.is_empty() && !self.unflushed && !self.encoding.is_running()
    }

    /// Appends the packet that is being encoded, if it is ready. Returns whether there is more to write now.
    ///
    /// An error is what the user's `Serialize` panicked with.
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

    /// Writes all there is. Ready when the system has taken it; [`taken`](Self::taken) tells whether
    /// it gets on.
    ///
    /// A peer that takes all at once gets it in several turns.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut turn = WRITE_TURN;
        while self.written < self.out.len() {
            if turn == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let stream = Pin::new(&mut self.stream);
            let end = self.out.len().min(self.written + turn);
            match ready!(stream.poll_write(cx, &self.out[self.written..end]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => {
                    self.written += n;
                    turn -= n;
                    self.meter.count_written(n);
                }
            }
            self.unflushed = true;
        }
        if !self.out.is_empty() {
            self.written = 0;
            if self.out.capacity() > KEEP {
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

    /// Writes what is left, closes the sending half, and waits a moment for the peer to close as well.
    ///
    /// Best effort: the connection may be long gone.
    pub(crate) async fn close(mut self) {
        let farewell = async {
            std::future::poll_fn(|cx| self.poll_write(cx)).await?;
            self.stream.close().await?;
            while std::future::poll_fn(|cx| self.poll_discard(cx)).await? > 0 {
                // A peer that sends without end must not keep the time limit from striking.
                future::yield_now().await;
            }
            io::Result::Ok(())
        };
        let _ = task::timeout(LINGER, farewell).await;
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
