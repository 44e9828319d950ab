//! Gets and lists.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value, json};

use super::super::continue_token::ContinueToken;
use super::super::query::{ListOptions, ResourceVersionMatch};
use super::super::status::{ApiError, ResourceType};
use super::super::versions;
use super::route::Resource;
use crate::store::{Key, Object, Page, Scope, Store};

/// Where an object is.
pub(super) fn key(kind: ResourceType, namespace: &str, name: &str) -> Key {
    Key::new(&kind.to_string(), namespace, name)
}

/// Where the objects of a path are.
pub(super) fn scope(resource: &Resource) -> Scope {
    Scope {
        resource: resource.kind.to_string().into(),
        namespace: resource.namespace.as_deref().map(Into::into),
    }
}

/// An object as a version of its group shows it.
pub(super) fn shown_in(object: &Value, resource: ResourceType, version: &str) -> Value {
    let mut object = in_version(object, resource, version);
    if let Value::Object(fields) = &mut object {
        versions::show_in(resource, version, fields);
    }
    object
}

/// An object under the name of a version of its group, in the form in which it is stored.
pub(super) fn in_version(object: &Value, resource: ResourceType, version: &str) -> Value {
    let mut object = object.clone();
    if let Value::Object(fields) = &mut object {
        // In its place: whoever reads expects it first.
        if let Some(found) = fields.get_mut("apiVersion") {
            *found = resource.api_version(version).into();
        }
    }
    object
}

/// The object of a path, at least as new as asked.
pub(super) fn get(
    store: &Store,
    resource: &Resource,
    at_least: Option<u64>,
) -> Result<Value, ApiError> {
    let current = store.revision();
    if let Some(asked) = at_least.filter(|asked| *asked > current) {
        return Err(ApiError::too_large_resource_version(asked, current));
    }
    let name = resource.name.as_deref().unwrap_or_default();
    let namespace = resource.namespace.as_deref().unwrap_or_default();
    let found = store.get(&key(resource.kind, namespace, name));
    let found = found.ok_or_else(|| ApiError::not_found(resource.kind, name))?;
    Ok(shown_in(&found.value, resource.kind, resource.version))
}

/// A page of a list.
#[derive(Debug)]
pub(super) struct List {
    kind: ResourceType,
    version: &'static str,
    metadata: Map<String, Value>,
    objects: Vec<Arc<Object>>,
}

/// The objects that are asked for.
pub(super) fn list(
    store: &Store,
    resource: &Resource,
    options: &ListOptions,
) -> Result<List, ApiError> {
    let (at, after) = place(store, resource, options)?;
    let limit = options.limit.map_or(usize::MAX, usize::from);
    let all = options.selects_all();
    let wanted = if all { limit } else { usize::MAX };
    let page =
        store.list(&scope(resource), at, after.as_ref(), wanted).map_err(
            |compacted| match options.continue_token {
                Some(_) => ApiError::expired_continue_token(),
                None => ApiError::too_old_resource_version(compacted.asked, compacted.oldest),
            },
        )?;
    let Page { revision, mut objects, mut remaining } = page;
    if !all {
        objects.retain(|object| options.matches(&object.value));
        remaining = objects.len().saturating_sub(limit);
        objects.truncate(limit);
    }
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), revision.to_string().into());
    if let (Some(last), true) = (objects.last(), remaining > 0) {
        let start = format!("{}/{}", last.key.namespace, last.key.name);
        let token = ContinueToken { resource_version: revision, start };
        metadata.insert("continue".into(), token.encode().into());
        if all {
            metadata.insert("remainingItemCount".into(), remaining.into());
        }
    }
    Ok(List { kind: resource.kind, version: resource.version, metadata, objects })
}

/// When, and after what.
fn place(
    store: &Store,
    resource: &Resource,
    options: &ListOptions,
) -> Result<(Option<u64>, Option<Key>), ApiError> {
    let current = store.revision();
    if let Some(token) = &options.continue_token {
        let (namespace, name) = token.start.split_once('/').unwrap_or(("", &token.start));
        // From before the store was put back to an older state.
        if token.resource_version > current {
            return Err(ApiError::expired_continue_token());
        }
        return Ok((Some(token.resource_version), Some(key(resource.kind, namespace, name))));
    }
    let Some(asked) = options.resource_version.filter(|asked| *asked > 0) else {
        return Ok((None, None));
    };
    if asked > current {
        return Err(ApiError::too_large_resource_version(asked, current));
    }
    let exact = match options.resource_version_match {
        Some(ResourceVersionMatch::Exact) => true,
        Some(ResourceVersionMatch::NotOlderThan) => false,
        None => options.limit.is_some(),
    };
    Ok((exact.then_some(asked), None))
}

impl List {
    /// Where its objects are.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.objects.iter().map(|object| object.key.clone()).collect()
    }

    /// As a value, for other forms.
    pub(super) fn to_value(&self) -> Value {
        let objects = self.objects.iter();
        json!({
            "kind": format!("{}List", self.kind.kind),
            "apiVersion": self.kind.api_version(self.version),
            "metadata": self.metadata,
            "items": objects
                .map(|object| shown_in(&object.value, self.kind, self.version))
                .collect::<Vec<_>>(),
        })
    }
}

/// In its full form. Objects are written where they are: a list can be long.
impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if versions::deprecation(self.kind, self.version).is_some() {
            // Its form is another one.
            return self.to_value().serialize(serializer);
        }
        let api_version = self.kind.api_version(self.version);
        let items: Vec<_> = self
            .objects
            .iter()
            .map(|object| InVersion { object: &object.value, api_version: &api_version })
            .collect();
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("kind", &format_args!("{}List", self.kind.kind))?;
        map.serialize_entry("apiVersion", &api_version)?;
        map.serialize_entry("metadata", &self.metadata)?;
        map.serialize_entry("items", &items)?;
        map.end()
    }
}

struct InVersion<'a> {
    object: &'a Value,
    api_version: &'a str,
}

impl Serialize for InVersion<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Object(fields) = self.object else { return self.object.serialize(serializer) };
        let mut map = serializer.serialize_map(Some(fields.len()))?;
        for (name, value) in fields {
            match name.as_str() {
                "apiVersion" => map.serialize_entry(name, self.api_version)?,
                _ => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}
