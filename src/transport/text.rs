//! How errors and events show text that a peer has chosen, and times.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use x509_parser::time::ASN1Time;

/// The largest length of a shown name, in bytes. A peer chooses how long its names are.
pub(super) const LONGEST: usize = 256;

/// The largest number of names kept from a list.
pub(super) const MOST: usize = 16;

/// Returns a name for use between quotation marks: unprintable characters are escaped, and it is truncated to
/// [`LONGEST`].
pub(super) fn shown(name: &str) -> String {
    cut(name, |c, shown| match c {
        '\'' => shown.push(c),
        _ => shown.extend(c.escape_debug()),
    })
}

/// Returns a sentence: as [`shown`], but quotation marks are not escaped.
pub(super) fn sentence(text: &str) -> String {
    cut(text, |c, shown| match c {
        '"' | '\'' | '\\' => shown.push(c),
        _ => shown.extend(c.escape_debug()),
    })
}

fn cut(text: &str, push: impl Fn(char, &mut String)) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        let length = shown.len();
        push(c, &mut shown);
        if shown.len() > LONGEST {
            shown.truncate(length);
            shown.push('…');
            break;
        }
    }
    shown
}

/// Returns the first [`MOST`] names of a list, and how many more there are.
pub(super) fn some(names: impl IntoIterator<Item = String>) -> (Vec<String>, usize) {
    let mut names = names.into_iter();
    let first = names.by_ref().take(MOST).map(|name| shown(&name)).collect();
    (first, names.count())
}

/// Displays a list of names, up to about [`LONGEST`] bytes, and the number of further names.
pub(super) struct List<'a>(pub(super) &'a [String], pub(super) usize);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut length = 0;
        for (index, name) in self.0.iter().enumerate() {
            if length > LONGEST {
                return write!(f, " and {} more", self.0.len() - index + self.1);
            }
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}\"{name}\"")?;
            length += name.len();
        }
        match self.1 {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Returns a time in ISO 8601 and UTC: `2001-02-03T04:05:06Z`.
pub(super) fn utc(time: SystemTime) -> String {
    let seconds = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |it| -it),
    };
    let Ok(time) = ASN1Time::from_timestamp(seconds) else {
        return format!("{seconds} seconds after 1970");
    };
    let it = time.to_datetime();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        it.year(),
        u8::from(it.month()),
        it.day(),
        it.hour(),
        it.minute(),
        it.second()
    )
}

/// Returns the time that is `seconds` after the Unix epoch.
pub(super) fn since_epoch(seconds: u64) -> SystemTime {
    let moment = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Returns the host of a URL's authority without its user and password.
pub(super) fn without_password(host: &str) -> String {
    match host.rsplit_once('@') {
        Some((_, host)) => format!("…@{}", shown(host)),
        None => shown(host),
    }
}

/// Returns the name of an enum variant as words: `MissingKeyShare` becomes `missing key share`.
///
/// The variant's fields are not shown.
pub(super) fn words(variant: &impl fmt::Debug) -> String {
    spaced(&format!("{variant:?}"))
}

/// Splits the leading CamelCase identifier of `name` into lower-case words.
pub(super) fn spaced(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        match c {
            'A'..='Z' if words.is_empty() => words.push(c.to_ascii_lowercase()),
            'A'..='Z' => words.extend([' ', c.to_ascii_lowercase()]),
            'a'..='z' | '0'..='9' => words.push(c),
            _ => break,
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_cut() {
        assert_eq!(shown("a \"b\" 'ü'"), "a \\\"b\\\" 'ü'");
        assert_eq!(sentence("a \"b\" ü\n"), "a \"b\" ü\\n");
        assert_eq!(shown("a\nb\u{202e}\0"), "a\\nb\\u{202e}\\0");
        let long = shown(&"ü\n".repeat(1000));
        assert!(long.len() <= LONGEST + '…'.len_utf8(), "{}", long.len());
        assert!(long.ends_with('…'));
    }

    #[test]
    fn list_of_names_is_cut() {
        let (names, more) = some((0..1000).map(|n| format!("{n}{}", "x".repeat(1000))));
        assert_eq!((names.len(), more), (MOST, 1000 - MOST));
        let list = List(&names, more).to_string();
        assert!(list.len() < 4 * LONGEST, "{list}");
        assert!(list.ends_with(" and 999 more"), "{list}");
    }

    #[test]
    fn moment_is_shown_in_utc() {
        assert_eq!(utc(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00Z");
        assert_eq!(utc(since_epoch(951_782_399)), "2000-02-28T23:59:59Z");
        assert_eq!(utc(since_epoch(951_782_400)), "2000-02-29T00:00:00Z");
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(utc(before), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn host_is_shown_without_its_password() {
        assert_eq!(without_password("a.b"), "a.b");
        assert_eq!(without_password("https://me:p@ss@a.b/"), "…@a.b/");
    }

    #[test]
    fn variant_is_shown_as_words_without_its_content() {
        assert_eq!(words(&Some([1, 2, 3])), "some");
        assert_eq!(words(&std::io::ErrorKind::NotFound), "not found");
    }
}
