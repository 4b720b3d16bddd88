//! The panics of the tasks of one universe: which happened, which are expected.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many panics are listed. A server that is restarted and panics again and again must not grow the list.
const MAX_LISTED: usize = 20;

#[derive(Default)]
pub(crate) struct PanicLog(Mutex<State>);

#[derive(Default)]
struct State {
    unexpected: Vec<TaskPanic>,
    /// How many more unexpected panics there were.
    more: usize,
    expected: Vec<Expected>,
}

/// A panic of a task.
pub(crate) struct TaskPanic {
    pub(crate) task: String,
    /// The line that panicked.
    pub(crate) at: Option<String>,
    pub(crate) message: String,
}

struct Expected {
    text: String,
    /// Whether at least one has to happen.
    required: bool,
    happened: bool,
}

impl Expected {
    /// Returns whether the panic is an expected one, and notes that it happened.
    fn matches(&mut self, message: &str) -> bool {
        let matches = message.contains(&self.text);
        self.happened |= matches;
        matches
    }
}

impl PanicLog {
    pub(crate) fn expect(&self, text: String, required: bool) {
        let mut expected = Expected {
            text,
            required,
            happened: false,
        };
        let mut state = self.state();
        state
            .unexpected
            .retain(|panic| !expected.matches(&panic.message));
        state.expected.push(expected);
    }

    pub(crate) fn add(&self, panic: TaskPanic) {
        let mut state = self.state();
        let mut is_expected = false;
        for expected in &mut state.expected {
            is_expected |= expected.matches(&panic.message);
        }
        if is_expected {
        } else if state.unexpected.len() < MAX_LISTED {
            state.unexpected.push(panic);
        } else {
            state.more += 1;
        }
    }

    /// Returns what fails a run that has ended: unexpected panics, and required ones that did not happen. Clears the log.
    pub(crate) fn take(&self) -> Option<String> {
        let state = std::mem::take(&mut *self.state());
        let missing = state.expected.iter();
        let missing = missing.filter(|it| it.required && !it.happened);
        let missing = missing.map(|it| format!("\n  no task has panicked with {:?}", it.text));
        let text = state.to_string() + &missing.collect::<String>();
        (!text.is_empty()).then_some(text)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The unexpected panics, a line each.
impl fmt::Display for PanicLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state().fmt(f)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for TaskPanic { task, at, message } in &self.unexpected {
            write!(f, "\n  {task} panicked")?;
            if let Some(at) = at {
                write!(f, " at {at}")?;
            }
            write!(f, ": {message}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more panics"),
        }
    }
}
