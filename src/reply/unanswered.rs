//! The callers whose `ReplyTo` was dropped without a reply.

use std::cell::RefCell;

use futures_channel::oneshot;

use super::remote::RemoteCaller;

/// The caller of a call whose `ReplyTo` was dropped. Dropping this fails the call.
///
/// A callback that fails drops its `ReplyTo` before it returns the error. The call fails once it is known whether the
/// server has failed or has only dropped the call.
pub(crate) enum Unanswered {
    Local(#[expect(dead_code, reason = "dropping it wakes the caller")] oneshot::Sender<()>),
    Remote(#[expect(dead_code, reason = "dropping it sends an error packet")] RemoteCaller),
}

thread_local! {
    /// The callers whose `ReplyTo` was dropped by the callback that runs on this thread.
    static DROPPED: RefCell<Option<Vec<Unanswered>>> = const { RefCell::new(None) };
}

pub(super) fn drop_later(unanswered: Unanswered) {
    let mut unanswered = Some(unanswered);
    // Outside of callbacks, and in a thread that ends, it is dropped now.
    let _ = DROPPED.try_with(|dropped| {
        if let Some(dropped) = &mut *dropped.borrow_mut() {
            dropped.extend(unanswered.take());
        }
    });
}

/// Runs part of a callback, and returns the callers whose `ReplyTo` it dropped.
pub(crate) fn withhold<T>(callback: impl FnOnce() -> T) -> (T, Vec<Unanswered>) {
    let outer = DROPPED.replace(Some(Vec::new()));
    let result = callback();
    let dropped = DROPPED.replace(outer).unwrap_or_default();
    (result, dropped)
}
