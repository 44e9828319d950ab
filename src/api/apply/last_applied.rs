//! The annotation in which kubectl kept what it applied before servers knew owners.
//!
//! It lets an object move from client-side to server-side apply without conflicts, and is kept in step
//! from then on, so that the way back stays open.

use serde_json::{Map, Value};

use super::field_set::FieldSet;
use super::shape::{Shape, compare, owned_fields};
use super::tracked::tracked;
use crate::api::object_meta::Endpoint;

/// The annotation.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whose applies it concerns. Whoever does not want that applies under another name.
pub(super) const MANAGER: &str = "kubectl";

fn annotation(object: &Value) -> Option<&str> {
    object.pointer("/metadata/annotations")?.get(ANNOTATION)?.as_str()
}

/// The fields that client-side apply put there and that are still as it left them: to take these
/// over is no conflict.
pub(super) fn fields_to_take_over(live: &Value, endpoint: Endpoint) -> FieldSet {
    let applied = annotation(live).and_then(|text| serde_json::from_str(text).ok());
    let Some(applied) = applied.filter(Value::is_object) else { return FieldSet::default() };
    let (applied, live) = (tracked(&applied, endpoint), tracked(live, endpoint));
    let comparison = compare(Shape::Root, Some(&applied), Some(&live));
    owned_fields(Shape::Root, &applied)
        .difference(&comparison.modified)
        .difference(&comparison.added)
        .difference(&comparison.removed)
}

/// Writes what was applied into the annotation, if the object has it.
pub(super) fn keep_in_step(object: &mut Value, applied: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut applied = sorted(applied);
    if let Some(metadata) = applied.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.shift_remove(ANNOTATION);
        }
    }
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(annotations) = annotations {
        annotations.insert(ANNOTATION.to_owned(), Value::String(format!("{applied}\n")));
    }
}

/// The same with all keys in order, as kubectl writes it.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            let fields = fields.into_iter().map(|(key, value)| (key.clone(), sorted(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
