//! Texts whose length a peer decides, cut to a length that this end decides.

use std::fmt::{self, Display, Write};

/// How much of a peer's text is logged, in bytes.
pub(crate) const MAX_LOGGED: usize = 256;

/// The first `limit` bytes of what a value displays, and an ellipsis if that is not all. Formatting stops there.
pub(crate) fn capped(value: &dyn Display, limit: usize) -> String {
    let mut text = Capped {
        text: String::new(),
        limit,
    };
    if write!(text, "{value}").is_err() {
        text.text.push('…');
    }
    text.text
}

struct Capped {
    text: String,
    limit: usize,
}

impl Write for Capped {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let mut fits = more.len().min(self.limit - self.text.len());
        while !more.is_char_boundary(fits) {
            fits -= 1;
        }
        self.text.push_str(&more[..fits]);
        if fits < more.len() {
            return Err(fmt::Error);
        }
        Ok(())
    }
}
