//! Options of TCP sockets, as far as the operating system exposes them.

use std::time::Duration;

use erps::TcpOptions;

use crate::support::test_server;

/// Returns in how many seconds the keepalive timers of connections with this local or remote port expire,
/// from Linux's `/proc/net/tcp`.
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
fn tcp_keepalive_is_set_on_both_ends_unless_disabled() {
    test_server::run(async {
        if !cfg!(target_os = "linux") {
            return println!("skipped: only Linux exposes its timers");
        }
        for (idle, expected) in [(Some(Duration::from_secs(60)), 2), (None, 0)] {
            let (builder, _watch) = test_server::daemon();
            let options = TcpOptions::new().keepalive(idle);
            let daemon = builder.tcp(options.clone()).start_link().await.unwrap();
            let client = test_server::client(&daemon).tcp(options).keepalive(None);
            let client = client.connect().await.unwrap();
            test_server::assert_served(&client).await;
            // Until sent data is acknowledged, the connection shows its retransmission timer instead.
            let timers = || keepalive_timers(daemon.local_addr().port());
            test_server::eventually("both have their timers", || timers().len() == expected).await;
            assert!(timers().iter().all(|when| (1.0..=60.0).contains(when)));
        }
    });
}
