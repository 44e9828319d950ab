//! Objects as fields: which there are, what changed, merging and removing.
//!
//! Objects are granular and lists are one value each, but for two lists that every object can have.
//! Who owns the fields is for the module above.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::field_set::{FieldSet, PathElement};

/// Where in an object a value stands, as far as that decides what its fields are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Root,
    Metadata,
    /// A set of strings.
    Finalizers,
    /// A list whose items are told apart by their `uid`.
    OwnerReferences,
    Spec,
    /// An object whose keys are data: each is a field itself, besides what is below it.
    OpenMap,
    /// One value, whatever it is.
    Whole,
    Other,
}

/// What changed from one object to another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Comparison {
    pub(super) removed: FieldSet,
    /// Those of `removed` that went because something else than an object took its place: the schema
    /// allows that nowhere, but it is no quiet removal.
    pub(super) replaced: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) added: FieldSet,
}

impl Comparison {
    pub(super) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }

    /// What is there and was not so.
    pub(super) fn changed(&self) -> FieldSet {
        self.modified.clone().union(&self.added)
    }
}

impl Shape {
    fn below(self, element: &PathElement) -> Self {
        let PathElement::Field(name) = element else { return Self::Whole };
        match (self, name.as_str()) {
            (Self::Root, "metadata") => Self::Metadata,
            (Self::Root, "spec") => Self::Spec,
            (Self::Metadata, "finalizers") => Self::Finalizers,
            (Self::Metadata, "ownerReferences") => Self::OwnerReferences,
            (Self::Spec, "portLevelMtls") => Self::OpenMap,
            _ => Self::Other,
        }
    }

    /// The fields of a value; `None` where it is one itself.
    fn fields(self, value: &Value) -> Option<BTreeMap<PathElement, &Value>> {
        match value {
            Value::Object(fields) if self != Self::Whole => {
                Some(fields.iter().map(|(name, value)| (PathElement::field(name), value)).collect())
            }
            Value::Array(items) if self.is_keyed_list(value) => {
                let elements: Option<BTreeMap<_, _>> =
                    items.iter().map(|item| Some((self.item(item)?, item))).collect();
                // With the same item twice, nobody could say which of the two is meant.
                elements.filter(|elements| elements.len() == items.len())
            }
            Value::Object(_)
            | Value::Array(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_) => None,
        }
    }

    /// The field that an item of a list is; `None` where the list is one value.
    fn item(self, item: &Value) -> Option<PathElement> {
        match self {
            Self::Finalizers => item.is_string().then(|| PathElement::Value(item.to_string())),
            Self::OwnerReferences => {
                let uid = item.get("uid").filter(|uid| uid.is_string())?;
                Some(PathElement::Key(BTreeMap::from([("uid".to_owned(), uid.to_string())])))
            }
            Self::Root
            | Self::Metadata
            | Self::Spec
            | Self::OpenMap
            | Self::Whole
            | Self::Other => None,
        }
    }

    /// An empty list here stands for no fields, where lists elsewhere are one field.
    fn is_keyed_list(self, value: &Value) -> bool {
        matches!(self, Self::Finalizers | Self::OwnerReferences) && value.is_array()
    }
}

/// The fields that someone who applies a value owns.
pub(super) fn owned_fields(shape: Shape, value: &Value) -> FieldSet {
    let Some(fields) = shape.fields(value) else { return FieldSet::leaf() };
    if fields.is_empty() {
        return if shape.is_keyed_list(value) { FieldSet::default() } else { FieldSet::leaf() };
    }
    let mut set = FieldSet::default();
    for (element, value) in fields {
        let mut below = owned_fields(shape.below(&element), value);
        below.member |= shape == Shape::OpenMap;
        set.put(element, below);
    }
    set
}

/// What changed. A field that appears or vanishes with everything below it is told itself, too.
pub(super) fn compare(shape: Shape, old: Option<&Value>, new: Option<&Value>) -> Comparison {
    let mut comparison = Comparison::default();
    if old == new {
        return comparison;
    }
    let is_leaf = |value: Option<&Value>| {
        value.is_some_and(|value| !value.is_null() && shape.fields(value).is_none())
    };
    let is_leaf = is_leaf(old) || is_leaf(new);
    let (is_new, is_gone) = (old.is_none(), new.is_none());
    let old = old.and_then(|old| shape.fields(old)).unwrap_or_default();
    let new = new.and_then(|new| shape.fields(new)).unwrap_or_default();
    let elements: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    comparison.added.member = is_new;
    comparison.removed.member = is_gone;
    comparison.modified.member = !is_new && !is_gone && (is_leaf || elements.is_empty());
    for element in elements {
        let (old, new) = (old.get(element).copied(), new.get(element).copied());
        let below = compare(shape.below(element), old, new);
        let replaced = if is_leaf { &below.removed } else { &below.replaced };
        comparison.replaced.put(element.clone(), replaced.clone());
        comparison.removed.put(element.clone(), below.removed);
        comparison.modified.put(element.clone(), below.modified);
        comparison.added.put(element.clone(), below.added);
    }
    comparison
}

/// The live value with the applied one over it.
pub(super) fn merge(shape: Shape, live: Option<&Value>, applied: &Value) -> Value {
    let Some(live) = live else { return applied.clone() };
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) if shape != Shape::Whole => {
            let mut merged = live.clone();
            for (name, value) in applied {
                let below = shape.below(&PathElement::field(name));
                merged.insert(name.clone(), merge(below, live.get(name), value));
            }
            Value::Object(merged)
        }
        (Value::Object(_), Value::Null) if shape != Shape::Whole => live.clone(),
        (Value::Array(items), Value::Array(_)) => {
            let (Some(_), Some(mut news)) = (shape.fields(live), shape.fields(applied)) else {
                return applied.clone();
            };
            let mut merged = Vec::new();
            for item in items {
                let new = shape.item(item).and_then(|element| news.remove(&element));
                merged.push(new.unwrap_or(item).clone());
            }
            // What is new comes last, in the order in which it was applied.
            let new = applied.as_array().into_iter().flatten();
            merged.extend(
                new.filter(|item| shape.item(item).is_some_and(|e| news.contains_key(&e))).cloned(),
            );
            Value::Array(merged)
        }
        _ => applied.clone(),
    }
}

/// Removes fields, each with everything below it.
pub(super) fn remove(shape: Shape, value: &mut Value, fields: &FieldSet) {
    match value {
        Value::Object(entries) => {
            for (element, set) in &fields.below {
                let PathElement::Field(name) = element else { continue };
                // Every object has metadata.
                let stays = shape == Shape::Root && name == "metadata";
                if set.member && !stays {
                    entries.shift_remove(name);
                } else if let Some(value) = entries.get_mut(name) {
                    remove(shape.below(element), value, set);
                }
            }
        }
        Value::Array(items) => items.retain(|item| {
            let set = shape.item(item).and_then(|element| fields.below.get(&element));
            !set.is_some_and(|set| set.member)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An empty object.
pub(super) fn empty() -> Value {
    Value::Object(Map::new())
}
