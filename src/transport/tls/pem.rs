//! Parses PEM text into sections, with diagnostics for text that cannot be read.
//!
//! The errors of the `pem` decoder in rustls-pki-types quote the input, which may be a private key. So this module
//! splits the text into sections, and its diagnostics contain no byte of the input. Only base64 is decoded by
//! rustls-pki-types.
//!
//! It is stricter in one case: a section without END, followed by another section, is an error. rustls-pki-types
//! would join both, so that part of a key could become part of a certificate, which is public.

mod der;
mod diagnosis;
mod line;

use rustls::pki_types::pem::{PemObject as _, SectionKind};

pub(super) use diagnosis::{looks_like_contents, why_no_section, without_mark};
pub(super) use line::Fault;
use line::{BEGIN, DASHES, END, contains, lines, literal_newlines, trimmed};

/// The kind of a section, by its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Certificate,
    PrivateKey,
    EncryptedKey,
    RevocationList,
    /// An unsupported kind, and its description.
    Other(&'static str),
}

const LABELS: [(&str, Kind); 23] = [
    ("CERTIFICATE", Kind::Certificate),
    ("PRIVATE KEY", Kind::PrivateKey),
    ("RSA PRIVATE KEY", Kind::PrivateKey),
    ("EC PRIVATE KEY", Kind::PrivateKey),
    ("ENCRYPTED PRIVATE KEY", Kind::EncryptedKey),
    ("X509 CRL", Kind::RevocationList),
    ("TRUSTED CERTIFICATE", Kind::Other(OLD_CERTIFICATE)),
    ("X509 CERTIFICATE", Kind::Other(OLD_CERTIFICATE)),
    (
        "ATTRIBUTE CERTIFICATE",
        Kind::Other("an attribute certificate"),
    ),
    ("CERTIFICATE REQUEST", Kind::Other(REQUEST)),
    ("NEW CERTIFICATE REQUEST", Kind::Other(REQUEST)),
    ("PUBLIC KEY", Kind::Other("a public key")),
    ("RSA PUBLIC KEY", Kind::Other("a public key")),
    ("SSH2 PUBLIC KEY", Kind::Other("a public key in SSH format")),
    (
        "DSA PRIVATE KEY",
        Kind::Other("a DSA private key (which is not supported)"),
    ),
    ("OPENSSH PRIVATE KEY", Kind::Other(OPENSSH)),
    ("EC PARAMETERS", Kind::Other("the parameters of a curve")),
    ("DSA PARAMETERS", Kind::Other("parameters of DSA")),
    ("DH PARAMETERS", Kind::Other("parameters of Diffie-Hellman")),
    ("PKCS7", Kind::Other(PKCS7)),
    ("CMS", Kind::Other(PKCS7)),
    ("ECHCONFIG", Kind::Other("an encrypted hello configuration")),
    (
        "PGP PRIVATE KEY BLOCK",
        Kind::Other("a private key in PGP format"),
    ),
];

const OLD_CERTIFICATE: &str = "a certificate in OpenSSL's own format (`openssl x509` converts it)";
const REQUEST: &str = "a certificate request (which a CA has to sign first)";
const OPENSSH: &str = "a private key in OpenSSH format (`ssh-keygen -p -m PKCS8` converts it)";
const PKCS7: &str = "a PKCS #7 bundle (`openssl pkcs7 -print_certs` extracts its certificates)";

impl Kind {
    fn of(label: &[u8]) -> Self {
        let known = LABELS.iter().find(|(known, _)| known.as_bytes() == label);
        known.map_or(Self::Other("a section of an unknown kind"), |(_, kind)| {
            *kind
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "a certificate",
            Self::PrivateKey => "a private key",
            Self::EncryptedKey => "an encrypted private key",
            Self::RevocationList => "a revocation list",
            Self::Other(name) => name,
        }
    }
}

/// The contents between a BEGIN line and its END line.
pub(super) struct Section<'a> {
    pub(super) kind: Kind,
    label: &'a [u8],
    base64: Vec<u8>,
    /// The number of the BEGIN line.
    line: usize,
    /// The number of the first line with a character outside base64.
    bad_line: Option<usize>,
}

/// The sections of a text up to its first error.
pub(super) struct Sections<'a> {
    pub(super) all: Vec<Section<'a>>,
    pub(super) fault: Option<Fault>,
}

impl<'a> Sections<'a> {
    /// Splits `text` into its sections. Accepts all line endings, and indented lines.
    pub(super) fn of(text: &'a [u8]) -> Self {
        let mut sections = Self {
            all: Vec::new(),
            fault: None,
        };
        let mut open = None;
        for (line, number) in lines(text).zip(1..) {
            if let Err(fault) = sections.take(line, number, &mut open) {
                sections.fault = Some(fault);
                return sections;
            }
        }
        sections.fault = open.map(|section| cut_off(&section));
        sections
    }

    fn take(
        &mut self,
        lines: &'a [u8],
        number: usize,
        open: &mut Option<Section<'a>>,
    ) -> Result<(), Fault> {
        for line in lines.split(|byte| *byte == b'\r') {
            let mut line = trimmed(line);
            // Concatenated files without a final line feed: the next BEGIN is on the line of the previous END.
            while !line.is_empty() {
                line = match open {
                    None => {
                        *open = begin(line, number)?;
                        &[]
                    }
                    Some(section) if line.starts_with(END) => {
                        let rest = section.end(line, number)?;
                        self.all.extend(open.take());
                        rest
                    }
                    Some(section) => {
                        section.add(line, number)?;
                        &[]
                    }
                }
            }
        }
        Ok(())
    }
}

fn begin(line: &[u8], number: usize) -> Result<Option<Section<'_>>, Fault> {
    let Some(label) = line.strip_prefix(BEGIN) else {
        return Ok(None);
    };
    let label = match label.strip_suffix(DASHES) {
        Some(label) if !contains(label, b"--") => label,
        _ if contains(label, b"\\n") || contains(label, b"\\r") => return Err(literal_newlines()),
        _ if contains(label, DASHES) => return Err(joined(number)),
        _ => return Err(format!("line {number}, a BEGIN line, is damaged").into()),
    };
    Ok(Some(Section {
        kind: Kind::of(label),
        label,
        base64: Vec::new(),
        line: number,
        bad_line: None,
    }))
}

impl<'a> Section<'a> {
    fn add(&mut self, line: &[u8], number: usize) -> Result<(), Fault> {
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/= \t".contains(byte);
        if line.starts_with(BEGIN) {
            return Err(cut_off(self));
        }
        if contains(line, b"\\n") || contains(line, b"\\r") {
            return Err(literal_newlines());
        }
        if contains(line, b"-----END") {
            return Err(joined(number));
        }
        if self.base64.is_empty() && line.contains(&b':') {
            // A header of RFC 1421.
            if line.starts_with(b"Proc-Type:") && contains(line, b"ENCRYPTED") {
                self.kind = Kind::EncryptedKey;
            }
        } else {
            if self.bad_line.is_none() && !line.iter().all(is_base64) {
                self.bad_line = Some(number);
            }
            self.base64.extend(line);
            self.base64.push(b'\n');
        }
        Ok(())
    }

    /// Returns the rest of the line after END.
    fn end<'b>(&self, line: &'b [u8], number: usize) -> Result<&'b [u8], Fault> {
        let rest = line.strip_prefix(END).unwrap_or_default();
        let Some(rest) = rest.strip_prefix(self.label) else {
            return Err(format!(
                "line {number}, an END line, does not match the BEGIN line, line {}",
                self.line
            )
            .into());
        };
        let Some(rest) = rest.strip_prefix(DASHES) else {
            return Err(format!("line {number}, an END line, is damaged").into());
        };
        if rest.starts_with(b"\\") {
            return Err(literal_newlines());
        }
        let rest = trimmed(rest);
        if contains(rest, BEGIN) && !rest.starts_with(BEGIN) {
            return Err(joined(number));
        }
        Ok(rest)
    }

    /// Decodes the section, and checks that it is complete.
    pub(super) fn der(&self) -> Result<Vec<u8>, Fault> {
        let of = format!("{}, at line {},", self.kind.name(), self.line);
        if let Some(line) = self.bad_line {
            return Err(format!("line {line} has a character that is not base64").into());
        }
        if self.base64.is_empty() {
            return Err(format!("{of} is empty").into());
        }
        let text = [BEGIN, self.label, DASHES, b"\n", &self.base64];
        let text = [text.concat(), [END, self.label, DASHES].concat()].concat();
        // The error quotes its input.
        let Ok((_, der)) = <(SectionKind, Vec<u8>)>::from_pem_slice(&text) else {
            return Err(format!("{of} is damaged: it is not valid base64").into());
        };
        let Some(length) = der::length(&der) else {
            return Err(format!("{of} is damaged: it is not DER").into());
        };
        match length.cmp(&der.len()) {
            std::cmp::Ordering::Equal => Ok(der),
            std::cmp::Ordering::Greater => Err(format!("{of} lacks some of its lines").into()),
            std::cmp::Ordering::Less => Err(format!("{of} has more lines than it should").into()),
        }
    }
}

fn cut_off(section: &Section<'_>) -> Fault {
    let name = section.kind.name();
    let line = section.line;
    format!("{name} is cut off: its BEGIN line, line {line}, has no END line").into()
}

fn joined(number: usize) -> Fault {
    format!("its lines have been joined: line {number} must have nothing but BEGIN or END").into()
}
