//! The library's daemons and clients on a simulated network.

use super::*;
use crate::support::lab::{Call, Lab};
use erps::{Client, Status, Tls};

#[test]
fn a_healed_partition_of_ten_minutes_takes_no_real_time() {
    let real = Instant::now();
    simulated(1, |network| async move {
        network.set_default_line(Line::new().latency(ms(20)));
        let (alpha, beta) = (network.host("alpha"), network.host("beta"));
        let (builder, _watch) = lab::daemon();
        let daemon = builder.port(PORT).bind(alpha.ip()).plaintext_anywhere();
        let _daemon = alpha.scope(daemon.start_link()).await.unwrap();
        let client = Client::<Lab>::builder(("alpha", PORT));
        let client = beta.scope(client.connect()).await.unwrap();
        let (_, took) = timed(is_served(&client)).await;
        assert_eq!(took, ms(40));

        network.partition("alpha", "beta");
        let asked = time::now();
        assert!(client.call(Call::Ping).await.is_err());
        assert_eq!(time::now() - asked, secs(5));
        time::sleep(secs(600)).await;
        network.heal("alpha", "beta");
        client
            .until(|status| matches!(status, Status::Connected(_)))
            .await;
        is_served(&client).await;
    });
    eprintln!("{:?}", real.elapsed());
    assert!(real.elapsed() < secs(10));
}
