//! Parsing of terms in Elixir's syntax: literals only, nothing is evaluated.

use std::collections::BTreeMap;
use std::mem;
use std::str::FromStr;

use super::parse_error::Parsed;
use super::text::Text;
use super::{ParseTermError, Term};

/// The limit of nested brackets: the default of [`Limits::depth`](crate::Limits::depth).
const MAX_DEPTH: usize = 512;

/// Parses one term in Elixir's syntax.
///
/// Pids, references and functions have no syntax. Brackets may nest 512 levels deep.
impl FromStr for Term {
    type Err = ParseTermError;

    fn from_str(text: &str) -> Result<Self, ParseTermError> {
        let mut text = Text::new(text);
        let mut parser = Parser::default();
        loop {
            text.space();
            let Some(mut term) = parser.begin(&mut text)? else {
                continue;
            };
            // The term may complete its container, which may complete its own.
            loop {
                let Some(mut open) = parser.open.pop() else {
                    text.space();
                    return match text.rest() {
                        "" => Ok(term),
                        _ => text.expected("the end"),
                    };
                };
                match open.add(term, &mut text)? {
                    Some(whole) => {
                        parser.depth -= open.levels;
                        term = whole;
                    }
                    None => {
                        parser.open.push(open);
                        break;
                    }
                }
            }
        }
    }
}

/// The open brackets. No term is read by recursion.
#[derive(Default)]
struct Parser {
    open: Vec<Open>,
    depth: usize,
}

impl Parser {
    /// Reads a term that contains no terms, or opens a container and reads up to its first term.
    fn begin(&mut self, text: &mut Text<'_>) -> Parsed<Option<Term>> {
        let (bracket, shape) = match text.peek() {
            Some('[') => ("[", Shape::List),
            Some('{') => ("{", Shape::Tuple),
            Some('%') => ("%", Shape::Map),
            _ => return text.leaf().map(Some),
        };
        if self.depth == MAX_DEPTH {
            return text.expected("at most 512 levels");
        }
        text.expect(bracket)?;
        let mut pairs = BTreeMap::new();
        if shape == Shape::Map {
            if text.peek().is_some_and(|c| c.is_ascii_uppercase()) {
                pairs.insert(Term::atom("__struct__"), text.module()?);
            }
            text.expect("{")?;
        }
        self.depth += 1;
        let mut open = match self.open.pop() {
            // A list as the tail of a list continues it.
            Some(mut list) if list.at_tail && shape == Shape::List => {
                list.levels += 1;
                list.own = list.elements.len();
                list.at_tail = false;
                list.names_only = false;
                list
            }
            outer => {
                self.open.extend(outer);
                Open::new(shape, pairs)
            }
        };
        text.space();
        if text.rest().starts_with(shape.close()) {
            self.depth -= open.levels;
            return open.close(text).map(Some);
        }
        open.before_item(text)?;
        self.open.push(open);
        Ok(None)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    List,
    Tuple,
    Map,
}

impl Shape {
    fn close(self) -> &'static str {
        match self {
            Self::List => "]",
            Self::Tuple | Self::Map => "}",
        }
    }
}

/// A container whose terms are being read.
struct Open {
    shape: Shape,
    elements: Vec<Term>,
    /// The `name: value` pairs at the end of a tuple, which are one keyword list, its last element.
    named: Vec<Term>,
    pairs: BTreeMap<Term, Term>,
    /// The key whose value comes next.
    key: Option<Term>,
    /// Whether a `name: value` was read, which only others may follow.
    names_only: bool,
    at_tail: bool,
    /// The number of elements when the last bracket was opened.
    own: usize,
    /// The number of brackets to close.
    levels: usize,
}

impl Open {
    fn new(shape: Shape, pairs: BTreeMap<Term, Term>) -> Self {
        Self {
            shape,
            elements: Vec::new(),
            named: Vec::new(),
            pairs,
            key: None,
            names_only: false,
            at_tail: false,
            own: 0,
            levels: 1,
        }
    }

    /// Reads the name of the next item, if it has one.
    fn before_item(&mut self, text: &mut Text<'_>) -> Parsed<()> {
        self.key = text.key()?;
        if self.names_only && self.key.is_none() {
            return text.expected("a name and a colon");
        }
        self.names_only = self.key.is_some();
        Ok(())
    }

    /// Adds a term, and returns the container if it is complete.
    fn add(&mut self, term: Term, text: &mut Text<'_>) -> Parsed<Option<Term>> {
        if self.at_tail {
            return self.close_with(term, text).map(Some);
        }
        match (self.shape, self.key.take()) {
            (Shape::Map, None) => {
                text.expect("=>")?;
                self.key = Some(term);
                return Ok(None);
            }
            (Shape::Map, Some(key)) => {
                if self.pairs.insert(key, term).is_some() {
                    return text.expected("every key once");
                }
            }
            (Shape::Tuple, Some(key)) => self.named.push(Term::tuple([key, term])),
            (Shape::List, Some(key)) => self.elements.push(Term::tuple([key, term])),
            (_, None) => self.elements.push(term),
        }
        text.space();
        if text.accept(",") {
            self.before_item(text)?;
            return Ok(None);
        }
        if self.shape == Shape::List && self.elements.len() > self.own && text.accept("|") {
            self.at_tail = true;
            return Ok(None);
        }
        self.close(text).map(Some)
    }

    fn close(&mut self, text: &mut Text<'_>) -> Parsed<Term> {
        self.close_with(Term::List(Vec::new()), text)
    }

    fn close_with(&mut self, tail: Term, text: &mut Text<'_>) -> Parsed<Term> {
        for _ in 0..self.levels {
            text.expect(self.shape.close())?;
        }
        let mut elements = mem::take(&mut self.elements);
        Ok(match self.shape {
            Shape::List => Term::list_with_tail(elements, tail),
            Shape::Tuple => {
                if !self.named.is_empty() {
                    elements.push(Term::List(mem::take(&mut self.named)));
                }
                Term::Tuple(elements)
            }
            Shape::Map => Term::Map(mem::take(&mut self.pairs)),
        })
    }
}
