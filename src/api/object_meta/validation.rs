//! What the values in ObjectMeta may be.
//!
//! Types are checked before, by `shape`: what has a wrong one is passed over here.

use serde_json::{Map, Value};

use super::text_of;
use crate::api::field_error::FieldError;
use crate::api::names::{
    label_problems, label_value_problems, qualified_name_problems, subdomain_problems,
};

const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Everything that is wrong with the metadata of an object.
pub fn validate(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut check = |field: &str, value: &str, problems: Vec<String>| {
        errors.extend(problems.iter().map(|why| FieldError::invalid(field, value, why)));
    };
    let (name, prefix) = (text_of(object, "name"), text_of(object, "generateName"));
    if !prefix.is_empty() {
        // A prefix may end with what a name may not.
        let whole = prefix.strip_suffix(['-', '.']).map(|start| format!("{start}a"));
        check(
            "metadata.generateName",
            prefix,
            subdomain_problems(whole.as_deref().unwrap_or(prefix)),
        );
    }
    if !name.is_empty() {
        check("metadata.name", name, subdomain_problems(name));
    }
    let namespace = text_of(object, "namespace");
    if !namespace.is_empty() {
        check("metadata.namespace", namespace, label_problems(namespace));
    }
    for (key, value) in map(object, "labels") {
        check("metadata.labels", key, qualified_name_problems(key));
        let value = value.as_str().unwrap_or_default();
        check("metadata.labels", value, label_value_problems(value));
    }
    for (key, _) in map(object, "annotations") {
        check("metadata.annotations", key, qualified_name_problems(&key.to_lowercase()));
    }
    for finalizer in finalizers(object) {
        check("metadata.finalizers", finalizer, qualified_name_problems(finalizer));
    }
    if name.is_empty() && prefix.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    }
    let size: usize = map(object, "annotations")
        .map(|(key, value)| key.len() + value.as_str().unwrap_or_default().len())
        .sum();
    if size > MAX_ANNOTATIONS {
        errors.push(FieldError::too_long("metadata.annotations", MAX_ANNOTATIONS));
    }
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    for (index, owner) in owners.into_iter().flatten().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            let value = owner.get(field).and_then(Value::as_str).unwrap_or_default();
            if value.is_empty() {
                let field = format!("metadata.ownerReferences[{index}].{field}");
                errors.push(FieldError::invalid(field, value, "must not be empty"));
            }
        }
    }
    errors
}

/// Finalizers that were added to an object that is to be deleted.
pub(super) fn new_finalizers(stored: &Value, object: &Value) -> Option<FieldError> {
    if !super::is_marked(stored) {
        return None;
    }
    let new: Vec<_> = finalizers(object)
        .filter(|new| !finalizers(stored).any(|old| old == *new))
        .map(crate::api::field_error::quote)
        .collect();
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers \
         []string{{{}}}",
        new.join(", ")
    );
    (!new.is_empty()).then(|| FieldError::forbidden("metadata.finalizers", &detail))
}

fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    finalizers.into_iter().flatten().filter_map(Value::as_str)
}

fn map<'v>(object: &'v Value, field: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    let metadata = object.get("metadata");
    let entries = metadata.and_then(|metadata| metadata.get(field)).and_then(Value::as_object);
    entries.into_iter().flat_map(Map::iter)
}
