//! Identifiers, versions and Elixir's version requirements.

use erps_wire::identity::{
    Identifier, IdentifierError, Version, VersionError, VersionReq, VersionReqError,
};
use proptest::prelude::*;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn takes(req: &str, text: &str) -> bool {
    let req: VersionReq = req.parse().unwrap_or_else(|e| panic!("{req:?}: {e}"));
    req.matches(&version(text))
}

fn refused(req: &str) -> VersionReqError {
    match req.parse::<VersionReq>() {
        Err(error) => error,
        Ok(_) => panic!("{req:?} was taken"),
    }
}

// Identifiers

#[test]
fn identifier_is_padded_with_zero_bytes() {
    let name = Identifier::new("oracle").unwrap();
    let mut field = [0; 36];
    field[..6].copy_from_slice(b"oracle");
    assert_eq!(name.as_wire(), &field);
    assert_eq!(name.as_bytes(), b"oracle");
    assert_eq!(name.to_str(), Some("oracle"));
    assert_eq!(name.to_string(), "oracle");
    assert_eq!(name, Identifier::from_wire(field));
}

#[test]
fn identifier_is_limited_to_36_bytes() {
    let longest = "x".repeat(36);
    assert_eq!(Identifier::new(&longest).unwrap().to_string(), longest);
    let error = Identifier::new(&"x".repeat(37)).unwrap_err();
    assert_eq!(error, IdentifierError::TooLong { len: 37 });
    assert_eq!(
        error.to_string(),
        "an identifier of 37 bytes does not fit the wire's 36 bytes"
    );
}

#[test]
fn identifier_length_counts_bytes() {
    assert!(Identifier::new(&"é".repeat(18)).is_ok());
    assert!(Identifier::new(&"é".repeat(19)).is_err());
}

#[test]
fn identifier_must_not_end_in_a_zero_byte() {
    let inner = Identifier::new("a\0b").unwrap();
    assert_eq!(inner.to_str(), Some("a\0b"));
    assert_eq!(Identifier::new("a\0"), Err(IdentifierError::EndsInNul));
    assert_eq!(Identifier::new("\0"), Err(IdentifierError::EndsInNul));
}

#[test]
fn default_identifier_is_empty() {
    assert_eq!(Identifier::default(), Identifier::EMPTY);
    assert_eq!("".parse(), Ok(Identifier::EMPTY));
    assert_eq!(Identifier::EMPTY.to_str(), Some(""));
    assert_eq!(Identifier::EMPTY.as_wire(), &[0; 36]);
}

#[test]
fn non_utf8_identifier_displays_but_has_no_str() {
    let mut field = [0; 36];
    field[..3].copy_from_slice(b"a\xffb");
    let broken = Identifier::from_wire(field);
    assert_eq!(broken.to_str(), None);
    assert_eq!(broken.to_string(), "a\u{fffd}b");
    assert_eq!(format!("{broken:?}"), "Identifier(\"a\u{fffd}b\")");
    // Its display form is another identifier.
    assert_ne!(broken, Identifier::new("a\u{fffd}b").unwrap());
}

proptest! {
    #[test]
    fn identifier_round_trips_through_its_wire_form(name in "\\PC{0,12}") {
        prop_assume!(name.len() <= 36);
        let identifier = Identifier::try_from(name.as_str()).unwrap();
        let read = Identifier::from_wire(*identifier.as_wire());
        prop_assert_eq!(read.to_str(), Some(name.as_str()));
        prop_assert_eq!(read, identifier);
    }
}

// Versions

#[test]
fn version_has_three_one_byte_numbers() {
    assert_eq!(version("1.2.3"), Version::new(1, 2, 3));
    assert_eq!(version("0.0.0"), Version::default());
    assert_eq!(version("255.254.253").to_string(), "255.254.253");
}

#[test]
fn versions_are_ordered_by_major_then_minor_then_patch() {
    assert!(version("1.0.0") > version("0.255.255"));
    assert!(version("0.2.0") > version("0.1.255"));
    assert!(version("0.0.10") > version("0.0.9"));
}

#[test]
fn version_number_over_255_is_rejected() {
    for text in ["256.0.0", "0.256.0", "0.0.256"] {
        let error = text.parse::<Version>().unwrap_err();
        let part = "256".to_owned();
        assert_eq!(error, VersionError::TooLarge { part }, "{text}");
        assert_eq!(
            error.to_string(),
            "256 does not fit the wire's one byte (0 to 255)"
        );
    }
}

#[test]
fn version_without_three_parts_is_rejected() {
    for (text, found) in [("", 1), ("1", 1), ("1.2", 2), ("1.2.3.4", 4)] {
        let error = text.parse::<Version>().unwrap_err();
        assert_eq!(error, VersionError::NotThreeParts { found }, "{text}");
    }
}

#[test]
fn version_with_signs_spaces_or_leading_zeros_is_rejected() {
    for (text, wrong) in [
        ("+1.2.3", "+1"),
        ("1.-2.3", "-2"),
        ("1.2.", ""),
        (" 1.2.3", " 1"),
        ("1.2.3 ", "3 "),
        ("01.2.3", "01"),
        ("1.00.3", "00"),
        ("1.2.x", "x"),
        ("1.2.3-dev", "3-dev"),
        ("1.2.٣", "٣"),
    ] {
        let error = text.parse::<Version>().unwrap_err();
        let part = wrong.to_owned();
        assert_eq!(error, VersionError::NotANumber { part }, "{text}");
        assert_eq!(
            error.to_string(),
            format!("`{wrong}` is not a plain number")
        );
    }
}

proptest! {
    #[test]
    fn version_round_trips_through_its_text(major: u8, minor: u8, patch: u8) {
        let version = Version::new(major, minor, patch);
        prop_assert_eq!(version.to_string().parse(), Ok(version));
    }
}

// Requirements

/// From the documentation and tests of Elixir's `Version`: first versions that match, then versions that do
/// not.
#[test]
fn requirement_matches_as_in_elixir() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("2.3.0", &["2.3.0"], &["2.4.0", "2.3.1", "2.2.255"]),
        ("== 2.0.0", &["2.0.0"], &["2.0.1", "1.255.255"]),
        ("!= 2.3.0", &["2.4.0", "2.2.0"], &["2.3.0"]),
        (
            "> 2.3.0",
            &["2.3.1", "2.4.0", "3.0.0"],
            &["2.3.0", "2.2.9", "1.9.9"],
        ),
        (
            ">= 2.3.0",
            &["2.3.0", "2.3.1", "3.0.0"],
            &["2.2.255", "0.9.9"],
        ),
        (
            "< 2.3.0",
            &["2.2.255", "1.9.9"],
            &["2.3.0", "2.3.1", "3.0.0"],
        ),
        ("<= 2.3.0", &["2.3.0", "2.2.255"], &["2.3.1", "3.0.0"]),
        (
            "~> 2.0.0",
            &["2.0.0", "2.0.255"],
            &["1.255.255", "2.1.0", "3.0.0"],
        ),
        (
            "~> 2.1.2",
            &["2.1.2", "2.1.3", "2.1.255"],
            &["2.1.1", "2.2.0"],
        ),
        ("~> 2.0", &["2.0.0", "2.255.255"], &["1.255.255", "3.0.0"]),
        (
            "~> 2.1",
            &["2.1.0", "2.2.0", "2.255.0"],
            &["2.0.255", "3.0.0"],
        ),
        (
            "~> 0.1.3",
            &["0.1.3", "0.1.255"],
            &["0.1.2", "0.2.0", "1.1.3"],
        ),
        ("~> 0.1", &["0.1.0", "0.255.255"], &["0.0.255", "1.0.0"]),
        ("~> 0.0", &["0.0.0", "0.255.255"], &["1.0.0"]),
        (
            "~> 255.255",
            &["255.255.0", "255.255.255"],
            &["255.254.255"],
        ),
        (
            "~> 255.255.1",
            &["255.255.1", "255.255.255"],
            &["255.255.0"],
        ),
        (
            ">= 2.0.0 and < 2.1.0",
            &["2.0.0", "2.0.255"],
            &["1.9.9", "2.1.0"],
        ),
        (
            "> 0.9.0 and < 0.10.0",
            &["0.9.1", "0.9.3"],
            &["0.9.0", "0.10.0", "0.10.2"],
        ),
        (
            "0.9.1 or 0.9.3 or 0.9.5",
            &["0.9.1", "0.9.3", "0.9.5"],
            &["0.9.2", "0.9.6"],
        ),
        (
            "~> 1.0 and != 1.2.3 and != 1.2.4",
            &["1.2.2", "1.2.5"],
            &["1.2.3", "1.2.4", "2.0.0"],
        ),
    ];
    for (req, taken, others) in table {
        for text in *taken {
            assert!(takes(req, text), "{req:?} should take {text}");
        }
        for text in *others {
            assert!(!takes(req, text), "{req:?} should not take {text}");
        }
    }
}

#[test]
fn and_binds_tighter_than_or_on_either_side() {
    for req in [
        "< 0.2.0 and >= 0.1.0 or >= 0.7.0",
        ">= 0.7.0 or < 0.2.0 and >= 0.1.0",
    ] {
        for text in ["0.1.0", "0.1.5", "0.7.0", "0.7.5"] {
            assert!(takes(req, text), "{req:?} should take {text}");
        }
        for text in ["0.0.9", "0.2.0", "0.3.0", "0.6.0"] {
            assert!(!takes(req, text), "{req:?} should not take {text}");
        }
    }
}

#[test]
fn requirement_numbers_may_exceed_255() {
    for req in [
        "== 256.0.0",
        ">= 1.2.256 and < 1.3.0",
        "~> 300.1",
        "> 99999999999999999999.0.0",
    ] {
        for text in ["0.0.0", "1.2.255", "255.255.255"] {
            assert!(!takes(req, text), "{req:?} should not take {text}");
        }
    }
    for req in [
        "!= 256.0.0",
        "< 256.0.0",
        "<= 1000.0.0",
        "< 99999999999999999999.0.0",
    ] {
        for text in ["0.0.0", "1.2.255", "255.255.255"] {
            assert!(takes(req, text), "{req:?} should take {text}");
        }
    }
    // One part is out of range, the whole is not: 1.255.255 < 1.256.0 < 2.0.0.
    assert!(takes("< 1.256.0", "1.255.255"));
    assert!(!takes("< 1.256.0", "2.0.0"));
    assert!(takes("~> 1.300 or > 1.300.0", "2.0.0"));
}

#[test]
fn spaces_are_ignored_except_around_and_and_or() {
    for req in [
        ">=1.0.0 and <2.0.0",
        "  >=   1.0.0   and   <   2.0.0  ",
        "~>1.0",
        "~>    1.0",
        "0.0.1 or ~>1.0",
    ] {
        assert!(takes(req, "1.0.0"), "{req:?} should take 1.0.0");
        assert!(!takes(req, "2.0.0"), "{req:?} should not take 2.0.0");
    }
    for req in [
        "1.0.0and 2.0.0",
        "1.0.0 and<2.0.0",
        "1.0.0 or2.0.0",
        "1.0 .0",
        "> =1.0.0",
    ] {
        refused(req);
    }
    // Elixir ignores spaces only.
    refused("==\t1.0.0");
    refused("1.0.0\n");
}

#[test]
fn invalid_requirement_error_has_position_and_reason() {
    let expected = |at| format!("expected a version such as 1.2.3 at byte {at}");
    let not_a_version = |found, at| {
        format!(
            "`{found}` at byte {at} is not a version: expected one such as 1.2.3, after `~>`, `>=` or the like"
        )
    };
    let no_patch = |found, at| {
        format!("`{found}` at byte {at} lacks its third number, which is optional only after `~>`")
    };
    let tagged = |found, at| {
        format!(
            "`{found}` at byte {at} has a pre-release or build tag, which no version on the wire has"
        )
    };
    let connective = |at| format!("expected `and` or `or`, with spaces around it, at byte {at}");
    for (req, error) in [
        ("", expected(0)),
        ("   ", expected(3)),
        (">=", expected(2)),
        ("== == 1.0.0", expected(3)),
        ("1.0.0 and ", expected(10)),
        ("1.0.0 or >", expected(10)),
        ("!2.3.0", expected(0)),
        ("=1.0.0", expected(0)),
        ("^1.0.0", not_a_version("^1.0.0", 0)),
        ("foo", not_a_version("foo", 0)),
        ("and 1.0.0", not_a_version("and", 0)),
        ("1.0.0 or or 1.0.0", not_a_version("or", 9)),
        ("~> 1", not_a_version("1", 3)),
        ("~> 1.2.3.4", not_a_version("1.2.3.4", 3)),
        ("~> 01.2.3", not_a_version("01.2.3", 3)),
        (">= 1.*.0", not_a_version("1.*.0", 3)),
        ("1.2.é", not_a_version("1.2.é", 0)),
        ("1.0.0 and ~> x.0", not_a_version("x.0", 13)),
        (">= 1.2", no_patch("1.2", 3)),
        ("1.2", no_patch("1.2", 0)),
        ("~> 1.2 or == 1.3", no_patch("1.3", 13)),
        ("~> 2.1.3-dev", tagged("2.1.3-dev", 3)),
        ("== 0.9.3+dev", tagged("0.9.3+dev", 3)),
        ("~> 2.1-dev", tagged("2.1-dev", 3)),
        ("1.0.0 2.0.0", connective(6)),
        ("1.0.0, < 2.0.0", not_a_version("1.0.0,", 0)),
        (">= 1.0.0<2.0.0", connective(8)),
        ("1.0.0 and<2.0.0", connective(6)),
        ("1.0.0 and", connective(6)),
    ] {
        assert_eq!(refused(req).to_string(), error, "{req:?}");
    }
}

#[test]
fn requirement_displays_its_text() {
    let text = "  ~> 1.2 or ==  0.1.3 ";
    let req: VersionReq = text.parse().unwrap();
    assert_eq!(req.to_string(), text);
    assert_eq!(VersionReq::try_from(text), Ok(req.clone()));
    assert_ne!(VersionReq::try_from("~> 1.2"), Ok(req));
}

proptest! {
    #[test]
    fn parsing_any_text_does_not_panic(text in "[ ~=!<>.0-9andoré+-]{0,24}") {
        let _ = text.parse::<VersionReq>();
        let _ = text.parse::<Version>();
    }

    #[test]
    fn operators_compare_like_versions(a: [u8; 3], b: [u8; 3], near: bool) {
        let a = Version::new(a[0], a[1], a[2]);
        let b = if near { Version { patch: b[2], ..a } } else { Version::new(b[0], b[1], b[2]) };
        let holds = |sign: &str| takes(&format!("{sign} {b}"), &a.to_string());
        prop_assert_eq!(holds("=="), a == b);
        prop_assert_eq!(holds("!="), a != b);
        prop_assert_eq!(holds(">"), a > b);
        prop_assert_eq!(holds(">="), a >= b);
        prop_assert_eq!(holds("<"), a < b);
        prop_assert_eq!(holds("<="), a <= b);
        prop_assert_eq!(holds("~>"), a >= b && (a.major, a.minor) == (b.major, b.minor));
    }
}
