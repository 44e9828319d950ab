//! VirtualService as Kubernetes describes kinds, for those who keep or read it.
//!
//! The data stands in `networking_istio_io.yaml`. No policy is made of it: it is none of [`super::GROUPS`],
//! and the decoders pass over it as over every kind that they do not know.

use std::sync::LazyLock;

use serde_json::Value;

use super::{KindSchema, data, definition, of, read, version};
use crate::model::Kind;

/// Its API group.
pub const GROUP: &str = "networking.istio.io";

/// The versions of the group, the preferred one first, which is also the one that is stored. They differ
/// in nothing but their names.
pub const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha3"];

/// What it is counted among.
pub const CATEGORIES: [&str; 2] = ["istio-io", "networking-istio-io"];

static SCHEMA: LazyLock<KindSchema> = LazyLock::new(|| {
    let data = data(include_str!("networking_istio_io.yaml"), "networking_istio_io.yaml");
    let mut read = read(&data, "VirtualService", None);
    // All of Istio's kinds have the same.
    let status = of(Kind::AuthorizationPolicy).schema.pointer("/properties/status").cloned();
    if let (Some(of_ours), Some(status)) = (read.schema.pointer_mut("/properties/status"), status) {
        *of_ours = status;
    }
    read
});

/// Its schema, in all versions.
pub fn schema() -> &'static KindSchema {
    &SCHEMA
}

/// It as a CustomResourceDefinition, for a Kubernetes API that does not know it yet.
pub fn custom_resource_definition() -> Value {
    let stored = VERSIONS.first();
    let of_version =
        |name: &&str| version(name, stored == Some(name), &SCHEMA.columns, &SCHEMA.schema);
    let versions = VERSIONS.each_ref().map(of_version);
    definition(GROUP, &SCHEMA, &CATEGORIES, &versions)
}
