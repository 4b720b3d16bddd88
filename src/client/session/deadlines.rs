//! What a session does by the clock.
//!
//! | deadline | set when | when it passes |
//! |---|---|---|
//! | packet | a packet is incomplete | the session ends |
//! | write | the server accepts no bytes | the session ends |
//! | call | a call is pending | the call times out |
//! | keepalive | always | a keepalive packet is queued, if the queue is empty |
//! | pause | a packet without a reply was sent to a server that takes one at a time | sending goes on |

use std::{
    task::{Context, Poll},
    time::Instant,
};

use super::{End, Session};
use crate::{task, wire::packet::KEEPALIVE};

impl Session<'_> {
    /// Ready when a deadline has passed and was handled; with `Some` if it ends the session.
    pub(super) fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let packet = self.incomplete_since;
        let packet = packet.and_then(|since| since.checked_add(self.timing.packet_timeout));
        let write = self.stalled;
        let write = write.and_then(|(since, _)| since.checked_add(self.timing.write_timeout));
        let call = self.shared.state().pending.next_deadline();
        let next = [packet, write, call, self.next_keepalive, self.next_send]
            .into_iter()
            .flatten()
            .min();
        if self.alarm.poll(cx, next).is_pending() {
            return Poll::Pending;
        }
        let now = task::now();
        let has_passed = |deadline: Option<Instant>| deadline.is_some_and(|it| it <= now);
        if has_passed(packet) {
            return broken("the server did not complete a packet in time");
        }
        if has_passed(write) {
            return broken("the server did not read in time");
        }
        if has_passed(self.next_send) {
            self.next_send = None;
        }
        let mut state = self.shared.state();
        if has_passed(call) && !state.pending.expire(now, self.shared.limits.one_at_a_time) {
            return broken("the server takes one packet at a time and does not reply");
        }
        if has_passed(self.next_keepalive) {
            // Any packet proves that the client is alive.
            if state.queue.len() == 0 {
                state.queue.push(&mut KEEPALIVE.to_vec(), None);
            }
            self.next_keepalive = self.timing.keepalive.and_then(|it| now.checked_add(it));
        }
        Poll::Ready(None)
    }
}

fn broken(why: &str) -> Poll<Option<End>> {
    Poll::Ready(Some(End::Broken(why.to_owned())))
}
