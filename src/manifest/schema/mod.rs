//! Our kinds as Kubernetes describes kinds: names, structural schema, CEL rules, printer columns.
//!
//! The data stands in `security_istio_io.yaml` and `gateway_kyma_project_io.yaml`; that of the one kind
//! that is kept without being enforced is `virtual_service`'s. Leaves holding objects against it to those
//! who answer Kubernetes clients; what resources mean is the decoders' and `admission`'s business.

pub mod virtual_service;

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

/// What a kind is counted among.
pub fn categories(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::AuthorizationPolicy | Kind::RequestAuthentication | Kind::PeerAuthentication => {
            &CATEGORIES
        }
        Kind::ApiRule => &[],
    }
}

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
    /// Its name, such as `AuthorizationPolicy`.
    pub kind: &'static str,
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

/// What Kyma's CRD says of the oldest version of APIRules.
pub const V1ALPHA1_DEPRECATION: &str = "v1alpha1 is deprecated as of Kyma 2.5.X";

/// Which version of APIRules has the form of an object, which other versions may show as well: without
/// a webhook, Kubernetes converts them by name alone.
pub fn written_version(object: &Value) -> &'static str {
    let spec = |name: &str| object.pointer(&format!("/spec/{name}")).is_some();
    let labelled = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let is_v2 = labelled.ends_with("/v2") || labelled.ends_with("/v2alpha1");
    if spec("hosts") || spec("externalGateway") || (is_v2 && !spec("host")) {
        "v2"
    } else if spec("service/host") {
        "v1alpha1"
    } else {
        "v1beta1"
    }
}

/// The schema of one kind in a version of its group.
pub fn of_version(kind: Kind, version: &str) -> &'static KindSchema {
    match (kind, version) {
        (Kind::ApiRule, "v1alpha1") => &SCHEMAS.api_rule_v1alpha1,
        (Kind::ApiRule, "v2" | "v2alpha1") => &SCHEMAS.api_rule_v2,
        (
            Kind::AuthorizationPolicy
            | Kind::RequestAuthentication
            | Kind::PeerAuthentication
            | Kind::ApiRule,
            _,
        ) => of(kind),
    }
}

/// The schema of one kind; where versions differ, that of the one that is stored.
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
    let ApiGroup { name: group, versions, .. } = group_of(kind);
    let version = |name: &&str| {
        let mut schema = of_version(kind, name).schema.clone();
        let stored = versions.first() == Some(name);
        if stored && kind == Kind::ApiRule {
            // What was written in v2 is read by this schema, too, and must not be pruned by it.
            let spec = schema.pointer_mut("/properties/spec").and_then(Value::as_object_mut);
            if let Some(spec) = spec {
                spec.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
            }
        }
        let mut version = version(name, stored, &of_version(kind, name).columns, &schema);
        if let (Kind::ApiRule, "v1alpha1", Some(version)) = (kind, *name, version.as_object_mut()) {
            version.insert("deprecated".to_owned(), json!(true));
            version.insert("deprecationWarning".to_owned(), json!(V1ALPHA1_DEPRECATION));
        }
        version
    };
    let versions: Vec<_> = versions.iter().map(version).collect();
    definition(group, of(kind), categories(kind), &versions)
}

fn version(name: &str, stored: bool, columns: &[Column], schema: &Value) -> Value {
    let columns: Vec<_> = columns
        .iter()
        .map(|Column { name, kind, description, json_path }| {
            json!({ "name": name, "type": kind, "description": description, "jsonPath": json_path })
        })
        .collect();
    json!({
        "name": name,
        "served": true,
        "storage": stored,
        "subresources": { "status": {} },
        "additionalPrinterColumns": columns,
        "schema": { "openAPIV3Schema": schema },
    })
}

fn definition(group: &str, schema: &KindSchema, categories: &[&str], versions: &[Value]) -> Value {
    let KindSchema { kind, plural, singular, short_name, .. } = schema;
    let mut names = json!({
        "kind": kind,
        "listKind": format!("{kind}List"),
        "plural": plural,
        "singular": singular,
    });
    if let Some(names) = names.as_object_mut() {
        if !short_name.is_empty() {
            names.insert("shortNames".to_owned(), json!([short_name]));
        }
        if !categories.is_empty() {
            names.insert("categories".to_owned(), json!(categories));
        }
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "labels": { "app.kubernetes.io/part-of": "postern" },
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": names,
            "versions": versions,
        },
    })
}

struct Schemas {
    authorization_policy: KindSchema,
    request_authentication: KindSchema,
    peer_authentication: KindSchema,
    api_rule: KindSchema,
    api_rule_v1alpha1: KindSchema,
    api_rule_v2: KindSchema,
}

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
    let data = data(include_str!("security_istio_io.yaml"), "security_istio_io.yaml");
    let kyma = data_of_kyma();
    Schemas {
        authorization_policy: read(&data, Kind::AuthorizationPolicy.as_str(), None),
        request_authentication: read(&data, Kind::RequestAuthentication.as_str(), None),
        peer_authentication: read(&data, Kind::PeerAuthentication.as_str(), None),
        api_rule: read(&kyma, Kind::ApiRule.as_str(), Some("v1beta1")),
        api_rule_v1alpha1: read(&kyma, Kind::ApiRule.as_str(), Some("v1alpha1")),
        api_rule_v2: read(&kyma, Kind::ApiRule.as_str(), Some("v2")),
    }
});

fn data(text: &str, name: &str) -> Value {
    let documents = node::parse_documents(text, Some(name));
    documents.unwrap_or_default().first().map(node::Node::to_json).unwrap_or_default()
}

fn data_of_kyma() -> Value {
    data(include_str!("gateway_kyma_project_io.yaml"), "gateway_kyma_project_io.yaml")
}

/// Reads one kind of the data. The data is part of the program, and tests see that nothing is
/// missing; what is missing all the same is empty.
fn read(data: &Value, kind: &'static str, version: Option<&str>) -> KindSchema {
    let kinds = data.get("kinds").and_then(Value::as_array).into_iter().flatten();
    let found = kinds.into_iter().find(|found| {
        found.get("kind") == Some(&json!(kind))
            && version.is_none_or(|version| found.get("version") == Some(&json!(version)))
    });
    let member = |name: &str| found.and_then(|found| found.get(name)).cloned().unwrap_or_default();
    let columns = member("columns");
    KindSchema {
        kind,
        plural: text(&member("plural")),
        singular: kind.to_ascii_lowercase(),
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
