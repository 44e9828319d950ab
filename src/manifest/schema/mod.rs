//! Our kinds as Kubernetes describes kinds: names, structural schema, CEL rules, printer columns.
//!
//! The data stands in `security_istio_io.yaml`. Leaves holding objects against it to those who
//! answer Kubernetes clients; what resources mean is the decoders' and `admission`'s business.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::node;
use crate::model::Kind;

/// The API group of the kinds.
pub const GROUP: &str = "security.istio.io";

/// Its versions, the preferred one first, which is also the one that is stored. They differ in
/// nothing but their names.
pub const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// An API group: its kinds, and its versions, the preferred one first.
#[derive(Debug)]
pub struct ApiGroup {
    /// Its name.
    pub name: &'static str,
    /// Its versions, the preferred one first.
    pub versions: &'static [&'static str],
    /// Its kinds.
    pub kinds: &'static [Kind],
}

/// The groups that Postern reads.
pub static GROUPS: [ApiGroup; 2] = [
    ApiGroup { name: GROUP, versions: &VERSIONS, kinds: &Kind::ISTIO },
    ApiGroup {
        name: "gateway.kyma-project.io",
        versions: &["v1beta1", "v1alpha1", "v2alpha1", "v2"],
        kinds: &[Kind::ApiRule],
    },
];

/// The group of a kind.
pub fn group_of(kind: Kind) -> &'static ApiGroup {
    let [istio, kyma] = &GROUPS;
    match kind {
        Kind::AuthorizationPolicy | Kind::RequestAuthentication | Kind::PeerAuthentication => istio,
        Kind::ApiRule => kyma,
    }
}

/// What `kubectl get istio-io` is short for.
pub const CATEGORIES: [&str; 2] = ["istio-io", "security-istio-io"];

/// A kind, as `kubectl api-resources`, `explain` and `get` show it.
#[derive(Debug, Clone, PartialEq)]
pub struct KindSchema {
    /// Which kind.
    pub kind: Kind,
    /// Its name in URLs, such as `authorizationpolicies`.
    pub plural: String,
    /// Its name for one, such as `authorizationpolicy`.
    pub singular: String,
    /// Its name for those who type, such as `ap`.
    pub short_name: String,
    /// Columns of a table beside the name.
    pub columns: Vec<Column>,
    /// The schema of a whole object, as `openAPIV3Schema` has it: `metadata` is an object that
    /// Kubernetes knows, `spec` and `status` say everything.
    pub schema: Value,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// `string` or `date`.
    pub kind: String,
    /// What it shows.
    pub description: String,
    /// Where in the object that stands.
    pub json_path: String,
}

/// The schema of one kind.
pub fn of(kind: Kind) -> &'static KindSchema {
    match kind {
        Kind::AuthorizationPolicy => &SCHEMAS.authorization_policy,
        Kind::RequestAuthentication => &SCHEMAS.request_authentication,
        Kind::PeerAuthentication => &SCHEMAS.peer_authentication,
        Kind::ApiRule => &SCHEMAS.api_rule,
    }
}

/// One kind as a CustomResourceDefinition, for a Kubernetes API that does not know it yet.
pub fn custom_resource_definition(kind: Kind) -> Value {
    let KindSchema { plural, singular, short_name, columns, schema, .. } = of(kind);
    let columns: Vec<_> = columns
        .iter()
        .map(|Column { name, kind, description, json_path }| {
            json!({ "name": name, "type": kind, "description": description, "jsonPath": json_path })
        })
        .collect();
    let version = |name: &str| {
        json!({
            "name": name,
            "served": true,
            "storage": VERSIONS.first() == Some(&name),
            "subresources": { "status": {} },
            "additionalPrinterColumns": columns,
            "schema": { "openAPIV3Schema": schema },
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{GROUP}"),
            "labels": { "app.kubernetes.io/part-of": "postern" },
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.as_str(),
                "listKind": format!("{kind}List"),
                "plural": plural,
                "singular": singular,
                "shortNames": [short_name],
                "categories": CATEGORIES,
            },
            "versions": VERSIONS.map(version),
        },
    })
}

struct Schemas {
    authorization_policy: KindSchema,
    request_authentication: KindSchema,
    peer_authentication: KindSchema,
    api_rule: KindSchema,
}

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
    let text = include_str!("security_istio_io.yaml");
    let documents = node::parse_documents(text, Some("security_istio_io.yaml"));
    let data = documents.unwrap_or_default().first().map(node::Node::to_json).unwrap_or_default();
    Schemas {
        authorization_policy: read(&data, Kind::AuthorizationPolicy),
        request_authentication: read(&data, Kind::RequestAuthentication),
        peer_authentication: read(&data, Kind::PeerAuthentication),
        api_rule: read(&data, Kind::ApiRule),
    }
});

/// Reads one kind of the data. The data is part of the program, and tests see that nothing is
/// missing; what is missing all the same is empty.
fn read(data: &Value, kind: Kind) -> KindSchema {
    let kinds = data.get("kinds").and_then(Value::as_array).into_iter().flatten();
    let found = kinds.into_iter().find(|found| found.get("kind") == Some(&json!(kind.as_str())));
    let member = |name: &str| found.and_then(|found| found.get(name)).cloned().unwrap_or_default();
    let columns = member("columns");
    KindSchema {
        kind,
        plural: text(&member("plural")),
        singular: kind.as_str().to_ascii_lowercase(),
        short_name: text(&member("shortName")),
        columns: columns.as_array().into_iter().flatten().map(column).collect(),
        schema: json!({
            "type": "object",
            "description": member("description"),
            "properties": {
                "apiVersion": { "type": "string", "description": "Group and version of the kind." },
                "kind": { "type": "string", "description": "The kind." },
                "metadata": { "type": "object" },
                "spec": member("spec"),
                "status": member("status"),
            },
        }),
    }
}

fn column(column: &Value) -> Column {
    let member = |name: &str| column.get(name).map(text).unwrap_or_default();
    Column {
        name: member("name"),
        kind: member("type"),
        description: member("description"),
        json_path: member("jsonPath"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
