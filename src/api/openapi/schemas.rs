//! The schemas of a document: our kinds, their lists, and what all objects have.

use serde_json::{Map, Value, json};

use crate::api::discovery::Resource;
use crate::api::versions;
use crate::manifest::node;

/// The name of what all objects have beside their content.
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// What all objects have.
pub(super) fn of_all_objects() -> Map<String, Value> {
    let text = include_str!("objects.yaml");
    let documents = node::parse_documents(text, Some("objects.yaml")).unwrap_or_default();
    match documents.first().map(node::Node::to_json) {
        Some(Value::Object(schemas)) => schemas,
        // The data is part of the program, and a test sees that it is there.
        _ => Map::new(),
    }
}

/// Adds the schemas of a resource and of its list.
pub(super) fn of(version: &str, resource: &Resource, schemas: &mut Map<String, Value>) {
    let names = resource.names;
    let item = name(version, resource);
    let mut schema = match versions::schema_in(names, version) {
        Some(known) => known.schema.clone(),
        None => json!({ "type": "object", "description": "Where names of objects are unique." }),
    };
    let metadata = described(OBJECT_META, "Name, labels and the like.");
    if let Value::Object(schema) = &mut schema {
        let properties = schema.entry("properties").or_insert_with(|| json!({}));
        if let Value::Object(properties) = properties {
            properties.entry("apiVersion").or_insert_with(
                || json!({ "type": "string", "description": "Group and version of the kind." }),
            );
            properties
                .entry("kind")
                .or_insert_with(|| json!({ "type": "string", "description": "The kind." }));
            properties.insert("metadata".to_owned(), metadata);
        }
        schema
            .insert(GROUP_VERSION_KIND.to_owned(), json!([group_version_kind(version, resource)]));
    }
    let list_kind = format!("{}List", names.kind);
    let list = json!({
        "type": "object",
        "description": format!("Objects of the kind {}.", names.kind),
        "required": ["items"],
        "properties": {
            "apiVersion": { "type": "string", "description": "Group and version of the kind." },
            "items": {
                "type": "array",
                "description": "The objects.",
                "items": reference(&item),
            },
            "kind": { "type": "string", "description": "The kind." },
            "metadata": described(LIST_META, "Where the list ends, and where a watch goes on."),
        },
        GROUP_VERSION_KIND: [{ "group": names.group, "version": version, "kind": list_kind }],
    });
    schemas.insert(format!("{item}List"), list);
    schemas.insert(item, schema);
}

/// Says which kind a schema or an operation is about.
pub(super) const GROUP_VERSION_KIND: &str = "x-kubernetes-group-version-kind";

pub(super) fn group_version_kind(version: &str, resource: &Resource) -> Value {
    let names = resource.names;
    json!({ "group": names.group, "version": version, "kind": names.kind })
}

/// The name of the schema of a resource: its group backwards, version and kind.
pub(super) fn name(version: &str, resource: &Resource) -> String {
    let names = resource.names;
    let group = match names.group {
        "" => "io.k8s.api.core".to_owned(),
        group => group.split('.').rev().collect::<Vec<_>>().join("."),
    };
    format!("{group}.{version}.{}", names.kind)
}

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn described(name: &str, description: &str) -> Value {
    json!({ "allOf": [reference(name)], "description": description })
}
