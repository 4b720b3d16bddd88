//! The cooperative budget of a task: how much work it does before it yields.

use std::task::{Context, Poll};

/// The budget, in bytes of plain payload: 64 KiB. A payload that costs more is handled off the executor's
/// threads, see [`offload`](super::offload).
pub(crate) const BUDGET: usize = 64 * 1024;

/// The cost of the smallest packet: 256 of them use the budget up.
const PACKET: usize = BUDGET / 256;

/// The fixed cost of a read: a system call, or decrypting some records.
const READ: usize = BUDGET / 8;

/// The share of a read's bytes that counts: an eighth. They are only copied; decoding is counted later.
const READ_SHARE: usize = 8;

/// Counts the work of a task since it last yielded, like tokio's cooperative budget.
///
/// It counts bytes, not packets: a packet may be a keepalive or 16 MiB.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    spent: usize,
}

impl Budget {
    /// Counts a packet with this cost in bytes.
    pub(crate) fn count_packet(&mut self, cost: usize) {
        self.spent = self.spent.saturating_add(cost.max(PACKET));
    }

    /// Counts a read of this many bytes.
    pub(crate) fn count_read(&mut self, bytes: usize) {
        self.spent = self.spent.saturating_add(READ + bytes / READ_SHARE);
    }

    /// Refills the budget: the task is about to wait.
    pub(crate) fn refill(&mut self) {
        self.spent = 0;
    }

    /// Returns whether the budget is used up.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent >= BUDGET
    }

    /// Ready while budget is left. Otherwise the task is woken again, and must return `Pending`.
    pub(crate) fn poll_proceed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_spent() {
            return Poll::Ready(());
        }
        self.refill();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
