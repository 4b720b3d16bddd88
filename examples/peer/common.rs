//! Shared by both programs: the untyped protocol, argument parsing, and exit statuses.

use std::{
    collections::{HashMap, VecDeque},
    env,
    error::Error,
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
    str::FromStr,
};

use erps::{Protocol, Term, Tls};

/// A protocol in which every message is any term, for peers of every protocol.
pub(crate) struct Untyped;

impl Protocol for Untyped {
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Push = Term;
}

/// Why the program failed, in one line.
pub(crate) enum Failure {
    /// Wrong usage. Exit status 2.
    Usage(String),
    /// Any other failure. Exit status 1.
    Failed(String),
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The options of a program and their values.
pub(crate) type Options = [(&'static str, &'static [&'static str])];

/// Runs `main` with the program's arguments. Success is exit status 0.
pub(crate) fn run(
    help: &str,
    options: &Options,
    main: impl FnOnce(Args) -> Result<(), Failure>,
) -> ExitCode {
    let outcome = Args::read(options).and_then(|args| match args.has("--help") {
        true => say(help.trim_end()),
        false => main(args),
    });
    let (status, reason) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(reason)) => (1, reason),
        Err(Failure::Usage(reason)) => (2, format!("{reason}; --help tells more")),
    };
    eprintln!("{}", reason.lines().collect::<Vec<_>>().join(" "));
    ExitCode::from(status)
}

/// Prints a line and flushes it.
pub(crate) fn say(line: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// The arguments: options and words, in any order.
pub(crate) struct Args {
    options: HashMap<&'static str, Vec<String>>,
    pub(crate) words: Vec<String>,
}

impl Args {
    fn read(known: &Options) -> Result<Self, Failure> {
        let mut args = Self {
            options: HashMap::new(),
            words: Vec::new(),
        };
        let mut rest = VecDeque::new();
        for arg in env::args_os().skip(1) {
            let not_text = |arg| Failure::Usage(format!("{arg:?} is not UTF-8"));
            rest.push_back(arg.into_string().map_err(not_text)?);
        }
        while let Some(word) = rest.pop_front() {
            if !word.starts_with("--") && word != "-h" {
                args.words.push(word);
                continue;
            }
            let (word, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let (name, wanted) = known
                .iter()
                .chain(&[("--help", &[] as _)])
                .find(|(name, _)| *name == word || (*name, word) == ("--help", "-h"))
                .ok_or_else(|| Failure::Usage(format!("there is no option {word}")))?;
            if wanted.is_empty() && value.is_some() {
                return Err(Failure::Usage(format!("{name} wants no value")));
            }
            if let Some(value) = value {
                rest.push_front(value);
            }
            if rest.len() < wanted.len() {
                let wanted = wanted.join(" ");
                return Err(Failure::Usage(format!("{name} wants {wanted}")));
            }
            let values = rest.drain(..wanted.len()).collect();
            if args.options.insert(name, values).is_some() {
                return Err(Failure::Usage(format!("{name} is there twice")));
            }
        }
        Ok(args)
    }

    /// Whether the option is present.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// Returns the only value of an option, parsed as `wanted`.
    pub(crate) fn value<T: FromStr<Err: Display>>(
        &self,
        name: &str,
        wanted: &str,
    ) -> Result<Option<T>, Failure> {
        let Some([value]) = self.options.get(name).map(Vec::as_slice) else {
            return Ok(None);
        };
        let wrong = |why| format!("{name} wants {wanted}, and not {value:?} ({why})");
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(why) => Err(Failure::Usage(wrong(why))),
        }
    }

    /// Returns the TLS settings of `--tls CA CERT KEY`.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Failure> {
        let Some([ca, certificate, key]) = self.options.get("--tls").map(Vec::as_slice) else {
            return Ok(None);
        };
        Ok(Some(Tls::from_files(ca, certificate, key)?))
    }
}
