//! Arbitrary bytes for all that reads them: what the fuzzer of `fuzz/` does, for a moment and on stable.
//!
//! Each target is run with seeds, among them what once was found to be wrong (`corpus/`), and with mutations of
//! these, always the same ones.

#[path = "fuzz/seeds.rs"]
mod seeds;
#[path = "fuzz/targets.rs"]
mod targets;

use std::{env, fs, path::Path, thread};

use crate::support::extent::short_or_long;
use targets::{decoder, handshake, identity, proxy, server, term, text};

/// Says which input it was.
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
        let _said = Input(bytes);
        run(bytes);
    };
    let seeds = seeds::of(name);
    seeds.iter().for_each(|seed| run(seed));
    for number in 0..mutations {
        run(&seeds::mutated(&seeds, number));
    }
}

#[test]
fn a_stream_has_the_same_packets_in_any_pieces() {
    check("decoder", decoder::run, short_or_long(2000, 20_000));
}

#[test]
fn a_payload_that_is_taken_is_written_as_it_was_read() {
    check("term", term::run, short_or_long(2000, 20_000));
}

#[test]
fn a_text_that_is_a_term_is_printed_as_one() {
    check("text", text::run, short_or_long(2000, 20_000));
}

#[test]
fn a_requirement_means_what_its_parts_mean() {
    check("identity", identity::run, short_or_long(500, 5_000));
}

#[test]
fn a_proxy_is_heard_to_the_end_and_no_further() {
    check("proxy", proxy::run, short_or_long(2000, 20_000));
}

#[test]
fn a_daemon_outlives_whatever_a_peer_does() {
    check("server", server::run, short_or_long(100, 1000));
}

#[test]
fn a_daemon_with_tls_outlives_whatever_a_stranger_sends() {
    check("handshake", handshake::run, short_or_long(100, 300));
}

#[test]
#[ignore = "it writes the seeds to the directory ERPS_CORPUS, for the fuzzer"]
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
