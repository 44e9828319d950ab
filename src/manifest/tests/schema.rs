//! The schemas and the decoders know the same fields, and take the same resources.

use std::collections::{BTreeMap, BTreeSet};

use kube_cel::{compile_schema, validate};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::manifest::cursor::known_fields;
use crate::manifest::schema::{KindSchema, custom_resource_definition, of, virtual_service};
use crate::model::Kind;

/// Fields that the decoders know and the schemas do not, and why.
const LEFT_OUT: [(&str, &str); 1] = [
    // Hidden in Istio's API and in no CRD: an API server drops it, or refuses it when asked to be
    // strict. The decoder knows it to say that it is not enforced.
    ("spec.jwtRules[0]", "presence"),
];

/// A value with everything in it that a schema names.
fn everything(schema: &Value) -> Value {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let member = |(name, schema): (&String, &Value)| (name.clone(), everything(schema));
        return properties.iter().map(member).collect();
    }
    if let Some(values) = schema.get("additionalProperties") {
        return json!({ "80": everything(values) });
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => json!([everything(&schema["items"])]),
        Some("boolean") => json!(true),
        _ => json!("text"),
    }
}

/// The fields of every object that a schema names, by its path.
fn fields(schema: &Value, path: &str, into: &mut BTreeMap<String, BTreeSet<String>>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        into.insert(path.to_owned(), properties.keys().cloned().collect());
        for (name, schema) in properties {
            fields(schema, &format!("{path}.{name}"), into);
        }
    }
    if let Some(items) = schema.get("items") {
        fields(items, &format!("{path}[0]"), into);
    }
    if let Some(values) = schema.get("additionalProperties") {
        fields(values, &format!("{path}.80"), into);
    }
}

#[rstest]
#[case(Kind::AuthorizationPolicy)]
#[case(Kind::RequestAuthentication)]
#[case(Kind::PeerAuthentication)]
fn schema_and_decoder_know_the_same_fields(#[case] kind: Kind) {
    let spec = &of(kind).schema["properties"]["spec"];
    let mut in_schema = BTreeMap::new();
    fields(spec, "spec", &mut in_schema);

    let document = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": kind.as_str(),
        "metadata": { "name": "r" },
        "spec": everything(spec),
    });
    known_fields::take();
    let decoded = decode(&document.to_string(), Some("r.json"), &Options::default());
    let mut in_decoder: BTreeMap<String, BTreeSet<String>> = known_fields::take()
        .into_iter()
        .filter(|(path, _)| path.starts_with("spec"))
        .map(|(path, known)| (path, known.into_iter().map(str::to_owned).collect()))
        .collect();
    for (path, field) in LEFT_OUT {
        let known = in_decoder.get_mut(path);
        assert!(known.is_none_or(|known| known.remove(field)), "{field} is left out in vain");
    }
    assert_eq!(in_schema, in_decoder);
    let unknown = codes::UNKNOWN_FIELD.0;
    assert!(!codes_of(&decoded).contains(&unknown), "{:#?}", decoded.diagnostics);
}

/// The fields that the documents Postern comes from lack, or that Istio added over the years.
#[rstest]
#[case(Kind::AuthorizationPolicy, "spec.rules[0].from[0].source", &[
    "remoteIpBlocks", "notRemoteIpBlocks", "serviceAccounts", "notServiceAccounts", "trustDomains",
    "notTrustDomains",
])]
#[case(Kind::AuthorizationPolicy, "spec", &["targetRef", "targetRefs"])]
#[case(Kind::RequestAuthentication, "spec", &["targetRef", "targetRefs"])]
#[case(Kind::RequestAuthentication, "spec.jwtRules[0]", &[
    "jwks_uri", "fromCookies", "timeout", "spaceDelimitedClaims",
])]
fn the_newest_fields_are_there(#[case] kind: Kind, #[case] path: &str, #[case] names: &[&str]) {
    let mut known = BTreeMap::new();
    fields(&of(kind).schema["properties"]["spec"], "spec", &mut known);
    for name in names {
        assert!(known[path].contains(*name), "{path}.{name}");
    }
}

#[rstest]
#[case(Kind::AuthorizationPolicy, "authorizationpolicies", "ap", &["Action", "Age"])]
#[case(Kind::RequestAuthentication, "requestauthentications", "ra", &["Age"])]
#[case(Kind::PeerAuthentication, "peerauthentications", "pa", &["Mode", "Age"])]
fn names_and_columns(
    #[case] kind: Kind,
    #[case] plural: &str,
    #[case] short: &str,
    #[case] columns: &[&str],
) {
    let found = of(kind);
    assert_eq!((&*found.plural, &*found.short_name), (plural, short));
    let names: Vec<_> = found.columns.iter().map(|column| &*column.name).collect();
    assert_eq!(names, columns);
    let crd = custom_resource_definition(kind);
    assert_eq!(crd["metadata"]["name"], format!("{plural}.security.istio.io"));
    let versions = crd["spec"]["versions"].as_array().unwrap();
    let stored: Vec<_> = versions.iter().map(|v| (&v["name"], &v["storage"])).collect();
    assert_eq!(stored, [(&json!("v1"), &json!(true)), (&json!("v1beta1"), &json!(false))]);
    for version in versions {
        assert_eq!(version["subresources"], json!({ "status": {} }));
    }
}

#[test]
fn virtual_services_have_names_columns_and_versions() {
    let found = virtual_service::schema();
    assert_eq!((&*found.plural, &*found.short_name), ("virtualservices", "vs"));
    let paths: Vec<_> = found.columns.iter().map(|column| &*column.json_path).collect();
    assert_eq!(paths, [".spec.gateways", ".spec.hosts", ".metadata.creationTimestamp"]);
    let crd = virtual_service::custom_resource_definition();
    assert_eq!(crd["metadata"]["name"], "virtualservices.networking.istio.io");
    let versions = crd["spec"]["versions"].as_array().unwrap();
    let stored: Vec<_> = versions.iter().map(|v| (&v["name"], &v["storage"])).collect();
    let (yes, no) = (&json!(true), &json!(false));
    let names = [&json!("v1"), &json!("v1beta1"), &json!("v1alpha3")];
    assert_eq!(stored, [(names[0], yes), (names[1], no), (names[2], no)]);
}

/// The fields of Istio's CRD of 2026-07.
#[rstest]
#[case("spec", &["exportTo", "gateways", "hosts", "http", "tcp", "tls"])]
#[case("spec.http[]", &[
    "corsPolicy", "delegate", "directResponse", "fault", "headers", "match", "mirror",
    "mirrorPercent", "mirrorPercentage", "mirror_percent", "mirrors", "name", "redirect", "retries",
    "rewrite", "route", "timeout",
])]
#[case("spec.http[].match[]", &[
    "authority", "gateways", "headers", "ignoreUriCase", "method", "name", "port", "queryParams",
    "scheme", "sourceLabels", "sourceNamespace", "statPrefix", "uri", "withoutHeaders",
])]
#[case("spec.http[].redirect", &[
    "authority", "derivePort", "port", "prefixRewrite", "redirectCode", "scheme", "uri",
])]
#[case("spec.http[].retries", &[
    "attempts", "backoff", "perTryTimeout", "retryIgnorePreviousHosts", "retryOn",
    "retryRemoteLocalities",
])]
#[case("spec.http[].corsPolicy", &[
    "allowCredentials", "allowHeaders", "allowMethods", "allowOrigin", "allowOrigins",
    "exposeHeaders", "maxAge", "unmatchedPreflights",
])]
#[case("spec.tls[].match[]", &[
    "destinationSubnets", "gateways", "port", "sniHosts", "sourceLabels", "sourceNamespace",
])]
#[case("spec.tcp[].match[]", &[
    "destinationSubnets", "gateways", "port", "sourceLabels", "sourceNamespace", "sourceSubnet",
])]
#[case("spec.tcp[].route[].destination", &["host", "port", "subset"])]
fn all_fields_of_virtual_services_are_there(#[case] path: &str, #[case] names: &[&str]) {
    let mut schema = &virtual_service::schema().schema["properties"]["spec"];
    for part in path.split('.').skip(1) {
        schema = &schema["properties"][part.trim_end_matches("[]")];
        if part.ends_with("[]") {
            schema = &schema["items"];
        }
    }
    let known: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(known.into_iter().collect::<Vec<_>>(), names);
}

/// Kubernetes refuses a CRD whose schema is not structural.
#[rstest]
#[case(of(Kind::AuthorizationPolicy))]
#[case(of(Kind::RequestAuthentication))]
#[case(of(Kind::PeerAuthentication))]
#[case(virtual_service::schema())]
fn schemas_are_structural(#[case] kind: &KindSchema) {
    fn walk(schema: &Value, path: &str) {
        const KNOWN: [&str; 19] = [
            "type",
            "description",
            "properties",
            "additionalProperties",
            "items",
            "required",
            "enum",
            "pattern",
            "format",
            "minLength",
            "maxLength",
            "maxItems",
            "maxProperties",
            "minProperties",
            "minimum",
            "maximum",
            "nullable",
            "x-kubernetes-validations",
            "x-kubernetes-preserve-unknown-fields",
        ];
        let members = schema.as_object().unwrap();
        if members.get("x-kubernetes-int-or-string") == Some(&json!(true)) {
            assert_eq!(schema["anyOf"], json!([{ "type": "integer" }, { "type": "string" }]));
            assert!(!members.contains_key("type"));
            return;
        }
        for name in members.keys() {
            assert!(KNOWN.contains(&name.as_str()), "{path}: {name}");
        }
        assert!(schema["type"].is_string(), "{path} has no type");
        assert!(
            !(members.contains_key("properties") && members.contains_key("additionalProperties"))
        );
        assert_eq!(schema["type"] == "array", members.contains_key("items"), "{path}");
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            walk(below, &format!("{path}.{name}"));
            let described =
                below["description"].is_string() || (path.is_empty() && name == "metadata");
            assert!(described, "{path}.{name} is not described");
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(schema["properties"][name.as_str().unwrap()].is_object(), "{path}: {name}");
        }
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            assert!(rule["rule"].is_string() && rule["message"].is_string(), "{path}: {rule}");
        }
        for below in [&schema["items"], &schema["additionalProperties"]] {
            if !below.is_null() {
                walk(below, &format!("{path}[]"));
            }
        }
    }
    walk(&kind.schema, "");
}

/// What the CEL rules say about a spec.
fn refused_by_rules(kind: Kind, spec: &Value) -> Vec<String> {
    let schema = &of(kind).schema;
    let compiled = compile_schema(schema);
    assert!(!compiled.has_errors(), "{:?}", compiled.compilation_errors());
    match validate(schema, &json!({ "spec": spec }), None) {
        Ok(()) => Vec::new(),
        Err(found) => found.into_vec().into_iter().map(|error| error.message).collect(),
    }
}

fn by_admission(kind: Kind, spec: &Value) -> bool {
    let document = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": kind.as_str(),
        "metadata": { "name": "r" },
        "spec": spec,
    });
    decode(&document.to_string(), Some("r.json"), &Options::default()).has_errors()
}

/// What a rule refuses, admission refuses too. (`jwks_uri` is not here: kube-cel 0.8 looks for it under
/// another name, so that whoever validates with it has to check that pair as well.)
#[rstest]
#[case::two_attachments(
    Kind::AuthorizationPolicy,
    json!({ "selector": { "matchLabels": { "app": "web" } }, "targetRefs": [{ "kind": "Service", "name": "web" }] }),
    "only one of `selector`, `targetRef` and `targetRefs` can be set"
)]
#[case::two_attachments_of_request_authentication(
    Kind::RequestAuthentication,
    json!({ "targetRef": { "kind": "Service", "name": "web" }, "targetRefs": [] }),
    "only one of `selector`, `targetRef` and `targetRefs` can be set"
)]
#[case::other_namespace(
    Kind::AuthorizationPolicy,
    json!({ "targetRefs": [{ "kind": "Service", "name": "web", "namespace": "other" }] }),
    "a target is in the namespace of the policy, leave `namespace` out"
)]
#[case::star_in_value(
    Kind::PeerAuthentication,
    json!({ "selector": { "matchLabels": { "app": "web*" } } }),
    "the value of a label is matched exactly, it cannot have a `*`"
)]
#[case::star_in_key(
    Kind::PeerAuthentication,
    json!({ "selector": { "matchLabels": { "*": "web" } } }),
    "the name of a label is matched exactly, it cannot have a `*`"
)]
#[case::empty_key(
    Kind::PeerAuthentication,
    json!({ "selector": { "matchLabels": { "": "web" } } }),
    "a label needs a name"
)]
#[case::accounts_and_principals(
    Kind::AuthorizationPolicy,
    json!({ "rules": [{ "from": [{ "source": { "notServiceAccounts": ["a"], "principals": ["b"] } }] }] }),
    "`serviceAccounts` cannot stand beside `principals` or `namespaces`"
)]
#[case::ports_without_selector(
    Kind::PeerAuthentication,
    json!({ "portLevelMtls": { "80": { "mode": "STRICT" } } }),
    "`portLevelMtls` needs a `selector` with labels"
)]
#[case::ports_with_empty_selector(
    Kind::PeerAuthentication,
    json!({ "selector": { "matchLabels": {} }, "portLevelMtls": { "80": { "mode": "STRICT" } } }),
    "`portLevelMtls` needs a `selector` with labels"
)]
#[case::port_zero(
    Kind::PeerAuthentication,
    json!({ "selector": { "matchLabels": { "app": "web" } }, "portLevelMtls": { "0": {} } }),
    "a port is a number from 1 to 65535"
)]
#[case::port_too_high(
    Kind::PeerAuthentication,
    json!({ "selector": { "matchLabels": { "app": "web" } }, "portLevelMtls": { "65536": {} } }),
    "a port is a number from 1 to 65535"
)]
#[case::two_key_sources(
    Kind::RequestAuthentication,
    json!({ "jwtRules": [{ "issuer": "i", "jwks": "{\"keys\":[]}", "jwksUri": "https://i/keys" }] }),
    "only one of `jwks` and `jwksUri` can be set"
)]
#[case::scheme(
    Kind::RequestAuthentication,
    json!({ "jwtRules": [{ "issuer": "i", "jwksUri": "ftp://i/keys" }] }),
    "a URL with the scheme `http` or `https` is needed"
)]
#[case::timeout(
    Kind::RequestAuthentication,
    json!({ "jwtRules": [{ "issuer": "i", "timeout": "0s" }] }),
    "a duration of 1ms at least is needed"
)]
fn rules_refuse(#[case] kind: Kind, #[case] spec: Value, #[case] message: &str) {
    assert_eq!(refused_by_rules(kind, &spec), [message]);
    assert!(by_admission(kind, &spec), "admission takes it");
}

#[rstest]
#[case(Kind::AuthorizationPolicy, json!({}))]
#[case(Kind::AuthorizationPolicy, json!({
    "targetRefs": [{ "kind": "Service", "name": "web", "namespace": "" }],
    "action": "DENY",
    "rules": [{
        "from": [
            { "source": { "serviceAccounts": ["shop/a"], "ipBlocks": ["10.0.0.0/8"] } },
            { "source": { "principals": ["*"], "namespaces": ["b"] } },
        ],
        "to": [{ "operation": { "ports": ["80"] } }],
        "when": [{ "key": "remote.ip", "notValues": ["10.0.0.0/8"] }],
    }],
}))]
#[case(Kind::RequestAuthentication, json!({
    "selector": { "matchLabels": { "app.kubernetes.io/name": "web" } },
    "jwtRules": [
        { "issuer": "i", "jwksUri": "http://i.istio-system.svc:8080/keys?a=b", "timeout": "1m0.5s" },
        { "issuer": "i", "jwks_uri": "https://i/keys" },
        { "issuer": "j", "jwks": "{\"keys\":[]}", "spaceDelimitedClaims": ["roles"] },
    ],
}))]
#[case(Kind::PeerAuthentication, json!({
    "selector": { "matchLabels": { "app": "" } },
    "mtls": { "mode": "STRICT" },
    "portLevelMtls": { "1": { "mode": "DISABLE" }, "65535": {} },
}))]
fn rules_take(#[case] kind: Kind, #[case] spec: Value) {
    assert_eq!(refused_by_rules(kind, &spec), [] as [&str; 0]);
    assert!(!by_admission(kind, &spec), "admission refuses it");
}
