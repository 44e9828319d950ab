//! Dropping fields that are null, where the schema knows the field and not null as its value.
//!
//! Items of lists stay: that they have the wrong type is for `structure` to say.

use serde_json::Value;

/// Drops them, and says where they were.
pub(super) fn drop_nulls(object: &mut Value, schema: &Value) -> Vec<String> {
    let mut dropped = Vec::new();
    drop_below(object, Some(schema), "", &mut dropped);
    dropped
}

fn drop_below(value: &mut Value, schema: Option<&Value>, path: &str, dropped: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.retain(|key, value| {
            let schema = schema.and_then(|schema| field(schema, key));
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let may_be_null = |schema: &Value| schema.get("nullable") == Some(&Value::Bool(true));
            if value.is_null() && schema.is_some_and(|schema| !may_be_null(schema)) {
                dropped.push(path);
                return false;
            }
            drop_below(value, schema, &path, dropped);
            true
        }),
        Value::Array(items) => {
            let schema = schema.and_then(|schema| schema.get("items"));
            for (index, item) in items.iter_mut().enumerate() {
                drop_below(item, schema, &format!("{path}[{index}]"), dropped);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn field<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    let declared = schema.get("properties").and_then(|properties| properties.get(key));
    declared.or_else(|| schema.get("additionalProperties").filter(|it| it.is_object()))
}
