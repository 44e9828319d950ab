//! Bodies as objects: JSON and YAML with keys that stand twice, and fields that a kind does not have.
//!
//! Types and values of the fields that a kind has are for admission.

mod json;
mod pruning;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use super::field_error::{FieldError, quote};
use super::object_meta::Target;
use super::query::FieldValidation;
use super::status::ApiError;
use crate::manifest::codes;
use crate::manifest::node::{self, Content, Node};
use crate::manifest::problem::Report;
use crate::manifest::text::Text;
pub use pruning::prune;

/// How deep a body may nest. What is stored nests no deeper than JSON parsers read, with room for
/// `managedFields`, which nest a few levels deeper than the object.
pub const MAX_DEPTH: usize = 100;

/// How many unknown and how many duplicate fields are told. The others are treated alike.
pub const MAX_FINDINGS: usize = 100;

/// How much of the path of such a field is told, in bytes.
const MAX_PATH: usize = 1024;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON only.
    Json,
    /// YAML, and so JSON too.
    Yaml,
}

impl Format {
    /// The format that a `Content-Type` header names; JSON where there is none.
    pub fn from_content_type(header: Option<&str>) -> Result<Self, ApiError> {
        const KNOWN: [&str; 2] = ["application/json", "application/yaml"];
        let media_type = header.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match media_type.to_ascii_lowercase().as_str() {
            "" | "application/json" => Ok(Self::Json),
            "application/yaml" => Ok(Self::Yaml),
            _ => Err(ApiError::unsupported_media_type(&KNOWN)),
        }
    }
}

/// A body as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// What it says.
    pub value: Value,
    /// The paths of keys that stand twice in JSON; the last one counts.
    pub duplicates: Vec<String>,
}

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undecodable(pub String);

/// Reads a body. A key that stands twice is an error in YAML, and told in [`Decoded`] for JSON.
pub fn decode(body: &[u8], format: Format) -> Result<Decoded, Undecodable> {
    let decoded = match format {
        Format::Json => json::decode(body),
        Format::Yaml => match json::decode(body) {
            Ok(decoded) => Ok(decoded),
            Err(_) => yaml(body),
        },
    }?;
    if depth(&decoded.value) > MAX_DEPTH {
        return Err(Undecodable(format!("more than {MAX_DEPTH} levels of nesting")));
    }
    Ok(decoded)
}

/// Adds a path to those that are told. Keys can be as long as the body.
fn tell(paths: &mut Vec<String>, path: &str) {
    if paths.len() >= MAX_FINDINGS {
        return;
    }
    let end = (0..=MAX_PATH).rev().find(|end| path.is_char_boundary(*end)).unwrap_or_default();
    let path = match path.get(..end) {
        Some(start) if start.len() < path.len() => format!("{start}..."),
        Some(_) | None => path.to_owned(),
    };
    if !paths.contains(&path) {
        paths.push(path);
    }
}

fn yaml(body: &[u8]) -> Result<Decoded, Undecodable> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Undecodable("yaml: the text is not UTF-8".to_owned()))?;
    let text = Text::new(text, Some("body.yaml"));
    let mut report = Report::new(&text);
    let mut roots = Vec::new();
    for document in node::read(&text) {
        // A key such as `on` would be read as a boolean by Kubernetes, and refused as unknown; it
        // comes to the same.
        for problem in document.problems.into_iter().filter(|p| p.code != codes::OLD_BOOL_KEY) {
            report.add(problem);
        }
        roots.extend(document.root);
    }
    if let Some(found) = report.diagnostics.first() {
        return Err(Undecodable(format!("yaml: line {}: {}", found.position.line, found.message)));
    }
    match roots.as_slice() {
        [root] => Ok(Decoded { value: as_kubernetes_reads(root), duplicates: Vec::new() }),
        [] => Err(Undecodable("yaml: the text is empty".to_owned())),
        _ => Err(Undecodable("yaml: there is more than one document".to_owned())),
    }
}

/// JSON from YAML, with YAML 1.1's booleans.
fn as_kubernetes_reads(node: &Node) -> Value {
    match &node.content {
        Content::OldBool { value, .. } => Value::Bool(*value),
        Content::Sequence(items) => items.iter().map(as_kubernetes_reads).collect(),
        Content::Mapping(entries) => Value::Object(
            entries
                .iter()
                .map(|entry| (entry.key.clone(), as_kubernetes_reads(&entry.value)))
                .collect::<Map<_, _>>(),
        ),
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::String(_) => {
            node.to_json()
        }
    }
}

/// How deep a value nests; 0 for what is neither list nor object.
pub fn depth(value: &Value) -> usize {
    let below = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    1 + below.unwrap_or_default()
}

/// What strict decoding finds, in words.
pub fn findings(unknown: &[String], duplicates: &[String]) -> Vec<String> {
    let unknown = unknown.iter().map(|path| format!("unknown field {}", quote(path)));
    let duplicates = duplicates.iter().map(|path| format!("duplicate field {}", quote(path)));
    unknown.chain(duplicates).collect()
}

/// The warnings of a write, or its refusal. `refuse` makes the error from its text; see
/// [`ApiError::cannot_be_handled`] and [`refuse_patch`].
pub fn judge(
    validation: FieldValidation,
    findings: Vec<String>,
    refuse: impl FnOnce(&str) -> ApiError,
) -> Result<Vec<String>, ApiError> {
    match validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(findings),
        FieldValidation::Strict if findings.is_empty() => Ok(findings),
        FieldValidation::Strict => {
            Err(refuse(&format!("strict decoding error: {}", findings.join(", "))))
        }
    }
}

/// The refusal of what a JSON patch or merge patch made of an object.
pub fn refuse_patch(object: &Value, why: &str) -> ApiError {
    ApiError::invalid_patch_result(&[FieldError::invalid("patch", &object.to_string(), why)])
}

/// The refusal of an apply with fields that the kind does not have. Such cannot be owned, so they
/// are refused whatever the field validation.
pub fn refuse_apply(target: Target<'_>, unknown: &[String]) -> ApiError {
    let Target { resource, version, namespace, name } = target;
    let paths: Vec<_> =
        unknown.iter().map(|path| format!(".{path}: field not declared in schema")).collect();
    let text = match paths.as_slice() {
        [one] => one.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    };
    let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
    ApiError::bad_request(format!(
        "failed to create typed patch object ({namespace}/{name}; {}, Kind={}): {text}",
        resource.api_version(version),
        resource.kind
    ))
}

/// The value of a `Warning` header.
pub fn warning_header(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("299 - {}", quote(&text))
}
