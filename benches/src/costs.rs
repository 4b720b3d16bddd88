//! Small costs: universes, local calls, codec.
//!
//! ```text
//! cargo run --release --manifest-path benches/Cargo.toml --bin costs
//! ```
//!
//! Nanoseconds are of this machine in this minute; the ratio to the line each group begins with is
//! what to look at. The lines of a group take turns.

use std::{
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::Instant,
};

use erps::{Sharded, Universe, universe, wire::etf};

static PLAIN: AtomicU64 = AtomicU64::new(0);
static SHARDED: Sharded<AtomicU64> = Sharded::new(AtomicU64::default);

fn main() {
    let world = Universe::new();
    let simulated = Universe::simulated(1);
    let executor = smol::LocalExecutor::new();
    let spawn_and_run = |future: &dyn Fn() -> Pin<Box<dyn Future<Output = ()>>>| {
        executor.spawn(future()).detach();
        black_box(executor.try_tick());
    };

    let count = || SHARDED.with(|counter| counter.load(Relaxed));
    group(
        "a counter is read",
        &mut [
            ("an atomic static", &mut || {
                _ = black_box(PLAIN.load(Relaxed))
            }),
            ("sharded, in no universe", &mut || _ = black_box(count())),
        ],
    );
    world.enter(|| {
        group(
            "a counter is read, in a universe",
            &mut [
                ("an atomic static", &mut || {
                    _ = black_box(PLAIN.load(Relaxed))
                }),
                ("sharded", &mut || _ = black_box(count())),
            ],
        );
    });

    group(
        "a future is polled",
        &mut [
            ("as it is", &mut polling(pending())),
            (
                "with tokio's task-local",
                &mut polling(LOCAL.scope(1, pending())),
            ),
            (
                "inherited, in no universe",
                &mut polling(universe::inherit(pending())),
            ),
            ("in its universe", &mut polling(world.scope(pending()))),
            (
                "in a simulated universe",
                &mut polling(simulated.scope(pending())),
            ),
        ],
    );

    group(
        "a task is spawned, and run to its end",
        &mut [
            ("as it is", &mut || spawn_and_run(&|| Box::pin(async {}))),
            ("inherited, in no universe", &mut || {
                spawn_and_run(&|| Box::pin(universe::inherit(async {})));
            }),
            ("in its universe", &mut || {
                spawn_and_run(&|| world.enter(|| Box::pin(universe::inherit(async {}))));
            }),
            ("in a simulated universe", &mut || {
                spawn_and_run(&|| simulated.enter(|| Box::pin(universe::inherit(async {}))));
            }),
        ],
    );

    let value = ("echo", "thirty-two bytes of echoed text.");
    let bytes = etf::to_vec(&value).expect("a term");
    let mut out = Vec::new();
    group(
        "{:echo, \"thirty-two bytes …\"} as a term",
        &mut [
            ("encoded", &mut || {
                out.clear();
                let _ = black_box(etf::encode_into(&mut out, &value));
            }),
            ("checked and decoded", &mut || {
                let _ = black_box(etf::from_slice::<(String, String)>(&bytes));
            }),
        ],
    );
}

tokio::task_local! {
    static LOCAL: u64;
}

/// A future that is never ready, and opaque to the optimiser.
fn pending() -> impl Future<Output = ()> {
    std::future::poll_fn(|_| {
        black_box(PLAIN.load(Relaxed));
        Poll::Pending
    })
}

/// Returns a closure that polls a pending future.
fn polling(future: impl Future<Output = ()> + 'static) -> impl FnMut() {
    let mut future = Box::pin(future);
    move || {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = black_box(pin!(&mut future).poll(&mut cx));
    }
}

/// Prints the median time of one round of each line, measured in turns, and its ratio to the first.
fn group(what: &str, lines: &mut [(&str, &mut dyn FnMut())]) {
    const ROUNDS: u32 = 10_000;
    let mut samples = vec![Vec::new(); lines.len()];
    for _ in 0..101 {
        for ((_, round), samples) in lines.iter_mut().zip(&mut samples) {
            let start = Instant::now();
            for _ in 0..ROUNDS {
                round();
            }
            samples.push(start.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
        }
    }
    println!("{what}");
    let mut base = None;
    for ((name, _), mut samples) in lines.iter().zip(samples) {
        samples.sort_by(f64::total_cmp);
        let median = samples[samples.len() / 2];
        let ratio = median / *base.get_or_insert(median);
        println!("  {name:<28} {median:>8.1} ns {ratio:>8.2}");
    }
}
