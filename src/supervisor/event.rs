//! The tracing events that both kinds of supervisors emit about their children.
//!
//! All have the target `erps`, a name, and the fields `supervisor`, `child`, `task`, `universe` and
//! `reason`, as far as they apply.

use crate::{ExitReason, TaskRef, universe::integration::contain};

/// The subject of an event: a child, and its task or its starter.
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

    /// Emits a warning, or a debug event if the supervisor shut the child down, or if its connection was
    /// closed.
    pub(super) fn exited(self, reason: &ExitReason, was_shut_down: bool) {
        let is_usual = matches!(reason, ExitReason::Disconnected) || !reason.is_abnormal();
        if was_shut_down || is_usual {
            event!(DEBUG, self, "child_exited", Some(reason), "child exited");
        } else {
            event!(WARN, self, "child_exited", Some(reason), "child exited");
        }
    }

    /// Emits that the child, which exited for this reason, is being restarted.
    pub(super) fn restarting(self, reason: &ExitReason) {
        event!(
            DEBUG,
            self,
            "child_restarting",
            Some(reason),
            "child restarting"
        );
    }

    /// Emits that this child's restart exceeds the restart intensity.
    pub(super) fn max_restarts_exceeded(self, reason: &ExitReason) {
        event!(
            WARN,
            self,
            "max_restarts_exceeded",
            Some(reason),
            "too many restarts: the supervisor shuts down"
        );
    }
}

/// Emits that the supervisor, which runs as this task, shuts its children down, and then exits with this reason.
pub(super) fn shuts_down(supervisor: &str, task: &TaskRef, reason: &ExitReason) {
    contain("an event could not be logged", || {
        tracing::event!(
            name: "supervisor_shutting_down",
            target: "erps",
            tracing::Level::DEBUG,
            supervisor,
            task = task.id(),
            universe = task.universe_id(),
            %reason,
            "supervisor shuts its children down"
        )
    });
}
