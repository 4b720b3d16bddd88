//! Writing: from the send queue through the link to the socket.

use std::task::{Context, Poll};

use super::{Connection, FLUSH_TIMEOUT, SENDS};
use crate::{ExitReason, send_queue::Dequeued, task};

impl Connection {
    /// Sends what can be sent now. The task is woken when more can be sent.
    pub(in crate::server) fn poll_send(&mut self, cx: &mut Context<'_>) {
        if self.dead {
            return;
        }
        for _ in 0..SENDS {
            let may_take = self.may_take();
            let took = may_take && self.take(cx);
            match self.link.poll_write(cx) {
                Poll::Ready(Ok(())) => {
                    self.stalled = None;
                    self.unsent_since = task::now();
                    if std::mem::take(&mut self.pause_due) {
                        self.next_send = self.pause.map(|pause| self.unsent_since + pause);
                    }
                    match self.link.poll_encode(cx) {
                        Ok(true) => {
                            self.pause_due = true;
                            continue;
                        }
                        Ok(false) => {}
                        Err(panic) => return self.die(task::panicked(panic)),
                    }
                    // Either there is nothing more, or its time has not come. If the link was only
                    // full, it no longer is.
                    let waits = self.next_send.is_some() || self.link.is_encoding();
                    if !took && (may_take || waits) {
                        return self.poll_drain(cx);
                    }
                }
                Poll::Ready(Err(_)) => return self.die(ExitReason::Disconnected),
                Poll::Pending => {
                    let written = self.link.written();
                    if self.stalled.is_none_or(|(_, before)| before != written) {
                        self.stalled = Some((task::now(), written));
                    }
                    return self.poll_drain(cx);
                }
            }
        }
        // The peer reads as fast as this task writes: it yields to other tasks.
        cx.waker().wake_by_ref();
        self.poll_drain(cx);
    }

    /// Moves packets from the send queue to the link. Returns false if there are none.
    fn take(&mut self, cx: &mut Context<'_>) -> bool {
        match self.send_queue.poll_dequeue(cx, self.link.out()) {
            Poll::Ready(Dequeued::Bytes) => {
                self.pause_due = true;
                true
            }
            Poll::Ready(Dequeued::Encode(packet)) => {
                self.link.encode(packet);
                true
            }
            Poll::Pending => false,
        }
    }

    /// Begins a drain if one was requested, and handles deadlines.
    fn poll_drain(&mut self, cx: &mut Context<'_>) {
        self.drain.begin(self.send_queue.read_until());
        let _ = self.poll_deadlines(cx);
    }

    /// Flushes the send queue within a time limit, and closes the connection.
    pub(in crate::server) async fn close(mut self: Box<Self>) {
        self.send_queue.close();
        let rest = std::future::poll_fn(|cx| {
            self.poll_send(cx);
            if self.dead || (self.send_queue.is_empty() && self.link.is_flushed()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let sent = task::timeout(FLUSH_TIMEOUT, rest).await;
        if !self.dead {
            if sent.is_ok() {
                self.link.stats().set_flushed();
            }
            self.link.close().await;
        }
    }

    /// Returns whether packets may be moved from the send queue to the link.
    fn may_take(&mut self) -> bool {
        match self.pause {
            None => self.link.may_append(),
            Some(_) if !self.link.is_flushed() => false,
            Some(_) => {
                if self.next_send.is_some_and(|at| at <= task::now()) {
                    self.next_send = None;
                }
                self.next_send.is_none()
            }
        }
    }
}
