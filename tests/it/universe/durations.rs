//! Durations that nobody would choose: none overflows, none means its opposite, none spins.

use std::time::Duration;

use erps::{
    Backoff, ChildSpec, DynamicSupervisor, ExitReason, Network, Restart, RestartDelay, Shutdown,
    Supervisor, Universe, network::Link, time, universe::Check,
};
use smol::{future, io::AsyncWriteExt as _};

use crate::support::{panics::allowed, subprocess, time::settled};

const ODD: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_millis(1),
    Duration::from_secs(u32::MAX as u64),
    Duration::MAX,
];

/// Longer than the short ones, and shorter than the long ones.
const BETWEEN: Duration = Duration::from_secs(3600);

/// Runs a test with each of them, in a universe of its own.
fn with_each<F: Future<Output = ()>>(test: impl Fn(Duration) -> F) {
    for odd in ODD {
        Universe::simulated(1).run(allowed(test(odd)));
    }
}

/// Whether something ends before a while is over.
async fn ends_soon<T>(something: impl Future<Output = T>) -> bool {
    let ends = async {
        something.await;
        true
    };
    let later = async {
        time::sleep(BETWEEN).await;
        false
    };
    future::or(ends, later).await
}

#[test]
fn sleep_and_timeout_take_any_duration() {
    with_each(async |odd| {
        assert_eq!(ends_soon(time::sleep(odd)).await, odd < BETWEEN, "{odd:?}");
        let never = time::timeout(odd, future::pending::<()>());
        assert_eq!(ends_soon(never).await, odd < BETWEEN, "{odd:?}");
        assert_eq!(time::timeout(odd, future::ready(7)).await, Ok(7));
    });
}

#[test]
fn clock_advances_after_any_advance() {
    with_each(async |odd| {
        let clock = Universe::current().unwrap().clock().unwrap();
        for _ in 0..3 {
            let before = clock.elapsed();
            clock.advance(odd);
            let moved = clock.elapsed() - before;
            assert!(moved <= odd && (odd > Duration::from_secs(1 << 32) || moved == odd));
            let start = time::now() + BETWEEN;
            time::sleep(BETWEEN).await;
            assert_eq!(time::now(), start);
        }
        let far = Duration::from_secs(400 * 365 * 24 * 3600);
        assert!(odd < Duration::MAX || clock.elapsed() > far);
    });
}

/// Ends with a panic, as often as it is started.
fn crashes() -> ChildSpec {
    ChildSpec::task("crashes", |_| async { panic!("as the test asks") })
}

#[test]
fn restart_intensity_takes_any_duration() {
    with_each(async |odd| {
        // They come a second apart.
        let delay = RestartDelay::Fixed(Duration::from_secs(1));
        let supervisor = DynamicSupervisor::builder()
            .max_restarts(2, odd)
            .restart_delay(delay);
        let supervisor = supervisor.start_link();
        supervisor.start_child(crashes()).await.unwrap();
        let gives_up = ends_soon(supervisor.exited()).await;
        assert_eq!(gives_up, odd > Duration::from_secs(2), "{odd:?}");
    });
}

#[test]
fn restart_delay_takes_any_duration() {
    with_each(async |odd| {
        let growing = RestartDelay::Growing {
            backoff: Backoff::new(odd, odd),
            stable: odd,
        };
        for delay in [RestartDelay::Fixed(odd), growing] {
            let builder = Supervisor::builder().max_restarts(3, Duration::MAX);
            let supervisor = builder.restart_delay(delay).child(crashes()).start_link();
            let supervisor = supervisor.await.unwrap();
            let gives_up = ends_soon(supervisor.exited()).await;
            assert_eq!(gives_up, odd < BETWEEN, "{delay:?}");
        }
    });
}

#[test]
fn shutdown_within_takes_any_duration() {
    with_each(async |odd| {
        let stubborn = ChildSpec::task("stubborn", |_| future::pending::<ExitReason>());
        let stubborn = stubborn
            .shutdown(Shutdown::Within(odd))
            .restart(Restart::Temporary);
        let supervisor = DynamicSupervisor::builder().start_link();
        let child = supervisor.start_child(stubborn).await.unwrap();
        let ends = ends_soon(supervisor.terminate_child(&child)).await;
        assert_eq!(ends, odd < BETWEEN, "{odd:?}");
        child.kill();
    });
}

#[test]
fn waiting_for_a_tree_takes_any_duration() {
    with_each(async |odd| {
        let supervisor = DynamicSupervisor::builder().start_link();
        assert!(supervisor.until(odd, |_| true).await.is_ok());
        let never = ends_soon(supervisor.until(odd, |_| false)).await;
        assert_eq!(never, odd < BETWEEN, "{odd:?}");
    });
}

#[test]
fn link_latency_and_jitter_take_any_duration() {
    with_each(async |odd| {
        for line in [Link::new().latency(odd), Link::new().jitter(odd)] {
            let network = Network::current().unwrap();
            network.set_default_link(line);
            let listener = network.listen("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr();
            let _ = ends_soon(async {
                let mut stream = network.connect(address).await?;
                stream.write_all(b"hello").await?;
                stream.close().await
            })
            .await;
            settled().await;
        }
    });
}

#[test]
fn check_timeout_takes_the_longest_duration() {
    let name = concat!(module_path!(), "::check_timeout_takes_the_longest_duration");
    let check = Check::new(name).timeout(Duration::MAX);
    check.run(async || settled().await);
}

#[erps::test(timeout = 1)]
#[ignore = "it is run with another limit"]
async fn is_given_long() {}

#[test]
fn timeout_variable_takes_the_largest_number() {
    let limit = u32::MAX.to_string();
    subprocess::passes(
        "universe::durations::is_given_long",
        &[("ERPS_TIMEOUT", &limit)],
    );
}
