//! A term in Elixir's syntax.

use serde_etf::{self as etf, Limits, Term};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let term: Term = match text.parse() {
        Ok(term) => term,
        Err(error) => {
            assert!(text.is_char_boundary(error.position()), "{error}");
            return;
        }
    };
    let printed = term.to_string();
    assert_eq!(printed.parse().as_ref(), Ok(&term), "{printed}");
    // An atom can be too long to encode.
    if let Ok(bytes) = etf::to_vec(&term) {
        let checked = etf::check(&bytes, &Limits::default()).unwrap();
        assert_eq!(checked.decode().as_ref(), Ok(&term), "{printed}");
    }
}
