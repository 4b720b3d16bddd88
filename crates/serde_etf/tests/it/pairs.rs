//! Reading the reference of a call or reply whose other element is rejected.

use std::io::Write;

use proptest::prelude::*;
use serde_etf::{self as etf, Limits, Term, cost, first_of_pair, second_of_pair};

use super::golden::negative;
use super::term;

const MAX: usize = 64;

fn zipped(plain: &[u8]) -> Vec<u8> {
    let mut bytes = vec![131, 80];
    bytes.extend((plain.len() as u32 - 1).to_be_bytes());
    let mut zip = flate2::write::ZlibEncoder::new(bytes, flate2::Compression::best());
    zip.write_all(&plain[1..]).unwrap();
    zip.finish().unwrap()
}

/// `{reference, other}` and `{other, reference}`, without and with compression.
fn pairs(reference: &[u8], other: &[u8]) -> [Vec<u8>; 4] {
    let call = [&[131, 104, 2], reference, other].concat();
    let reply = [&[131, 105, 0, 0, 0, 2], other, reference].concat();
    let packed = [zipped(&call), zipped(&reply)];
    let [packed_call, packed_reply] = packed;
    [call, packed_call, reply, packed_reply]
}

fn second(payload: &[u8], max: usize) -> Option<Vec<u8>> {
    second_of_pair(payload, max, &Limits::default())
}

#[test]
fn reference_is_read_although_the_request_is_rejected() {
    let deep = [[104, 1].repeat(100_000), vec![106]].concat();
    let maps = [
        &[108, 0, 1, 0, 0][..],
        &[116, 0, 0, 0, 1, 106, 106].repeat(65_536),
        &[106],
    ]
    .concat();
    let same_key = vec![116, 0, 0, 0, 2, 97, 1, 106, 97, 1, 106];
    let fun = negative("executable_external_fun_bare")[1..].to_vec();
    let local = negative("executable_local_fun")[1..].to_vec();
    let port = negative("port_term")[1..].to_vec();
    let atom = vec![119, 1, 0xff];
    let float = vec![70, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0];
    let binary = [&[109, 0, 8, 0, 0][..], &[7; 1 << 19]].concat();
    let golden = etf::to_vec(&term(
        "[1, 70000, 1.5, -9223372036854775809, :a, {}, \"x\", <<1::size(3)>>]",
    ));
    let golden = golden.unwrap()[1..].to_vec();
    for other in [
        deep, maps, same_key, fun, local, port, atom, float, binary, golden,
    ] {
        for reference in [
            ":ping",
            "-1",
            "1180591620717411303424",
            "{1, [2 | 3]}",
            "\"r\"",
        ] {
            let payload = etf::to_vec(&term(reference)).unwrap();
            let [call, packed_call, reply, packed_reply] = pairs(&payload[1..], &other);
            let length = payload.len() - 1;
            for call in [call, packed_call] {
                assert_eq!(
                    first_of_pair(&call, MAX).as_ref(),
                    Some(&payload),
                    "{reference}"
                );
                assert_eq!(first_of_pair(&call, length).as_ref(), Some(&payload));
                assert_eq!(first_of_pair(&call, length - 1), None);
            }
            for reply in [reply, packed_reply] {
                assert_eq!(second(&reply, MAX).as_ref(), Some(&payload), "{reference}");
                assert_eq!(second(&reply, length).as_ref(), Some(&payload));
                assert_eq!(second(&reply, length - 1), None);
            }
        }
    }
}

#[test]
fn first_of_pair_is_read_for_any_following_bytes() {
    for rest in [&[][..], &[0], &[109, 255, 255, 255, 255], &[80, 131, 0]] {
        let call = [&[131, 104, 2, 97, 7], rest].concat();
        assert_eq!(first_of_pair(&call, MAX), Some(vec![131, 97, 7]));
        assert_eq!(second(&call, MAX), None);
    }
    // A false size, a truncated stream, and a stream that inflates to 16 MiB.
    let large = [
        &[131, 104, 2, 97, 7, 109, 0, 255, 0, 0][..],
        &vec![0; 0xff_0000],
    ]
    .concat();
    let mut packed = zipped(&large);
    assert_eq!(first_of_pair(&packed, MAX), Some(vec![131, 97, 7]));
    packed[2] = 255;
    assert_eq!(first_of_pair(&packed, MAX), Some(vec![131, 97, 7]));
    packed.truncate(1000);
    assert_eq!(first_of_pair(&packed, MAX), Some(vec![131, 97, 7]));
    assert_eq!(first_of_pair(&packed[..8], MAX), None);
}

#[test]
fn second_of_pair_respects_the_limits() {
    let mut large = vec![131, 104, 2, 109, 0, 255, 0, 0];
    large.resize(large.len() + 0xff_0000, 0);
    large.extend([97, 7]);
    let packed = zipped(&large);
    let generous = Limits::default().ratio(2000);
    let found = Some(vec![131, 97, 7]);
    assert_eq!(second(&packed, MAX), None);
    assert_eq!(second_of_pair(&packed, MAX, &generous), found);
    assert_eq!(
        second_of_pair(&packed, MAX, &generous.inflated(1 << 20)),
        None
    );
    assert_eq!(second(&large, MAX), found);
}

#[test]
fn a_term_that_is_not_a_pair_has_neither_element() {
    for text in ["{}", "{1}", "{1, 2, 3}", "[1, 2]", "%{1 => 2}", ":a"] {
        let payload = etf::to_vec(&term(text)).unwrap();
        for payload in [zipped(&payload), payload] {
            assert_eq!(first_of_pair(&payload, MAX), None, "{text}");
            assert_eq!(second(&payload, MAX), None, "{text}");
        }
    }
    for payload in [
        &[][..],
        &[131],
        &[131, 80],
        &[131, 80, 0, 0, 0, 9],
        &[130, 104, 2, 97, 1, 97, 1],
    ] {
        assert_eq!(first_of_pair(payload, MAX), None);
        assert_eq!(second(payload, MAX), None);
    }
    // A reference is sent back, so it must pass the same checks as a term.
    let fun = &negative("executable_external_fun_bare")[1..];
    let [call, packed_call, reply, packed_reply] = pairs(fun, &[106]);
    assert_eq!(first_of_pair(&call, 1000), None);
    assert_eq!(first_of_pair(&packed_call, 1000), None);
    assert_eq!(second(&reply, 1000), None);
    assert_eq!(second(&packed_reply, 1000), None);
}

#[test]
fn the_cost_of_a_payload_is_its_announced_size() {
    let payload = etf::to_vec(&"x".repeat(10_000)).unwrap();
    assert_eq!(cost(&payload), 10_006);
    assert_eq!(cost(&zipped(&payload)), 10_005);
    assert_eq!(cost(&[131, 80, 255, 255, 255, 255]), u32::MAX as usize);
    assert_eq!(cost(&[131, 80, 255, 255]), 4);
    assert_eq!(cost(&[]), 0);
}

proptest! {
    #[test]
    fn the_elements_of_any_pair_are_found(first: Vec<u16>, second: (String, f32, bool, i128)) {
        let second = (second.0, f64::from(second.1), second.2, second.3);
        prop_assume!(second.1.is_finite());
        let payload = etf::to_vec(&(&first, &second)).unwrap();
        let limits = Limits::default();
        for payload in [zipped(&payload), payload] {
            let checked = etf::check(&payload, &limits).unwrap();
            let (a, b) = checked.pair().unwrap();
            let raw = |element: etf::Element<'_>| [&[131], element.as_bytes()].concat();
            prop_assert_eq!(first_of_pair(&payload, 1 << 20), Some(raw(a)));
            prop_assert_eq!(second_of_pair(&payload, 1 << 20, &limits), Some(raw(b)));
        }
    }

    #[test]
    fn arbitrary_bytes_have_a_pair_or_none(mut bytes: Vec<u8>, packed: bool) {
        bytes.splice(0..0, [131, 104, 2]);
        let payload = if packed { zipped(&bytes) } else { bytes };
        for found in [first_of_pair(&payload, MAX), second(&payload, MAX)].into_iter().flatten() {
            prop_assert!(found.len() <= MAX + 1);
            prop_assert!(etf::from_slice::<Term>(&found).is_ok());
        }
    }
}
