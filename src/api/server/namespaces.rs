//! Namespaces: there, so that objects can be in them. All that can be said of them is metadata.
//!
//! Those that the configuration speaks of are always there.

use std::collections::BTreeMap;

use prost::Message;
use serde_json::{Value, json};

use super::super::access::protobuf_object;
use super::super::field_error::FieldError;
use super::super::names::label_problems;
use super::super::object_meta::{Birth, Target, prepare_create};
use super::super::query::DeleteOptions;
use super::super::status::{ApiError, ResourceType};
use super::super::strict::{Format, decode};
use super::moment::{self, Moment};
use super::reads::{in_version, key};
use super::route::KEPT;
use super::writes::{Deleted, delete_one};
use crate::store::{Scope, Store};

const KIND: ResourceType = ResourceType::NAMESPACE;

/// A new one.
pub(super) fn new(name: &str, now: &Moment) -> Result<Value, ApiError> {
    let mut object =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let uid = moment::uuid().ok_or_else(|| ApiError::internal("no random numbers"))?;
    let target = Target { resource: KIND, version: "v1", namespace: None, name: Some(name) };
    let birth = Birth { uid: &uid, creation_timestamp: &now.text, random: 0 };
    prepare_create(target, &mut object, birth)?;
    complete(&mut object)?;
    Ok(object)
}

/// Adds what every namespace has. Its name is a label too, which is what selectors go by.
pub(super) fn complete(object: &mut Value) -> Result<(), ApiError> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if let Some(why) = label_problems(name).first() {
        let error = FieldError::invalid("metadata.name", name, why);
        return Err(ApiError::invalid(KIND, name, &[error]));
    }
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    if finalizers.is_some_and(|finalizers| !finalizers.is_empty()) {
        // It would be half there: without its policies, and with room for new ones.
        let error = FieldError::forbidden("metadata.finalizers", "a namespace goes at once");
        return Err(ApiError::invalid(KIND, name, &[error]));
    }
    let name = json!(name);
    let Value::Object(fields) = object else { return Ok(()) };
    fields.insert("spec".into(), json!({ "finalizers": ["kubernetes"] }));
    // It is there, so it is active.
    fields.insert("status".into(), json!({ "phase": "Active" }));
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        let labels = metadata.entry("labels").or_insert(Value::Null);
        if !labels.is_object() {
            *labels = json!({});
        }
        if let Value::Object(labels) = labels {
            labels.insert("kubernetes.io/metadata.name".into(), name);
        }
    }
    Ok(())
}

/// Whether a patch is a strategic merge patch, which kubectl sends for the kinds that it knows itself.
pub(super) fn is_strategic(media_type: Option<&str>) -> bool {
    let media_type = media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/strategic-merge-patch+json")
}

/// Whether it says what the same merge patch says. Lists and directives have a meaning of their own
/// there, which nothing needs here.
pub(super) fn is_plain_merge(patch: &[u8]) -> bool {
    fn is_plain(value: &Value) -> bool {
        match value {
            Value::Object(fields) => {
                fields.iter().all(|(key, value)| !key.starts_with('$') && is_plain(value))
            }
            Value::Array(_) => false,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }
    // What cannot be read is for the patch to say.
    decode(patch, Format::Json).map_or(true, |patch| is_plain(&patch.value))
}

/// Makes those that are missing.
pub(super) fn ensure(store: &Store, names: &[String], now: &Moment) -> Result<(), ApiError> {
    store.write(|transaction| {
        for name in names {
            let key = key(KIND, "", name);
            if transaction.get(&key).is_none() {
                transaction.put(&key, new(name, now)?);
            }
        }
        Ok(())
    })
}

/// Takes one away with everything that is in it.
pub(super) fn delete(
    store: &Store,
    name: &str,
    permanent: &[String],
    options: &DeleteOptions,
    now: &Moment,
) -> Result<Deleted, ApiError> {
    let there = key(KIND, "", name);
    store.write(|transaction| {
        let stored = transaction.get(&there).ok_or_else(|| ApiError::not_found(KIND, name))?;
        if permanent.iter().any(|known| known == name) {
            return Err(ApiError::forbidden(KIND, name, "this namespace may not be deleted"));
        }
        for kind in KEPT {
            let scope = Scope { resource: kind.to_string().into(), namespace: Some(name.into()) };
            // Nobody else writes meanwhile.
            let Ok(page) = store.list(&scope, None, None, usize::MAX) else { continue };
            for object in page.objects {
                let all = DeleteOptions { dry_run: options.dry_run, ..DeleteOptions::default() };
                let value = object.value.clone();
                match delete_one(transaction, kind, &object.key, value, &all, now)? {
                    Deleted::Gone(_) => {}
                    Deleted::Marked(_) => {
                        let why = format!(
                            "{kind} \"{}\" in it has finalizers: it has to go first",
                            object.key.name
                        );
                        return Err(ApiError::conflict(KIND, name, &why));
                    }
                }
            }
        }
        let value = in_version(&stored.value, KIND, "v1");
        delete_one(transaction, KIND, &there, value, options, now)
    })
}

#[derive(Clone, PartialEq, Message)]
struct Namespace {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    generate_name: String,
    #[prost(btree_map = "string, string", tag = "11")]
    labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "12")]
    annotations: BTreeMap<String, String>,
}

/// From a body in protobuf, as `kubectl create namespace` sends it.
pub(super) fn from_protobuf(body: &[u8]) -> Option<Value> {
    let Namespace { metadata } = Namespace::decode(&*protobuf_object(body)?).ok()?;
    let metadata = metadata.unwrap_or_default();
    Some(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": metadata.name,
            "generateName": metadata.generate_name,
            "labels": metadata.labels,
            "annotations": metadata.annotations,
        },
    }))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#"{"metadata": {"labels": {"a": "b", "c": null}}}"#, true)]
    #[case("{", true)]
    #[case(r#"{"metadata": {"finalizers": []}}"#, false)]
    #[case(r#"{"metadata": {"labels": {"$patch": "replace"}}}"#, false)]
    fn strategic_patches_that_are_merges(#[case] patch: &str, #[case] expected: bool) {
        assert_eq!(is_plain_merge(patch.as_bytes()), expected);
    }
}
