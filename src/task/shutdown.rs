//! How a task is shut down.

use std::time::Duration;

/// How a task is shut down. OTP's `shutdown` of a child specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// Requests the exit, and kills the task if it has not exited within this time.
    Within(Duration),
    /// Requests the exit, and waits without a limit.
    Infinity,
    /// Kills the task without a request: no `terminate` runs.
    BrutalKill,
}

/// Five seconds, as for a worker in OTP.
impl Default for Shutdown {
    fn default() -> Self {
        Self::Within(Duration::from_secs(5))
    }
}
