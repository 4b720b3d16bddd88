//! The message with which a daemon rejects a connection, and the delay before the client should reconnect.
//!
//! It is the text of an error packet that belongs to no call. An Elixir client logs it; a Rust client parses it:
//!
//! ```text
//! refused: too many connections; come back in 5s
//! ```

use std::{fmt, time::Duration};

const REJECTED: &str = "refused: ";
const RETRY_AFTER: &str = "; come back in ";

/// The longest accepted delay: a peer must not be able to stop a client from reconnecting for good.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A daemon's rejection of a connection. Its `Display` is the text on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason, for logs.
    pub reason: String,
    /// The delay before the client should reconnect.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{REJECTED}{}", self.reason)?;
        match self.retry_after {
            Some(retry_after) => write!(f, "{RETRY_AFTER}{retry_after:?}"),
            None => Ok(()),
        }
    }
}

impl Rejection {
    /// Parses the text of an error packet. Returns `None` if it is not a rejection.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix(REJECTED)?;
        let timed = text.rsplit_once(RETRY_AFTER);
        let timed = timed.and_then(|(reason, time)| Some((reason, read_time(time)?)));
        Some(match timed {
            Some((reason, time)) => Self {
                reason: reason.to_owned(),
                retry_after: Some(time.min(MAX_RETRY_AFTER)),
            },
            None => Self {
                reason: text.to_owned(),
                retry_after: None,
            },
        })
    }
}

/// Parses a duration as its `Debug` prints it.
fn read_time(text: &str) -> Option<Duration> {
    let units = [("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    let seconds = number.parse::<f64>().ok()? * unit;
    // Fails for negative values and NaN.
    Duration::try_from_secs_f64(seconds.min(MAX_RETRY_AFTER.as_secs_f64())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_rejection_parses_to_itself() {
        let times = [
            0,
            1,
            999,
            1_500,
            250_000,
            5_000_000,
            1_500_000,
            86_400_000_000,
        ];
        for retry_after in times.map(|it| Some(Duration::from_micros(it))) {
            let reason = "too many; come back in time".to_owned();
            let rejection = Rejection {
                reason,
                retry_after,
            };
            assert_eq!(Rejection::read(&rejection.to_string()), Some(rejection));
        }
        let rejection = Rejection {
            reason: "no".to_owned(),
            retry_after: None,
        };
        assert_eq!(Rejection::read(&rejection.to_string()), Some(rejection));
    }

    #[test]
    fn invalid_delays_are_ignored_or_capped() {
        assert_eq!(Rejection::read("wrong identifier"), None);
        for delay in ["-5s", "NaNs", "soon", "5", "1e999ms"] {
            let rejection = Rejection::read(&format!("refused: x; come back in {delay}"));
            let time = rejection.and_then(|it| it.retry_after);
            assert!(
                time.is_none_or(|it| it <= MAX_RETRY_AFTER),
                "{delay}: {time:?}"
            );
        }
    }
}
