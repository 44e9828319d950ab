//! Documents as trees in which every part knows where it was written, from YAML or JSON.
//!
//! Gives no meaning to what is written; duplicate keys, aliases and limits end here.

mod json;
mod plain;
mod yaml;

#[cfg(test)]
mod tests;

use super::{
    codes,
    problem::{Problem, Report},
    text::Text,
};
use crate::diagnostic::{Diagnostic, Severity};
use crate::model::Position;

/// How deep a document may nest.
pub const MAX_DEPTH: usize = 128;

/// How many nodes a document may have once its aliases are expanded.
pub const MAX_NODES: usize = 1_000_000;

/// A value and where it was written. What an alias stands for keeps the place of its anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it starts.
    pub position: Position,
    /// How many characters of its first line it covers, at least 1.
    pub width: usize,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// `null`, or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// `yes`, `off`, `y` and so on without quotes: text in YAML 1.2, a boolean in the YAML 1.1 that
    /// Kubernetes reads.
    OldBool {
        /// The boolean.
        value: bool,
        /// The text as written.
        text: String,
    },
    /// A number as written.
    Number(String),
    /// A string.
    String(String),
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping in the order of its text; keys are unique.
    Mapping(Vec<Entry>),
}

/// One key of a mapping and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key starts.
    pub key_position: Position,
    /// How many characters the key covers.
    pub key_width: usize,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The items of a list; none of other nodes.
    pub fn items(&self) -> &[Self] {
        match &self.content {
            Content::Sequence(items) => items,
            Content::Null
            | Content::Bool(_)
            | Content::OldBool { .. }
            | Content::Number(_)
            | Content::String(_)
            | Content::Mapping(_) => &[],
        }
    }

    /// The entries of a mapping; none of other nodes.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Mapping(entries) => entries,
            Content::Null
            | Content::Bool(_)
            | Content::OldBool { .. }
            | Content::Number(_)
            | Content::String(_)
            | Content::Sequence(_) => &[],
        }
    }

    /// The same tree without places, as YAML 1.2 means it. A number that JSON cannot write (`.inf`)
    /// becomes a string.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::OldBool { text, .. } => Value::String(text.clone()),
            Content::Number(text) => {
                plain::number(text).map_or_else(|| Value::String(text.clone()), Value::Number)
            }
            Content::String(text) => Value::String(text.clone()),
            Content::Sequence(items) => items.iter().map(Self::to_json).collect(),
            Content::Mapping(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect()
            }
        }
    }

    fn size(&self) -> usize {
        let below: usize = self.items().iter().map(Self::size).sum();
        let values: usize = self.entries().iter().map(|entry| entry.value.size()).sum();
        1 + below + values
    }

    fn depth(&self) -> usize {
        let below = self.items().iter().map(Self::depth).max().unwrap_or_default();
        let values = self.entries().iter().map(|entry| entry.value.depth()).max();
        1 + below.max(values.unwrap_or_default())
    }
}

/// A document and what is wrong with its text.
#[derive(Debug)]
pub(crate) struct Document {
    /// Absent where the text broke off before there was anything.
    pub(crate) root: Option<Node>,
    /// Whether the text could be read to the end; if not, `root` lacks what comes after and what was
    /// open at that point.
    pub(crate) complete: bool,
    pub(crate) problems: Vec<Problem>,
}

impl Document {
    fn broken(problem: Problem) -> Self {
        Self { root: None, complete: false, problems: vec![problem] }
    }
}

/// Every document of a text that is not empty.
pub(crate) fn read(text: &Text<'_>) -> Vec<Document> {
    let is_json = match text.file.as_deref().and_then(|file| file.rsplit_once('.')) {
        Some((_, extension)) if extension.eq_ignore_ascii_case("json") => true,
        Some((_, extension))
            if ["yaml", "yml"].iter().any(|yaml| extension.eq_ignore_ascii_case(yaml)) =>
        {
            false
        }
        Some(_) | None => text.content.trim_start().starts_with('{'),
    };
    if is_json { json::read(text.content) } else { yaml::read(text.content) }
}

/// Every document of a text that is not empty, or all that is wrong with it. `file` decides between
/// YAML and JSON by its extension; without one of theirs, a text that starts with `{` is JSON.
pub fn parse_documents(text: &str, file: Option<&str>) -> Result<Vec<Node>, Vec<Diagnostic>> {
    let text = Text::new(text, file);
    let mut report = Report::new(&text);
    let mut nodes = Vec::new();
    for document in read(&text) {
        // What Kubernetes would make of a key matters to resources only.
        for problem in document.problems.into_iter().filter(|p| p.code != codes::OLD_BOOL_KEY) {
            report.add(problem);
        }
        nodes.extend(document.root);
    }
    if report.diagnostics.iter().any(|found| found.severity == Severity::Error) {
        return Err(report.diagnostics);
    }
    Ok(nodes)
}
