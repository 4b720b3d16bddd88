//! Valid inputs to start from, and their mutations.

use std::{fs, path::Path};

use erps::{
    Term,
    wire::{etf, packet::HEADER_LEN},
};
use fastrand::Rng;
use serde_json::Value;

pub(super) const NAMES: [&str; 7] = [
    "decoder",
    "term",
    "text",
    "identity",
    "server",
    "handshake",
    "proxy",
];

/// Returns the seeds of one target, and the files in `corpus/`.
pub(super) fn of(name: &str) -> Vec<Vec<u8>> {
    let mut seeds = match name {
        "decoder" => decoder(),
        "term" => term(),
        "text" => text(),
        "identity" => REQUIREMENTS.map(|it| it.as_bytes().to_vec()).to_vec(),
        "server" => server(),
        "handshake" => Vec::new(),
        "proxy" => proxy(),
        other => panic!("unknown target {other}"),
    };
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/corpus");
    if let Ok(entries) = found.join(name).read_dir() {
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        seeds.extend(paths.into_iter().map(|path| fs::read(path).unwrap()));
    }
    assert!(!seeds.is_empty());
    seeds
}

/// Returns the golden packets, valid and invalid.
fn golden() -> Vec<(Vec<u8>, Option<String>)> {
    let file = include_str!("../../golden/packets.json");
    let records: Vec<Value> = serde_json::from_str(file).unwrap();
    let packet = |record: &Value| {
        let hex = record["hex"].as_str()?.as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
        let bytes = hex.chunks(2).map(|two| digit(two[0]) << 4 | digit(two[1]));
        let text = record["term_elixir"].as_str();
        Some((bytes.collect(), text.map(str::to_owned)))
    };
    records.iter().filter_map(packet).collect()
}

fn decoder() -> Vec<Vec<u8>> {
    let golden = golden();
    let mut all = vec![6, 254, 2];
    all.extend(golden.iter().take(87).flat_map(|(bytes, _)| bytes));
    let each = golden
        .iter()
        .map(|(bytes, _)| [&[6, 96, 8], &bytes[..]].concat());
    each.chain([all]).collect()
}

fn term() -> Vec<Vec<u8>> {
    let golden = golden();
    let payloads = golden
        .iter()
        .filter_map(|(bytes, _)| bytes.get(HEADER_LEN..));
    let payloads = payloads.map(<[u8]>::to_vec).chain(TERMS.map(encoded));
    // Each with the highest limits, and with a combination of the others.
    let limits = (0..32).cycle();
    let seeds = payloads.zip(limits).flat_map(|(payload, limits)| {
        [15, limits].map(|limits| [&[limits], &payload[..]].concat())
    });
    seeds.collect()
}

fn text() -> Vec<Vec<u8>> {
    let golden = golden();
    let texts = golden.into_iter().filter_map(|(_, text)| text);
    texts
        .chain(TERMS.map(str::to_owned))
        .map(String::into_bytes)
        .collect()
}

/// Scripts for the server target.
fn server() -> Vec<Vec<u8>> {
    let steps: Vec<Vec<u8>> = TERMS
        .iter()
        .chain(&[":forget", ":later", ":refuse", ":stop"])
        .flat_map(|text| {
            let term = &encoded(text)[1..];
            let count = u8::try_from(term.len()).unwrap();
            let push = &encoded(&format!("{{:push, {text}}}"))[1..];
            let pushed = u8::try_from(push.len()).unwrap();
            [
                [&[0x10, count], term].concat(),
                [&[5, pushed], push].concat(),
            ]
        })
        .chain([
            // A function term.
            vec![5, 7, 113, 119, 0, 119, 0, 97, 0],
            vec![8],
            vec![12],
            vec![0xcc],
            vec![13],
            vec![14],
            vec![9, 4, b'e', b'r', b'p', b's'],
        ])
        .collect();
    let golden = golden()
        .into_iter()
        .map(|(packet, _)| [&[15], &packet[..]].concat());
    let steps: Vec<_> = steps.into_iter().chain(golden).collect();
    let mut seeds = Vec::new();
    for (number, three) in steps.chunks(3).enumerate() {
        // Most without TLS, which is slow.
        let mode = u8::try_from(number % 16).unwrap() * 2 + u8::from(number % 8 == 0);
        seeds.push([&[mode], &three.concat()[..]].concat());
    }
    seeds
}

fn proxy() -> Vec<Vec<u8>> {
    const LINES: [&str; 6] = [
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nerps",
        "PROXY TCP6 2001:db8::1 ::ffff:1.2.3.4 1 65535\r\n",
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
        "PROXY TCP4 255.255.255.255 0.0.0.0 0 0\r\n\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
    ];
    let binary = |command: u8, family: u8, block: &[u8]| {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        let fixed = [command, family, length[0], length[1]];
        [b"\r\n\r\n\0\r\nQUIT\n", &fixed[..], block].concat()
    };
    let v4 = [192, 0, 2, 1, 198, 51, 100, 7, 220, 4, 1, 187];
    let name = [&v4[..], &[2, 0, 3, b'o', b'w', b'n', 4, 0, 0]].concat();
    // The checksum of this header.
    let summed = [&v4[..], &[3, 0, 4], &[0xd4, 0x5a, 0x11, 0xb9]].concat();
    let mut unix = b"/run/proxy".to_vec();
    unix.resize(216, 0);
    unix[108..113].copy_from_slice(b"/erps");
    let headers = [
        binary(0x21, 0x11, &v4),
        binary(0x21, 0x11, &name),
        binary(0x21, 0x11, &summed),
        binary(0x21, 0x21, &[7; 36]),
        binary(0x21, 0x31, &unix),
        binary(0x20, 0, &[]),
        binary(0x21, 0x12, &v4),
    ];
    let lines = LINES.map(|line| line.as_bytes().to_vec());
    let seeds = lines.into_iter().chain(headers);
    seeds.map(|seed| [&[3], &seed[..]].concat()).collect()
}

fn encoded(text: &str) -> Vec<u8> {
    let term: Term = text.parse().unwrap();
    etf::to_vec(&term).unwrap()
}

const TERMS: [&str; 14] = [
    ":ping",
    "{:add, -12}",
    "{:move, 3, 4000000000}",
    "{:name, %{name: \"x\", size: 1.5, tags: [1, 65535]}}",
    "{:raw, <<255, 0>>}",
    "{:all, [:ping, {:any, [1, 2 | 3]}, {:any, <<1, 7::size(3)>>}]}",
    "%{name: \"order\", size: nil, requests: [:ping]}",
    "%{\"name\" => \"x\", 1 => 2, [] => %{}, {} => -1.0e300}",
    "123456789012345678901234567890",
    "~c\"charlist\"",
    "%Date{year: 2024, month: 2}",
    r##""a \#{b} \" # { ""##,
    "[[[[[[[[[[[[[[[[[{1, %{2 => {3}}}]]]]]]]]]]]]]]]]]",
    "[a: 1, \"b c\": Elixir.Some.Module, é: :\"\\0\\n\\\"\"]",
];

const REQUIREMENTS: [&str; 8] = [
    "1.2.3",
    "~> 0.1.3",
    "~> 1.2",
    ">= 1.0.0 and < 2.0.0 or == 9.9.9",
    "!= 1.2.3 and ~>1.2",
    " 0.0.0  or  255.256.70000 ",
    "1.2.3-rc.1+build",
    "oracle",
];

/// Returns one of the seeds with a few changes, the same for the same number.
pub(super) fn mutated(seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    const INTERESTING: [u8; 12] = [0, 1, 2, 4, 8, 80, 104, 108, 116, 127, 131, 255];
    let mut rng = Rng::with_seed(number);
    let mut bytes = rng.choice(seeds).unwrap().clone();
    for _ in 0..rng.usize(1..6) {
        let length = bytes.len();
        let at = rng.usize(..length.max(1));
        let end = (at + rng.usize(..9)).min(length);
        match rng.u8(..7) {
            0 if at < length => bytes[at] ^= 1 << rng.u8(..8),
            1 if at < length => bytes[at] = *rng.choice(&INTERESTING).unwrap(),
            2 if at < length => bytes[at] = bytes[at].wrapping_add(rng.u8(..)),
            3 => bytes.truncate(at),
            4 if at < length => drop(bytes.drain(at..end)),
            5 if at < length => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let other = rng.choice(seeds).unwrap();
                let from = rng.usize(..other.len().max(1)).min(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes.truncate(1 << 14);
    bytes
}
