//! For the code that the macros write. Not part of the public interface.

pub use serde;

/// The body of a handler that is written with `#[reply_later]`: its call is handled by another method.
pub fn replies_later<T>() -> T {
    unreachable!("a handler with `#[reply_later]` is given its `ReplyTo`")
}
