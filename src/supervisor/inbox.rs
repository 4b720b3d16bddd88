//! The queue of a supervisor.

use async_channel::{Receiver, Sender};

/// The receiving end. Whatever is in it, or comes later, is dropped with it.
///
/// A plain receiver leaves its messages in the channel until the last sender is gone. A caller
/// waiting for the answer to one of them is such a sender, and would wait for ever.
#[derive(Debug)]
pub(super) struct Inbox<M>(Receiver<M>);

impl<M> Inbox<M> {
    pub(super) fn new() -> (Sender<M>, Self) {
        let (sender, receiver) = async_channel::unbounded();
        (sender, Self(receiver))
    }

    pub(super) async fn next(&self) -> M {
        let message = self.0.recv().await;
        message.expect("the owner of an inbox holds a sender to it")
    }
}

impl<M> Drop for Inbox<M> {
    fn drop(&mut self) {
        self.0.close();
        while self.0.try_recv().is_ok() {}
    }
}
