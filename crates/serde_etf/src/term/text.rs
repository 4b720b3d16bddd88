//! The scanner of Elixir's syntax: names, numbers, quoted text, and bits.

use super::parse_error::Parsed;
use super::syntax::{OPERATORS, continues_name, starts_name};
use super::{ParseTermError, Term, number};

/// A text that is read from left to right.
pub(super) struct Text<'a> {
    text: &'a str,
    /// The position of the next character, in bytes.
    at: usize,
}

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn expected<T>(&self, expected: &'static str) -> Parsed<T> {
        Err(ParseTermError::new(self.at, expected))
    }

    pub(super) fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    pub(super) fn accept(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    pub(super) fn expect(&mut self, token: &'static str) -> Parsed<()> {
        self.space();
        match self.accept(token) {
            true => Ok(()),
            false => self.expected(token),
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Reads a term that contains no terms.
    pub(super) fn leaf(&mut self) -> Parsed<Term> {
        match self.peek() {
            Some(':') => self.atom(),
            Some('"') => Ok(Term::Binary(self.quoted('"')?)),
            Some('\'') => Ok(charlist(&self.quoted_text('\'')?)),
            Some('~') => {
                self.expect("~c\"")?;
                self.at -= 1;
                Ok(charlist(&self.quoted_text('"')?))
            }
            Some('<') => self.bits(),
            Some('-' | '0'..='9') => self.number(),
            Some('A'..='Z') => self.module(),
            Some('a'..='z') => self.word(),
            _ => self.expected("a term"),
        }
    }

    fn word(&mut self) -> Parsed<Term> {
        let start = self.at;
        match self.name() {
            word @ ("nil" | "true" | "false") => Ok(Term::atom(word)),
            _ => {
                self.at = start;
                self.expected("nil, true or false")
            }
        }
    }

    /// Reads a bare name, or an empty one if there is none.
    fn name(&mut self) -> &'a str {
        let start = self.at;
        if self.peek().is_some_and(starts_name) {
            self.take_while(continues_name);
            if !self.accept("?") {
                self.accept("!");
            }
        }
        &self.text[start..self.at]
    }

    fn atom(&mut self) -> Parsed<Term> {
        self.expect(":")?;
        if self.peek() == Some('"') {
            return Ok(Term::atom(&self.quoted_text('"')?));
        }
        match self.name() {
            "" => {}
            name => return Ok(Term::atom(name)),
        }
        match OPERATORS.iter().find(|operator| self.accept(operator)) {
            Some(operator) => Ok(Term::atom(operator)),
            None => self.expected("the name of an atom"),
        }
    }

    pub(super) fn module(&mut self) -> Parsed<Term> {
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        let parts = || name.split('.');
        if !parts().all(|part| part.starts_with(|c: char| c.is_ascii_uppercase())) {
            return self.expected("the name of a module");
        }
        match parts().next() {
            Some("Elixir") => Ok(Term::atom(name)),
            _ => Ok(Term::atom(&format!("Elixir.{name}"))),
        }
    }

    fn number(&mut self) -> Parsed<Term> {
        let negative = self.accept("-");
        for (prefix, bits) in [("0x", 4), ("0o", 3), ("0b", 1)] {
            if self.accept(prefix) {
                return Ok(Term::from_integer(number::of_bits(
                    negative,
                    bits,
                    &self.digits(1 << bits)?,
                )));
            }
        }
        let start = self.at;
        let whole = self.digits(10)?;
        let fraction = self.rest().strip_prefix('.');
        if !fraction.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            if whole.len() > number::MAX_DECIMAL_DIGITS {
                self.at = start;
                return self.expected("at most 200000 decimal digits, or hexadecimal ones");
            }
            return Ok(Term::from_integer(number::of_decimal(negative, &whole)));
        }
        self.at += 1;
        let mut float = format!("{whole}.{}", self.digits(10)?);
        if self.accept("e") || self.accept("E") {
            float.push('e');
            if self.accept("-") {
                float.push('-');
            } else {
                self.accept("+");
            }
            float += &self.digits(10)?;
        }
        let value: f64 = float.parse().or_else(|_| self.expected("a float"))?;
        Term::try_from(if negative { -value } else { value })
            .or_else(|_| self.expected("a float that is not too large"))
    }

    /// Reads digits, without the underscores between them.
    fn digits(&mut self, base: u32) -> Parsed<String> {
        let digits = self.take_while(|c| c.is_digit(base) || c == '_');
        match digits.starts_with('_') || digits.ends_with('_') || digits.is_empty() {
            true => self.expected("a digit"),
            false => Ok(digits.replace('_', "")),
        }
    }

    /// Reads a quoted text that must be UTF-8.
    fn quoted_text(&mut self, quote: char) -> Parsed<String> {
        String::from_utf8(self.quoted(quote)?).or_else(|_| self.expected("UTF-8 before"))
    }

    /// Reads a quoted text, in which `\xFF` is a byte.
    fn quoted(&mut self, quote: char) -> Parsed<Vec<u8>> {
        let mut text = Vec::new();
        self.at += 1;
        loop {
            let Some(c) = self.peek() else {
                return self.expected("a closing quote");
            };
            if self.rest().starts_with("#{") {
                return self.expected("no interpolation");
            }
            self.at += c.len_utf8();
            match c {
                '\\' => self.escaped(&mut text)?,
                c if c == quote => return Ok(text),
                c => push(&mut text, c),
            }
        }
    }

    /// Reads what follows a backslash.
    fn escaped(&mut self, text: &mut Vec<u8>) -> Parsed<()> {
        let Some(c) = self.peek() else {
            return self.expected("an escaped character");
        };
        self.at += c.len_utf8();
        let c = match c {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'a' => '\x07',
            'b' => '\x08',
            'v' => '\x0b',
            'f' => '\x0c',
            'e' => '\x1b',
            'd' => '\x7f',
            's' => ' ',
            '0' => '\0',
            'u' => self.code_point(4)?,
            'x' if self.peek() == Some('{') => self.code_point(2)?,
            'x' => {
                text.push(self.code_point(2)? as u8);
                return Ok(());
            }
            // The text continues on the next line.
            '\n' => return Ok(()),
            other => other,
        };
        push(text, c);
        Ok(())
    }

    /// Reads `length` hexadecimal digits, or up to six in braces.
    fn code_point(&mut self, length: usize) -> Parsed<char> {
        let digits = if self.accept("{") {
            let digits = self.take_while(|c| c.is_ascii_hexdigit());
            self.expect("}")?;
            digits
        } else {
            let rest = self.rest();
            let Some(digits) = rest.get(..length) else {
                return self.expected("hexadecimal digits");
            };
            self.at += length;
            digits
        };
        u32::from_str_radix(digits, 16)
            .ok()
            .filter(|_| digits.len() <= 6)
            .and_then(char::from_u32)
            .map_or_else(|| self.expected("the number of a character"), Ok)
    }

    /// Reads `name:` or `"name":`, if one of them is next.
    pub(super) fn key(&mut self) -> Parsed<Option<Term>> {
        self.space();
        let start = self.at;
        let name = match self.peek() {
            Some('"') => self.quoted('"')?,
            _ => self.name().into(),
        };
        let is_key = self.at > start && self.accept(":") && !self.rest().starts_with(':');
        if let (true, Ok(name)) = (is_key, str::from_utf8(&name)) {
            return Ok(Some(Term::atom(name)));
        }
        self.at = start;
        Ok(None)
    }

    fn bits(&mut self) -> Parsed<Term> {
        self.expect("<<")?;
        let mut bytes = Vec::new();
        let mut used = 8;
        self.space();
        while !self.rest().starts_with(">>") {
            let value = match self.peek() {
                Some('0'..='9') => self.number()?.as_integer(),
                _ => None,
            };
            if self.accept("::size(") {
                let size = self.number()?.as_integer();
                self.expect(")")?;
                used = match size.map(u8::try_from) {
                    Some(Ok(size @ 1..=8)) => size,
                    _ => return self.expected("a size of 1 to 8"),
                };
            }
            match value.map(u8::try_from) {
                Some(Ok(value)) => bytes.push(value << (8 - used)),
                _ => return self.expected("an integer of 0 to 255"),
            }
            self.space();
            // Only the last may be less than a byte.
            if used < 8 || !self.accept(",") {
                break;
            }
            self.space();
        }
        self.expect(">>")?;
        Ok(Term::bits(bytes, used))
    }
}

fn push(text: &mut Vec<u8>, c: char) {
    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn charlist(text: &str) -> Term {
    Term::list(text.chars().map(|c| Term::Integer(u32::from(c).into())))
}
