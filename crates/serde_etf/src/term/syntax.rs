//! The parts of Elixir's syntax that printing and parsing share.

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
