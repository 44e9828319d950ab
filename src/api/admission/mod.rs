//! What may be written: an object's structure, the rules of its kind, and what it would mean as a
//! policy or as routes.
//!
//! Metadata is `object_meta`'s, what bodies have too much `strict`'s.

mod meaning;
mod nulls;
mod rules;
mod structure;
mod virtual_service;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde_json::{Value, json};

use self::structure::Structure;
use super::discovery;
use super::field_error::{CauseReason, FieldError};
use super::object_meta::{Endpoint, Target};
use super::status::{ApiError, ResourceType};
use super::{strict, versions};
use crate::manifest::schema;
use crate::model::Kind;

/// How many errors, and how many warnings, a write is answered with. A body can have as many as it
/// has bytes.
const MAX_FINDINGS: usize = 100;

/// What was dropped from an object, beside what its kind has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// The paths of unknown fields, for [`strict::findings`].
    pub unknown: Vec<String>,
    /// Warnings about fields that were null. Kubernetes drops them in silence, but an emptied `from`
    /// lets everyone in.
    pub warnings: Vec<String>,
}

/// Drops the fields that a kind does not have, and those that are null, which is how Kubernetes
/// reads them.
pub fn prune(resource: ResourceType, object: &mut Value) -> Pruned {
    // What a namespace says beside its metadata has no meaning here.
    static ANYTHING: LazyLock<Value> =
        LazyLock::new(|| json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }));
    versions::to_stored_form(resource, object);
    let schema = versions::schema_of(resource, object).map_or(&*ANYTHING, |it| &it.schema);
    let unknown = strict::prune(object, schema);
    let nulls = nulls::drop_nulls(object, schema);
    let warnings = nulls.iter().map(|path| format!("{path}: null, which counts as absent"));
    Pruned { unknown, warnings: at_most(warnings.collect()) }
}

/// Decides on a write, and says what is doubtful about it.
///
/// `new` is what would be stored: pruned, with its metadata complete. What an update leaves as it was
/// is not refused, so that finalizers can be taken from objects that an older version took and this
/// one would not.
pub fn admit(
    target: Target<'_>,
    endpoint: Endpoint,
    old: Option<&Value>,
    new: &Value,
) -> Result<Vec<String>, ApiError> {
    let Some(structure) = structure_of(target.resource, new) else { return Ok(Vec::new()) };
    let name = new.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let refuse = |mut errors: Vec<FieldError>| {
        errors.truncate(MAX_FINDINGS);
        Err(ApiError::invalid(target.resource, name, &errors))
    };
    let part = match endpoint {
        Endpoint::Main => "spec",
        Endpoint::Status => "status",
    };
    let is_same =
        |pointer: &str| old.is_some_and(|old| old.pointer(pointer) == new.pointer(pointer));
    let is_unchanged = match endpoint {
        Endpoint::Main => is_same("/spec") && is_same("/metadata/annotations"),
        Endpoint::Status => is_same("/status"),
    };
    if !is_unchanged {
        let errors = structure_and_rules(structure, part, new);
        if !errors.is_empty() {
            return refuse(errors);
        }
    }
    match endpoint {
        Endpoint::Status => Ok(Vec::new()),
        Endpoint::Main => {
            let meaning = if target.resource == ResourceType::VIRTUAL_SERVICE {
                virtual_service::meaning(new)
            } else {
                meaning::of(target.resource, new)
            };
            if !is_unchanged && !meaning.errors.is_empty() {
                return refuse(meaning.errors);
            }
            Ok(at_most(meaning.warnings))
        }
    }
}

/// What Kubernetes finds by itself, in the part of the object that is written.
fn structure_and_rules(structure: &Structure, part: &str, new: &Value) -> Vec<FieldError> {
    let mut errors = structure.check(part, new);
    if errors.iter().any(|error| blocks_rules(error.reason)) {
        errors.truncate(MAX_FINDINGS - 1);
        // It is about no field, which Kubernetes prints so.
        errors.push(FieldError::invalid(
            "<nil>",
            "null",
            "some validation rules were not checked because the object was invalid; correct the \
             existing errors to complete validation",
        ));
    } else {
        errors.extend(structure.check_rules(part, new));
    }
    errors
}

/// Rules take the structure for granted.
fn blocks_rules(reason: CauseReason) -> bool {
    match reason {
        CauseReason::Required
        | CauseReason::NotSupported
        | CauseReason::TypeInvalid
        | CauseReason::TooLong
        | CauseReason::TooMany => true,
        CauseReason::Invalid | CauseReason::Forbidden | CauseReason::Duplicate => false,
    }
}

fn at_most(mut warnings: Vec<String>) -> Vec<String> {
    // Each is a header, and clients take only so many.
    const MOST: usize = 20;
    if warnings.len() > MOST {
        let more = warnings.len() - MOST;
        warnings.truncate(MOST);
        warnings.push(format!("and {more} more warnings"));
    }
    warnings
}

/// Namespaces have none.
fn structure_of(resource: ResourceType, object: &Value) -> Option<&'static Structure> {
    static STRUCTURES: LazyLock<[Structure; 4]> =
        LazyLock::new(|| Kind::ALL.map(|kind| Structure::read(&schema::of(kind).schema)));
    static V2: LazyLock<Structure> =
        LazyLock::new(|| Structure::read(&schema::of_version(Kind::ApiRule, "v2").schema));
    static ROUTES: LazyLock<Structure> =
        LazyLock::new(|| Structure::read(&schema::virtual_service::schema().schema));
    if resource == ResourceType::VIRTUAL_SERVICE {
        return Some(&ROUTES);
    }
    let kind = discovery::kind(resource)?;
    if kind == Kind::ApiRule && schema::written_version(object) == "v2" {
        return Some(&V2);
    }
    STRUCTURES.get(Kind::ALL.iter().position(|known| *known == kind)?)
}
