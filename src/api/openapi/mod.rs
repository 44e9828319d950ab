//! OpenAPI: what kubectl asks before it sends an object, and what `kubectl explain` shows.
//!
//! What the kinds look like is `manifest::schema`'s, which resources there are `discovery`'s.

mod operations;
mod schemas;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use aws_lc_rs::digest;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::discovery::{GROUPS, Version};

/// `/openapi/v2` is answered with this type and an empty body, which every kubectl takes for a
/// document without anything in it. JSON none of them can read.
pub const V2_CONTENT_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The document of one version of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// OpenAPI 3.0 in JSON.
    pub json: Bytes,
    /// Changes when the document does; clients keep documents by it.
    pub hash: String,
}

/// `/openapi/v3`: which documents there are.
pub fn root() -> Value {
    let paths: Map<String, Value> = DOCUMENTS
        .iter()
        .map(|(path, document)| {
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
            (path.clone(), json!({ "serverRelativeURL": url }))
        })
        .collect();
    json!({ "paths": paths })
}

/// `/openapi/v3/{path}`, where the path is `api/v1` or `apis/{group}/{version}`.
pub fn document(path: &str) -> Option<&'static Document> {
    DOCUMENTS.get(path)
}

static DOCUMENTS: LazyLock<BTreeMap<String, Document>> = LazyLock::new(|| {
    // Of the other groups nobody creates objects from files.
    let described = |name: &str| !name.ends_with(".k8s.io");
    GROUPS
        .iter()
        .filter(|group| described(group.name))
        .flat_map(|group| group.versions.iter().map(|version| build(group.name, version)))
        .collect()
});

fn build(group: &str, version: &Version) -> (String, Document) {
    let base = if group.is_empty() {
        format!("api/{}", version.name)
    } else {
        format!("apis/{group}/{}", version.name)
    };
    let mut paths = Map::new();
    let mut schemas = schemas::of_all_objects();
    for resource in &version.resources {
        operations::of(&base, version.name, resource, &mut paths);
        schemas::of(version.name, resource, &mut schemas);
    }
    schemas.sort_keys();
    let json = json!({
        "openapi": "3.0.0",
        "info": { "title": "Postern", "version": "v1.32.0" },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "BearerToken": {
                    "type": "apiKey",
                    "name": "authorization",
                    "in": "header",
                    "description": "A bearer token.",
                },
            },
        },
        "security": [{ "BearerToken": [] }],
    })
    .to_string();
    let digest = digest::digest(&digest::SHA512, json.as_bytes());
    let hash = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    (base, Document { json: json.into(), hash })
}
