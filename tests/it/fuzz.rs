//! Short, deterministic runs of the fuzz targets of `fuzz/`, on stable.
//!
//! Each target runs with seeds, among them inputs that once revealed bugs (`corpus/`), and with the same
//! mutations of these each time.

#[path = "fuzz/seeds.rs"]
mod seeds;
#[path = "fuzz/targets.rs"]
mod targets;

use std::{env, fs, path::Path, thread};

use crate::support::scale::short_or_long;
use targets::{decoder, handshake, identity, proxy, server, term, text};

/// Prints the input when the thread panics.
struct Input<'a>(&'a [u8]);

impl Drop for Input<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the input: {:?}", self.0);
        }
    }
}

fn check(name: &str, run: fn(&[u8]), mutations: u64) {
    let run = |bytes: &[u8]| {
        let _input = Input(bytes);
        run(bytes);
    };
    let seeds = seeds::of(name);
    seeds.iter().for_each(|seed| run(seed));
    for number in 0..mutations {
        run(&seeds::mutated(&seeds, number));
    }
}

#[test]
fn decoder_returns_the_same_packets_for_any_pieces() {
    check("decoder", decoder::run, short_or_long(2000, 20_000));
}

#[test]
fn decoded_payload_is_encoded_to_the_same_bytes() {
    check("term", term::run, short_or_long(2000, 20_000));
}

#[test]
fn parsed_term_is_printed_and_parsed_again() {
    check("text", text::run, short_or_long(2000, 20_000));
}

#[test]
fn version_requirement_matches_as_its_parts() {
    check("identity", identity::run, short_or_long(500, 5_000));
}

#[test]
fn proxy_header_is_parsed_to_its_end() {
    check("proxy", proxy::run, short_or_long(2000, 20_000));
}

#[test]
fn daemon_survives_any_peer() {
    check("server", server::run, short_or_long(100, 1000));
}

#[test]
fn daemon_with_tls_survives_any_bytes() {
    check("handshake", handshake::run, short_or_long(100, 300));
}

#[test]
#[ignore = "writes the seeds for the fuzzer to the directory ERPS_CORPUS"]
fn writes_the_seeds() {
    let corpus = env::var_os("ERPS_CORPUS").expect("ERPS_CORPUS");
    for name in seeds::NAMES {
        let directory = Path::new(&corpus).join(name);
        fs::create_dir_all(&directory).unwrap();
        for (number, seed) in seeds::of(name).iter().enumerate() {
            fs::write(directory.join(format!("seed-{number}")), seed).unwrap();
        }
    }
}
