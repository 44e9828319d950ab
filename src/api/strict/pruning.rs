//! Dropping the fields that a structural schema does not have.
//!
//! Where a value has another type than its schema says, nothing is dropped: admission will refuse it.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// The schema of ObjectMeta, as far as fields go.
static METADATA: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "properties": {
            "name": {}, "generateName": {}, "namespace": {}, "selfLink": {}, "uid": {},
            "resourceVersion": {}, "generation": {}, "creationTimestamp": {},
            "deletionTimestamp": {}, "deletionGracePeriodSeconds": {}, "finalizers": {},
            "labels": {"additionalProperties": {}},
            "annotations": {"additionalProperties": {}},
            "ownerReferences": {"items": {"properties": {
                "apiVersion": {}, "kind": {}, "name": {}, "uid": {}, "controller": {},
                "blockOwnerDeletion": {},
            }}},
            "managedFields": {"items": {"properties": {
                "manager": {}, "operation": {}, "apiVersion": {}, "time": {}, "fieldsType": {},
                "fieldsV1": {"x-kubernetes-preserve-unknown-fields": true}, "subresource": {},
            }}},
        },
    })
});

/// Drops what neither the schema nor every object has, and says what that was, sorted.
///
/// `schema` is the structural schema of a kind, as `openAPIV3Schema` of a CRD.
pub fn prune(object: &mut Value, schema: &Value) -> Vec<String> {
    let Value::Object(fields) = object else { return Vec::new() };
    let mut pruning = Pruning::default();
    let every_object_has = |key: &str| matches!(key, "apiVersion" | "kind" | "metadata");
    let keeps = preserves(schema);
    fields.retain(|key, value| {
        pruning.at(key, |pruning| match property(schema, key) {
            _ if key == "metadata" => pruning.value(value, &METADATA),
            _ if every_object_has(key) => true,
            Some(schema) => pruning.value(value, schema),
            None => keeps || pruning.unknown(),
        })
    });
    pruning.unknown.sort_unstable();
    pruning.unknown
}

#[derive(Default)]
struct Pruning {
    path: String,
    unknown: Vec<String>,
}

impl Pruning {
    /// Does something one key further down.
    fn at(&mut self, key: &str, act: impl FnOnce(&mut Self) -> bool) -> bool {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        let keep = act(self);
        self.path.truncate(length);
        keep
    }

    fn unknown(&mut self) -> bool {
        super::tell(&mut self.unknown, &self.path);
        false
    }

    /// Prunes below a value that itself is kept.
    fn value(&mut self, value: &mut Value, schema: &Value) -> bool {
        match value {
            Value::Object(fields) => self.fields(fields, schema),
            Value::Array(items) => {
                if let Some(schema) = schema.get("items") {
                    let length = self.path.len();
                    for (index, item) in items.iter_mut().enumerate() {
                        self.path.push_str(&format!("[{index}]"));
                        self.value(item, schema);
                        self.path.truncate(length);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        true
    }

    fn fields(&mut self, fields: &mut Map<String, Value>, schema: &Value) {
        let additional = schema.get("additionalProperties");
        let keeps = preserves(schema) || additional == Some(&Value::Bool(true));
        let declared = schema.get("type").and_then(Value::as_str);
        if declared.is_some_and(|declared| declared != "object") && !keeps {
            // An object where there should be none.
            return;
        }
        fields.retain(|key, value| {
            let schema = property(schema, key).or(additional.filter(|schema| schema.is_object()));
            self.at(key, |pruning| match schema {
                Some(schema) => pruning.value(value, schema),
                None => keeps || pruning.unknown(),
            })
        });
    }
}

fn property<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    schema.get("properties")?.get(key)
}

fn preserves(schema: &Value) -> bool {
    schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
}
