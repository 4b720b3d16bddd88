//! The handle to one end of a connection.

use std::{
    fmt, io,
    net::SocketAddr,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_lite::{AsyncRead, AsyncWrite};

use super::{
    connection::{Step, StreamTimeouts},
    state::{Net, State},
};
use crate::{inherit::enlist_owned, resources::Entry, sim::Timer};

/// One end of a connection on a simulated [`Network`](crate::Network).
///
/// Returned by [`Network::connect`](crate::Network::connect) and [`Listener::accept`](super::Listener::accept).
///
/// Closing it closes the sending half: the peer reads to the end of the stream. Dropping it closes both halves. If there is
/// unread data, or data arrives later, the peer's end is reset, as with TCP.
pub struct Stream {
    net: Arc<Net>,
    /// Which connection, and which end of it.
    id: (u64, usize),
    local: SocketAddr,
    peer: SocketAddr,
    abort: bool,
    reading: Option<Timer>,
    writing: Option<Timer>,
    entry: Entry,
}

impl Stream {
    pub(super) fn new(net: &Arc<Net>, id: (u64, usize), ends: (SocketAddr, SocketAddr)) -> Self {
        Self {
            net: Arc::clone(net),
            id,
            local: ends.0,
            peer: ends.1,
            abort: false,
            reading: None,
            writing: None,
            entry: Entry::default(),
        }
    }

    /// Lists it among the live resources of the current universe.
    pub(super) fn enlist(&mut self, what: fmt::Arguments<'_>, at: &'static Location<'static>) {
        self.entry = enlist_owned(what, at);
    }

    /// Returns the address of this end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Returns the address of the other end.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Resets the connection, as `SO_LINGER` of zero seconds does: the peer loses its unread data.
    pub fn abort(mut self) {
        self.abort_on_drop();
    }

    /// Sets the timeouts of this end. Default: none.
    pub fn set_timeouts(&self, timeouts: StreamTimeouts) {
        self.net.with(|state| state.set_timeouts(self.id, timeouts));
    }

    /// Resets the connection when the stream is dropped, instead of closing it.
    pub fn abort_on_drop(&mut self) {
        self.abort = true;
    }
}

/// Repeats an operation until it is done or has to wait.
fn poll<T>(
    net: &Net,
    timer: &mut Option<Timer>,
    cx: &Context<'_>,
    mut step: impl FnMut(&mut State) -> Step<T>,
) -> Poll<io::Result<T>> {
    loop {
        let until = match net.with(&mut step) {
            Step::Done(result) => return Poll::Ready(result),
            Step::Wait(until) => until,
        };
        let Some(until) = until else {
            *timer = None;
            return Poll::Pending;
        };
        let timer = timer.get_or_insert_with(|| Timer::new(Arc::clone(&net.sim), until));
        timer.set_at(until);
        if timer.poll(cx).is_pending() {
            return Poll::Pending;
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        poll(&this.net, &mut this.reading, cx, |state| {
            state.read(this.id, room, cx.waker())
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        poll(&this.net, &mut this.writing, cx, |state| {
            state.write(this.id, bytes, cx.waker())
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.net.with(|state| state.close(self.id)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.net.with(|state| state.drop_end(self.id, self.abort));
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("local", &self.local)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
