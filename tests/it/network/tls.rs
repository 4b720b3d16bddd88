//! TLS on a simulated network: what is encrypted is different each time, what can be seen of it is not.

use super::*;

use std::collections::BTreeSet;

use erps::{Backoff, Client, Status, TestCa, Tls, network::Event};

use crate::support::{
    scale::short_or_long,
    test_server::{Call, Reply, TestProtocol},
};

/// A daemon and three clients with certificates of their own, whose connections are used, lost, and made
/// anew with new certificates; and what can be seen of that.
fn events(seed: u64) -> Vec<Event> {
    simulated(seed, |network| async move {
        let line = Link::new().latency(ms(10)).jitter(ms(9)).pieces(200);
        network.set_default_link(line.bandwidth(1_000_000));
        let root = TestCa::new();
        let ca = root.intermediate();
        let trusting = |names: &[&str]| {
            let own = ca.issue(names);
            let tls = Tls::from_pem(root.pem(), own.certificate, own.key).unwrap();
            tls.resumption(seed.is_multiple_of(2))
        };
        let (builder, _watch) = test_server::daemon();
        let alpha = network.host("alpha");
        let server = trusting(&["alpha"]);
        let daemon = builder.port(PORT).bind(alpha.ip());
        let daemon = daemon.transport(server.clone());
        let daemon = alpha.scope(daemon.start_link()).await.unwrap();
        let mut clients = Vec::new();
        for name in ["beta", "gamma", "delta"] {
            let client =
                Client::<TestProtocol>::builder(("alpha", PORT)).transport(trusting(&[name]));
            let client = client.backoff(Backoff::new(ms(1), secs(1)));
            clients.push((name, network.host(name).enter(|| client.start())));
        }
        for round in 0..3 {
            for (name, client) in &clients {
                client.until(Status::is_connected).await;
                let bytes = vec![7; (time::random() % 20_000) as usize];
                let echo = client.call(Call::Echo(bytes.clone())).await;
                assert_eq!(echo.unwrap(), Reply::Bytes(bytes));
                let peer = client.call(Call::Peer).await.unwrap();
                assert_eq!(peer, Reply::Peer(Some((*name).into())));
                if time::random().is_multiple_of(2) {
                    network.reset("alpha", *name);
                    client.until(|it| !it.is_connected()).await;
                }
            }
            if round == 1 {
                server.rotate(&trusting(&["alpha"]));
            }
        }
        drop(clients);
        daemon.shutdown().await;
        network.events()
    })
}

#[test]
fn same_seed_gives_the_same_events_over_tls() {
    let all: Vec<_> = (0..short_or_long(8, 50)).map(events).collect();
    for (seed, first) in (0..).zip(&all) {
        let second = events(seed);
        let differs = first.iter().zip(&second).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
    let different: BTreeSet<_> = all.iter().map(|it| format!("{it:?}")).collect();
    assert_eq!(different.len(), all.len());
}
