//! Sets of fields, and their text form FieldsV1.
//!
//! Knows nothing of objects: `shape` says which fields one has.

use std::collections::{BTreeMap, btree_map};
use std::fmt;

use serde_json::{Map, Value, json};

/// One step of the way to a field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathElement {
    /// `f:<name>`, a field of an object.
    Field(String),
    /// `k:{..}`, the item of a list with these key fields. The values are JSON.
    Key(BTreeMap<String, String>),
    /// `v:<value>`, the item of a list that is this value, as JSON.
    Value(String),
    /// `i:<index>`, the item of a list at this place.
    Index(u64),
}

/// A set of fields, as a tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FieldSet {
    /// Whether the field that this node stands for is in the set itself, not only fields below it.
    pub(super) member: bool,
    /// The fields below.
    pub(super) below: BTreeMap<PathElement, Self>,
}

/// Text that is not FieldsV1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a field of FieldsV1")]
pub(super) struct BadFields(String);

impl PathElement {
    /// A field of an object.
    pub(super) fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    fn parse(text: &str) -> Result<Self, BadFields> {
        let bad = || BadFields(text.to_owned());
        let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|_| bad());
        match text.split_once(':') {
            Some(("f", name)) => Ok(Self::field(name)),
            Some(("v", value)) => Ok(Self::Value(json(value)?.to_string())),
            Some(("i", index)) => index.parse().map(Self::Index).map_err(|_| bad()),
            Some(("k", key)) => {
                let key = json(key)?;
                let fields = key.as_object().filter(|fields| !fields.is_empty()).ok_or_else(bad)?;
                let fields = fields.iter().map(|(name, value)| (name.clone(), value.to_string()));
                Ok(Self::Key(fields.collect()))
            }
            Some(_) | None => Err(bad()),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
            Self::Key(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())))
                    .collect();
                format!("k:{{{}}}", fields.join(","))
            }
        }
    }
}

/// As in the path of a conflict: `.name`, `[name="value"]`, `[="value"]`, `[0]`.
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Key(fields) => {
                let fields: Vec<_> =
                    fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "[{}]", fields.join(","))
            }
        }
    }
}

impl FieldSet {
    /// The set of one field and nothing below it.
    pub(super) fn leaf() -> Self {
        Self { member: true, below: BTreeMap::new() }
    }

    /// Reads FieldsV1.
    pub(super) fn parse(fields: &Value) -> Result<Self, BadFields> {
        let mut set = Self::parse_node(fields)?;
        // The object as a whole is nobody's.
        set.member = false;
        Ok(set)
    }

    fn parse_node(fields: &Value) -> Result<Self, BadFields> {
        let Some(fields) = fields.as_object() else { return Err(BadFields(fields.to_string())) };
        let mut set = Self { member: fields.is_empty(), below: BTreeMap::new() };
        for (key, value) in fields {
            if key == "." {
                set.member = true;
            } else {
                set.below.insert(PathElement::parse(key)?, Self::parse_node(value)?);
            }
        }
        Ok(set)
    }

    /// Writes FieldsV1.
    pub(super) fn to_json(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.below.is_empty() {
            fields.insert(".".to_owned(), json!({}));
        }
        for (element, below) in &self.below {
            fields.insert(element.to_text(), below.to_json());
        }
        Value::Object(fields)
    }

    /// Whether it has no field.
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.below.values().all(Self::is_empty)
    }

    /// Puts a set below one field. Empty ones leave no trace.
    pub(super) fn put(&mut self, element: PathElement, set: Self) {
        if !set.is_empty() {
            self.below.insert(element, set);
        }
    }

    /// The fields of either.
    pub(super) fn union(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    fn add(&mut self, other: &Self) {
        self.member |= other.member;
        for (element, set) in &other.below {
            match self.below.entry(element.clone()) {
                btree_map::Entry::Occupied(mut own) => own.get_mut().add(set),
                btree_map::Entry::Vacant(vacant) => {
                    vacant.insert(set.clone());
                }
            }
        }
    }

    /// The fields of both.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut both = Self { member: self.member && other.member, below: BTreeMap::new() };
        for (element, set) in &self.below {
            if let Some(others) = other.below.get(element) {
                both.put(element.clone(), set.intersection(others));
            }
        }
        both
    }

    /// The fields that the other does not have.
    pub(super) fn difference(&self, other: &Self) -> Self {
        let mut rest = Self { member: self.member && !other.member, below: BTreeMap::new() };
        for (element, set) in &self.below {
            let set = match other.below.get(element) {
                Some(others) => set.difference(others),
                None => set.clone(),
            };
            rest.put(element.clone(), set);
        }
        rest
    }

    /// With every field on the way to one of its fields.
    pub(super) fn with_parents(&self) -> Self {
        let below =
            self.below.iter().filter(|(_, set)| !set.is_empty()).map(|(element, set)| {
                (element.clone(), Self { member: true, ..set.with_parents() })
            });
        Self { member: self.member, below: below.collect() }
    }

    /// The paths of all fields, in order.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths(&mut String::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, path: &mut String, paths: &mut Vec<String>) {
        if self.member {
            paths.push(path.clone());
        }
        for (element, set) in &self.below {
            let length = path.len();
            path.push_str(&element.to_string());
            set.collect_paths(path, paths);
            path.truncate(length);
        }
    }
}
