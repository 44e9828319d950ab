//! Other forms of objects and lists: tables as `kubectl get` prints them, and metadata only.
//!
//! Which objects, and their full form, is for the callers.

mod age;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

pub use self::age::age;
use super::media_range::MediaRange;
use super::query::IncludeObject;
use super::status::{ApiError, ResourceType};
use crate::manifest::time::parse_timestamp;

/// The form in which a caller wants objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Full,
    /// As rows of a table.
    Table(MetaVersion),
    /// Their metadata only.
    Metadata(MetaVersion),
}

/// The version of `meta.k8s.io` that forms have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaVersion {
    /// `v1`
    V1,
    /// `v1beta1`
    V1Beta1,
}

impl MetaVersion {
    fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

impl Form {
    /// The first form in an `Accept` header that there is. No header accepts anything.
    pub fn negotiate(accept: Option<&str>) -> Result<Self, ApiError> {
        MediaRange::all(accept).find_map(Self::of_media_range).ok_or_else(|| {
            ApiError::not_acceptable(&[
                "application/json",
                "application/json;as=Table;g=meta.k8s.io;v=v1",
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            ])
        })
    }

    fn of_media_range(range: MediaRange<'_>) -> Option<Self> {
        let MediaRange { form, group, version } = range;
        let Some(form) = form else { return Some(Self::Full) };
        let version = match (group, version) {
            (Some("meta.k8s.io"), Some("v1")) => MetaVersion::V1,
            (Some("meta.k8s.io"), Some("v1beta1")) => MetaVersion::V1Beta1,
            _ => return None,
        };
        match form {
            "Table" => Some(Self::Table(version)),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Self::Metadata(version)),
            _ => None,
        }
    }
}

/// What a table shows, and how.
#[derive(Debug, Clone, Copy)]
pub struct TableOptions<'a> {
    /// The kind of its rows.
    pub resource: ResourceType,
    /// The version of the kind, such as `v1`.
    pub version: &'a str,
    /// The version of the table.
    pub meta: MetaVersion,
    /// What of the objects stands beside the cells.
    pub include_object: IncludeObject,
    /// Now, in seconds since 1970: ages are told in relation to it.
    pub now: i64,
}

struct Column {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    description: &'static str,
    path: &'static [&'static str],
}

const fn text(
    name: &'static str,
    description: &'static str,
    path: &'static [&'static str],
) -> Column {
    Column { name, kind: "string", format: "", description, path }
}

const NAME: Column = Column {
    format: "name",
    ..text("Name", "The name of the object, unique in its namespace.", &["metadata", "name"])
};
const AGE: Column = Column {
    name: "Age",
    kind: "date",
    format: "",
    description: "The time since the object was created.",
    path: &["metadata", "creationTimestamp"],
};
const ACTION: Column = text("Action", "The operation to take.", &["spec", "action"]);
const MODE: Column =
    text("Mode", "The mTLS mode used for peer authentication.", &["spec", "mtls", "mode"]);
const PHASE: Column = text("Status", "The state of the namespace.", &["status", "phase"]);
const RULE_STATUS: Column =
    text("Status", "The state of the rule.", &["status", "APIRuleStatus", "code"]);
const RULE_HOST: Column = text("Host", "The host of the rule.", &["spec", "host"]);
const RULE_STATE: Column = text("Status", "The state of the rule.", &["status", "state"]);
const RULE_HOSTS: Column = text("Hosts", "The hosts of the rule.", &["spec", "hosts"]);
const GATEWAYS: Column =
    text("Gateways", "The gateways, or the mesh, that the routes are for.", &["spec", "gateways"]);
const ROUTED_HOSTS: Column =
    text("Hosts", "The hosts that the routes are for.", &["spec", "hosts"]);

fn columns(resource: ResourceType, version: &str) -> &'static [Column] {
    match (resource.kind, version) {
        ("AuthorizationPolicy", _) => &[NAME, ACTION, AGE],
        ("PeerAuthentication", _) => &[NAME, MODE, AGE],
        ("Namespace", _) => &[NAME, PHASE, AGE],
        ("APIRule", "v1alpha1" | "v1beta1") => &[NAME, RULE_STATUS, RULE_HOST, AGE],
        ("VirtualService", _) => &[NAME, GATEWAYS, ROUTED_HOSTS, AGE],
        ("APIRule", _) => &[NAME, RULE_STATE, RULE_HOSTS, AGE],
        _ => &[NAME, AGE],
    }
}

/// The table of a list.
pub fn of_list(list: &Value, options: &TableOptions<'_>) -> Value {
    let items = list.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    table(list, items, true, options)
}

/// The table of one object. In a watch, only the first event's table has columns.
pub fn of_object(object: &Value, with_columns: bool, options: &TableOptions<'_>) -> Value {
    table(object, std::slice::from_ref(object), with_columns, options)
}

fn table(
    source: &Value,
    objects: &[Value],
    with_columns: bool,
    options: &TableOptions<'_>,
) -> Value {
    let columns = columns(options.resource, options.version);
    let definitions: Vec<_> = columns
        .iter()
        .filter(|_| with_columns)
        .map(|Column { name, kind, format, description, .. }| {
            json!({
                "name": name, "type": kind, "format": format, "description": description,
                "priority": 0,
            })
        })
        .collect();
    let rows: Vec<_> = objects.iter().map(|object| row(object, columns, options)).collect();
    json!({
        "kind": "Table",
        "apiVersion": options.meta.api_version(),
        "metadata": list_metadata(source),
        "columnDefinitions": definitions,
        "rows": rows,
    })
}

fn row(object: &Value, columns: &[Column], options: &TableOptions<'_>) -> Value {
    let cells: Vec<_> = columns.iter().map(|column| cell(object, column, options.now)).collect();
    let object = match options.include_object {
        IncludeObject::Metadata => Some(metadata_only(object, options.meta)),
        IncludeObject::Object => Some(object.clone()),
        IncludeObject::None => None,
    };
    let mut row = json!({ "cells": cells });
    if let (Some(row), Some(object)) = (row.as_object_mut(), object) {
        row.insert("object".to_owned(), object);
    }
    row
}

fn cell(object: &Value, column: &Column, now: i64) -> Value {
    let value = column.path.iter().try_fold(object, |value, name| value.get(name));
    let value = value.filter(|value| !value.is_null());
    if column.kind == "date" {
        return json!(age(value.and_then(Value::as_str).map(parse_timestamp), now));
    }
    match value {
        None => Value::Null,
        Some(Value::String(text)) => json!(text),
        Some(value) => json!(value.to_string()),
    }
}

/// The parts of a list's or object's metadata that lists have.
fn list_metadata(source: &Value) -> Value {
    let metadata = source.get("metadata").and_then(Value::as_object);
    let known = ["resourceVersion", "continue", "remainingItemCount"];
    let kept: Map<_, _> = metadata
        .into_iter()
        .flatten()
        .filter(|(name, _)| known.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Value::Object(kept)
}

/// An object's metadata as an object of its own.
pub fn metadata_only(object: &Value, meta: MetaVersion) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": meta.api_version(),
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

/// A list of metadata.
pub fn metadata_only_list(list: &Value, meta: MetaVersion) -> Value {
    let items = list.get("items").and_then(Value::as_array).into_iter().flatten();
    let items: Vec<_> = items.map(|object| metadata_only(object, meta)).collect();
    json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": meta.api_version(),
        "metadata": list_metadata(list),
        "items": items,
    })
}
