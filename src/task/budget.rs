//! How much a task may do before other tasks of its thread run.

use std::task::{Context, Poll};

/// The work of one turn, in bytes of plain payload: 64 KiB. A payload that costs more is handled off the
/// executor's threads, see [`offload`](super::offload).
pub(crate) const TURN: usize = 64 * 1024;

/// What the smallest packet costs: 256 of them make a turn.
const PACKET: usize = TURN / 256;

/// What a read costs, whatever it returns: a system call, or decrypting some records.
const READ: usize = TURN / 8;

/// What of a read's bytes counts as work: an eighth. They are copied, and looked at later.
const READ_SHARE: usize = 8;

/// Counts the work that a task has done since it last yielded. What tokio calls a cooperative budget.
///
/// Work is counted in bytes, not in packets: a packet may be as cheap as a keepalive or as dear as 16 MiB.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    spent: usize,
}

impl Budget {
    /// Counts a packet that costs so many bytes to handle.
    pub(crate) fn count_packet(&mut self, cost: usize) {
        self.spent = self.spent.saturating_add(cost.max(PACKET));
    }

    /// Counts a read that returned so many bytes.
    pub(crate) fn count_read(&mut self, bytes: usize) {
        self.spent = self.spent.saturating_add(READ + bytes / READ_SHARE);
    }

    /// Starts a new turn: the task is about to wait.
    pub(crate) fn refill(&mut self) {
        self.spent = 0;
    }

    /// Whether the work of this turn is done.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent >= TURN
    }

    /// Ready while there is work left in this turn. Otherwise the task is woken for its next turn, and has to
    /// return `Pending`.
    pub(crate) fn poll_proceed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_spent() {
            return Poll::Ready(());
        }
        self.refill();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
