//! No error, `Debug` output, event or panic contains a part of a PEM text, however it is damaged.

use std::{
    collections::HashSet,
    env, error, fmt, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process,
};

use erps::{PeerIdentity, TestCa, TestCertificate, Tls};
use proptest::{prelude::*, sample::select};

use super::HOST;
use crate::support::events::Warnings;

/// The length from which a part counts as leaked.
const PART: usize = 8;

/// Finds parts of secrets in texts.
struct Detector {
    secrets: Vec<Vec<u8>>,
    pieces: HashSet<Vec<u8>>,
}

impl Detector {
    /// The secrets are the bodies of these PEM texts, in base64 and decoded.
    fn new(pems: &[&str]) -> Self {
        let mut secrets = Vec::new();
        for pem in pems {
            let lines = pem.lines().filter(|line| !line.starts_with("--"));
            let body: String = lines.collect();
            secrets.push(decode(&body));
            secrets.push(body.into_bytes());
        }
        let pieces = secrets.iter().flat_map(|it| it.windows(PART));
        Self {
            pieces: pieces.map(<[u8]>::to_vec).collect(),
            secrets,
        }
    }

    /// Returns the part found in `text`: as text, in decimal or in hexadecimal.
    fn find(&self, text: &str) -> Option<String> {
        let decimal: Vec<u8> = text
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect();
        let bare = text.replace("0x", "").replace("\\x", "");
        let digits: Vec<_> = bare
            .chars()
            .filter(|c| !", :[]{}()\n\"".contains(*c))
            .map(|c| c.to_digit(16))
            .collect();
        let hex = |offset| -> Vec<_> {
            let pairs = digits.get(offset..).unwrap_or_default().chunks_exact(2);
            let byte = |two: &[Option<u32>]| Some(two[0]? * 16 + two[1]?);
            pairs.map(byte).collect()
        };
        let hexadecimal = [hex(0), hex(1)].concat();
        let hexadecimal = hexadecimal.split(Option::is_none).map(|run| {
            let bytes = run.iter().flatten().map(|byte| *byte as u8);
            bytes.collect::<Vec<u8>>()
        });
        let mut all = vec![text.as_bytes().to_vec(), decimal];
        all.extend(hexadecimal);
        all.iter()
            .flat_map(|bytes| bytes.windows(PART))
            .find(|piece| self.pieces.contains(*piece))
            .map(|piece| String::from_utf8_lossy(piece).into_owned())
    }

    fn check(&self, text: &str) {
        if let Some(piece) = self.find(text) {
            panic!("{piece:?} is in {text:?}");
        }
    }
}

fn decode(base64: &str) -> Vec<u8> {
    let alphabet = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for c in base64.bytes().filter(|c| *c != b'=') {
        bits = bits << 6 | u32::from(alphabet(c));
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

/// Returns all texts of an error: `Display`, `Debug`, and those of its sources.
fn said(error: &dyn error::Error) -> String {
    let mut said = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(error) = source {
        said += &format!(" {error} {error:?}");
        source = error.source();
    }
    said
}

fn outcome<T: fmt::Debug, E: error::Error>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => said(&error),
    }
}

/// A way to damage a text.
#[derive(Clone, Debug)]
enum Damage {
    Cut(usize),
    Flip(usize, u8),
    Line(usize, &'static str),
    NoLine(usize),
    Replace(&'static str, &'static str),
    Wide(bool, bool),
    Before(&'static str),
    Twice,
    Decoded,
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let line = select(
        &[
            "",
            " ",
            "Proc-Type: 4,ENCRYPTED",
            "x: y",
            "\0",
            "-----",
            "é\u{feff}",
        ][..],
    );
    let replace = select(
        &[
            ("\n", "\\n"),
            ("\n", "\r\n"),
            ("\n", "\r"),
            ("\n", " "),
            ("\n", ""),
            ("\n", "\n    "),
            ("-----", "----"),
            ("-----", "------"),
            ("-----\n", "----- "),
            ("-----\n", "-----"),
            ("BEGIN ", "BEGIN  "),
            ("BEGIN ", "begin "),
            ("-----END ", "-----BEGIN "),
            ("-----END ", "\n"),
            ("-----BEGIN ", "\n"),
            (" KEY", " KEY "),
            ("PRIVATE KEY", "CERTIFICATE"),
            ("PRIVATE KEY", "EC PRIVATE KEY"),
            ("PRIVATE KEY", "OPENSSH PRIVATE KEY"),
            ("CERTIFICATE", "PRIVATE KEY"),
            ("A", "-"),
            ("M", "\\"),
        ][..],
    );
    let before = select(
        &[
            "\u{feff}",
            "\"",
            "KEY=",
            "# ",
            "x\n",
            "/etc/",
            "{\"key\": \"",
        ][..],
    );
    let one = prop_oneof![
        any::<usize>().prop_map(Damage::Cut),
        any::<(usize, u8)>().prop_map(|(at, by)| Damage::Flip(at, by)),
        (any::<usize>(), line).prop_map(|(at, line)| Damage::Line(at, line)),
        any::<usize>().prop_map(Damage::NoLine),
        replace.prop_map(|(from, to)| Damage::Replace(from, to)),
        any::<(bool, bool)>().prop_map(|(little, mark)| Damage::Wide(little, mark)),
        before.prop_map(Damage::Before),
        Just(Damage::Twice),
        Just(Damage::Decoded),
    ];
    prop::collection::vec(one, 1..4)
}

impl Damage {
    fn apply(&self, mut text: Vec<u8>) -> Vec<u8> {
        let length = text.len().max(1);
        let string = String::from_utf8_lossy(&text).into_owned();
        let mut lines: Vec<_> = string.lines().collect();
        match *self {
            Self::Cut(at) => text.truncate(at % length),
            Self::Flip(at, by) => {
                if let Some(byte) = text.get_mut(at % length) {
                    *byte ^= by;
                }
            }
            Self::Line(at, line) => {
                lines.insert(at % (lines.len() + 1), line);
                return lines.join("\n").into_bytes();
            }
            Self::NoLine(at) => {
                if !lines.is_empty() {
                    lines.remove(at % lines.len());
                }
                return lines.join("\n").into_bytes();
            }
            Self::Replace(from, to) => return string.replace(from, to).into_bytes(),
            Self::Wide(little, mark) => {
                let mark = if mark { "\u{feff}" } else { "" };
                let units = mark.encode_utf16().chain(string.encode_utf16());
                return match little {
                    true => units.flat_map(u16::to_le_bytes).collect(),
                    false => units.flat_map(u16::to_be_bytes).collect(),
                };
            }
            Self::Before(prefix) => return [prefix.as_bytes(), &text].concat(),
            Self::Twice => text.extend_from_within(..),
            Self::Decoded => {
                let body = lines.iter().filter(|line| !line.starts_with("--"));
                return decode(&body.copied().collect::<String>());
            }
        }
        text
    }
}

struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let directory = env::temp_dir().join(format!("erps-secrets-{}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Passes `text` to everything that takes a PEM text or a path, and returns all output.
fn give_everywhere(text: &[u8], ca: &TestCa, own: &TestCertificate, files: &Files) -> Vec<String> {
    let (root, certificate, key) = (ca.pem(), &own.certificate, &own.key);
    let tls = ca.tls_with(own);
    let (bad, good) = (files.write("bad", text), files.write("good", key));
    let (root_file, own_file) = (files.write("ca", &root), files.write("own", certificate));
    let from_files = |a: &Path, b: &Path, c: &Path| outcome(Tls::from_files(a, b, c));
    let mut said = vec![
        outcome(Tls::from_pem(text, certificate, key)),
        outcome(Tls::from_pem(&root, text, key)),
        outcome(Tls::from_pem(&root, certificate, text)),
        outcome(Tls::from_pem(text, text, text)),
        outcome(tls.clone().revocation_lists(text)),
        outcome(tls.clone().revocation_file(&bad)),
        from_files(&bad, &own_file, &good),
        from_files(&root_file, &bad, &good),
        from_files(&root_file, &own_file, &bad),
    ];
    // A readable certificate is public and can be shown.
    let unreadable = PeerIdentity::from_der(text).err();
    said.extend(unreadable.map(|error| self::said(&error)));
    let string = String::from_utf8_lossy(text).into_owned();
    let as_path = Path::new(&string);
    // A short text is taken for a path.
    if string.len() > 40 {
        said.extend([
            from_files(as_path, &own_file, &good),
            from_files(&root_file, as_path, &good),
            from_files(&root_file, &own_file, as_path),
            outcome(tls.revocation_file(as_path)),
        ]);
    }
    let reloaded = Tls::from_files(&root_file, &own_file, &good).unwrap();
    fs::write(&good, text).unwrap();
    said.push(outcome(reloaded.reload()));
    said
}

#[test]
fn damaged_pem_does_not_appear_in_errors_events_or_debug() {
    let ca = TestCa::new();
    let own = ca.issue(&HOST);
    let files = Files::new();
    let detector = Detector::new(&[&own.key, &own.certificate]);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let which = select(vec![own.key.clone(), own.certificate.clone()]);
    let outcome = runner.run(&(which, damages()), |(pem, damages)| {
        let text = damages
            .iter()
            .fold(pem.into_bytes(), |text, it| it.apply(text));
        Warnings::capture_all(|events| {
            let said = give_everywhere(&text, &ca, &own, &files);
            said.iter().for_each(|text| detector.check(text));
            events.take().iter().for_each(|text| detector.check(text));
        });
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn private_key_does_not_appear_in_debug() {
    let ca = TestCa::new();
    let own = ca.issue(&HOST);
    let detector = Detector::new(&[&own.key]);
    let request = format!("{:?}", ca.request(&HOST));
    for text in [
        format!("{ca:?}"),
        format!("{own:?}"),
        format!("{:#?}", ca.tls_with(&own)),
        request,
    ] {
        detector.check(&text);
    }
}

#[test]
fn panic_about_a_damaged_key_does_not_contain_it() {
    let ca = TestCa::new();
    let mut own = ca.issue(&HOST);
    let detector = Detector::new(&[&own.key]);
    own.key = own.key.trim_end().replace('\n', "\\n");
    let made = catch_unwind(AssertUnwindSafe(|| ca.tls_with(&own)));
    detector.check(&made.unwrap_err().downcast::<String>().unwrap());
}

#[test]
fn detector_finds_parts_as_text_decimal_and_hexadecimal() {
    let own = TestCa::new().issue(&HOST);
    let detector = Detector::new(&[&own.key]);
    for secret in &detector.secrets {
        let piece = &secret[20..40];
        let hex: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
        let spaced: Vec<_> = piece.iter().map(|byte| format!("0x{byte:02X}")).collect();
        assert!(detector.find(&format!("error: {piece:?}")).is_some());
        assert!(detector.find(&format!("error {hex}!")).is_some());
        assert!(detector.find(&spaced.join(", ")).is_some());
    }
    let text = String::from_utf8(detector.secrets[1][30..38].to_vec()).unwrap();
    assert!(detector.find(&format!("\"{text}\"")).is_some());
    assert_eq!(detector.find("the private key PEM cannot be used"), None);
}

#[test]
fn password_in_a_server_name_does_not_appear_in_output() {
    let tls = TestCa::new()
        .tls(&HOST)
        .server_name("https://me:sesame@host");
    assert!(!format!("{tls:?}").contains("sesame"));
    let error = super::run(async {
        let (_server, stream) = super::pair().await;
        erps::Transport::connect(&tls, Box::new(stream), "localhost").await
    });
    let said = said(&error.unwrap_err());
    assert!(said.contains("@host") && !said.contains("sesame"), "{said}");
}
