//! A bounded queue of messages that costs no memory while it is empty.
//!
//! The bounded channels of async-channel allocate all of their slots at once: at a thousand
//! messages of a hundred bytes, that would be a hundred kilobytes for every idle connection. Here an
//! unbounded one is held to its capacity by a count of reserved places.

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
    let places = Arc::new(Places {
        capacity: capacity.max(1),
        taken: AtomicUsize::new(0),
        freed: Event::new(),
    });
    (
        Sender {
            queue: sender,
            places: Arc::clone(&places),
        },
        Receiver {
            queue: Box::pin(receiver),
            places,
        },
    )
}

#[derive(Debug)]
struct Places {
    capacity: usize,
    taken: AtomicUsize,
    /// Notified for each place that becomes free, and for all at the end.
    freed: Event,
}

impl Places {
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
    places: Arc<Places>,
}

/// Why a message was not taken. It is given back.
#[derive(Debug)]
pub(crate) enum TrySendError<T> {
    Full(T),
    Closed(T),
}

impl<T> Sender<T> {
    /// Waits for a place. The message is given back if nobody will receive it any more.
    pub(crate) async fn send(&self, mut message: T) -> Result<(), T> {
        loop {
            let freed = self.places.freed.listen();
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
        if !self.places.take() {
            return Err(TrySendError::Full(message));
        }
        self.queue.try_send(message).map_err(|error| {
            self.places.free();
            TrySendError::Closed(error.into_inner())
        })
    }

    /// Sends, whether or not there is a place: for what is rare and must not wait.
    pub(crate) fn send_beyond(&self, message: T) {
        self.places.taken.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(message).is_err() {
            self.places.free();
        }
    }

    /// Takes nothing more. What is queued may still be received.
    pub(crate) fn close(&self) {
        self.queue.close();
        self.places.freed.notify(usize::MAX);
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
            places: Arc::clone(&self.places),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Receiver<T> {
    queue: Pin<Box<async_channel::Receiver<T>>>,
    places: Arc<Places>,
}

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&self) -> Option<T> {
        let message = self.queue.try_recv().ok()?;
        self.places.free();
        Some(message)
    }

    /// Ready with `None` when the queue is closed and empty.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let message = std::task::ready!(self.queue.as_mut().poll_next(cx));
        if message.is_some() {
            self.places.free();
        }
        Poll::Ready(message)
    }

    /// The next message; `None` when the queue is closed and empty.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Takes nothing more; whoever waits for a place is told.
    pub(crate) fn close(&self) {
        self.queue.close();
        self.places.freed.notify(usize::MAX);
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        // Whoever can still send keeps the queue; what is in it must not wait for them.
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
    fn at_the_capacity_senders_wait_and_one_goes_on_for_each_message_received() {
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
    fn those_who_wait_are_told_when_nobody_receives_any_more() {
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
    fn what_was_queued_before_the_close_is_received() {
        let (sender, mut receiver) = mailbox(4);
        assert!(sender.try_send(1).is_ok());
        sender.close();
        block_on(async {
            assert_eq!(poll_fn(|cx| receiver.poll_recv(cx)).await, Some(1));
            assert_eq!(poll_fn(|cx| receiver.poll_recv(cx)).await, None);
        });
    }
}
