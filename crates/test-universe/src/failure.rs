//! Why a test failed, and how it says so.

use std::{fmt, io, time::Duration};

use crate::run::fail;
use crate::unwind::Panic;

/// Why a run of a test failed.
pub(crate) enum Failure {
    Panicked(Panic),
    /// It returned this error.
    Returned(String),
    /// It left this behind, or waited for nothing.
    Left(String),
    Hangs {
        limit: Duration,
        /// How many copies have not stopped either.
        stuck: usize,
        /// Who is computing or blocking in one of these.
        busy: Option<String>,
        /// What lived in one of them, besides its main future.
        living: String,
        /// What has panicked in their tasks.
        panicked: String,
    },
    NoThread(io::Error),
}

impl Failure {
    /// Fails the test. A panic has told of itself already; what else went wrong is told now.
    #[track_caller]
    #[expect(
        clippy::print_stderr,
        reason = "it belongs beside the message of the panic, which is there"
    )]
    pub(crate) fn raise(self, again: &str) -> ! {
        let what = match self {
            Self::Panicked(panic) => {
                eprintln!("{again}");
                panic.resume_guarded()
            }
            Self::Returned(error) => format!("the test returned an error: {error}"),
            Self::Left(text) => text,
            Self::Hangs {
                limit,
                stuck,
                busy,
                living,
                panicked,
            } => {
                let stopped = match stuck {
                    0 => {
                        format!("it had not ended after {limit:?} of real time, and was dropped")
                    }
                    _ => format!(
                        "after {limit:?} of real time it was still running, and {stuck} of its \
                         threads could not be stopped, since they compute or block, as in a \
                         `block_on` or at a lock that is held over an `.await`"
                    ),
                };
                let stopped = match busy.filter(|_| stuck > 0) {
                    Some(busy) => format!("{stopped}; {busy} is at work"),
                    None => stopped,
                };
                let living = match living.is_empty() {
                    true => living,
                    false => format!("; beside the test there were{living}"),
                };
                let panicked = match panicked.is_empty() {
                    true => panicked,
                    false => format!("; before that{panicked}"),
                };
                format!("the test hangs: {stopped}{living}{panicked}")
            }
            Self::NoThread(error) => format!("there is no thread for the test: {error}"),
        };
        fail(&format!("{what}\n{again}"))
    }
}

/// What a test may return: nothing, or a `Result` of nothing whose error can be printed.
#[diagnostic::on_unimplemented(
    message = "a test cannot return `{Self}`",
    note = "it returns nothing, or a `Result<(), E>` whose `E` is `Debug`"
)]
pub trait Outcome {
    /// What the test fails with, if it does.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<O: Outcome, E: fmt::Debug> Outcome for Result<O, E> {
    fn failure(self) -> Option<String> {
        match self {
            Ok(outcome) => outcome.failure(),
            Err(error) => Some(format!("{error:?}")),
        }
    }
}
