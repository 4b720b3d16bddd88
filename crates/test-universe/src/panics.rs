//! Panics of tasks: how they are noted in their universe, and how they are expected.

use crate::{
    context,
    panic_log::TaskPanic,
    resources::task_name,
    trace::SpawnTrace,
    universe::Universe,
    unwind::{self, Panic},
};

impl Universe {
    /// Expects a panic whose message contains `text` in at least one task of this universe.
    ///
    /// Expected panics do not fail the [run](Self::run), and the run fails if none happens. It may be called before or
    /// after the panic, while the run lasts. `#[test_universe::test(panics = "text")]` does the same for a whole test. A
    /// panic of the test itself is not one of a task: use `#[should_panic]` for that.
    ///
    /// # Example
    ///
    /// ```
    /// use test_universe::{Universe, inherit};
    ///
    /// let universe = Universe::simulated(1);
    /// universe.expect_panics("the disk is full");
    /// universe.run(async {
    ///     let writer = inherit(async { panic!("the disk is full") });
    ///     let writer = std::thread::spawn(|| smol::block_on(writer));
    ///     assert!(writer.join().is_err());
    /// });
    /// ```
    pub fn expect_panics(&self, text: impl Into<String>) {
        self.inner.panics.expect(text.into(), true);
    }

    /// Allows panics whose message contains `text` in tasks of this universe, without requiring one. An empty text allows
    /// all panics.
    pub fn allow_panics(&self, text: impl Into<String>) {
        self.inner.panics.expect(text.into(), false);
    }
}

/// Notes in the current universe a panic that has ended the running task or a callback in it.
pub fn note(panic: &Panic) {
    context::with_universe(|universe| {
        let Some(universe) = universe else { return };
        let trace = context::trace();
        universe.inner.panics.add(TaskPanic {
            task: task_name(trace.as_deref().and_then(SpawnTrace::innermost)),
            at: panic.at().map(ToOwned::to_owned),
            message: panic.text().to_owned(),
        });
    });
}

/// Runs user code whose panic must not reach the caller, such as a destructor that an executor or a supervisor runs. A
/// panic is noted, and logged as `what`.
pub fn contain(what: &'static str, f: impl FnOnce()) {
    if let Err(panic) = unwind::catch(f) {
        note(&panic);
        let log = || tracing::error!(target: "test_universe", reason = %panic.text(), "{what}");
        // A subscriber may panic too.
        drop(unwind::catch(log));
    }
}
