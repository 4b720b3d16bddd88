//! What a task reports about itself.

use std::any::Any;

use crate::Endpoint;

/// What a task reports about itself, for the supervision tree. It may not hold a handle to its own task.
pub(crate) trait Facts: Any + Send + Sync {
    /// Returns the number of messages in its mailbox.
    fn mailbox(&self) -> Option<usize> {
        None
    }

    /// Returns the address of the peer whose connection it serves.
    fn peer(&self) -> Option<Endpoint> {
        None
    }
}

impl dyn Facts {
    pub(crate) fn downcast_ref<T: Facts>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}
