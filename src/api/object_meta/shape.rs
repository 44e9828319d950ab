//! The types of the fields of ObjectMeta.
//!
//! What their values may be is for `validation`.

use serde_json::Value;

#[derive(Clone, Copy)]
enum Type {
    String,
    Time,
    Integer,
    StringMap,
    StringList,
    ObjectList,
}

const FIELDS: [(&str, Type); 15] = [
    ("name", Type::String),
    ("generateName", Type::String),
    ("namespace", Type::String),
    ("selfLink", Type::String),
    ("uid", Type::String),
    ("resourceVersion", Type::String),
    ("generation", Type::Integer),
    ("creationTimestamp", Type::Time),
    ("deletionTimestamp", Type::Time),
    ("deletionGracePeriodSeconds", Type::Integer),
    ("labels", Type::StringMap),
    ("annotations", Type::StringMap),
    ("finalizers", Type::StringList),
    ("ownerReferences", Type::ObjectList),
    ("managedFields", Type::ObjectList),
];

/// Checks the types of all known fields. Null stands for absent.
pub(super) fn check(metadata: &Value) -> Result<(), String> {
    if !metadata.is_object() {
        return Err(mismatch(metadata, "metadata", "v1.ObjectMeta"));
    }
    let known = FIELDS.iter().filter_map(|(name, kind)| Some((name, kind, metadata.get(name)?)));
    for (name, kind, value) in known.filter(|(_, _, value)| !value.is_null()) {
        let field = format!("ObjectMeta.metadata.{name}");
        let wrong = |value, expected| Err(mismatch(value, &field, expected));
        match kind {
            Type::String if !value.is_string() => return wrong(value, "string"),
            Type::Integer if !value.is_i64() => return wrong(value, "int64"),
            Type::Time => match value.as_str() {
                None => return wrong(value, "v1.Time"),
                Some(text) if crate::manifest::time::parse_timestamp(text).is_none() => {
                    return Err(format!(
                        "parsing time {} as \"2006-01-02T15:04:05Z07:00\": cannot parse it",
                        crate::api::field_error::quote(text)
                    ));
                }
                Some(_) => {}
            },
            Type::StringMap => {
                let Some(entries) = value.as_object() else {
                    return wrong(value, "map[string]string");
                };
                if let Some(bad) = entries.values().find(|value| !value.is_string()) {
                    return wrong(bad, "string");
                }
            }
            Type::StringList => {
                let Some(items) = value.as_array() else { return wrong(value, "[]string") };
                if let Some(bad) = items.iter().find(|value| !value.is_string()) {
                    return wrong(bad, "string");
                }
            }
            Type::ObjectList => {
                let Some(items) = value.as_array() else { return wrong(value, "[]object") };
                if let Some(bad) = items.iter().find(|value| !value.is_object()) {
                    return wrong(bad, "object");
                }
            }
            Type::String | Type::Integer => {}
        }
    }
    Ok(())
}

fn mismatch(value: &Value, field: &str, expected: &str) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {found} into Go struct field {field} of type {expected}")
}
