//! A process that runs out of descriptors for real: in one of its own, where nobody else minds.
#![cfg(target_os = "linux")]

use std::{fs::File, os::unix::fs::FileExt as _, process::Command, time::Instant};

use erps::DaemonEvent;
use smol::{Timer, future, net::TcpStream};

use super::*;
use crate::support::{
    fixture,
    lab::{eventually, is_served},
};

/// How many descriptors the child may have.
const LIMIT: &str = "128";

/// How long it has none.
const SHORTAGE: std::time::Duration = secs(3);

#[test]
fn a_daemon_without_descriptors_rests_serves_who_is_there_and_recovers_by_itself() {
    let run = format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &run]);
    let said = fixture::passes_in(shell, "hostile::descriptors::short_of_descriptors");
    assert!(said.contains("recovered"), "{said}");
}

/// The time that a process has computed so far, by its `stat`, in ticks of a hundredth of a second.
fn computed(stat: &File) -> u64 {
    let mut bytes = [0; 1024];
    let length = stat.read_at(&mut bytes, 0).unwrap();
    let stat = std::str::from_utf8(&bytes[..length]).unwrap();
    // The name may hold blanks; it ends with the last parenthesis.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<_> = fields.split_whitespace().collect();
    let ticks = |n: usize| fields[n].parse::<u64>().unwrap();
    ticks(11) + ticks(12)
}

#[test]
#[ignore = "it needs a process of its own, with few descriptors"]
fn short_of_descriptors() {
    run(async {
        let (daemon, _watch) = daemon().await;
        let mut events = daemon.events();
        let good = lab::client(&daemon).connect().await.unwrap();
        is_served(&good).await;
        // Some come and wait; then the test takes all descriptors there are.
        daemon.suspend();
        let mut newcomers = Vec::new();
        for _ in 0..5 {
            newcomers.push(TcpStream::connect(daemon.local_addr()).await.unwrap());
        }
        let stat = File::open("/proc/self/stat").unwrap();
        let mut hoard = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            hoard.push(file);
        }
        assert!(hoard.len() > 20, "{} are too few to be sure", hoard.len());
        daemon.resume();
        let error = loop {
            match events.next().await.expect("the daemon lives") {
                DaemonEvent::AcceptPaused { error, .. } => break error,
                DaemonEvent::Closed { .. } => panic!("{:?}", daemon.info()),
                _ => {}
            }
        };
        assert_eq!(error.raw_os_error(), Some(24), "{error}");
        let (accepted, before, start) = (daemon.info().accepted, computed(&stat), Instant::now());
        // Who is there is served meanwhile, and the daemon does not spin.
        let mut calls = 0;
        while start.elapsed() < SHORTAGE {
            is_served(&good).await;
            calls += 1;
            Timer::after(ms(50)).await;
        }
        let ticks = computed(&stat) - before;
        println!("{calls} calls and {ticks} ticks of work in {SHORTAGE:?}");
        // One that spins has a hundred a second, or what a busy machine leaves it.
        assert!(ticks < 25, "{ticks} ticks of work in {SHORTAGE:?}");
        assert_eq!(daemon.info().accepted, accepted);
        // Nobody tells it that there are some again.
        drop(hoard);
        let resumed = async {
            loop {
                if let DaemonEvent::AcceptResumed { after, .. } = events.next().await.unwrap() {
                    return after;
                }
            }
        };
        let late = async {
            Timer::after(secs(10)).await;
            panic!("it does not recover")
        };
        let after = future::or(resumed, late).await;
        assert!(after >= SHORTAGE, "{after:?}");
        let newcomers_are_in = || daemon.info().servers == 1 + newcomers.len();
        eventually("those who waited are in", newcomers_are_in).await;
        for stream in newcomers {
            let mut peer = Raw::new(stream);
            peer.send(&raw::call(1, ":ping")).await;
            assert_eq!(peer.text().await, Some((Kind::Reply, "{:pong, 1}".into())));
        }
        assert_eq!(daemon.info().accept_pauses, 1);
        println!("recovered after {after:?}");
    });
}
