//! What lies between rustls and a socket: bytes that wait, in both directions.

use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, IoSlice, Read as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_lite::{AsyncRead, AsyncWrite};

use crate::{BoxedStream, task::TURN};

/// What one system call may move. rustls alone would read 4 KiB at a time, and write each record
/// by itself.
const CAPACITY: usize = 64 * 1024;

/// What a record costs beside its bytes: to decrypt one takes as long as to decrypt some hundred bytes.
const RECORD: usize = 512;

/// A socket that is asked seldom, for much at once.
///
/// - Reading takes what the socket has, and gives it out record by record. After 64 KiB of work other tasks of the
///   thread have their turn: a peer may send records of one byte, or of none.
/// - What is written leaves when it is flushed, or when 64 KiB have come together.
///
/// It owns memory only while something waits in it: an idle connection has none.
pub(super) struct Buffered {
    io: BoxedStream,
    unread: VecDeque<u8>,
    unsent: VecDeque<u8>,
    /// Until the peer has accepted this end: what is flushed leaves when there is nothing left to do but to
    /// wait for an answer.
    pub(super) shaking: bool,
    /// How much of the present record has not been given out.
    left: usize,
    /// How many records have been given out, begun at least.
    pub(super) begun: usize,
    /// What was given out since this last yielded.
    given: usize,
    /// How many of these rustls has asked for the next one after. It does so only if it could make
    /// sense of a record, and if that was neither data nor the peer's farewell.
    pub(super) understood: usize,
}

impl Buffered {
    pub(super) fn new(io: BoxedStream) -> Self {
        Self {
            io,
            unread: VecDeque::new(),
            unsent: VecDeque::new(),
            shaking: true,
            left: 0,
            begun: 0,
            given: 0,
            understood: 0,
        }
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Writes to the socket until nothing is left.
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
            static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        if self.shaking {
            // A peer that refuses this end may have closed already, so that sending fails. Why it
            // did so is still there to be read.
            let _ = self.poll_send(cx);
        }
        // Taken, not borrowed: the stream below may be another of these.
        let mut room = ROOM.take();
        room.resize(CAPACITY, 0);
        let result = Pin::new(&mut self.io).poll_read(cx, &mut room);
        if let Poll::Ready(Ok(count)) = result {
            self.unread.extend(&room[..count]);
        }
        ROOM.set(room);
        result
    }

    /// Waits for something to give out. Ready with the number of bytes, 0 at the end.
    fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.left > 0 {
            while self.unread.is_empty() {
                if ready!(self.poll_fill(cx))? == 0 {
                    return Poll::Ready(Ok(0));
                }
            }
            return Poll::Ready(Ok(self.left));
        }
        self.understood = self.begun;
        // A record has a header of five bytes, the last two of which say how many follow.
        while self.unread.len() < 5 {
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(self.unread.len()));
            }
        }
        if self.given >= TURN {
            self.given = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.begun += 1;
        self.left = 5 + usize::from(u16::from_be_bytes([self.unread[3], self.unread[4]]));
        self.given += RECORD + self.left;
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
        let limit = ready!(this.poll_some(cx))?.min(buf.len());
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

    /// Takes all or nothing. An alert that follows other records is thus not left behind:
    /// futures-rustls tries to write it only once.
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
        match self.shaking {
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
