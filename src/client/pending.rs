//! The calls that wait for replies.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::{Duration, Instant},
};

use futures_channel::oneshot;

use super::CallError;

type Answer<R> = oneshot::Sender<Result<R, CallError>>;

/// Calls by their reference. Each gets exactly one outcome.
#[derive(Debug)]
pub(super) struct Pending<R> {
    calls: HashMap<u64, Call<R>>,
    /// May hold calls that are long over; they are dropped when their turn comes.
    deadlines: BinaryHeap<Reverse<(Instant, u64)>>,
    sent: usize,
}

#[derive(Debug)]
struct Call<R> {
    /// `None` if the caller has given up, or has been told that it waited long enough.
    answer: Option<Answer<R>>,
    sent: bool,
    /// Its time was up once, and it still stands in the way of others.
    overdue: bool,
}

/// How long a server that takes one packet at a time may go on with a call that nobody waits for
/// any more. Until then nothing else is sent to it; then the connection is given up.
const PATIENCE: Duration = Duration::from_secs(30);

impl<R> Pending<R> {
    pub(super) fn new() -> Self {
        Self {
            calls: HashMap::new(),
            deadlines: BinaryHeap::new(),
            sent: 0,
        }
    }

    /// How many calls have left and are neither answered nor out of time.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    pub(super) fn insert(&mut self, reference: u64, answer: Answer<R>, deadline: Option<Instant>) {
        let call = Call {
            answer: Some(answer),
            sent: false,
            overdue: false,
        };
        self.calls.insert(reference, call);
        // Calls that are over, and behind one that is not, are cleared out before they add up.
        if self.deadlines.len() > 2 * self.calls.len() + 64 {
            let calls = &self.calls;
            self.deadlines
                .retain(|Reverse((_, reference))| calls.contains_key(reference));
        }
        if let Some(deadline) = deadline {
            self.deadlines.push(Reverse((deadline, reference)));
        }
    }

    /// Notes that the call leaves now. False if nobody wants it any more.
    pub(super) fn send(&mut self, reference: u64) -> bool {
        match self.calls.get_mut(&reference) {
            Some(call) => {
                call.sent = true;
                self.sent += 1;
                true
            }
            None => false,
        }
    }

    /// Ends a call; its outcome goes to whoever is returned. A reply that comes too late finds
    /// nobody.
    pub(super) fn take(&mut self, reference: u64) -> Option<Answer<R>> {
        let call = self.calls.remove(&reference)?;
        self.sent -= usize::from(call.sent);
        call.answer
    }

    /// The caller has given up. What has not left does not leave; what has left counts as in
    /// flight until it is answered or out of time, for the server is still at it.
    pub(super) fn abandon(&mut self, reference: u64) {
        if let Some(call) = self.calls.get_mut(&reference) {
            if call.sent {
                call.answer = None;
            } else {
                self.calls.remove(&reference);
            }
        }
    }

    /// The only call in flight, if there is just one.
    pub(super) fn only_sent(&self) -> Option<u64> {
        let mut sent = self.calls.iter().filter(|(_, call)| call.sent);
        match (sent.next(), sent.next()) {
            (Some((reference, _)), None) => Some(*reference),
            _ => None,
        }
    }

    /// When the first of the calls runs out of time.
    pub(super) fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(Reverse((deadline, reference))) = self.deadlines.peek() {
            if self.calls.contains_key(reference) {
                return Some(*deadline);
            }
            self.deadlines.pop();
        }
        None
    }

    /// Fails the calls that are out of time. False if the connection must be given up.
    ///
    /// If the server takes one packet at a time, a call it has not answered keeps its place: a
    /// second packet might reach the server together with a third.
    pub(super) fn expire(&mut self, now: Instant, one_at_a_time: bool) -> bool {
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            let Some(Reverse((_, reference))) = self.deadlines.pop() else {
                break;
            };
            let Some(call) = self.calls.get_mut(&reference) else {
                continue;
            };
            let sent = call.sent;
            if let Some(answer) = call.answer.take() {
                let _ = answer.send(Err(CallError::TimedOut { sent }));
            }
            if !(one_at_a_time && sent) {
                self.take(reference);
            } else if std::mem::replace(&mut call.overdue, true) {
                return false;
            } else if let Some(later) = now.checked_add(PATIENCE) {
                self.deadlines.push(Reverse((later, reference)));
            }
        }
        true
    }

    /// Fails all calls, in the order they were made: the connection is gone. `served` tells whether there
    /// may have been somebody at its other end who saw those that have left.
    pub(super) fn fail(&mut self, served: bool) {
        let mut calls: Vec<_> = self.calls.drain().collect();
        calls.sort_unstable_by_key(|(reference, _)| *reference);
        for (_, call) in calls {
            if let Some(answer) = call.answer {
                let _ = answer.send(Err(if call.sent && served {
                    CallError::Lost
                } else {
                    CallError::Disconnected
                }));
            }
        }
        self.deadlines.clear();
        self.sent = 0;
    }
}
