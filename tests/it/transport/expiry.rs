//! The end of this end's own certificate: warned of, and by which clock it comes.

use std::time::SystemTime;

use erps::{TestCa, Tls, Universe, time::sleep};

use super::{
    HOST,
    rotation::{DAY, MINUTE, tls},
};
use crate::support::{events::Warnings, lab, pem::Pem};

/// A chain whose end comes in so many days.
fn ending(ca: &TestCa, in_days: u32, of_days: u32) -> Tls {
    let end = SystemTime::now() + DAY * in_days + MINUTE;
    let own = ca.request(&HOST).valid(end - DAY * of_days, end).issue();
    ca.tls_with(&own)
}

#[test]
fn a_certificate_that_ends_soon_is_warned_of_when_it_comes_into_use() {
    Warnings::during(|warnings| {
        let ca = TestCa::new();
        let ends = |expected: bool| {
            let said = warnings.take();
            assert_eq!(said.len(), usize::from(expected), "{said:?}");
            assert!(
                said.iter().all(|it| it.contains("expires soon")),
                "{said:?}"
            );
        };
        let good = ending(&ca, 14, 365);
        ends(false);
        let left = good.expires().duration_since(SystemTime::now()).unwrap();
        assert!(DAY * 14 < left && left < DAY * 15);
        let bad = ending(&ca, 13, 365);
        ends(true);
        good.rotate(&bad);
        ends(true);
        // Who lives for three days is old on the last.
        let _ = ending(&ca, 1, 3);
        ends(false);
        let _ = ending(&ca, 0, 3);
        ends(true);
        let _ = ending(&ca, 20, 365).expiry_warning(DAY * 20);
        ends(false);
        let _ = ending(&ca, 20, 365).expiry_warning(DAY * 21);
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
fn whoever_watches_the_files_is_warned_of_their_end_once_a_day() {
    Warnings::during(|warnings| {
        Universe::simulated(1).run(async {
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
fn a_certificate_ends_by_the_clock_of_the_universe() {
    Universe::simulated(1).run(async {
        let ca = TestCa::new();
        let end = SystemTime::now() + DAY * 100;
        let own = ca.request(&["localhost"]).valid(end - DAY * 200, end);
        let (builder, _watch) = lab::daemon();
        let tls = ca.tls_with(&own.issue());
        let daemon = builder.transport(tls).start_link().await.unwrap();
        let papers = ca.tls(&["guest"]).server_name("localhost");
        let guest = || lab::client(&daemon).transport(papers.clone());
        sleep(DAY * 99).await;
        guest().connect().await.unwrap();
        sleep(DAY * 2).await;
        guest().connect().await.unwrap_err();
    });
}
