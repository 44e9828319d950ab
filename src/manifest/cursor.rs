//! Walking a document: a node together with the way to it, and the fields of a mapping by name.
//!
//! Knows no field of any kind; the decoders name them.

use std::{fmt, rc::Rc};

use super::{
    codes,
    node::{Content, Entry, Node},
    problem::{Problem, Report, Spot},
    suggest,
    text::quoted,
};
use crate::model::{Located, StringList};

/// The way from the root of a document to a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Path<'n>(Option<Rc<Step<'n>>>);

#[derive(Debug)]
enum Step<'n> {
    Field(Path<'n>, &'n str),
    Item(Path<'n>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_deref() {
            None => Ok(()),
            Some(Step::Field(Path(None), name)) => f.write_str(name),
            Some(Step::Field(parent, name)) => write!(f, "{parent}.{name}"),
            Some(Step::Item(parent, index)) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A node and the way to it.
#[derive(Debug, Clone)]
pub(crate) struct At<'n> {
    pub(crate) node: &'n Node,
    pub(crate) path: Path<'n>,
}

impl<'n> At<'n> {
    pub(crate) fn root(node: &'n Node) -> Self {
        Self { node, path: Path::default() }
    }

    /// The place of a field that is not there: that of the mapping it should be in.
    pub(crate) fn absent(&self, name: &str) -> Spot {
        let path = self.path.to_string();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        Spot { position: self.node.position, width: self.node.width, path }
    }

    fn child(&self, entry: &'n Entry) -> Self {
        let step = Step::Field(self.path.clone(), &entry.key);
        Self { node: &entry.value, path: Path(Some(Rc::new(step))) }
    }

    /// The field of that name, where this is a mapping that has it and it is not null.
    pub(crate) fn get(&self, name: &str) -> Option<Self> {
        let entry = self.node.entries().iter().find(|entry| entry.key == name)?;
        (entry.value.content != Content::Null).then(|| self.child(entry))
    }

    /// Every entry of this mapping, with its key.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'n Entry, Self)> {
        self.node.entries().iter().map(|entry| (entry, self.child(entry)))
    }

    /// Every item of this list.
    pub(crate) fn items(&self) -> impl Iterator<Item = Self> {
        self.node.items().iter().enumerate().map(|(index, node)| {
            let step = Step::Item(self.path.clone(), index);
            Self { node, path: Path(Some(Rc::new(step))) }
        })
    }

    /// Every item of the list in that field; none where there is no such list.
    pub(crate) fn each(&self, name: &str) -> Vec<Self> {
        self.get(name).map(|list| list.items().collect()).unwrap_or_default()
    }

    pub(crate) fn str(&self) -> Option<&'n str> {
        match &self.node.content {
            Content::String(text) => Some(text),
            Content::Null
            | Content::Bool(_)
            | Content::OldBool { .. }
            | Content::Number(_)
            | Content::Sequence(_)
            | Content::Mapping(_) => None,
        }
    }
}

/// Says that a value has the wrong type. Scalars that YAML does not read as strings get the advice
/// to quote them.
pub(crate) fn wrong_type(at: &At<'_>, expected: &str, report: &mut Report<'_>) {
    let found = match &at.node.content {
        Content::Null => "nothing".to_owned(),
        Content::Bool(value) => format!("the boolean `{value}`"),
        Content::OldBool { text, .. } => format!("the boolean {}", quoted(text)),
        Content::Number(text) => format!("the number {}", quoted(text)),
        Content::String(text) => format!("the string {}", quoted(text)),
        Content::Sequence(_) => "a list".to_owned(),
        Content::Mapping(_) => "a mapping".to_owned(),
    };
    let help = match &at.node.content {
        Content::Bool(value) if expected == "a string" => Some(format!("quote it: `\"{value}\"`")),
        Content::OldBool { text, .. } | Content::Number(text) if expected == "a string" => {
            Some(format!("quote it: `\"{text}\"`"))
        }
        Content::String(text) if expected == "a boolean" => match text.as_str() {
            "true" | "false" => Some("remove the quotes".to_owned()),
            _ => None,
        },
        Content::String(_) | Content::Number(_) if expected == "a list" => {
            Some("put it into a list: `[\"..\"]`".to_owned())
        }
        Content::Null
        | Content::Bool(_)
        | Content::OldBool { .. }
        | Content::Number(_)
        | Content::String(_)
        | Content::Sequence(_)
        | Content::Mapping(_) => None,
    };
    let message = format!("expected {expected}, found {found}");
    report.add(Problem::error(codes::WRONG_TYPE, at, message).maybe_help(help));
}

/// Says so if a node is not a mapping.
pub(crate) fn expect_mapping(at: &At<'_>, report: &mut Report<'_>) {
    if !matches!(at.node.content, Content::Mapping(_)) {
        wrong_type(at, "a mapping", report);
    }
}

/// A string.
pub(crate) fn string(at: &At<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = at.str();
    if text.is_none() {
        wrong_type(at, "a string", report);
    }
    text.map(str::to_owned)
}

/// A string and where it stands.
pub(crate) fn located(at: &At<'_>, report: &mut Report<'_>) -> Option<Located<String>> {
    string(at, report).map(|text| Located::new(text, at.node.position))
}

/// `true` or `false`.
pub(crate) fn boolean(at: &At<'_>, report: &mut Report<'_>) -> Option<bool> {
    match at.node.content {
        Content::Bool(value) | Content::OldBool { value, .. } => Some(value),
        Content::Null
        | Content::Number(_)
        | Content::String(_)
        | Content::Sequence(_)
        | Content::Mapping(_) => {
            wrong_type(at, "a boolean", report);
            None
        }
    }
}

/// A whole number that is not negative.
pub(crate) fn number(at: &At<'_>, report: &mut Report<'_>) -> Option<u64> {
    let value = match &at.node.content {
        Content::Number(text) => text.parse().ok(),
        Content::Null
        | Content::Bool(_)
        | Content::OldBool { .. }
        | Content::String(_)
        | Content::Sequence(_)
        | Content::Mapping(_) => None,
    };
    if value.is_none() {
        wrong_type(at, "a whole number", report);
    }
    value
}

/// Every item of a list. A bad item is an error, so that no list gets shorter unnoticed.
pub(crate) fn list<'n, 't, T>(
    at: &At<'n>,
    report: &mut Report<'t>,
    mut item: impl FnMut(&At<'n>, &mut Report<'t>) -> Option<T>,
) -> Vec<T> {
    if !matches!(at.node.content, Content::Sequence(_)) {
        wrong_type(at, "a list", report);
    }
    at.items().filter_map(|at| item(&at, report)).collect()
}

/// One of a few words.
pub(crate) fn one_of<T: Copy>(
    at: &At<'_>,
    words: &[(&str, T)],
    report: &mut Report<'_>,
) -> Option<T> {
    let text = string(at, report)?;
    let known = words.iter().find(|(word, _)| *word == text);
    if known.is_none() {
        let names = words.iter().map(|(word, _)| *word);
        let all: Vec<_> = names.clone().map(|word| format!("`{word}`")).collect();
        let help = suggest::did_you_mean(&text, names)
            .unwrap_or_else(|| format!("write one of {}", all.join(", ")));
        let message = format!("{} is not a value of this field", quoted(&text));
        report.add(Problem::error(codes::UNKNOWN_VALUE, at, message).help(help));
    }
    known.map(|(_, value)| *value)
}

/// Takes the fields of a mapping by name, and says at the end what was left over.
///
/// Every method names a field that the mapping may have. All of them go on after an error, with
/// nothing in place of what was wrong: the error count of the report says whether to use the result.
#[derive(Debug)]
pub(crate) struct Fields<'n, 'r, 't> {
    at: At<'n>,
    known: Vec<&'static str>,
    pub(crate) report: &'r mut Report<'t>,
}

impl<'n, 'r, 't> Fields<'n, 'r, 't> {
    /// Of a node that must be a mapping.
    pub(crate) fn open(at: &At<'n>, report: &'r mut Report<'t>) -> Self {
        expect_mapping(at, report);
        Self { at: at.clone(), known: Vec::new(), report }
    }

    /// A field that may be missing. Null counts as missing, as Kubernetes prunes it, with a warning:
    /// an emptied `from:` lets everyone in.
    pub(crate) fn optional(&mut self, name: &'static str) -> Option<At<'n>> {
        self.known.push(name);
        let entry = self.at.node.entries().iter().find(|entry| entry.key == name)?;
        let at = self.at.child(entry);
        if entry.value.content == Content::Null {
            let message = format!("`{name}` is null, which counts as absent");
            self.report.add(
                Problem::warning(codes::NULL_FIELD, &at, message)
                    .help("remove the field, or give it a value"),
            );
            return None;
        }
        Some(at)
    }

    /// A field that must be there.
    pub(crate) fn required(&mut self, name: &'static str) -> Option<At<'n>> {
        let found = self.optional(name);
        if found.is_none() && matches!(self.at.node.content, Content::Mapping(_)) {
            let message = format!("`{name}` is missing");
            self.report.add(Problem::error(codes::MISSING_FIELD, &self.at, message));
        }
        found
    }

    /// The value of a field, where it is not null.
    pub(crate) fn node_of(&self, name: &str) -> Option<At<'n>> {
        self.at.get(name)
    }

    /// A field that may have any value.
    pub(crate) fn any(&mut self, name: &'static str) {
        self.known.push(name);
    }

    pub(crate) fn string(&mut self, name: &'static str) -> Option<String> {
        let at = self.optional(name)?;
        string(&at, self.report)
    }

    pub(crate) fn required_string(&mut self, name: &'static str) -> String {
        let at = self.required(name);
        at.and_then(|at| string(&at, self.report)).unwrap_or_default()
    }

    /// `false` where it is missing.
    pub(crate) fn boolean(&mut self, name: &'static str) -> bool {
        let at = self.optional(name);
        at.and_then(|at| boolean(&at, self.report)).unwrap_or_default()
    }

    /// Empty where it is missing.
    pub(crate) fn list<T>(
        &mut self,
        name: &'static str,
        item: impl FnMut(&At<'n>, &mut Report<'t>) -> Option<T>,
    ) -> Vec<T> {
        self.optional(name).map(|at| list(&at, self.report, item)).unwrap_or_default()
    }

    pub(crate) fn strings(&mut self, name: &'static str) -> Vec<String> {
        self.list(name, string)
    }

    pub(crate) fn patterns(&mut self, name: &'static str) -> StringList {
        self.list(name, located)
    }

    /// Reports every field that was not named.
    pub(crate) fn close(self) {
        self.close_with(|_| None);
    }

    /// As `close`, with advice of its own for some names.
    pub(crate) fn close_with(self, advice: impl Fn(&str) -> Option<String>) {
        #[cfg(test)]
        known_fields::note(&self.at.path.to_string(), &self.known);
        for entry in self.at.node.entries() {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let help = advice(&entry.key)
                .or_else(|| suggest::did_you_mean(&entry.key, self.known.iter().copied()))
                .or_else(|| {
                    let mut known = self.known.clone();
                    known.sort_unstable();
                    let all: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
                    (all.len() <= 8).then(|| format!("the fields here are {}", all.join(", ")))
                });
            let spot = Spot {
                position: entry.key_position,
                width: entry.key_width,
                path: self.at.child(entry).path.to_string(),
            };
            let message = format!("unknown field {}", quoted(&entry.key));
            self.report.add(Problem::error(codes::UNKNOWN_FIELD, spot, message).maybe_help(help));
        }
    }
}

/// Which fields the decoders have asked for, and where, so that a test can tell what they know.
#[cfg(test)]
pub(crate) mod known_fields {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet};

    type Fields = BTreeMap<String, BTreeSet<&'static str>>;

    thread_local! {
        static FIELDS: RefCell<Fields> = RefCell::default();
    }

    pub(super) fn note(path: &str, known: &[&'static str]) {
        FIELDS.with_borrow_mut(|fields| {
            fields.entry(path.to_owned()).or_default().extend(known);
        });
    }

    /// What this thread has noted since it was asked last.
    pub(crate) fn take() -> Fields {
        FIELDS.take()
    }
}
