//! Recognizes what a text is if it is not PEM.

use super::{
    der,
    line::{BEGIN, BYTE_ORDER_MARK, Fault, contains, literal_newlines},
};

/// Returns the text without a byte-order mark, or its format if that is not PEM.
pub(in crate::transport::tls) fn without_mark(bytes: &[u8]) -> Result<&[u8], Fault> {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let fault = if text.trim_ascii().is_empty() {
        "it is empty"
    } else if contains(text, BEGIN) {
        return Ok(text);
    } else if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || is_wide(bytes) {
        "it is in UTF-16 or UTF-32: save it as UTF-8 or ASCII"
    } else if der::is_pkcs12(text) {
        "it is PKCS #12 (.p12, .pfx), which is not PEM: `openssl pkcs12 -nodes` converts it to PEM"
    } else if text[0] == 0x30
        && (text.get(1) >= Some(&0x80) || der::length(text) == Some(text.len()))
    {
        "it is DER, which is not PEM: `openssl x509 -inform DER` and `openssl pkey -inform DER` convert it to PEM"
    } else if text.starts_with(b"\xfe\xed\xfe\xed") {
        "it is a Java keystore, which is not PEM"
    } else if text.contains(&0) {
        "it is binary, not PEM"
    } else {
        other(text.trim_ascii())
    };
    Err(fault.into())
}

/// Returns why a text with BEGIN has no section.
pub(in crate::transport::tls) fn why_no_section(text: &[u8]) -> Fault {
    if contains(text, b"\\n") {
        return literal_newlines();
    }
    "there is text before `-----BEGIN`, a quotation mark for instance: the line must begin with it"
        .into()
}

fn other(text: &[u8]) -> &'static str {
    if contains(text, b"BEGIN ") {
        "its BEGIN line is damaged: it must start and end with five dashes"
    } else if text.starts_with(b"LS0tLS1CRUdJTi") {
        "it is base64-encoded PEM: decode it first"
    } else if [&b"ssh-"[..], b"ecdsa-sha2-"]
        .iter()
        .any(|it| text.starts_with(it))
    {
        "it is a public key in SSH format"
    } else if text.starts_with(b"PuTTY-User-Key-File") {
        "it is a key in PuTTY format: export it in OpenSSH format, and convert that to PEM"
    } else if text.starts_with(b"{") {
        "it is JSON, not PEM"
    } else if is_path(text) {
        "it looks like the path of a file, and must be its contents: use `from_files` for paths"
    } else if text
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+/=\r\n\t ".contains(byte))
        && text.len() >= 32
    {
        "it is base64 without BEGIN and END lines around it"
    } else {
        "it has no line `-----BEGIN …-----`"
    }
}

/// Returns whether a text is UTF-16 or UTF-32 without a byte-order mark.
fn is_wide(text: &[u8]) -> bool {
    [&b"B\0E\0G\0I\0N"[..], b"B\0\0\0E\0\0\0G\0\0\0I\0\0\0N"]
        .iter()
        .any(|wide| contains(text, wide))
}

fn is_path(text: &[u8]) -> bool {
    const ENDINGS: [&str; 10] = [
        ".pem", ".crt", ".cer", ".cert", ".key", ".der", ".p12", ".pfx", ".crl", ".txt",
    ];
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let text = text.to_ascii_lowercase();
    let drive = matches!(text.as_bytes(), [b'a'..=b'z', b':', b'\\' | b'/', ..]);
    let begins = ["/", "./", "../", "~/", "file:", "\\\\"];
    !text.contains(char::is_control)
        && (drive
            || begins.iter().any(|it| text.starts_with(it))
            || ENDINGS.iter().any(|it| text.ends_with(it)))
}

/// Returns whether a path looks like the contents of a file, which might be a key.
///
/// Base64 changes between upper case, lower case and digits more often than words do.
pub(in crate::transport::tls) fn looks_like_contents(path: &[u8]) -> bool {
    const RUN: usize = 24;
    if path.len() > 4096 || path.iter().any(u8::is_ascii_control) || contains(path, b"-----") {
        return true;
    }
    let class = |byte: &u8| match byte {
        b'A'..=b'Z' => Some(0),
        b'a'..=b'z' => Some(1),
        b'0'..=b'9' => Some(2),
        b'+' | b'=' => Some(3),
        _ => None,
    };
    path.windows(RUN).any(|run| {
        let Some(classes) = run.iter().map(class).collect::<Option<Vec<_>>>() else {
            return false;
        };
        let changes = classes.windows(2).filter(|two| two[0] != two[1]).count();
        let count = |class| classes.iter().filter(|it| **it == class).count();
        changes * 5 >= RUN * 2 && count(0) * 6 >= RUN && count(1) * 6 >= RUN
    })
}
