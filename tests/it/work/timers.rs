//! Timers of a server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Instant,
};

use erps::{
    BoxError, Context, ExitReason, InitError, Linked, Protocol, ReplyTo, Server, ServerRef, Timer,
    time,
};

use crate::support::time::{HOUR, STEP, at_once, ms, secs, settled};

/// The name of a tick that takes a second.
const SLOW: u64 = 9;

struct Clock;

impl Protocol for Clock {
    type Call = ();
    type Reply = Vec<u64>;
    type Cast = u64;
    type Push = ();
}

enum Info {
    /// Set a timer: after this many seconds, or every, and with this name.
    After(u64, u64, async_channel::Sender<Timer>),
    Every(u64, u64, async_channel::Sender<Timer>),
    Tick(u64),
    Panics,
}

/// Keeps the names of the ticks, each with the seconds since the start added to a thousand times the name.
struct ClockServer {
    start: Instant,
    ticks: Vec<u64>,
    made: Arc<AtomicU64>,
}

impl Server for ClockServer {
    type Protocol = Clock;
    type Seed = Arc<AtomicU64>;
    type Info = Info;

    async fn init(made: Arc<AtomicU64>, _: &mut Context<Self>) -> Result<Self, InitError> {
        Ok(Self {
            start: time::now(),
            ticks: Vec::new(),
            made,
        })
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<Vec<u64>>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(self.ticks.clone());
        Ok(())
    }

    /// Blocks the server for this many seconds.
    async fn handle_cast(&mut self, seconds: u64, _: &mut Context<Self>) -> Result<(), BoxError> {
        time::sleep(secs(seconds)).await;
        Ok(())
    }

    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<(), BoxError> {
        match info {
            Info::After(seconds, name, timer) => {
                let _ = timer.try_send(cx.send_after(secs(seconds), Info::Tick(name)));
            }
            Info::Every(seconds, name, timer) => {
                let made = Arc::clone(&self.made);
                let make = move || {
                    made.fetch_add(1, SeqCst);
                    Info::Tick(name)
                };
                let _ = timer.try_send(cx.interval(secs(seconds), make));
            }
            Info::Tick(name) => {
                let age = time::now() - self.start;
                self.ticks.push(name * 1000 + age.as_secs());
                if name == SLOW {
                    time::sleep(secs(1)).await;
                }
            }
            Info::Panics => {
                cx.interval(secs(1), || panic!("no tick"));
            }
        }
        Ok(())
    }
}

async fn server() -> (Linked<ServerRef<ClockServer>>, Arc<AtomicU64>) {
    let made = Arc::new(AtomicU64::new(0));
    let server = ServerRef::builder(Arc::clone(&made));
    (server.start_link().await.unwrap(), made)
}

async fn after(server: &ServerRef<ClockServer>, seconds: u64, name: u64) -> Timer {
    let (sender, timer) = async_channel::bounded(1);
    let info = Info::After(seconds, name, sender);
    server.info(info).await.unwrap();
    timer.recv().await.unwrap()
}

async fn every(server: &ServerRef<ClockServer>, seconds: u64, name: u64) -> Timer {
    let (sender, timer) = async_channel::bounded(1);
    let info = Info::Every(seconds, name, sender);
    server.info(info).await.unwrap();
    timer.recv().await.unwrap()
}

#[erps::test(simulated)]
async fn send_after_delivers_at_its_time_in_the_order_of_times() {
    let (server, _) = server().await;
    for (seconds, name) in [(3, 1), (1, 2), (3, 3), (0, 4)] {
        after(&server, seconds, name).await;
    }
    time::sleep(secs(1) - STEP).await;
    assert_eq!(server.call(()).await.unwrap(), [4000]);
    time::sleep(secs(3)).await;
    assert_eq!(server.call(()).await.unwrap(), [4000, 2001, 1003, 3003]);
}

#[erps::test(simulated)]
async fn cancelled_timer_does_not_fire_even_if_it_is_overdue() {
    let (server, _) = server().await;
    let timer = after(&server, 1, 1).await;
    let other = after(&server, 1, 2).await;
    // Both fall due while the server is blocked.
    server.cast(5).await.unwrap();
    time::sleep(secs(3)).await;
    assert!(timer.cancel());
    assert!(!timer.cancel());
    time::sleep(secs(3)).await;
    assert_eq!(server.call(()).await.unwrap(), [2005]);
    assert!(!other.cancel(), "it has fired");
}

#[erps::test(simulated)]
async fn interval_ticks_after_each_period_until_cancelled() {
    let (server, made) = server().await;
    let timer = every(&server, 10, 1).await;
    time::sleep(secs(35)).await;
    assert_eq!(server.call(()).await.unwrap(), [1010, 1020, 1030]);
    assert!(timer.cancel());
    time::sleep(HOUR).await;
    assert_eq!(server.call(()).await.unwrap().len(), 3);
    assert_eq!(made.load(SeqCst), 3);
}

#[erps::test(simulated)]
async fn missed_ticks_are_skipped_and_the_phase_is_kept() {
    let (server, made) = server().await;
    every(&server, 10, 1).await;
    server.cast(47).await.unwrap();
    time::sleep(secs(65)).await;
    // One tick for the four that were missed, and then those of the period.
    assert_eq!(server.call(()).await.unwrap(), [1047, 1050, 1060]);
    assert_eq!(made.load(SeqCst), 3);
}

#[erps::test(simulated)]
async fn overdue_interval_does_not_starve_calls() {
    let (server, _) = server().await;
    // Each tick is due again as soon as it has been handled.
    let (sender, _timer) = async_channel::bounded(1);
    server.info(Info::Every(0, SLOW, sender)).await.unwrap();
    for _ in 0..10 {
        server.cast(1).await.unwrap();
    }
    let ticks = server.call_within((), HOUR).await.unwrap();
    assert!((9..=11).contains(&ticks.len()), "{ticks:?}");
}

#[erps::test(simulated)]
async fn timers_end_with_the_server() {
    let (server, made) = server().await;
    let timer = every(&server, 1, 1).await;
    at_once(server.shutdown()).await;
    time::sleep(HOUR).await;
    assert_eq!(made.load(SeqCst), 0);
    assert!(!timer.cancel());
}

#[erps::test(simulated, panics = "no tick")]
async fn panic_of_an_interval_stops_the_server() {
    let (server, _) = server().await;
    server.info(Info::Panics).await.unwrap();
    let reason = server.exited().await;
    assert!(matches!(reason, ExitReason::Panic(_)), "{reason:?}");
}

#[erps::test(simulated)]
async fn timer_in_a_century_never_fires() {
    let (server, _) = server().await;
    let (sender, _timer) = async_channel::bounded(1);
    let info = Info::After(u64::MAX, 1, sender);
    server.info(info).await.unwrap();
    time::sleep(24 * HOUR).await;
    assert!(server.call(()).await.unwrap().is_empty());
}

#[test]
fn timers_fire_in_real_time_without_a_universe() {
    crate::support::test_server::run(async {
        let (server, made) = server().await;
        let (sender, _timer) = async_channel::bounded(1);
        server.info(Info::Every(0, 1, sender)).await.unwrap();
        let ticked = || made.load(SeqCst) >= 3;
        crate::support::test_server::eventually("three ticks", ticked).await;
    });
}

#[erps::test(simulated)]
async fn a_timer_is_a_message_for_the_timeout() {
    // `Context::timeout` is cancelled by any message: see `handle_timeout` in `idle`.
    let idle = ServerRef::<idle::IdleServer>::builder(())
        .start_link()
        .await;
    let idle = idle.unwrap();
    time::sleep(ms(2500)).await;
    settled().await;
    // The tick at 1 s cancelled the timeout at 1.5 s; no other was set.
    assert_eq!(idle.call(()).await.unwrap(), (1, 0));
}

mod idle {
    use super::*;

    pub(super) struct Idle;

    impl Protocol for Idle {
        type Call = ();
        type Reply = (u32, u32);
        type Cast = ();
        type Push = ();
    }

    /// Counts ticks and timeouts.
    pub(super) struct IdleServer(u32, u32);

    impl Server for IdleServer {
        type Protocol = Idle;
        type Seed = ();
        type Info = ();

        async fn init(_: (), cx: &mut Context<Self>) -> Result<Self, InitError> {
            cx.send_after(secs(1), ());
            cx.timeout(ms(1500));
            Ok(Self(0, 0))
        }

        async fn handle_call(
            &mut self,
            (): (),
            from: ReplyTo<(u32, u32)>,
            _: &mut Context<Self>,
        ) -> Result<(), BoxError> {
            from.reply((self.0, self.1));
            Ok(())
        }

        async fn handle_info(&mut self, (): (), _: &mut Context<Self>) -> Result<(), BoxError> {
            self.0 += 1;
            Ok(())
        }

        async fn handle_timeout(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
            self.1 += 1;
            Ok(())
        }
    }
}
