//! The buffers between rustls and a socket, in both directions.

use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, IoSlice, Read as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_lite::{AsyncRead, AsyncWrite};

use crate::{BoxedStream, task::BUDGET};

/// The largest read or write of one system call. rustls alone would read 4 KiB at a time, and write each record
/// separately.
const CAPACITY: usize = 64 * 1024;

/// The fixed cost of a record, in bytes: decrypting one takes as long as decrypting some hundred bytes more.
const RECORD: usize = 512;

/// A buffered socket, for few large system calls.
///
/// - It reads what the socket has, and passes it to rustls record by record. After 64 KiB of work it yields: a peer
///   may send records of one byte, or of none.
/// - It writes to the socket on flush, or when 64 KiB are buffered.
///
/// It allocates only while it holds bytes, so an idle connection has no buffers.
pub(super) struct Buffered {
    io: BoxedStream,
    unread: VecDeque<u8>,
    unsent: VecDeque<u8>,
    /// True during the handshake: a flush then writes nothing, the next read does.
    pub(super) handshaking: bool,
    /// How many bytes of the present record rustls has not read.
    left: usize,
    /// How many records rustls has begun to read.
    pub(super) begun: usize,
    /// The cost of the records that were begun since the last yield.
    spent: usize,
    /// How many records rustls has processed without an event: it reads the next record only after one that is
    /// valid, and neither application data nor `close_notify`.
    pub(super) processed: usize,
}

impl Buffered {
    pub(super) fn new(io: BoxedStream) -> Self {
        Self {
            io,
            unread: VecDeque::new(),
            unsent: VecDeque::new(),
            handshaking: true,
            left: 0,
            begun: 0,
            spent: 0,
            processed: 0,
        }
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Writes all buffered bytes to the socket.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, self.unsent.as_slices().0))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => drop(self.unsent.drain(..count)),
            }
        }
        self.unsent = VecDeque::new();
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Reads from the socket. Ready with the number of bytes, 0 at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        thread_local! {
            static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        if self.handshaking {
            // A peer that rejects this end may have closed already, so that sending fails. Its alert can still
            // be read.
            let _ = self.poll_send(cx);
        }
        // Taken, not borrowed: the inner stream may be a `Buffered` too.
        let mut buffer = BUFFER.take();
        buffer.resize(CAPACITY, 0);
        let result = Pin::new(&mut self.io).poll_read(cx, &mut buffer);
        if let Poll::Ready(Ok(count)) = result {
            self.unread.extend(&buffer[..count]);
        }
        BUFFER.set(buffer);
        result
    }

    /// Waits until bytes of a record can be read. Ready with the record's unread length, 0 at the end.
    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.left > 0 {
            while self.unread.is_empty() {
                if ready!(self.poll_fill(cx))? == 0 {
                    return Poll::Ready(Ok(0));
                }
            }
            return Poll::Ready(Ok(self.left));
        }
        self.processed = self.begun;
        // A record has a header of five bytes; the last two are the length of the rest.
        while self.unread.len() < 5 {
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(self.unread.len()));
            }
        }
        if self.spent >= BUDGET {
            self.spent = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.begun += 1;
        self.left = 5 + usize::from(u16::from_be_bytes([self.unread[3], self.unread[4]]));
        self.spent += RECORD + self.left;
        Poll::Ready(Ok(self.left))
    }
}

impl AsyncRead for Buffered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let limit = ready!(this.poll_record(cx))?.min(buf.len());
        let count = this.unread.read(&mut buf[..limit])?;
        this.left = this.left.saturating_sub(count);
        if this.unread.is_empty() {
            this.unread = VecDeque::new();
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Buffered {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// Accepts all bytes or none. futures-rustls tries to write an alert only once, so it must not be cut.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.unsent.len() >= CAPACITY {
            ready!(this.poll_send(cx))?;
        }
        for buf in bufs {
            this.unsent.extend(&**buf);
        }
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.handshaking {
            true => Poll::Ready(Ok(())),
            false => self.get_mut().poll_send(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let sent = ready!(this.poll_send(cx));
        let closed = ready!(Pin::new(&mut this.io).poll_close(cx));
        Poll::Ready(sent.and(closed))
    }
}
