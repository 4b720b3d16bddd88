//! Parses hosts and ports, with errors that say how to write them.

use std::net::Ipv6Addr;

/// The length of the longest DNS name, without a trailing dot.
const MAX_NAME: usize = 253;
/// The length of the longest label of a DNS name.
const MAX_LABEL: usize = 63;
/// The length of the longest scope: longer than the interface names of any system.
const MAX_ZONE: usize = 64;

/// Why a text is not an address. It contains at most one character of the text, which may have a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The host is missing.
    #[error("the host is missing: write a host and a port, as in localhost:4747")]
    NoHost,
    /// The port is missing.
    #[error("the port is missing: write it after the host, as in localhost:4747 or [::1]:4747")]
    NoPort,
    /// The port is zero, too large, or not a number.
    #[error("the port has to be a number from 1 to 65535")]
    Port,
    /// The text is a URL.
    #[error(
        "a URL is not an address: write only its host and port, as in localhost:4747, without `://`"
    )]
    Scheme,
    /// The text has a user name, and possibly a password.
    #[error("a user name or password (`@`) cannot be part of an address: write only host and port")]
    Credentials,
    /// The port is followed by a path, query or fragment.
    #[error("nothing may follow the port: no path, query or fragment")]
    Path,
    /// The text has a space or a control character.
    #[error("{0:?} cannot be part of an address: remove blanks, line ends and control characters")]
    Blank(char),
    /// An IPv6 address has no brackets, so that its port is ambiguous.
    #[error("an IPv6 address needs brackets: write it as in [::1]:4747")]
    Brackets,
    /// The text has more than one colon, and is not an IPv6 address.
    #[error("there is more than one colon: write one host and one port, as in localhost:4747")]
    Colons,
    /// The text in brackets is not an IPv6 address.
    #[error("only an IPv6 address can be in brackets, as in [::1]:4747")]
    NotIpv6,
    /// The scope (zone) of the IPv6 address is invalid.
    #[error("the scope of an IPv6 address is an interface's name or number, as in fe80::1%eth0")]
    Scope,
    /// The host ends in a number, but is not an IPv4 address.
    #[error("the host ends in a number but is not an IPv4 address: write one as in 192.0.2.1")]
    NotIpv4,
    /// The host is a name where only an IP address is possible.
    #[error("the host has to be an IP address, and its scope a number, as in [fe80::1%2]:4747")]
    NotIp,
    /// The name has an invalid character.
    #[error("{0:?} cannot be part of a host's name: it has letters, digits, `-`, `_` and dots")]
    Character(char),
    /// The name is internationalized, and not in Punycode.
    #[error("a host's name has to be ASCII: write it in Punycode, as in xn--bcher-kva.example")]
    NotAscii,
    /// The name begins with a hyphen.
    #[error("a host's name cannot begin with a hyphen")]
    Hyphen,
    /// The name is too long.
    #[error("a host's name has at most {MAX_NAME} characters")]
    NameTooLong,
    /// A part of the name is empty or too long.
    #[error("each part of a host's name, between two dots, has from 1 to {MAX_LABEL} characters")]
    Label,
}

/// Splits a text into its host, without brackets, and its port, which may be 0.
pub(crate) fn split(text: &str) -> Result<(&str, u16), AddressError> {
    reject_urls(text)?;
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(AddressError::NotIpv6)?;
        if !is_ipv6(host)? {
            return Err(AddressError::NotIpv6);
        }
        match rest.strip_prefix(':') {
            Some(port) => (host, port),
            None if rest.is_empty() => return Err(AddressError::NoPort),
            None => return Err(AddressError::Port),
        }
    } else {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
        if host.contains(':') {
            let is_ip = is_ipv6(host)? || is_ipv6(text)?;
            return Err(match is_ip {
                true => AddressError::Brackets,
                false => AddressError::Colons,
            });
        }
        (host, port)
    };
    check_bare(host)?;
    Ok((host, read_port(port)?))
}

/// Validates a host, and returns it without brackets.
pub(crate) fn check(host: &str) -> Result<&str, AddressError> {
    reject_urls(host)?;
    let inside = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    if let Some(inside) = inside {
        return match is_ipv6(inside)? {
            true => Ok(inside),
            false => Err(AddressError::NotIpv6),
        };
    }
    check_bare(host)?;
    Ok(host)
}

/// Rejects URLs, credentials, paths and spaces, before the text is split.
fn reject_urls(text: &str) -> Result<(), AddressError> {
    if text.contains("://") {
        return Err(AddressError::Scheme);
    }
    if text.contains('@') {
        return Err(AddressError::Credentials);
    }
    if let Some(blank) = text
        .chars()
        .find(|it| it.is_whitespace() || it.is_control())
    {
        return Err(AddressError::Blank(blank));
    }
    let path = text.find(['/', '?', '#']).map(|at| &text[..at]);
    let port = path.and_then(|before| before.rsplit_once(':'));
    match port {
        Some((_, port)) if is_number(port) => Err(AddressError::Path),
        _ => Ok(()),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())
}

fn read_port(text: &str) -> Result<u16, AddressError> {
    // `parse` would accept a sign.
    match text {
        "" => Err(AddressError::NoPort),
        text if is_number(text) => text.parse().map_err(|_| AddressError::Port),
        _ => Err(AddressError::Port),
    }
}

/// Returns whether the host is an IPv6 address, with or without a scope.
fn is_ipv6(host: &str) -> Result<bool, AddressError> {
    let (address, scope) = match host.split_once('%') {
        Some((address, scope)) => (address, Some(scope)),
        None => (host, None),
    };
    if address.parse::<Ipv6Addr>().is_err() {
        return Ok(false);
    }
    let is_fine = |it: char| it.is_ascii_graphic() && !"/%[]:?#".contains(it);
    match scope {
        Some(scope) if scope.is_empty() || scope.len() > MAX_ZONE => Err(AddressError::Scope),
        Some(scope) if !scope.chars().all(is_fine) => Err(AddressError::Scope),
        _ => Ok(true),
    }
}

/// Validates a host without brackets.
fn check_bare(host: &str) -> Result<(), AddressError> {
    if host.is_empty() {
        return Err(AddressError::NoHost);
    }
    if is_ipv6(host)? {
        return Ok(());
    }
    if !host.is_ascii() {
        return Err(AddressError::NotAscii);
    }
    if host.contains(':') {
        return Err(AddressError::Colons);
    }
    let is_fine = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
    if let Some(other) = host.chars().find(|it| !is_fine(*it)) {
        return Err(AddressError::Character(other));
    }
    check_name(host)
}

fn check_name(name: &str) -> Result<(), AddressError> {
    // A trailing dot marks a fully qualified name.
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > MAX_NAME {
        return Err(AddressError::NameTooLong);
    }
    if name
        .split('.')
        .any(|it| it.is_empty() || it.len() > MAX_LABEL)
    {
        return Err(AddressError::Label);
    }
    if name.starts_with('-') {
        return Err(AddressError::Hyphen);
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if is_number(last) && name.parse::<std::net::Ipv4Addr>().is_err() {
        return Err(AddressError::NotIpv4);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{AddressError::*, *};

    #[test]
    fn hosts_and_ports_are_taken_apart() {
        for (text, host, port) in [
            ("localhost:4747", "localhost", 4747),
            ("db.example.com.:1", "db.example.com.", 1),
            ("my_service-1:65535", "my_service-1", 65535),
            ("1password.com:80", "1password.com", 80),
            ("xn--bcher-kva.example:80", "xn--bcher-kva.example", 80),
            ("192.0.2.1:0", "192.0.2.1", 0),
            ("[::1]:4747", "::1", 4747),
            ("[::ffff:10.0.0.1]:4747", "::ffff:10.0.0.1", 4747),
            ("[fe80::1%2]:4747", "fe80::1%2", 4747),
            ("[fe80::1%eth0.7]:4747", "fe80::1%eth0.7", 4747),
        ] {
            assert_eq!(split(text), Ok((host, port)), "{text}");
        }
        for (text, host) in [
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("fe80::1%en0", "fe80::1%en0"),
        ] {
            assert_eq!(check(text), Ok(host), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_an_address_is_refused_with_a_reason() {
        for (text, error) in [
            ("", NoPort),
            (":4747", NoHost),
            ("localhost", NoPort),
            ("localhost:", NoPort),
            ("[::1]", NoPort),
            ("[::1]4747", Port),
            ("localhost:65536", Port),
            ("localhost:-1", Port),
            ("localhost:+80", Port),
            ("localhost:http", Port),
            ("localhost:0x50", Port),
            ("http://localhost:4747", Scheme),
            ("tcp://user:secret@localhost", Scheme),
            ("user:secret@localhost:4747", Credentials),
            ("localhost:4747/", Path),
            ("localhost:4747/a:1", Path),
            ("[::1]:4747?a", Path),
            ("local/host:4747", Character('/')),
            (" localhost:4747", Blank(' ')),
            ("localhost:4747\n", Blank('\n')),
            ("local\u{a0}host:4747", Blank('\u{a0}')),
            ("local\0host:4747", Blank('\0')),
            ("::1:4747", Brackets),
            ("::1", Brackets),
            ("fe80::1%eth0:4747", Brackets),
            ("localhost:4747:4748", Colons),
            ("[localhost]:4747", NotIpv6),
            ("[127.0.0.1]:4747", NotIpv6),
            ("[::1:4747", NotIpv6),
            ("::1]:4747", Colons),
            ("[fe80::1%]:4747", Scope),
            ("[fe80::1%a%b]:4747", Scope),
            ("[fe80::1%eth/0]:4747", Scope),
            ("127.0.0.1%1:4747", Character('%')),
            ("256.0.0.1:4747", NotIpv4),
            ("1.2.3:4747", NotIpv4),
            ("010.0.0.1:4747", NotIpv4),
            ("4747:4747", NotIpv4),
            ("bücher.example:4747", NotAscii),
            ("local\u{200b}host:4747", NotAscii),
            ("a..b:4747", Label),
            (".:4747", Label),
            (".a:4747", Label),
            ("-a:4747", Hyphen),
            ("a,b:4747", Character(',')),
            ("\"localhost\":4747", Character('"')),
            ("*:4747", Character('*')),
        ] {
            assert_eq!(split(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn names_and_their_parts_have_a_length() {
        let name = |parts: usize, last: usize| {
            "a".repeat(63) + &format!(".{}", "b".repeat(63)).repeat(parts) + "." + &"c".repeat(last)
        };
        assert_eq!(check(&name(2, 61)).map(str::len), Ok(253));
        assert_eq!(check(&(name(2, 61) + ".")).map(str::len), Ok(254));
        assert_eq!(check(&name(2, 62)), Err(NameTooLong));
        assert_eq!(check(&"a".repeat(63)).map(str::len), Ok(63));
        assert_eq!(check(&"a".repeat(64)), Err(Label));
    }

    #[test]
    fn no_error_repeats_a_password() {
        for text in [
            "u:hunter2@h:1",
            "http://u:hunter2@h",
            "u:hunter2@[::1",
            "u:hunter 2@h",
        ] {
            for outcome in [split(text).map(drop), check(text).map(drop)] {
                let error = outcome.expect_err("it is no address");
                let said = format!("{error} {error:?}");
                assert!(!said.contains("hunter"), "{said}");
            }
        }
    }
}
