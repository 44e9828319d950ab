//! What may be stored: what is left of an object, and whether that makes sense.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::super::object_meta::Target;
use super::super::status::{ApiError, ResourceType};
use super::super::strict;
use super::Settings;
use crate::manifest::schema;
use crate::model::Kind;

/// Of a namespace nothing is known here but that it is there.
static NAMESPACE: LazyLock<Value> =
    LazyLock::new(|| json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }));

/// What admission says of an object that it lets through.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    pub(super) warnings: Vec<String>,
}

/// The kind of policy that a resource is.
pub(super) fn kind(resource: ResourceType) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == resource.kind)
}

/// Drops what the kind does not have, and says what that was.
pub(super) fn prune(resource: ResourceType, object: &mut Value) -> Vec<String> {
    let schema = kind(resource).map_or(&*NAMESPACE, |kind| &schema::of(kind).schema);
    strict::prune(object, schema)
}

/// Whether the object may be stored.
pub(super) fn check(
    _settings: &Settings,
    _target: Target<'_>,
    _old: Option<&Value>,
    _new: &mut Value,
) -> Result<Admitted, ApiError> {
    Ok(Admitted::default())
}
