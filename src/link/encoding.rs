//! A large packet that is encoded off the executor's threads.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use crate::{encode::Encode, task};

type Encoded = Result<Option<Vec<u8>>, task::Panic>;

/// The packet of a link that is being encoded, if there is one.
#[derive(Default)]
pub(super) struct Encoding(Option<Pin<Box<dyn Future<Output = Encoded> + Send>>>);

impl Encoding {
    pub(super) fn start(&mut self, encode: Encode) {
        debug_assert!(self.0.is_none(), "one packet is encoded at a time");
        self.0 = Some(Box::pin(task::offload(encode)));
    }

    pub(super) fn is_running(&self) -> bool {
        self.0.is_some()
    }

    /// Ready with the packet; with `None` if none is being encoded, or the job returned none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Encoded> {
        let Some(encoding) = &mut self.0 else {
            return Poll::Ready(Ok(None));
        };
        let encoded = std::task::ready!(encoding.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(encoded)
    }
}
