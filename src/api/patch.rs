//! JSON patches (RFC 6902) and merge patches (RFC 7386) on objects, within limits.
//!
//! Whether the result is an object that may be stored is for `object_meta` and admission.

use json_patch::{AddOperation, CopyOperation, MoveOperation, PatchOperation};
use serde_json::{Map, Value};

use super::status::ApiError;
use super::strict::{MAX_DEPTH, depth};

/// How many operations a JSON patch may have.
pub const MAX_OPERATIONS: usize = 10_000;

/// How many bytes the copies of a JSON patch may add up to.
pub const MAX_COPIED: usize = 3 * 1024 * 1024;

/// The media types that PATCH takes.
pub const MEDIA_TYPES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];

/// What a patch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// A list of operations.
    Json,
    /// An object whose fields replace those of the target; null removes.
    Merge,
    /// What a manager wants to be there.
    Apply,
}

impl PatchType {
    /// The type that a `Content-Type` header names. Strategic merge patches are refused: they need
    /// to know what every list means, which custom resources do not say.
    pub fn from_content_type(header: Option<&str>) -> Result<Self, ApiError> {
        let media_type = header.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let types = [Self::Json, Self::Merge, Self::Apply];
        MEDIA_TYPES
            .iter()
            .zip(types)
            .find(|(known, _)| media_type.eq_ignore_ascii_case(known))
            .map(|(_, patch_type)| patch_type)
            .ok_or_else(|| ApiError::unsupported_media_type(&MEDIA_TYPES))
    }
}

/// What a JSON patch makes of an object. All of it happens or nothing.
pub fn json_patch(target: &Value, body: &[u8]) -> Result<Value, ApiError> {
    let operations: Vec<Value> = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    if operations.len() > MAX_OPERATIONS {
        return Err(ApiError::request_entity_too_large(&format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut object = target.clone();
    let mut copied: usize = 0;
    for operation in operations {
        let operation: PatchOperation = serde_json::from_value(operation)
            .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
        check_growth(&object, &operation, &mut copied)?;
        json_patch::patch_unsafe(&mut object, &[operation])
            .map_err(|_| ApiError::unprocessable_patch())?;
    }
    if object.is_object() { Ok(object) } else { Err(ApiError::unprocessable_patch()) }
}

/// Copies can double an object with every operation, in size or in depth.
fn check_growth(
    object: &Value,
    operation: &PatchOperation,
    copied: &mut usize,
) -> Result<(), ApiError> {
    let (path, value) = match operation {
        PatchOperation::Add(AddOperation { path, value }) => (path, Some(value)),
        PatchOperation::Replace(replace) => (&replace.path, Some(&replace.value)),
        PatchOperation::Move(MoveOperation { from, path }) => (path, object.pointer(from.as_str())),
        PatchOperation::Copy(CopyOperation { from, path }) => {
            let source = object.pointer(from.as_str());
            *copied = copied.saturating_add(source.map_or(0, size));
            if *copied > MAX_COPIED {
                let message = format!("the copies of a JSON patch exceed {MAX_COPIED} bytes");
                return Err(ApiError::request_entity_too_large(&message));
            }
            (path, source)
        }
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
    };
    if path.tokens().count().saturating_add(value.map_or(0, depth)) > MAX_DEPTH {
        let message = format!("more than {MAX_DEPTH} levels of nesting");
        return Err(ApiError::request_entity_too_large(&message));
    }
    Ok(())
}

/// About how many bytes a value has as text; the exact number does not matter for a limit.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 3,
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 2,
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| key.len() + 4 + size(value)).sum::<usize>() + 2
        }
    }
}

/// What a merge patch makes of an object.
pub fn merge_patch(target: &Value, patch: &Value) -> Result<Value, ApiError> {
    if !patch.is_object() {
        return Err(ApiError::bad_request("error decoding patch: a merge patch must be an object"));
    }
    let mut object = target.clone();
    merge(&mut object, patch);
    Ok(object)
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, change) in changes {
        if change.is_null() {
            fields.shift_remove(key);
        } else {
            merge(fields.entry(key.as_str()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests;
