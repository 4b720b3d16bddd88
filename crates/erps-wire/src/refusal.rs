//! How a daemon tells a newcomer that it is not let in, and when to come back.
//!
//! It is the text of an error packet that belongs to no call, so that an Elixir client logs it, and its user
//! can read it. A client of ours reads it too:
//!
//! ```text
//! refused: too many connections; come back in 5s
//! ```

use std::{fmt, time::Duration};

const REFUSED: &str = "refused: ";
const COME_BACK: &str = "; come back in ";

/// The longest that a client is kept away by a word: who says more, says nonsense.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A daemon's rejection of a connection. Its `Display` is the text on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, for people.
    pub why: String,
    /// How long the client should wait before it connects again.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{REFUSED}{}", self.why)?;
        match self.retry_after {
            Some(retry_after) => write!(f, "{COME_BACK}{retry_after:?}"),
            None => Ok(()),
        }
    }
}

impl Refusal {
    /// The refusal that a text is, if it is one.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix(REFUSED)?;
        let timed = text.rsplit_once(COME_BACK);
        let timed = timed.and_then(|(why, time)| Some((why, read_time(time)?)));
        Some(match timed {
            Some((why, time)) => Self {
                why: why.to_owned(),
                retry_after: Some(time.min(LONGEST)),
            },
            None => Self {
                why: text.to_owned(),
                retry_after: None,
            },
        })
    }
}

/// Reads a time as `Debug` writes it.
fn read_time(text: &str) -> Option<Duration> {
    let units = [("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    let seconds = number.parse::<f64>().ok()? * unit;
    // Not what is negative, or no number.
    Duration::try_from_secs_f64(seconds.min(LONGEST.as_secs_f64())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_as_it_was_written() {
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
            let why = "too many; come back in time".to_owned();
            let refusal = Refusal { why, retry_after };
            assert_eq!(Refusal::read(&refusal.to_string()), Some(refusal));
        }
        let refusal = Refusal {
            why: "no".to_owned(),
            retry_after: None,
        };
        assert_eq!(Refusal::read(&refusal.to_string()), Some(refusal));
    }

    #[test]
    fn what_is_none_is_none_and_nonsense_keeps_nobody_away_for_long() {
        assert_eq!(Refusal::read("wrong identifier"), None);
        for nonsense in ["-5s", "NaNs", "soon", "5", "1e999ms"] {
            let refusal = Refusal::read(&format!("refused: x; come back in {nonsense}"));
            let time = refusal.and_then(|it| it.retry_after);
            assert!(time.is_none_or(|it| it <= LONGEST), "{nonsense}: {time:?}");
        }
    }
}
