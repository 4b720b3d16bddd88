//! Hundreds of clients, well-behaved and hostile, after which nothing may be left.
//!
//! What each client does follows from the seed. Over real sockets the test runs for a second (ten with
//! `ERPS_TEST_ALL`) with the seed in `ERPS_SEED`; in simulated time it takes hardly any.

mod client;
mod daemons;

use std::{env, fs, process, time::Duration};

use erps::{Network, Universe, network::Link, time};

use self::{client::TestClient, daemons::Daemons};
use crate::support::{
    scale::short_or_long,
    subprocess,
    time::{ms, secs},
};

/// How many clients run concurrently over real sockets. Each has two file descriptors, of the usual limit of
/// 1024.
const CLIENTS: u64 = 250;

#[test]
fn hundreds_of_hostile_clients_leave_nothing_behind() {
    let seed = env::var("ERPS_SEED").unwrap_or_else(|_| "0".into());
    println!("to reproduce: ERPS_SEED={seed} cargo test stress::hundreds");
    // In a separate process, which counts its file descriptors.
    let variables = [("ERPS_SEED", seed.as_str())];
    println!(
        "{}",
        subprocess::passes("stress::over_real_sockets", &variables)
    );
}

#[test]
#[ignore = "it counts the descriptors of its process"]
fn over_real_sockets() {
    let seed = env::var("ERPS_SEED").unwrap();
    let seed = match seed.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => seed.parse().unwrap(),
    };
    let lasts = secs(short_or_long(1, 10));
    let run = |clients, lasts| {
        let run_clients = time::timeout(lasts + secs(240), run_clients(seed, clients, lasts));
        let ended = Universe::new().run(run_clients);
        ended.expect("all clients finish");
    };
    // Warm-up: what the first connection creates stays.
    run(1, ms(1));
    let before = descriptors();
    run(CLIENTS, lasts);
    assert_eq!(
        descriptors(),
        before,
        "descriptors of process {}",
        process::id()
    );
}

/// Returns what `/proc` lists as open, if it exists. Reading the directory is always listed, too.
fn descriptors() -> Vec<String> {
    let mut all: Vec<_> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.display().to_string())
        // Sockets have numbers; only their count matters.
        .map(|target| target.split(':').next().unwrap_or_default().to_owned())
        .collect();
    all.sort();
    all
}

#[erps::test(simulated, seeds = short_or_long(4, 12), timeout = 300)]
async fn dozens_of_hostile_clients_leave_nothing_behind_in_simulated_time() {
    let seed = Universe::current().unwrap().seed().unwrap();
    let network = Network::current().unwrap();
    network.set_default_link(match seed % 4 {
        0 => Link::new(),
        1 => Link::new().latency(ms(3)).jitter(ms(20)),
        2 => Link::new().pieces(1000),
        _ => Link::new().window(5000),
    });
    run_clients(seed, short_or_long(10, 20), secs(1)).await;
}

/// Runs this many clients concurrently for this long, and asserts that nothing is left afterwards.
async fn run_clients(seed: u64, clients: u64, lasts: Duration) {
    let daemons = Daemons::open(seed).await;
    let before = daemons.leftovers();
    let end = time::now() + lasts;
    let clients = (0..clients).map(|number| {
        let mut client = TestClient::new(&daemons, seed, number);
        erps::spawn(async move {
            loop {
                client.run_once().await;
                if time::now() >= end {
                    return;
                }
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    for client in clients {
        client.await;
    }
    daemons.assert_empty(&before).await;
    daemons.assert_accepts_one().await;
    daemons.assert_empty(&before).await;
    daemons.close().await;
}
