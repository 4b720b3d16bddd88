//! Expiry of the own certificate: warnings, and the clock that decides.

use std::time::SystemTime;

use erps::{TestCa, Tls, Universe, time::sleep};

use super::{
    HOST,
    rotation::{DAY, MINUTE, tls},
};
use crate::support::{events::Warnings, pem::Pem, test_server};

/// A certificate valid for `of_days` that expires in `in_days`.
fn expiring(ca: &TestCa, in_days: u32, of_days: u32) -> Tls {
    let end = SystemTime::now() + DAY * in_days + MINUTE;
    let own = ca.request(&HOST).valid(end - DAY * of_days, end).issue();
    ca.tls_with(&own)
}

#[test]
fn certificate_close_to_expiry_logs_a_warning_when_set() {
    Warnings::capture(|warnings| {
        let ca = TestCa::new();
        let ends = |expected: bool| {
            let said = warnings.take();
            assert_eq!(said.len(), usize::from(expected), "{said:?}");
            assert!(
                said.iter().all(|it| it.contains("expires soon")),
                "{said:?}"
            );
        };
        let good = expiring(&ca, 14, 365);
        ends(false);
        let left = good.expires().duration_since(SystemTime::now()).unwrap();
        assert!(DAY * 14 < left && left < DAY * 15);
        let bad = expiring(&ca, 13, 365);
        ends(true);
        good.rotate(&bad);
        ends(true);
        // With a validity of three days, the warning comes on the last.
        let _ = expiring(&ca, 1, 3);
        ends(false);
        let _ = expiring(&ca, 0, 3);
        ends(true);
        let _ = expiring(&ca, 20, 365).expiry_warning(DAY * 20);
        ends(false);
        let _ = expiring(&ca, 20, 365).expiry_warning(DAY * 21);
        ends(true);
        let _ = ca.tls_with(&ca.request(&HOST).expired().issue());
        let said = warnings.take();
        assert!(
            said.len() == 1 && said[0].contains("has expired"),
            "{said:?}"
        );
        let list = ca.revocation_list_until(SystemTime::now() - DAY);
        let _ = ca.tls(&HOST).revocation_lists(list).unwrap();
        let said = warnings.take();
        assert!(
            said.len() == 1 && said[0].contains("revocation list"),
            "{said:?}"
        );
    });
}

#[test]
fn watch_logs_one_expiry_warning_per_day() {
    Warnings::capture(|warnings| {
        Universe::simulated(1).virtual_limit(DAY * 366).run(async {
            let ca = TestCa::new();
            let start = SystemTime::now();
            let own = ca.request(&HOST).valid(start - DAY * 100, start + DAY * 20);
            let pem = Pem::new(&ca, &own.issue());
            let tls = tls(&pem);
            let _watch = tls.watch(MINUTE * 7);
            sleep(DAY * 6 - MINUTE * 60).await;
            assert_eq!(warnings.take(), [""; 0]);
            sleep(DAY * 5).await;
            assert_eq!(warnings.take().len(), 5);
            sleep(DAY * 11).await;
            let said = warnings.take();
            assert!(said.last().unwrap().contains("has expired"), "{said:?}");
        });
    });
}

#[test]
fn certificate_expires_by_the_clock_of_the_universe() {
    Universe::simulated(1).virtual_limit(DAY * 366).run(async {
        let ca = TestCa::new();
        let end = SystemTime::now() + DAY * 100;
        let own = ca.request(&["localhost"]).valid(end - DAY * 200, end);
        let (builder, _watch) = test_server::daemon();
        let tls = ca.tls_with(&own.issue());
        let daemon = builder.transport(tls).start_link().await.unwrap();
        let tls = ca.tls(&["guest"]).server_name("localhost");
        let guest = || test_server::client(&daemon).transport(tls.clone());
        sleep(DAY * 99).await;
        guest().connect().await.unwrap();
        sleep(DAY * 2).await;
        guest().connect().await.unwrap_err();
    });
}
