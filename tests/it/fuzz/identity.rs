//! Identifiers, versions and version requirements.

use erps_wire::identity::{Identifier, Version, VersionReq};

pub(crate) fn run(data: &[u8]) {
    if let Some((field, _)) = data.split_first_chunk() {
        named(Identifier::from_wire(*field));
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(name) = Identifier::new(text) {
        assert_eq!(name.to_str(), Some(text));
        named(name);
    }
    if let Ok(version) = text.parse::<Version>() {
        assert_eq!(version.to_string(), text);
        let exactly: VersionReq = text.parse().unwrap();
        assert!(exactly.matches(&version));
    }
    required(text);
}

fn named(name: Identifier) {
    assert_eq!(Identifier::from_wire(*name.as_wire()), name);
    if let Some(text) = name.to_str() {
        assert_eq!(Identifier::new(text), Ok(name));
        assert_eq!(name.to_string(), text);
    }
}

/// Numbers around those that requirements name, and the limits of a byte.
const NUMBERS: [u8; 6] = [0, 1, 2, 9, 10, 255];

fn required(text: &str) {
    let all = || {
        let pairs = || NUMBERS.into_iter().flat_map(|a| NUMBERS.map(|b| (a, b)));
        pairs().flat_map(|(a, b)| NUMBERS.map(|c| Version::new(a, b, c)))
    };
    let Ok(whole) = text.parse::<VersionReq>() else {
        return;
    };
    assert_eq!(whole.to_string(), text);
    // `or` binds weaker than `and`, so both sides of it are requirements.
    let mut alternatives = Vec::new();
    for alternative in text.split(" or ") {
        let mut parts = Vec::new();
        for part in alternative.split(" and ") {
            match part.parse::<VersionReq>() {
                Ok(req) => {
                    for version in all() {
                        let expected = matches_comparison(part, version);
                        assert_eq!(req.matches(&version), expected, "{version} and {part:?}");
                    }
                    parts.push(req);
                }
                Err(error) => panic!("{part:?} of {text:?}: {error}"),
            }
        }
        alternatives.push(parts);
    }
    for version in all() {
        let any = alternatives
            .iter()
            .any(|all| all.iter().all(|part| part.matches(&version)));
        assert_eq!(whole.matches(&version), any, "{version} and {text:?}");
    }
}

/// A single comparison as specified in Elixir's documentation.
fn matches_comparison(part: &str, version: Version) -> bool {
    let numbers = part.trim_start_matches([' ', '~', '=', '!', '<', '>']);
    let sign = part[..part.len() - numbers.len()].trim();
    let numbers = numbers.trim_end().split('.');
    let numbers: Vec<u64> = numbers.map(|it| it.parse().unwrap_or(u64::MAX)).collect();
    let version = [version.major, version.minor, version.patch].map(u64::from);
    match sign {
        "" | "==" => version[..] == numbers,
        "!=" => version[..] != numbers,
        ">" => version[..] > numbers[..],
        ">=" => version[..] >= numbers[..],
        "<" => version[..] < numbers[..],
        "<=" => version[..] <= numbers[..],
        // Not below it, and equal in all but the last of the given numbers.
        "~>" => {
            let alike = numbers.len() - 1;
            version[..] >= numbers[..] && version[..alike] == numbers[..alike]
        }
        other => panic!("unknown operator {other}"),
    }
}
