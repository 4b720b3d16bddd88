//! What submitters and workers say to the daemon.

use serde::{Deserialize, Serialize};

/// A queue of jobs. Submitters submit, workers take and finish.
#[erps::protocol(identifier = "jobs", version = "1.0.0", accepts = "~> 1.0")]
pub(crate) trait Jobs {
    /// Adds a job to the queue, and returns its number.
    async fn submit(text: String) -> i64;

    /// Waits for a job, for workers only. While a worker has a job, it is that one.
    async fn take() -> Result<Job, Refused>;

    /// Finishes the job that this worker has taken.
    async fn done(job: i64, output: String) -> Result<(), Refused>;

    /// Returns how many jobs there are.
    async fn counts() -> Counts;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: i64,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) queued: i64,
    pub(crate) running: i64,
    pub(crate) done: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refused {
    #[error("the name in this certificate is not that of a worker")]
    NotAWorker,
    #[error("the daemon is draining: reconnect and take again")]
    Draining,
    #[error("this worker does not have the job")]
    NotYours,
}
