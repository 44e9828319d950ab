//! JSON as RFC 8259 has it: no comments, no trailing commas.
//!
//! The grammar is `jsonc-parser`'s; here are the limits, the duplicate keys and the places.

use std::collections::{HashMap, hash_map};

use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{ObjectPropName, Value},
    common::Ranged,
    parse_to_ast,
};

use super::{Content, Document, Entry, MAX_DEPTH, Node};
use crate::manifest::{
    codes,
    problem::{Problem, Spot},
    text::{Positions, forbidden_character, lines, quoted},
};
use crate::model::Position;

const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

pub(super) fn read(text: &str) -> Vec<Document> {
    let mut positions = Positions::new(text);
    if let Some((offset, c)) = forbidden_character(text) {
        let spot = Spot { position: positions.of(offset), width: 1, ..Spot::default() };
        let message = format!("the character U+{:04X} is not allowed in JSON", u32::from(c));
        return vec![Document::broken(Problem::error(codes::CONTROL_CHARACTER, spot, message))];
    }
    let value = match parse_to_ast(text, &CollectOptions::default(), &STRICT) {
        Ok(parsed) => parsed.value,
        Err(error) => {
            let range = error.range();
            let spot = Spot {
                position: positions.of(range.start),
                width: range.end.saturating_sub(range.start),
                ..Spot::default()
            };
            let reason = lower_first(&error.kind().to_string());
            let problem =
                Problem::error(codes::INVALID_JSON, spot, format!("not valid JSON: {reason}"));
            return vec![Document::broken(problem)];
        }
    };
    // The parser above is made for a more liberal language: it lets pass exotic white space and
    // control characters in strings.
    if value.is_some()
        && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text)
    {
        let bytes = error.column().saturating_sub(1);
        let line = lines(text).nth(error.line().saturating_sub(1)).map_or("", |(_, line)| line);
        let column = line.char_indices().take_while(|(start, _)| *start < bytes).count() + 1;
        let position = Position {
            line: u32::try_from(error.line()).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        };
        let spot = Spot { position, width: 1, ..Spot::default() };
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        let problem =
            Problem::error(codes::INVALID_JSON, spot, format!("not valid JSON: {reason}"));
        return vec![Document::broken(problem)];
    }
    let Some(value) = value else { return Vec::new() };
    let mut tree = Tree { text, positions, problems: Vec::new(), too_deep: false };
    let root = tree.node(&value, 1);
    let Tree { problems, too_deep, .. } = tree;
    if root.content == Content::Null && problems.is_empty() {
        return Vec::new();
    }
    vec![Document { root: (!too_deep).then_some(root), complete: !too_deep, problems }]
}

struct Tree<'t> {
    text: &'t str,
    positions: Positions<'t>,
    problems: Vec<Problem>,
    too_deep: bool,
}

impl Tree<'_> {
    fn spot(&mut self, value: &impl Ranged) -> Spot {
        let range = value.range();
        let covered = self.text.get(range.start..range.end).unwrap_or_default();
        let first_line = covered.split(['\n', '\r']).next().unwrap_or_default();
        let width = first_line.chars().count().max(1);
        Spot { position: self.positions.of(range.start), width, path: String::new() }
    }

    fn node(&mut self, value: &Value<'_>, depth: usize) -> Node {
        // The width of a whole object helps nobody, and to count it at every level takes long.
        let Spot { position, width, .. } = match value {
            Value::Object(_) | Value::Array(_) => {
                let position = self.positions.of(value.start());
                Spot { position, width: 1, path: String::new() }
            }
            Value::StringLit(_)
            | Value::NumberLit(_)
            | Value::BooleanLit(_)
            | Value::NullKeyword(_) => self.spot(value),
        };
        let content = match value {
            Value::NullKeyword(_) => Content::Null,
            Value::BooleanLit(literal) => Content::Bool(literal.value),
            Value::NumberLit(literal) => Content::Number(literal.value.to_owned()),
            Value::StringLit(literal) => Content::String(literal.value.clone().into_owned()),
            Value::Array(_) | Value::Object(_) if depth > MAX_DEPTH => {
                if !self.too_deep {
                    let spot = Spot { position, width, path: String::new() };
                    let message = format!("more than {MAX_DEPTH} levels of nesting");
                    self.problems.push(Problem::error(codes::TOO_DEEP, spot, message));
                }
                self.too_deep = true;
                Content::Null
            }
            Value::Array(array) => {
                Content::Sequence(array.elements.iter().map(|v| self.node(v, depth + 1)).collect())
            }
            Value::Object(object) => {
                let mut entries: Vec<Entry> = Vec::with_capacity(object.properties.len());
                let mut seen: HashMap<&str, Position> = HashMap::new();
                for property in &object.properties {
                    let key = match &property.name {
                        ObjectPropName::String(name) => name.value.as_ref(),
                        ObjectPropName::Word(word) => word.value,
                    };
                    let spot = self.spot(&property.name);
                    match seen.entry(key) {
                        hash_map::Entry::Occupied(first) => {
                            self.problems.push(duplicate(key, *first.get(), spot));
                        }
                        hash_map::Entry::Vacant(vacant) => {
                            vacant.insert(spot.position);
                            entries.push(Entry {
                                key: key.to_owned(),
                                key_position: spot.position,
                                key_width: spot.width,
                                value: self.node(&property.value, depth + 1),
                            });
                        }
                    }
                }
                Content::Mapping(entries)
            }
        };
        Node { position, width, content }
    }
}

/// The problem of a key that stood before.
pub(super) fn duplicate(key: &str, first: Position, spot: Spot) -> Problem {
    let message = format!("the key {} is given twice", quoted(key));
    let Position { line, column } = first;
    Problem::error(codes::DUPLICATE_KEY, spot, message)
        .help(format!("remove one of the two; the first is at line {line}, column {column}"))
}

fn lower_first(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|c| c.to_lowercase().chain(rest).collect()).unwrap_or_default()
}
