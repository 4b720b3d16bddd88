//! Where packets are encoded: in a buffer of the thread, or as a job on another thread.

use std::cell::RefCell;

/// Encodes a packet that is too large to be encoded at once; returns `None` if there is nothing to send. A job
/// reports its own errors.
pub(crate) type Encode = Box<dyn FnOnce() -> Option<Vec<u8>> + Send>;

/// The largest buffer that a thread keeps between two packets.
const MAX_KEPT: usize = 64 * 1024;

thread_local! {
    /// Small packets are encoded here: without an allocation and without a lock.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Takes the thread's buffer, which is empty. A `Serialize` that itself sends takes a new one.
pub(crate) fn scratch() -> Vec<u8> {
    BUFFER.try_with(RefCell::take).unwrap_or_default()
}

/// Returns the buffer to the thread.
pub(crate) fn put_back(mut scratch: Vec<u8>) {
    if scratch.capacity() <= MAX_KEPT {
        scratch.clear();
        // A thread that is ending has no buffer any more.
        let _ = BUFFER.try_with(|buffer| buffer.replace(scratch));
    }
}
