//! Invalid terms in Elixir's syntax.

use serde_etf::Term;

use super::parse;

#[test]
fn invalid_literal_error_has_its_position() {
    for (text, position, expected) in [
        ("", 0, "a term"),
        ("{1, 2", 5, "}"),
        ("foo", 0, "nil, true or false"),
        ("[1 2]", 3, "]"),
        ("%{1}", 3, "=>"),
        ("%{a: 1, a: 2}", 12, "every key once"),
        ("1 2", 2, "the end"),
        ("\"abc", 4, "a closing quote"),
        ("\"#{x}\"", 1, "no interpolation"),
        ("<<256>>", 5, "an integer of 0 to 255"),
        ("<<1::size(9)>>", 12, "a size of 1 to 8"),
        ("#PID<0.1.0>", 0, "a term"),
        ("1.0e999", 7, "a float that is not too large"),
        ("[| 1]", 1, "a term"),
        ("[1 | [| 2]]", 6, "a term"),
        ("[1 | [2] 3]", 9, "]"),
        ("[1 | 2, 3]", 6, "]"),
        ("[a: 1, 2]", 7, "a name and a colon"),
        ("[1, ]", 4, "a term"),
        ("0x", 2, "a digit"),
        ("\"\\u{d800}\"", 9, "the number of a character"),
        ("Foo.", 4, "the name of a module"),
    ] {
        let error = text.parse::<Term>().unwrap_err();
        assert_eq!(
            (error.position(), error.expected()),
            (position, expected),
            "{text}"
        );
    }
}

#[test]
fn parser_accepts_up_to_512_levels() {
    let nested = |levels| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    assert!(nested(512).parse::<Term>().is_ok());
    let error = nested(513).parse::<Term>().unwrap_err();
    assert_eq!(error.expected(), "at most 512 levels");
    let tails = |levels| format!("{}1{}", "[1 | ".repeat(levels), "]".repeat(levels));
    assert!(tails(512).parse::<Term>().is_ok());
    assert!(tails(513).parse::<Term>().is_err());
    // Closed levels do not count.
    let wide = format!("[{}]", "[1 | [2 | [3, {}, %{}]]],".repeat(1000) + "1");
    assert_eq!(parse(&wide).as_list().unwrap().len(), 1001);
    assert!("[".repeat(1_000_000).parse::<Term>().is_err());
    assert!("%{{[".repeat(1_000_000).parse::<Term>().is_err());
}
