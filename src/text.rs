//! Text in errors and events: cut to a length, and errors with their causes.

use std::{
    error::Error,
    fmt::{self, Display, Write},
};

/// How many bytes of a peer's text are logged.
pub(crate) const MAX_LOGGED: usize = 256;

/// Returns the first `limit` bytes of a value's text, with an ellipsis if there are more. Formatting stops at the limit.
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

/// Displays an error and its causes: `cannot connect to 10.0.0.1:4747: connection refused`.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self.0, f)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
