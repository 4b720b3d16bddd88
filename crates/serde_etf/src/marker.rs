//! The names by which a `Term`'s serde implementations and this format recognise each other.
//!
//! Other formats see ordinary newtypes under these names.

use serde::ser::Serializer;

/// Under this newtype struct the encoder writes a string as an atom.
pub(crate) const ATOM: &str = "$serde_etf::Atom";
/// Under this newtype variant the encoder writes bytes as the encoded term they are.
pub(crate) const ENCODED: &str = "$serde_etf::Verbatim";
/// Under this newtype struct the decoder passes the bytes of a whole encoded term, and the encoder takes them
/// in chunks if [`takes_encoded_term`] says so.
pub(crate) const TERM: &str = "$serde_etf::Term";

/// Returns whether the serializer is this format's, and is given the value under [`TERM`].
///
/// serde does not tell a value which serializer it is given. This one, and no other, answers
/// `is_human_readable` in two ways when asked twice.
pub(crate) fn takes_encoded_term<S: Serializer>(serializer: &S) -> bool {
    serializer.is_human_readable() != serializer.is_human_readable()
}
