//! Hundreds of guests, good and bad, for a while; and then nothing is left of them.
//!
//! What each of them does is drawn from the seed. Over real sockets it takes a second, ten with `ERPS_TEST_ALL`,
//! with the seed of `ERPS_SEED`; in simulated time it takes next to none.

mod guest;
mod house;

use std::{env, fs, process, time::Duration};

use erps::{Network, Universe, network::Link, time};

use self::{guest::Guest, house::House};
use crate::support::{
    extent::short_or_long,
    fixture,
    time::{ms, secs},
};

/// How many there are at a time over real sockets. Each has two descriptors, of the usual 1024.
const GUESTS: u64 = 250;

#[test]
fn hundreds_of_unruly_clients_leave_nothing_behind() {
    let seed = env::var("ERPS_SEED").unwrap_or_else(|_| "0".into());
    println!("to reproduce: ERPS_SEED={seed} cargo test torture::hundreds");
    // In a process of its own, whose descriptors are nobody else's.
    let variables = [("ERPS_SEED", seed.as_str())];
    println!(
        "{}",
        fixture::passes("torture::over_real_sockets", &variables)
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
    let run = |guests, lasts| {
        let storm = time::timeout(lasts + secs(240), storm(seed, guests, lasts));
        let ended = Universe::new().run(storm);
        ended.expect("all guests leave");
    };
    // Nothing is left of what the first connection sets up for all others.
    run(1, ms(1));
    let before = descriptors();
    run(GUESTS, lasts);
    assert_eq!(
        descriptors(),
        before,
        "descriptors of process {}",
        process::id()
    );
}

/// What `/proc` says is open, if there is one. That it is being read counts too, every time.
fn descriptors() -> Vec<String> {
    let mut all: Vec<_> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.display().to_string())
        // Sockets have numbers: it is how many there are that counts.
        .map(|target| target.split(':').next().unwrap_or_default().to_owned())
        .collect();
    all.sort();
    all
}

#[erps::test(simulated, seeds = short_or_long(4, 12), timeout = 300)]
async fn dozens_of_unruly_clients_leave_nothing_behind_whatever_the_order() {
    let seed = Universe::current().unwrap().seed().unwrap();
    let network = Network::current().unwrap();
    network.set_default_link(match seed % 4 {
        0 => Link::new(),
        1 => Link::new().latency(ms(3)).jitter(ms(20)),
        2 => Link::new().pieces(1000),
        _ => Link::new().window(5000),
    });
    storm(seed, 20, secs(1)).await;
}

/// So many guests at a time, one life after the other, for so long. Then nothing is left of them.
async fn storm(seed: u64, guests: u64, lasts: Duration) {
    let house = House::open(seed).await;
    let before = house.living();
    let end = time::now() + lasts;
    let guests = (0..guests).map(|number| {
        let mut guest = Guest::new(&house, seed, number);
        erps::spawn(async move {
            loop {
                guest.live().await;
                if time::now() >= end {
                    return;
                }
            }
        })
    });
    let guests: Vec<_> = guests.collect();
    for guest in guests {
        guest.await;
    }
    house.is_empty(&before).await;
    house.has_room_for_one().await;
    house.is_empty(&before).await;
    house.close().await;
}
