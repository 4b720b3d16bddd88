//! The calls that wait for their replies.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::{Duration, Instant},
};

use futures_channel::oneshot;

use super::{CallError, NotConnected};
use crate::wire::etf::Checked;

/// The sending end of a call's one outcome.
pub(super) type ReplySender = oneshot::Sender<Result<Checked<'static>, CallError>>;

/// Pending calls by reference. Each gets exactly one outcome.
#[derive(Debug, Default)]
pub(super) struct Pending {
    calls: HashMap<u64, Call>,
    /// May hold entries of finished calls; they are removed when they reach the top.
    deadlines: BinaryHeap<Reverse<(Instant, u64)>>,
    /// How many of `calls` were sent.
    sent: usize,
}

#[derive(Debug)]
struct Call {
    /// `None` if the caller has dropped its future, or the call has timed out.
    caller: Option<ReplySender>,
    sent: bool,
    /// The call has timed out and still blocks the calls behind it.
    overdue: bool,
}

/// How long a server that takes one packet at a time may work on a call after its timeout. Until then the client
/// sends nothing else; then it closes the connection.
const OVERDUE_LIMIT: Duration = Duration::from_secs(30);

impl Pending {
    /// Returns how many calls were sent and have neither a reply nor a timeout.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    pub(super) fn insert(
        &mut self,
        reference: u64,
        caller: ReplySender,
        deadline: Option<Instant>,
    ) {
        let call = Call {
            caller: Some(caller),
            sent: false,
            overdue: false,
        };
        self.calls.insert(reference, call);
        // Entries of finished calls below one that is pending must not add up.
        if self.deadlines.len() > 2 * self.calls.len() + 64 {
            let calls = &self.calls;
            self.deadlines
                .retain(|Reverse((_, reference))| calls.contains_key(reference));
        }
        if let Some(deadline) = deadline {
            self.deadlines.push(Reverse((deadline, reference)));
        }
    }

    /// Marks a call as sent. Returns false if it is no longer pending and must not be sent.
    pub(super) fn mark_sent(&mut self, reference: u64) -> bool {
        match self.calls.get_mut(&reference) {
            Some(call) => {
                call.sent = true;
                self.sent += 1;
                true
            }
            None => false,
        }
    }

    /// Removes a call and returns where its outcome goes; `None` if nothing waits for the outcome.
    pub(super) fn take(&mut self, reference: u64) -> Option<ReplySender> {
        let call = self.calls.remove(&reference)?;
        self.sent -= usize::from(call.sent);
        call.caller
    }

    /// Handles a caller that has dropped its future. An unsent call is removed; a sent one counts as in flight until
    /// its reply or its timeout, because the server still works on it.
    pub(super) fn abandon(&mut self, reference: u64) {
        if let Some(call) = self.calls.get_mut(&reference) {
            if call.sent {
                call.caller = None;
            } else {
                self.calls.remove(&reference);
            }
        }
    }

    /// Returns the call in flight, if there is exactly one.
    pub(super) fn only_sent(&self) -> Option<u64> {
        let mut sent = self.calls.iter().filter(|(_, call)| call.sent);
        match (sent.next(), sent.next()) {
            (Some((reference, _)), None) => Some(*reference),
            _ => None,
        }
    }

    /// Returns the earliest deadline of a pending call.
    pub(super) fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(Reverse((deadline, reference))) = self.deadlines.peek() {
            if self.calls.contains_key(reference) {
                return Some(*deadline);
            }
            self.deadlines.pop();
        }
        None
    }

    /// Times out the calls whose deadline has passed. Returns false if the connection has to be closed.
    ///
    /// If the server takes one packet at a time, a sent call keeps its place after its timeout: a second packet might
    /// reach the server together with a third.
    pub(super) fn expire(&mut self, now: Instant, one_at_a_time: bool) -> bool {
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            let Some(Reverse((_, reference))) = self.deadlines.pop() else {
                break;
            };
            let Some(call) = self.calls.get_mut(&reference) else {
                continue;
            };
            let sent = call.sent;
            if let Some(caller) = call.caller.take() {
                let _ = caller.send(Err(CallError::TimedOut { sent }));
            }
            if !(one_at_a_time && sent) {
                self.take(reference);
            } else if std::mem::replace(&mut call.overdue, true) {
                return false;
            } else if let Some(later) = now.checked_add(OVERDUE_LIMIT) {
                self.deadlines.push(Reverse((later, reference)));
            }
        }
        true
    }

    /// Fails all calls, in the order they were made, because the connection is closed. `served` is false if the
    /// server has certainly handled none of the calls that were sent.
    pub(super) fn fail(&mut self, served: bool, why: &NotConnected) {
        let mut calls: Vec<_> = self.calls.drain().collect();
        calls.sort_unstable_by_key(|(reference, _)| *reference);
        for (_, call) in calls {
            if let Some(caller) = call.caller {
                let _ = caller.send(Err(if call.sent && served {
                    CallError::Lost
                } else {
                    CallError::Disconnected {
                        why: Box::new(why.clone()),
                    }
                }));
            }
        }
        self.deadlines.clear();
        self.sent = 0;
    }
}
