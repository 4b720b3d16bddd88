//! The options of TCP sockets, as far as the system tells.

use std::time::Duration;

use erps::TcpOptions;

use crate::support::lab;

/// When the system will ask whether the peer is there, for the connections of a port of this machine:
/// in seconds, as Linux tells it.
fn keepalive_timers(port: u16) -> Vec<f64> {
    let Ok(table) = std::fs::read_to_string("/proc/net/tcp") else {
        println!("skipped: this system has no /proc/net/tcp");
        return Vec::new();
    };
    let established = table.lines().skip(1).filter_map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let (_, local) = columns[1].split_once(':')?;
        let (_, remote) = columns[2].split_once(':')?;
        let ours = [local, remote].contains(&format!("{port:04X}").as_str());
        let (kind, when) = columns[5].split_once(':')?;
        let is_keepalive = columns[3] == "01" && kind == "02";
        let ticks = u64::from_str_radix(when, 16).ok()?;
        (ours && is_keepalive).then_some(ticks as f64 / 100.0)
    });
    established.collect()
}

#[test]
fn the_system_asks_after_idle_peers_on_both_ends_unless_told_not_to() {
    lab::run(async {
        if !cfg!(target_os = "linux") {
            return println!("skipped: only Linux tells its timers");
        }
        for (idle, expected) in [(Some(Duration::from_secs(60)), 2), (None, 0)] {
            let (builder, _watch) = lab::daemon();
            let options = TcpOptions::new().keepalive(idle);
            let daemon = builder.tcp(options.clone()).start_link().await.unwrap();
            let client = lab::client(&daemon).tcp(options).keepalive(None);
            let client = client.connect().await.unwrap();
            lab::is_served(&client).await;
            // What was just sent has a timer of its own until it is acknowledged.
            let timers = || keepalive_timers(daemon.local_addr().port());
            lab::eventually("both have their timers", || timers().len() == expected).await;
            assert!(timers().iter().all(|when| (1.0..=60.0).contains(when)));
        }
    });
}
