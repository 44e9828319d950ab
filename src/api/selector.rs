//! Label and field selectors: which objects a list or a watch is about.
//!
//! Reads `metadata` of objects only; `names` knows what keys and values may be.

use std::collections::BTreeSet;

use serde_json::Value;

use super::field_error::FieldError;
use super::names::{label_value_problems, qualified_name_problems};
use super::status::ApiError;

/// Requirements on labels, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    /// Also `=` and `==`.
    In(BTreeSet<String>),
    /// Also `!=`. Holds without the label too.
    NotIn(BTreeSet<String>),
    Greater(i64),
    Less(i64),
}

impl LabelSelector {
    /// Reads a selector such as `app=web,tier in (a, b),!old`. An empty one selects everything.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let mut parser = Parser { tokens: tokens(text), next: 0 };
        parser
            .selector()
            .map(Self)
            .map_err(|why| ApiError::bad_request(format!("unable to parse requirement: {why}")))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object with such labels is selected.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.0.iter().all(|Requirement { key, test }| {
            let value = labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
            test.holds(value)
        })
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::In(values) => value.is_some_and(|value| values.contains(value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Self::Greater(bound) => number().is_some_and(|number| number > *bound),
            Self::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(&'static str),
}

const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let symbol = SYMBOLS.iter().find_map(|symbol| Some((*symbol, rest.strip_prefix(symbol)?)));
        let (token, tail) = if let Some((symbol, tail)) = symbol {
            (Token::Symbol(symbol), tail)
        } else {
            let is_end = |c: char| is_space(c) || "=!(),><".contains(c);
            let end = rest.find(is_end).unwrap_or(rest.len());
            let (word, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
            (Token::Word(word.to_owned()), tail)
        };
        tokens.push(token);
        rest = tail.trim_start_matches(is_space);
    }
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.next += 1;
        token
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(next)) if *next == symbol);
        self.next += usize::from(found);
        found
    }

    fn found(token: Option<&Token>, expected: &str) -> String {
        let text = match token {
            None => "",
            Some(Token::Word(word)) => word,
            Some(Token::Symbol(symbol)) => symbol,
        };
        format!("found '{text}', expected: {expected}")
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        if self.peek().is_none() {
            return Ok(requirements);
        }
        loop {
            requirements.push(self.requirement()?);
            let Some(token) = self.take() else { return Ok(requirements) };
            if token != Token::Symbol(",") {
                return Err(Self::found(Some(&token), "',' or 'end of string'"));
            }
            if !matches!(self.peek(), Some(Token::Word(_) | Token::Symbol("!"))) {
                return Err(Self::found(self.peek(), "identifier after ','"));
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.take_symbol("!");
        let key = match self.take() {
            Some(Token::Word(word)) => word,
            other => {
                return Err(Self::found(other.as_ref(), "!, identifier, or 'end of string'"));
            }
        };
        if let Some(why) = qualified_name_problems(&key).first() {
            return Err(FieldError::invalid("key", &key, why).to_string());
        }
        if absent {
            return Ok(Requirement { key, test: Test::Absent });
        }
        if matches!(self.peek(), None | Some(Token::Symbol(","))) {
            return Ok(Requirement { key, test: Test::Exists });
        }
        let test = match self.take() {
            Some(Token::Word(word)) if word == "in" => Test::In(self.values(&key)?),
            Some(Token::Word(word)) if word == "notin" => Test::NotIn(self.values(&key)?),
            Some(Token::Symbol("=" | "==")) => Test::In(BTreeSet::from([self.value(&key)?])),
            Some(Token::Symbol("!=")) => Test::NotIn(BTreeSet::from([self.value(&key)?])),
            Some(Token::Symbol(">")) => Test::Greater(self.number(&key)?),
            Some(Token::Symbol("<")) => Test::Less(self.number(&key)?),
            other => {
                let expected = "in, notin, =, ==, !=, gt, lt";
                return Err(Self::found(other.as_ref(), expected));
            }
        };
        Ok(Requirement { key, test })
    }

    /// The value after an operator; none stands for the empty one.
    fn value(&mut self, key: &str) -> Result<String, String> {
        match self.peek() {
            None | Some(Token::Symbol(",")) => Ok(String::new()),
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.next += 1;
                checked_value(key, word)
            }
            other @ Some(Token::Symbol(_)) => Err(Self::found(other, "identifier")),
        }
    }

    fn number(&mut self, key: &str) -> Result<i64, String> {
        let value = self.value(key)?;
        value.parse().map_err(|_| {
            let why = "for 'Gt', 'Lt' operators, the value must be an integer";
            FieldError::invalid(format!("values[0][{key}]"), &value, why).to_string()
        })
    }

    fn values(&mut self, key: &str) -> Result<BTreeSet<String>, String> {
        if !self.take_symbol("(") {
            return Err(Self::found(self.peek(), "'('"));
        }
        if self.take_symbol(")") {
            let why = "for 'in', 'notin' operators, values set can't be empty";
            return Err(
                FieldError::invalid_value("values", &Value::Array(Vec::new()), why).to_string()
            );
        }
        let mut values = BTreeSet::new();
        loop {
            let value = match self.peek() {
                Some(Token::Word(word)) => {
                    let word = word.clone();
                    self.next += 1;
                    checked_value(key, word)?
                }
                Some(Token::Symbol("," | ")")) => String::new(),
                other => return Err(Self::found(other, "',', ')' or identifier")),
            };
            values.insert(value);
            match self.take() {
                Some(Token::Symbol(",")) => {}
                Some(Token::Symbol(")")) => return Ok(values),
                other => return Err(Self::found(other.as_ref(), "',' or ')'")),
            }
        }
    }
}

fn checked_value(key: &str, value: String) -> Result<String, String> {
    match label_value_problems(&value).first() {
        None => Ok(value),
        Some(why) => Err(FieldError::invalid(format!("values[0][{key}]"), &value, why).to_string()),
    }
}

/// Requirements on name and namespace, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector(Vec<FieldRequirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRequirement {
    field: Field,
    equal: bool,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Namespace,
}

impl FieldSelector {
    /// Reads a selector such as `metadata.name=a,metadata.namespace!=b`. An empty one selects
    /// everything.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let terms = split_unescaped(text, ',').into_iter().filter(|term| !term.is_empty());
        let requirements = terms.map(|term| {
            let cannot = || {
                ApiError::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                ))
            };
            let (field, equal, value) = split_term(term).ok_or_else(cannot)?;
            let field = match field {
                "metadata.name" => Field::Name,
                "metadata.namespace" => Field::Namespace,
                other => {
                    let message = format!("field label not supported: {other}");
                    return Err(ApiError::bad_request(message));
                }
            };
            Ok(FieldRequirement { field, equal, value: unescaped(value).ok_or_else(cannot)? })
        });
        Ok(Self(requirements.collect::<Result<_, _>>()?))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The only name that can match, if there is one.
    pub fn name(&self) -> Option<&str> {
        self.only(Field::Name)
    }

    /// The only namespace that can match, if there is one.
    pub fn namespace(&self) -> Option<&str> {
        self.only(Field::Namespace)
    }

    fn only(&self, field: Field) -> Option<&str> {
        let mut requirements = self.0.iter();
        let found = requirements.find(|found| found.field == field && found.equal);
        found.map(|found| found.value.as_str())
    }

    /// Whether the object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|FieldRequirement { field, equal, value }| {
            let path = match field {
                Field::Name => "/metadata/name",
                Field::Namespace => "/metadata/namespace",
            };
            let found = object.pointer(path).and_then(Value::as_str).unwrap_or_default();
            (found == value) == *equal
        })
    }
}

/// The parts between separators that no backslash stands before.
fn split_unescaped(text: &str, separator: char) -> Vec<&str> {
    let mut escaped = false;
    text.split(|c: char| {
        let splits = c == separator && !escaped;
        escaped = c == '\\' && !escaped;
        splits
    })
    .collect()
}

/// A term at its first operator that no backslash stands before.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let mut escaped = false;
    for (at, c) in term.char_indices() {
        let (field, rest) = term.split_at_checked(at)?;
        if !escaped {
            for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
                if let Some(value) = rest.strip_prefix(operator) {
                    return Some((field, equal, value));
                }
            }
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

/// `\\`, `\,` and `\=` as what they stand for. Any other escape, and a bare `,` or `=`, is an error.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => plain.push(rest.next().filter(|c| matches!(c, '\\' | ',' | '='))?),
            ',' | '=' => return None,
            c => plain.push(c),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests;
