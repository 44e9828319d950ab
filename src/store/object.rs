//! What is kept: objects by key, and changes by revision.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What it is: plural and group, such as `authorizationpolicies.security.istio.io`.
    pub resource: Arc<str>,
    /// Empty for what is in none.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Key {
    /// From its parts.
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, namespace, name } = self;
        match &**namespace {
            "" => write!(f, "{resource} {name}"),
            namespace => write!(f, "{resource} {namespace}/{name}"),
        }
    }
}

/// An object as it was written at a revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Where.
    pub key: Key,
    /// When.
    pub revision: u64,
    /// What, with the revision in `metadata.resourceVersion`.
    pub value: Value,
}

/// What one revision changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its number: one more than that of the change before.
    pub revision: u64,
    /// Of what.
    pub key: Key,
    /// What was there before.
    pub old: Option<Arc<Object>>,
    /// What is there now.
    pub new: Option<Arc<Object>>,
}

/// Writes a revision where clients look for it.
pub(super) fn stamp(value: &mut Value, revision: u64) {
    let Value::Object(members) = value else { return };
    let metadata = members.entry("metadata").or_insert_with(|| Value::Object(Default::default()));
    if let Value::Object(metadata) = metadata {
        metadata.insert("resourceVersion".into(), revision.to_string().into());
    }
}
