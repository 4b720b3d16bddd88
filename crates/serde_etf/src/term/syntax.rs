//! What printing and parsing share of Elixir's syntax.

/// Operators that are atoms without quotes, longer before shorter.
pub(super) const OPERATORS: [&str; 36] = [
    "!==", "===", "&&&", "|||", "<<<", ">>>", "<<~", "~>>", "<~>", "+++", "---", "^^^", "!=", "==",
    "=~", "<=", ">=", "&&", "||", "<>", "++", "--", "|>", "<~", "~>", "..", "!", "<", ">", "+",
    "-", "*", "/", "=", "&", "|",
];

pub(super) fn starts_name(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

pub(super) fn continues_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '@'
}
