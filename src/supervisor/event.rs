//! What supervisors say of their children: the same events, by whichever kind of supervisor.
//!
//! All have the target `erps`, a name, and the fields `supervisor`, `child`, `task`, `universe` and
//! `reason`, as far as there are such.

use crate::{ExitReason, TaskRef, universe::integration::contain};

/// Who an event is about: a child, and its task or the starter that was to make it.
#[derive(Clone, Copy)]
pub(super) struct Event<'a> {
    pub(super) supervisor: &'a str,
    pub(super) child: &'a str,
    pub(super) task: &'a TaskRef,
}

macro_rules! event {
    ($level:ident, $event:expr, $name:literal, $reason:expr, $text:literal) => {{
        let reason: Option<&ExitReason> = $reason;
        contain("an event could not be logged", || tracing::event!(
            name: $name,
            target: "erps",
            tracing::Level::$level,
            supervisor = $event.supervisor,
            child = $event.child,
            task = $event.task.id(),
            universe = $event.task.universe_id(),
            reason = reason.map(tracing::field::display),
            $text
        ));
    }};
}

impl Event<'_> {
    pub(super) fn started(self) {
        event!(DEBUG, self, "child_started", None, "child started");
    }

    pub(super) fn ignored(self) {
        event!(
            DEBUG,
            self,
            "child_ignored",
            None,
            "child had nothing to run"
        );
    }

    pub(super) fn not_started(self, reason: &ExitReason) {
        event!(
            WARN,
            self,
            "child_not_started",
            Some(reason),
            "child did not start"
        );
    }

    /// A child that its supervisor has ended is nothing to be warned of, nor are connections, which
    /// come and go.
    pub(super) fn ended(self, reason: &ExitReason, was_told: bool) {
        let is_usual = matches!(reason, ExitReason::Disconnected) || !reason.is_abnormal();
        if was_told || is_usual {
            event!(DEBUG, self, "child_ended", Some(reason), "child ended");
        } else {
            event!(WARN, self, "child_ended", Some(reason), "child ended");
        }
    }

    /// The child, which ended for this reason, is started again.
    pub(super) fn restarts(self, reason: &ExitReason) {
        event!(
            DEBUG,
            self,
            "child_restarts",
            Some(reason),
            "child restarts"
        );
    }

    /// The end of this child was one too many.
    pub(super) fn gives_up(self, reason: &ExitReason) {
        event!(
            WARN,
            self,
            "supervisor_gives_up",
            Some(reason),
            "too many restarts, the supervisor gives up"
        );
    }
}

/// The supervisor, which is this task, begins to end its children, and will end with this reason.
pub(super) fn ends(supervisor: &str, task: &TaskRef, reason: &ExitReason) {
    contain("an event could not be logged", || {
        tracing::event!(
            name: "supervisor_ends",
            target: "erps",
            tracing::Level::DEBUG,
            supervisor,
            task = task.id(),
            universe = task.universe_id(),
            %reason,
            "supervisor ends its children"
        )
    });
}
