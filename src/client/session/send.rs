//! The sending half of a session: moves packets from the queue to the link and writes them.
//!
//! ```text
//! queue --take--> link buffer --poll_write--> socket          until the buffer is empty, then again
//!            +--> link encoder --poll_encode--> link buffer   one large packet at a time
//! ```

use std::task::{Context, Poll};

use super::{End, SENDS, Session};
use crate::{client::queue::Popped, task};

impl Session<'_> {
    /// Moves what is queued to the link and writes what can be written now.
    pub(super) fn send(&mut self, cx: &mut Context<'_>) -> Option<End> {
        for _ in 0..SENDS {
            let may_take = self.may_take();
            let took = match self.take(cx, may_take) {
                Ok(took) => took,
                Err(end) => return Some(end),
            };
            match self.link.poll_write(cx) {
                Poll::Ready(Ok(())) => {
                    self.stalled = None;
                    if std::mem::take(&mut self.pause_due) {
                        self.next_send = self.timing.pause.map(|pause| task::now() + pause);
                    }
                    match self.link.poll_encode(cx) {
                        Ok(true) => {
                            self.pause_due = self.encoding_pause;
                            continue;
                        }
                        Ok(false) => {}
                        Err(panic) => return Some(End::Exit(task::panicked(panic))),
                    }
                    // The queue is empty, or the next packet has to wait. A link that was full has space now.
                    let waits = self.next_send.is_some() || self.link.is_encoding();
                    if !took && (may_take || waits) {
                        return None;
                    }
                }
                Poll::Ready(Err(error)) => return Some(self.write_failed(cx, error)),
                Poll::Pending => {
                    let written = self.link.written();
                    if self.stalled.is_none_or(|(_, before)| before != written) {
                        self.stalled = Some((task::now(), written));
                    }
                    return None;
                }
            }
        }
        // The server reads as fast as the session writes: other tasks of the thread run first.
        cx.waker().wake_by_ref();
        None
    }

    /// Returns true if packets may be moved from the queue to the link.
    fn may_take(&self) -> bool {
        match self.timing.pause {
            None => self.link.may_append(),
            Some(_) => self.next_send.is_none() && self.link.is_flushed(),
        }
    }

    /// Moves packets from the queue to the link, if `may_take`, and returns whether it did. Registers the task to be
    /// woken when more are queued.
    fn take(&mut self, cx: &mut Context<'_>, may_take: bool) -> Result<bool, End> {
        let one_at_a_time = self.shared.limits.one_at_a_time;
        let mut state = self.shared.state();
        if !state.connection_wanted && !self.draining {
            return Err(End::Disconnected);
        }
        if !self.draining {
            state.answer_connect_waiters(&Ok(()));
        }
        state.clock.follow();
        state.wait(cx);
        let had_space = self.shared.has_space(&state);
        let mut took = false;
        while may_take
            && self.link.may_append()
            && let Some(reference) = state.queue.front()
        {
            if one_at_a_time && (took || state.pending.sent() > 0) {
                break;
            }
            let wanted = match reference {
                Some(_) if state.pending.sent() >= self.shared.limits.in_flight => break,
                Some(reference) => state.pending.mark_sent(reference),
                None => true,
            };
            match state.queue.pop() {
                Some(packet) if wanted => {
                    self.append(packet, reference.is_none());
                    took = true;
                }
                // The lock is released first: the job holds the user's values.
                Some(Popped::Unencoded(unwanted)) => {
                    drop(state);
                    drop(unwanted);
                    state = self.shared.state();
                }
                _ => {}
            }
        }
        state.queue.tidy();
        let has_space = self.shared.has_space(&state);
        drop(state);
        if !had_space && has_space {
            self.shared.notify();
        }
        Ok(took)
    }

    fn append(&mut self, packet: Popped<'_>, pause: bool) {
        let out = self.link.out();
        match packet {
            Popped::Small(bytes) => out.extend_from_slice(bytes),
            Popped::Large(bytes) if out.is_empty() => *out = bytes,
            Popped::Large(bytes) => out.extend_from_slice(&bytes),
            Popped::Unencoded(encode) => {
                self.link.encode(encode);
                self.encoding_pause = pause;
                return;
            }
        }
        self.pause_due |= pause;
    }
}
