//! What an object would mean as a policy: what Istio's webhook refuses, and all else that keeps
//! Postern from enforcing it.
//!
//! The findings are those of `postern check`: the same decoders make them.

use serde_json::{Map, Value};

use crate::api::field_error::FieldError;
use crate::api::resource_type::ResourceType;
use crate::api::versions;
use crate::diagnostic::{Diagnostic, Severity};
use crate::manifest::{self, ApiRuleOptions, Options};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Meaning {
    pub(super) errors: Vec<FieldError>,
    pub(super) warnings: Vec<String>,
}

/// Of an object with a name.
pub(super) fn of(resource: ResourceType, object: &Value) -> Meaning {
    let mut document = as_written(object);
    if let Some(version) = document.get_mut("apiVersion") {
        *version = resource.api_version(versions::form(resource, object)).into();
    }
    // What depends on settings, or on other objects, the status says.
    let api_rules =
        ApiRuleOptions { default_domain: Some("local".into()), ..ApiRuleOptions::default() };
    let options = Options { api_rules, ..Options::default() };
    let decoded = manifest::decode(&document.to_string(), Some("object.json"), &options);
    let mut meaning = Meaning::default();
    for found in &decoded.diagnostics {
        match found.severity {
            Severity::Error => meaning.errors.push(error(found, &document)),
            Severity::Warning => meaning.warnings.push(warning(found)),
            Severity::Note => {}
        }
    }
    if meaning.errors.is_empty() && decoded.accepted().next().is_none() {
        // Never seen; but what is not enforced must not look as if it were.
        let why = "the object is no policy that can be enforced";
        meaning.errors.push(FieldError::invalid("spec", "object", why));
    }
    meaning
}

/// What a person wrote, without what servers add.
fn as_written(object: &Value) -> Value {
    let pick = |value: Option<&Value>, names: &[&str]| -> Map<String, Value> {
        let members = names.iter().filter_map(|name| {
            Some(((*name).to_owned(), value.and_then(|value| value.get(name))?.clone()))
        });
        members.collect()
    };
    let mut document = pick(Some(object), &["apiVersion", "kind", "spec"]);
    let metadata = pick(object.get("metadata"), &["name", "namespace", "annotations"]);
    document.insert("metadata".to_owned(), Value::Object(metadata));
    Value::Object(document)
}

fn error(found: &Diagnostic, document: &Value) -> FieldError {
    let Diagnostic { code, message, help, path, .. } = found;
    let detail = match help {
        Some(help) => format!("{message} ({code}): {help}"),
        None => format!("{message} ({code})"),
    };
    match value_at(document, path) {
        // A key set may hold private keys.
        Some(Value::String(_)) if path.ends_with(".jwks") => {
            FieldError::invalid(path, "string", &detail)
        }
        Some(Value::Object(_)) | None => FieldError::invalid(path, "object", &detail),
        Some(Value::Array(_)) => FieldError::invalid(path, "array", &detail),
        Some(value) => FieldError::invalid_value(path, value, &detail),
    }
}

fn warning(found: &Diagnostic) -> String {
    let Diagnostic { code, message, path, .. } = found;
    if path.is_empty() {
        format!("{message} ({code})")
    } else {
        format!("{path}: {message} ({code})")
    }
}

/// The value at the path of a diagnostic. Keys may have dots in them.
fn value_at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    if path.is_empty() {
        return Some(value);
    }
    if let Some(item) = path.strip_prefix('[') {
        let (index, rest) = item.split_once(']')?;
        return value_at(value.get(index.parse::<usize>().ok()?)?, rest);
    }
    let path = path.strip_prefix('.').unwrap_or(path);
    value.as_object()?.iter().find_map(|(key, value)| {
        let rest = path.strip_prefix(key.as_str())?;
        let ends_here = rest.is_empty() || rest.starts_with(['.', '[']);
        if ends_here { value_at(value, rest) } else { None }
    })
}
