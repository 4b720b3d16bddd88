//! A process that runs out of file descriptors. It runs separately, so that other tests keep theirs.
#![cfg(target_os = "linux")]

use std::{fs::File, os::unix::fs::FileExt as _, process::Command, time::Instant};

use erps::DaemonEvent;
use smol::{Timer, future, net::TcpStream};

use super::*;
use crate::support::{
    subprocess,
    test_server::{assert_served, eventually},
};

/// The limit of file descriptors of the child process.
const LIMIT: &str = "128";

/// How long no descriptor is free.
const SHORTAGE: std::time::Duration = secs(3);

#[test]
fn daemon_out_of_descriptors_pauses_accepting_serves_its_connections_and_recovers() {
    let run = format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &run]);
    let said = subprocess::passes_in(shell, "hostile::descriptors::short_of_descriptors");
    assert!(said.contains("recovered"), "{said}");
}

/// Returns the CPU time of a process from its `stat` file, in ticks of 10 ms.
fn computed(stat: &File) -> u64 {
    let mut bytes = [0; 1024];
    let length = stat.read_at(&mut bytes, 0).unwrap();
    let stat = std::str::from_utf8(&bytes[..length]).unwrap();
    // The name may contain spaces; it ends at the last parenthesis.
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
        let good = test_server::client(&daemon).connect().await.unwrap();
        assert_served(&good).await;
        // Clients connect and wait in the backlog; then the test opens files until no descriptor is left.
        daemon.suspend();
        let mut waiting = Vec::new();
        for _ in 0..5 {
            waiting.push(TcpStream::connect(daemon.local_addr()).await.unwrap());
        }
        let stat = File::open("/proc/self/stat").unwrap();
        let mut files = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
        }
        assert!(files.len() > 20, "{} are too few to be sure", files.len());
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
        // The connected client is served meanwhile, and the daemon does not busy-loop.
        let mut calls = 0;
        while start.elapsed() < SHORTAGE {
            assert_served(&good).await;
            calls += 1;
            Timer::after(ms(50)).await;
        }
        let ticks = computed(&stat) - before;
        println!("{calls} calls and {ticks} ticks of work in {SHORTAGE:?}");
        // A busy loop uses a hundred ticks per second, or what a loaded machine leaves it.
        assert!(ticks < 25, "{ticks} ticks of work in {SHORTAGE:?}");
        assert_eq!(daemon.info().accepted, accepted);
        // The daemon is not notified that descriptors are free again.
        drop(files);
        let resumed = async {
            loop {
                if let DaemonEvent::AcceptResumed { after, .. } = events.next().await.unwrap() {
                    return after;
                }
            }
        };
        let late = async {
            Timer::after(secs(10)).await;
            panic!("the daemon does not recover")
        };
        let after = future::or(resumed, late).await;
        assert!(after >= SHORTAGE, "{after:?}");
        let all_are_served = || daemon.info().servers == 1 + waiting.len();
        eventually("the waiting clients are served", all_are_served).await;
        for stream in waiting {
            let mut peer = Raw::new(stream);
            peer.send(&raw::call(1, ":ping")).await;
            assert_eq!(peer.text().await, Some((Kind::Reply, "{:pong, 1}".into())));
        }
        assert_eq!(daemon.info().accept_pauses, 1);
        println!("recovered after {after:?}");
    });
}
