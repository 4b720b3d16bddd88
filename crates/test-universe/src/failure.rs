//! Why a test failed, and what it reports.

use std::{any::Any, error::Error, fmt, io, time::Duration};

use crate::unwind::Panic;

/// Why a run of a test failed.
pub(crate) enum Failure {
    Panicked(Panic),
    /// The test has returned this error.
    Returned(String),
    /// The run has failed with this report.
    Run(String),
    TimedOut(Box<TimedOut>),
    NoThread(io::Error),
}

/// What is known of a test that has not ended in time.
pub(crate) struct TimedOut {
    pub(crate) limit: Duration,
    /// How many copies could not be stopped.
    pub(crate) stuck: usize,
    /// The task that is polled in one of these.
    pub(crate) polled: Option<String>,
    /// What the main future waits for, if that is known.
    pub(crate) waits_for: Option<String>,
    /// The live resources beside the main future, each on a line of its own.
    pub(crate) live: String,
    /// The panics of tasks so far, each on a line of its own.
    pub(crate) panics: String,
    /// What a simulated universe does not wait for.
    pub(crate) hint: Option<&'static str>,
}

impl Failure {
    /// Fails the test. The message of a panic is printed already; the rest is reported now.
    #[track_caller]
    #[expect(
        clippy::print_stderr,
        reason = "it belongs beside the panic's message, which is there"
    )]
    pub(crate) fn raise(self, reproduce: &str) -> ! {
        let message = match self {
            Self::Panicked(panic) => {
                eprintln!("{reproduce}");
                panic.resume_guarded()
            }
            Self::Returned(error) => format!("the test returned an error: {error}"),
            Self::Run(report) => report,
            Self::TimedOut(timed_out) => timed_out.to_string(),
            Self::NoThread(error) => format!("the thread of the test cannot be started: {error}"),
        };
        fail(&format!("{message}\n{reproduce}"))
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit;
        write!(f, "the test timed out after {limit:?} of real time")?;
        match self.stuck {
            0 => write!(f, ", and was dropped")?,
            stuck => write!(
                f,
                ", and {stuck} of its threads could not be stopped, since they compute or block, as in a `block_on` or \
                 at a lock that is held over an `.await`"
            )?,
        }
        if let Some(task) = self.polled.as_ref().filter(|_| self.stuck > 0) {
            write!(f, "; {task} is being polled")?;
        }
        if let Some(waits_for) = &self.waits_for {
            write!(f, "; the main future waits for {waits_for}")?;
        }
        if !self.live.is_empty() {
            write!(f, "; live beside the main future:{}", self.live)?;
        }
        if !self.panics.is_empty() {
            write!(f, "\npanics before that:{}", self.panics)?;
        }
        match self.hint {
            Some(hint) => write!(f, "\n{hint}"),
            None => Ok(()),
        }
    }
}

/// What a test may return: nothing, or a `Result` of nothing whose error is `Debug`.
#[diagnostic::on_unimplemented(
    message = "a test cannot return `{Self}`",
    note = "it returns nothing, or a `Result<(), E>` whose `E` is `Debug`"
)]
pub trait Outcome {
    /// Returns the error that fails the test.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<O: Outcome, E: fmt::Debug + 'static> Outcome for Result<O, E> {
    fn failure(self) -> Option<String> {
        match self {
            Ok(outcome) => outcome.failure(),
            Err(error) => Some(text_of(&error)),
        }
    }
}

/// Returns the text of a boxed error and its sources, and of any other value what `Debug` prints.
fn text_of<E: fmt::Debug + 'static>(error: &E) -> String {
    let value: &dyn Any = error;
    if let Some(error) = value.downcast_ref::<Box<dyn Error + Send + Sync>>() {
        chain(error.as_ref())
    } else if let Some(error) = value.downcast_ref::<Box<dyn Error>>() {
        chain(error.as_ref())
    } else {
        format!("{error:?}")
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// Fails the test.
#[track_caller]
#[expect(clippy::panic, reason = "documented: it is how a test fails")]
pub(crate) fn fail(message: &str) -> ! {
    panic!("{message}")
}
