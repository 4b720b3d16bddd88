//! Small costs: universes, local calls, codec.
//!
//! ```text
//! cargo run --release --manifest-path benches/Cargo.toml --bin costs
//! ```
//!
//! Nanoseconds are of this machine in this minute; the ratio to the line each group begins with is
//! what to look at.

use std::{
    future::Future,
    hint::black_box,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::Instant,
};

use erps::{Sharded, Universe, universe, wire::etf};

static PLAIN: AtomicU64 = AtomicU64::new(0);
static SHARDED: Sharded<AtomicU64> = Sharded::new(AtomicU64::default);

fn main() {
    let world = Universe::new();

    println!("a counter is read");
    let base = line("an atomic static", None, || PLAIN.load(Relaxed));
    line("sharded, in no universe", Some(base), || {
        SHARDED.with(|counter| counter.load(Relaxed))
    });
    world.enter(|| {
        line("sharded, in a universe", Some(base), || {
            SHARDED.with(|counter| counter.load(Relaxed))
        });
    });

    println!("a future is polled");
    let base = line("as it is", None, polling(pending()));
    line(
        "with tokio's task-local",
        Some(base),
        polling(LOCAL.scope(1, pending())),
    );
    line(
        "inherited, in no universe",
        Some(base),
        polling(universe::inherit(pending())),
    );
    line(
        "in its universe",
        Some(base),
        polling(world.scope(pending())),
    );

    println!("{{:echo, \"thirty-two bytes …\"}} as a term");
    let value = ("echo", "thirty-two bytes of echoed text.");
    let bytes = etf::to_vec(&value).expect("a term");
    let mut out = Vec::new();
    let base = line("encoded", None, || {
        out.clear();
        etf::encode_into(&mut out, &value)
    });
    line("checked and decoded", Some(base), || {
        etf::from_slice::<(String, String)>(&bytes)
    });
}

tokio::task_local! {
    static LOCAL: u64;
}

/// A future that is never ready, and never the same to the compiler.
fn pending() -> impl Future<Output = ()> {
    std::future::poll_fn(|_| {
        black_box(PLAIN.load(Relaxed));
        Poll::Pending
    })
}

/// A closure that polls a future that is never ready.
fn polling(future: impl Future<Output = ()> + 'static) -> impl FnMut() -> Poll<()> {
    let mut future = Box::pin(future);
    move || {
        let mut cx = Context::from_waker(Waker::noop());
        pin!(&mut future).poll(&mut cx)
    }
}

/// Prints what one round takes in the median of many, and its ratio to `base`.
fn line<T>(what: &str, base: Option<f64>, mut round: impl FnMut() -> T) -> f64 {
    const ROUNDS: u32 = 20_000;
    let mut samples: Vec<f64> = (0..101)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..ROUNDS {
                black_box(round());
            }
            start.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    let median = samples[samples.len() / 2];
    let ratio = base.map_or(1.0, |base| median / base);
    println!("  {what:<28} {median:>8.1} ns {ratio:>8.2}");
    median
}
