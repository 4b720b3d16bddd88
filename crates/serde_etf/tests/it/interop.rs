//! Forms that other programs may send for a type, besides the form written here.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Debug;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_etf::{self as etf, Limits, Term};

use super::{from_elixir, term};

#[track_caller]
fn takes<T: DeserializeOwned + PartialEq + Debug>(elixir: &str, value: T) {
    assert_eq!(from_elixir::<T>(elixir).as_ref(), Ok(&value), "{elixir}");
}

#[track_caller]
fn refuses<T: DeserializeOwned + Debug>(elixir: &str, message: &str) {
    let error = from_elixir::<T>(elixir).unwrap_err();
    assert_eq!(error.to_string(), message, "{elixir}");
}

#[test]
fn a_binary_decodes_as_a_list_of_bytes() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Byte(u8);

    takes("<<0, 255>>", vec![0_u8, 255]);
    takes("\"ab\"", VecDeque::from([97_u8, 98]));
    takes("\"ab\"", BTreeSet::from([97_u8, 98]));
    takes("\"ab\"", vec![Byte(97), Byte(98)]);
    takes("\"ab\"", Some(b"ab".to_vec()));
    takes("\"\"", Vec::<u8>::new());
    takes("\"ab\"", [97_u8, 98]);
    refuses::<[u8; 3]>(
        "\"ab\"",
        "expected an array of length 3, found a binary of 2 bytes",
    );
    refuses::<Vec<u16>>("\"ab\"", "expected a list, found a binary of 2 bytes");
    refuses::<Vec<i8>>("\"ab\"", "expected a list, found a binary of 2 bytes");
    refuses::<Vec<Term>>("\"ab\"", "expected a list, found a binary of 2 bytes");
    refuses::<Vec<Option<u8>>>("\"ab\"", "expected a list, found a binary of 2 bytes");
    refuses::<Vec<IgnoredAny>>("\"ab\"", "expected a list, found a binary of 2 bytes");
    refuses::<Vec<String>>("\"\"", "expected a list, found a binary of 0 bytes");
    refuses::<Vec<u8>>("<<1::size(1)>>", "expected a sequence, found a bitstring");
}

#[test]
fn a_list_of_bytes_decodes_as_bytes() {
    let bytes = |bytes: &[u8]| ByteBuf::from(bytes);
    takes("[0, 255]", bytes(&[0, 255]));
    takes("[]", bytes(&[]));
    takes("[0, 255]", Some(bytes(&[0, 255])));
    for (packed, whole) in [
        (&[131, 107, 0, 2, 1, 200][..], &[1, 200][..]),
        (
            &[131, 108, 0, 0, 0, 1, 97, 7, 107, 0, 2, 1, 200],
            &[7, 1, 200],
        ),
    ] {
        assert_eq!(etf::from_slice::<ByteBuf>(packed), Ok(bytes(whole)));
    }
    let packed = [131, 107, 0, 2, 1, 200];
    let checked = etf::check(&packed, &Limits::default()).unwrap();
    assert_eq!(checked.decode::<&[u8]>().unwrap(), [1, 200]);
    for list in ["[256]", "[-1]", "[1, :a]", "[1 | 2]", "[1.0]"] {
        refuses::<ByteBuf>(list, "expected byte array, found a list");
    }
}

#[test]
fn a_charlist_may_be_nested_lists() {
    for (list, text) in [
        (
            &[
                131, 108, 0, 0, 0, 1, 98, 0, 0, 0x20, 0xac, 107, 0, 2, b'a', 0xe9,
            ][..],
            "\u{20ac}a\u{e9}",
        ),
        (
            &[
                131, 108, 0, 0, 0, 1, 97, b'a', 108, 0, 0, 0, 1, 97, b'b', 106,
            ],
            "ab",
        ),
        (&[131, 108, 0, 0, 0, 0, 107, 0, 1, b'a'], "a"),
    ] {
        assert_eq!(etf::from_slice::<String>(list).as_deref(), Ok(text));
        assert!(etf::from_slice::<Vec<u32>>(list).is_ok());
    }
    for list in ["[97 | 98]", "[97, :b]", "[1114112]", "[-1]"] {
        refuses::<String>(list, "expected a string, found a list");
    }
}

#[test]
fn an_integer_of_any_size_decodes_as_the_nearest_float() {
    let float = |text: &str| {
        let (integer, float) = (term(text), text.parse::<f64>().unwrap());
        let payload = etf::to_vec(&integer).unwrap();
        let taken = etf::from_slice::<f64>(&payload);
        match float.is_finite() {
            true => assert_eq!(taken, Ok(float), "{text}"),
            false => assert!(
                taken.unwrap_err().to_string().contains("expected f64"),
                "{text}"
            ),
        }
        let float = text.parse::<f32>().unwrap();
        let taken = etf::from_slice::<f32>(&payload);
        match float.is_finite() {
            true => assert_eq!(taken, Ok(float), "{text}"),
            false => assert!(
                taken.unwrap_err().to_string().contains("expected f32"),
                "{text}"
            ),
        }
    };
    for digits in (1..=320).step_by(3) {
        for digit in ["1", "3", "5", "9"] {
            float(&digit.repeat(digits));
            float(&format!("-{}", digit.repeat(digits)));
        }
    }
    // On both sides of the middle between two floats, and exactly in it.
    for shift in [1, 11, 75, 76, 77, 300, 900] {
        let middle = (1_u128 << 53) + 1;
        let mut magnitude = vec![0_u8; shift / 8];
        magnitude.extend((middle << (shift % 8)).to_le_bytes());
        for low in [0, 1] {
            magnitude[0] |= low;
            let decimal = Term::integer(false, &magnitude).to_string();
            float(&decimal);
        }
    }
    let largest = format!("{:.0}", f64::MAX);
    float(&largest);
    float(&format!("{}9", &largest[..largest.len() - 1]));
    float(&format!("2{}", &largest[1..]));
}

#[test]
fn float_beyond_single_precision_is_rejected() {
    takes("1.5", 1.5_f32);
    takes("-3.4028234663852886e38", f32::MIN);
    refuses::<f32>("1.0e39", "expected f32, found float `1e39`");
    refuses::<Vec<f32>>("[-1.0e300]", "expected f32, found float `-1e300`");
    takes("1.0e-300", 0.0_f32);
}

#[test]
fn a_result_is_ok_or_error() {
    #[track_caller]
    fn maps<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, elixir: &str) {
        let payload = etf::to_vec(&value).unwrap();
        assert_eq!(payload, etf::to_vec(&term(elixir)).unwrap(), "{elixir}");
        assert_eq!(etf::from_slice::<T>(&payload), Ok(value));
    }
    type Outcome = Result<u8, String>;
    maps(Outcome::Ok(5), "{:ok, 5}");
    maps(Outcome::Err("no".into()), "{:error, \"no\"}");
    maps(Ok::<(), ()>(()), "{:ok, nil}");
    maps(vec![Some(Ok::<_, ()>((1_u8, 2_u8)))], "[{:ok, {1, 2}}]");
    maps(Ok::<_, ()>(Err::<(), u8>(1)), "{:ok, {:error, 1}}");
    takes(":ok", Ok::<(), String>(()));
    takes(":error", Err::<u8, ()>(()));
    takes(":ok", Ok::<Option<u8>, String>(None));
    takes("{:Ok, 5}", Outcome::Ok(5));
    takes("{:Err, \"no\"}", Outcome::Err("no".into()));
    refuses::<Outcome>(":ok", "expected u8, found atom `nil`");
    refuses::<Outcome>("{:ok, 1, 2}", "expected a tuple of 2, found a tuple of 3");
    refuses::<Outcome>(
        "{:okay, 1}",
        "unknown variant `okay`, expected `Ok` or `Err`",
    );
    refuses::<Outcome>("5", "expected enum Result, found integer `5`");

    /// Only the standard one is called so.
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    enum Status {
        Ok(u8),
        Err(u8),
    }
    maps(Status::Ok(5), "{:Ok, 5}");
    maps(Status::Err(5), "{:Err, 5}");
    refuses::<Status>("{:ok, 5}", "unknown variant `ok`, expected `Ok` or `Err`");
}
