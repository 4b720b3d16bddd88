//! A bounded message queue that uses no memory while it is empty.
//!
//! The bounded channels of async-channel allocate all their slots at once: with a thousand messages of
//! a hundred bytes, that would be a hundred kilobytes per idle connection. Here a count of reserved
//! slots limits an unbounded channel.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use event_listener::Event;
use futures_lite::Stream as _;

use crate::universe::integration::contain;

/// Makes a queue for up to `capacity` messages, which is at least one.
pub(crate) fn mailbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = async_channel::unbounded();
    let slots = Arc::new(Slots {
        capacity: capacity.max(1),
        taken: AtomicUsize::new(0),
        freed: Event::new(),
    });
    (
        Sender {
            queue: sender,
            slots: Arc::clone(&slots),
        },
        Receiver {
            queue: Box::pin(receiver),
            slots,
        },
    )
}

#[derive(Debug)]
struct Slots {
    capacity: usize,
    taken: AtomicUsize,
    /// Notified for each slot that becomes free, and for all when the queue is closed.
    freed: Event,
}

impl Slots {
    fn take(&self) -> bool {
        let one_more = |taken| (taken < self.capacity).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .is_ok()
    }

    fn free(&self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
        self.freed.notify_additional(1);
    }
}

#[derive(Debug)]
pub(crate) struct Sender<T> {
    queue: async_channel::Sender<T>,
    slots: Arc<Slots>,
}

/// Why a message was not queued. Returns the message.
#[derive(Debug)]
pub(crate) enum TrySendError<T> {
    Full(T),
    Closed(T),
}

impl<T> Sender<T> {
    /// Waits for a free slot. Returns the message if the queue is closed.
    pub(crate) async fn send(&self, mut message: T) -> Result<(), T> {
        loop {
            let freed = self.slots.freed.listen();
            match self.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(message)) => return Err(message),
                Err(TrySendError::Full(unsent)) => message = unsent,
            }
            freed.await;
        }
    }

    pub(crate) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        if self.queue.is_closed() {
            return Err(TrySendError::Closed(message));
        }
        if !self.slots.take() {
            return Err(TrySendError::Full(message));
        }
        self.queue.try_send(message).map_err(|error| {
            self.slots.free();
            TrySendError::Closed(error.into_inner())
        })
    }

    /// Sends even if the queue is full: for rare messages that must not wait.
    pub(crate) fn send_over_capacity(&self, message: T) {
        self.slots.taken.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(message).is_err() {
            self.slots.free();
        }
    }

    /// Closes the queue. Queued messages can still be received.
    pub(crate) fn close(&self) {
        self.queue.close();
        self.slots.freed.notify(usize::MAX);
    }
}

impl<T> Sender<T> {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            slots: Arc::clone(&self.slots),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Receiver<T> {
    queue: Pin<Box<async_channel::Receiver<T>>>,
    slots: Arc<Slots>,
}

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&self) -> Option<T> {
        let message = self.queue.try_recv().ok()?;
        self.slots.free();
        Some(message)
    }

    /// Ready with `None` when the queue is closed and empty.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let message = std::task::ready!(self.queue.as_mut().poll_next(cx));
        if message.is_some() {
            self.slots.free();
        }
        Poll::Ready(message)
    }

    /// Receives the next message; `None` when the queue is closed and empty.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Closes the queue; waiting senders fail.
    pub(crate) fn close(&self) {
        self.queue.close();
        self.slots.freed.notify(usize::MAX);
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        // Senders keep the channel alive; its messages are dropped now.
        while let Ok(message) = self.queue.try_recv() {
            contain("a destructor panicked", || drop(message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_fn, poll_once};

    #[test]
    fn senders_wait_at_the_capacity_and_one_proceeds_per_message_received() {
        let (sender, mut receiver) = mailbox(2);
        assert!(sender.try_send(1).is_ok());
        assert!(sender.try_send(2).is_ok());
        assert!(matches!(sender.try_send(3), Err(TrySendError::Full(3))));
        let mut third = Box::pin(sender.send(3));
        block_on(async {
            assert!(poll_once(&mut third).await.is_none());
            assert_eq!(poll_fn(|cx| receiver.poll_recv(cx)).await, Some(1));
            assert!(third.await.is_ok());
        });
        assert_eq!(receiver.len(), 2);
        assert_eq!(
            (receiver.try_recv(), receiver.try_recv()),
            (Some(2), Some(3))
        );
    }

    #[test]
    fn dropping_the_receiver_fails_waiting_senders() {
        let (sender, receiver) = mailbox(1);
        assert!(sender.try_send(1).is_ok());
        let mut second = Box::pin(sender.send(2));
        block_on(async {
            assert!(poll_once(&mut second).await.is_none());
            drop(receiver);
            assert_eq!(second.await, Err(2));
        });
        assert!(matches!(sender.try_send(3), Err(TrySendError::Closed(3))));
    }

    #[test]
    fn messages_queued_before_the_close_are_received() {
        let (sender, mut receiver) = mailbox(4);
        assert!(sender.try_send(1).is_ok());
        sender.close();
        block_on(async {
            assert_eq!(poll_fn(|cx| receiver.poll_recv(cx)).await, Some(1));
            assert_eq!(poll_fn(|cx| receiver.poll_recv(cx)).await, None);
        });
    }
}
