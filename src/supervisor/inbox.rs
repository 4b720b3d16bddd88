//! The queue of a supervisor.

use async_channel::{Receiver, Sender};

/// The receiving half. Its drop drops all queued and later messages.
///
/// A plain receiver leaves its messages in the channel until the last sender is dropped. A caller that
/// waits for a reply is such a sender, and would wait forever.
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
