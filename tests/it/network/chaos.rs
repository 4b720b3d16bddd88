//! Everything that may happen, at random, from many seeds.

use super::*;

use erps::{Client, Daemon, Linked, Status};

use crate::support::{
    cores::cores,
    scale::short_or_long,
    test_server::{Call, TestProtocol, TestServer},
};

const HOSTS: [&str; 3] = ["beta", "gamma", "delta"];
const REPLY: Duration = secs(5);

/// A number below `limit`.
fn any(limit: usize) -> usize {
    let limit = u64::try_from(limit).unwrap();
    usize::try_from(time::random() % limit).unwrap()
}

fn any_line() -> Link {
    let slow = [ms(0), ms(1), ms(40), ms(700)][any(4)];
    let line = Link::new().latency(slow).jitter(slow);
    match any(4) {
        0 => line.pieces(1 + any(100)),
        1 => line.bandwidth(1_000_000),
        2 => line.window(100),
        _ => line,
    }
}

async fn start(network: &Network) -> Linked<Daemon<TestServer>> {
    let alpha = network.host("alpha");
    loop {
        let (builder, _) = test_server::daemon();
        let daemon = builder.port(PORT).bind(alpha.ip()).plaintext_anywhere();
        if let Ok(daemon) = alpha.scope(daemon.start_link()).await {
            return daemon;
        }
        // Its predecessor takes leave of its connections.
        time::sleep(secs(1)).await;
    }
}

async fn misfortune(network: &Network, daemon: &mut Linked<Daemon<TestServer>>) {
    let host = HOSTS[any(HOSTS.len())];
    match any(10) {
        0 => network.partition("alpha", host),
        1 | 2 => network.heal("alpha", host),
        3 => network.reset("alpha", host),
        4 => network.black_hole("alpha", host),
        5 => network.refuse("alpha", PORT),
        6 => network.stop_refusing("alpha", PORT),
        7 => network.fail_accepts("alpha", PORT, [24, 103][any(2)], any(5)),
        8 => network.set_link("alpha", host, any_line()),
        _ => {
            match any(2) {
                0 => daemon.task().kill(),
                _ => daemon.task().request_shutdown(),
            }
            *daemon = start(network).await;
        }
    }
}

async fn call_until(client: &Client<TestProtocol>, end: std::time::Instant) {
    while time::now() < end {
        let size = [0, 10, 1000, 10_000][any(4)];
        let (_, took) = timed(client.call(Call::Echo(vec![0; size]))).await;
        assert!(took <= REPLY, "a call took {took:?}");
        time::sleep(ms(any(2000).try_into().unwrap())).await;
    }
}

fn survive(seed: u64) {
    simulated(seed, |network| async move {
        let mut daemon = start(&network).await;
        let mut clients = Vec::new();
        for name in HOSTS {
            let client = Client::<TestProtocol>::builder(("alpha", PORT)).reply_timeout(REPLY);
            clients.push(network.host(name).enter(|| client.start()));
        }
        let end = time::now() + secs(300);
        let calls = clients.iter().map(|client| call_until(client, end));
        let faults = async {
            while time::now() < end {
                misfortune(&network, &mut daemon).await;
                time::sleep(ms(any(5000).try_into().unwrap())).await;
            }
        };
        future::zip(futures::future::join_all(calls), faults).await;

        network.stop_refusing("alpha", PORT);
        for name in HOSTS {
            network.heal("alpha", name);
            network.set_link("alpha", name, Link::new());
            // A black hole is noticed only by who has something to say.
            network.reset("alpha", name);
        }
        time::sleep(secs(120)).await;
        for client in &clients {
            let status = client.status();
            assert!(
                matches!(status, Status::Connected(_)),
                "seed {seed}: {status:?}"
            );
            assert_served(client).await;
        }
        assert_eq!(network.connections().len(), HOSTS.len(), "seed {seed}");
        assert_eq!(daemon.info().connections, HOSTS.len(), "seed {seed}");
    });
}

#[test]
fn calls_end_in_time_and_clients_reconnect_under_random_faults() {
    let _core = cores(1);
    for seed in 0..short_or_long(4, 20) {
        survive(seed);
    }
}
