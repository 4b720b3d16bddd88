//! Malformed and hostile input.

use std::collections::HashMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_etf::{self as etf, DecodeError, Limits, Term};

use super::golden::{golden, payload};
use super::{Call, Point};

/// Asserts that decoding returns, with a value or an error.
fn survives(bytes: &[u8]) {
    for limits in [Limits::default(), Limits::default().safe(false)] {
        let Ok(checked) = etf::check(bytes, &limits) else {
            continue;
        };
        let _ = checked.decode::<Call>();
        let _ = checked.decode::<Point>();
        let _ = checked.decode::<Vec<Option<(String, f64)>>>();
        let _ = checked.decode::<HashMap<String, u128>>();
        let _ = checked.decode::<serde_json::Value>();
        assert!(checked.decode::<IgnoredAny>().is_ok());
        if let Some((first, second)) = checked.pair() {
            assert!(
                first.as_bytes().len() + second.as_bytes().len() + 2
                    <= checked.as_element().as_bytes().len()
            );
            let _ = second.decode::<Call>();
        }
        match checked.decode::<Term>() {
            Ok(term) => {
                let again = etf::to_vec(&term).unwrap();
                let again = etf::check(&again, &limits).unwrap().decode::<Term>();
                assert_eq!(again, Ok(term));
            }
            Err(error) => assert_eq!(error.to_string(), DecodeError::DuplicateKey.to_string()),
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_a_value_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        bytes.insert(0, 131);
        survives(&bytes);
    }

    #[test]
    fn random_tags_are_a_value_or_an_error(
        tags in proptest::collection::vec(
            prop_oneof![
                0..4_u8,
                proptest::sample::select(vec![
                    70_u8, 77, 80, 88, 89, 90, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107,
                    108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120,
                ]),
            ],
            0..100,
        )
    ) {
        survives(&[&[131], &tags[..]].concat());
    }

    #[test]
    fn mutated_golden_payloads_are_values_or_errors(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut payload = which.get(&GOLDEN_PAYLOADS).clone();
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        survives(&payload);
    }
}

static GOLDEN_PAYLOADS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    golden()
        .iter()
        .filter_map(payload)
        .filter(|payload| payload.len() > 1)
        .collect()
});

#[test]
fn truncated_golden_payloads_are_errors() {
    for packet in golden() {
        if packet["kind"] != "packet" {
            continue;
        }
        let payload = payload(&packet).unwrap_or_default();
        for end in 0..payload.len() {
            assert!(
                etf::from_slice::<Term>(&payload[..end]).is_err(),
                "{} {end}",
                packet["name"]
            );
        }
    }
}
