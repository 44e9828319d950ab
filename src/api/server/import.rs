//! Objects from files on their way into the store, past the API.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::admission::{self, Pruned};
use super::super::object_meta::{Endpoint, Target, check_identity, validate};
use super::super::status::{ApiError, ResourceType};
use super::super::versions;
use super::moment::{self, Moment};
use super::namespaces;
use super::reads::key;
use super::route::KEPT;
use super::writes::in_stored_version;
use crate::authn::clock::Clock;
use crate::store::{Key, Object};

/// Objects that can be stored.
#[derive(Debug, Default)]
pub struct Imported {
    /// With their places.
    pub objects: Vec<(Key, Value)>,
    /// Namespaces that they are in and that are not among them.
    pub namespaces: Vec<(Key, Value)>,
    /// What was noticed.
    pub warnings: Vec<String>,
}

/// Why a document cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum ImportRefused {
    /// It is none of ours.
    #[error("document {0}: `{1}` of `{2}` is not kept here")]
    Foreign(usize, String, String),
    /// Something is wrong with it.
    #[error("document {0}: {1}")]
    Wrong(usize, ApiError),
}

/// Makes objects of documents; lists are taken apart. What an API would add to them is added where it
/// is not there, from what is `existing` or anew.
pub fn prepare_import(
    documents: Vec<Value>,
    namespace: &str,
    existing: impl Fn(&Key) -> Option<Arc<Object>>,
    clock: Clock,
) -> Result<Imported, ImportRefused> {
    let now = Moment::now(clock);
    let mut imported = Imported::default();
    let mut items = Vec::new();
    for document in documents {
        flatten(document, &mut items);
    }
    let mut used: Vec<String> = Vec::new();
    for (number, item) in (1..).zip(items) {
        let (key, value) =
            object(number, item, namespace, &existing, &now, &mut imported.warnings)?;
        if !key.namespace.is_empty() && !used.iter().any(|known| **known == *key.namespace) {
            used.push(key.namespace.to_string());
        }
        imported.objects.push((key, value));
    }
    // Objects are in namespaces that are there.
    for name in used {
        let place = key(ResourceType::NAMESPACE, "", &name);
        if !imported.objects.iter().any(|(key, _)| *key == place) {
            let namespace = namespaces::new(&name, &now);
            let namespace = namespace.map_err(|error| ImportRefused::Wrong(0, error))?;
            imported.namespaces.push((place, namespace));
        }
    }
    Ok(imported)
}

fn flatten(document: Value, items: &mut Vec<Value>) {
    let is_list =
        document.get("kind").and_then(Value::as_str).is_some_and(|it| it.ends_with("List"));
    match (is_list, document) {
        (_, Value::Null) => {}
        (true, Value::Object(mut members)) => {
            if let Some(Value::Array(list)) = members.remove("items") {
                list.into_iter().for_each(|item| flatten(item, items));
            }
        }
        (_, document) => items.push(document),
    }
}

fn object(
    number: usize,
    mut value: Value,
    namespace: &str,
    existing: &impl Fn(&Key) -> Option<Arc<Object>>,
    now: &Moment,
    warnings: &mut Vec<String>,
) -> Result<(Key, Value), ImportRefused> {
    let wrong = |error: ApiError| ImportRefused::Wrong(number, error);
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, api_version) = (text("kind"), text("apiVersion"));
    let found = KEPT.into_iter().chain([ResourceType::NAMESPACE]).find_map(|resource| {
        let versions = versions::of_group(resource.group);
        let version = versions.iter().find(|it| resource.api_version(it) == api_version)?;
        (resource.kind == kind).then_some((resource, *version))
    });
    let Some((resource, version)) = found else {
        return Err(ImportRefused::Foreign(number, kind, api_version));
    };
    let is_namespaced = resource != ResourceType::NAMESPACE;
    let named = value.pointer("/metadata/namespace").and_then(Value::as_str).map(str::to_owned);
    let place = named.filter(|it| !it.is_empty()).unwrap_or_else(|| namespace.to_owned());
    let namespace = is_namespaced.then_some(place.as_str());
    let target = Target { resource, version, namespace, name: None };
    check_identity(target, &mut value).map_err(wrong)?;
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let name = name.to_owned();
    let Pruned { unknown, warnings: doubts } = admission::prune(resource, &mut value);
    for path in unknown {
        warnings.push(format!("document {number}: unknown field `{path}` is left out"));
    }
    warnings.extend(doubts.iter().map(|doubt| format!("document {number}: {doubt}")));
    let place = key(resource, namespace.unwrap_or_default(), &name);
    complete(&mut value, existing(&place).as_deref(), now).map_err(wrong)?;
    if is_namespaced {
        let errors = validate(&value);
        if !errors.is_empty() {
            return Err(wrong(ApiError::invalid(resource, &name, &errors)));
        }
        // A backup is put back as it is, also where newer rules would not take it.
        if let Err(error) = admission::admit(target, Endpoint::Main, None, &value) {
            warnings.push(format!("document {number}: {error}"));
        }
    } else {
        namespaces::complete(&mut value).map_err(wrong)?;
    }
    Ok((place, in_stored_version(&value, resource)))
}

/// Adds what a document does not say: what is there already, or what a new object gets.
fn complete(value: &mut Value, there: Option<&Object>, now: &Moment) -> Result<(), ApiError> {
    let there = there.map(|object| &object.value);
    let known = |name: &str| there.and_then(|there| there.pointer(&format!("/metadata/{name}")));
    let is_other = there.is_some_and(|there| there.get("spec") != value.get("spec"));
    let generation = known("generation").and_then(Value::as_i64);
    let generation = generation.map_or(1, |it| it.saturating_add(i64::from(is_other)));
    let uid = moment::uuid().ok_or_else(|| ApiError::internal("no random numbers"))?;
    let defaults = [
        ("uid", known("uid").cloned().unwrap_or_else(|| json!(uid))),
        (
            "creationTimestamp",
            known("creationTimestamp").cloned().unwrap_or_else(|| json!(now.text)),
        ),
        ("generation", json!(generation)),
    ];
    let owners = known("managedFields").cloned();
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        metadata.remove("resourceVersion");
        for (name, default) in defaults {
            metadata.entry(name).or_insert(default);
        }
        if let Some(owners) = owners {
            metadata.entry("managedFields").or_insert(owners);
        }
    }
    let status = there.and_then(|there| there.get("status")).cloned();
    if let (Value::Object(fields), Some(status)) = (value, status) {
        fields.entry("status").or_insert(status);
    }
    Ok(())
}
